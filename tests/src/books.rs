//! An upstream over TLS on loopback that answers everything with success and keeps every byte it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::raw::header;

/// Serves until the test's process ends.
pub struct Books {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// Its own authority, to be declared in the Upstream.
    pub ca_pem: String,
    kept: Arc<Mutex<Kept>>,
}

/// What it was sent.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Connections accepted.
    pub connections: usize,
    /// Whole requests, head and body as sent.
    pub requests: Vec<(String, Vec<u8>)>,
    /// Bytes that were no whole request.
    pub rest: Vec<u8>,
}

impl Books {
    /// Starts one whose certificate is for `host`.
    ///
    /// # Errors
    /// Where certificates or the socket cannot be made.
    pub fn start(host: &str) -> anyhow::Result<Self> {
        let (ca_pem, config) = identity(host)?;
        let (config, kept) = (Arc::new(config), Arc::new(Mutex::new(Kept::default())));
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let books = kept.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, books) = (config.clone(), books.clone());
                lock(&books).connections += 1;
                // A connection that breaks off is the client's business.
                std::thread::spawn(move || serve(socket, config, &books).ok());
            }
        });
        Ok(Self { port, ca_pem, kept })
    }

    /// What came since the last time.
    pub fn take(&self) -> Kept {
        std::mem::take(&mut lock(&self.kept))
    }
}

fn lock(kept: &Mutex<Kept>) -> std::sync::MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An authority, and a server it vouches for.
fn identity(host: &str) -> anyhow::Result<(String, ServerConfig)> {
    let ca_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_pem = params.self_signed(&ca_key)?.pem();
    let key = KeyPair::generate()?;
    let issuer = Issuer::new(params, ca_key);
    let leaf = CertificateParams::new(vec![host.to_owned()])?.signed_by(&key, &issuer)?;
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)?;
    Ok((ca_pem, config))
}

fn serve(socket: TcpStream, config: Arc<ServerConfig>, kept: &Mutex<Kept>) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, socket));
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                lock(kept).rest.extend(head.as_bytes());
                return Ok(());
            }
        }
        let length = header(&head, "content-length").map_or(Ok(0), str::parse)?;
        let mut sent = vec![0; length];
        stream.read_exact(&mut sent)?;
        let body = if head.starts_with("HEAD ") { "" } else { BODY };
        lock(kept).requests.push((head, sent));
        let answer = format!("{ANSWER}content-length: {}\r\n\r\n{body}", BODY.len());
        stream.get_mut().write_all(answer.as_bytes())?;
        stream.get_mut().flush()?;
    }
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

const BODY: &str = "{\"ok\":true}";
