//! Which PostgreSQL, as whom, and by which certificates it is known.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::StorageError;

/// How long one address may take to answer at all.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);

/// After how long without an acknowledgement the system gives a connection up: sooner than a call, which then says why.
const SENT_WITHIN: Duration = Duration::from_secs(9);

/// Where PostgreSQL is.
#[derive(Clone)]
pub struct PostgresConfig {
    pub(super) server: tokio_postgres::Config,
    pub(super) tls: MakeRustlsConnect,
}

impl PostgresConfig {
    /// From a URL without a password (`postgresql://USER@HOST:PORT/DATABASE`), and the certificates in PEM of the authorities
    /// that the server's certificate is checked against, with its name. Without any, only this machine is spoken to.
    ///
    /// # Errors
    /// [`StorageError::Refused`] where the URL is none or holds a password, or the way there is not protected.
    pub fn parse(
        url: &str,
        password: Option<&Zeroizing<String>>,
        authorities: Option<&[u8]>,
    ) -> Result<Self, StorageError> {
        let mut server: tokio_postgres::Config = url
            .parse()
            .map_err(|error| refused(format!("its URL cannot be read: {error}")))?;
        if server.get_password().is_some() {
            return Err(refused(
                "its URL holds a password, which others on this machine can read; give it in a file".to_owned(),
            ));
        }
        if let Some(password) = password {
            server.password(password.as_bytes());
        }
        let near = server.get_hostaddrs().iter().all(|it| it.is_loopback())
            && server.get_hosts().iter().all(is_near);
        server.ssl_mode(match authorities {
            Some(_) => SslMode::Require,
            None if near => SslMode::Disable,
            None => {
                return Err(refused(
                    "it is on another machine, and no file says which authorities its certificate is checked against"
                        .to_owned(),
                ));
            }
        });
        if server.get_hosts().len() > 1 {
            server.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        server
            .connect_timeout(CONNECTED_WITHIN)
            .tcp_user_timeout(SENT_WITHIN)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3)
            .application_name("actpass-ledger");
        Ok(Self {
            server,
            tls: MakeRustlsConnect::new(known_by(authorities.unwrap_or_default())?),
        })
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("hosts", &self.server.get_hosts())
            .finish_non_exhaustive()
    }
}

fn is_near(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|it| it.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

/// Servers that show a certificate of one of these authorities for the name that was asked for.
fn known_by(authorities: &[u8]) -> Result<ClientConfig, StorageError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let certificate =
            certificate.map_err(|error| refused(format!("its authorities: {error}")))?;
        let added = roots.add(certificate);
        added.map_err(|error| refused(format!("its authorities: {error}")))?;
    }
    if roots.is_empty() && !authorities.is_empty() {
        return Err(refused(
            "the file of its authorities holds no certificate".to_owned(),
        ));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

pub(super) fn refused(what: String) -> StorageError {
    StorageError::Refused { what }
}
