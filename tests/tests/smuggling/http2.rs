//! Attacks in frames: what HTTP/2 can say and HTTP/1.1 cannot, for servers of either.

use actpass_tests::proxied::HOST;
use actpass_tests::raw::{PREFACE, fields, frame};

use super::attacks::{Attack, Bytes, smuggled};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The stream of the good request that comes after.
pub(crate) const AFTER: u32 = 101;

pub(crate) fn all() -> Vec<Attack> {
    let cases = [BODIES, FIELDS, PSEUDO, FRAMES].concat();
    let made = cases.into_iter().map(|(name, why, make)| Attack {
        name: format!("HTTP/2 {name}"),
        why,
        bytes: Bytes::Frames(make),
    });
    made.collect()
}

/// The good request on the same connection.
pub(crate) fn after(mark: &str) -> Vec<u8> {
    Head::get(mark)
        .set(":path", &format!("/v1/{mark}/after"))
        .only(AFTER)
}

type Case = (&'static str, &'static str, fn(&str) -> Vec<u8>);

/// The fields of a request.
#[derive(Clone)]
struct Head(Vec<(String, String)>);

impl Head {
    fn of(method: &str, path: &str, mark: &str) -> Self {
        let pseudo = [
            (":method", method),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", path),
            ("user-agent", mark),
        ];
        Self(
            pseudo
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        )
    }

    fn get(mark: &str) -> Self {
        Self::of("GET", &format!("/v1/{mark}"), mark)
    }

    fn raw(mark: &str) -> Self {
        let head = Self::of("POST", &format!("/v1/raw/{mark}"), mark);
        head.with("content-type", "application/json")
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    fn first(mut self, name: &str, value: &str) -> Self {
        self.0.insert(0, (name.to_owned(), value.to_owned()));
        self
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        for field in self.0.iter_mut().filter(|(found, _)| found == name) {
            value.clone_into(&mut field.1);
        }
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.retain(|(found, _)| found != name);
        self
    }

    /// A request without a body.
    fn only(&self, stream: u32) -> Vec<u8> {
        self.frame(stream, END_STREAM | END_HEADERS)
    }

    fn frame(&self, stream: u32, flags: u8) -> Vec<u8> {
        frame(HEADERS, flags, stream, &fields(&self.0))
    }

    /// A request with that body.
    fn body(&self, body: &[u8]) -> Vec<u8> {
        [self.frame(1, END_HEADERS), data(body, END_STREAM)].concat()
    }

    /// A request with a body and trailers.
    fn trailers(&self, trailers: &[(&str, &str)]) -> Vec<u8> {
        let trailers = trailers
            .iter()
            .map(|(name, value)| (String::from(*name), String::from(*value)));
        let trailers: Vec<_> = trailers.collect();
        let last = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&trailers));
        [self.frame(1, END_HEADERS), data(b"{}", 0), last].concat()
    }
}

fn data(body: &[u8], flags: u8) -> Vec<u8> {
    frame(DATA, flags, 1, body)
}

/// What opens a connection.
fn open(frames: Vec<u8>) -> Vec<u8> {
    [PREFACE.to_vec(), frame(4, 0, 0, &[]), frames].concat()
}

const LENGTH: &str = "who writes HTTP/1.1 from it writes a length that is not the body's";
const CODING: &str = "who writes HTTP/1.1 from it writes a coding, or two";
const SPLIT: &str = "who writes HTTP/1.1 from it writes a second line, or a second request";
const FIELD: &str = "readers differ in which field of two counts, or in what a field is";
const ORDER: &str = "readers differ in whether the request has ended";

