//! The ledger's transport: TLS 1.3, its own self-signed certificate, sidecars known by their key.

use std::sync::Arc;

use actpass_core::hash::{StreamId, sha256};
use rustls::DistinguishedName;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use x509_parser::oid_registry::asn1_rs::{Oid, oid};

/// Name in the ledger's certificate.
pub const LEDGER_NAME: &str = "ledger.actpass.internal";

/// id-Ed25519, RFC 8410 section 3.
const ED25519: Oid<'static> = oid!(1.3.101.112);

/// The ledger's certificate, made at each start and handed to those who may connect.
#[derive(Debug)]
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl Identity {
    /// Makes a certificate over a fresh key.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn make() -> Result<Self, rcgen::Error> {
        let made = rcgen::generate_simple_self_signed([LEDGER_NAME.to_owned()])?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Ok(Self {
            certificate: made.cert.der().clone(),
            key,
        })
    }

    /// The certificate, which is its own trust root.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The server side of the transport.
    ///
    /// # Errors
    /// Where the certificate does not fit its key.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(AnyEd25519 {
            provider: provider.clone(),
        });
        let key = PrivateKeyDer::from(self.key.clone_key());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.certificate.clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session skips the proof of the client's key.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

/// The Ed25519 public key of a client certificate, and the stream it names.
pub fn client_stream(certificates: &[CertificateDer<'_>]) -> Option<(StreamId, [u8; 32])> {
    let key = ed25519_key(certificates.first()?)?;
    Some((StreamId::from_bytes(sha256(&[&key])), key))
}

fn ed25519_key(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let (rest, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let info = parsed.public_key();
    if !rest.is_empty() || info.algorithm.algorithm != ED25519 {
        return None;
    }
    info.subject_public_key.data.as_ref().try_into().ok()
}

/// Accepts any certificate over an Ed25519 key whose holder proves it: who that is, the passport bound to the key says.
#[derive(Debug)]
struct AnyEd25519 {
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for AnyEd25519 {
    fn client_auth_mandatory(&self) -> bool {
        // People and the command line come with a token instead.
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
        match ed25519_key(end_entity) {
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
