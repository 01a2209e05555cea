//! Headers and parameters that never go on to an upstream as the agent sent them.

use actpass_core::headers::{AGENT_CREDENTIALS, OVERRIDE_HEADERS, OWN_PREFIX, TRANSPORT_HEADERS};
use actpass_core::upstream::Upstream;

/// Why a header, in lower case, is not forwarded from the agent's request, if it is not.
pub(super) fn never_forwarded(name: &str, upstream: &Upstream) -> Option<&'static str> {
    let mut lent = upstream.credentials.iter();
    if lent.any(|credential| credential.header == name) {
        return Some("carries the lent credential, so the agent's is dropped");
    }
    if AGENT_CREDENTIALS.contains(&name) || name == "cookie2" {
        return Some("carries credentials, and agents have none of their own");
    }
    if is_transport(name) {
        return Some("belongs to one hop of the way and is never forwarded");
    }
    if OVERRIDE_HEADERS.contains(&name) {
        return Some("asks for another method or path than the request line and is refused");
    }
    name.starts_with(OWN_PREFIX)
        .then_some("speaks to ActPass and is never forwarded")
}

/// Whether whoever sends a request sets this header itself, so that nothing else can be carried in it.
pub(super) fn is_transport(name: &str) -> bool {
    TRANSPORT_HEADERS.contains(&name)
}

/// Whether a parameter asks for another method than the request line.
pub(super) fn is_override_param(name: &str) -> bool {
    name.eq_ignore_ascii_case("_method")
        || OVERRIDE_HEADERS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
}
