//! Where a head ends and what it says: lines, names, targets, hosts, methods, versions, and what changes the protocol.

use super::attacks::Attack;

pub(crate) fn all() -> Vec<Attack> {
    let from = |why: &'static str, cases: &[(&'static str, &'static str)]| -> Vec<Attack> {
        let made = cases
            .iter()
            .map(|(name, text)| Attack::text(*name, why, *text));
        made.collect()
    };
    [
        from(
            "one connection, several requests: each is judged by itself",
            PIPELINED,
        ),
        from(
            "readers differ in what ends a line, and so in where the head ends",
            LINES,
        ),
        from(
            "readers differ in what a name may hold, and so in what the field is",
            NAMES,
        ),
        from(
            "what was judged is not what the server takes for the target",
            TARGETS,
        ),
        from("what was judged is not whom the server takes it for", HOSTS),
        from(
            "readers differ in what version this is, and so in whether another request may follow",
            VERSIONS,
        ),
        from(
            "who waits for `100 Continue` and who does not differ in where the body is",
            EXPECTED,
        ),
        from(
            "what follows is no HTTP/1.1 for who believes in the change",
            CHANGED,
        ),
        from(
            "fields that Connection names go away on the way, and with them what was judged",
            CONNECTION,
        ),
        from("the server is told to read another method", METHODS),
    ]
    .into_iter()
    .flatten()
    .collect()
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

const TARGETS: &[(&str, &str)] = &[
    (
        "target with a second line",
        "GET /v1/MARK HTTP/1.1\r\nx: y HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "target with a blank",
        "GET /v1/MARK /admin/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target with a tab",
        "GET /v1/MARK\tHTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "target with a carriage return",
        "GET /v1/MARK\rx HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "target with NUL",
        "GET /v1/MARK\0x HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "target with an encoded request",
        "GET /v1/MARK%20HTTP/1.1%0d%0ahost:%20x%0d%0a%0d%0aPOST%20/admin/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "query with an encoded request",
        "GET /v1/MARK?a=%20HTTP/1.1%0d%0a%0d%0aPOST%20/admin/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target with encoded NUL",
        "GET /v1/MARK%00 HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target that climbs",
        "GET /v1/../admin/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target that climbs, encoded",
        "GET /v1/%2e%2e/admin/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target that climbs, encoded twice",
        "GET /v1/%252e%252e/admin/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target that climbs behind a backslash",
        "GET /v1/..\\admin/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target that climbs behind an encoded slash",
        "GET /v1/..%2fadmin/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target that climbs behind a semicolon",
        "GET /v1/..;/admin/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target with two slashes",
        "GET //v1/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target with an encoded letter",
        "GET /v1/MARK/%61%42 HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target with a fragment",
        "GET /v1/MARK#/../../admin/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target without a slash",
        "GET admin/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target of all",
        "OPTIONS * HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    ("GET of all", "GET * HTTP/1.1\r\n{host}\r\n{smuggled}"),
    (
        "target not ASCII",
        "GET /v1/MARK/\u{ff0e}\u{ff0e}/admin HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "target that is a question mark",
        "GET ?/v1/MARK HTTP/1.1\r\n{host}\r\n",
    ),
];

const HOSTS: &[(&str, &str)] = &[
    (
        "whole target of the same host",
        "GET https://HOST/v1/MARK HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "whole target of another host",
        "GET https://evil.example/v1/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "whole target in clear",
        "GET http://HOST/v1/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "whole target with a user",
        "GET https://evil.example@HOST/v1/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "whole target of a file",
        "GET file:///admin/MARK HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "whole target, another Host",
        "GET https://HOST/v1/MARK HTTP/1.1\r\nhost: evil.example\r\n\r\n",
    ),
    ("two hosts", "{get}host: evil.example\r\n\r\n"),
    ("two hosts alike", "{get}host: HOST\r\n\r\n"),
    (
        "two hosts, the other first",
        "GET /v1/MARK HTTP/1.1\r\nhost: evil.example\r\n{host}\r\n",
    ),
    (
        "list of hosts",
        "GET /v1/MARK HTTP/1.1\r\nhost: HOST, evil.example\r\n\r\n",
    ),
    (
        "host before a blank",
        "GET /v1/MARK HTTP/1.1\r\nhost : evil.example\r\n{host}\r\n",
    ),
    (
        "folded host",
        "GET /v1/MARK HTTP/1.1\r\nhost: HOST\r\n evil.example\r\n\r\n",
    ),
    (
        "host with a path",
        "GET /v1/MARK HTTP/1.1\r\nhost: HOST/admin\r\n\r\n",
    ),
    (
        "host with a port",
        "GET /v1/MARK HTTP/1.1\r\nhost: HOST:80\r\n\r\n",
    ),
    (
        "host with a tab",
        "GET /v1/MARK HTTP/1.1\r\nhost: HOST\tevil.example\r\n\r\n",
    ),
    ("no host", "GET /v1/MARK HTTP/1.1\r\n\r\n{smuggled}"),
    (
        "host of a proxy",
        "{get}x-forwarded-host: evil.example\r\nforwarded: host=evil.example\r\n\r\n",
    ),
    (
        "target of a proxy",
        "{get}x-original-url: /admin/MARK\r\nx-rewrite-url: /admin/MARK\r\n\r\n",
    ),
    (
        "path of Envoy",
        "{get}x-envoy-original-path: /admin/MARK\r\nx-envoy-original-dst-host: 127.0.0.1:1\r\n\r\n",
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

const METHODS: &[(&str, &str)] = &[
    ("TRACE", "TRACE /v1/MARK HTTP/1.1\r\n{host}\r\n"),
    (
        "TRACE with a body",
        "TRACE /v1/MARK HTTP/1.1\r\n{host}content-length: {len}\r\n\r\n{smuggled}",
    ),
    (
        "PUT",
        "PUT /v1/raw/MARK HTTP/1.1\r\n{host}content-length: 2\r\n\r\n{}{smuggled}",
    ),
    (
        "method in small letters",
        "get /v1/MARK HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "method with a suffix",
        "GETX /v1/MARK HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "method behind a blank",
        " GET /v1/MARK HTTP/1.1\r\n{host}\r\n{smuggled}",
    ),
    (
        "override by a header",
        "{raw}x-http-method-override: DELETE\r\ncontent-length: 2\r\n\r\n{}",
    ),
    (
        "override on a read",
        "{get}x-http-method-override: DELETE\r\n\r\n",
    ),
    (
        "override by another header",
        "{get}x-method-override: DELETE\r\nx-http-method: DELETE\r\n\r\n",
    ),
    (
        "override with underscores",
        "{get}x_http_method_override: DELETE\r\n\r\n",
    ),
    (
        "override in the query",
        "GET /v1/MARK?_method=DELETE HTTP/1.1\r\n{host}\r\n",
    ),
    (
        "override in the form",
        "{form}content-length: 14\r\n\r\n_method=DELETE",
    ),
];
