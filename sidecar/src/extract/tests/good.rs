//! What good requests are read as.

use actpass_core::action::MeterUse;
use actpass_core::hash::sha256;
use actpass_core::limits::Unit;
use actpass_core::money::{Currency, Money};
use actpass_core::upstream::{AttributeValue, Effect};

use super::cases;
use super::*;

fn meter(name: &str, unit: Unit, amount: i64) -> MeterUse {
    MeterUse {
        name: name.to_owned(),
        unit,
        amount,
    }
}

#[test]
fn a_refund_is_read_whole() {
    let bundle = bundle();
    let action = good(&bundle, &cases::refund());
    assert_eq!(
        (
            action.tenant.as_str(),
            action.passport.as_str(),
            action.agent.as_str()
        ),
        ("local/default/1", "clerk", "clerk-1")
    );
    assert_eq!(action.capability.as_str(), "shop.refunds.create");
    assert_eq!(action.effect, Effect::Irreversible);
    assert_eq!(
        (
            action.method.as_str(),
            action.path.as_str(),
            action.path_template.as_str()
        ),
        ("POST", "/v1/refunds", "/v1/refunds")
    );
    assert_eq!(action.amount, Some(Money::new(12000, Currency::USD)));
    assert_eq!(action.resource.as_deref(), Some("ch_1"));
    assert_eq!(action.environment.as_deref(), Some("production"));
    assert_eq!(action.idempotency_key.as_deref(), Some("k-1"));
    assert_eq!(
        action.headers.get("shop-account").map(String::as_str),
        Some("acct_1")
    );
    let expected = [
        meter("writes", Unit::Count, 1),
        meter("refunds", Unit::Money(Currency::USD), 12000),
        meter("copies", Unit::Count, 2),
    ];
    assert_eq!(action.meters, expected);
    let attribute = |name: &str| {
        action
            .attributes
            .get(name)
            .map(|attribute| attribute.value.clone())
    };
    assert_eq!(
        attribute("reason"),
        Some(AttributeValue::String("requested_by_customer".to_owned()))
    );
    assert_eq!(attribute("copies"), Some(AttributeValue::Integer(2)));
    assert_eq!(attribute("urgent"), Some(AttributeValue::Boolean(true)));
    assert_eq!(
        action.body_bytes,
        u64::try_from(cases::refund().body.len()).unwrap()
    );
}

#[test]
fn absent_optional_attributes_take_their_defaults() {
    let bundle = bundle();
    let mut req = cases::refund();
    req.body = b"charge=ch_1&amount=1".to_vec();
    let action = good(&bundle, &req);
    let attribute = |name: &str| {
        action
            .attributes
            .get(name)
            .map(|attribute| attribute.value.clone())
    };
    assert_eq!(
        attribute("reason"),
        Some(AttributeValue::String("none".to_owned()))
    );
    assert_eq!(attribute("copies"), Some(AttributeValue::Integer(1)));
    assert_eq!(attribute("urgent"), Some(AttributeValue::Boolean(false)));
}

#[test]
fn decimal_amounts_are_exact_as_text_and_as_number() {
    let bundle = bundle();
    for (text, currency, minor) in [
        ("\"120.00\"", "EUR", 12000),
        ("120.00", "eur", 12000),
        ("120", "eur", 12000),
        ("0.01", "usd", 1),
        ("\"0.1\"", "usd", 10),
        ("70368744177664.01", "usd", 7_036_874_417_766_401),
        ("500", "jpy", 500),
        ("1.234", "kwd", 1234),
    ] {
        let mut req = cases::transfer();
        req.swap("\"120.00\"", text);
        req.swap("eur", currency);
        let expected = Money::new(minor, Currency::parse_any_case(currency).unwrap());
        assert_eq!(
            good(&bundle, &req).amount,
            Some(expected),
            "{text} {currency}"
        );
    }
}

