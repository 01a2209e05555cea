use proptest::prelude::*;

use super::*;
use crate::json::JsonStep;

fn pairs_of(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn forms_are_decoded_in_order() {
    for (name, given, want) in [
        ("empty", "", pairs_of(&[])),
        (
            "stripe",
            "charge=ch_1&amount=12000",
            pairs_of(&[("charge", "ch_1"), ("amount", "12000")]),
        ),
        (
            "escapes",
            "a%5Bb%5D=%C3%A9%26%3D",
            pairs_of(&[("a[b]", "é&=")]),
        ),
        (
            "raw brackets, as stripe-node sends",
            "metadata[order]=6735",
            pairs_of(&[("metadata[order]", "6735")]),
        ),
        (
            "plus and raw space",
            "a=x+y z%2B",
            pairs_of(&[("a", "x y z+")]),
        ),
        ("raw UTF-8, as curl sends", "a=é", pairs_of(&[("a", "é")])),
        ("second equals sign", "a=b=c", pairs_of(&[("a", "b=c")])),
        ("empty value", "a=&b=", pairs_of(&[("a", ""), ("b", "")])),
        (
            "list",
            "x[]=2&x[]=1",
            pairs_of(&[("x[]", "2"), ("x[]", "1")]),
        ),
        ("decoded once", "a=%2525", pairs_of(&[("a", "%25")])),
        (
            "line break in a value",
            "a=x%0Ay",
            pairs_of(&[("a", "x\ny")]),
        ),
    ] {
        assert_eq!(parse_form(given.as_bytes()), Ok(want), "{name}");
    }
}

#[test]
fn doubtful_forms_are_refused() {
    let twice = |key: &str| FormError::DuplicateKey(key.to_owned());
    let cases: [(&str, &[u8], FormError); 20] = [
        ("key twice", b"a=1&a=2", twice("a")),
        ("key twice, once encoded", b"a=1&%61=2", twice("a")),
        (
            "key twice, in brackets",
            b"m[a]=1&m%5Ba%5D=2",
            twice("m[a]"),
        ),
        (
            "semicolon as separator",
            b"a=1;b=2",
            FormError::Semicolon { at: 3 },
        ),
        ("JSON", br#"{"amount":1}"#, FormError::NoEquals { at: 0 }),
        ("key alone", b"a=1&b", FormError::NoEquals { at: 4 }),
        ("empty pair", b"a=1&&b=2", FormError::EmptyPair { at: 4 }),
        (
            "ampersand at the end",
            b"a=1&",
            FormError::EmptyPair { at: 4 },
        ),
        ("ampersand alone", b"&", FormError::EmptyPair { at: 0 }),
        ("no key", b"=1", FormError::EmptyKey { at: 0 }),
        (
            "percent at the end",
            b"a=1%",
            FormError::BadPercent { at: 3 },
        ),
        ("one hex digit", b"a=1%2", FormError::BadPercent { at: 3 }),
        (
            "no hex digit",
            b"b=1&%g0=1",
            FormError::BadPercent { at: 4 },
        ),
        (
            "percent sign and sign",
            b"a=%+1",
            FormError::BadPercent { at: 2 },
        ),
        (
            "decoded value is not UTF-8",
            b"a=1&b=%ff",
            FormError::NotUtf8 { at: 4 },
        ),
        (
            "decoded key is not UTF-8",
            b"%c3=1",
            FormError::NotUtf8 { at: 0 },
        ),
        (
            "raw bytes are not UTF-8",
            b"a=\xff",
            FormError::NotUtf8 { at: 0 },
        ),
        (
            "line break",
            b"a=1\r\n",
            FormError::RawByte { at: 3, byte: b'\r' },
        ),
        (
            "NUL in a value",
            b"a=1&b=x%00",
            FormError::Control { at: 4 },
        ),
        (
            "control character in a key",
            b"a%0A=1",
            FormError::Control { at: 0 },
        ),
    ];
    for (name, given, want) in cases {
        assert_eq!(parse_form(given), Err(want), "{name}");
    }
    let most = |count: usize| {
        (0..count)
            .map(|index| format!("k{index}="))
            .collect::<Vec<_>>()
            .join("&")
    };
    assert_eq!(
        parse_form(most(FORM_PAIRS_MAX).as_bytes()).unwrap().len(),
        FORM_PAIRS_MAX
    );
    let refused = parse_form(most(FORM_PAIRS_MAX + 1).as_bytes());
    assert_eq!(
        refused,
        Err(FormError::TooManyPairs {
            max: FORM_PAIRS_MAX
        })
    );
}

#[test]
fn patterns_cover_form_keys_bracket_by_bracket() {
    struct Case {
        pattern: &'static str,
        covers: &'static [&'static str],
        not: &'static [&'static str],
    }
    let cases = [
        Case {
            pattern: "charge",
            covers: &["charge"],
            not: &["charge[a]", "Charge", "charges", "charge[]", ""],
        },
        Case {
            pattern: "metadata[*]",
            covers: &["metadata[order]", "metadata[a.b]"],
            not: &[
                "metadata",
                "metadata[]",
                "metadata[a][b]",
                "metadata[a",
                "metadata[a]b",
                "metadata[a]]",
                "metadata[[a]",
            ],
        },
        Case {
            pattern: "expand[]",
            covers: &["expand[]"],
            not: &["expand", "expand[0]"],
        },
        Case {
            pattern: "items[*][price]",
            covers: &["items[0][price]"],
            not: &[
                "items[0]",
                "items[0][name]",
                "items[price]",
                "items[0][price][x]",
            ],
        },
        Case {
            pattern: "openid.mode",
            covers: &["openid.mode"],
            not: &["openid[mode]", "openid"],
        },
        Case {
            pattern: "query.expand[]",
            covers: &[],
            not: &["expand[]", "query.expand[]"],
        },
    ];
    for Case {
        pattern,
        covers,
        not,
    } in cases
    {
        let pattern: ParamPattern = pattern.parse().unwrap();
        for key in covers {
            assert!(form_key_matches(&pattern, key), "{pattern} covers {key}");
        }
        for key in not {
            assert!(
                !form_key_matches(&pattern, key),
                "{pattern} does not cover {key}"
            );
        }
    }
}

