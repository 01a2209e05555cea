//! Where a head ends: requests behind requests, lines, names, versions, and what changes the protocol.

use super::attacks::{Attack, of};

pub(crate) fn all() -> Vec<Attack> {
    [
        of(
            "one connection, several requests: each is judged by itself",
            PIPELINED,
        ),
        of(
            "readers differ in what ends a line, and so in where the head ends",
            LINES,
        ),
        of(
            "readers differ in what a name may hold, and so in what the field is",
            NAMES,
        ),
        of(
            "readers differ in what version this is, and so in whether another request may follow",
            VERSIONS,
        ),
        of(
            "who waits for `100 Continue` and who does not differ in where the body is",
            EXPECTED,
        ),
        of(
            "what follows is no HTTP/1.1 for who believes in the change",
            CHANGED,
        ),
        of(
            "fields that Connection names go away on the way, and with them what was judged",
            CONNECTION,
        ),
    ]
    .concat()
}

const PIPELINED: &[(&str, &str)] = &[
    ("second request", "{get}\r\n{smuggled}"),
    ("third request", "{get}\r\n{get}\r\n{smuggled}"),
    (
        "second request behind a body",
        "{raw}content-length: 2\r\n\r\n{}{smuggled}",
    ),
    (
        "second request behind empty lines",
        "{get}\r\n\r\n\r\n\r\n{smuggled}",
    ),
    ("second request behind a line feed", "{get}\r\n\n{smuggled}"),
    ("second request behind a blank", "{get}\r\n {smuggled}"),
    ("second request behind NUL", "{get}\r\n\0{smuggled}"),
    ("first request that is refused", "{smuggled}{get}\r\n"),
    (
        "second request of another host",
        "{get}\r\nGET /v1/MARK HTTP/1.1\r\nhost: evil.example\r\n\r\n",
    ),
    (
        "request behind `close`",
        "{get}connection: close\r\n\r\n{smuggled}",
    ),
    ("two requests that are good", "{get}\r\n{delete}\r\n"),
];

const LINES: &[(&str, &str)] = &[
    (
        "head of line feeds",
        "GET /v1/MARK HTTP/1.1\nhost: HOST\n\n{smuggled}",
    ),
    (
        "head that ends in two line feeds",
        "{get}x: y\n\n{smuggled}",
    ),
    ("head that ends in a line feed", "{get}\n{smuggled}"),
    (
        "head that ends in carriage returns",
        "{get}x: y\r\r{smuggled}",
    ),
    (
        "carriage return before the line end",
        "{get}x: y\r\r\n\r\n{smuggled}",
    ),
    (
        "carriage return in a value",
        "{get}x: y\rcontent-length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "line feed in a value",
        "{get}x: y\ncontent-length: {len}\r\n\r\n{smuggled}",
    ),
    ("NUL in a value", "{get}x: y\0z\r\n\r\n{smuggled}"),
    ("NUL before the line end", "{get}x: y\0\r\n\r\n{smuggled}"),
    (
        "folded value",
        "{get}x: y\r\n content-length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "value folded by a tab",
        "{get}x: y\r\n\tcontent-length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "folded first line",
        "GET /v1/MARK\r\n HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "first field after a blank",
        "GET /v1/MARK HTTP/1.1\r\n content-length: {len}\r\n{host}\r\n{smuggled}",
    ),
    ("line of a blank", "{get} \r\n\r\n{smuggled}"),
    (
        "next line, of Unicode",
        "{get}x: y\u{85}content-length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "line separator, of Unicode",
        "{get}x: y\u{2028}content-length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "form feed in a value",
        "{get}x: y\x0ccontent-length: {len}\r\n\r\n{smuggled}",
    ),
    ("delete sign in a value", "{get}x: y\x7f\r\n\r\n{smuggled}"),
    ("head that does not end", "{get}x: y"),
    ("value too long", "{get}x: LONG\r\n\r\n{smuggled}"),
    ("name too long", "{get}LONG: x\r\n\r\n{smuggled}"),
    (
        "target too long",
        "GET /v1/MARK/LONG HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "method too long",
        "LONG /v1/MARK HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "line too long that ends in a request",
        "GET /v1/MARK/LONG {smuggled}",
    ),
];

