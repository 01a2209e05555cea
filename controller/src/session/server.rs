//! `GET /v1/session`: admits a sidecar and opens its stream.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actpass_core::error::chain;
use actpass_core::pod::contract::{POD_LABEL, TOKEN_AUDIENCE};
use actpass_core::session::{
    FENCE_BYTES_MAX, FENCE_HEADER, FENCE_STANDS, FENCE_UNVERIFIED, SESSION_PATH,
};
use actpass_core::wire::Problem;
use actpass_kubernetes::seeds::Keyring;
use actpass_kubernetes::who::{self, BoundPod};
use actpass_transport::serve::Peer;
use actpass_webhook::settings::Settings;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use ed25519_dalek::VerifyingKey;
use futures_util::stream;
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::admit::{self, Caller, Code, Looked, Refusal};
use super::bindings::{Asked, Asking, Bindings, Found, NotKept};
use super::live::{Issuer, Live, policy, standing};
use super::sandbox::Sandbox;
use crate::contact::Contact;
use crate::events::{Events, Regarding};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::trust::Trust;
use crate::world::{Published, World};

/// Lines on their way to one sidecar: a bundle, keys and a passport.
const LINES: usize = 3;

/// Pods that are looked up at a time: each asks the API server three times.
const ADMISSIONS: usize = 64;

/// Longest wait until it is known whether a session is opened.
const ADMIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest wait for the API server.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// What the sessions of one replica rest on.
pub struct SessionsOptions {
    /// Of the API server.
    pub client: Client,
    /// What it says.
    pub world: Arc<World>,
    /// Whether it still answers.
    pub contact: Arc<Contact>,
    /// Ends the stream of a sandbox that is gone.
    pub ledger: Arc<Ledger>,
    /// Signs passports.
    pub issuing: watch::Receiver<Arc<Keyring>>,
    /// Id of the cluster.
    pub cluster: String,
    /// The install namespace.
    pub install: String,
    /// What is injected.
    pub settings: Settings,
    /// Most sessions at a time.
    pub sessions_max: usize,
    /// What happened is counted here.
    pub metrics: Arc<Metrics>,
    /// And told here.
    pub events: Events,
    /// What the parts believe of each other.
    pub trust: watch::Receiver<Trust>,
    /// Ends all sessions once true.
    pub stop: watch::Receiver<bool>,
}

/// The sessions of one replica.
pub struct Sessions {
    client: Client,
    world: Arc<World>,
    contact: Arc<Contact>,
    ledger: Arc<Ledger>,
    issuer: Issuer,
    settings: Settings,
    bindings: Bindings,
    slots: Arc<Semaphore>,
    admissions: Semaphore,
    /// By pod: dropping the sender ends the session.
    open: Mutex<BTreeMap<String, (u64, oneshot::Sender<()>)>>,
    metrics: Arc<Metrics>,
    events: Events,
    trust: watch::Receiver<Trust>,
    stop: watch::Receiver<bool>,
}

/// A sidecar that was let in.
struct Admitted {
    pod: BoundPod,
    key: VerifyingKey,
    slot: OwnedSemaphorePermit,
}

impl Sessions {
    /// None yet.
    pub fn new(options: SessionsOptions) -> Arc<Self> {
        let SessionsOptions {
            client,
            world,
            contact,
            ledger,
            issuing,
            cluster,
            install,
            settings,
            sessions_max,
            metrics,
            events,
            trust,
            stop,
        } = options;
        Arc::new(Self {
            bindings: Bindings::new(client.clone(), &install),
            client,
            world,
            contact,
            ledger,
            issuer: Issuer {
                keys: issuing,
                name: format!("actpass/{cluster}"),
            },
            settings,
            slots: Arc::new(Semaphore::new(sessions_max)),
            admissions: Semaphore::new(ADMISSIONS),
            open: Mutex::default(),
            metrics,
            events,
            trust,
            stop,
        })
    }

