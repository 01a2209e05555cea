//! What a ledger process tells a sidecar process through a file.

use std::path::Path;

use actpass_core::hash::{b64u_decode, b64u_encode};
use actpass_sidecar::ledger_client::LedgerAddress;
use anyhow::{Context, anyhow};
use ed25519_dalek::{SigningKey, VerifyingKey};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct File {
    address: String,
    authorities: Vec<String>,
    log_key: String,
    issuer: String,
}

/// A ledger as its sidecars know it, and the issuer's key, which a sidecar has nowhere but here.
pub(crate) struct Handover {
    pub(crate) ledger: LedgerAddress,
    pub(crate) log_key: VerifyingKey,
    pub(crate) issuer: SigningKey,
}

impl Handover {
    /// Writes it; the file is there only once it is whole.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let file = File {
            address: self.ledger.address.clone(),
            authorities: (self.ledger.authorities.iter())
                .map(|authority| b64u_encode(authority))
                .collect(),
            log_key: b64u_encode(self.log_key.as_bytes()),
            issuer: b64u_encode(&self.issuer.to_bytes()),
        };
        let made = path.with_extension("new");
        std::fs::write(&made, serde_json::to_vec(&file)?)?;
        Ok(std::fs::rename(&made, path)?)
    }

    /// Reads it.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("`{}`", path.display()))?;
        let file: File = serde_json::from_slice(&text)?;
        let bytes = |text: &str| b64u_decode(text).map_err(|error| anyhow!("{error}"));
        let key = |text: &str| -> anyhow::Result<[u8; 32]> {
            bytes(text)?
                .try_into()
                .map_err(|_| anyhow!("a key has 32 bytes"))
        };
        Ok(Self {
            ledger: LedgerAddress {
                address: file.address,
                authorities: (file.authorities.iter())
                    .map(|text| bytes(text).map(CertificateDer::from))
                    .collect::<anyhow::Result<_>>()?,
            },
            log_key: VerifyingKey::from_bytes(&key(&file.log_key)?)?,
            issuer: SigningKey::from_bytes(&key(&file.issuer)?),
        })
    }
}
