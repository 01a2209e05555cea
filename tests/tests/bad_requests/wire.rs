//! Faults below the request: in lengths, lines, names and frames. HTTP itself refuses most of them.

use actpass_tests::raw::{PREFACE, fields, frame};

use super::HOST;

/// One bad request, as bytes.
pub(crate) struct Wire {
    /// What is wrong with it.
    pub(crate) name: &'static str,
    /// The good request and the bad one; each carries the marker it is given.
    pub(crate) make: Make,
    /// What the bad one comes to.
    pub(crate) want: WireWant,
}

/// How the two are made.
pub(crate) enum Make {
    /// The text, and the one place in it that is replaced.
    Http1(&'static str, &'static str, &'static str),
    /// What is changed in the request.
    Http2(fn() -> Http2, fn(&mut Http2)),
}

/// What a bad request comes to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WireWant {
    /// Our answer: status, code, words of its reason. Recorded with that reason.
    Refused(u16, &'static str, &'static str),
    /// The connection ends with this status and is recorded as unparsable.
    NotHttp(u16),
    /// The stream or the connection is reset with this error of HTTP/2.
    Reset(u32),
    /// The same, after a record that its body is unparsable.
    Broken(u32),
    /// Read in one way only, and so forwarded: the upstream gets this, and nothing of the fault.
    Harmless(&'static str),
}

impl Wire {
    /// The good request.
    pub(crate) fn good(&self, marker: &str) -> Vec<u8> {
        match self.make {
            Make::Http1(text, ..) => text.replace("MARK", marker).into_bytes(),
            Make::Http2(base, _) => base().bytes(marker),
        }
    }

    /// The bad request.
    pub(crate) fn bad(&self, marker: &str) -> Vec<u8> {
        match self.make {
            Make::Http1(text, from, to) => {
                assert_eq!(text.matches(from).count(), 1, "{}: `{from}`", self.name);
                let to = to
                    .replace("LONG", &"a".repeat(70_000))
                    .replace("MANY", &"x: y\r\n".repeat(101))
                    .replace("MUCH", &"a".repeat(5000));
                text.replace(from, &to).replace("MARK", marker).into_bytes()
            }
            Make::Http2(base, break_it) => {
                let mut request = base();
                break_it(&mut request);
                request.bytes(marker)
            }
        }
    }
}

/// A request of HTTP/2.
pub(crate) struct Http2 {
    fields: Vec<(String, String)>,
    body: Vec<u8>,
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