const BODIES: &[Case] = &[
    ("CL of none, then data", LENGTH, |m| {
        open(
            Head::raw(m)
                .with("content-length", "0")
                .body(smuggled(m).as_bytes()),
        )
    }),
    ("CL shorter than the data", LENGTH, |m| {
        let body = format!("xxxxx{}", smuggled(m));
        open(
            Head::raw(m)
                .with("content-length", "5")
                .body(body.as_bytes()),
        )
    }),
    ("CL longer than the data", LENGTH, |m| {
        open(Head::raw(m).with("content-length", "500").body(b"{}"))
    }),
    ("CL twice", LENGTH, |m| {
        let head = Head::raw(m)
            .with("content-length", "2")
            .with("content-length", "0");
        open(head.body(b"{}"))
    }),
    ("CL twice alike", LENGTH, |m| {
        let head = Head::raw(m)
            .with("content-length", "2")
            .with("content-length", "2");
        open(head.body(b"{}"))
    }),
    ("CL with a plus", LENGTH, |m| {
        open(Head::raw(m).with("content-length", "+2").body(b"{}"))
    }),
    ("CL of a list", LENGTH, |m| {
        open(Head::raw(m).with("content-length", "2, 2").body(b"{}"))
    }),
    ("CL in hex", LENGTH, |m| {
        open(Head::raw(m).with("content-length", "0x2").body(b"{}"))
    }),
    ("CL behind a blank", LENGTH, |m| {
        open(Head::raw(m).with("content-length", " 2").body(b"{}"))
    }),
    ("CL beyond 64 bits", LENGTH, |m| {
        open(
            Head::raw(m)
                .with("content-length", "18446744073709551618")
                .body(b"{}"),
        )
    }),
    ("CL on GET without data", LENGTH, |m| {
        open(Head::get(m).with("content-length", "105").only(1))
    }),
    ("CL on GET with data", LENGTH, |m| {
        let body = smuggled(m);
        let length = body.len().to_string();
        open(
            Head::get(m)
                .with("content-length", &length)
                .body(body.as_bytes()),
        )
    }),
    ("data on GET", LENGTH, |m| {
        open(Head::get(m).body(smuggled(m).as_bytes()))
    }),
    ("data that is a request", LENGTH, |m| {
        open(Head::raw(m).body(smuggled(m).as_bytes()))
    }),
    ("data that ends in a request, in two frames", LENGTH, |m| {
        let head = Head::raw(m)
            .with("content-length", "2")
            .frame(1, END_HEADERS);
        open(
            [
                head,
                data(b"{}", 0),
                data(smuggled(m).as_bytes(), END_STREAM),
            ]
            .concat(),
        )
    }),
    ("TE", CODING, |m| {
        let body = format!("0\r\n\r\n{}", smuggled(m));
        open(
            Head::raw(m)
                .with("transfer-encoding", "chunked")
                .body(body.as_bytes()),
        )
    }),
    ("TE on GET", CODING, |m| {
        open(Head::get(m).with("transfer-encoding", "chunked").only(1))
    }),
    ("TE with CL", CODING, |m| {
        let head = Head::raw(m)
            .with("transfer-encoding", "chunked")
            .with("content-length", "5");
        open(head.body(b"0\r\n\r\n"))
    }),
    ("TE of identity", CODING, |m| {
        open(
            Head::raw(m)
                .with("transfer-encoding", "identity")
                .body(b"{}"),
        )
    }),
    ("TE with an underscore", CODING, |m| {
        let body = format!("0\r\n\r\n{}", smuggled(m));
        open(
            Head::raw(m)
                .with("transfer_encoding", "chunked")
                .body(body.as_bytes()),
        )
    }),
    ("te of chunked", CODING, |m| {
        open(Head::get(m).with("te", "chunked").only(1))
    }),
    ("Connection that names a coding", CODING, |m| {
        open(
            Head::raw(m)
                .with("connection", "transfer-encoding")
                .body(b"{}"),
        )
    }),
    ("expected", LENGTH, |m| {
        open(
            Head::raw(m)
                .with("expect", "100-continue")
                .body(smuggled(m).as_bytes()),
        )
    }),
];

