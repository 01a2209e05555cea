//! Fields of HTTP/2 that are none, or mean something else in lines.

use actpass_tests::proxied::HOST;

use super::attacks::smuggled;
use super::frames::{Case, END_HEADERS, FIELD, Head, ORDER, SPLIT, data, open};

pub(super) const FIELDS: &[Case] = &[
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

pub(super) const PSEUDO: &[Case] = &[
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
