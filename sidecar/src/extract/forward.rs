//! Which headers of a permitted request go on to the upstream.

use actpass_core::upstream::ActionSpec;
use http::header::{HeaderMap, HeaderName};

use super::head::{OVERRIDE_HEADERS, connection_options, read_as};

/// The headers of a request that are forwarded. A read keeps all but credentials (those of `credential_headers`),
/// hop-by-hop, override and ActPass headers; anything else keeps `Accept*`, `Content-Type`, `User-Agent`, its declared
/// semantic headers and its idempotency header. A name with `_` for `-` is dropped where the other is dropped or judged,
/// since a server may take it for that. `Host`, `Content-Length` and `Expect` are never among them: whoever
/// sends the request sets them from what it sends.
pub fn forwarded_headers(
    spec: &ActionSpec,
    headers: &HeaderMap,
    credential_headers: &[HeaderName],
) -> HeaderMap {
    let dropped_by_connection: Vec<_> = connection_options(headers).collect();
    let mut forwarded = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let text = name.as_str();
        let taken_for = read_as(text);
        let alias = taken_for != text;
        let dropped = credential_headers
            .iter()
            .any(|held| read_as(held.as_str()) == taken_for)
            || NEVER_FORWARDED.contains(&&*taken_for)
            || OVERRIDE_HEADERS.contains(&&*taken_for)
            || taken_for.starts_with(OWN_PREFIX)
            || (alias && (is_judged(spec, &taken_for) || taken_for == "content-encoding"))
            || dropped_by_connection.iter().any(|option| option == text);
        if !dropped && (!spec.effect.changes() || is_forwarded_with_changes(spec, text)) {
            forwarded.append(name.clone(), value.clone());
        }
    }
    forwarded
}

fn is_forwarded_with_changes(spec: &ActionSpec, name: &str) -> bool {
    name == "accept" || name.starts_with("accept-") || name == "user-agent" || is_judged(spec, name)
}

fn is_judged(spec: &ActionSpec, name: &str) -> bool {
    name == "content-type"
        || spec.headers.iter().any(|declared| declared == name)
        || spec.idempotency_header.as_deref() == Some(name)
}

/// Prefix of the headers that speak to ActPass.
const OWN_PREFIX: &str = "actpass-";

/// Hop-by-hop headers of RFC 9110 section 7.6.1 and of the practice before it, and what the sending side sets itself.
const NEVER_FORWARDED: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
