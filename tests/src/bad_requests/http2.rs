//! Faults of HTTP/2: in names, fields and lengths. Most of them end their stream before it is a request.

use super::HOST;
use super::wire::{Make, REFUND, Wire, WireWant};
use crate::raw::{PREFACE, fields, frame};

/// A request of HTTP/2.
pub(crate) struct Http2 {
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    trailers: Vec<(String, String)>,
    stream: u32,
}

impl Http2 {
    fn new(method: &str, path: &str) -> Self {
        let mut request = Self {
            fields: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            stream: 1,
        };
        for (name, value) in [
            (":method", method),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", path),
        ] {
            request.with(name, value);
        }
        request.with("user-agent", "MARK");
        request
    }

    fn with(&mut self, name: &str, value: &str) {
        self.fields.push((name.to_owned(), value.to_owned()));
    }

    fn without(&mut self, name: &str) {
        let before = self.fields.len();
        self.fields.retain(|(found, _)| found != name);
        assert_eq!(self.fields.len() + 1, before, "{name}");
    }

    fn set(&mut self, name: &str, to: &str) {
        let field = self.fields.iter_mut().find(|(found, _)| found == name);
        field.unwrap().1 = to.to_owned();
    }

    /// The bytes of a connection with this request alone.
    pub(crate) fn bytes(mut self, marker: &str) -> Vec<u8> {
        for (_, value) in &mut self.fields {
            *value = value.replace("MARK", marker);
        }
        const END_STREAM: u8 = 1;
        const END_HEADERS: u8 = 4;
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(4, 0, 0, &[]));
        let ends = |last: bool| if last { END_STREAM } else { 0 };
        let (body, trailers) = (!self.body.is_empty(), !self.trailers.is_empty());
        let flags = END_HEADERS | ends(!body && !trailers);
        bytes.extend(frame(1, flags, self.stream, &fields(&self.fields)));
        if body {
            bytes.extend(frame(0, ends(!trailers), self.stream, &self.body));
        }
        if trailers {
            bytes.extend(frame(
                1,
                END_HEADERS | END_STREAM,
                self.stream,
                &fields(&self.trailers),
            ));
        }
        bytes
    }
}

fn read() -> Http2 {
    Http2::new("GET", "/v1/charges/ch_1")
}

fn refund() -> Http2 {
    let mut request = Http2::new("POST", "/v1/refunds");
    request.with("content-type", "application/x-www-form-urlencoded");
    request.with("content-length", "23");
    request.body = REFUND.as_bytes().to_vec();
    request
}

/// Names, and what requests of HTTP/1.1 are refused for as well.
pub(crate) fn names() -> Vec<Wire> {
    const MISMATCH: WireWant =
        WireWant::Refused(403, "host_mismatch", "not the name that was dialled");
    vec![
        http2(
            "HTTP/2 authority of another",
            read,
            |r| r.set(":authority", "evil.test"),
            MISMATCH,
        ),
        http2(
            "HTTP/2 authority with another port",
            read,
            |r| r.set(":authority", "api.shop.test:80"),
            MISMATCH,
        ),
        http2(
            "HTTP/2 authority with a user",
            read,
            |r| r.set(":authority", "u@api.shop.test"),
            MISMATCH,
        ),
        http2(
            "HTTP/2 host beside its authority",
            read,
            |r| r.with("host", "evil.test"),
            MISMATCH,
        ),
        http2(
            "HTTP/2 two hosts",
            read,
            |r| {
                r.with("host", HOST);
                r.with("host", HOST)
            },
            MISMATCH,
        ),
        http2(
            "HTTP/2 no authority",
            read,
            |r| r.without(":authority"),
            MISMATCH,
        ),
        http2(
            "HTTP/2 host instead of its authority, of another",
            read,
            |r| {
                r.without(":authority");
                r.with("host", "evil.test")
            },
            MISMATCH,
        ),
        http2(
            "HTTP/2 path climbs",
            read,
            |r| r.set(":path", "/v1/../refunds"),
            WireWant::Refused(403, "bad_path", "dot segment"),
        ),
        http2(
            "HTTP/2 path is not declared",
            read,
            |r| r.set(":path", "/v2/x"),
            WireWant::Refused(403, "undeclared", "no action has this path"),
        ),
        http2(
            "HTTP/2 method override",
            refund,
            |r| r.with("x-http-method-override", "DELETE"),
            WireWant::Refused(403, "two_actions", "another method"),
        ),
        http2(
            "HTTP/2 judged header with a blank",
            refund,
            |r| r.with("shop-account", "acct_1 "),
            WireWant::Refused(400, "unparsable", "a blank"),
        ),
        http2(
            "HTTP/2 key twice",
            refund,
            |r| {
                r.set("content-length", "32");
                r.body.extend(b"&amount=1")
            },
            WireWant::Refused(403, "duplicate_key", "`amount`"),
        ),
        http2(
            "HTTP/2 body on a GET",
            read,
            |r| r.body = b"x".to_vec(),
            WireWant::Refused(403, "body_not_allowed", "without a body"),
        ),
        http2(
            "HTTP/2 body over the limit",
            refund,
            |r| {
                r.set("content-length", "5000");
                r.body = vec![b'a'; 5000]
            },
            WireWant::Refused(413, "body_too_large", "4096 bytes"),
        ),
        http2(
            "HTTP/2 trailers",
            refund,
            |r| r.trailers.push(("amount".to_owned(), "1".to_owned())),
            WireWant::Refused(400, "unparsable", "trailers"),
        ),
        http2(
            "HTTP/2 CONNECT",
            read,
            |r| {
                r.set(":method", "CONNECT");
                r.set(":authority", "api.shop.test:443");
                r.without(":scheme");
                r.without(":path")
            },
            WireWant::Refused(403, "undeclared", "cannot be read"),
        ),
    ]
}

