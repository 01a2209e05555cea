//! The sidecar's side of the ledger's API: one long-lived HTTP/2 connection, mutual TLS 1.3 with the stream's key.

use std::time::Duration;

use actpass_core::hash::{StreamId, sha256};
use actpass_core::wire::{Lease, LeaseRequest, OpenStream, Problem, StreamOpened};
use actpass_transport::{client, names};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

/// The ledger answers within milliseconds or is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A group commit on a slow disk takes tens of milliseconds; after this the answer counts as lost.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of one answer: 512 leaves of 32 KiB.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Where the ledger is and how it is known.
#[derive(Clone, Debug)]
pub struct LedgerAddress {
    /// `HOST:PORT`. A name is resolved for each connection.
    pub address: String,
    /// To one of these its certificate leads.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// A connection to the ledger, made anew when it breaks.
pub struct LedgerClient {
    address: String,
    connector: TlsConnector,
    stream: StreamId,
    sender: Mutex<Option<http2::SendRequest<Full<Bytes>>>>,
}

/// The ledger did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Not reached, or the connection broke: nobody knows whether it acted.
    #[error("the ledger at {address} does not answer")]
    Away {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It said no.
    #[error("the ledger refused: {} ({})", .0.detail, .0.code)]
    Refused(Problem),
    /// It said something this build does not understand.
    #[error("the ledger's answer is not understood: {0}")]
    Answer(String),
}

impl LedgerError {
    /// Whether the same request may be taken later: the ledger is away, its disk is full, or it has to be started anew.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Away { .. } => true,
            Self::Refused(problem) => {
                ["busy", "late", "no_space", "poisoned"].contains(&problem.code.as_str())
            }
            Self::Answer(_) => false,
        }
    }
}

impl LedgerClient {
    /// Prepares a client for the stream of `key`. Connects on first use.
    ///
    /// # Errors
    /// Where no client certificate can be made from the key.
    pub fn new(address: LedgerAddress, key: &SigningKey) -> Result<Self, LedgerError> {
        let config = client::config(&address.authorities, Some(key), "h2")
            .map_err(|error| LedgerError::Answer(error.to_string()))?;
        let stream = stream_id(key);
        Ok(Self {
            address: address.address,
            connector: TlsConnector::from(config),
            stream,
            sender: Mutex::new(None),
        })
    }

    /// The stream this client speaks for.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// Opens the stream, or renews its passport. `from` is the size of the kept head.
    ///
    /// # Errors
    /// Where the ledger is away or refuses the passport.
    pub async fn open(&self, passport: &str, from: u64) -> Result<StreamOpened, LedgerError> {
        let body = encode(&OpenStream {
            passport: passport.to_owned(),
        })?;
        decode(
            &self
                .call(Method::POST, &format!("/v1/streams?from={from}"), body)
                .await?,
        )
    }

    /// Sends one batch; the answer's lines as text.
    ///
    /// # Errors
    /// Where the ledger is away (send the same again) or refuses the batch.
    pub async fn batch(&self, body: Bytes) -> Result<Bytes, LedgerError> {
        self.call(
            Method::POST,
            &format!("/v1/streams/{}/records", self.stream),
            body,
        )
        .await
    }

    /// The secret of a permit whose answer was lost.
    ///
    /// # Errors
    /// Where the ledger is away or refuses.
    pub async fn credential(&self, seq: u64) -> Result<Lease, LedgerError> {
        let path = format!("/v1/streams/{}/permits/{seq}/credential", self.stream);
        decode(&self.call(Method::GET, &path, Bytes::new()).await?)
    }

    /// Leases the read credential of an upstream.
    ///
    /// # Errors
    /// Where the ledger is away or refuses.
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Lease, LedgerError> {
        let path = format!("/v1/streams/{}/leases", self.stream);
        decode(&self.call(Method::POST, &path, encode(request)?).await?)
    }

    /// Keeps the exact request behind an escalation.
    ///
    /// # Errors
    /// Where the ledger is away or refuses.
    pub async fn seal(&self, seq: u64, request: Bytes) -> Result<(), LedgerError> {
        let path = format!("/v1/streams/{}/sealed/{seq}", self.stream);
        self.call(Method::PUT, &path, request).await.map(drop)
    }

