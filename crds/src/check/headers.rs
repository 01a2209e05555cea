//! Headers and parameters that never go on to an upstream as the agent sent them.

use actpass_core::upstream::Upstream;

/// Why a header, in lower case, is not forwarded from the agent's request, if it is not.
pub(super) fn never_forwarded(name: &str, upstream: &Upstream) -> Option<&'static str> {
    let mut lent = upstream.credentials.iter();
    if lent.any(|credential| credential.header == name) {
        return Some("carries the lent credential, so the agent's is dropped");
    }
    if CREDENTIALS.contains(&name) {
        return Some("carries credentials, and agents have none of their own");
    }
    if is_transport(name) {
        return Some("belongs to one hop of the way and is never forwarded");
    }
    if OVERRIDES.contains(&name) {
        return Some("asks for another method or path than the request line and is refused");
    }
    name.starts_with("actpass-")
        .then_some("speaks to ActPass and is never forwarded")
}

/// Whether whoever sends a request sets this header itself, so that nothing else can be carried in it.
pub(super) fn is_transport(name: &str) -> bool {
    TRANSPORT.contains(&name)
}

/// Whether a parameter asks for another method than the request line.
pub(super) fn is_override_param(name: &str) -> bool {
    name.eq_ignore_ascii_case("_method")
        || OVERRIDES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
}

/// What agents authenticate with themselves, where an upstream's own header is not declared.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "cookie2", "proxy-authorization"];

/// Hop-by-hop headers of RFC 9110 section 7.6.1 and of the practice before it, and what the sending side sets itself.
const TRANSPORT: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers by which frameworks take another method (Rack, Express, Symfony, OData) or path (IIS, Symfony) than the
/// request line says.
const OVERRIDES: [&str; 6] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-url",
    "x-rewrite-url",
];