    async fn admit(&self, peer: Peer, headers: &HeaderMap) -> Result<Admitted, Refusal> {
        let key = peer.key.and_then(|key| VerifyingKey::from_bytes(&key).ok());
        // Under a key of small order some signatures fit any message.
        let Some(key) = key.filter(|key| !key.is_weak()) else {
            let why = "a session is opened with a client certificate over an Ed25519 key";
            return Err(Refusal::new(Code::NoKey, why));
        };
        // What is known here may be of long ago.
        if !self.world.is_current(&self.contact) {
            let why = "the API server does not answer this replica; ask another";
            return Err(Refusal::new(Code::NotReady, why));
        }
        let away = |error: &dyn std::fmt::Display| {
            tracing::warn!(%error, "A session is not opened: the API server does not answer");
            Refusal::new(Code::NotReady, "the API server does not answer; try again")
        };
        let admission = self.admissions.acquire().await;
        let admission = admission.map_err(|error| away(&error))?;
        let pod = self.token(headers).await?;
        // Not before it is known to be a pod: whoever reaches this port could take all.
        let busy = "this replica holds as many sessions as it may; ask another";
        let slot = self.slots.clone().try_acquire_owned();
        let slot = slot.map_err(|_| Refusal::new(Code::Busy, busy))?;
        let found = tokio::time::timeout(LOOK_TIMEOUT, self.pod(&pod)).await;
        let found = found
            .map_err(|error| away(&error))?
            .map_err(|error| away(&error))?;
        let looked = Looked {
            pod: found.as_ref(),
            settings: &self.settings,
        };
        let caller = Caller {
            token: &pod,
            address: peer.address.ip(),
        };
        let published = admit::pod(caller, looked).and_then(|()| self.policy(&pod, looked));
        let published = published.inspect_err(|refusal| self.refused(&pod, refusal))?;
        let tenant = &published.bundle.spec().tenant;
        let asking = Asking {
            tenant,
            pod: &pod,
            key: &key,
            sandbox: &found.as_ref().map(Sandbox::of).unwrap_or_default(),
        };
        let asked = self.bindings.asked(asking, &self.ledger).await;
        let asked = asked.map_err(|error| {
            let error = chain(&error);
            tracing::warn!(error, "It is not known whose a pod's session is");
            let why = "it is not known yet whose the pod's session is; try again";
            Refusal::new(Code::NotReady, why)
        })?;
        self.told(&pod, asked)?;
        drop(admission);
        if let Some(said) = fence(headers) {
            let label = found.as_ref().and_then(label).unwrap_or_default();
            let telling = tokio::time::timeout(LOOK_TIMEOUT, self.fence(&pod, label, said)).await;
            let told = telling.map_err(|error| away(&error))?;
            told.map_err(|error| match error {
                NotKept::TooSoon => Refusal::new(Code::NotReady, error.to_string()),
                NotKept::Api(error) => away(&error),
            })?;
        }
        Ok(Admitted { pod, key, slot })
    }

    /// What is told of whose a session is; it goes on where it is the caller's.
    fn told(&self, pod: &BoundPod, asked: Asked) -> Result<(), Refusal> {
        let BoundPod {
            namespace, name, ..
        } = pod;
        match asked {
            Asked::Holds => Ok(()),
            Asked::Succeeds => {
                tracing::info!(namespace, pod = name, "A pod's session changed its key");
                let note = "its sandbox was made anew: its sidecar has another key, and the stream of the one before has ended; what that left open is ambiguous";
                self.events
                    .note(Regarding::pod(pod), "SessionSucceeded", note);
                Ok(())
            }
            Asked::Unknown => {
                let why = "the kubelet has not said yet in which sandbox the pod runs; try again";
                Err(Refusal::new(Code::NotReady, why))
            }
            Asked::Second => {
                let refusal = Refusal::new(
                    Code::SecondSession,
                    format!(
                        "pod `{namespace}/{name}` has a session under another key in this same sandbox: its token was taken, or the state of its sidecar was lost; delete the pod"
                    ),
                );
                self.refused(pod, &refusal);
                Err(refusal)
            }
        }
    }

