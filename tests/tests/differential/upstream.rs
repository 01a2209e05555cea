//! An upstream over TLS that answers whatever it is sent with success, and spools the bytes of each connection to a file of
//! its own, as they came.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actpass_tests::raw::header;
use anyhow::ensure;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Most bytes of all connections: some 10 KiB for each request of a full run.
const BYTES_MAX: u64 = 1 << 30;

/// Connections that are not closed by then will not be.
const PATIENCE: Duration = Duration::from_secs(30);

const ANSWER: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n";

/// What is under way there.
#[derive(Clone, Default)]
pub(crate) struct Spooled {
    open: Arc<AtomicUsize>,
    bytes: Arc<AtomicU64>,
}

impl Spooled {
    /// Listens, and gives the port. Each connection is a file of `dir` that bears its number.
    pub(crate) fn serve(&self, config: Arc<ServerConfig>, dir: &Path) -> anyhow::Result<u16> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let (spooled, dir) = (self.clone(), dir.to_owned());
        std::thread::spawn(move || {
            for (number, socket) in listener.incoming().flatten().enumerate() {
                let (spooled, config) = (spooled.clone(), config.clone());
                let path = dir.join(format!("{number:06}"));
                spooled.open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    // A connection that breaks off is seen by what it has left.
                    spooled.keep(socket, config, &path).ok();
                    spooled.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(port)
    }

    /// Waits for the end of every connection, so that all bytes are in their files; how many bytes.
    pub(crate) fn ended(&self) -> u64 {
        let start = Instant::now();
        while self.open.load(Ordering::SeqCst) > 0 {
            assert!(
                start.elapsed() < PATIENCE,
                "a connection to the upstream stays"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        self.bytes.load(Ordering::SeqCst)
    }

    fn keep(
        &self,
        socket: TcpStream,
        config: Arc<ServerConfig>,
        path: &Path,
    ) -> anyhow::Result<()> {
        socket.set_nodelay(true)?;
        let mut file = File::create(path)?;
        let mut stream = StreamOwned::new(ServerConnection::new(config)?, socket);
        let (mut unanswered, mut chunk) = (Vec::new(), [0; 16 * 1024]);
        loop {
            let length = stream.read(&mut chunk)?;
            if length == 0 {
                return Ok(());
            }
            file.write_all(&chunk[..length])?;
            let all = self.bytes.fetch_add(length as u64, Ordering::SeqCst);
            ensure!(all < BYTES_MAX, "too many bytes");
            unanswered.extend_from_slice(&chunk[..length]);
            while let Some((request, head_only)) = whole(&unanswered) {
                unanswered.drain(..request);
                let body = if head_only { "" } else { "{}" };
                stream.write_all(format!("{ANSWER}{body}").as_bytes())?;
            }
            stream.flush()?;
        }
    }
}

/// Length of the first request in `bytes` once it is there, as far as it takes to know when to answer, and whether its answer
/// has no body.
fn whole(bytes: &[u8]) -> Option<(usize, bool)> {
    let head = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]);
    let body = header(&text, "content-length").map_or(0, |it| it.parse().unwrap_or(0));
    (bytes.len() >= head + body).then(|| (head + body, text.starts_with("HEAD ")))
}