/// Fields that HTTP/2 forbids, and lengths that are none.
pub(crate) fn fields_and_lengths() -> Vec<Wire> {
    const RESET: WireWant = WireWant::Reset(1);
    vec![
        http2(
            "HTTP/2 with Connection",
            read,
            |r| r.with("connection", "close"),
            RESET,
        ),
        http2(
            "HTTP/2 with Transfer-Encoding",
            refund,
            |r| r.with("transfer-encoding", "chunked"),
            RESET,
        ),
        http2(
            "HTTP/2 with Upgrade",
            read,
            |r| r.with("upgrade", "websocket"),
            RESET,
        ),
        http2(
            "HTTP/2 with Keep-Alive",
            read,
            |r| r.with("keep-alive", "5"),
            RESET,
        ),
        http2(
            "HTTP/2 with Proxy-Connection",
            read,
            |r| r.with("proxy-connection", "close"),
            RESET,
        ),
        http2("HTTP/2 with TE", read, |r| r.with("te", "gzip"), RESET),
        http2(
            "HTTP/2 name in capitals",
            read,
            |r| r.with("Shop-Account", "a"),
            RESET,
        ),
        http2(
            "HTTP/2 name with a blank",
            read,
            |r| r.with("shop account", "a"),
            RESET,
        ),
        http2(
            "HTTP/2 value with a line end",
            read,
            |r| r.with("shop-account", "a\r\nx: y"),
            RESET,
        ),
        http2(
            "HTTP/2 value with NUL",
            read,
            |r| r.with("shop-account", "a\0"),
            RESET,
        ),
        http2(
            "HTTP/2 pseudo field behind",
            read,
            |r| {
                r.without(":path");
                r.with(":path", "/v1/x")
            },
            RESET,
        ),
        http2(
            "HTTP/2 path twice",
            read,
            |r| r.fields.insert(0, (":path".to_owned(), "/v1/x".to_owned())),
            RESET,
        ),
        http2(
            "HTTP/2 method twice",
            read,
            |r| {
                r.fields
                    .insert(0, (":method".to_owned(), "POST".to_owned()))
            },
            RESET,
        ),
        http2(
            "HTTP/2 authority twice",
            read,
            |r| {
                r.fields
                    .insert(0, (":authority".to_owned(), HOST.to_owned()))
            },
            RESET,
        ),
        http2(
            "HTTP/2 pseudo field made up",
            read,
            |r| r.fields.insert(0, (":origin".to_owned(), "x".to_owned())),
            RESET,
        ),
        http2(
            "HTTP/2 status",
            read,
            |r| r.fields.insert(0, (":status".to_owned(), "200".to_owned())),
            RESET,
        ),
        http2(
            "HTTP/2 protocol",
            read,
            |r| {
                r.set(":method", "CONNECT");
                r.fields
                    .insert(0, (":protocol".to_owned(), "websocket".to_owned()))
            },
            RESET,
        ),
        http2("HTTP/2 no path", read, |r| r.without(":path"), RESET),
        http2("HTTP/2 path empty", read, |r| r.set(":path", ""), RESET),
        http2(
            "HTTP/2 path without a slash",
            read,
            |r| r.set(":path", "v1/charges/ch_1"),
            RESET,
        ),
        http2(
            "HTTP/2 path with a blank",
            read,
            |r| r.set(":path", "/v1/a b"),
            RESET,
        ),
        http2(
            "HTTP/2 path a whole URL",
            read,
            |r| r.set(":path", "https://evil.test/v1/x"),
            RESET,
        ),
        http2("HTTP/2 no method", read, |r| r.without(":method"), RESET),
        http2(
            "HTTP/2 method with a blank",
            read,
            |r| r.set(":method", "GET /"),
            RESET,
        ),
        http2("HTTP/2 no scheme", read, |r| r.without(":scheme"), RESET),
        http2(
            "HTTP/2 authority with a blank",
            read,
            |r| r.set(":authority", "api.shop.test evil"),
            RESET,
        ),
        http2(
            "HTTP/2 length too long",
            refund,
            |r| r.set("content-length", "24"),
            WireWant::Broken(1),
        ),
        http2(
            "HTTP/2 length too short",
            refund,
            |r| r.set("content-length", "22"),
            WireWant::Broken(1),
        ),
        http2(
            "HTTP/2 length made up",
            refund,
            |r| r.set("content-length", "x"),
            RESET,
        ),
        http2(
            "HTTP/2 trailers with a pseudo field",
            refund,
            |r| r.trailers.push((":path".to_owned(), "/v1/x".to_owned())),
            WireWant::Refused(400, "unparsable", "trailers"),
        ),
        http2("HTTP/2 stream of the server", read, |r| r.stream = 2, RESET),
        http2(
            "HTTP/2 stream of the connection",
            read,
            |r| r.stream = 0,
            RESET,
        ),
    ]
}

const fn http2(
    name: &'static str,
    base: fn() -> Http2,
    break_it: fn(&mut Http2),
    want: WireWant,
) -> Wire {
    Wire {
        name,
        make: Make::Http2(base, break_it),
        want,
    }
}