#[test]
fn facts_are_read_from_path_query_header_and_json() {
    let bundle = bundle();
    let removal = good(&bundle, &cases::removal());
    assert_eq!(removal.resource.as_deref(), Some("acct_1"));
    assert_eq!(removal.meters, [meter("writes", Unit::Count, 1)]);
    let wire = good(&bundle, &cases::wire());
    assert_eq!(
        (wire.resource.as_deref(), wire.amount),
        (Some("acct_1"), Some(Money::new(12000, Currency::USD)))
    );
    let mut req = cases::transfer();
    req.swap("\"ba_1\"", "9007199254740993");
    assert_eq!(
        good(&bundle, &req).resource.as_deref(),
        Some("9007199254740993")
    );
    assert!(good(&bundle, &req).attributes["note"].sensitive);
}

#[test]
fn path_parameters_are_decoded_once_and_kept_canonical() {
    let bundle = bundle();
    let mut req = cases::removal();
    req.target = "/v1/%61ccounts/a%20%C3%A4?reason=closed".to_owned();
    let action = good(&bundle, &req);
    assert_eq!(action.resource.as_deref(), Some("a ä"));
    assert_eq!(action.path, "/v1/accounts/a%20%C3%A4");
    assert_eq!(action.path_template, "/v1/accounts/{account}");
}

