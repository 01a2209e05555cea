//! The token that a person's kubectl logs in with.
//!
//! Only kubectl knows all ways to log in: static tokens, plugins that fetch one, identity providers. So it is asked to show
//! its token, as it would show it to the API server, to a server of ours: on 127.0.0.1, with a certificate made for this one
//! question. Whoever logs in with a client certificate shows no token.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::kubectl::{Kubectl, MISSING, plain};

/// Name in the certificate.
const NAME: &str = "localhost";

/// Longest head of kubectl's request: a token of 16 KiB, and what else there is.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// A person may have to log in with a browser first.
const PATIENCE: Duration = Duration::from_secs(120);

/// The token, if there is one.
///
/// # Errors
/// Where kubectl cannot log in.
pub(super) async fn own(kubectl: &Kubectl) -> anyhow::Result<Option<Zeroizing<String>>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let pair = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&pair)?;
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), certificate.pem())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(pair.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    let server = format!("--server=https://{}", listener.local_addr()?);
    let authority = format!("--certificate-authority={}", file.path().display());
    let name = format!("--tls-server-name={NAME}");
    let args = [&server, &authority, &name, "get", "--raw=/"];
    let mut asked = tokio::process::Command::from(kubectl.command(&args));
    asked
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let asked = asked.spawn().context(MISSING)?;
    let head = head(&listener, TlsAcceptor::from(Arc::new(config)));
    tokio::select! {
        head = head => Ok(bearer(&head?)),
        ended = asked.wait_with_output() => {
            let said = ended?.stderr;
            bail!(
                "kubectl shows no token: {}; name a ServiceAccount by --service-account where that cannot be mended",
                plain(String::from_utf8_lossy(&said).trim())
            )
        }
        () = tokio::time::sleep(PATIENCE) => bail!("kubectl takes too long to log in"),
    }
}

/// The head of the first request, which is answered.
async fn head(listener: &TcpListener, tls: TlsAcceptor) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let (tcp, _) = listener.accept().await?;
    let mut stream = tls
        .accept(tcp)
        .await
        .context("kubectl does not take our certificate")?;
    let mut head = Zeroizing::new(Vec::with_capacity(HEAD_BYTES_MAX));
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read_buf(&mut *head).await?;
        if read == 0 || head.len() >= HEAD_BYTES_MAX {
            bail!("kubectl's request is not understood");
        }
    }
    stream
        .write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        )
        .await?;
    // It is killed next, so that it need not hear the end.
    drop(stream.shutdown().await);
    Ok(head)
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(head: &[u8]) -> Option<Zeroizing<String>> {
    let head = std::str::from_utf8(head).ok()?;
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    let token = value.trim().strip_prefix("Bearer ")?;
    Some(Zeroizing::new(token.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_kubectl_shows() {
        struct Case {
            name: &'static str,
            given: &'static str,
            want: Option<&'static str>,
        }
        let cases = [
            Case {
                name: "a bearer token",
                given: "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a.b.c\r\n\r\n",
                want: Some("a.b.c"),
            },
            Case {
                name: "in another spelling",
                given: "GET / HTTP/1.1\r\nauthorization:Bearer a\r\n\r\n",
                want: Some("a"),
            },
            Case {
                name: "a client certificate",
                given: "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                want: None,
            },
            Case {
                name: "a password",
                given: "GET / HTTP/1.1\r\nAuthorization: Basic YTpi\r\n\r\n",
                want: None,
            },
        ];
        for Case { name, given, want } in cases {
            let found = bearer(given.as_bytes());
            assert_eq!(found.as_deref().map(String::as_str), want, "{name}");
        }
    }
}