    /// Keeps and tells what the pod's own check found.
    async fn fence(&self, pod: &BoundPod, label: &str, found: Found<'_>) -> Result<(), NotKept> {
        self.bindings
            .found(pod, label, found, Instant::now())
            .await?;
        let BoundPod {
            namespace, name, ..
        } = pod;
        match found {
            Found::Open(ways) => {
                tracing::error!(
                    namespace,
                    pod = name,
                    ways,
                    "A pod has a way out beside its sidecar"
                );
                let note = format!("a way out beside the sidecar is open: {ways}; delete the pod");
                self.events.warn(Regarding::pod(pod), "FenceBroken", &note);
            }
            Found::Unverified => {
                tracing::error!(namespace, pod = name, "A pod does not check its fence");
                let note = "its own check of the fence has not ended for minutes; see the logs of actpass-verify";
                self.events
                    .warn(Regarding::pod(pod), "FenceUnverified", note);
            }
            Found::Stands => tracing::debug!(namespace, pod = name, "The fence of a pod stands"),
        }
        Ok(())
    }

    /// The pod whose token it is.
    async fn token(&self, headers: &HeaderMap) -> Result<BoundPod, Refusal> {
        let unauthorized = || {
            let why = format!(
                "a session is opened with the pod's token for audience `{TOKEN_AUDIENCE}`, as Authorization: Bearer"
            );
            Refusal::new(Code::Unauthorized, why)
        };
        let value = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
        let token = value.and_then(|value| value.strip_prefix("Bearer "));
        let token = token
            .filter(|token| !token.is_empty())
            .ok_or_else(unauthorized)?;
        let holder = who::holds(&self.client, token, Some(TOKEN_AUDIENCE)).await;
        let holder = holder.map_err(|error| {
            tracing::warn!(%error, "A token is not reviewed");
            Refusal::new(Code::NotReady, "the API server reviews no token; try again")
        })?;
        holder
            .and_then(|holder| holder.pod())
            .ok_or_else(unauthorized)
    }