    fn bytes(mut self, marker: &str) -> Vec<u8> {
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
    request.body = b"charge=ch_1&amount=1200".to_vec();
    request
}

const GET: &str =
    "GET /v1/charges/ch_1 HTTP/1.1\r\nhost: api.shop.test\r\nuser-agent: MARK\r\n\r\n";

/// The first line of `GET` as it is forwarded.
const GET_LINE: &str = "GET /v1/charges/ch_1 HTTP/1.1\r\n";

const POST: &str = "POST /v1/refunds HTTP/1.1\r\nhost: api.shop.test\r\nuser-agent: MARK\r\ncontent-type: \
                    application/x-www-form-urlencoded\r\ncontent-length: 23\r\n\r\ncharge=ch_1&amount=1200";

const CHUNKED: &str = "POST /v1/refunds HTTP/1.1\r\nhost: api.shop.test\r\nuser-agent: MARK\r\ncontent-type: \
                       application/x-www-form-urlencoded\r\ntransfer-encoding: chunked\r\n\r\n17\r\n\
                       charge=ch_1&amount=1200\r\n0\r\n\r\n";

const EXPECTED: &str = "POST /v1/refunds HTTP/1.1\r\nhost: api.shop.test\r\nuser-agent: MARK\r\nexpect: 100-continue\r\n\
                        content-type: application/x-www-form-urlencoded\r\ncontent-length: 23\r\n\r\ncharge=ch_1&amount=1200";

const fn http1(
    name: &'static str,
    text: &'static str,
    from: &'static str,
    to: &'static str,
    want: WireWant,
) -> Wire {
    Wire {
        name,
        make: Make::Http1(text, from, to),
        want,
    }
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

/// All of them.
pub(crate) fn all() -> Vec<Wire> {
    [
        names(),
        lines(),
        lengths(),
        chunks(),
        http2_names(),
        http2_fields(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn names() -> Vec<Wire> {
    const MISMATCH: WireWant =
        WireWant::Refused(403, "host_mismatch", "not the name that was dialled");
    const UNDECLARED: WireWant = WireWant::Refused(403, "undeclared", "cannot be read");
    let host = |name, to| http1(name, GET, "host: api.shop.test\r\n", to, MISMATCH);
    let target = |name, to, want| http1(name, GET, "/v1/charges/ch_1", to, want);
    vec![
        host("no Host", ""),
        http1(
            "HTTP/1.0 without Host",
            GET,
            "HTTP/1.1\r\nhost: api.shop.test\r\n",
            "HTTP/1.0\r\n",
            MISMATCH,
        ),
        host("Host is empty", "host:\r\n"),
        host("Host is another", "host: evil.test\r\n"),
        host("Host goes on", "host: api.shop.test.evil.test\r\n"),
        host("Host begins before", "host: evil-api.shop.test\r\n"),
        host("Host is an address", "host: 127.0.0.1\r\n"),
        host("Host has another port", "host: api.shop.test:80\r\n"),
        host(
            "Host has no port behind its colon",
            "host: api.shop.test:\r\n",
        ),
        host(
            "Host has a port out of range",
            "host: api.shop.test:65979\r\n",
        ),
        host("Host has a user", "host: user@api.shop.test\r\n"),
        host("Host has a path", "host: api.shop.test/v1\r\n"),
        host("Host is two names", "host: api.shop.test, evil.test\r\n"),
        host("Host is not ASCII", "host: api.shöp.test\r\n"),
        host("Host twice", "host: api.shop.test\r\nhost: evil.test\r\n"),
        host(
            "Host twice alike",
            "host: api.shop.test\r\nhost: api.shop.test\r\n",
        ),
        target(
            "absolute target of another",
            "https://evil.test/v1/charges/ch_1",
            MISMATCH,
        ),
        target(
            "absolute target with a user",
            "https://user@api.shop.test/v1/charges/ch_1",
            MISMATCH,
        ),
        target(
            "absolute target with another port",
            "https://api.shop.test:444/v1/charges/ch_1",
            MISMATCH,
        ),
        target(
            "absolute target in clear",
            "http://api.shop.test:80/v1/charges/ch_1",
            MISMATCH,
        ),
        target(
            "absolute target of the same",
            "https://api.shop.test/v1/charges/ch_1",
            WireWant::Harmless(GET_LINE),
        ),
        target(
            "fragment",
            "/v1/charges/ch_1#x",
            WireWant::Harmless(GET_LINE),
        ),
        http1(
            "CONNECT",
            GET,
            "GET /v1/charges/ch_1",
            "CONNECT api.shop.test:443",
            UNDECLARED,
        ),
        http1(
            "CONNECT to another",
            GET,
            "GET /v1/charges/ch_1",
            "CONNECT evil.test:443",
            MISMATCH,
        ),
        http1(
            "upgrade to a web socket",
            GET,
            "user-agent",
            "connection: upgrade\r\nupgrade: websocket\r\nuser-agent",
            UNDECLARED,
        ),
        http1(
            "upgrade to HTTP/2",
            GET,
            "user-agent",
            "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\nuser-agent",
            UNDECLARED,
        ),
        http1(
            "upgrade without Connection",
            GET,
            "user-agent",
            "upgrade: websocket\r\nuser-agent",
            UNDECLARED,
        ),
    ]
}

fn lines() -> Vec<Wire> {
    const NOT_HTTP: WireWant = WireWant::NotHttp(400);
    let line = |name, to| http1(name, GET, "GET /v1/charges/ch_1 HTTP/1.1\r\n", to, NOT_HTTP);
    let header = |name, to| http1(name, GET, "user-agent: MARK\r\n", to, NOT_HTTP);
    vec![
        line("request line without a version", "GET /v1/charges/ch_1\r\n"),
        line(
            "request line of HTTP/2",
            "GET /v1/charges/ch_1 HTTP/2.0\r\n",
        ),
        line(
            "request line of HTTP/1.2",
            "GET /v1/charges/ch_1 HTTP/1.2\r\n",
        ),
        line(
            "request line with a small version",
            "GET /v1/charges/ch_1 http/1.1\r\n",
        ),
        line(
            "request line with two blanks",
            "GET  /v1/charges/ch_1 HTTP/1.1\r\n",
        ),
        line(
            "request line with a blank behind",
            "GET /v1/charges/ch_1 HTTP/1.1 \r\n",
        ),
        line(
            "request line with a tab",
            "GET\t/v1/charges/ch_1 HTTP/1.1\r\n",
        ),
        line(
            "request line with a blank before",
            " GET /v1/charges/ch_1 HTTP/1.1\r\n",
        ),
        line("method with a bracket", "G[T /v1/charges/ch_1 HTTP/1.1\r\n"),
        line("status line", "HTTP/1.1 200 OK\r\n"),
        line("TLS within TLS", "\x16\x03\x01\0\x05hello\r\n"),
        header("folded header", "user-agent: MARK\r\n folded\r\n"),
        header("folded header by a tab", "user-agent: MARK\r\n\tfolded\r\n"),
        header("header before a blank", "user-agent : MARK\r\n"),
        header("header without a colon", "user-agent\r\n"),
        header("header without a name", ": MARK\r\n"),
        header("header name with a bracket", "user[agent: MARK\r\n"),
        header("header name not ASCII", "usér-agent: MARK\r\n"),
        header("header with NUL", "user-agent: MARK\0\r\n"),
        header(
            "header with a carriage return",
            "user-agent: MARK\rx: y\r\n",
        ),
        header("header with an escape", "user-agent: MARK\x1b\r\n"),
        http1(
            "first header after a blank",
            GET,
            "host:",
            " host:",
            NOT_HTTP,
        ),
        http1(
            "header too long",
            GET,
            "user-agent: MARK",
            "user-agent: MARKLONG",
            WireWant::NotHttp(431),
        ),
        http1(
            "too many headers",
            GET,
            "user-agent: MARK\r\n",
            "user-agent: MARK\r\nMANY",
            WireWant::NotHttp(431),
        ),
        http1(
            "target too long",
            GET,
            "ch_1",
            "ch_1LONG",
            WireWant::NotHttp(431),
        ),
        http1(
            "bare line feeds",
            GET,
            "HTTP/1.1\r\nhost: api.shop.test\r\n",
            "HTTP/1.1\nhost: api.shop.test\n",
            WireWant::Harmless(GET_LINE),
        ),
    ]
}

fn lengths() -> Vec<Wire> {
    const LENGTH: &str = "content-length: 23\r\n";
    const NOT_HTTP: WireWant = WireWant::NotHttp(400);
    const TOO_LARGE: WireWant = WireWant::Refused(413, "body_too_large", "4096 bytes");
    let length = |name, to| http1(name, POST, LENGTH, to, NOT_HTTP);
    vec![
        length(
            "lengths that differ",
            "content-length: 23\r\ncontent-length: 24\r\n",
        ),
        length("lengths in a list", "content-length: 23, 24\r\n"),
        length("lengths in a list alike", "content-length: 23, 23\r\n"),
        length("length negative", "content-length: -23\r\n"),
        length("length with a plus sign", "content-length: +23\r\n"),
        length("length in hex", "content-length: 0x17\r\n"),
        length("length a fraction", "content-length: 23.0\r\n"),
        length("length empty", "content-length:\r\n"),
        length("length in two parts", "content-length: 2 3\r\n"),
        length(
            "length beyond 64 bits",
            "content-length: 18446744073709551617\r\n",
        ),
        http1(
            "length over the limit",
            POST,
            LENGTH,
            "content-length: 5000\r\n",
            TOO_LARGE,
        ),
        http1(
            "length over the limit, expected",
            EXPECTED,
            LENGTH,
            "content-length: 5000\r\n",
            TOO_LARGE,
        ),
        http1(
            "length of terabytes",
            POST,
            LENGTH,
            "content-length: 9999999999999\r\n",
            TOO_LARGE,
        ),
    ]
}

fn chunks() -> Vec<Wire> {
    const CODING: &str = "transfer-encoding: chunked\r\n";
    const NOT_HTTP: WireWant = WireWant::NotHttp(400);
    const OTHER: WireWant = WireWant::Refused(400, "unparsable", "other than `chunked`");
    // RFC 9112 section 6.3: the coding is the length, and what is forwarded has one of our own.
    const CODING_WINS: WireWant = WireWant::Harmless("POST /v1/refunds HTTP/1.1\r\n");
    const BROKEN: WireWant = WireWant::Refused(400, "unparsable", "did not arrive whole");
    let coding = |name, to| http1(name, CHUNKED, CODING, to, NOT_HTTP);
    let size = |name, to| http1(name, CHUNKED, "17\r\n", to, BROKEN);
    vec![
        coding(
            "coding that ends otherwise",
            "transfer-encoding: chunked, gzip\r\n",
        ),
        coding("coding made up", "transfer-encoding: xchunked\r\n"),
        coding("coding identity", "transfer-encoding: identity\r\n"),
        coding("coding empty", "transfer-encoding:\r\n"),
        coding("coding in quotes", "transfer-encoding: \"chunked\"\r\n"),
        coding("coding before a blank", "transfer-encoding : chunked\r\n"),
        coding(
            "coding after a vertical tab",
            "transfer-encoding: \x0bchunked\r\n",
        ),
        coding(
            "coding undone by a second line",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        ),
        http1(
            "coding of HTTP/1.0",
            CHUNKED,
            "HTTP/1.1",
            "HTTP/1.0",
            NOT_HTTP,
        ),
        http1(
            "coding and length",
            CHUNKED,
            CODING,
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
            CODING_WINS,
        ),
        http1(
            "length and coding",
            CHUNKED,
            CODING,
            "content-length: 4\r\ntransfer-encoding: chunked\r\n",
            CODING_WINS,
        ),
        http1(
            "compressed, then chunked",
            CHUNKED,
            CODING,
            "transfer-encoding: gzip, chunked\r\n",
            OTHER,
        ),
        http1(
            "chunked twice",
            CHUNKED,
            CODING,
            "transfer-encoding: chunked, chunked\r\n",
            OTHER,
        ),
        size("chunk without a size", "\r\n"),
        size("chunk of no number", "xx\r\n"),
        size("chunk of a negative size", "-17\r\n"),
        size("chunk in hex twice", "0x17\r\n"),
        size("chunk beyond 64 bits", "fffffffffffffffff\r\n"),
        size("chunk too short", "16\r\n"),
        size("chunk before a bare line feed", "17\n"),
        http1(
            "chunk without an end",
            CHUNKED,
            "1200\r\n0",
            "12000",
            BROKEN,
        ),
        http1(
            "chunks over the limit",
            CHUNKED,
            "17\r\n",
            "1388\r\nMUCH\r\n17\r\n",
            WireWant::Refused(413, "body_too_large", "4096 bytes"),
        ),
        http1(
            "trailers",
            CHUNKED,
            "0\r\n\r\n",
            "0\r\namount: 1\r\n\r\n",
            WireWant::Refused(400, "unparsable", "trailers"),
        ),
        http1(
            "chunked body on a GET",
            GET,
            "\r\n\r\n",
            "\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            WireWant::Refused(403, "body_not_allowed", "without a body"),
        ),
    ]
}

fn http2_names() -> Vec<Wire> {
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

fn http2_fields() -> Vec<Wire> {
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
