//! An upstream over TLS that answers everything with success and keeps every byte it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::authority::Authority;
use crate::raw::header;

/// Serves until the test's process ends.
pub struct Books {
    /// Where it listens, on 127.0.0.1 unless it was given a listener.
    pub port: u16,
    /// Its own authority, to be declared in the Upstream.
    pub authority: Authority,
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
        Self::on(TcpListener::bind(("127.0.0.1", 0))?, host)
    }

    /// The same at a listener, which may be in another network.
    ///
    /// # Errors
    /// Where certificates cannot be made.
    pub fn on(listener: TcpListener, host: &str) -> anyhow::Result<Self> {
        Self::serving(listener, host, answer)
    }

    /// One that answers nothing, and takes all bytes until their end for no request.
    ///
    /// # Errors
    /// As there.
    pub fn silent(listener: TcpListener, host: &str) -> anyhow::Result<Self> {
        Self::serving(listener, host, take_all)
    }

    fn serving(listener: TcpListener, host: &str, serve: Serve) -> anyhow::Result<Self> {
        let authority = Authority::new()?;
        let (config, kept) = (
            authority.server(host)?,
            Arc::new(Mutex::new(Kept::default())),
        );
        let port = listener.local_addr()?.port();
        let books = kept.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, books) = (config.clone(), books.clone());
                lock(&books).connections += 1;
                // A connection that breaks off is the client's business.
                std::thread::spawn(move || serve(accepted(socket, config)?, &books));
            }
        });
        Ok(Self {
            port,
            authority,
            kept,
        })
    }

    /// What came since the last time.
    pub fn take(&self) -> Kept {
        std::mem::take(&mut lock(&self.kept))
    }
}

fn lock(kept: &Mutex<Kept>) -> std::sync::MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

type Stream = BufReader<StreamOwned<ServerConnection, TcpStream>>;

/// What is done with a connection.
type Serve = fn(Stream, &Mutex<Kept>) -> anyhow::Result<()>;

fn accepted(socket: TcpStream, config: Arc<ServerConfig>) -> anyhow::Result<Stream> {
    socket.set_nodelay(true)?;
    let tls = ServerConnection::new(config)?;
    Ok(BufReader::new(StreamOwned::new(tls, socket)))
}

fn answer(mut stream: Stream, kept: &Mutex<Kept>) -> anyhow::Result<()> {
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

fn take_all(mut stream: Stream, kept: &Mutex<Kept>) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    lock(kept).rest.extend(bytes);
    Ok(())
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

const BODY: &str = "{\"ok\":true}";
