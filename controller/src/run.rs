//! The parts put together.
//!
//! *Flow*: health port; watches and election; the leader makes what is missing; with the own key and certificate there,
//! sessions are served. On SIGTERM: not ready, sessions end so that their sidecars ask another replica, leadership is given
//! back.

use std::sync::Arc;
use std::time::Duration;

use actpass_core::error::chain;
use actpass_core::succession::{Rhythm, Succession};
use actpass_kubernetes::names::{
    CONTROLLER_LEASE, CONTROLLER_SECRET, CONTROLLER_TLS, LEDGER_KEYS, TRUST, VOTE_KEYS,
};
use actpass_kubernetes::seeds::Keyring;
use actpass_kubernetes::{namespaces, shown, watched};
use actpass_transport::{names, serve, server};
use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::approvals::Approvals;
use crate::args::Args;
use crate::bootstrap::{Bootstrap, Own};
use crate::contact::{Contact, SILENCE_MAX};
use crate::events::Events;
use crate::evidence;
use crate::health::{self, Health};
use crate::http::Part;
use crate::lease::Election;
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::network_policies::NetworkSettings;
use crate::reconcile::{Done, Leader};
use crate::session::{Sessions, SessionsOptions, collect, counted, router};
use crate::trust::Trust;
use crate::world::{World, follow};

/// How long something that failed rests before it is tried again.
const REST: Duration = Duration::from_secs(2);

/// How often it is looked whether certificates are due, and for keys that were added.
const AGAIN: Duration = Duration::from_secs(30);

/// How often it is looked for pods that are gone.
const GONE: Duration = Duration::from_secs(30);

/// What every task shares.
#[derive(Clone)]
struct Shared {
    client: Client,
    install: String,
    cluster: String,
    world: Arc<World>,
    ledger: Arc<Ledger>,
    webhook: Arc<Part>,
    trust: watch::Receiver<Trust>,
    metrics: Arc<Metrics>,
    events: Events,
    network: NetworkSettings,
    rhythm: Rhythm,
}

/// Runs until SIGTERM.
///
/// # Errors
/// Bad configuration, ports that are taken, or a task that ended early.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let Args {
        namespace: install,
        pod_name,
        listen,
        health_listen,
        log_format: _,
        webhook,
        ledger_token,
        sessions_max,
        drain_seconds,
        private_networks,
        exempt_namespaces,
        dns_namespace,
        metrics_namespace,
        quarantine,
        rotation,
        injection,
    } = args;
    let rhythm = rotation.rhythm();
    let settings = injection.settings(&install)?;
    let mut network = NetworkSettings {
        dns_namespace,
        metrics_namespace: metrics_namespace.filter(|name| !name.is_empty()),
        quarantine,
        ..NetworkSettings::default()
    };
    network
        .private
        .extend(private_networks.into_iter().filter(|it| !it.is_empty()));
    let bound = |address| async move {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on `{address}`"))
    };
    let (listener, health_listener) = (bound(listen).await?, bound(health_listen).await?);
    let mut terminated = signal(SignalKind::terminate())?;
    let client = actpass_kubernetes::client()
        .await
        .context("a client of the API server")?;

    let mut tasks = JoinSet::new();
    let (stop, stopped) = watch::channel(false);
    let (serving, is_serving) = watch::channel(false);
    let contact = Arc::new(Contact::default());
    let metrics = Arc::new(Metrics::default());
    let world = Arc::new(World::exempting(exempt_namespaces));
    let trust = trust_of(&client, &install, &mut tasks);
    let health = Health {
        metrics: metrics.clone(),
        world: world.clone(),
        contact: contact.clone(),
        trust: trust.clone(),
        serving: is_serving,
        stop: stopped.clone(),
    };
    tasks.spawn(async move {
        health::serve(health_listener, health).await.ok();
        "the health port"
    });
    let identity = format!("{pod_name}-{}", random()?);
    let (events, telling) = Events::new(client.clone(), pod_name);
    tasks.spawn(watching(
        client.clone(),
        install.clone(),
        world.clone(),
        contact.clone(),
        metrics.clone(),
    ));
    let webhook = webhook.unwrap_or_else(|| format!("actpass-webhook.{install}.svc:443"));
    let started = async {
        let shared = Shared {
            cluster: cluster_id(&client).await,
            ledger: Arc::new(Ledger::new(settings.ledger.clone(), ledger_token)),
            webhook: Arc::new(Part::new("webhook", names::WEBHOOK, webhook)),
            client: client.clone(),
            install: install.clone(),
            world,
            trust,
            metrics: metrics.clone(),
            events,
            network,
            rhythm,
        };
        let election = Election::new(
            client.clone(),
            &install,
            CONTROLLER_LEASE,
            identity,
            contact.clone(),
        );
        let leading = elected(election, stopped.clone(), &mut tasks);
        tasks.spawn(lead(shared.clone(), leading));
        let issuing = issuing(&shared, &mut tasks).await?;
        let (shown, following) = shown::from_secret(client, &install, CONTROLLER_TLS).await?;
        tasks.spawn(async move {
            following.await.ok();
            "the watch of the certificate"
        });
        // Nobody is told that a Passport is missing which only was not shown yet.
        shared.world.listed().await;
        let sessions = Sessions::new(SessionsOptions {
            client: shared.client,
            world: shared.world,
            contact,
            ledger: shared.ledger,
            issuing,
            cluster: shared.cluster,
            install,
            settings,
            sessions_max,
            metrics,
            events: shared.events,
            trust: shared.trust,
            stop: stopped.clone(),
        });
        anyhow::Ok((sessions, server::config(shown)?))
    };
    let (sessions, tls) = tokio::select! {
        started = started => started?,
        _ = terminated.recv() => return Ok(()),
    };
    let mut sessions = tokio::spawn(serve::serve(router(sessions), listener, tls, stopped));
    serving.send_replace(true);
    tracing::info!(%listen, "Serving sessions");
    tokio::select! {
        _ = terminated.recv() => {}
        _ = &mut sessions => bail!("the port for sessions ended"),
        ended = tasks.join_next() => bail!("{} ended", ended.transpose()?.unwrap_or("a task")),
    }
    tracing::info!("Told to end");
    stop.send_replace(true);
    let drain = Duration::from_secs(drain_seconds);
    let ended = async {
        sessions.await.context("the port for sessions")?;
        // The Lease is given back meanwhile.
        while let Some(ended) = tasks.join_next().await {
            if ended? == ELECTION {
                break;
            }
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(drain, ended).await {
        Ok(ended) => ended?,
        Err(_) => tracing::warn!("Some sessions had not ended in time"),
    }
    telling.abort();
    Ok(())
}

/// Task that may end.
const ELECTION: &str = "the election";

/// The trust ConfigMap as it stands.
fn trust_of(
    client: &Client,
    install: &str,
    tasks: &mut JoinSet<&'static str>,
) -> watch::Receiver<Trust> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), install);
    let mut watched = watched::watch(api, TRUST);
    let (sender, trust) = watch::channel(Trust::default());
    tasks.spawn(async move {
        loop {
            let seen = watched.current.borrow_and_update().clone();
            match Trust::of(seen.as_ref().and_then(|map| map.data.as_ref())) {
                Ok(now) => {
                    watched::tell(&sender, now);
                }
                Err(error) => {
                    let error = chain(&error);
                    tracing::error!(error, "What the parts believe stays as it was");
                }
            }
            if watched.current.changed().await.is_err() {
                return "the watch of the trust";
            }
        }
    });
    trust
}

