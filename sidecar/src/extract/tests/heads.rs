//! Which action a head names, how much body it may have, and which of its headers go on.

use actpass_core::path::DecodedPath;

use super::cases;
use super::*;

fn matched(method: &str, path: &str) -> Option<String> {
    let bundle = bundle();
    let path = DecodedPath::parse(path).unwrap();
    match_action(shop(&bundle), method, &path)
        .ok()
        .map(|(spec, _)| spec.capability.to_string())
}

#[test]
fn the_most_specific_action_wins() {
    for (method, path, want) in [
        ("POST", "/v1/refunds", Some("shop.refunds.create")),
        ("GET", "/v1/refunds", Some("shop.read")),
        ("GET", "/v1/a/b/c", Some("shop.read")),
        ("DELETE", "/v1/accounts/a", Some("shop.accounts.delete")),
        ("GET", "/v1", None),
        ("POST", "/v1/tie/a", None),
        ("get", "/v1/refunds", None),
    ] {
        assert_eq!(matched(method, path).as_deref(), want, "{method} {path}");
    }
}

#[test]
fn literals_go_before_names_and_exact_methods_before_any() {
    let bundle = bundle();
    let mut upstream = shop(&bundle).clone();
    let declared = |name: &str, method: &str, path: &str| {
        let mut spec = upstream.actions.last().unwrap().clone();
        spec.capability = format!("shop.{name}").parse().unwrap();
        spec.method = method.to_owned();
        spec.path = path.parse().unwrap();
        spec
    };
    let actions = vec![
        declared("rest", "*", "/v1/**"),
        declared("any", "GET", "/v1/a/*"),
        declared("named", "GET", "/v1/a/{x}"),
        declared("literal", "*", "/v1/a/b"),
        declared("exact", "GET", "/v1/a/b"),
        declared("deep", "GET", "/v1/*/b"),
    ];
    let cases = [
        ("GET", "/v1/a/b", "exact"),
        ("POST", "/v1/a/b", "literal"),
        ("GET", "/v1/a/c", "named"),
        ("GET", "/v1/z/b", "deep"),
        ("PUT", "/v1/a/c", "rest"),
        ("GET", "/v1/q", "rest"),
    ];
    for turn in 0..actions.len() {
        upstream.actions = actions.clone();
        upstream.actions.rotate_left(turn);
        for (method, path, want) in cases {
            let (spec, _) =
                match_action(&upstream, method, &DecodedPath::parse(path).unwrap()).unwrap();
            assert_eq!(
                spec.capability.action(),
                want,
                "{method} {path}, declared from {turn}"
            );
        }
    }
}

#[test]
fn a_tie_below_a_better_match_is_none() {
    let bundle = bundle();
    let mut upstream = shop(&bundle).clone();
    let mut better = upstream.actions[7].clone();
    better.capability = "shop.tie.three".parse().unwrap();
    better.path = "/v1/tie/x".parse().unwrap();
    for place in 0..=upstream.actions.len() {
        let mut upstream = upstream.clone();
        upstream.actions.insert(place, better.clone());
        let (spec, _) =
            match_action(&upstream, "POST", &DecodedPath::parse("/v1/tie/x").unwrap()).unwrap();
        assert_eq!(spec.capability, better.capability, "declared at {place}");
    }
    upstream.actions.clear();
    assert!(match_action(&upstream, "POST", &DecodedPath::parse("/v1/tie/x").unwrap()).is_err());
}

#[test]
fn a_tie_above_a_lesser_match_stays_a_tie() {
    let bundle = bundle();
    let mut lesser = shop(&bundle).actions[7].clone();
    lesser.capability = "shop.tie.rest".parse().unwrap();
    lesser.path = "/v1/**".parse().unwrap();
    for place in 0..=shop(&bundle).actions.len() {
        let mut upstream = shop(&bundle).clone();
        upstream.actions.insert(place, lesser.clone());
        let refused =
            match_action(&upstream, "POST", &DecodedPath::parse("/v1/tie/x").unwrap()).unwrap_err();
        assert_eq!(refused.code, RefusalCode::TwoActions, "declared at {place}");
    }
}

#[test]
fn the_body_limit_is_that_of_the_action_and_else_a_reason() {
    let bundle = bundle();
    for (method, target, want) in [
        ("POST", "/v1/refunds", Ok(4096)),
        ("POST", "/v1/refunds?dry_run=1", Ok(4096)),
        ("PUT", "/v1/blobs/x", Ok(64)),
        ("GET", "/v1/refunds", Err(RefusalCode::BodyNotAllowed)),
        ("DELETE", "/v1/accounts/a", Err(RefusalCode::BodyNotAllowed)),
        ("POST", "/v2/refunds", Err(RefusalCode::Undeclared)),
        ("POST", "/v1/../v1/refunds", Err(RefusalCode::BadPath)),
        ("POST", "/v1/tie/x", Err(RefusalCode::TwoActions)),
        ("", "", Err(RefusalCode::BadPath)),
    ] {
        assert_eq!(
            body_limit(shop(&bundle), method, target).map_err(|refused| refused.code),
            want,
            "{method} {target}"
        );
    }
}

