//! The controller's session stream, as its sidecar follows it: [`actpass_core::session`].
//!
//! *Flow*: connect, show the pod's token, read lines, keep what they say; where the stream ends, begin anew.
//!
//! *Guarantees*: what counts is always one bundle and one passport that was whole, signed by a trusted issuer, bound to our
//! key and of the bundle's tenant. With the controller away it counts until the passport's end; once the controller says
//! no, it counts no more.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actpass_core::bundle::{BUNDLE_VERSION, Bundle, BundleSpec};
use actpass_core::error::chain;
use actpass_core::hash::sha256;
use actpass_core::passport::jws::{self, IssuerKeys};
use actpass_core::session::{FENCE_HEADER, LINE_BYTES_MAX, SESSION_PATH, SILENCE_MAX, SessionLine};
use actpass_core::succession::{Purpose, Succession};
use actpass_core::wire::Problem;
use actpass_transport::client::ClientError;
use actpass_transport::{client, names};
use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use ed25519_dalek::{SigningKey, VerifyingKey};
use futures_util::future::BoxFuture;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::{Session, SessionError};
use crate::known_log::LedgerKeys;
use crate::pod::verified::Fence;

/// A connection takes milliseconds, and so does the first line of the answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// First and longest wait before the controller is tried again.
const RETRY_WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Between two tellings of the fence: one that opens and shuts all the time is told in turns. Longer than the controller's own rest.
const NEWS_EVERY: Duration = Duration::from_secs(15);

/// How long a request waits for the policy that the ledger already knows.
const REFRESH_MAX: Duration = Duration::from_secs(2);

/// Longest refusal that is read.
const PROBLEM_BYTES_MAX: usize = 16 * 1024;

/// Longest token: a JSON Web Token of a ServiceAccount has about 1 KiB.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;

/// Where the controller is and how both sides are known.
#[derive(Clone, Debug)]
pub struct Controller {
    /// `HOST:PORT`; a name is resolved for each connection, so that it may lead to another replica.
    pub address: String,
    /// To one of these its certificate leads.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The pod's token, read anew for each connection: the kubelet replaces it.
    pub token: PathBuf,
    /// Keys that passports are signed with, until it says which they are now.
    pub issuer_keys: IssuerKeys,
    /// SHA-256 of those that the pod was made with: later ones have to lead back to them.
    pub issuer_pins: BTreeSet<[u8; 32]>,
    /// Keys that checkpoints are signed with, which the session changes as the controller says.
    pub ledger_keys: LedgerKeys,
    /// SHA-256 of those that the pod was made with.
    pub ledger_pins: BTreeSet<[u8; 32]>,
}

/// The session of one pod.
#[derive(Debug)]
pub struct RemoteSession {
    holder: VerifyingKey,
    issuer_keys: ArcSwap<IssuerKeys>,
    issuer_pins: BTreeSet<[u8; 32]>,
    ledger_keys: LedgerKeys,
    ledger_pins: BTreeSet<[u8; 32]>,
    policy: watch::Sender<Arc<Bundle>>,
    passport: ArcSwap<Result<Held, SessionError>>,
    heard: watch::Sender<bool>,
}

/// A passport as it was received.
#[derive(Debug)]
struct Held {
    name: Arc<str>,
    agent: Arc<str>,
    token: String,
    tenant: String,
    expires: Timestamp,
}

/// Follows the controller; see [`Follower::run`].
pub struct Follower {
    session: Arc<RemoteSession>,
    controller: Controller,
    connector: TlsConnector,
}