/// Follows what the API server says. Where it was silent for too long, or did not show one kind, everything is listed anew, and
/// until that is done no session is served.
async fn watching(
    client: Client,
    install: String,
    world: Arc<World>,
    contact: Arc<Contact>,
    metrics: Arc<Metrics>,
) -> &'static str {
    let mut away = false;
    loop {
        let mut watches = follow(&client, &install, &world);
        let kind = loop {
            tokio::select! {
                ended = watches.join_next() => match ended {
                    Some(Ok(kind)) => break Some(kind),
                    _ => return "a watch",
                },
                () = contact.lost() => break None,
                () = world.listed(), if away => {
                    away = false;
                    metrics.reachable(true);
                    tracing::info!("The API server shows everything again");
                }
            }
        };
        // Else one that ends late would count as listed.
        watches.shutdown().await;
        world.unlist();
        metrics.reachable(false);
        away = true;
        tracing::error!(
            seconds = SILENCE_MAX.as_secs(),
            kind,
            "The API server does not answer, or does not show that kind: sessions end, and no passport is made until it does"
        );
        contact.regained().await;
    }
}

/// The cluster's id, once the API server says it.
async fn cluster_id(client: &Client) -> String {
    loop {
        match namespaces::cluster_id(client).await {
            Ok(id) => return id,
            Err(error) => tracing::warn!(%error, "The cluster's id is not known yet"),
        }
        tokio::time::sleep(REST).await;
    }
}

