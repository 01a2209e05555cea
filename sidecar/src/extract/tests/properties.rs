//! What holds for all requests.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::cases;
use super::*;

/// Targets that often get past the path.
fn targets() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/v1/refunds".to_owned()),
        Just("/v1/transfers".to_owned()),
        Just("/v1/files".to_owned()),
        Just("/..".to_owned()),
        Just("%2f".to_owned()),
        Just("?".to_owned()),
        Just("&".to_owned()),
        Just("=".to_owned()),
        "[ -~]{0,6}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop::sample::select(vec![
        "content-type",
        "content-encoding",
        "connection",
        "shop-account",
        "idempotency-key",
        "actpass-task",
        "actpass-confidence",
        "traceparent",
        "x-http-method",
        "x-other",
    ]);
    let value = prop_oneof![
        Just(b"application/json".to_vec()),
        Just(b"application/x-www-form-urlencoded".to_vec()),
        Just(b"multipart/form-data; boundary=B".to_vec()),
        "[ -~]{0,20}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec((name, value), 0..5).prop_map(|pairs| {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                map.append(HeaderName::from_static(name), value);
            }
        }
        map
    })
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            "\"amount\"",
            ":",
            ",",
            "1",
            "1e9",
            "amount=1",
            "&",
            "--B",
            "\r\n",
            "--",
            "Content-Disposition: form-data; name=\"purpose\"",
            "\r\n\r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A form of distinct keys that the refund declares.
fn metadata() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-z]{1,3}", "[a-z0-9 &=%;+ä]{0,4}", 0..5)
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn refund_with(pairs: &[(&String, &String)], amount: i64) -> cases::Req {
    let mut req = cases::refund();
    req.swap("12000", &amount.to_string());
    for (key, value) in pairs {
        req.more(&format!("&metadata[{key}]={}", encoded(value)));
    }
    req
}

