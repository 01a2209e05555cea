//! Runs one permitted action, once.
//!
//! *Guarantees.* A request is sent at most once: it is tried again only where it provably never left (the connection
//! could not be made, or a pooled one was closed before it took the request and gave it back). What is not known to
//! have failed before doing is `ambiguous`.

mod body;
mod passing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actpass_core::decide::Permitted;
use actpass_core::error::chain;
use actpass_core::evidence::record::OutcomeResult;
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use jiff::Timestamp;

use crate::connect::{ConnectTo, Connected, Reach, connect};
use crate::credential::Credential;
use crate::pool::{Key, Pool, Sender};
use crate::route::Route;

pub(crate) use body::{BodyError, OutBody};
pub(crate) use passing::{Passed, Passing, Target};

/// Language models take minutes to their first byte.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(600);

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

const RAN_OUT: &str = "the permit ran out before the request could be sent";

/// Sends what is permitted.
pub struct Executor {
    pool: Arc<Pool>,
    connect_to: Vec<ConnectTo>,
    clock: Clock,
}

/// The request as it goes out, less what the executor adds.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) target: http::uri::PathAndQuery,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) http2: bool,
}

/// What came of sending.
pub(crate) enum Sent {
    /// The upstream began to answer.
    Answered(Box<Answered>),
    /// It did not: this is the outcome.
    Not {
        result: OutcomeResult,
        detail: String,
    },
}

/// An answer that has begun.
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    pub(crate) started: Instant,
    /// Gives an HTTP/1.1 connection back once the body is read.
    pub(crate) back: Option<Return>,
}

/// An HTTP/1.1 connection that may be used again.
pub(crate) struct Return {
    pool: Arc<Pool>,
    key: Key,
    sender: http1::SendRequest<OutBody>,
}

impl Return {
    /// Gives the connection back as soon as it is ready for another request.
    pub(crate) fn give(mut self) {
        if self.sender.is_ready() {
            self.pool.put(self.key, Sender::Http1(self.sender));
            return;
        }
        tokio::spawn(async move {
            if self.sender.ready().await.is_ok() {
                self.pool.put(self.key, Sender::Http1(self.sender));
            }
        });
    }
}

impl Executor {
    /// An executor with the given connection overrides.
    pub fn new(connect_to: Vec<ConnectTo>) -> Self {
        Self {
            pool: Arc::new(Pool::default()),
            connect_to,
            clock: Arc::new(Timestamp::now),
        }
    }

    /// The same, by this clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Sends the request of `permitted`, which ends with this call.
    pub(crate) async fn execute(
        &self,
        permitted: Permitted,
        route: &Route,
        credential: Option<&Credential>,
        outgoing: Outgoing,
    ) -> Sent {
        let not_after = permitted.not_after();
        if self.is_over(not_after) {
            return not_sent(RAN_OUT.to_owned());
        }
        let action = permitted.into_action();
        let key = Key {
            upstream: action.upstream.clone(),
            host: action.host.clone(),
            port: action.port,
            credential: credential.map(|credential| credential.name().to_string()),
            http2: outgoing.http2,
            enforced: true,
        };
        let mut request = Some((outgoing, credential));
        while let Some(sender) = self.pool.take(&key) {
            let Some((outgoing, credential)) = request.take() else {
                break;
            };
            match self
                .send(sender, &key, &outgoing, credential, route, not_after)
                .await
            {
                Attempt::Sent(sent) => return sent,
                Attempt::NeverLeft => request = Some((outgoing, credential)),
            }
        }
        let Some((outgoing, credential)) = request else {
            return not_sent("the request was not sent".to_owned());
        };
        let connecting = connect(
            route,
            &action.host,
            action.port,
            outgoing.http2,
            Reach::Declared,
            &self.connect_to,
        );
        let connected = match connecting.await {
            Ok(connected) => connected,
            Err(error) => return not_sent(chain(&error)),
        };
        let sender = match handshake(connected).await {
            Ok(sender) => sender,
            Err(error) => return not_sent(chain(&error)),
        };
        if let Sender::Http2(sender) = &sender {
            self.pool.put(key.clone(), Sender::Http2(sender.clone()));
        }
        match self
            .send(sender, &key, &outgoing, credential, route, not_after)
            .await
        {
            Attempt::Sent(sent) => sent,
            Attempt::NeverLeft => {
                not_sent("the connection closed before it took the request".to_owned())
            }
        }
    }

    fn is_over(&self, not_after: Option<Timestamp>) -> bool {
        not_after.is_some_and(|end| (self.clock)() >= end)
    }