const NAMES: &[(&str, &str)] = &[
    (
        "field without a colon",
        "{get}content-length\r\n\r\n{smuggled}",
    ),
    ("field without a name", "{get}: y\r\n\r\n{smuggled}"),
    (
        "name with a blank",
        "{get}content length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "name before a blank",
        "{get}content-length : {len}\r\n\r\n{smuggled}",
    ),
    (
        "name before a tab",
        "{get}content-length\t: {len}\r\n\r\n{smuggled}",
    ),
    (
        "name behind NUL",
        "{get}\0content-length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "name behind a carriage return",
        "{get}\rcontent-length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "name with a bracket",
        "{get}content[length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "name in quotes",
        "{get}\"content-length\": {len}\r\n\r\n{smuggled}",
    ),
    (
        "name not ASCII",
        "{get}content\u{2010}length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "name with a slash",
        "{get}content/length: {len}\r\n\r\n{smuggled}",
    ),
    ("name of a pseudo field", "{get}:path: /admin/MARK\r\n\r\n"),
    (
        "credential with an underscore",
        "{get}AUTHORIZATION_: a\r\nproxy_authorization: a\r\n\r\n",
    ),
    (
        "credential of the agent",
        "{get}authorization: Bearer agent\r\n\r\n",
    ),
    (
        "credential twice",
        "{get}authorization: Bearer agent\r\nAuthorization: Basic YTpi\r\n\r\n",
    ),
];

const VERSIONS: &[(&str, &str)] = &[
    (
        "HTTP/1.0 kept alive",
        "GET /v1/MARK HTTP/1.0\r\n{host}connection: keep-alive\r\n\r\n{smuggled}",
    ),
    (
        "HTTP/1.0 not kept alive",
        "GET /v1/MARK HTTP/1.0\r\n{host}\r\n{smuggled}",
    ),
    (
        "HTTP/1.0 with a coding",
        "POST /v1/raw/MARK HTTP/1.0\r\n{host}content-type: application/json\r\n{coded}connection: keep-alive\r\n\r\n0\r\n\r\n{smuggled}",
    ),
    (
        "HTTP/1.0 with both",
        "POST /v1/raw/MARK HTTP/1.0\r\n{host}content-type: application/json\r\n{coded}content-length: {len+5}\r\nconnection: keep-alive\r\n\r\n0\r\n\r\n{smuggled}",
    ),
    ("HTTP/0.9", "GET /v1/MARK\r\n"),
    ("HTTP/0.9 behind a request", "{get}\r\nGET /admin/MARK\r\n"),
    ("HTTP/1.9", "GET /v1/MARK HTTP/1.9\r\n{host}\r\n{smuggled}"),
    (
        "HTTP/2.0 as a line",
        "GET /v1/MARK HTTP/2.0\r\n{host}\r\n{smuggled}",
    ),
    (
        "HTTP/01.1",
        "GET /v1/MARK HTTP/01.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "version of two spaces",
        "GET /v1/MARK  HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "version with a blank behind",
        "GET /v1/MARK HTTP/1.1 \r\n{host}\r\n{smuggled}",
    ),
    (
        "version in small letters",
        "GET /v1/MARK http/1.1\r\n{host}\r\n{smuggled}",
    ),
    ("ICY", "GET /v1/MARK ICY/1.1\r\n{host}\r\n{smuggled}"),
];

