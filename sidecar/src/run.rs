//! The parts of a pod's proxy, put together.
//!
//! *Flow*: read what the pod was made with; write the files that agents trust; send what an earlier container left; hold a
//! session with the controller; capture, decide, record. *Guarantees*: until policy is here nothing has a name and nothing
//! is permitted. *Errors* end the process, and the kubelet starts it anew; nothing leaves meanwhile.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actpass_core::error::chain;
use actpass_core::evidence::commitment::Openings;
use actpass_core::evidence::record::{Body, Containment, Note, stream_id};
use actpass_core::pod::contract::*;
use actpass_sidecar::dns::{self, DnsEvent, Responder, Transport};
use actpass_sidecar::execute::Executor;
use actpass_sidecar::judge::Judge;
use actpass_sidecar::known_log::{KnownLog, LedgerKeys};
use actpass_sidecar::ledger_client::{LedgerAddress, LedgerClient};
use actpass_sidecar::listen::{self, Capture, Lookup};
use actpass_sidecar::mint::Mint;
use actpass_sidecar::names::Names;
use actpass_sidecar::pep::Pep;
use actpass_sidecar::pod::config::Config;
use actpass_sidecar::pod::ending::Ending;
use actpass_sidecar::pod::health::{self, Answers};
use actpass_sidecar::pod::resolve;
use actpass_sidecar::pod::search::Search;
use actpass_sidecar::pod::trust::{PUBLIC_ROOTS, TrustFiles};
use actpass_sidecar::pod::verified::{self, Fence};
use actpass_sidecar::pod::ways::{RESULT_FILE, nameserver};
use actpass_sidecar::proxy::Proxy;
use actpass_sidecar::recorder::Recorder;
use actpass_sidecar::resume::{ResumeError, TakenUp, take_up};
use actpass_sidecar::ring::Ring;
use actpass_sidecar::session::Session;
use actpass_sidecar::session::remote::{Controller, RemoteSession, session};
use actpass_sidecar::shipper::{ShipError, Shipper};
use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
use ed25519_dalek::SigningKey;
use http::StatusCode;
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Undeclared names waiting to be recorded; more of them wait for their answers.
const DNS_EVENTS_MAX: usize = 256;

/// How long the last records may take on their way to the ledger.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Between two tries to reach a ledger that is away.
const RETRY: Duration = Duration::from_secs(1);

/// The ring file in [`STATE_DIR`].
const RING_FILE: &str = "stream.ring";

/// What is known of the process, for probes.
#[derive(Debug)]
struct Standing {
    started: AtomicBool,
    stopping: AtomicBool,
    ending: Ending,
}

