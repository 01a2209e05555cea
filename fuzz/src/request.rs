//! Requests as the sidecar reads them.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use actpass_core::action::Action;
use actpass_core::bundle::{BUNDLE_VERSION, Bundle, BundleSpec};
use actpass_core::headers::OVERRIDE_HEADERS;
use actpass_core::host::HostName;
use actpass_core::path::DecodedPath;
use actpass_core::upstream::{ActionSpec, Upstream};
use actpass_sidecar::extract::{
    Principal, RawRequest, Refused, body_limit, extract, forwarded_headers,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::input::Input;

static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let shop: Upstream =
        serde_json::from_str(include_str!("request/shop.json")).expect("an upstream");
    Bundle::new(BundleSpec {
        v: BUNDLE_VERSION.to_owned(),
        tenant: "local/default/1".to_owned(),
        environment: None,
        mode: actpass_core::mode::Mode::Enforce,
        passports: Vec::new(),
        upstreams: vec![shop],
        policies: Vec::new(),
    })
    .expect("a bundle")
});

static HOST: LazyLock<HostName> = LazyLock::new(|| "api.shop.test".parse().expect("a host"));

/// Input: `METHOD target`, headers as `name: value` line by line, an empty line, the body.
///
/// - A request is read the same twice, and a refusal repeats nothing of it at length.
/// - One that is read names one declared action, whose path is canonical and whose body was within its bound.
/// - It carries no header that asks for another request, no judged header twice or named in `Connection`.
/// - What is forwarded is a part of what was sent.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let Some((method, target)) = input.text_line().and_then(|line| line.split_once(' ')) else {
        return;
    };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return;
    };
    let mut headers = HeaderMap::new();
    loop {
        let line = input.line();
        if line.is_empty() {
            break;
        }
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (
            halves.next().unwrap_or_default(),
            halves.next().unwrap_or_default(),
        );
        let (name, value) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.trim_ascii()),
        );
        let (Ok(name), Ok(value)) = (name, value) else {
            return;
        };
        headers.append(name, value);
    }
    let body = input.rest();
    let answer = read(&method, target, &headers, body);
    assert_eq!(answer, read(&method, target, &headers, body));
    match answer {
        Ok(action) => check(&action, &method, target, &headers, body),
        Err(refused) => assert!(
            refused.detail.len() < 1024 && refused.detail.ends_with('.'),
            "{refused}"
        ),
    }
}

/// What the sidecar reads of a request to the shop.
pub(crate) fn read(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Action, Refused> {
    let agent = Principal {
        tenant: "local/default/1",
        passport: "clerk",
        agent: "clerk-1",
    };
    let request = RawRequest {
        method,
        target,
        headers,
        body,
        host: &HOST,
        port: 443,
    };
    extract(&BUNDLE, shop(), &agent, &request)
}

fn shop() -> &'static Upstream {
    BUNDLE.upstream("shop").expect("the shop")
}

fn check(action: &Action, method: &Method, target: &str, headers: &HeaderMap, body: &[u8]) {
    let spec = shop()
        .actions
        .iter()
        .find(|spec| spec.capability == action.capability);
    let spec = spec.expect("a declared action");
    assert_eq!(
        (action.method.as_str(), action.effect),
        (method.as_str(), spec.effect)
    );
    let path = DecodedPath::parse(&action.path).expect("a path");
    assert_eq!(path.canonical(), action.path);
    assert!(spec.path.matches(&path).is_some());
    let bytes = u64::try_from(body.len()).expect("small");
    assert_eq!(action.body_bytes, bytes);
    // An action without a body has no limit but a reason why none may be sent.
    let limit = body_limit(shop(), method.as_str(), target).unwrap_or(0);
    assert!(bytes <= limit);
    check_headers(spec, headers);
    if let Some(amount) = action.amount {
        assert!(amount.is_positive() || action.fault.is_some());
    }
}

fn check_headers(spec: &ActionSpec, headers: &HeaderMap) {
    assert!(
        OVERRIDE_HEADERS
            .iter()
            .all(|name| !headers.contains_key(*name))
    );
    let mut judged: BTreeSet<&str> = spec.headers.iter().map(String::as_str).collect();
    judged.extend(spec.idempotency_header.as_deref());
    assert!(
        judged
            .iter()
            .all(|name| headers.get_all(*name).iter().count() <= 1),
        "a judged header twice"
    );
    judged.insert("content-type");
    let connection = headers
        .get_all("connection")
        .iter()
        .filter_map(|value| value.to_str().ok());
    for option in connection.flat_map(|value| value.split(',')) {
        assert!(
            !judged.contains(option.trim().to_ascii_lowercase().as_str()),
            "`{option}` would be dropped on the way"
        );
    }
    let sent: BTreeSet<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    let kept = forwarded_headers(spec, headers, &[]);
    assert!(
        kept.iter()
            .all(|(name, value)| sent.contains(&(name.as_str(), value.as_bytes())))
    );
    assert!(
        !kept.contains_key("connection")
            && !kept
                .keys()
                .any(|name| name.as_str().starts_with("actpass-"))
    );
}