const EXPECTED: &[(&str, &str)] = &[
    (
        "body that does not wait for 100",
        "{raw}expect: 100-continue\r\ncontent-length: 2\r\n\r\n{}{smuggled}",
    ),
    (
        "body that never comes",
        "{raw}expect: 100-continue\r\ncontent-length: {len}\r\n\r\n",
    ),
    (
        "request instead of the body",
        "{raw}expect: 100-continue\r\ncontent-length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "request behind an expected one that is refused",
        "POST /admin/MARK HTTP/1.1\r\n{host}expect: 100-continue\r\ncontent-length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "expected on GET",
        "{get}expect: 100-continue\r\n\r\n{smuggled}",
    ),
    (
        "expected on GET with a length",
        "{get}expect: 100-continue\r\ncontent-length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "expected chunks",
        "{raw}expect: 100-continue\r\n{coded}\r\n2\r\n{}\r\n0\r\n\r\n{smuggled}",
    ),
    (
        "expected of a length of none",
        "{raw}expect: 100-continue\r\ncontent-length: 0\r\n\r\n{smuggled}",
    ),
    (
        "expected, odd",
        "{raw}expect: y 100-continue\r\ncontent-length: 2\r\n\r\n{}{smuggled}",
    ),
    (
        "expected twice",
        "{raw}expect: 100-continue\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n{}{smuggled}",
    ),
    (
        "expected by HTTP/1.0",
        "POST /v1/raw/MARK HTTP/1.0\r\n{host}content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n{}{smuggled}",
    ),
];

const CHANGED: &[(&str, &str)] = &[
    (
        "h2c",
        "{get}connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n{smuggled}",
    ),
    (
        "h2c without its settings",
        "{get}connection: upgrade\r\nupgrade: h2c\r\n\r\n{smuggled}",
    ),
    (
        "h2c with a body",
        "{raw}connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\ncontent-length: 2\r\n\r\n{}{smuggled}",
    ),
    (
        "h2c, settings not named",
        "{get}connection: upgrade\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ),
    (
        "web socket",
        "{get}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n{smuggled}",
    ),
    (
        "web socket of a wrong version",
        "{get}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 777\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n{smuggled}",
    ),
    (
        "upgrade to TLS",
        "{get}connection: upgrade\r\nupgrade: TLS/1.0\r\n\r\n{smuggled}",
    ),
    (
        "upgrade that Connection does not name",
        "{get}upgrade: h2c\r\n\r\n{smuggled}",
    ),
    (
        "preface of HTTP/2 behind a request",
        "{get}\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{smuggled}",
    ),
    (
        "preface of HTTP/2, then HTTP/1.1",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{smuggled}",
    ),
    (
        "preface of HTTP/2 in part",
        "PRI * HTTP/2.0\r\n\r\n{smuggled}",
    ),
    (
        "CONNECT",
        "CONNECT HOST:443 HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "CONNECT of a path",
        "CONNECT /v1/MARK HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "CONNECT with a length",
        "CONNECT HOST:443 HTTP/1.1\r\n{host}content-length: 2\r\n\r\n{}{smuggled}",
    ),
    (
        "header of the PROXY protocol",
        "PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n{smuggled}",
    ),
];

const CONNECTION: &[(&str, &str)] = &[
    (
        "Connection names the credential",
        "{get}connection: authorization\r\n\r\n",
    ),
    (
        "Connection names the host",
        "{get}connection: host\r\n\r\n{smuggled}",
    ),
    (
        "Connection names the length",
        "{raw}connection: content-length\r\ncontent-length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "Connection names the coding",
        "{raw}connection: transfer-encoding\r\n{coded}\r\n{hex}\r\n{smuggled}\r\n0\r\n\r\n",
    ),
    (
        "Connection names the content type",
        "{raw}connection: content-type\r\ncontent-length: 2\r\n\r\n{}",
    ),
    (
        "Connection names itself",
        "{get}connection: connection, close\r\n\r\n{smuggled}",
    ),
    (
        "Connection keeps alive and closes",
        "{get}connection: keep-alive, close\r\n\r\n{smuggled}",
    ),
    (
        "Connection of a proxy",
        "{get}proxy-connection: keep-alive\r\nkeep-alive: timeout=5\r\n\r\n{smuggled}",
    ),
    (
        "Connection in two lines",
        "{get}connection: keep-alive\r\nconnection: authorization, user-agent\r\n\r\n",
    ),
];
