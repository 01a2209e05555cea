//! The exact request behind an escalation, as it is kept for people and run once they agree.

use actpass_core::hash::{b64u_decode, b64u_encode};
use actpass_core::headers::AGENT_CREDENTIALS;
use actpass_core::wire::{SEALED_VERSION, SealedRequest};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::judge::Received;

pub(super) fn pack(received: &Received) -> Option<Bytes> {
    let headers = received
        .headers
        .iter()
        .filter(|(name, _)| !AGENT_CREDENTIALS.contains(&name.as_str()));
    let stored = SealedRequest {
        body: b64u_encode(&received.body),
        headers: headers
            .map(|(name, value)| (name.to_string(), b64u_encode(value.as_bytes())))
            .collect(),
        host: received.host.to_string(),
        http2: received.http2,
        method: received.method.to_string(),
        port: received.port,
        target: received.target.to_string(),
        v: SEALED_VERSION.to_owned(),
    };
    serde_json::to_vec(&stored).ok().map(Bytes::from)
}

pub(super) fn unpack(bytes: &[u8]) -> Option<Received> {
    let stored: SealedRequest = serde_json::from_slice(bytes)
        .ok()
        .filter(|stored: &SealedRequest| stored.v == SEALED_VERSION)?;
    let mut headers = HeaderMap::new();
    for (name, value) in &stored.headers {
        let value = HeaderValue::from_bytes(&b64u_decode(value).ok()?).ok()?;
        headers.append(name.parse::<HeaderName>().ok()?, value);
    }
    Some(Received {
        host: stored.host.parse().ok()?,
        port: stored.port,
        method: stored.method.parse::<Method>().ok()?,
        target: stored.target.parse().ok()?,
        headers,
        body: Bytes::from(b64u_decode(&stored.body).ok()?),
        http2: stored.http2,
    })
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;

    #[test]
    fn a_request_comes_back_as_it_was_without_the_agents_credentials() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-type",
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        headers.insert(
            "idempotency-key",
            HeaderValue::from_bytes(b"k\xff").unwrap(),
        );
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer dummy"));
        let received = Received {
            host: "api.stripe.com".parse().unwrap(),
            port: 443,
            method: Method::POST,
            target: "/v1/refunds?a=b".parse().unwrap(),
            headers,
            body: Bytes::from_static(b"amount=1\0\xfe"),
            http2: true,
        };
        let back = unpack(&pack(&received).unwrap()).unwrap();
        assert_eq!(back.target, received.target);
        assert_eq!(back.body, received.body);
        assert!(back.http2);
        assert_eq!(
            back.headers.get("idempotency-key"),
            received.headers.get("idempotency-key")
        );
        assert_eq!(back.headers.get(AUTHORIZATION), None);
    }
}
