//! Which headers of a permitted request go on to the upstream.

use actpass_core::headers::{OVERRIDE_HEADERS, OWN_PREFIX, TRANSPORT_HEADERS};
use actpass_core::upstream::ActionSpec;
use http::header::{HeaderMap, HeaderName};

use super::head::{connection_options, read_as};

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
            || TRANSPORT_HEADERS.contains(&&*taken_for)
            || taken_for == "proxy-authorization"
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
