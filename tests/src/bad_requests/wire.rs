//! Faults below the request, in bytes: in names, lines, lengths and chunks. HTTP itself refuses most of them.

use super::http2::{self, Http2};

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

    /// Body of the good request.
    pub(crate) fn body(&self) -> Vec<u8> {
        match self.make {
            Make::Http1(GET, ..) => Vec::new(),
            Make::Http1(..) => REFUND.as_bytes().to_vec(),
            Make::Http2(base, _) => base().body,
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

const GET: &str =
    "GET /v1/charges/ch_1 HTTP/1.1\r\nhost: api.shop.test\r\nuser-agent: MARK\r\n\r\n";

/// The first line of `GET` as it is forwarded.
const GET_LINE: &str = "GET /v1/charges/ch_1 HTTP/1.1\r\n";

/// Body of all that are no `GET`.
pub(crate) const REFUND: &str = "charge=ch_1&amount=1200";

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

/// All of them.
pub(crate) fn all() -> Vec<Wire> {
    [
        names(),
        lines(),
        lengths(),
        chunks(),
        http2::names(),
        http2::fields_and_lengths(),
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
            NOT_HTTP,
        ),
        http1(
            "length and coding",
            CHUNKED,
            CODING,
            "content-length: 4\r\ntransfer-encoding: chunked\r\n",
            NOT_HTTP,
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
