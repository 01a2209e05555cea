//! How one upstream is reached: its declaration, and the TLS configuration made from it once.

use std::sync::Arc;

use actpass_core::upstream::{Addresses, ErrorStyle, Protocol, Tls, TlsMode, Upstream};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::extract::{Refused, body_limit};

/// One upstream under one policy.
pub struct Route {
    upstream: Upstream,
    tls: Option<ClientConfigs>,
}

/// One configuration for requests that came over HTTP/1.1, one for those that came over HTTP/2.
struct ClientConfigs {
    http1: Arc<rustls::ClientConfig>,
    http2: Arc<rustls::ClientConfig>,
}

/// The declaration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// The declared CA bundle is not PEM certificates.
    #[error("`tls.caBundle` holds no usable certificate")]
    CaBundle,
    /// TLS cannot be configured.
    #[error("TLS cannot be configured")]
    Tls(#[from] rustls::Error),
}

impl Route {
    /// Prepares an upstream: public roots and its own declared ones.
    ///
    /// # Errors
    /// Where the declared certificates cannot be used.
    pub fn new(upstream: &Upstream) -> Result<Self, RouteError> {
        let tls = match upstream.tls.mode {
            TlsMode::Intercept => Some(client_configs(upstream.tls.ca_bundle.as_deref())?),
            TlsMode::Passthrough | TlsMode::None => None,
        };
        Ok(Self {
            upstream: upstream.clone(),
            tls,
        })
    }

    /// What stands for an upstream that is declared no more, while a connection to it is open under audit.
    ///
    /// # Errors
    /// TLS cannot be configured.
    pub(crate) fn undeclared(tls: bool) -> Result<Self, RouteError> {
        let mode = if tls {
            TlsMode::Intercept
        } else {
            TlsMode::None
        };
        Self::new(&Upstream {
            name: String::new(),
            hosts: Vec::new(),
            ports: Vec::new(),
            addresses: Addresses::Public,
            protocol: Protocol::Http,
            tls: Tls {
                mode,
                ca_bundle: None,
            },
            credentials: Vec::new(),
            actions: Vec::new(),
            error_style: ErrorStyle::Problem,
            failed_statuses: Vec::new(),
        })
    }

    /// The declaration.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Most bytes of body to read for this request before it is judged.
    ///
    /// # Errors
    /// Why it may have no body.
    pub fn body_bytes_max(&self, method: &str, target: &str) -> Result<u64, Refused> {
        body_limit(&self.upstream, method, target)
    }

    /// TLS towards the upstream; `None`: clear text.
    pub(crate) fn tls(&self, http2: bool) -> Option<&Arc<rustls::ClientConfig>> {
        let configs = self.tls.as_ref()?;
        Some(if http2 {
            &configs.http2
        } else {
            &configs.http1
        })
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route")
            .field("upstream", &self.upstream.name)
            .finish_non_exhaustive()
    }
}

fn client_configs(ca_bundle: Option<&str>) -> Result<ClientConfigs, RouteError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(pem) = ca_bundle {
        let mut added = 0;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots
                .add(certificate.map_err(|_| RouteError::CaBundle)?)
                .map_err(|_| RouteError::CaBundle)?;
            added += 1;
        }
        if added == 0 {
            return Err(RouteError::CaBundle);
        }
    }
    let mut http1 =
        rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
    let mut http2 = http1.clone();
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    // An upstream that has no HTTP/2 may still choose the other.
    http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(ClientConfigs {
        http1: Arc::new(http1),
        http2: Arc::new(http2),
    })
}