/// What passports are signed with, as the controller's Secret and the trust say it, once the leader filled them. The other
/// parts are believed by the authorities there.
async fn issuing(
    shared: &Shared,
    tasks: &mut JoinSet<&'static str>,
) -> anyhow::Result<watch::Receiver<Arc<Keyring>>> {
    let api = Api::<Secret>::namespaced(shared.client.clone(), &shared.install);
    let mut watched = watched::watch(api, CONTROLLER_SECRET);
    let (sender, receiver) = watch::channel(Arc::new(Keyring::default()));
    let mut parts = Parts {
        ledger: shared.ledger.clone(),
        webhook: shared.webhook.clone(),
        believed: Vec::new(),
    };
    let mut trust = shared.trust.clone();
    let mut take = move |secret: Option<&Secret>, list: Succession| -> anyhow::Result<bool> {
        let Some(own) = secret.map(Own::of).transpose()?.flatten() else {
            return Ok(false);
        };
        parts.believe(own.authorities)?;
        watched::tell(&sender, Arc::new(Keyring::new(own.seeds, list)));
        Ok(true)
    };
    loop {
        let list = trust.borrow_and_update().issuer_keys.clone();
        if take(watched.current.borrow_and_update().as_ref(), list)? {
            break;
        }
        if watched.current.changed().await.is_err() {
            bail!("the watch of Secret `{CONTROLLER_SECRET}` ended");
        }
    }
    tasks.spawn(async move {
        loop {
            let changed = tokio::select! {
                changed = watched.current.changed() => changed,
                changed = trust.changed() => changed,
            };
            if changed.is_err() {
                return "the watch of the controller's keys";
            }
            let list = trust.borrow_and_update().issuer_keys.clone();
            match take(watched.current.borrow_and_update().as_ref(), list) {
                Ok(true) => {}
                Ok(false) => tracing::error!("The controller's keys are gone; those before stay"),
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(
                        error,
                        "The controller's keys cannot be used; those before stay"
                    );
                }
            }
        }
    });
    Ok(receiver)
}

/// Parts whose certificates have to lead to an authority of ours.
struct Parts {
    ledger: Arc<Ledger>,
    webhook: Arc<Part>,
    believed: Vec<CertificateDer<'static>>,
}

impl Parts {
    fn believe(&mut self, authorities: Vec<CertificateDer<'static>>) -> anyhow::Result<()> {
        if self.believed != authorities {
            self.ledger.part().believe(&authorities)?;
            self.webhook.believe(&authorities)?;
            self.believed = authorities;
        }
        Ok(())
    }
}

/// Stands for election; the term while this replica leads.
fn elected(
    election: Election,
    stop: watch::Receiver<bool>,
    tasks: &mut JoinSet<&'static str>,
) -> watch::Receiver<Option<u64>> {
    let (sender, leading) = watch::channel(None);
    tasks.spawn(async move {
        election.run(sender, stop).await;
        ELECTION
    });
    leading
}

/// Writes for as long as this replica leads, as often as it does.
async fn lead(shared: Shared, mut leading: watch::Receiver<Option<u64>>) -> &'static str {
    loop {
        let begun = leading.wait_for(Option::is_some).await;
        let Some(now) = begun.ok().and_then(|term| *term) else {
            // Told to end: others end the process.
            std::future::pending().await
        };
        shared.metrics.leading(true);
        tokio::select! {
            () = term(&shared, now) => {}
            _ = leading.wait_for(|leading| *leading != Some(now)) => {}
        }
        shared.metrics.leading(false);
    }
}

/// Everything the leader does. Nothing is kept from an earlier term.
async fn term(shared: &Shared, number: u64) {
    let bootstrap = Bootstrap {
        client: shared.client.clone(),
        namespace: shared.install.clone(),
        cluster: shared.cluster.clone(),
        rhythm: shared.rhythm,
        metrics: shared.metrics.clone(),
    };
    let leader = Leader {
        client: shared.client.clone(),
        world: shared.world.clone(),
        ledger: shared.ledger.clone(),
        cluster: shared.cluster.clone(),
        install: shared.install.clone(),
        network: shared.network.clone(),
        trust: shared.trust.clone(),
        metrics: shared.metrics.clone(),
        events: shared.events.clone(),
        term: number,
        done: Done::default(),
    };
    let approvals = Approvals::default();
    shared.world.forget_running();
    tokio::join!(
        certificates(&bootstrap),
        keys(&bootstrap, shared.ledger.part(), LEDGER_KEYS),
        keys(&bootstrap, &shared.webhook, VOTE_KEYS),
        leader.run(),
        approvals.run(&leader),
        evidence::run(&leader),
        bindings(shared),
    );
}

async fn certificates(bootstrap: &Bootstrap) {
    loop {
        match bootstrap.make().await {
            Ok(()) => tokio::time::sleep(AGAIN).await,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    error,
                    "Keys and certificates are not complete; trying again"
                );
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn keys(bootstrap: &Bootstrap, part: &Part, entry: &'static str) {
    let mut said = String::new();
    loop {
        match bootstrap.ask_keys(part, entry).await {
            Ok(()) => {
                said.clear();
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => {
                let error = format!("{error:#}");
                if error != said {
                    tracing::warn!(entry, error, "Keys of another part are not known yet");
                    said = error;
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn bindings(shared: &Shared) {
    let mut again = tokio::time::interval(GONE);
    again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        again.tick().await;
        match counted(&shared.client, &shared.install).await {
            Ok((running, gone)) => {
                // First: nothing that rests on it waits for the ledger.
                shared.world.put_running(running);
                let ended = collect(&shared.client, &shared.install, &shared.ledger, &gone).await;
                if ended > 0 {
                    tracing::info!(ended, "Ended the streams of pods that are gone");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "It is not known which pods are gone");
            }
        }
    }
}

fn random() -> anyhow::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(actpass_core::hash::hex(&bytes))
}