/// Serves the pod until SIGTERM.
pub(crate) async fn run() -> anyhow::Result<()> {
    let config = Config::read(|name| std::env::var(name).ok(), Path::new(AUTHORITIES_DIR))?;
    tracing::info!(pod = config.pod, "Starting");
    let mut terminated = signal(SignalKind::terminate())?;
    let standing = Arc::new(Standing {
        started: AtomicBool::new(false),
        stopping: AtomicBool::new(false),
        ending: Ending::new(config.grace, config.drain),
    });
    let mut serving = JoinSet::new();
    let probes = probes(standing.clone());
    for socket in bound(&config.pod_ips, HEALTH_PORT).await? {
        let probes = probes.clone();
        serving.spawn(async move {
            health::serve(socket, probes).await;
            Ok(())
        });
    }

    // Agents of this pod have read its certificate, so a container that starts anew has the same authority.
    let mint = Arc::new(Mint::kept(Path::new(STATE_DIR))?);
    let public = std::fs::read(PUBLIC_ROOTS).unwrap_or_default();
    if public.is_empty() {
        tracing::warn!(
            path = PUBLIC_ROOTS,
            "The image has no public authorities; agents trust declared ones only"
        );
    }
    write_trust(&mint, &public, &[])?;

    let ring_path = Path::new(STATE_DIR).join(RING_FILE);
    let address = LedgerAddress {
        address: config.ledger.clone(),
        authorities: config.authorities.clone(),
    };
    let taken_up = tokio::select! {
        taken_up = stream(&ring_path, &address, &config) => taken_up?,
        _ = terminated.recv() => return Ok(()),
    };
    let TakenUp { recorder, key } = taken_up;
    let stream = recorder.stream();
    let client = Arc::new(LedgerClient::new(address, &key)?);
    let controller = Controller {
        address: config.controller.clone(),
        authorities: config.authorities.clone(),
        token: Path::new(TOKEN_DIR).join(TOKEN_FILE),
        issuer_keys: config.issuer_keys.clone(),
        issuer_pins: config.issuer_pins.clone(),
        ledger_keys: config.ledger_keys.clone(),
        ledger_pins: config.ledger_pins.clone(),
    };
    let (session, follower) = session(controller, &key)?;
    let result = Path::new(VERIFY_DIR).join(RESULT_FILE);
    let fence = watch::Sender::new(verified::known(&result));
    let told = fence.subscribe();
    serving.spawn(async move {
        follower.run(told).await;
        Ok(())
    });
    serving.spawn(record_fence(recorder.clone(), fence.subscribe()));
    serving.spawn(async move {
        verified::follow(&result, fence).await;
        Ok(())
    });
    let pep = Arc::new(Pep::new(
        session.clone(),
        recorder.clone(),
        client,
        Containment::Pod,
    ));
    let stop = watch::Sender::new(false);
    let proxy = Arc::new(
        Proxy::new(pep.clone(), pep.clone(), Executor::new(Vec::new()))
            .measured(pep.metrics().clone()),
    );
    let names = Arc::new(ArcSwap::from_pointee(Names::new(&session.bundle())?));
    let recording = capture(&mut serving, &names, &mint, &proxy, &pep, &stop).await?;
    let measured = metrics(pep.clone());
    for socket in bound(&config.pod_ips, METRICS_PORT).await? {
        let measured = measured.clone();
        serving.spawn(async move {
            health::serve(socket, measured).await;
            Ok(())
        });
    }
    serving.spawn(follow_policy(session.clone(), names, mint, public));
    let started = standing.clone();
    let heard = session.clone();
    serving.spawn(async move {
        heard.heard().await;
        started.started.store(true, Ordering::Relaxed);
        tracing::info!(%stream, "Started");
        std::future::pending().await
    });
    let shipping = ship(session, pep.clone(), key, config.ledger_keys);
    tokio::pin!(shipping);

    let ended = tokio::select! {
        _ = terminated.recv() => Ok(()),
        Some(ended) = serving.join_next() => match ended {
            Ok(Ok(())) => Err(anyhow!("a part of the sidecar ended")),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(error.into()),
        },
        ended = &mut shipping => Err(ended.err().unwrap_or_else(|| anyhow!("the records' way to the ledger ended"))),
    };
    standing.stopping.store(true, Ordering::Relaxed);
    tracing::info!("Stopping");
    stop.send_replace(true);
    proxy.settle(standing.ending.patience(Instant::now())).await;
    serving.shutdown().await;
    proxy.give_up().await;
    drop(recording);
    if ended.is_ok() {
        note(&recorder, "stopped", "The pod ends.");
        pep.close();
        match tokio::time::timeout(LAST_RECORDS, shipping).await {
            Ok(Ok(())) => std::fs::remove_file(&ring_path).context("remove the ring file")?,
            Ok(Err(error)) => return Err(error),
            Err(_) => bail!("the last records did not reach the ledger in time"),
        }
    }
    ended
}

