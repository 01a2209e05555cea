//! The agent: sends an attack and a good request behind it, then a good one by itself, and keeps what it hears.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use actpass_tests::proxied::HOST;
use actpass_tests::raw::{PREFACE, frame};

use super::attacks::{self, Attack};
use super::http2;

/// Who is silent for that long waits for more of the request; it gets its end instead. Nothing is asserted on this.
const SILENCE: Duration = Duration::from_millis(500);

/// Nobody takes longer to close.
const PATIENCE: Duration = Duration::from_secs(20);

/// What every server answers with.
const SERVED: &str = "served: ";

/// What came back.
pub(crate) struct Heard {
    /// The requests it was told of as served, `METHOD TARGET`, in order.
    pub(crate) served: Vec<String>,
    /// All of it, to be shown.
    pub(crate) text: String,
}

/// Sends the attack, and on the same connection the good request of `/v1/MARK/after`.
pub(crate) fn attack(address: SocketAddr, attack: &Attack, mark: &str) -> Heard {
    let after = match attack.is_http2() {
        true => http2::after(mark),
        false => attacks::after(mark).into_bytes(),
    };
    let bytes = [attack.bytes(mark), after].concat();
    say(address, &bytes, &format!("GET /v1/{mark}/after"))
}

/// Sends bytes, and listens until the last of their requests is said to be served, or nothing more comes.
pub(crate) fn say(address: SocketAddr, bytes: &[u8], last: &str) -> Heard {
    heard(&converse(
        address,
        bytes,
        &format!("{SERVED}{last}\n"),
        SILENCE,
    ))
}

/// Sends a good request of `/v1/MARK/LAST` on a connection of its own.
pub(crate) fn good(address: SocketAddr, mark: &str, last: &str) -> Heard {
    let request =
        format!("GET /v1/{mark}/{last} HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: {mark}\r\n\r\n");
    let wanted = format!("{SERVED}GET /v1/{mark}/{last}\n");
    heard(&converse(address, request.as_bytes(), &wanted, PATIENCE))
}

fn heard(bytes: &[u8]) -> Heard {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let lines = text.split(SERVED).skip(1);
    let served = lines.filter_map(|rest| Some(rest.split_once('\n')?.0.to_owned()));
    Heard {
        served: served.collect(),
        text: text.clone(),
    }
}

/// Sends, and reads until `wanted` or the end.
fn converse(address: SocketAddr, bytes: &[u8], wanted: &str, silence: Duration) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(silence)).unwrap();
    // Who refuses a request may close before it has all of it.
    socket.write_all(bytes).ok();
    let (mut read, mut chunk, begun) = (Vec::new(), [0; 16 * 1024], Instant::now());
    while begun.elapsed() < PATIENCE && memchr::memmem::find(&read, wanted.as_bytes()).is_none() {
        match socket.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => read.extend(&chunk[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if bytes.starts_with(PREFACE) {
                    // GOAWAY.
                    socket.write_all(&frame(7, 0, 0, &[0; 8])).ok();
                }
                if socket.shutdown(Shutdown::Write).is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    read
}
