//! `actpass run`: ledger, sidecar and issuer in this process, the command in a network of its own.

pub(crate) mod ledger;
mod network;
pub(crate) mod policy;
mod resume;
mod session;

use std::sync::Arc;
use std::time::Duration;

use actpass_core::bundle::Bundle;
use actpass_core::error::chain;
use actpass_core::evidence::checkpoint::NoteVerifier;
use actpass_core::evidence::commitment::Openings;
use actpass_core::evidence::record::{Body, Containment, Note, stream_id};
use actpass_sidecar::dns::{self, Responder};
use actpass_sidecar::execute::Executor;
use actpass_sidecar::ledger_client::{LedgerAddress, LedgerClient};
use actpass_sidecar::listen::{self, Capture, Lookup};
use actpass_sidecar::mint::Mint;
use actpass_sidecar::names::Names;
use actpass_sidecar::pep::Pep;
use actpass_sidecar::proxy::Proxy;
use actpass_sidecar::recorder::Recorder;
use actpass_sidecar::ring::Ring;
use anyhow::{Context, anyhow};
use ed25519_dalek::SigningKey;
use tokio::sync::{mpsc, watch};

use crate::args::RunArgs;
use crate::control::{Control, ControlFile};
use crate::local::{self, Forwarder, Running};
use crate::state::{StateDir, write_private};
use ledger::Opened;
use session::LocalSession;

/// Undeclared names waiting to be recorded; more of them wait for their answers.
const DNS_EVENTS_MAX: usize = 256;

/// Longest wait for changes whose command has ended; then their outcome is `ambiguous`.
const SETTLE: Duration = Duration::from_secs(5);

/// How long the last records may take on their way to the ledger after the command has ended.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs the command and gives its exit code.
pub(crate) async fn run(args: RunArgs, state: &StateDir) -> anyhow::Result<u8> {
    let connect_to = args
        .connect_to
        .iter()
        .map(|text| network::connect_to(text))
        .collect::<Result<Vec<_>, _>>()?;
    let spec = policy::load(
        &args.files,
        args.catalog,
        &state.tenant()?,
        args.environment.clone(),
    )?;
    let bundle = Arc::new(Bundle::new(spec)?);
    let passport = policy::passport(&bundle, args.passport.as_deref())?;
    network::declared(&connect_to, &bundle)?;
    policy::warn(&bundle, args.environment.as_deref(), state);

    let opened = Opened::open(state).await?;
    let control = Control::of(&opened);
    resume::all(state, &opened).await?;
    opened
        .ledger
        .engine()
        .end_open_streams()
        .await
        .context("end what an earlier run left open")?;
    control
        .call("PUT", "/v1/bundles", bundle.bytes().to_vec())
        .await
        .context("make the policy the active one")?;
    write_private(&state.token(), &opened.token)?;
    ControlFile::publish(state, opened.ledger.address(), &opened.certificate)?;

    let ended = governed(&args, state, &opened, bundle, passport, connect_to).await;
    for file in [state.control(), state.token()] {
        if let Err(error) = std::fs::remove_file(&file) {
            tracing::warn!(%error, file = %file.display(), "Not removed");
        }
    }
    opened.ledger.stop().await;
    ended
}

