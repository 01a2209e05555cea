//! What is asked of whom: targets, hosts, methods.

use super::attacks::{Attack, of};

pub(crate) fn all() -> Vec<Attack> {
    [
        of(
            "what was judged is not what the server takes for the target",
            TARGETS,
        ),
        of("what was judged is not whom the server takes it for", HOSTS),
        of("the server is told to read another method", METHODS),
    ]
    .concat()
}

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
