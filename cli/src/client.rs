//! A client of the ledger's API, with a token that says who asks.

use std::net::SocketAddr;

use actpass_core::wire::Problem;
use actpass_transport::{client, names};
use anyhow::{Context, anyhow};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// Most bytes of an answer that is kept whole.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Longest line of an answer: those of an exported log.
const LINE_BYTES_MAX: usize = actpass_ledger::export::LINE_BYTES_MAX;

/// A ledger, and somebody who asks it.
pub(crate) struct Client {
    /// Where it is reached.
    pub(crate) address: SocketAddr,
    /// The authorities that its certificate may lead to.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    /// Who asks.
    pub(crate) token: Zeroizing<String>,
}

/// The ledger's no.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Refused {
    /// Of HTTP.
    pub(crate) status: http::StatusCode,
    /// Its own sentence.
    detail: String,
}

impl Client {
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let body = self.call("GET", path, Vec::new()).await?;
        serde_json::from_slice(&body).context("the ledger's answer is not understood")
    }

    pub(crate) async fn send<T: Serialize>(
        &self,
        method: &str,
        path: &str,
        body: &T,
    ) -> anyhow::Result<Bytes> {
        self.call(method, path, serde_json::to_vec(body)?).await
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<Bytes> {
        self.ask(method, path, body).await?.whole().await
    }

    /// Asks, and gives the answer as it comes.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<Answer> {
        let config = client::config(&self.authorities, None, "http/1.1")?;
        let tcp = TcpStream::connect(self.address)
            .await
            .context("the ledger does not answer")?;
        let name = ServerName::try_from(names::LEDGER)?;
        let tls = TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .context("TLS with the ledger")?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
        let connection = tokio::spawn(connection).abort_handle();
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", names::LEDGER)
            .header("authorization", format!("Bearer {}", self.token.trim()))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let response = sender
            .send_request(request)
            .await
            .context("the ledger does not answer")?;
        let status = response.status();
        let answer = Answer {
            body: response.into_body(),
            connection,
            buffer: Vec::new(),
        };
        if status.is_success() {
            return Ok(answer);
        }
        let said = answer.whole().await?;
        let detail = match serde_json::from_slice::<Problem>(&said) {
            Ok(problem) => problem.detail,
            Err(_) => format!("the ledger answered {status}"),
        };
        Err(Refused { status, detail }.into())
    }
}

/// An answer on its way.
pub(crate) struct Answer {
    body: Incoming,
    connection: AbortHandle,
    buffer: Vec<u8>,
}

impl Answer {
    /// All of it.
    async fn whole(mut self) -> anyhow::Result<Bytes> {
        let body = Limited::new(&mut self.body, ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| anyhow!(error))?;
        Ok(body.to_bytes())
    }

    /// The next line, with its end; the last may lack it.
    ///
    /// # Errors
    /// Where the answer breaks off.
    pub(crate) async fn line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            let found = self
                .buffer
                .iter()
                .skip(searched)
                .position(|it| *it == b'\n');
            if let Some(at) = found {
                let rest = self
                    .buffer
                    .split_off(searched.saturating_add(at).saturating_add(1));
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            searched = self.buffer.len();
            anyhow::ensure!(
                searched <= LINE_BYTES_MAX,
                "the ledger's answer is not understood"
            );
            let Some(frame) = self.body.frame().await else {
                let last = std::mem::take(&mut self.buffer);
                return Ok((!last.is_empty()).then_some(last));
            };
            let frame = frame.context("the ledger's answer broke off; try again")?;
            if let Some(chunk) = frame.data_ref() {
                self.buffer.extend_from_slice(chunk);
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