const FIELDS: &[Case] = &[
    ("value with a coding", SPLIT, |m| {
        let body = format!("0\r\n\r\n{}", smuggled(m));
        open(
            Head::raw(m)
                .with("x", "a\r\ntransfer-encoding: chunked")
                .body(body.as_bytes()),
        )
    }),
    ("value with a request", SPLIT, |m| {
        open(
            Head::get(m)
                .with("x", &format!("a\r\n\r\n{}", smuggled(m)))
                .only(1),
        )
    }),
    ("value with a line feed", SPLIT, |m| {
        open(Head::get(m).with("x", "a\nb: c").only(1))
    }),
    ("value with a carriage return", SPLIT, |m| {
        open(Head::get(m).with("x", "a\rb: c").only(1))
    }),
    ("value with NUL", SPLIT, |m| {
        open(Head::get(m).with("x", "a\0b").only(1))
    }),
    ("value with a blank around", SPLIT, |m| {
        open(Head::get(m).with("x", " a ").only(1))
    }),
    ("agent with a line", SPLIT, |m| {
        open(
            Head::get(m)
                .set("user-agent", "a\r\nauthorization: b")
                .only(1),
        )
    }),
    ("name with a line", SPLIT, |m| {
        open(Head::get(m).with("x: y\r\nz", "a").only(1))
    }),
    ("name with a request", SPLIT, |m| {
        open(
            Head::get(m)
                .with(&format!("x: y\r\n\r\nGET /admin/{m} HTTP/1.1\r\nz"), "a")
                .only(1),
        )
    }),
    ("name with a colon", SPLIT, |m| {
        open(Head::get(m).with("host: evil.example\u{20}x", "a").only(1))
    }),
    ("name that ends in a colon", SPLIT, |m| {
        open(Head::get(m).with("transfer-encoding:", "chunked").only(1))
    }),
    ("name with a blank", SPLIT, |m| {
        open(Head::get(m).with("content length", "5").only(1))
    }),
    ("name before a blank", SPLIT, |m| {
        open(Head::get(m).with("content-length ", "5").only(1))
    }),
    ("name in capitals", FIELD, |m| {
        open(Head::get(m).with("Transfer-Encoding", "chunked").only(1))
    }),
    ("name that is empty", FIELD, |m| {
        open(Head::get(m).with("", "a").only(1))
    }),
    ("name with NUL", FIELD, |m| {
        open(Head::get(m).with("content-length\0", "5").only(1))
    }),
    ("name not ASCII", FIELD, |m| {
        open(Head::get(m).with("content\u{2010}length", "5").only(1))
    }),
    ("Connection that closes", FIELD, |m| {
        open(Head::get(m).with("connection", "close").only(1))
    }),
    ("Upgrade", FIELD, |m| {
        open(Head::get(m).with("upgrade", "h2c").only(1))
    }),
    ("settings of an upgrade", FIELD, |m| {
        open(
            Head::get(m)
                .with("http2-settings", "AAMAAABkAAQAAP__")
                .only(1),
        )
    }),
    ("host of another", FIELD, |m| {
        open(Head::get(m).with("host", "evil.example").only(1))
    }),
    ("host twice", FIELD, |m| {
        open(Head::get(m).with("host", HOST).with("host", HOST).only(1))
    }),
    ("host instead of authority", FIELD, |m| {
        open(
            Head::get(m)
                .without(":authority")
                .with("host", "evil.example")
                .only(1),
        )
    }),
    ("credential of the agent", FIELD, |m| {
        open(Head::get(m).with("authorization", "Bearer agent").only(1))
    }),
    ("override", FIELD, |m| {
        open(
            Head::raw(m)
                .with("x-http-method-override", "DELETE")
                .body(b"{}"),
        )
    }),
    ("cookies in pieces", FIELD, |m| {
        open(
            Head::get(m)
                .with("cookie", "a=b")
                .with("cookie", "c=d\u{3b}")
                .only(1),
        )
    }),
    ("trailer of a length", FIELD, |m| {
        open(Head::raw(m).trailers(&[("content-length", "500")]))
    }),
    ("trailer of a coding", FIELD, |m| {
        open(Head::raw(m).trailers(&[("transfer-encoding", "chunked")]))
    }),
    ("trailer of a host", FIELD, |m| {
        open(Head::raw(m).trailers(&[("host", "evil.example")]))
    }),
    ("trailer of a credential", FIELD, |m| {
        open(Head::raw(m).trailers(&[("authorization", "Bearer agent")]))
    }),
    ("trailer of a path", FIELD, |m| {
        open(Head::raw(m).trailers(&[(":path", "/admin/x")]))
    }),
    ("trailer with a line", SPLIT, |m| {
        open(Head::raw(m).trailers(&[("x", "y\r\n\r\nGET /admin HTTP/1.1")]))
    }),
];

