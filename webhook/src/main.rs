//! `actpass-webhook`: the admission webhook of ActPass in a cluster.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actpass_kubernetes::names::{TRUST, WEBHOOK_TLS};
use actpass_kubernetes::shown;
use actpass_kubernetes::watched::{self, Watched};
use actpass_transport::server::Shown;
use actpass_transport::{program, serve, server};
use actpass_webhook::server::args::Args;
use actpass_webhook::server::health::{self, Readiness};
use actpass_webhook::server::metrics::Metrics;
use actpass_webhook::server::routes::{Serving, places, router};
use actpass_webhook::server::world::World;
use actpass_webhook::server::{secrets, stamps, trust};
use actpass_webhook::settings::Settings;
use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args: Args = match program::flags() {
        Ok(args) => args,
        Err(code) => return code,
    };
    args.log_format.start();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "Ended");
            ExitCode::FAILURE
        }
    }
}

/// Serves until SIGTERM.
///
/// *Flow*: health port; own Secret; watches; certificate; then reviews are answered, those on pods only once the controller
/// has said what sidecars may trust. On SIGTERM: not ready, a while in which the API server learns that, the open requests.
async fn run(args: Args) -> anyhow::Result<()> {
    let Args {
        namespace,
        listen,
        health_listen,
        log_format: _,
        shutdown_delay_seconds,
        injection,
    } = args;
    let settings = injection.settings(&namespace)?;
    let mut terminated = signal(SignalKind::terminate())?;
    let bound = |address| async move {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on `{address}`"))
    };
    let (listener, health_listener) = (bound(listen).await?, bound(health_listen).await?);
    let metrics = Arc::new(Metrics::default());
    let (readiness, why_not) = watch::channel(Some("starting".to_owned()));
    let mut tasks = JoinSet::new();
    let health = health::serve(health_listener, metrics.clone(), why_not);
    tasks.spawn(async move {
        health.await.ok();
        "the health port"
    });

    let starting = start(&namespace, settings, metrics, &readiness, &mut tasks);
    let (serving, shown) = tokio::select! {
        started = starting => started?,
        _ = terminated.recv() => return Ok(()),
    };
    let tls = server::config(shown)?;
    let (stop, stopped) = watch::channel(false);
    let mut reviews = tokio::spawn(serve::serve(router(serving), listener, tls, stopped));
    tracing::info!(%listen, "Answering reviews");
    tokio::select! {
        _ = terminated.recv() => {}
        _ = &mut reviews => bail!("the port for reviews ended"),
        ended = tasks.join_next() => bail!("{} ended", ended.transpose()?.unwrap_or("a task")),
    }
    tracing::info!("Told to end");
    readiness.send_replace(Some(ENDING.to_owned()));
    // What still comes is answered: the API server learns only with a delay to ask another replica.
    tokio::time::sleep(Duration::from_secs(shutdown_delay_seconds)).await;
    stop.send_replace(true);
    reviews.await.context("the port for reviews")
}

/// Everything that answers, and the certificate, once that is there.
async fn start(
    namespace: &str,
    settings: Settings,
    metrics: Arc<Metrics>,
    readiness: &Readiness,
    tasks: &mut JoinSet<&'static str>,
) -> anyhow::Result<(Arc<Serving>, Arc<Shown>)> {
    let client = actpass_kubernetes::client()
        .await
        .context("a client of the API server")?;
    let kept = secrets::kept(client.clone(), namespace);
    let uid_secret = secrets::uid(&kept).await?;
    let (stamping, stamps) = watch::channel(Arc::new(stamps::load(&kept).await?));
    let world = World::start(client.clone(), namespace, settings.clone(), tasks);
    readiness.send_replace(Some(
        "waiting for the certificate, which the controller makes".to_owned(),
    ));
    let (shown, following) = shown::from_secret(client.clone(), namespace, WEBHOOK_TLS).await?;
    tasks.spawn(async move {
        following.await.ok();
        "the watch of the certificate"
    });
    if !world.seen().await {
        bail!("the watches of the API server ended");
    }
    let api = Api::<ConfigMap>::namespaced(client, namespace);
    let trusted = watched::watch(api, TRUST);
    tasks.spawn(stamps::follow(kept, trusted.current.clone(), stamping));
    let (complete, settings_now) = watch::channel(None);
    tasks.spawn(follow(
        trusted,
        settings,
        complete,
        metrics.clone(),
        readiness.clone(),
    ));
    let serving = Serving {
        settings: settings_now,
        uid_secret,
        stamps,
        world,
        metrics,
        places: places(),
    };
    Ok((Arc::new(serving), shown))
}

/// Completes the settings by what sidecars may trust, as the controller says it. Without that there are none.
async fn follow(
    mut trusted: Watched<ConfigMap>,
    settings: Settings,
    complete: watch::Sender<Option<Arc<Settings>>>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
) -> &'static str {
    loop {
        let pins = trust::pins(trusted.current.borrow_and_update().as_ref());
        metrics.ready(pins.is_ok());
        let why_not = pins.as_ref().err().map(ToString::to_string);
        let pinned = pins.ok().map(|pins| {
            Arc::new(Settings {
                pins,
                ..settings.clone()
            })
        });
        complete.send_replace(pinned);
        readiness.send_if_modified(|now| {
            let changes = now.as_deref() != Some(ENDING) && *now != why_not;
            if changes {
                match &why_not {
                    None => tracing::info!("Ready"),
                    Some(why) => tracing::info!(why, "Not ready"),
                }
                *now = why_not;
            }
            changes
        });
        if trusted.current.changed().await.is_err() {
            return "the watch of what sidecars may trust";
        }
    }
}

/// Why it is not ready once it was told to end.
const ENDING: &str = "ending";
