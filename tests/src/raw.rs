//! Requests as bytes, whether or not they are HTTP, and what comes back.
//!
//! HTTP/2 is read only as far as these tests need: frames, bodies and resets; headers stay compressed.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// An answer that is not there by then will not come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends `request` and reads until `answers` answers are there, or the connection ends.
///
/// # Errors
/// Nothing came, or not all in time.
pub fn exchange(
    stream: &mut (impl Read + Write),
    request: &[u8],
    answers: usize,
) -> io::Result<Vec<u8>> {
    // Who refuses a head may close before it has all of it; the answer says which.
    stream.write_all(request).and_then(|()| stream.flush()).ok();
    let head = request.starts_with(b"HEAD ");
    let http2 = request.starts_with(PREFACE);
    let (mut read, mut chunk, start) = (Vec::new(), [0; 4096], Instant::now());
    while start.elapsed() < PATIENCE {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(read),
            Ok(length) => read.extend(chunk.iter().take(length)),
            // Closed without a word of TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(read),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(read),
            Err(error) => return Err(error),
        }
        let ended = match http2 {
            true => streams(&read).iter().filter(|stream| stream.ended).count(),
            false => answers_of(&read, head).len(),
        };
        if ended >= answers {
            return Ok(read);
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// A socket on which only so many bytes are sent at a time.
#[derive(Debug)]
pub struct InPieces {
    /// The socket; without `TCP_NODELAY` its kernel would put them together again.
    pub socket: TcpStream,
    /// How many.
    pub piece: usize,
}

/// Between two pieces, so that they are read one by one.
const BETWEEN: Duration = Duration::from_millis(1);

impl Read for InPieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for InPieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = bytes.get(..self.piece).unwrap_or(bytes);
        if piece.len() < bytes.len() {
            std::thread::sleep(BETWEEN);
        }
        self.socket.write(piece)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// One answer of HTTP/1.1.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// Body.
    pub body: Vec<u8>,
}

/// The whole answers in `bytes`, interim ones left out.
pub fn answers_of(mut bytes: &[u8], head_only: bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        let (head, rest) = bytes.split_at(end + 4);
        let head = String::from_utf8_lossy(head).into_owned();
        let status = head
            .get(9..12)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        let length = match head_only {
            true => 0,
            false => header(&head, "content-length")
                .and_then(|it| it.parse().ok())
                .unwrap_or(0),
        };
        let Some((body, rest)) = rest.split_at_checked(length) else {
            break;
        };
        bytes = rest;
        if status >= 200 {
            let body = body.to_vec();
            answers.push(Answer { status, head, body });
        }
    }
    answers
}

/// The value of a header in a head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// What a client of HTTP/2 sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One stream of HTTP/2, as far as it was answered.
#[derive(Debug, Default)]
pub struct Stream {
    /// Number; 0 is the connection.
    pub id: u32,
    /// Body.
    pub body: Vec<u8>,
    /// Error code of its end, where it was reset (RFC 9113 section 7).
    pub reset: Option<u32>,
    /// Whether nothing more comes.
    pub ended: bool,
}

/// The streams in `bytes`. A connection that ends by an error is stream 0, reset.
pub fn streams(mut bytes: &[u8]) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let [l0, l1, l2, kind, flags, id @ ..] = head else {
            break;
        };
        let length = u32::from_be_bytes([0, *l0, *l1, *l2]) as usize;
        let id = id.try_into().map(u32::from_be_bytes).unwrap_or(0) & 0x7fff_ffff;
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            break;
        };
        bytes = rest;
        let code = |at: usize| {
            let code = payload.get(at..at + 4)?;
            Some(u32::from_be_bytes(code.try_into().ok()?))
        };
        let (reset, ended) = match kind {
            0 | 1 => (None, flags & 1 == 1),
            3 => (code(0), true),
            7 => (code(4), true),
            _ => continue,
        };
        let found = match streams.iter_mut().position(|stream| stream.id == id) {
            Some(at) => at,
            None => {
                streams.push(Stream {
                    id,
                    ..Stream::default()
                });
                streams.len() - 1
            }
        };
        if let Some(stream) = streams.get_mut(found) {
            if *kind == 0 {
                stream.body.extend(payload);
            }
            stream.reset = reset.or(stream.reset);
            stream.ended |= ended;
        }
    }
    streams
}

/// A frame of HTTP/2.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    let mut frame: Vec<u8> = length.iter().skip(1).copied().collect();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Fields as literals that no table keeps (RFC 7541 section 6.2.2), without Huffman coding.
pub fn fields<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_ref(), value.as_ref()] {
            length(&mut block, text.len());
            block.extend(text);
        }
    }
    block
}

/// A length with a prefix of seven bits (RFC 7541 section 5.1).
fn length(block: &mut Vec<u8>, length: usize) {
    const PREFIX: usize = 127;
    let byte = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    if length < PREFIX {
        return block.push(byte(length));
    }
    block.push(byte(PREFIX));
    let mut rest = length - PREFIX;
    while rest >= 128 {
        block.push(byte(rest % 128 + 128));
        rest /= 128;
    }
    block.push(byte(rest));
}
