//! A payment provider over TLS on loopback. It pays whoever asks and writes down each note it was paid for; a note that
//! says `declined` it refuses with 422, and does nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
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
    authorizations: Arc<Mutex<Vec<String>>>,
    in_flight: Arc<AtomicUsize>,
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
        let authorizations = Arc::new(Mutex::new(Vec::new()));
        let in_flight = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let (books, shown, serving) = (paid.clone(), authorizations.clone(), in_flight.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, books, serving) = (config.clone(), books.clone(), serving.clone());
                let shown = shown.clone();
                // A connection that breaks off is the client's business.
                std::thread::spawn(move || {
                    serve(socket, config, &books, &shown, &serving, delay).ok()
                });
            }
        });
        Ok(Self {
            port,
            ca_pem: authority.pem,
            paid,
            authorizations,
            in_flight,
        })
    }

    /// Requests that have arrived whole and are not answered yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// What each request showed as its authorization, in order.
    pub fn authorizations(&self) -> Vec<String> {
        self.authorizations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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
    authorizations: &Mutex<Vec<String>>,
    in_flight: &AtomicUsize,
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
            if let Some((_, value)) = line
                .split_once(": ")
                .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
            {
                authorizations
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(value.trim().to_owned());
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        in_flight.fetch_add(1, Ordering::SeqCst);
        let note = serde_json::from_slice::<serde_json::Value>(&body).ok();
        let note = note.as_ref().and_then(|paid| paid.get("note")?.as_str());
        let declined = note.is_some_and(|note| note.contains("declined"));
        if let Some(note) = note.filter(|_| !declined) {
            books
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(note.to_owned());
        }
        std::thread::sleep(delay);
        let (status, body) = if declined {
            ("422 Unprocessable Content", "{\"code\":\"declined\"}")
        } else {
            ("200 OK", "{\"ok\":true}")
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let written = stream.get_mut().write_all(answer.as_bytes());
        let written = written.and_then(|()| stream.get_mut().flush());
        in_flight.fetch_sub(1, Ordering::SeqCst);
        written?;
    }
}
