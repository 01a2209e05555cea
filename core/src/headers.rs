//! Request headers that mean the same for every upstream: what manifests may not declare, and what never goes on from an
//! agent's request. All names are in lower case.

/// Headers by which frameworks take another method (Rack, Express, Symfony, OData) or another path (IIS, Symfony)
/// than the request line says. A request that carries one is two actions.
pub const OVERRIDE_HEADERS: [&str; 6] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-url",
    "x-rewrite-url",
];

/// Hop-by-hop headers of RFC 9110 section 7.6.1 and of the practice before it, and what the sending side sets itself.
pub const TRANSPORT_HEADERS: [&str; 12] = [
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

/// What agents authenticate with themselves, where an upstream's own header is not declared. Worth nothing to us, so
/// neither kept nor sent.
pub const AGENT_CREDENTIALS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// Prefix of the headers that speak to ActPass.
pub const OWN_PREFIX: &str = "actpass-";
