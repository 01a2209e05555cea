//! Form bodies and query strings, against `form_urlencoded`.

use std::collections::BTreeSet;

use actpass_core::form::{FORM_PAIRS_MAX, parse_form};
use actpass_core::path::{QUERY_PAIRS_MAX, parse_query};

type Pairs = Vec<(String, String)>;

/// - What we accept, `form_urlencoded` reads as the same pairs.
/// - No key stands twice but one that ends in `[]`.
/// - What a client library writes of the pairs is read as the same pairs.
pub(crate) fn run(data: &[u8]) {
    let theirs = || form_urlencoded::parse(data).into_owned().collect::<Pairs>();
    if let Ok(pairs) = parse_form(data) {
        assert!(pairs.len() <= FORM_PAIRS_MAX);
        assert_eq!(pairs, theirs());
        no_key_twice(&pairs);
        let written = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&pairs)
            .finish();
        assert_eq!(parse_form(written.as_bytes()), Ok(pairs));
    }
    if let Ok(Ok(pairs)) = std::str::from_utf8(data).map(parse_query) {
        assert!(pairs.len() <= QUERY_PAIRS_MAX && pairs.is_sorted());
        let mut theirs = theirs();
        theirs.sort();
        assert_eq!(pairs, theirs);
        no_key_twice(&pairs);
    }
}

fn no_key_twice(pairs: &Pairs) {
    let mut seen = BTreeSet::new();
    for (key, _) in pairs {
        assert!(!key.is_empty() && !key.chars().any(char::is_control));
        assert!(
            key.ends_with("[]") || seen.insert(key),
            "`{key}` stands twice"
        );
    }
}
