//! The ledger in a cluster: from flags to a server, and its end.
//!
//! *Flow.* Keys from the Secret, issuer keys from the ConfigMap, the certificate from its Secret, the log from disk: then
//! it listens. Whatever of these changes is followed while it serves. *Errors.* Where evidence can no longer be kept, or
//! something can no longer be followed, the process ends with an error: started anew it verifies its log first.

pub(crate) mod args;
mod cache;
pub(crate) mod commands;
mod gate;
mod kept_in;
mod keys;
mod log_keys;
mod operations;
mod trust;
mod votes;

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actpass_kubernetes::kept::Kept;
use actpass_kubernetes::{Client, names, namespaces, shown};
use actpass_ledger::api::People;
use actpass_ledger::tail::Target;
use actpass_ledger::{Config, Ledger};
use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use args::Args;
use gate::Reviews;
use kept_in::KeptIn;
use log_keys::LogKeys;
use operations::Stage;

/// How long requests may take that have begun when the end is asked for. Kubernetes waits for 30 s.
const DRAIN: Duration = Duration::from_secs(20);

/// Serves until it is told to end.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let (mut term, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let asked_to_end = async {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(asked_to_end);
    let (stage, seen) = watch::channel(Stage::Starting("the API server"));
    let listener = TcpListener::bind(args.metrics_listen)
        .await
        .with_context(|| format!("no socket on {}", args.metrics_listen))?;
    let operations = tokio::spawn(operations::serve(listener, seen));

    let Serving {
        ledger,
        mut log_keys,
        mut trust,
        mut certificate,
    } = tokio::select! {
        started = start(args, &stage) => started?,
        () = asked_to_end.as_mut() => return Ok(()),
    };
    stage.send_replace(Stage::Serving(ledger.health()));
    tracing::info!(address = %ledger.address(), "Serving");
    tokio::select! {
        () = asked_to_end => {}
        () = ledger.engine().poisoned() => bail!("evidence can no longer be kept; it is verified at the next start"),
        _ = &mut trust => bail!("ConfigMap `{}` can no longer be watched", names::TRUST),
        _ = &mut log_keys => bail!("ConfigMap `{}` can no longer be watched", names::TRUST),
        _ = &mut certificate => bail!("Secret `{}` can no longer be watched", names::LEDGER_TLS),
        _ = operations => bail!("the server of metrics and probes ended"),
    }
    stage.send_replace(Stage::Stopping);
    tracing::info!("Stopping");
    log_keys.abort();
    // It holds the engine while it looks, which has to end by itself.
    drop(log_keys.await);
    if tokio::time::timeout(DRAIN, ledger.stop()).await.is_err() {
        tracing::warn!("Some requests did not end in time");
    }
    trust.abort();
    certificate.abort();
    Ok(())
}

struct Serving {
    ledger: Ledger,
    log_keys: JoinHandle<()>,
    trust: JoinHandle<()>,
    certificate: JoinHandle<()>,
}

async fn start(args: Args, stage: &watch::Sender<Stage>) -> anyhow::Result<Serving> {
    let Args {
        command: _,
        data,
        postgres_url,
        postgres_password_file,
        postgres_ca_file,
        listen,
        namespace,
        evidence_to,
        metrics_listen: _,
        log_format: _,
    } = args;
    let data = data.context("--data is needed")?;
    let kept_in = KeptIn::new(
        &data,
        postgres_url.as_deref(),
        postgres_password_file.as_deref(),
        postgres_ca_file.as_deref(),
    )?;
    let client: Client = actpass_kubernetes::client()
        .await
        .context("no API server is known")?;
    let cluster = namespaces::cluster_id(&client).await?;
    close_to_others(&data)?;
    let needed = tokio::task::block_in_place(|| kept_in.need_of_keys())?;
    let kek = keys::load_or_make(client.clone(), &namespace, &data, needed).await?;
    stage.send_replace(Stage::Starting("issuer keys in ConfigMap `actpass-trust`"));
    let trust = trust::watch(client.clone(), &namespace).await?;
    let kept = Kept::new(client.clone(), &namespace, names::LEDGER_SECRET);
    let log_keys = LogKeys::load(kept, trust.map.clone()).await?;
    stage.send_replace(Stage::Starting(
        "a certificate in Secret `actpass-ledger-tls`",
    ));
    let (shown, certificate) =
        shown::from_secret(client.clone(), &namespace, names::LEDGER_TLS).await?;
    stage.send_replace(Stage::Starting("the log"));
    let (storage, vault) =
        tokio::task::block_in_place(|| anyhow::Ok((kept_in.storage()?, kept_in.vault(kek)?)))?;
    if let Some(dropped) = storage.recovery() {
        tracing::warn!(
            file = %dropped.path.display(), offset = dropped.offset, bytes = dropped.bytes, what = %dropped.what,
            "A write that was cut short was dropped from the log; it was never answered",
        );
    }
    let config = Config {
        storage,
        vault,
        log_key: log_keys.ring(),
        heads: Some(data.join(HEADS)),
        issuer_keys: trust.issuer_keys,
        people: People::Reviewed {
            gate: Arc::new(Reviews::new(client, cluster)),
            vote_keys: trust.vote_keys,
        },
        shown,
        evidence_to: evidence_to.map(|to| Target {
            file: (to != Path::new("-")).then_some(to),
            cursor: data.join(CURSOR),
        }),
    };
    let listener =
        std::net::TcpListener::bind(listen).with_context(|| format!("no socket on {listen}"))?;
    // The log is read back on a thread that may block.
    let ledger = tokio::task::block_in_place(|| Ledger::start(config, listener))?;
    let log_keys = tokio::spawn(log_keys.follow(ledger.engine_for_now()));
    Ok(Serving {
        ledger,
        log_keys,
        trust: trust.following,
        certificate,
    })
}

/// Takes back what the kubelet adds to the modes of a volume's files each time it is mounted for an `fsGroup`. The vault
/// refuses files that others may read.
fn close_to_others(data: &Path) -> anyhow::Result<()> {
    let mut files = [CREDENTIALS, TENANTS, HEADS, CURSOR, RESTORED]
        .map(|file| data.join(file))
        .to_vec();
    match std::fs::read_dir(data.join(TEXTS)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => files.extend(
            found?
                .map(|file| Ok(file?.path()))
                .collect::<std::io::Result<Vec<_>>>()?,
        ),
    }
    for file in files {
        match std::fs::set_permissions(&file, Permissions::from_mode(0o600)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other.with_context(|| format!("make `{}` private", file.display()))?,
        }
    }
    Ok(())
}

/// Files in the data directory that nobody else may read.
const CREDENTIALS: &str = "vault/credentials.json";
const TENANTS: &str = "vault/tenants.json";
const TEXTS: &str = "vault/texts";
const HEADS: &str = "head";
const CURSOR: &str = "cursor";
const RESTORED: &str = "restored";
