//! The server's side: its certificate, which may change while it serves, and clients known by an Ed25519 key.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::DistinguishedName;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use x509_parser::oid_registry::asn1_rs::{Oid, oid};

/// id-Ed25519, RFC 8410 section 3.
const ED25519: Oid<'static> = oid!(1.3.101.112);

/// A certificate with its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// A certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not made.
    #[error("certificate not made")]
    Make(#[from] rcgen::Error),
    /// Not PEM, or without a certificate.
    #[error("`{0}` is no PEM of that kind")]
    Pem(&'static str),
    /// The key does not fit, or is of a kind not supported.
    #[error("certificate and key cannot be used")]
    Tls(#[from] rustls::Error),
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl Identity {
    /// A certificate for `name` over a fresh key, which is its own authority.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn make(name: &str) -> Result<Self, IdentityError> {
        let made = rcgen::generate_simple_self_signed([name.to_owned()])?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Ok(Self {
            chain: vec![made.cert.der().clone()],
            key: key.into(),
        })
    }

    /// A certificate, with those above it, and its key, as PEM.
    ///
    /// # Errors
    /// Where the texts are none.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| IdentityError::Pem("certificate"))?;
        if chain.is_empty() {
            return Err(IdentityError::Pem("certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| IdentityError::Pem("key"))?;
        Ok(Self { chain, key })
    }

    /// The certificate itself.
    ///
    /// # Errors
    /// There is none.
    pub fn certificate(&self) -> Result<&CertificateDer<'static>, IdentityError> {
        self.chain.first().ok_or(IdentityError::Pem("certificate"))
    }

    fn certified(self) -> Result<CertifiedKey, IdentityError> {
        let Self { chain, key } = self;
        let provider = aws_lc_rs::default_provider();
        Ok(CertifiedKey::from_der(chain, key, &provider)?)
    }
}

/// What a server shows: each handshake gets the newest.
#[derive(Debug)]
pub struct Shown {
    current: ArcSwap<CertifiedKey>,
}

impl Shown {
    /// Shows `identity`.
    ///
    /// # Errors
    /// Where certificate and key do not fit.
    pub fn new(identity: Identity) -> Result<Self, IdentityError> {
        Ok(Self {
            current: ArcSwap::from_pointee(identity.certified()?),
        })
    }

    /// Shows `identity` from now on.
    ///
    /// # Errors
    /// Where certificate and key do not fit; what was shown stays then.
    pub fn replace(&self, identity: Identity) -> Result<(), IdentityError> {
        self.current.store(Arc::new(identity.certified()?));
        Ok(())
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// A server whose clients may show an Ed25519 key, over HTTP/2 or HTTP/1.1.
///
/// # Errors
/// Where TLS 1.3 is not to be had.
pub fn config(shown: Arc<Shown>) -> Result<Arc<ServerConfig>, IdentityError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyEd25519 {
        provider: provider.clone(),
    });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session skips the proof of the client's key.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The Ed25519 public key of a client's certificates.
pub fn client_key(certificates: &[CertificateDer<'_>]) -> Option<[u8; 32]> {
    let (rest, parsed) = x509_parser::parse_x509_certificate(certificates.first()?).ok()?;
    let info = parsed.public_key();
    if !rest.is_empty() || info.algorithm.algorithm != ED25519 {
        return None;
    }
    info.subject_public_key.data.as_ref().try_into().ok()
}

/// Accepts any certificate over an Ed25519 key whose holder proves it.
#[derive(Debug)]
struct AnyEd25519 {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyEd25519 {
    fn client_auth_mandatory(&self) -> bool {
        // People, the command line and the API server come without one.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match client_key(std::slice::from_ref(end_entity)) {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(rustls::Error::InvalidCertificate(
                CertificateError::BadEncoding,
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General(
            "only TLS 1.3 is spoken here".to_owned(),
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