/// The pod's stream: that of an earlier container where there was one, whose records go to the ledger first; else a new one.
async fn stream(path: &Path, address: &LedgerAddress, config: &Config) -> anyhow::Result<TakenUp> {
    while path.exists() {
        let tenant = std::fs::read_to_string(path.with_extension("tenant")).unwrap_or_default();
        let log = (!tenant.is_empty())
            .then(|| KnownLog::new(format!("actpass/{tenant}"), config.ledger_keys.clone()));
        match take_up(path, address.clone(), log).await {
            Ok(taken_up) => {
                tracing::info!("The stream of an earlier container goes on");
                return Ok(taken_up);
            }
            // It was never opened, so nothing was permitted under it: a file that was not finished is no loss.
            Err(ResumeError::Ring(_)) if tenant.is_empty() => {
                std::fs::remove_file(path).context("remove a ring file that was never used")?;
            }
            // Another key may sign for the ledger by now: the next container reads the list as it is then.
            Err(error @ ResumeError::Ship(ShipError::Proof(_))) => {
                tokio::time::sleep(RETRY).await;
                return Err(error).context("send the records of an earlier container");
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "Records of an earlier container are not taken; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    let key = fresh_key()?;
    let stream = stream_id(&key.verifying_key());
    let recorder = Arc::new(Recorder::new(stream, Ring::create(path, &key)?));
    Ok(TakenUp { recorder, key })
}

/// Opens the stream once there is a passport, and sends its records until the recorder closes.
async fn ship(
    session: Arc<RemoteSession>,
    pep: Arc<Pep>,
    key: SigningKey,
    ledger_keys: LedgerKeys,
) -> anyhow::Result<()> {
    let tenant = loop {
        if let Some(tenant) = session.tenant() {
            break tenant;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let path = Path::new(STATE_DIR)
        .join(RING_FILE)
        .with_extension("tenant");
    std::fs::write(path, &tenant).context("keep the tenant beside the ring file")?;
    let log = KnownLog::new(format!("actpass/{tenant}"), ledger_keys);
    let mut shipper: Shipper = pep.shipper(key, log);
    while let Err(error) = shipper.open().await {
        match &error {
            ShipError::Refused(refused) if !refused.may_pass() => {
                tracing::error!(error = %chain(&error), "The ledger refuses the stream; trying again");
            }
            ShipError::Refused(_) | ShipError::Session(_) => {
                tracing::warn!(error = %chain(&error), "The stream is not open yet");
            }
            _ => return Err(error.into()),
        }
        tokio::time::sleep(RETRY).await;
    }
    Ok(shipper.run().await?)
}

/// Listens where the packet filter steers to. What it gives back records names until it is dropped.
async fn capture(
    serving: &mut JoinSet<anyhow::Result<()>>,
    names: &Arc<ArcSwap<Names>>,
    mint: &Arc<Mint>,
    proxy: &Arc<Proxy>,
    pep: &Arc<Pep>,
    stop: &watch::Sender<bool>,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let loopback = loopback();
    let mut listeners = Vec::new();
    for socket in bound(&loopback, CAPTURE_PORT).await? {
        listeners.push(socket.into_std()?);
    }
    let dialled = names.clone();
    let lookup: Lookup = Arc::new(move |address| dialled.load().dialled(address));
    let listening = listen::serve(
        listeners,
        Capture::Redirected,
        lookup,
        mint.clone(),
        proxy.clone(),
        stop.subscribe(),
    );
    let mut stopped = stop.subscribe();
    serving.spawn(async move {
        listening.await?;
        match *stopped.borrow_and_update() {
            true => Ok(()),
            false => Err(anyhow!("a listener ended")),
        }
    });
    let (events, undeclared) = mpsc::channel(DNS_EVENTS_MAX);
    let recording = tokio::spawn(pep.clone().record_names(undeclared));
    let resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let responder = responder(names.clone(), Search::of(&resolv));
    let judge = pep.clone();
    let relay = resolve::relay(
        names.clone(),
        Arc::new(move || judge.audit().is_some()),
        Search::of(&resolv),
        nameserver(&resolv).map(|ip| (ip, 53).into()),
    );
    for address in loopback {
        let address = SocketAddr::from((address, DNS_PORT));
        let (udp, tcp) = (
            UdpSocket::bind(address).await?,
            TcpListener::bind(address).await?,
        );
        let (responder, relay) = (responder.clone(), relay.clone());
        let serve = dns::serve_relaying(responder, relay, udp, tcp, events.clone());
        serving.spawn(async move { Ok(serve.await?) });
    }
    Ok(recording)
}

/// Answers names of the policy that counts now.
fn responder(names: Arc<ArcSwap<Names>>, search: Search) -> Responder {
    Arc::new(move |query: &[u8], transport: Transport| {
        let names = names.load();
        let mut answer = names.zone().answer(query, transport);
        let noted = |event: DnsEvent| search.noted(event, names.zone());
        answer.event = answer.event.and_then(noted);
        answer
    })
}

/// Each policy's names and authorities, as soon as it counts.
async fn follow_policy(
    session: Arc<RemoteSession>,
    names: Arc<ArcSwap<Names>>,
    mint: Arc<Mint>,
    public: Vec<u8>,
) -> anyhow::Result<()> {
    let mut policies = session.policies();
    loop {
        let bundle = policies.borrow_and_update().clone();
        match names.load().next(&bundle) {
            Ok(next) => names.store(Arc::new(next)),
            // The names that are known stay; what is new has no address, and so cannot be reached.
            Err(error) => {
                tracing::error!(error = %chain(&error), "Names of the policy not taken; the pod has to be made anew")
            }
        }
        let upstreams = bundle.spec().upstreams.iter();
        let declared: Vec<String> = upstreams
            .filter_map(|it| it.tls.ca_bundle.clone())
            .collect();
        if let Err(error) = write_trust(&mint, &public, &declared) {
            tracing::error!(%error, "Trust files not written");
        }
        policies.changed().await?;
    }
}

/// What the verifier finds is evidence: that it found nothing before the agent started, and each change after.
async fn record_fence(
    recorder: Arc<Recorder>,
    mut fence: watch::Receiver<Fence>,
) -> anyhow::Result<()> {
    let mut before = fence.borrow_and_update().clone();
    loop {
        fence.changed().await?;
        let now = fence.borrow_and_update().clone();
        if let Some(sentence) = now.sentence(&before) {
            note(&recorder, "fence", &sentence);
        }
        before = now;
    }
}

fn write_trust(mint: &Mint, public: &[u8], declared: &[String]) -> anyhow::Result<()> {
    let files = TrustFiles::new(mint.ca_pem(), declared, public, BUNDLE_FILE);
    files
        .write([
            (CA_FILE, &files.authority),
            (BUNDLE_FILE, &files.bundle),
            (JKS_FILE, &files.jks),
            (WGETRC_FILE, &files.wgetrc),
        ])
        .context("write the trust files")
}

fn probes(standing: Arc<Standing>) -> Answers {
    Arc::new(move |path| {
        let started = standing.started.load(Ordering::Relaxed);
        let stopping = standing.stopping.load(Ordering::Relaxed);
        let status = match path {
            READY_PATH if started && !stopping => StatusCode::OK,
            READY_PATH => StatusCode::SERVICE_UNAVAILABLE,
            ENDING_PATH => {
                standing.ending.begins(Instant::now());
                StatusCode::OK
            }
            _ => StatusCode::NOT_FOUND,
        };
        (status, "text/plain", String::new())
    })
}

fn metrics(pep: Arc<Pep>) -> Answers {
    let result = Path::new(VERIFY_DIR).join(RESULT_FILE);
    Arc::new(move |path| {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        match path {
            "/metrics" => {
                let mut text = String::new();
                pep.write_metrics(&mut text);
                verified::write_metrics(&mut text, &result);
                text.push_str("# EOF\n");
                (StatusCode::OK, kind, text)
            }
            _ => (StatusCode::NOT_FOUND, kind, String::new()),
        }
    })
}

/// 127.0.0.1, and ::1 where the pod has it.
fn loopback() -> Vec<IpAddr> {
    let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let here = |ip: &IpAddr| std::net::TcpListener::bind((*ip, 0)).is_ok();
    both.into_iter().filter(here).collect()
}

async fn bound(addresses: &[IpAddr], port: u16) -> anyhow::Result<Vec<TcpListener>> {
    let mut sockets = Vec::new();
    for address in addresses {
        let socket = TcpListener::bind((*address, port)).await;
        sockets.push(socket.with_context(|| format!("listen on {address} port {port}"))?);
    }
    Ok(sockets)
}

fn fresh_key() -> anyhow::Result<SigningKey> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|error| anyhow!("no randomness: {error}"))?;
    Ok(SigningKey::from_bytes(&seed))
}

fn note(recorder: &Recorder, note: &str, text: &str) {
    let body = Body::Note(Note {
        note: note.to_owned(),
        text: text.to_owned(),
    });
    if let Err(error) = recorder.record(body, &Openings::default()) {
        tracing::error!(%error, note, "Not recorded");
    }
}