    /// The sealed request of an approval of this stream's passport.
    ///
    /// # Errors
    /// Where the ledger is away or knows no such request.
    pub async fn sealed(&self, approval: &str) -> Result<Bytes, LedgerError> {
        let path = format!("/v1/streams/{}/sealed-requests/{approval}", self.stream);
        self.call(Method::GET, &path, Bytes::new()).await
    }

    /// The state of an approval of this stream's passport, as JSON text.
    ///
    /// # Errors
    /// Where the ledger is away or knows no such approval.
    pub async fn approval(&self, approval: &str) -> Result<Bytes, LedgerError> {
        let path = format!("/v1/streams/{}/approvals/{approval}", self.stream);
        self.call(Method::GET, &path, Bytes::new()).await
    }

    /// Says that the stream has no more to say.
    ///
    /// # Errors
    /// Where the ledger is away.
    pub async fn close(&self) -> Result<(), LedgerError> {
        self.call(
            Method::DELETE,
            &format!("/v1/streams/{}", self.stream),
            Bytes::new(),
        )
        .await
        .map(drop)
    }

    /// Says that this stream's process is gone and that all it recorded has been sent.
    ///
    /// # Errors
    /// Where the ledger is away or refuses.
    pub async fn close_expired(&self) -> Result<(), LedgerError> {
        let path = format!("/v1/streams/{}?end=expired", self.stream);
        self.call(Method::DELETE, &path, Bytes::new())
            .await
            .map(drop)
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, LedgerError> {
        let away = |source: Box<dyn std::error::Error + Send + Sync>| LedgerError::Away {
            address: self.address.clone(),
            source,
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", names::LEDGER))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| LedgerError::Answer(error.to_string()))?;
        let mut sender = self.connected().await?;
        let exchange = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| away(error.into()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(away)?
                .to_bytes();
            Ok((status, body))
        };
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, exchange).await;
        let (status, body) = match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                self.forget().await;
                return Err(error);
            }
            Err(elapsed) => {
                self.forget().await;
                return Err(away(elapsed.into()));
            }
        };
        if status.is_success() {
            Ok(body)
        } else {
            Err(refused(status, &body))
        }
    }

    async fn connected(&self) -> Result<http2::SendRequest<Full<Bytes>>, LedgerError> {
        let mut slot = self.sender.lock().await;
        if let Some(sender) = slot.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await;
        let sender = match connected {
            Ok(Ok(sender)) => sender,
            Ok(Err(source)) => {
                return Err(LedgerError::Away {
                    address: self.address.clone(),
                    source,
                });
            }
            Err(elapsed) => {
                return Err(LedgerError::Away {
                    address: self.address.clone(),
                    source: elapsed.into(),
                });
            }
        };
        *slot = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(
        &self,
    ) -> Result<http2::SendRequest<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
        let tcp = TcpStream::connect(&self.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(names::LEDGER)?;
        let tls = self.connector.connect(name, tcp).await?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
        // Ends with the connection, and with the sender at the latest.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "Connection to the ledger ended");
            }
        });
        Ok(sender)
    }

    async fn forget(&self) {
        *self.sender.lock().await = None;
    }
}

impl std::fmt::Debug for LedgerClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerClient")
            .field("address", &self.address)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// Stream id of a key: SHA-256 of its public key.
pub fn stream_id(key: &SigningKey) -> StreamId {
    StreamId::from_bytes(sha256(&[key.verifying_key().as_bytes()]))
}

fn refused(status: StatusCode, body: &[u8]) -> LedgerError {
    match serde_json::from_slice(body) {
        Ok(problem) => LedgerError::Refused(problem),
        Err(_) => LedgerError::Answer(format!("status {status} without a reason")),
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Bytes, LedgerError> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| LedgerError::Answer(error.to_string()))
}

fn decode<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, LedgerError> {
    serde_json::from_slice(body).map_err(|error| LedgerError::Answer(error.to_string()))
}
