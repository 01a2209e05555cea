//! TLS in front of a server that speaks plain HTTP, and a note of every request that came through.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::authority::Authority;

/// Serves until the test's process ends.
pub struct Front {
    /// Where it listens, on 127.0.0.1 unless it was given a listener.
    pub port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

/// Whoever has this in its body is not told what the server answers.
pub const LOST: &[u8] = b"the answer is lost";

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST /v1/refunds HTTP/1.1`.
    pub first_line: String,
    /// Header lines.
    pub headers: Vec<String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Front {
    /// Starts one named `host` that passes requests on to `127.0.0.1:to`, one per connection.
    ///
    /// # Errors
    /// Where certificates or the socket cannot be made.
    pub fn start(authority: &Authority, host: &str, to: u16) -> anyhow::Result<Self> {
        Self::on(TcpListener::bind(("127.0.0.1", 0))?, authority, host, to)
    }

    /// The same at a listener, which may be in another network.
    ///
    /// # Errors
    /// Where certificates cannot be made.
    pub fn on(
        listener: TcpListener,
        authority: &Authority,
        host: &str,
        to: u16,
    ) -> anyhow::Result<Self> {
        let config = authority.server(host)?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (config, notes) = (config.clone(), notes.clone());
                // A connection that breaks off is the client's business.
                std::thread::spawn(move || pass_on(socket, config, to, &notes).ok());
            }
        });
        Ok(Self { port, seen })
    }

    /// Every request so far, in order.
    pub fn seen(&self) -> Vec<Request> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A server for a [`Front`] that answers every request with `body`. Its port on 127.0.0.1.
///
/// # Errors
/// Where there is no port.
pub fn answering(body: &'static str) -> anyhow::Result<u16> {
    serving(move |_| body.to_owned())
}

/// The same with what `body` says of each request, which may take its time.
///
/// # Errors
/// As there.
pub fn serving(body: impl Fn(&Request) -> String + Send + Sync + 'static) -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let body = Arc::new(body);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let body = body.clone();
            // One that breaks off is the client's business.
            std::thread::spawn(move || answer(socket, &*body).ok());
        }
    });
    Ok(port)
}

/// Answers one request, once it is there to its last byte: what is unread at the end would break the connection off.
fn answer(socket: TcpStream, body: &dyn Fn(&Request) -> String) -> anyhow::Result<()> {
    let mut client = BufReader::new(socket);
    if let Some(request) = read(&mut client)? {
        let body = body(&request);
        write!(
            client.get_mut(),
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )?;
    }
    Ok(())
}

fn pass_on(
    socket: TcpStream,
    config: Arc<ServerConfig>,
    to: u16,
    notes: &Mutex<Vec<Request>>,
) -> anyhow::Result<()> {
    let mut client = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, socket));
    let Some(request) = read(&mut client)? else {
        return Ok(());
    };
    notes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request.clone());
    if request.body.windows(LOST.len()).any(|text| text == LOST) {
        return Ok(());
    }
    let mut server = TcpStream::connect(("127.0.0.1", to))?;
    let mut head = format!("{}\r\n", request.first_line);
    for line in &request.headers {
        if !line.to_ascii_lowercase().starts_with("connection:") {
            head += &format!("{line}\r\n");
        }
    }
    head += "connection: close\r\n\r\n";
    server.write_all(head.as_bytes())?;
    server.write_all(&request.body)?;
    let client = client.get_mut();
    // As it comes.
    std::io::copy(&mut server, client)?;
    client.conn.send_close_notify();
    client.flush()?;
    Ok(())
}

/// The next request of a connection; none at its end.
///
/// # Errors
/// Where it breaks off.
pub fn read(client: &mut impl BufRead) -> anyhow::Result<Option<Request>> {
    let mut first_line = String::new();
    if client.read_line(&mut first_line)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        client.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => headers.push(line.to_owned()),
        }
    }
    let first_line = first_line.trim_end().to_owned();
    let mut request = Request {
        first_line,
        headers,
        body: Vec::new(),
    };
    let length = request.header("content-length").unwrap_or("0").parse()?;
    request.body = vec![0; length];
    client.read_exact(&mut request.body)?;
    Ok(Some(request))
}
