//! A small HTTP/2 client of one other part: TLS 1.3, known by its authority and its name.

use std::sync::Mutex as SyncMutex;
use std::time::Duration;

use actpass_core::wire::Problem;
use actpass_transport::client;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

/// It answers within milliseconds or is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A durable write on a slow disk, with a bundle of 1 MiB on its way.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of one answer: 20 questions of each of 64 Passports, 16 KiB each, and room for the rest.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Another part did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Not reached, or the connection broke.
    #[error("the {part} at {address} does not answer")]
    Away {
        /// Which.
        part: &'static str,
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It said no.
    #[error("the {part} refused: {} ({})", .problem.detail, .problem.code)]
    Refused {
        /// Which.
        part: &'static str,
        /// What it says.
        problem: Box<Problem>,
    },
    /// It said something this build does not understand.
    #[error("the {part}'s answer is not understood: {why}")]
    Answer {
        /// Which.
        part: &'static str,
        /// Why.
        why: String,
    },
}

impl CallError {
    /// Whether the same would be refused again, for what it is.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Refused { problem, .. } => matches!(problem.status, 400 | 404 | 409 | 422),
            _ => false,
        }
    }
}

/// One other part. Its connection is made anew when it breaks.
pub struct Part {
    part: &'static str,
    name: &'static str,
    address: String,
    connector: SyncMutex<Option<TlsConnector>>,
    sender: Mutex<Option<http2::SendRequest<Full<Bytes>>>>,
}

impl Part {
    /// The part that people call `part`, `name` in its certificate, at `HOST:PORT`. Nothing is asked of it before
    /// [`Part::believe`].
    pub fn new(part: &'static str, name: &'static str, address: String) -> Self {
        Self {
            part,
            name,
            address,
            connector: SyncMutex::default(),
            sender: Mutex::default(),
        }
    }

    /// From now on its certificate has to lead to one of these.
    ///
    /// # Errors
    /// Where they cannot be used.
    pub fn believe(&self, authorities: &[CertificateDer<'static>]) -> Result<(), CallError> {
        let config = client::config(authorities, None, "h2").map_err(|error| self.answer(error))?;
        let mut connector = self
            .connector
            .lock()
            .unwrap_or_else(|lock| lock.into_inner());
        *connector = Some(TlsConnector::from(config));
        Ok(())
    }

    /// One request; the body of its answer.
    ///
    /// # Errors
    /// Where the part is away or says no.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Bytes,
    ) -> Result<Bytes, CallError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.name))
            .header(http::header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| self.answer(error))?;
        let asked = async {
            let mut sender = self.sender().await?;
            let answer = sender.send_request(request).await;
            let answer = answer.map_err(|error| self.away(error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
            let body = body.await.map_err(|error| self.away(error))?.to_bytes();
            Ok((status, body))
        };
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, asked).await;
        let answered = answered.unwrap_or_else(|_| Err(self.away("no answer in time")));
        if matches!(answered, Err(CallError::Away { .. })) {
            // The next request is made on a fresh connection.
            *self.sender.lock().await = None;
        }
        let (status, body) = answered?;
        match status {
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(body),
            _ => Err(self.refused(status, &body)),
        }
    }

    async fn sender(&self) -> Result<http2::SendRequest<Full<Bytes>>, CallError> {
        let mut kept = self.sender.lock().await;
        if let Some(sender) = kept.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let made = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await;
        let sender = made.unwrap_or_else(|_| Err(self.away("no connection in time")))?;
        Ok(kept.insert(sender).clone())
    }

    async fn connect(&self) -> Result<http2::SendRequest<Full<Bytes>>, CallError> {
        let connector = self
            .connector
            .lock()
            .unwrap_or_else(|lock| lock.into_inner())
            .clone();
        let connector = connector.ok_or_else(|| self.away("no authority is known yet"))?;
        let socket = TcpStream::connect(&self.address).await;
        let socket = socket.map_err(|error| self.away(error))?;
        socket.set_nodelay(true).map_err(|error| self.away(error))?;
        let name = ServerName::try_from(self.name).map_err(|error| self.answer(error))?;
        let stream = connector.connect(name, socket).await;
        let stream = stream.map_err(|error| self.away(error))?;
        let made = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| self.away(error))?;
        // Ends with the connection; whoever sends on it then is told.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "Connection ended");
            }
        });
        Ok(sender)
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> CallError {
        match serde_json::from_slice(body) {
            Ok(problem) => CallError::Refused {
                part: self.part,
                problem: Box::new(problem),
            },
            Err(_) => self.answer(format!("status {status}")),
        }
    }

    fn away(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CallError {
        CallError::Away {
            part: self.part,
            address: self.address.clone(),
            source: source.into(),
        }
    }

    /// An answer, or a configuration, that is not what it should be.
    pub(crate) fn answer(&self, why: impl ToString) -> CallError {
        CallError::Answer {
            part: self.part,
            why: why.to_string(),
        }
    }
}
