//! A sidecar in front of one upstream, composed as a run composes it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actpass_core::bundle::Bundle;
use actpass_core::evidence::checkpoint::NoteVerifier;
use actpass_core::evidence::record::{Containment, stream_id};
use actpass_core::host::HostName;
use actpass_sidecar::connect::ConnectTo;
use actpass_sidecar::execute::Executor;
use actpass_sidecar::ledger_client::LedgerClient;
use actpass_sidecar::listen::{self, Capture, Lookup};
use actpass_sidecar::mint::Mint;
use actpass_sidecar::pep::Pep;
use actpass_sidecar::proxy::{Dialled, Proxy};
use actpass_sidecar::recorder::Recorder;
use actpass_sidecar::ring::Ring;
use actpass_sidecar::shipper::ShipError;
use anyhow::{Context, anyhow};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::handover::Handover;
use crate::ledger::{UpstreamArgs, fresh_key};
use crate::policy;
use crate::session::BenchSession;

/// A ledger process needs a moment to start.
const LEDGER_WAIT: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(crate) struct SidecarArgs {
    /// File the ledger wrote
    #[arg(long)]
    handover: PathBuf,
    /// Directory of its ring file
    #[arg(long)]
    dir: PathBuf,
    /// PEM file of the key that leaves are signed with, of the same authority as the upstream's
    #[arg(long)]
    ca_key: PathBuf,
    /// Where the upstream really listens
    #[arg(long)]
    upstream: SocketAddr,
    #[command(flatten)]
    declared: UpstreamArgs,
}

pub(crate) async fn sidecar(args: SidecarArgs) -> anyhow::Result<()> {
    let handover = wait_for(&args.handover).await?;
    let bundle = args.declared.bundle()?;
    let (pep, shipping) = pep(&handover, bundle, &args.dir).await?;
    let host: HostName = args.declared.host.parse()?;
    let to = ConnectTo {
        host: host.clone(),
        port: args.declared.port,
        to_host: args.upstream.ip().to_string(),
        to_port: args.upstream.port(),
    };
    let ca = args.declared.ca.as_ref().context("give `--ca`")?;
    let (ca, key) = (
        std::fs::read_to_string(ca)?,
        std::fs::read_to_string(&args.ca_key)?,
    );
    let mint = Arc::new(Mint::of_authority(&ca, &key)?);
    let listener = TcpListener::bind(("127.0.0.1", args.declared.port))?;
    let dialled = Dialled {
        host,
        port: args.declared.port,
        tls: true,
    };
    let lookup: Lookup = Arc::new(move |_| Ok(dialled.clone()));
    let proxy = Arc::new(Proxy::new(
        pep.clone(),
        pep.clone(),
        Executor::new(vec![to]),
    ));
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(listen::serve(
        vec![listener],
        Capture::Addressed,
        lookup,
        mint,
        proxy,
        stopped,
    ));
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = term.recv() => {}
        ended = serving => ended??,
    }
    drop(stop);
    pep.close();
    shipping.await??;
    Ok(())
}

/// An enforcement point with its stream open.
pub(crate) async fn pep(
    handover: &Handover,
    bundle: Arc<Bundle>,
    dir: &Path,
) -> anyhow::Result<(Arc<Pep>, JoinHandle<Result<(), ShipError>>)> {
    let key = fresh_key()?;
    let stream = stream_id(&key.verifying_key());
    let ring = Ring::create(&dir.join(format!("{stream}.ring")), &key)?;
    let recorder = Arc::new(Recorder::new(stream, ring));
    let client = Arc::new(LedgerClient::new(handover.ledger.clone(), &key)?);
    let session = BenchSession {
        bundle,
        issuer: handover.issuer.clone(),
        holder: key.verifying_key(),
    };
    let pep = Arc::new(Pep::new(
        Arc::new(session),
        recorder,
        client,
        Containment::NetworkOnly,
    ));
    let origin = format!("actpass/{}", policy::TENANT);
    let mut shipper = pep.shipper(key, NoteVerifier::new(origin, handover.log_key));
    shipper.open().await.context("open the stream")?;
    Ok((pep, tokio::spawn(shipper.run())))
}

/// What a ledger process wrote, once it has.
pub(crate) async fn wait_for(path: &Path) -> anyhow::Result<Handover> {
    let give_up = tokio::time::Instant::now() + LEDGER_WAIT;
    while !path.exists() {
        if tokio::time::Instant::now() > give_up {
            return Err(anyhow!("no ledger wrote `{}`", path.display()));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Handover::read(path)
}
