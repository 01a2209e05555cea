//! A relay that judges as one would who has not thought of this: the first line of a connection, and then it passes bytes on.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use actpass_tests::authority::Authority;
use actpass_tests::proxied::HOST;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

/// How a connection may begin. HTTP/2 has no lines; whoever means to read them sees its preface.
const ALLOWED: [&[u8]; 5] = [
    b"GET /v1/",
    b"HEAD /v1/",
    b"POST /v1/",
    b"DELETE /v1/",
    b"PRI * HTTP/2.0",
];

/// Bytes of either side wait at most that long for those of the other.
const TURN: Duration = Duration::from_millis(10);

/// Starts one before the server of `authority` on `port`; it serves until the test's process ends.
pub(crate) fn relay(authority: &Authority, port: u16) -> SocketAddr {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for agent in listener.incoming().flatten() {
            let config = config.clone();
            // Either side may go as it likes.
            std::thread::spawn(move || splice(agent, config, port).ok());
        }
    });
    address
}

fn splice(mut agent: TcpStream, mut config: ClientConfig, port: u16) -> anyhow::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    let read = agent.read(&mut buffer)?;
    let first = buffer.get(..read).unwrap_or_default();
    anyhow::ensure!(
        ALLOWED.iter().any(|it| first.starts_with(it)),
        "not allowed"
    );
    let protocol: &[u8] = if first.starts_with(b"PRI") {
        b"h2"
    } else {
        b"http/1.1"
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let server = TcpStream::connect(("127.0.0.1", port))?;
    server.set_read_timeout(Some(TURN))?;
    agent.set_read_timeout(Some(TURN))?;
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from(HOST)?)?;
    let mut server = StreamOwned::new(tls, server);
    server.write_all(first)?;
    loop {
        let ended = pass(&mut server, &mut agent, &mut buffer)?;
        if ended || pass(&mut agent, &mut server, &mut buffer)? {
            return Ok(());
        }
    }
}

/// Passes on what is there; true where there will be no more.
fn pass(from: &mut impl Read, to: &mut impl Write, buffer: &mut [u8]) -> std::io::Result<bool> {
    match from.read(buffer) {
        Ok(0) => Ok(true),
        Ok(read) => {
            to.write_all(buffer.get(..read).unwrap_or_default())?;
            to.flush()?;
            Ok(false)
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
