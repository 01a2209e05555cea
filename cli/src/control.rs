//! The ledger's API as people use it: of a running `actpass run`, or of a ledger opened for one command.

use std::net::SocketAddr;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::client::Client;
use crate::run::ledger::Opened;
use crate::state::{StateDir, write_private};

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
    client: Client,
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
                let client = Client {
                    address: file.address,
                    authorities: vec![certificate],
                    token,
                };
                return Ok(Self { client, own: None });
            }
        }
        let opened = Opened::open(state).await?;
        let Self { client, own: _ } = Self::of(&opened);
        Ok(Self {
            client,
            own: Some(opened),
        })
    }

    /// A client of a ledger in this process.
    pub(crate) fn of(opened: &Opened) -> Self {
        let client = Client {
            address: opened.ledger.address(),
            authorities: vec![opened.certificate.clone()],
            token: opened.token.clone(),
        };
        Self { client, own: None }
    }

    /// Ends the ledger that was opened for this command.
    pub(crate) async fn close(self) {
        if let Some(opened) = self.own {
            opened.ledger.stop().await;
        }
    }
}

impl std::ops::Deref for Control {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}
