//! The client's side.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The key gives no certificate.
    #[error("no client certificate can be made from the key: {0}")]
    Key(String),
    /// The authorities or the certificate cannot be used.
    #[error("the certificates cannot be used")]
    Tls(#[from] rustls::Error),
}

/// TLS 1.3 to a part whose certificate leads to one of `authorities`, as the holder of `key` where one is given. `protocol`
/// is the one protocol offered: `h2` or `http/1.1`.
///
/// # Errors
/// Where the authorities or the key cannot be used.
pub fn config(
    authorities: &[CertificateDer<'static>],
    key: Option<&SigningKey>,
    protocol: &str,
) -> Result<Arc<ClientConfig>, ClientError> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots);
    let mut config = match key {
        Some(key) => {
            let (certificate, private) = certificate(key)?;
            builder.with_client_auth_cert(vec![certificate], private)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Ok(Arc::new(config))
}

/// A self-signed certificate over the key: servers look at the key only.
fn certificate(
    key: &SigningKey,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), ClientError> {
    let wrong = |error: &dyn std::fmt::Display| ClientError::Key(error.to_string());
    let der = key.to_pkcs8_der().map_err(|error| wrong(&error))?;
    let pkcs8 = PrivatePkcs8KeyDer::from(der.as_bytes().to_vec());
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_ED25519)
        .map_err(|error| wrong(&error))?;
    let certificate = rcgen::CertificateParams::new(Vec::new())
        .and_then(|params| params.self_signed(&pair))
        .map_err(|error| wrong(&error))?;
    Ok((certificate.der().clone(), PrivateKeyDer::from(pkcs8)))
}