#[test]
fn reads_are_open_and_feed_no_writes() {
    let bundle = bundle();
    let action = good(&bundle, &cases::read());
    assert_eq!(action.effect, Effect::Read);
    assert!(action.meters.is_empty());
    let query = [("expand[]", "refunds"), ("limit", "3")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(action.query, query);
    assert_eq!(action.body, sha256(&[]));
    let mut req = cases::read();
    req.header("content-type", "application/x-www-form-urlencoded");
    req.header("if-none-match", "x");
    assert_eq!(
        good(&bundle, &req).digest(),
        action.digest(),
        "what is not judged does not enter the digest"
    );
}

#[test]
fn an_empty_body_needs_no_label_and_is_no_body() {
    let bundle = bundle();
    let mut labelled = cases::wire();
    labelled.body.clear();
    let mut bare = labelled.clone();
    bare.headers.retain(|(name, _)| name != "content-type");
    let actions = [labelled, bare].map(|req| read_req(&bundle, &req).unwrap());
    assert_eq!(actions[0].body, sha256(&[]));
    assert_eq!(actions[0], actions[1]);
}

#[test]
fn content_types_may_differ_in_spelling_only() {
    let bundle = bundle();
    for label in [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        "application/json ; charset=\"utf-8\"",
    ] {
        let mut req = cases::transfer();
        req.headers[0].1 = label.as_bytes().to_vec();
        good(&bundle, &req);
    }
    for boundary in ["boundary=BOUND", "boundary=\"BOUND\"", "Boundary=BOUND"] {
        let mut req = cases::upload();
        req.headers[0].1 = format!("multipart/form-data; {boundary}").into_bytes();
        good(&bundle, &req);
    }
}

#[test]
fn multipart_digests_see_names_texts_types_and_files() {
    let bundle = bundle();
    let base = good(&bundle, &cases::upload()).body;
    for (from, to) in [
        ("dispute", "disputes"),
        ("PDF", "PDG"),
        ("a.pdf", "b.pdf"),
        ("application/pdf", "image/png"),
        ("Content-Type: application/pdf\r\n", ""),
        (
            "name=\"file\"; filename=\"a.pdf\"\r\nContent-Type: application/pdf",
            "name=\"file\"",
        ),
    ] {
        let mut req = cases::upload();
        req.swap(from, to);
        assert_ne!(good(&bundle, &req).body, base, "{from} as {to}");
    }
    let mut req = cases::upload();
    req.headers[0].1 = b"multipart/form-data; boundary=XX".to_vec();
    req.body = String::from_utf8(req.body)
        .unwrap()
        .replace("BOUND", "XX")
        .into_bytes();
    assert_eq!(
        good(&bundle, &req).body,
        base,
        "another boundary is another spelling"
    );
    let mut reordered = cases::upload();
    reordered.body = b"--BOUND\r\ncontent-disposition:form-data; name=\"file\"; filename=\"a.pdf\"\r\nContent-Type: \
        application/pdf\r\n\r\nPDF\r\n--BOUND\r\nContent-Disposition: form-data; name=\"purpose\"\r\nContent-Type: text/plain; \
        charset=UTF-8\r\n\r\ndispute\r\n--BOUND--"
        .to_vec();
    assert_eq!(
        good(&bundle, &reordered).body,
        base,
        "parts of other names in another order are the same parts"
    );
}

#[test]
fn a_multipart_body_has_a_bounded_number_of_parts() {
    let parts = |count: usize| {
        let part = "--B\r\nContent-Disposition: form-data; name=\"tags[]\"\r\n\r\nx\r\n";
        multipart::parse(format!("{}--B--\r\n", part.repeat(count)).as_bytes(), "B")
    };
    assert_eq!(parts(0).unwrap().len(), 0);
    assert_eq!(
        parts(MULTIPART_PARTS_MAX).unwrap().len(),
        MULTIPART_PARTS_MAX
    );
    assert!(
        parts(MULTIPART_PARTS_MAX + 1)
            .unwrap_err()
            .detail
            .contains("more than 128 parts")
    );
}

#[test]
fn streamed_bodies_enter_the_digest_as_bytes() {
    let bundle = bundle();
    assert_eq!(good(&bundle, &cases::blob()).body, sha256(&[b"not judged"]));
}

#[test]
fn order_within_a_list_counts_and_between_keys_does_not() {
    let bundle = bundle();
    let digest = |more: &str| {
        let mut req = cases::refund();
        req.more(more);
        good(&bundle, &req).body
    };
    assert_ne!(
        digest("&expand[]=a&expand[]=b"),
        digest("&expand[]=b&expand[]=a")
    );
    assert_eq!(
        digest("&expand[]=a&metadata[x]=1&expand[]=b"),
        digest("&metadata[x]=1&expand[]=a&expand[]=b")
    );
    assert_ne!(
        digest("&metadata[x]=1"),
        digest("&metadata[x]=1&metadata[y]=")
    );
}

#[test]
fn hints_are_recorded_and_do_not_enter_the_digest() {
    let bundle = bundle();
    let mut req = cases::refund();
    let plain = good(&bundle, &req);
    for (name, value) in [
        ("ActPass-Task", "t-1"),
        ("ActPass-Rationale", "customer asked, ä"),
        ("ActPass-Purpose", "refunds"),
        ("ActPass-Tool-Hash", "abc"),
        ("ActPass-Confidence", "100"),
    ] {
        req.header(name, value);
    }
    req.header("traceparent", &cases::trace());
    let action = good(&bundle, &req);
    assert_eq!(action.hints.task.as_deref(), Some("t-1"));
    assert_eq!(action.hints.rationale.as_deref(), Some("customer asked, ä"));
    assert_eq!(action.hints.purpose.as_deref(), Some("refunds"));
    assert_eq!(action.hints.tool_hash.as_deref(), Some("abc"));
    assert_eq!(action.hints.confidence, Some(100));
    assert_eq!(action.hints.trace_parent, Some(cases::trace()));
    assert_eq!(action.digest(), plain.digest());
    assert!(HINT_HEADERS.iter().all(|name| name.starts_with("actpass-")));
}

#[test]
fn another_idempotency_key_is_the_same_action() {
    let bundle = bundle();
    let mut req = cases::refund();
    req.headers.retain(|(name, _)| name != "idempotency-key");
    let without = good(&bundle, &req);
    assert_eq!(without.idempotency_key, None);
    assert_eq!(without.digest(), good(&bundle, &cases::refund()).digest());
}