const PSEUDO: &[Case] = &[
    ("path twice", FIELD, |m| {
        open(Head::get(m).first(":path", &format!("/admin/{m}")).only(1))
    }),
    ("method twice", FIELD, |m| {
        open(Head::get(m).first(":method", "DELETE").only(1))
    }),
    ("authority twice", FIELD, |m| {
        open(Head::get(m).first(":authority", "evil.example").only(1))
    }),
    ("scheme twice", FIELD, |m| {
        open(Head::get(m).first(":scheme", "http").only(1))
    }),
    ("path behind fields", FIELD, |m| {
        open(Head::get(m).with(":path", &format!("/admin/{m}")).only(1))
    }),
    ("pseudo field made up", FIELD, |m| {
        open(Head::get(m).first(":url", "/admin").only(1))
    }),
    ("pseudo field of an answer", FIELD, |m| {
        open(Head::get(m).first(":status", "200").only(1))
    }),
    ("path with a version", SPLIT, |m| {
        open(
            Head::get(m)
                .set(":path", &format!("/v1/{m} HTTP/1.1"))
                .only(1),
        )
    }),
    ("path with a request", SPLIT, |m| {
        let path = format!("/v1/{m} HTTP/1.1\r\nhost: {HOST}\r\n\r\nGET /admin/{m}");
        open(Head::get(m).set(":path", &path).only(1))
    }),
    ("path with a line feed", SPLIT, |m| {
        open(Head::get(m).set(":path", &format!("/v1/{m}\nx: y")).only(1))
    }),
    ("path with a tab", SPLIT, |m| {
        open(Head::get(m).set(":path", &format!("/v1/{m}\tx")).only(1))
    }),
    ("path with NUL", SPLIT, |m| {
        open(Head::get(m).set(":path", &format!("/v1/{m}\0")).only(1))
    }),
    ("path of a whole URL", FIELD, |m| {
        open(
            Head::get(m)
                .set(":path", &format!("https://evil.example/v1/{m}"))
                .only(1),
        )
    }),
    ("path without a slash", FIELD, |m| {
        open(Head::get(m).set(":path", &format!("admin/{m}")).only(1))
    }),
    ("path of all", FIELD, |m| {
        open(Head::get(m).set(":path", "*").only(1))
    }),
    ("path that is empty", FIELD, |m| {
        open(Head::get(m).set(":path", "").only(1))
    }),
    ("path that climbs", FIELD, |m| {
        open(
            Head::get(m)
                .set(":path", &format!("/v1/../admin/{m}"))
                .only(1),
        )
    }),
    ("path with a fragment", FIELD, |m| {
        open(
            Head::get(m)
                .set(":path", &format!("/v1/{m}#/../admin/{m}"))
                .only(1),
        )
    }),
    ("no path", FIELD, |m| {
        open(Head::get(m).without(":path").only(1))
    }),
    ("method with a request", SPLIT, |m| {
        open(
            Head::get(m)
                .set(":method", &format!("GET /admin/{m} HTTP/1.1\r\nx: y"))
                .only(1),
        )
    }),
    ("method with a blank", SPLIT, |m| {
        open(
            Head::get(m)
                .set(":method", &format!("GET /admin/{m}"))
                .only(1),
        )
    }),
    ("method that is empty", FIELD, |m| {
        open(Head::get(m).set(":method", "").only(1))
    }),
    ("scheme with a URL", FIELD, |m| {
        open(
            Head::get(m)
                .set(":scheme", &format!("https://{HOST}/admin/{m}?"))
                .only(1),
        )
    }),
    ("scheme with a line", SPLIT, |m| {
        open(Head::get(m).set(":scheme", "https\r\nx: y").only(1))
    }),
    ("scheme in clear", FIELD, |m| {
        open(Head::get(m).set(":scheme", "http").only(1))
    }),
    ("no scheme", FIELD, |m| {
        open(Head::get(m).without(":scheme").only(1))
    }),
    ("authority with a line", SPLIT, |m| {
        open(
            Head::get(m)
                .set(":authority", &format!("{HOST}\r\nx: y"))
                .only(1),
        )
    }),
    ("authority with a path", FIELD, |m| {
        open(
            Head::get(m)
                .set(":authority", &format!("{HOST}/admin/{m}"))
                .only(1),
        )
    }),
    ("authority with a user", FIELD, |m| {
        open(
            Head::get(m)
                .set(":authority", &format!("evil@{HOST}"))
                .only(1),
        )
    }),
    ("authority of another", FIELD, |m| {
        open(Head::get(m).set(":authority", "evil.example").only(1))
    }),
    ("no authority", FIELD, |m| {
        open(Head::get(m).without(":authority").only(1))
    }),
    ("CONNECT", ORDER, |m| {
        let head = Head::get(m)
            .set(":method", "CONNECT")
            .without(":scheme")
            .without(":path");
        open([head.frame(1, END_HEADERS), data(smuggled(m).as_bytes(), 0)].concat())
    }),
    ("CONNECT to a web socket", ORDER, |m| {
        let head = Head::get(m)
            .set(":method", "CONNECT")
            .first(":protocol", "websocket");
        open([head.frame(1, END_HEADERS), data(smuggled(m).as_bytes(), 0)].concat())
    }),
    ("TRACE", FIELD, |m| {
        open(Head::get(m).set(":method", "TRACE").only(1))
    }),
    ("PRI", FIELD, |m| {
        open(Head::get(m).set(":method", "PRI").set(":path", "*").only(1))
    }),
];

