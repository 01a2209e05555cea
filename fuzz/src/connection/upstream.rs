//! An upstream in clear on loopback that answers every whole request with success and keeps every byte.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;

use super::{STILL_TURNS, locked};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Serves as long as its runtime.
pub(super) struct Upstream {
    pub(super) port: u16,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The bytes of each connection.
    connections: Mutex<Vec<Vec<u8>>>,
    bytes: AtomicUsize,
    open: AtomicUsize,
}

/// A request as it arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) line: String,
    /// Names in lower case, and values.
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Upstream {
    pub(super) fn start() -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let listener = TcpListener::from_std(listener)?;
        let kept = Arc::new(Kept::default());
        let keeping = kept.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                keeping.open.fetch_add(1, Ordering::Relaxed);
                let number = {
                    let mut connections = locked(&keeping.connections);
                    connections.push(Vec::new());
                    connections.len() - 1
                };
                tokio::spawn(keep(socket, number, keeping.clone()));
            }
        });
        Ok(Self { port, kept })
    }

    /// How many bytes came, and connections.
    pub(super) fn bytes(&self) -> usize {
        self.kept.bytes.load(Ordering::Relaxed) + locked(&self.kept.connections).len()
    }

    /// Waits until no connection is open any more.
    pub(super) async fn ended(&self) {
        let mut turns = 0;
        while turns < STILL_TURNS {
            yield_now().await;
            let open = self.kept.open.load(Ordering::Relaxed) > 0;
            turns = if open { 0 } else { turns + 1 };
        }
    }

    /// The bytes of each connection.
    pub(super) fn connections(&self) -> Vec<Vec<u8>> {
        locked(&self.kept.connections).clone()
    }
}

async fn keep(mut socket: TcpStream, number: usize, kept: Arc<Kept>) {
    // Thousands of connections a second would else use up the ports, each kept by the kernel for a minute.
    socket.set_zero_linger().expect("a socket");
    let (mut chunk, mut answered) = ([0; 4096], 0);
    while let Ok(length @ 1..) = socket.read(&mut chunk).await {
        let whole = {
            let mut connections = locked(&kept.connections);
            connections[number].extend_from_slice(&chunk[..length]);
            arrived(&connections[number]).0.len()
        };
        kept.bytes.fetch_add(length, Ordering::Relaxed);
        for _ in answered..whole {
            // Who does not listen any more has gone.
            drop(socket.write_all(ANSWER).await);
        }
        answered = whole;
    }
    kept.open.fetch_sub(1, Ordering::Relaxed);
}

/// The whole requests in what a connection was sent, and what is left of it. A length is what says how long a body is, and
/// nothing else does.
pub(super) fn arrived(mut bytes: &[u8]) -> (Vec<Arrived>, &[u8]) {
    let mut requests = Vec::new();
    while let Some((request, rest)) = one(bytes) {
        requests.push(request);
        bytes = rest;
    }
    (requests, bytes)
}

fn one(bytes: &[u8]) -> Option<(Arrived, &[u8])> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = bytes[..end].iter().map(|byte| char::from(*byte));
    let head: String = head.collect();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let fields: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap_or((line, "")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = fields.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(Ok(0), |(_, value)| value.parse());
    let length: usize = length.expect("a length that is sent is a number");
    let (body, rest) = bytes[end + 4..].split_at_checked(length)?;
    let body = body.to_vec();
    Some((Arrived { line, fields, body }, rest))
}
