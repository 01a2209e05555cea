//! JSON of foreign bodies, against `serde_json`.

use std::collections::BTreeSet;

use actpass_core::json::{Json, JsonFault, JsonLimits, parse};
use serde::de::IgnoredAny;
use serde_json::Value;

/// - What we accept, `serde_json` accepts and reads as the same values.
/// - What it accepts and we refuse is refused for a reason that only strictness has.
/// - No object holds a key twice, and the digest form is its own digest form.
pub(crate) fn run(data: &[u8]) {
    let limits = JsonLimits::default();
    let grammatical = serde_json::from_slice::<IgnoredAny>(data).is_ok();
    let json = match parse(data, &limits) {
        Ok(json) => json,
        Err(error) => {
            assert!(error.at <= data.len());
            let strict = matches!(
                error.why,
                JsonFault::NotUtf8
                    | JsonFault::ByteOrderMark
                    | JsonFault::LongNumber
                    | JsonFault::LoneSurrogate
                    | JsonFault::LongString
                    | JsonFault::Depth
                    | JsonFault::TooMany
                    | JsonFault::DuplicateKey
            );
            assert!(strict || !grammatical, "refused what is JSON: {error}");
            return;
        }
    };
    assert!(grammatical, "accepted what is not JSON");
    no_key_twice(&json);
    // Numbers beyond a double are text to us and an error to serde_json.
    if let Ok(value) = serde_json::from_slice::<Value>(data) {
        assert!(same(&json, &value), "read as {json:?}");
    }
    let form = json.canonical_digest_form();
    let again = parse(&form, &limits).expect("the digest form is JSON");
    assert_eq!(again.canonical_digest_form(), form);
    assert!(json.leaves().len() <= limits.items);
}

fn no_key_twice(json: &Json) {
    match json {
        Json::Array(items) => items.iter().for_each(no_key_twice),
        Json::Object(members) => {
            let mut seen = BTreeSet::new();
            for (key, value) in members {
                assert!(seen.insert(key), "`{key}` stands twice in one object");
                no_key_twice(value);
            }
        }
        _ => {}
    }
}

fn same(ours: &Json, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(ours), Value::Bool(theirs)) => ours == theirs,
        (Json::String(ours), Value::String(theirs)) => ours == theirs,
        (Json::Number(ours), Value::Number(theirs)) => ours
            .to_i64_exact()
            .is_none_or(|ours| theirs.as_i64() == Some(ours)),
        (Json::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b))
        }
        (Json::Object(ours), Value::Object(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .all(|(key, value)| theirs.get(key).is_some_and(|other| same(value, other)))
        }
        _ => false,
    }
}
