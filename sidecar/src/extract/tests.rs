//! Tests of the reading of requests.

use actpass_core::bundle::{BUNDLE_VERSION, Bundle, BundleSpec};
use actpass_core::upstream::Upstream;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use cases::Req;

mod bad;
mod cases;
mod good;
mod heads;
mod plans;
mod properties;

/// The upstream of [`cases::UPSTREAM`], in a bundle of its own.
fn bundle() -> Bundle {
    let shop: Upstream = serde_json::from_str(cases::UPSTREAM).unwrap();
    Bundle::new(BundleSpec {
        v: BUNDLE_VERSION.to_owned(),
        tenant: "local/default/1".to_owned(),
        environment: Some("production".to_owned()),
        mode: actpass_core::mode::Mode::Enforce,
        passports: vec![],
        upstreams: vec![shop],
        policies: vec![],
    })
    .unwrap()
}

fn shop(bundle: &Bundle) -> &Upstream {
    bundle.upstream("shop").unwrap()
}

const AGENT: Principal<'static> = Principal {
    tenant: "local/default/1",
    passport: "clerk",
    agent: "clerk-1",
};

fn header_map(headers: &[(String, Vec<u8>)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    map
}

/// Reads a request that goes to the shop.
fn read_req(bundle: &Bundle, req: &Req) -> Result<Action, Refused> {
    let (method, headers) = (
        Method::from_bytes(req.method.as_bytes()).unwrap(),
        header_map(&req.headers),
    );
    let host = "api.shop.test".parse().unwrap();
    let request = RawRequest {
        method: &method,
        target: &req.target,
        headers: &headers,
        body: &req.body,
        host: &host,
        port: 443,
    };
    extract(bundle, shop(bundle), &AGENT, &request)
}

fn good(bundle: &Bundle, req: &Req) -> Action {
    let action = read_req(bundle, req).unwrap();
    assert_eq!(action.fault, None, "{req:?}");
    action
}
