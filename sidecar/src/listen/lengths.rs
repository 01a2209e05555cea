//! Requests with two lengths: `Content-Length` beside `Transfer-Encoding`.
//!
//! hyper lets the coding win and drops the length (RFC 9112 section 6.3), so that nobody behind it can tell. Here doubt
//! denies. [`Watched`] reads along and spoils the colon of the second field, so that hyper refuses the head as it refuses
//! any other broken one. It needs to know where heads begin, and no more: should it ever lose its way, what remains is
//! hyper's reading, and what is forwarded has one length, ours.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes kept of a line: the longer name, and a length of 20 digits behind blanks.
const LINE_BYTES_KEPT: usize = 64;

/// Whether a connection was ended for two lengths.
#[derive(Clone, Debug, Default)]
pub(super) struct Conflict(Arc<AtomicBool>);

impl Conflict {
    pub(super) fn found(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where in a connection of HTTP/1.1 the next byte stands.
#[derive(Debug, Default)]
struct Lengths {
    part: Part,
    /// Bytes of a body still to come.
    skip: u64,
    line: Vec<u8>,
    length: Option<u64>,
    coded: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    RequestLine,
    Fields,
    ChunkSize,
    Trailers,
    /// HTTP/2, or what hyper refuses by itself.
    Over,
}

impl Lengths {
    /// Reads on; true where a second length was found and spoilt.
    fn read(&mut self, bytes: &mut [u8]) -> bool {
        let mut at = 0;
        while self.part != Part::Over {
            let rest = bytes.get_mut(at..).unwrap_or_default();
            if self.skip > 0 {
                let skipped =
                    usize::try_from(self.skip).map_or(rest.len(), |it| it.min(rest.len()));
                self.skip -= skipped as u64;
                at += skipped;
                if skipped == 0 {
                    return false;
                }
                continue;
            }
            let Some(byte) = rest.first_mut() else {
                return false;
            };
            at += 1;
            match *byte {
                b'\n' => self.end_line(),
                b':' if self.is_second_length() => {
                    *byte = 0;
                    self.part = Part::Over;
                    return true;
                }
                other if self.line.len() < LINE_BYTES_KEPT => self.line.push(other),
                _ => {}
            }
        }
        false
    }

    /// Whether the field whose name ends here is the other of the two.
    fn is_second_length(&self) -> bool {
        self.part == Part::Fields
            && (self.coded && self.line.eq_ignore_ascii_case(CONTENT_LENGTH)
                || self.length.is_some() && self.line.eq_ignore_ascii_case(TRANSFER_ENCODING))
    }

    fn end_line(&mut self) {
        let mut kept = std::mem::take(&mut self.line);
        let line = kept.strip_suffix(b"\r").unwrap_or(&kept);
        self.part = match self.part {
            // Empty lines before a request are nothing (RFC 9112 section 2.2).
            Part::RequestLine if line.is_empty() => Part::RequestLine,
            Part::RequestLine if line == b"PRI * HTTP/2.0" => Part::Over,
            Part::RequestLine => Part::Fields,
            Part::Fields if line.is_empty() => {
                let length = self.length.take().unwrap_or(0);
                if std::mem::take(&mut self.coded) {
                    Part::ChunkSize
                } else {
                    self.skip = length;
                    Part::RequestLine
                }
            }
            Part::Fields => self.field(line),
            Part::ChunkSize => match chunk_size(line) {
                Some(0) => Part::Trailers,
                // And the line end behind it.
                Some(size) => {
                    self.skip = size.saturating_add(2);
                    Part::ChunkSize
                }
                None => Part::Over,
            },
            Part::Trailers if line.is_empty() => Part::RequestLine,
            part @ (Part::Trailers | Part::Over) => part,
        };
        kept.clear();
        self.line = kept;
    }

    fn field(&mut self, line: &[u8]) -> Part {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (halves.next(), halves.next().unwrap_or_default());
        match name {
            Some(name) if name.eq_ignore_ascii_case(TRANSFER_ENCODING) => self.coded = true,
            Some(name) if name.eq_ignore_ascii_case(CONTENT_LENGTH) => {
                let value = std::str::from_utf8(value).unwrap_or_default();
                match value.trim().parse() {
                    Ok(length) => self.length = Some(length),
                    Err(_) => return Part::Over,
                }
            }
            _ => {}
        }
        Part::Fields
    }
}

const CONTENT_LENGTH: &[u8] = b"content-length";

const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";

fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|byte| *byte == b';').next()?;
    u64::from_str_radix(std::str::from_utf8(size).ok()?.trim(), 16).ok()
}

/// A connection that is read along.
pub(super) struct Watched<I> {
    io: I,
    lengths: Lengths,
    conflict: Conflict,
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, conflict: Conflict) -> Self {
        Self {
            io,
            lengths: Lengths::default(),
            conflict,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, buffer);
        let read = buffer.filled_mut().get_mut(before..).unwrap_or_default();
        if self.lengths.read(read) {
            self.conflict.0.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found when the bytes come in pieces of `step`.
    fn found(text: &str, step: usize) -> bool {
        let mut lengths = Lengths::default();
        let mut bytes = text.as_bytes().to_vec();
        let found = bytes.chunks_mut(step).any(|piece| lengths.read(piece));
        assert_eq!(
            bytes != text.as_bytes(),
            found,
            "spoilt where found, and else untouched"
        );
        found
    }

    #[test]
    fn two_lengths_are_found_wherever_their_request_stands() {
        const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        const POST: &str = "POST / HTTP/1.1\r\nContent-Length: 22\r\n\r\ntransfer-encoding: x\r\n";
        const CHUNKED: &str = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n\
                               17;x=y\r\ncontent-length: 1\r\n\r\n\r\n\r\n0\r\ncontent-length: 1\r\n\r\n";
        const ONE: &str =
            "POST / HTTP/1.1\r\ncontent-length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
        const OTHER: &str =
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nCONTENT-LENGTH: 4\r\n\r\n";
        const H2: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        struct Case {
            name: &'static str,
            given: String,
            want: bool,
        }
        let case = |name, given: &[&str], want| Case {
            name,
            given: given.concat(),
            want,
        };
        let cases = [
            case("no body", &[GET], false),
            case("a length", &[POST, POST], false),
            case("a coding", &[CHUNKED, CHUNKED], false),
            case(
                "a length, then another request's coding",
                &[POST, CHUNKED, POST, GET],
                false,
            ),
            case("a length before a coding", &[ONE], true),
            case("a coding before a length", &[OTHER], true),
            case("behind empty lines", &["\r\n\r\n", ONE], true),
            case("behind a request without a body", &[GET, ONE], true),
            case("behind a length", &[POST, OTHER], true),
            case("behind chunks", &[CHUNKED, ONE], true),
            case("behind several", &[GET, CHUNKED, POST, GET, OTHER], true),
            case("with bare line feeds", &[&ONE.replace("\r\n", "\n")], true),
            case("in HTTP/2", &[H2, ONE], false),
            case(
                "behind a length that is none",
                &["GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n", ONE],
                false,
            ),
        ];
        for Case { name, given, want } in cases {
            for step in [1, 2, 3, 7, 1 << 16] {
                assert_eq!(found(&given, step), want, "{name}, by {step}");
            }
        }
    }
}