#[test]
fn other_hosts_ports_and_protocols_are_refused() {
    let bundle = bundle();
    let headers = HeaderMap::new();
    let read = |upstream: &Upstream, host: &str, port| {
        let host = host.parse().unwrap();
        let request = RawRequest {
            method: &Method::GET,
            target: "/v1/x",
            headers: &headers,
            body: b"",
            host: &host,
            port,
        };
        extract(&bundle, upstream, &AGENT, &request).map_err(|refused| refused.code)
    };
    assert!(read(shop(&bundle), "api.shop.test", 443).is_ok());
    assert_eq!(
        read(shop(&bundle), "api.shop.test", 80),
        Err(RefusalCode::Undeclared)
    );
    assert_eq!(
        read(shop(&bundle), "shop.test", 443),
        Err(RefusalCode::Undeclared)
    );
    for protocol in [Protocol::Mcp, Protocol::Tcp] {
        let upstream = Upstream {
            protocol,
            ..shop(&bundle).clone()
        };
        assert_eq!(
            read(&upstream, "api.shop.test", 443),
            Err(RefusalCode::Undeclared)
        );
    }
}

/// A request's headers with everything that must never go on.
fn laden() -> HeaderMap {
    let mut headers = header_map(&cases::refund().headers);
    for (name, value) in [
        ("host", "api.shop.test"),
        ("content-length", "7"),
        ("transfer-encoding", "chunked"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("connection", "keep-alive, X-Hop , upgrade"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("proxy-authorization", "x"),
        ("upgrade", "h2c"),
        ("http2-settings", "x"),
        ("expect", "100-continue"),
        ("x-hop", "1"),
        ("authorization", "Bearer mine"),
        ("x-http-method-override", "DELETE"),
        ("x_http_method_override", "DELETE"),
        ("transfer_encoding", "chunked"),
        ("content_type", "text/plain"),
        ("content-encoding_", "no"),
        ("content_encoding", "gzip"),
        ("shop_account", "acct_2"),
        ("idempotency_key", "k-2"),
        ("x_api_key", "mine"),
        ("x-api_key", "mine"),
        ("api-token", "mine"),
        ("actpass_task", "t"),
        ("x_other", "1"),
        ("actpass-task", "t"),
        ("actpass-anything", "t"),
        ("accept", "application/json"),
        ("accept", "text/plain"),
        ("accept-language", "en"),
        ("acceptance", "no"),
        ("user-agent", "sdk/1"),
        ("x-other", "1"),
        ("cookie", "a=b"),
        ("if-none-match", "e"),
        ("range", "bytes=0-1"),
    ] {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
}

fn forwarded(method: &str, path: &str) -> Vec<(String, String)> {
    let bundle = bundle();
    let (spec, _) =
        match_action(shop(&bundle), method, &DecodedPath::parse(path).unwrap()).unwrap();
    let credentials = ["authorization", "x-api-key", "api_token"].map(HeaderName::from_static);
    let kept = forwarded_headers(spec, &laden(), &credentials);
    let mut kept: Vec<_> = kept
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    kept.sort();
    kept
}

#[test]
fn changes_forward_only_what_is_judged_or_harmless() {
    let names: Vec<_> = forwarded("POST", "/v1/refunds")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "accept",
        "accept",
        "accept-language",
        "content-type",
        "idempotency-key",
        "shop-account",
        "user-agent",
    ];
    assert_eq!(names, expected);
    let removal: Vec<_> = forwarded("DELETE", "/v1/accounts/a")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        removal,
        [
            "accept",
            "accept",
            "accept-language",
            "content-type",
            "user-agent"
        ]
    );
}

#[test]
fn reads_forward_all_but_credentials_hops_overrides_and_our_own() {
    let names: Vec<_> = forwarded("GET", "/v1/x")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "accept",
        "accept",
        "accept-language",
        "acceptance",
        "content-encoding_",
        "content-type",
        "cookie",
        "idempotency-key",
        // Not declared for this action, so it says nothing here.
        "idempotency_key",
        "if-none-match",
        "range",
        "shop-account",
        "user-agent",
        "x-other",
        "x_other",
    ];
    assert_eq!(names, expected);
}
