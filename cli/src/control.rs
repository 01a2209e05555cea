//! The ledger's API as people use it: of a running `actpass run`, or of a ledger opened for one command.

use std::net::SocketAddr;

use actpass_core::wire::Problem;
use actpass_transport::{client, names};
use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::run::ledger::Opened;
use crate::state::{StateDir, write_private};

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where a running `actpass` listens, as it stands in the state directory.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlFile {
    address: SocketAddr,
    certificate: String,
    pid: u32,
}

impl ControlFile {
    /// Publishes a ledger's address to the owner of the state directory.
    pub(crate) fn publish(
        state: &StateDir,
        address: SocketAddr,
        certificate: &CertificateDer<'_>,
    ) -> anyhow::Result<()> {
        let file = Self {
            address,
            certificate: STANDARD.encode(certificate),
            pid: std::process::id(),
        };
        write_private(&state.control(), &serde_json::to_string(&file)?)
    }
}

/// A client of the API.
pub(crate) struct Control {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    token: Zeroizing<String>,
    /// A ledger of our own, where nobody runs one.
    own: Option<Opened>,
}

impl Control {
    /// Connects to the running `actpass`, or opens the ledger for this one command.
    pub(crate) async fn connect(state: &StateDir) -> anyhow::Result<Self> {
        if let Ok(text) = std::fs::read_to_string(state.control()) {
            let file: ControlFile =
                serde_json::from_str(&text).context("control.json in the state directory")?;
            let token = Zeroizing::new(
                std::fs::read_to_string(state.token())
                    .context("control.token in the state directory")?,
            );
            let certificate = CertificateDer::from(STANDARD.decode(&file.certificate)?);
            if TcpStream::connect(file.address).await.is_ok() {
                return Ok(Self {
                    address: file.address,
                    certificate,
                    token,
                    own: None,
                });
            }
        }
        let opened = Opened::open(state).await?;
        Ok(Self {
            address: opened.ledger.address(),
            certificate: opened.certificate.clone(),
            token: opened.token.clone(),
            own: Some(opened),
        })
    }

    /// A client of a ledger in this process.
    pub(crate) fn of(opened: &Opened) -> Self {
        let (certificate, token) = (opened.certificate.clone(), opened.token.clone());
        Self {
            address: opened.ledger.address(),
            certificate,
            token,
            own: None,
        }
    }

    /// Ends the ledger that was opened for this command.
    pub(crate) async fn close(self) {
        if let Some(opened) = self.own {
            opened.ledger.stop().await;
        }
    }

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
        let authorities = std::slice::from_ref(&self.certificate);
        let config = client::config(authorities, None, "http/1.1")?;
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
        let connection = tokio::spawn(connection);
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
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| anyhow!(error))?;
        drop(sender);
        connection.abort();
        let body = body.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => bail!("{}", problem.detail),
            Err(_) => bail!("the ledger answered {status}"),
        }
    }
}