    /// The pod as it is now, with all its fields as they came.
    async fn pod(&self, pod: &BoundPod) -> anyhow::Result<Option<Value>> {
        let uri = format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name);
        let request = axum::http::Request::get(uri).body(Vec::new())?;
        match self.client.request(request).await {
            Ok(found) => Ok(Some(found)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The policy that the pod's session begins with. A pod that lacks nothing but a Passport in force has one too, in which
    /// it is told why: its agents are denied with that reason, and go on by themselves once there is one.
    fn policy(&self, pod: &BoundPod, looked: Looked<'_>) -> Result<Arc<Published>, Refusal> {
        let standing = || {
            self.passport(pod)?;
            admit::injected(pod, looked)?;
            standing(&self.world, pod, Timestamp::now())
        };
        let refusal = match standing() {
            Ok(standing) => return Ok(standing.published),
            Err(refusal) => refusal,
        };
        let alone = refusal.code.is_of_passport() && admit::injected(pod, looked).is_ok();
        let policy = alone.then(|| policy(&self.world, pod)).flatten();
        let policy = policy.ok_or_else(|| refusal.clone())?;
        self.metrics.refused(refusal.code);
        self.refused(pod, &refusal);
        Ok(policy)
    }

    fn passport(&self, pod: &BoundPod) -> Result<(), Refusal> {
        let namespace = self.world.namespace(&pod.namespace);
        let passports = self.world.passports(&pod.namespace);
        let passports = passports.iter().map(|object| &**object);
        let account = &pod.service_account;
        let found = admit::passport(namespace.as_deref(), account, passports, Timestamp::now());
        match found {
            // Under audit a pod without one has a session all the same: see `standing`.
            Err(refusal)
                if refusal.code != Code::Suspended
                    && namespace.is_some_and(|namespace| namespace.audits()) =>
            {
                Ok(())
            }
            found => found.map(drop),
        }
    }

    fn refused(&self, pod: &BoundPod, refusal: &Refusal) {
        let Refusal { code, detail } = refusal;
        tracing::info!(
            namespace = pod.namespace,
            pod = pod.name,
            reason = code.as_str(),
            detail,
            "Session refused"
        );
        // Soon over by itself, or no pod to show it on.
        if !matches!(code, Code::NotReady | Code::UnknownPod) {
            self.events
                .warn(Regarding::pod(pod), "SessionRefused", detail);
        }
    }

    /// Takes the place of an older session of the same sidecar, which it lost.
    fn take_place(&self, pod: &BoundPod) -> (u64, oneshot::Receiver<()>) {
        let (sender, replaced) = oneshot::channel();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.get(&pod.uid).map_or(0, |(number, _)| number + 1);
        open.insert(pod.uid.clone(), (number, sender));
        (number, replaced)
    }

    fn leave_place(&self, pod: &BoundPod, number: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.get(&pod.uid).is_some_and(|(now, _)| *now == number) {
            open.remove(&pod.uid);
        }
    }
}

/// What a sidecar says of its fence.
fn fence(headers: &HeaderMap) -> Option<Found<'_>> {
    let found = headers.get(FENCE_HEADER)?.to_str().ok()?;
    Some(match found {
        FENCE_STANDS => Found::Stands,
        FENCE_UNVERIFIED => Found::Unverified,
        ways => Found::Open(ways.get(..ways.len().min(FENCE_BYTES_MAX))?),
    })
}

/// What tells the pod from all others for a NetworkPolicy.
fn label(pod: &Value) -> Option<&str> {
    pod.get("metadata")?.get("labels")?.get(POD_LABEL)?.as_str()
}

/// The API of sessions.
pub fn router(sessions: Arc<Sessions>) -> Router {
    Router::new()
        .route(SESSION_PATH, get(open))
        .with_state(sessions)
}

async fn open(
    State(sessions): State<Arc<Sessions>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    // However long the API server takes: whoever is not known yet keeps a place no longer.
    let admitted = tokio::time::timeout(ADMIT_TIMEOUT, sessions.admit(peer, &headers)).await;
    let busy = |_| {
        Err(Refusal::new(
            Code::NotReady,
            "the API server does not answer; try again",
        ))
    };
    let admitted = match admitted.unwrap_or_else(busy) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            sessions.metrics.refused(refusal.code);
            return problem(&refusal);
        }
    };
    let Admitted { pod, key, slot } = admitted;
    let (lines, receiver) = mpsc::channel(LINES);
    let (number, replaced) = sessions.take_place(&pod);
    let live = Live {
        world: sessions.world.clone(),
        contact: sessions.contact.clone(),
        issuer: sessions.issuer.clone(),
        trust: sessions.trust.clone(),
        pod: pod.clone(),
        key,
        lines,
        replaced,
        stop: sessions.stop.clone(),
    };
    tracing::info!(namespace = pod.namespace, pod = pod.name, "Session opened");
    sessions.metrics.session_opened();
    // Ends with the connection, which the server awaits.
    tokio::spawn(async move {
        let ended = live.run().await;
        tracing::info!(namespace = pod.namespace, pod = pod.name, why = %ended, "Session ended");
        sessions.leave_place(&pod, number);
        sessions.metrics.session_closed();
        drop(slot);
    });
    let body = stream::unfold(receiver, |mut receiver| async {
        let line = receiver.recv().await?;
        Some((Ok::<_, Infallible>(line), receiver))
    });
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

fn problem(refusal: &Refusal) -> Response {
    let Refusal { code, detail } = refusal;
    let problem = Problem {
        kind: "about:blank".to_owned(),
        title: "No session".to_owned(),
        status: code.status(),
        detail: detail.clone(),
        code: code.as_str().to_owned(),
    };
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::FORBIDDEN);
    let kind = [(CONTENT_TYPE, "application/problem+json")];
    (status, kind, Json(problem)).into_response()
}
