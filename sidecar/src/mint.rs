//! The certificate authority of one run or pod: mints a leaf for each name that is dialled.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actpass_core::host::HostName;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// Names with a minted leaf: the declared ones and 64 per wildcard; more are minted anew each time.
const LEAVES_MAX: usize = 1_024;

/// Life of a leaf, and how far it is backdated for clocks that are behind.
const LEAF_LIFE: Duration = Duration::from_secs(7 * 86_400);
const BACKDATED: Duration = Duration::from_secs(300);

/// A certificate authority whose key never leaves the process.
pub struct Mint {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    leaf_key: KeyPair,
    leaves: Mutex<BTreeMap<HostName, Arc<rustls::ServerConfig>>>,
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// Not signed.
    #[error("certificate not made")]
    Certificate(#[from] rcgen::Error),
    /// Not usable.
    #[error("certificate not usable")]
    Tls(#[from] rustls::Error),
    /// Not kept.
    #[error("the authority's files")]
    File(#[from] std::io::Error),
}

impl Mint {
    /// Makes a new authority (ECDSA P-256, path length 0).
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn new() -> Result<Self, MintError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "ActPass run CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        valid(&mut params, LEAF_LIFE * 52);
        let ca_pem = params.self_signed(&key)?.pem();
        Self::with(Issuer::new(params, key), ca_pem)
    }

    /// The authority whose certificate and key are in `dir`, made there where there is none. Whoever reads the key is
    /// trusted by whoever trusts the certificate.
    ///
    /// # Errors
    /// Where the files cannot be read or written, or are no certificate and key.
    pub fn kept(dir: &Path) -> Result<Self, MintError> {
        let (certificate, key) = (dir.join("ca.pem"), dir.join("ca.key"));
        // The certificate is written last, so that with it everything is there.
        match std::fs::read_to_string(&certificate) {
            Ok(pem) => Self::of_authority(&pem, &Zeroizing::new(std::fs::read_to_string(&key)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = Self::new()?;
                let pem = Zeroizing::new(made.issuer.key().serialize_pem());
                write_whole(&key, pem.as_bytes())?;
                write_whole(&certificate, made.ca_pem.as_bytes())?;
                Ok(made)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Mints under an authority made elsewhere: its certificate and its key as PEM.
    ///
    /// # Errors
    /// Where they are no certificate and key.
    pub fn of_authority(ca_pem: &str, key_pem: &str) -> Result<Self, MintError> {
        let key = KeyPair::from_pem(key_pem)?;
        Self::with(Issuer::from_ca_cert_pem(ca_pem, key)?, ca_pem.to_owned())
    }

    fn with(issuer: Issuer<'static, KeyPair>, ca_pem: String) -> Result<Self, MintError> {
        Ok(Self {
            issuer,
            ca_pem,
            leaf_key: KeyPair::generate()?,
            leaves: Mutex::new(BTreeMap::new()),
        })
    }

    /// The authority's certificate, for the agent to trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The server side for exactly this name.
    ///
    /// # Errors
    /// Where the leaf cannot be made.
    pub fn server_config(&self, name: &HostName) -> Result<Arc<rustls::ServerConfig>, MintError> {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = leaves.get(name) {
            return Ok(config.clone());
        }
        let config = Arc::new(self.mint(name)?);
        if leaves.len() < LEAVES_MAX {
            leaves.insert(name.clone(), config.clone());
        }
        Ok(config)
    }

    fn mint(&self, name: &HostName) -> Result<rustls::ServerConfig, MintError> {
        let mut params = CertificateParams::new(vec![name.to_string()])?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, LEAF_LIFE);
        let leaf = params.signed_by(&self.leaf_key, &self.issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let mut config =
            rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![leaf.der().clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl std::fmt::Debug for Mint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mint")
    }
}

/// A file of its owner alone, whole at any time.
fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(content)?;
    std::fs::rename(&new, path)
}

fn valid(params: &mut CertificateParams, life: Duration) {
    let now = std::time::SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + life).into();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_kept_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = Mint::kept(dir.path()).unwrap();
        let again = Mint::kept(dir.path()).unwrap();
        assert_eq!(first.ca_pem(), again.ca_pem());
        again.server_config(&"a.test".parse().unwrap()).unwrap();
        std::fs::write(dir.path().join("ca.key"), "none").unwrap();
        assert!(Mint::kept(dir.path()).is_err());
    }
}