#[test]
fn patterns_cover_json_leaves_level_by_level() {
    let key = |text: &str| JsonStep::Key(text.to_owned());
    let covers = |pattern: &str, path: &[JsonStep]| {
        pattern
            .parse::<ParamPattern>()
            .unwrap()
            .matches_json_path(path)
    };
    assert!(covers("charge", &[key("charge")]));
    assert!(covers("a.b", &[key("a"), key("b")]));
    assert!(covers("a.b[*]", &[key("a"), key("b"), JsonStep::Index(3)]));
    assert!(covers("a.b[*]", &[key("a"), key("b"), key("c")]));
    assert!(covers(
        "lines[*].sku",
        &[key("lines"), JsonStep::Index(0), key("sku")]
    ));
    assert!(covers("lines.0", &[key("lines"), JsonStep::Index(0)]));
    assert!(covers("metadata[order]", &[key("metadata"), key("order")]));
    assert!(
        !covers("a.b[*]", &[key("a"), key("b")]),
        "the container itself"
    );
    assert!(
        !covers("a[*]", &[key("a"), key("b"), key("c")]),
        "one level only"
    );
    assert!(!covers("a.b", &[key("a.b")]), "a dot inside a key");
    assert!(!covers("a", &[]), "a scalar as the whole body");
    assert!(!covers("query.a", &[key("a")]), "a parameter of the query");
    assert!(
        !covers("query.a", &[key("query"), key("a")]),
        "a parameter of the query"
    );
}

#[test]
fn patterns_of_the_query_name_it() {
    let pattern: ParamPattern = "query.expand[]".parse().unwrap();
    assert_eq!(pattern.is_query(), Some("expand[]"));
    assert!(pattern.matches_query_key("expand[]") && !pattern.matches_query_key("expand"));
    let body: ParamPattern = "expand".parse().unwrap();
    assert!(body.is_query().is_none() && !body.matches_query_key("expand"));
    assert_eq!(
        serde_json::to_string(&pattern).unwrap(),
        "\"query.expand[]\""
    );
}

#[test]
fn other_texts_are_no_patterns() {
    let text = |text: &str| text.to_owned();
    for (given, want) in [
        ("", ParamPatternError::EmptyName(text(""))),
        ("query.", ParamPatternError::EmptyName(text("query."))),
        ("a..b", ParamPatternError::EmptyName(text("a..b"))),
        ("[*]", ParamPatternError::EmptyName(text("[*]"))),
        ("a[", ParamPatternError::Bracket(text("a["))),
        ("a]", ParamPatternError::Bracket(text("a]"))),
        ("a[b]c", ParamPatternError::Bracket(text("a[b]c"))),
        ("*", ParamPatternError::Wildcard(text("*"))),
        ("a[b*]", ParamPatternError::Wildcard(text("a[b*]"))),
        ("a[**]", ParamPatternError::Wildcard(text("a[**]"))),
        ("a b", ParamPatternError::Character(text("a b"))),
    ] {
        assert_eq!(given.parse::<ParamPattern>(), Err(want), "{given}");
    }
    assert!(matches!(
        "a".repeat(PARAM_BYTES_MAX + 1).parse::<ParamPattern>(),
        Err(ParamPatternError::TooLong(_))
    ));
}

/// As `URLSearchParams` and Python's `urlencode` write it.
fn encode(text: &str) -> String {
    let one = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02x}"),
    };
    text.bytes().map(one).collect()
}

proptest! {
    #[test]
    fn what_encoders_write_reads_back(form in prop::collection::btree_map("[^\\p{Cc}]{1,6}", "[^\\x00]{0,8}", 0..6)) {
        let body: Vec<_> = form.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
        let want: Vec<_> = form.into_iter().collect();
        prop_assert_eq!(parse_form(body.join("&").as_bytes()), Ok(want));
    }

    #[test]
    fn no_bytes_panic(body: Vec<u8>) {
        drop(parse_form(&body));
    }

    #[test]
    fn no_key_stands_twice(body in "[ab\\[\\]%56=&;1+]{0,24}") {
        if let Ok(pairs) = parse_form(body.as_bytes()) {
            let mut keys: Vec<_> = pairs.iter().map(|(key, _)| key).filter(|key| !key.ends_with("[]")).collect();
            let all = keys.len();
            keys.sort();
            keys.dedup();
            prop_assert_eq!(keys.len(), all);
        }
    }

    #[test]
    fn no_pattern_or_key_panics(pattern in "[a.\\[\\]*]{0,10}", key in "[a.\\[\\]*]{0,10}") {
        if let Ok(parsed) = pattern.parse::<ParamPattern>() {
            let _ = parsed.matches_form_key(&key);
            // Without wildcard a pattern covers exactly its own text.
            if !pattern.contains('*') {
                prop_assert_eq!(parsed.matches_form_key(&key), pattern == key);
            }
        }
    }
}