/// Why the stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// The controller says no, and says it again if it is asked again.
    #[error("{0}")]
    Refused(String),
    /// It is away, or something in between is.
    #[error("the controller at {address} does not answer")]
    Away {
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The token is not to be had.
    #[error("the pod's token `{path}` cannot be read")]
    Token {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It says something that does not fit.
    #[error("the controller's session stream: {0}")]
    Line(String),
    /// It is to be told of the fence.
    #[error("there is news of the fence")]
    Fence(Fence),
}

/// The session of the pod that holds `key`, and what keeps it up to date once it runs.
///
/// # Errors
/// Where the authorities or the key cannot be used.
pub fn session(
    controller: Controller,
    key: &SigningKey,
) -> Result<(Arc<RemoteSession>, Follower), ClientError> {
    let config = client::config(&controller.authorities, Some(key), "http/1.1")?;
    let none_yet = SessionError("the controller was not reached yet".to_owned());
    let session = Arc::new(RemoteSession {
        holder: key.verifying_key(),
        issuer_keys: ArcSwap::from_pointee(controller.issuer_keys.clone()),
        issuer_pins: controller.issuer_pins.clone(),
        ledger_keys: controller.ledger_keys.clone(),
        ledger_pins: controller.ledger_pins.clone(),
        policy: watch::Sender::new(Arc::new(nothing_declared()?)),
        passport: ArcSwap::from_pointee(Err(none_yet)),
        heard: watch::Sender::new(false),
    });
    let follower = Follower {
        session: session.clone(),
        controller,
        connector: TlsConnector::from(config),
    };
    Ok((session, follower))
}

/// The policy under which nothing has a name.
fn nothing_declared() -> Result<Bundle, ClientError> {
    Bundle::new(BundleSpec {
        v: BUNDLE_VERSION.to_owned(),
        tenant: "none/none/none".to_owned(),
        environment: None,
        mode: actpass_core::mode::Mode::Enforce,
        passports: Vec::new(),
        upstreams: Vec::new(),
        policies: Vec::new(),
    })
    .map_err(|error| ClientError::Key(error.to_string()))
}

impl RemoteSession {
    /// Waits until the controller has said what counts, be it that nothing does.
    pub async fn heard(&self) {
        // The sender is ours, so it cannot be gone.
        drop(self.heard.subscribe().wait_for(|heard| *heard).await);
    }

    /// Policies as they change, beginning with the one that counts now.
    pub fn policies(&self) -> watch::Receiver<Arc<Bundle>> {
        self.policy.subscribe()
    }

    /// The tenant, once a passport said which.
    pub fn tenant(&self) -> Option<String> {
        let passport = self.passport.load();
        let held = passport.as_ref().as_ref().ok()?;
        Some(held.tenant.clone())
    }

    fn take(&self, line: SessionLine) -> Result<(), Ended> {
        match line {
            SessionLine::Bundle { bundle } => {
                let bundle = Bundle::parse(bundle.as_bytes());
                let bundle = bundle.map_err(|error| Ended::Line(format!("a bundle: {error}")))?;
                tracing::info!(digest = %bundle.digest(), "Policy received");
                self.policy.send_replace(Arc::new(bundle));
            }
            SessionLine::Keys {
                issuer,
                checkpoints,
            } => {
                let keys = led_to(&issuer, Purpose::Passports, &self.issuer_pins);
                let keys = keys.map_err(Ended::Line)?.into_iter();
                let keys: IssuerKeys = keys.map(|key| (jws::key_id(&key), key)).collect();
                if !checkpoints.is_empty() {
                    let keys = led_to(&checkpoints, Purpose::Checkpoints, &self.ledger_pins);
                    let keys = keys.map_err(Ended::Line)?;
                    let ids: Vec<String> = keys.iter().map(jws::key_id).collect();
                    if self.ledger_keys.exchange(keys) {
                        tracing::info!(?ids, "Keys of checkpoints from now on");
                    }
                }
                if **self.issuer_keys.load() != keys {
                    let ids: Vec<&String> = keys.keys().collect();
                    tracing::info!(?ids, "Keys of passports from now on");
                    self.issuer_keys.store(Arc::new(keys));
                }
            }
            SessionLine::Passport { name, token } => {
                let held = self.checked(name, token).map_err(Ended::Line)?;
                tracing::debug!(passport = %held.name, expires = %held.expires, "Passport received");
                self.passport.store(Arc::new(Ok(held)));
                self.heard.send_replace(true);
            }
            SessionLine::Revoked { why } => self.forget(why),
            SessionLine::Ping | SessionLine::Unknown => {}
        }
        Ok(())
    }

    fn checked(&self, name: String, token: String) -> Result<Held, String> {
        let wrong = |what: &str| format!("a passport: {what}");
        let claims = jws::verify(&token, &self.issuer_keys.load(), Timestamp::now())
            .map_err(|error| wrong(&error.to_string()))?;
        let bound = (claims.cnf.jwk.key()).map_err(|error| wrong(&error.to_string()))?;
        if bound != self.holder {
            return Err(wrong("it is bound to another key"));
        }
        if claims.passport != name {
            return Err(wrong("it is of another Passport than said"));
        }
        if claims.tenant != self.policy.borrow().spec().tenant {
            return Err(wrong("it is of another tenant than the policy"));
        }
        let expires =
            Timestamp::from_second(claims.exp).map_err(|_| wrong("its end is no time"))?;
        Ok(Held {
            name: name.into(),
            agent: claims.agent.into(),
            token,
            tenant: claims.tenant,
            expires,
        })
    }

    fn forget(&self, why: String) {
        let before = self.passport.swap(Arc::new(Err(SessionError(why.clone()))));
        if before.as_ref().as_ref().err() != Some(&SessionError(why.clone())) {
            tracing::warn!(why, "No passport: everything is denied");
        }
        self.heard.send_replace(true);
    }

    fn held<T>(&self, read: impl FnOnce(&Held) -> T) -> Result<T, SessionError> {
        match self.passport.load().as_ref() {
            Ok(held) if Timestamp::now() < held.expires => Ok(read(held)),
            Ok(_) => Err(SessionError(
                "the passport has expired, and the controller issued no other".to_owned(),
            )),
            Err(error) => Err(error.clone()),
        }
    }
}

/// The keys of a list that lead back to one that the pod was made with.
fn led_to(
    list: &str,
    purpose: Purpose,
    pins: &BTreeSet<[u8; 32]>,
) -> Result<Vec<VerifyingKey>, String> {
    let list: Succession = list.parse().map_err(|error| format!("keys: {error}"))?;
    let led = list.led_to(purpose, |key| pins.contains(&sha256(&[key.as_bytes()])));
    match led.is_empty() {
        true => {
            Err("keys: none leads back to what this pod was made with; make it anew".to_owned())
        }
        false => Ok(led),
    }
}

impl Session for RemoteSession {
    fn bundle(&self) -> Arc<Bundle> {
        self.policy.borrow().clone()
    }

    fn passport(&self) -> Result<Arc<str>, SessionError> {
        self.held(|held| held.name.clone())
    }

    fn agent(&self) -> Option<Arc<str>> {
        self.held(|held| held.agent.clone()).ok()
    }

    fn token(&self) -> Result<String, SessionError> {
        self.held(|held| held.token.clone())
    }

    fn is_heard(&self) -> bool {
        *self.heard.borrow()
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        let mut policies = self.policy.subscribe();
        let before = policies.borrow_and_update().digest();
        Box::pin(async move {
            let newer = policies.wait_for(|bundle| bundle.digest() != before);
            // Without a newer one the ledger says again that this one is old.
            drop(tokio::time::timeout(REFRESH_MAX, newer).await);
        })
    }
}

impl Follower {
    /// Follows the controller until cancelled, and tells it of the fence where that is not as it must be.
    pub async fn run(self, mut fence: watch::Receiver<Fence>) {
        let mut wait = RETRY_WAITS.0;
        let (mut news_from, mut owed) = (Instant::now(), None);
        loop {
            let connected = Instant::now();
            match self.follow(&mut fence, news_from, &mut owed).await {
                Ended::Refused(why) => self.session.forget(why),
                Ended::Fence(news) => {
                    tracing::info!("Telling the controller of the fence");
                    news_from = Instant::now() + NEWS_EVERY;
                    owed = Some(news);
                    continue;
                }
                ended => {
                    tracing::warn!(error = %chain(&ended), "Session stream ended; beginning anew")
                }
            }
            if connected.elapsed() > RETRY_WAITS.1 {
                wait = RETRY_WAITS.0;
            }
            tokio::time::sleep(jittered(wait)).await;
            wait = (wait * 2).min(RETRY_WAITS.1);
        }
    }

    /// What is `owed` is told first, whatever is known since: a way out that was open for a moment was open.
    async fn follow(
        &self,
        fence: &mut watch::Receiver<Fence>,
        news_from: Instant,
        owed: &mut Option<Fence>,
    ) -> Ended {
        let told = owed.clone();
        let told = told.unwrap_or_else(|| fence.borrow_and_update().clone());
        let body = match self.opened(&told).await {
            Ok(body) => body,
            Err(ended) => return ended,
        };
        *owed = None;
        tokio::select! {
            ended = self.lines(body) => match ended {
                Ok(()) => self.away("it ended the stream".into()),
                Err(ended) => ended,
            },
            news = news(fence, &told, news_from) => Ended::Fence(news),
        }
    }

    async fn opened(&self, fence: &Fence) -> Result<Incoming, Ended> {
        let token = self.token()?;
        let asking = async {
            let tcp = TcpStream::connect(&self.controller.address).await?;
            tcp.set_nodelay(true)?;
            let name = ServerName::try_from(names::CONTROLLER)?;
            let tls = self.connector.connect(name, tcp).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
            // Ends with the answer's body.
            tokio::spawn(connection);
            let mut request = Request::get(SESSION_PATH)
                .header(header::HOST, names::CONTROLLER)
                .header(header::AUTHORIZATION, format!("Bearer {}", token.trim()));
            // Also that it stands: an earlier container may have said otherwise.
            if let Some(word) = fence.word() {
                request = request.header(FENCE_HEADER, word);
            }
            let request = request.body(Empty::<Bytes>::new())?;
            Ok(sender.send_request(request).await?)
        };
        let answer = match tokio::time::timeout(CONNECT_TIMEOUT, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(self.away(error)),
            Err(elapsed) => return Err(self.away(elapsed.into())),
        };
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        let status = answer.status();
        let body = Limited::new(answer.into_body(), PROBLEM_BYTES_MAX);
        let body = tokio::time::timeout(CONNECT_TIMEOUT, body.collect()).await;
        let problem: Option<Problem> = match body {
            Ok(Ok(body)) => serde_json::from_slice(&body.to_bytes()).ok(),
            _ => None,
        };
        match problem {
            // What it says of itself passes; what it says of us does not.
            Some(problem) if status == StatusCode::FORBIDDEN => Err(Ended::Refused(format!(
                "{} ({})",
                problem.detail, problem.code
            ))),
            Some(problem) => Err(Ended::Line(format!("{status}: {}", problem.detail))),
            None => Err(Ended::Line(format!("{status} without a reason"))),
        }
    }

    fn token(&self) -> Result<Zeroizing<String>, Ended> {
        use std::io::Read;
        let path = &self.controller.token;
        let read = || {
            let mut text = Zeroizing::new(String::new());
            let file = std::fs::File::open(path)?;
            file.take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
            Ok(text)
        };
        read().map_err(|source| Ended::Token {
            path: path.clone(),
            source,
        })
    }

    /// Takes line after line, until the stream ends.
    async fn lines(&self, mut body: Incoming) -> Result<(), Ended> {
        let mut waiting = BytesMut::new();
        loop {
            let frame = tokio::time::timeout(SILENCE_MAX, body.frame()).await;
            let frame = match frame {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Err(self.away(error.into())),
                Ok(None) => return Ok(()),
                Err(elapsed) => return Err(self.away(elapsed.into())),
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            waiting.extend_from_slice(&data);
            while let Some(end) = memchr::memchr(b'\n', &waiting) {
                let line = waiting.split_to(end + 1);
                let line: SessionLine = serde_json::from_slice(&line)
                    .map_err(|error| Ended::Line(format!("a line: {error}")))?;
                self.session.take(line)?;
            }
            if waiting.len() > LINE_BYTES_MAX {
                return Err(Ended::Line("a line without an end".to_owned()));
            }
        }
    }

    fn away(&self, source: Box<dyn std::error::Error + Send + Sync>) -> Ended {
        Ended::Away {
            address: self.controller.address.clone(),
            source,
        }
    }
}

/// What the controller, which was told `told`, is to be told next, and not before `from`. A way out that opens and is shut again
/// meanwhile is told all the same.
async fn news(fence: &mut watch::Receiver<Fence>, told: &Fence, from: Instant) -> Fence {
    let mut opened = None;
    loop {
        let now = fence.borrow_and_update().clone();
        let is_news = now.is_news(told);
        if is_news && matches!(now, Fence::Open(_)) {
            opened = Some(now.clone());
        }
        let next = opened.clone().or(is_news.then_some(now));
        match next {
            Some(next) if Instant::now() >= from => return next,
            next => {
                // Without a sender nobody looks any more, and only time goes on.
                let changed = async {
                    if fence.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(from), if next.is_some() => {}
                }
            }
        }
    }
}

/// Between half of it and all of it, so that the pods of a node do not come back together.
fn jittered(wait: Duration) -> Duration {
    let mut byte = [0; 1];
    // Without randomness it is all of it.
    let part = match getrandom::fill(&mut byte) {
        Ok(()) => u32::from(byte[0]),
        Err(_) => 255,
    };
    wait / 2 + (wait / 2) * part / 255
}