/// JSON text of an object, members in the order given.
fn object<'a>(members: impl Iterator<Item = &'a (String, String)>) -> String {
    let members: Vec<_> = members
        .map(|(key, value)| format!("{}: {value}", serde_json::json!(key)))
        .collect();
    format!("{{{}}}", members.join(" , "))
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        method in "[A-Z]{1,6}|GET|POST|PUT|DELETE", target in targets(), headers in headers(), body in bodies(),
    ) {
        let (bundle, host) = (bundle(), "api.shop.test".parse().unwrap());
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request =
            RawRequest { method: &method, target: &target, headers: &headers, body: &body, host: &host, port: 443 };
        match extract(&bundle, shop(&bundle), &AGENT, &request) {
            Ok(action) => prop_assert_eq!(action.capability.upstream(), "shop"),
            Err(refused) => prop_assert!(refused.detail.len() < 1024 && refused.detail.ends_with('.'), "{}", refused),
        }
        if let Err(refused) = body_limit(shop(&bundle), method.as_str(), &target) {
            prop_assert!(refused.detail.len() < 1024);
        }
    }

    #[test]
    fn form_parameters_in_another_order_are_the_same_action(pairs in metadata(), amount in 1i64..=1_000_000) {
        let bundle = bundle();
        let mut ordered: Vec<_> = pairs.iter().collect();
        let one = good(&bundle, &refund_with(&ordered, amount));
        ordered.reverse();
        let mut other = refund_with(&ordered, amount);
        prop_assert_eq!(good(&bundle, &other).digest(), one.digest());
        // Spelled without escapes where that is possible.
        other.body = String::from_utf8(other.body).unwrap().replace("requested", "%72equested").into_bytes();
        prop_assert_eq!(good(&bundle, &other).body, one.body);
    }

    #[test]
    fn another_value_is_another_action(pairs in metadata(), amount in 1i64..=1_000_000, at in any::<prop::sample::Index>()) {
        let bundle = bundle();
        let one = good(&bundle, &refund_with(&pairs.iter().collect::<Vec<_>>(), amount));
        prop_assert_ne!(good(&bundle, &refund_with(&pairs.iter().collect::<Vec<_>>(), amount + 1)).digest(), one.digest());
        let mut changed = pairs.clone();
        match at.index(pairs.len() + 1) {
            0 => drop(changed.insert("new1".to_owned(), String::new())),
            at => changed.values_mut().nth(at - 1).unwrap().push('!'),
        }
        prop_assert_ne!(good(&bundle, &refund_with(&changed.iter().collect::<Vec<_>>(), amount)).digest(), one.digest());
    }

    #[test]
    fn json_members_in_another_order_are_the_same_action(
        skus in prop::collection::vec("[a-z]{0,3}", 1..4), amount in 1u32..1_000_000, rotate in 0usize..7,
    ) {
        let bundle = bundle();
        let lines: Vec<_> = skus.iter().map(|sku| format!("{{\"sku\":\"{sku}\"}}")).collect();
        let mut members = vec![
            ("amount".to_owned(), format!("\"{}.{:02}\"", amount / 100, amount % 100)),
            ("currency".to_owned(), "\"eur\"".to_owned()), ("to".to_owned(), "\"ba\"".to_owned()),
            ("note".to_owned(), "\"\"".to_owned()), ("copies".to_owned(), "1".to_owned()),
            ("urgent".to_owned(), "true".to_owned()), ("lines".to_owned(), format!("[{}]", lines.join(","))),
        ];
        let read = |members: &[(String, String)]| {
            let mut req = cases::transfer();
            req.body = object(members.iter()).into_bytes();
            good(&bundle, &req)
        };
        let one = read(&members);
        members.rotate_left(rotate);
        prop_assert_eq!(read(&members).digest(), one.digest());
        for at in 0..members.len() {
            let mut changed = members.clone();
            changed[at].1 = match changed[at].0.as_str() {
                "amount" => "\"123456.78\"".to_owned(),
                "currency" => "\"EUR\"".to_owned(),
                "copies" => "2".to_owned(),
                "urgent" => "false".to_owned(),
                "lines" => format!("[{},{{\"sku\":\"\"}}]", lines.join(",")),
                _ => "\"other\"".to_owned(),
            };
            prop_assert_ne!(read(&changed).digest(), one.digest(), "{}", changed[at].0);
        }
    }

    #[test]
    fn equal_digests_mean_equal_requests(
        left in (0usize..2, 0usize..3, 0usize..3, 0usize..3, any::<bool>()),
        right in (0usize..2, 0usize..3, 0usize..3, 0usize..3, any::<bool>()),
    ) {
        let bundle = bundle();
        // Texts that run into each other if they are only concatenated.
        const TEXTS: [&str; 3] = ["a", "a\",\"b", "ab"];
        let build = |(account, reason, key, value, dry): (usize, usize, usize, usize, bool)| {
            let mut req = cases::refund();
            req.headers[1].1 = ["acct_1", "acct_12"][account].as_bytes().to_vec();
            req.swap("requested_by_customer", &encoded(TEXTS[reason]));
            req.more(&format!("&metadata[{}]={}", ["a", "ab", "b"][key], encoded(TEXTS[value])));
            if dry {
                req.target.push_str("?dry_run=1");
            }
            good(&bundle, &req)
        };
        prop_assert_eq!(build(left).digest() == build(right).digest(), left == right);
    }

    #[test]
    fn query_in_another_order_is_the_same_action(pairs in metadata(), other in metadata()) {
        let bundle = bundle();
        let read = |pairs: Vec<(&String, &String)>| {
            let mut req = cases::read();
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value))).collect();
            req.target = format!("/v1/charges?{}", pairs.join("&"));
            good(&bundle, &req)
        };
        let one = read(pairs.iter().collect());
        prop_assert_eq!(read(pairs.iter().rev().collect()).digest(), one.digest());
        prop_assert_eq!(read(other.iter().collect()).digest() == one.digest(), other == pairs);
    }

    #[test]
    fn what_is_forwarded_is_a_part_of_what_was_sent(headers in headers()) {
        let bundle = bundle();
        for spec in &shop(&bundle).actions {
            let kept = forwarded_headers(spec, &headers, &[HeaderName::from_static("x-other")]);
            let sent: BTreeSet<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            prop_assert!(kept.iter().all(|(name, value)| sent.contains(&(name.as_str(), value.as_bytes()))));
            prop_assert!(!kept.keys().any(|name| name.as_str().starts_with("actpass-") || name == "x-other"));
            prop_assert!(!kept.contains_key("connection") && !kept.contains_key("x-http-method"));
        }
    }
}