/// The sidecar's part of a run, over a ledger that serves.
async fn governed(
    args: &RunArgs,
    state: &StateDir,
    opened: &Opened,
    bundle: Arc<Bundle>,
    passport: String,
    connect_to: Vec<actpass_sidecar::connect::ConnectTo>,
) -> anyhow::Result<u8> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|error| anyhow!("no randomness: {error}"))?;
    let key = SigningKey::from_bytes(&seed);
    let stream = stream_id(&key.verifying_key());
    let ring_path = state.rings()?.join(format!("{stream}.ring"));
    let recorder = Arc::new(Recorder::new(stream, Ring::create(&ring_path, &key)?));
    let origin = format!("actpass/{}", bundle.spec().tenant);
    let address = LedgerAddress {
        address: opened.ledger.address().to_string(),
        authorities: vec![opened.certificate.clone()],
    };
    let client = Arc::new(LedgerClient::new(address, &key)?);
    let session = LocalSession {
        bundle: bundle.clone(),
        passport: passport.into(),
        issuer: opened.issuer.clone(),
        holder: key.verifying_key(),
    };
    let pep = Arc::new(Pep::new(
        Arc::new(session),
        recorder.clone(),
        client,
        Containment::NetworkOnly,
    ));
    let measured = pep.clone();
    let metrics = opened.ledger.metrics();
    metrics.also(Box::new(move |text| measured.write_metrics(text)));
    let mut shipper = pep.shipper(key, NoteVerifier::new(origin, opened.log_key));
    shipper
        .open()
        .await
        .context("open the stream of this run")?;
    let shipping = tokio::spawn(shipper.run());
    note(
        &recorder,
        "started",
        "Local mode contains the network only: files and sockets of the same user stay reachable.",
    );
    for text in &args.connect_to {
        note(&recorder, "connect_to", text);
    }

    let ended = contained(args, state, &bundle, &pep, Executor::new(connect_to)).await;
    let text = match &ended {
        Ok(code) => format!("The command ended with exit code {code}."),
        Err(error) => format!("The command was not run: {error:#}"),
    };
    note(&recorder, "stopped", &text);
    pep.close();
    match tokio::time::timeout(DRAIN, shipping).await {
        Ok(Ok(Ok(()))) => {
            if let Err(error) = std::fs::remove_file(&ring_path) {
                tracing::warn!(%error, "Ring file not removed");
            }
        }
        Ok(Ok(Err(error))) => {
            tracing::error!(error = %chain(&error), "Records not shipped; they are kept in the ring file")
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "Records not shipped; they are kept in the ring file")
        }
        Err(_) => tracing::error!("Records not shipped in time; they are kept in the ring file"),
    }
    ended
}

/// Starts the contained command, serves it, and waits for its end.
async fn contained(
    args: &RunArgs,
    state: &StateDir,
    bundle: &Bundle,
    pep: &Arc<Pep>,
    executor: Executor,
) -> anyhow::Result<u8> {
    let mint = Arc::new(Mint::new()?);
    let names = Arc::new(Names::new(bundle)?);
    let plan = network::plan(args, state, bundle, &names, &mint)?;
    let started = tokio::task::spawn_blocking(move || local::start(&plan)).await??;
    let (stop, stopped) = watch::channel(false);
    let mut serving = tokio::task::JoinSet::new();

    let dialled = names.clone();
    let lookup: Lookup = Arc::new(move |address| dialled.dialled(address));
    let proxy =
        Arc::new(Proxy::new(pep.clone(), pep.clone(), executor).measured(pep.metrics().clone()));
    let listeners = started.listeners.into_iter();
    serving.spawn(listen::serve(
        listeners.map(|(_, socket)| socket).collect(),
        Capture::Addressed,
        lookup,
        mint,
        proxy.clone(),
        stopped,
    ));
    let (events, undeclared) = mpsc::channel(DNS_EVENTS_MAX);
    let recording = tokio::spawn(pep.clone().record_names(undeclared));
    if let Some((udp, tcp)) = started.dns {
        let (udp, tcp) = (
            tokio::net::UdpSocket::from_std(udp)?,
            tokio::net::TcpListener::from_std(tcp)?,
        );
        let zone = names.zone().clone();
        let responder: Responder = Arc::new(move |query, transport| zone.answer(query, transport));
        serving.spawn(dns::serve(responder, udp, tcp, events));
    }

    // Before it runs: a signal meant for it would end us.
    let forwarder = Forwarder::start(started.held.running())?;
    let mut running = started.held.go()?;
    let code = wait(&mut running, &mut serving).await;
    drop(forwarder);
    // What still serves ends with its last receiver.
    drop(stop);
    serving.shutdown().await;
    // A command that ended before its answer came leaves a change under way, whose end is worth knowing.
    proxy.settle(SETTLE).await;
    // Names asked for with the command's last breath are in the channel, whose sender is gone now.
    recording.await?;
    code
}

async fn wait(
    running: &mut Running,
    serving: &mut tokio::task::JoinSet<std::io::Result<()>>,
) -> anyhow::Result<u8> {
    tokio::select! {
        status = running.wait() => Ok(local::exit_code(status?)),
        Some(ended) = serving.join_next() => {
            ended??;
            Err(anyhow!("a listener ended before the command; the command was ended too"))
        }
    }
}

fn note(recorder: &Recorder, note: &str, text: &str) {
    let text = actpass_core::evidence::leaf::bounded(text);
    let body = Body::Note(Note {
        note: note.to_owned(),
        text,
    });
    if let Err(error) = recorder.record(body, &Openings::default()) {
        tracing::error!(%error, note, "Not recorded");
    }
}
