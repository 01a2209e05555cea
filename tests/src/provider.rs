//! A payment provider over TLS on loopback. It pays whoever asks and writes down each note it was paid for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::authority::Authority;

/// The name in its certificate.
pub const HOST: &str = "api.payments.example";

/// Serves until the test's process ends.
pub struct Provider {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    /// Its own authority, to be declared in the Upstream.
    pub ca_pem: String,
    paid: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    /// Starts one whose answers take `delay`.
    ///
    /// # Errors
    /// Where certificates or the socket cannot be made.
    pub fn start(delay: Duration) -> anyhow::Result<Self> {
        let authority = Authority::new()?;
        let config = authority.server(HOST)?;
        let paid = Arc::new(Mutex::new(Vec::new()));
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let books = paid.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, books) = (config.clone(), books.clone());
                // A connection that breaks off is the client's business.
                std::thread::spawn(move || serve(socket, config, &books, delay).ok());
            }
        });
        Ok(Self {
            port,
            ca_pem: authority.pem,
            paid,
        })
    }

    /// The notes it was paid for, in order.
    pub fn paid(&self) -> Vec<String> {
        self.paid
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn serve(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    books: &Mutex<Vec<String>>,
    delay: Duration,
) -> anyhow::Result<()> {
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, socket));
    loop {
        let mut length = 0;
        let mut first = String::new();
        if stream.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 || line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        if let Ok(paid) = serde_json::from_slice::<serde_json::Value>(&body)
            && let Some(note) = paid.get("note").and_then(serde_json::Value::as_str)
        {
            books
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(note.to_owned());
        }
        std::thread::sleep(delay);
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";
        stream.get_mut().write_all(answer.as_bytes())?;
        stream.get_mut().flush()?;
    }
}
