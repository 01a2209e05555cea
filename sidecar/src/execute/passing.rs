//! Sends what is passed on under audit: the agent's own request, on connections that nothing permitted ever uses.

use std::net::SocketAddr;

use actpass_core::error::chain;
use actpass_core::evidence::record::OutcomeResult;
use actpass_core::host::HostName;
use actpass_core::mode::Unenforced;
use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri, Version};
use tokio::net::TcpStream;

use super::{Answered, Executor, Handed, OutBody, Sent, handshake, not_sent};
use crate::connect::{ConnectError, Reach, connect, reach};
use crate::pool::{Key, Sender};
use crate::route::Route;

/// A request as it goes on, less its body.
pub(crate) struct Passing {
    pub(crate) method: Method,
    pub(crate) target: PathAndQuery,
    /// Host, and port where the agent says one.
    pub(crate) authority: String,
    pub(crate) headers: HeaderMap,
    pub(crate) http2: bool,
    /// Whether the connection is not to be used by others, as it may become something else than HTTP.
    pub(crate) alone: bool,
}

/// What came of it.
pub(crate) enum Passed {
    /// The upstream began to answer.
    Answered(Box<Answered>),
    /// It did not: this is the outcome.
    Not {
        result: OutcomeResult,
        detail: String,
        /// Whether it is not whom we take it for, so that only the agent can tell.
        stranger: bool,
    },
}

/// Where a connection goes that is passed on unread.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A name, resolved now.
    Name(HostName, u16),
    /// An address that the agent itself dialled.
    Address(SocketAddr),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl Executor {
    /// Passes a request on, for which the leave is. It is sent at most once, as a permitted one.
    pub(crate) async fn pass_on(
        &self,
        _leave: Unenforced,
        route: &Route,
        (host, port): (&HostName, u16),
        passing: &Passing,
        body: OutBody,
    ) -> Passed {
        let key = Key {
            upstream: route.upstream().name.clone(),
            host: host.clone(),
            port,
            credential: None,
            http2: passing.http2,
            enforced: false,
        };
        let mut body = body;
        while !passing.alone
            && let Some(sender) = self.pool.take(&key)
        {
            match self.hand(sender, &key, route, passing, body).await {
                Handed::Answered(answered) => return Passed::Answered(answered),
                Handed::Failed(sent) => return failed(sent),
                Handed::NeverLeft(request) => body = request.into_body(),
            }
        }
        let connecting = connect(
            route,
            host,
            port,
            passing.http2,
            Reach::Unenforced,
            &self.connect_to,
        );
        let connected = match connecting.await {
            Ok(connected) => connected,
            Err(error) => {
                return Passed::Not {
                    result: OutcomeResult::NotSent,
                    stranger: matches!(error, ConnectError::Tls(..)),
                    detail: chain(&error),
                };
            }
        };
        let sender = match handshake(connected).await {
            Ok(sender) => sender,
            Err(error) => return failed(not_sent(chain(&error))),
        };
        if let Sender::Http2(sender) = &sender {
            self.pool.put(key.clone(), Sender::Http2(sender.clone()));
        }
        match self.hand(sender, &key, route, passing, body).await {
            Handed::Answered(answered) => Passed::Answered(answered),
            Handed::Failed(sent) => failed(sent),
            Handed::NeverLeft(_) => failed(not_sent(
                "the connection closed before it took the request".to_owned(),
            )),
        }
    }

    /// A connection that is passed on unread.
    pub(crate) async fn reach(
        &self,
        leave: &Unenforced,
        target: &Target,
    ) -> Result<TcpStream, ConnectError> {
        reach(leave, target, &self.connect_to).await
    }

    async fn hand(
        &self,
        sender: Sender,
        key: &Key,
        route: &Route,
        passing: &Passing,
        body: OutBody,
    ) -> Handed {
        let http2 = matches!(sender, Sender::Http2(_));
        match build(passing, http2, route.tls(http2).is_some(), body) {
            Ok(request) => self.hand_over(sender, key, request).await,
            Err(error) => Handed::Failed(not_sent(error.to_string())),
        }
    }
}

fn failed(sent: Sent) -> Passed {
    match sent {
        Sent::Answered(answered) => Passed::Answered(answered),
        Sent::Not { result, detail } => Passed::Not {
            result,
            detail,
            stranger: false,
        },
    }
}

fn build(
    passing: &Passing,
    http2: bool,
    tls: bool,
    body: OutBody,
) -> Result<Request<OutBody>, http::Error> {
    let uri: Uri = if http2 {
        Uri::builder()
            .scheme(if tls { "https" } else { "http" })
            .authority(passing.authority.as_str())
            .path_and_query(passing.target.clone())
            .build()?
    } else {
        Uri::from(passing.target.clone())
    };
    let mut request = Request::builder()
        .method(passing.method.clone())
        .uri(uri)
        .body(body)?;
    *request.version_mut() = if http2 {
        Version::HTTP_2
    } else {
        Version::HTTP_11
    };
    *request.headers_mut() = passing.headers.clone();
    if !http2 {
        let host = HeaderValue::from_str(&passing.authority)?;
        request.headers_mut().insert(HOST, host);
    }
    Ok(request)
}