    async fn send(
        &self,
        sender: Sender,
        key: &Key,
        outgoing: &Outgoing,
        credential: Option<&Credential>,
        route: &Route,
        not_after: Option<Timestamp>,
    ) -> Attempt {
        // Pooled connections were tried and a new one was made since the permit was last looked at.
        if self.is_over(not_after) {
            return Attempt::Sent(not_sent(RAN_OUT.to_owned()));
        }
        let http2 = matches!(sender, Sender::Http2(_));
        let request = match build(key, outgoing, credential, http2, route) {
            Ok(request) => request,
            Err(error) => return Attempt::Sent(not_sent(error.to_string())),
        };
        match self.hand_over(sender, key, request).await {
            Handed::Answered(answered) => Attempt::Sent(Sent::Answered(answered)),
            Handed::NeverLeft(_) => Attempt::NeverLeft,
            Handed::Failed(sent) => Attempt::Sent(sent),
        }
    }

    async fn hand_over(&self, sender: Sender, key: &Key, request: Request<OutBody>) -> Handed {
        let started = Instant::now();
        let (answered, back) = match sender {
            Sender::Http1(mut sender) => {
                let answered =
                    tokio::time::timeout(FIRST_BYTE_TIMEOUT, sender.try_send_request(request))
                        .await;
                let (pool, key) = (self.pool.clone(), key.clone());
                (answered, Some(Return { pool, key, sender }))
            }
            Sender::Http2(mut sender) => (
                tokio::time::timeout(FIRST_BYTE_TIMEOUT, sender.try_send_request(request)).await,
                None,
            ),
        };
        match answered {
            Ok(Ok(response)) => Handed::Answered(Box::new(Answered {
                response,
                started,
                back,
            })),
            // hyper hands the request back only if it was never written.
            Ok(Err(mut error)) => match error.take_message() {
                Some(request) => Handed::NeverLeft(Box::new(request)),
                None => Handed::Failed(ambiguous(chain(error.error()))),
            },
            Err(_) => Handed::Failed(ambiguous(
                "the upstream did not begin to answer in time".to_owned(),
            )),
        }
    }
}

enum Attempt {
    Sent(Sent),
    NeverLeft,
}

/// What became of a request on one connection.
enum Handed {
    /// It is being answered.
    Answered(Box<Answered>),
    /// It was never written, and here it is.
    NeverLeft(Box<Request<OutBody>>),
    /// This is its outcome.
    Failed(Sent),
}

/// What an answer's status says about the effect.
pub(crate) fn result_of(status: StatusCode, route: &Route) -> OutcomeResult {
    match status.as_u16() {
        200..=299 => OutcomeResult::Ok,
        400 | 401 | 403 | 404 | 422 => OutcomeResult::Failed,
        listed if route.upstream().failed_statuses.contains(&listed) => OutcomeResult::Failed,
        _ => OutcomeResult::Ambiguous,
    }
}

/// The same where the answer did not come whole: the status said what the upstream did, and only where it said "done" is
/// that in doubt now.
pub(crate) fn broken_off(result: OutcomeResult) -> OutcomeResult {
    match result {
        OutcomeResult::Failed => OutcomeResult::Failed,
        _ => OutcomeResult::Ambiguous,
    }
}

fn build(
    key: &Key,
    outgoing: &Outgoing,
    credential: Option<&Credential>,
    http2: bool,
    route: &Route,
) -> Result<Request<OutBody>, http::Error> {
    let scheme = if route.tls(http2).is_some() {
        "https"
    } else {
        "http"
    };
    let default = if route.tls(http2).is_some() { 443 } else { 80 };
    let authority = if key.port == default {
        key.host.to_string()
    } else {
        format!("{}:{}", key.host, key.port)
    };
    let uri: Uri = if http2 {
        Uri::builder()
            .scheme(scheme)
            .authority(authority.as_str())
            .path_and_query(outgoing.target.clone())
            .build()?
    } else {
        Uri::from(outgoing.target.clone())
    };
    let mut request = Request::builder()
        .method(outgoing.method.clone())
        .uri(uri)
        .body(OutBody::Whole(Full::new(outgoing.body.clone())))?;
    *request.version_mut() = if http2 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    *request.headers_mut() = outgoing.headers.clone();
    if !http2 {
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_str(&authority)?);
    }
    if let Some(credential) = credential {
        request
            .headers_mut()
            .insert(credential.name().clone(), credential.value());
    }
    Ok(request)
}

async fn handshake(connected: Connected) -> Result<Sender, hyper::Error> {
    let io = TokioIo::new(connected.io);
    // Each connection's task ends with the connection, at the latest when its sender is dropped.
    if connected.http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        let (sender, connection) = builder.handshake(io).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "Upstream connection ended");
            }
        });
        Ok(Sender::Http2(sender))
    } else {
        let (sender, connection) = http1::handshake(io).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "Upstream connection ended");
            }
        });
        Ok(Sender::Http1(sender))
    }
}

fn not_sent(detail: String) -> Sent {
    Sent::Not {
        result: OutcomeResult::NotSent,
        detail,
    }
}

fn ambiguous(detail: String) -> Sent {
    Sent::Not {
        result: OutcomeResult::Ambiguous,
        detail,
    }
}