const FRAMES: &[Case] = &[
    ("data behind its end", ORDER, |m| {
        open(
            [
                Head::get(m).only(1),
                data(smuggled(m).as_bytes(), END_STREAM),
            ]
            .concat(),
        )
    }),
    ("head behind its end", ORDER, |m| {
        let second = Head::of("POST", &format!("/admin/{m}"), m);
        open([Head::get(m).only(1), second.only(1)].concat())
    }),
    ("head behind a body's end", ORDER, |m| {
        let second = Head::of("POST", &format!("/admin/{m}"), m);
        open([Head::raw(m).body(b"{}"), second.only(1)].concat())
    }),
    ("second head before the end", ORDER, |m| {
        let second = Head::of("POST", &format!("/admin/{m}"), m);
        open([Head::raw(m).frame(1, END_HEADERS), second.only(1)].concat())
    }),
    ("end before the length", ORDER, |m| {
        open(Head::raw(m).with("content-length", "105").only(1))
    }),
    ("end that never comes", ORDER, |m| {
        open(Head::raw(m).frame(1, END_HEADERS))
    }),
    ("end by a reset", ORDER, |m| {
        let head = Head::raw(m)
            .with("content-length", "105")
            .frame(1, END_HEADERS);
        open([head, data(b"{", 0), frame(3, 0, 1, &[0, 0, 0, 8])].concat())
    }),
    ("reset behind the request", ORDER, |m| {
        open([Head::raw(m).body(b"{}"), frame(3, 0, 1, &[0, 0, 0, 8])].concat())
    }),
    ("empty data before the end", ORDER, |m| {
        let head = Head::raw(m).frame(1, END_HEADERS);
        open([head, data(b"", 0), data(b"", 0), data(b"{}", END_STREAM)].concat())
    }),
    ("data padded", ORDER, |m| {
        let padding = smuggled(m);
        let length = u8::try_from(padding.len()).unwrap();
        let body = [&[length][..], b"{}", padding.as_bytes()].concat();
        open(
            [
                Head::raw(m).frame(1, END_HEADERS),
                data(&body, END_STREAM | 8),
            ]
            .concat(),
        )
    }),
    ("data padded by more than there is", ORDER, |m| {
        let body = [&[200_u8][..], b"{}"].concat();
        open(
            [
                Head::raw(m).frame(1, END_HEADERS),
                data(&body, END_STREAM | 8),
            ]
            .concat(),
        )
    }),
    ("data of no stream", ORDER, |m| {
        open(data(smuggled(m).as_bytes(), END_STREAM))
    }),
    ("head in pieces", ORDER, |m| {
        let block = fields(&Head::get(m).0);
        let (one, two) = block.split_at(20);
        open(
            [
                frame(HEADERS, END_STREAM, 1, one),
                frame(CONTINUATION, END_HEADERS, 1, two),
            ]
            .concat(),
        )
    }),
    ("head in pieces of two streams", ORDER, |m| {
        let block = fields(&Head::get(m).0);
        let (one, two) = block.split_at(20);
        open(
            [
                frame(HEADERS, END_STREAM, 1, one),
                frame(CONTINUATION, END_HEADERS, 3, two),
            ]
            .concat(),
        )
    }),
    ("head in pieces with data between", ORDER, |m| {
        let block = fields(&Head::raw(m).0);
        let (one, two) = block.split_at(20);
        open(
            [
                frame(HEADERS, 0, 1, one),
                data(b"{}", END_STREAM),
                frame(CONTINUATION, END_HEADERS, 1, two),
            ]
            .concat(),
        )
    }),
    ("piece of no head", ORDER, |m| {
        open(frame(
            CONTINUATION,
            END_HEADERS,
            1,
            &fields(&Head::get(m).0),
        ))
    }),
    ("stream of the server", ORDER, |m| {
        open(Head::get(m).only(2))
    }),
    ("stream of the connection", ORDER, |m| {
        open(Head::get(m).only(0))
    }),
    ("stream that is over", ORDER, |m| {
        let second = Head::of("POST", &format!("/admin/{m}"), m);
        open([Head::get(m).only(5), second.only(3)].concat())
    }),
    ("promise of the client", ORDER, |m| {
        let promise = [&2_u32.to_be_bytes()[..], &fields(&Head::get(m).0)].concat();
        open(
            [
                Head::get(m).only(1),
                frame(PUSH_PROMISE, END_HEADERS, 1, &promise),
            ]
            .concat(),
        )
    }),
    ("frame of no known kind", ORDER, |m| {
        open(
            [
                frame(0x42, 0xff, 1, smuggled(m).as_bytes()),
                Head::get(m).only(1),
            ]
            .concat(),
        )
    }),
    ("HTTP/1.1 behind the preface", ORDER, |m| {
        open(smuggled(m).into_bytes())
    }),
    ("two streams", ORDER, |m| {
        let second = Head::of("POST", &format!("/admin/{m}"), m);
        open([Head::get(m).only(1), second.only(3)].concat())
    }),
    ("two streams, crossed", ORDER, |m| {
        let second = Head::of("POST", &format!("/admin/{m}"), m);
        let first = Head::raw(m).frame(1, END_HEADERS);
        open(
            [
                first,
                second.only(3),
                data(smuggled(m).as_bytes(), END_STREAM),
            ]
            .concat(),
        )
    }),
];
