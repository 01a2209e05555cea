use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;

#[derive(Serialize)]
struct Unsorted {
    zeta: u8,
    alpha: Shape,
    middle: Vec<Shape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<u8>,
    #[serde(flatten)]
    more: BTreeMap<&'static str, i64>,
}

#[derive(Serialize)]
enum Shape {
    Unit,
    Newtype(&'static str),
    Tuple(u8, bool),
    Struct { y: Option<u8>, x: char },
}

#[test]
fn keys_are_sorted_at_every_level() {
    let value = Unsorted {
        zeta: 1,
        alpha: Shape::Struct { y: None, x: 'x' },
        middle: vec![
            Shape::Unit,
            Shape::Newtype("n"),
            Shape::Tuple(2, true),
            Shape::Struct { y: Some(3), x: '"' },
        ],
        absent: None,
        more: BTreeMap::from([("beta", -4), ("Beta", 5), ("a", 6)]),
    };
    let want = r#"{"Beta":5,"a":6,"alpha":{"Struct":{"x":"x","y":null}},"beta":-4,"middle":["Unit",{"Newtype":"n"},{"Tuple":[2,true]},{"Struct":{"x":"\"","y":3}}],"zeta":1}"#;
    assert_eq!(to_string(&value).unwrap(), want);
    assert!(is_canonical(want.as_bytes()));
}

#[test]
fn strings_carry_the_escapes_of_rfc_8785_and_no_others() {
    let every: String = ('\0'..='\u{7f}')
        .chain("é€\u{2028}\u{feff}😀".chars())
        .collect();
    let want = concat!(
        r#""\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f"#,
        r#"\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f"#,
        r##" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"##,
        "\u{7f}é€\u{2028}\u{feff}😀\"",
    );
    assert_eq!(to_string(&every).unwrap(), want);
    assert_eq!(
        parse_canonical(want.as_bytes()).unwrap(),
        Value::String(every)
    );
}

#[test]
fn what_has_no_canonical_form_is_refused() {
    let int = CanonicalError::Integer;
    assert_eq!(to_string(&1.5_f64), Err(CanonicalError::Float));
    assert_eq!(to_string(&json!({"a": [1.0]})), Err(CanonicalError::Float));
    assert_eq!(to_string(&f64::NAN), Err(CanonicalError::Float));
    assert_eq!(to_string(&(INTEGER_MAX + 1)), Err(int(1 << 53)));
    assert_eq!(to_string(&(-INTEGER_MAX - 1)), Err(int(-(1 << 53))));
    assert_eq!(to_string(&i64::MIN), Err(int(i128::from(i64::MIN))));
    assert_eq!(to_string(&u128::MAX), Err(int(i128::MAX)));
    assert_eq!(
        to_string(&json!({"ä": 1})),
        Err(CanonicalError::Key("\\u{e4}".to_owned()))
    );
    assert_eq!(
        to_string(&json!({"a\nb": 1})),
        Err(CanonicalError::Key("a\\nb".to_owned()))
    );
    assert_eq!(
        to_string(&json!({"": {"a\"b": 1}})),
        Err(CanonicalError::Key("a\\\"b".to_owned()))
    );
    assert_eq!(
        to_string(&BTreeMap::from([(vec![1], 1)])),
        Err(CanonicalError::KeyType)
    );
    assert_eq!(
        to_string(&BTreeMap::from([((), 1)])),
        Err(CanonicalError::KeyType)
    );
    assert_eq!(
        to_string(&[INTEGER_MAX, -INTEGER_MAX]).unwrap(),
        "[9007199254740991,-9007199254740991]"
    );
    assert_eq!(
        to_string(&BTreeMap::from([(10, 1), (9, 2)])).unwrap(),
        r#"{"10":1,"9":2}"#
    );
}

#[test]
fn a_key_given_twice_is_refused() {
    #[derive(Serialize)]
    struct Twice {
        b: u8,
        a: u8,
        #[serde(flatten)]
        more: BTreeMap<&'static str, u8>,
    }
    let value = Twice {
        b: 1,
        a: 2,
        more: BTreeMap::from([("b", 3)]),
    };
    assert_eq!(
        to_string(&value),
        Err(CanonicalError::DuplicateKey("b".to_owned()))
    );
    // With no key out of order.
    #[derive(Serialize)]
    struct Sorted {
        a: u8,
        #[serde(flatten)]
        more: BTreeMap<&'static str, u8>,
    }
    let value = Sorted {
        a: 1,
        more: BTreeMap::from([("a", 2)]),
    };
    assert_eq!(
        to_string(&value),
        Err(CanonicalError::DuplicateKey("a".to_owned()))
    );
}

#[test]
fn nesting_is_bounded_alike_for_writing_and_reading() {
    let nested = |levels: usize| {
        let text = "[".repeat(levels) + &"]".repeat(levels);
        let value = (0..levels).fold(None, |inner, _| {
            Some(Value::Array(inner.into_iter().collect()))
        });
        (text, value.unwrap())
    };
    let (text, value) = nested(DEPTH_MAX);
    assert_eq!(to_string(&value).as_deref(), Ok(text.as_str()));
    assert_eq!(parse_canonical(text.as_bytes()), Ok(value));
    let (text, value) = nested(DEPTH_MAX + 1);
    assert_eq!(to_string(&value), Err(CanonicalError::Depth));
    assert_eq!(parse_canonical(text.as_bytes()), Err(CanonicalError::Depth));
    let hostile = "[".repeat(1_000_000);
    assert_eq!(
        parse_canonical(hostile.as_bytes()),
        Err(CanonicalError::Depth)
    );
}

#[test]
fn any_other_spelling_is_not_canonical() {
    struct Case {
        name: &'static str,
        given: &'static [u8],
        at: usize,
    }
    let cases = [
        Case {
            name: "nothing",
            given: b"",
            at: 0,
        },
        Case {
            name: "space before",
            given: b" 1",
            at: 0,
        },
        Case {
            name: "newline behind",
            given: b"1\n",
            at: 1,
        },
        Case {
            name: "space behind a colon",
            given: br#"{"a": 1}"#,
            at: 5,
        },
        Case {
            name: "space behind a comma",
            given: br#"[1, 2]"#,
            at: 3,
        },
        Case {
            name: "keys out of order",
            given: br#"{"b":1,"a":2}"#,
            at: 7,
        },
        Case {
            name: "key twice",
            given: br#"{"a":1,"a":2}"#,
            at: 7,
        },
        Case {
            name: "prefix sorts first",
            given: br#"{"aa":1,"a":2}"#,
            at: 8,
        },
        Case {
            name: "escaped key",
            given: br#"{"\u0061":1}"#,
            at: 2,
        },
        Case {
            name: "key outside ASCII",
            given: "{\"é\":1}".as_bytes(),
            at: 2,
        },
        Case {
            name: "key without end",
            given: br#"{"a"#,
            at: 3,
        },
        Case {
            name: "comma at the end of an object",
            given: br#"{"a":1,}"#,
            at: 7,
        },
        Case {
            name: "object without end",
            given: br#"{"a":1"#,
            at: 6,
        },
        Case {
            name: "comma at the end of an array",
            given: br#"[1,]"#,
            at: 3,
        },
        Case {
            name: "array without end",
            given: br#"[1"#,
            at: 2,
        },
        Case {
            name: "escaped letter",
            given: br#""\u0061""#,
            at: 1,
        },
        Case {
            name: "upper-case hex",
            given: br#""\u001F""#,
            at: 1,
        },
        Case {
            name: "long form of a short escape",
            given: br#""\u000a""#,
            at: 1,
        },
        Case {
            name: "escaped slash",
            given: br#""\/""#,
            at: 1,
        },
        Case {
            name: "lone surrogate",
            given: br#""\ud800""#,
            at: 1,
        },
        Case {
            name: "raw control character",
            given: b"\"\n\"",
            at: 1,
        },
        Case {
            name: "string without end",
            given: br#""a"#,
            at: 2,
        },
        Case {
            name: "escape without end",
            given: br#""\"#,
            at: 1,
        },
        Case {
            name: "not UTF-8",
            given: b"\"\xff\"",
            at: 1,
        },
        Case {
            name: "minus zero",
            given: b"-0",
            at: 0,
        },
        Case {
            name: "leading zero",
            given: b"01",
            at: 0,
        },
        Case {
            name: "minus alone",
            given: b"-",
            at: 1,
        },
        Case {
            name: "2^53",
            given: b"9007199254740992",
            at: 0,
        },
        Case {
            name: "minus 2^53",
            given: b"-9007199254740992",
            at: 0,
        },
        Case {
            name: "a hundred digits",
            given: &[b'9'; 100],
            at: 0,
        },
        Case {
            name: "half a word",
            given: b"tru",
            at: 0,
        },
        Case {
            name: "capital word",
            given: b"True",
            at: 0,
        },
        Case {
            name: "two values",
            given: b"1 2",
            at: 1,
        },
        Case {
            name: "byte order mark",
            given: b"\xef\xbb\xbf1",
            at: 0,
        },
    ];
    for Case { name, given, at } in cases {
        match check(given) {
            Err(CanonicalError::Text { at: found, .. }) => assert_eq!(found, at, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    for float in ["1.0", "1e2", "1E2", "-1.5"] {
        assert_eq!(
            check(float.as_bytes()),
            Err(CanonicalError::Float),
            "{float}"
        );
    }
}

#[test]
fn instants_have_one_text() {
    let parsed = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(
        instant(parsed("2026-11-21T09:00:00Z")),
        "2026-11-21T09:00:00.000000Z"
    );
    assert_eq!(
        instant(parsed("2026-11-21T09:00:00.123456999Z")),
        "2026-11-21T09:00:00.123456Z"
    );
    assert_eq!(
        instant(parsed("1969-12-31T23:59:59.9999999Z")),
        "1969-12-31T23:59:59.999999Z"
    );
    for refused in [
        "",
        "2026-11-21T09:00:00Z",
        "2026-11-21T09:00:00.12345Z",
        "2026-11-21T09:00:00.1234567Z",
        "2026-11-21T09:00:00.123456+00:00",
        "2026-11-21t09:00:00.123456z",
        "2026-11-21 09:00:00.123456Z",
        "2026-11-21T09:00:60.123456Z",
        "2026-02-30T09:00:00.123456Z",
        "2026-11-21T24:00:00.000000Z",
        "２026-11-21T09:00:00.123Z",
    ] {
        assert!(parse_instant(refused).is_err(), "{refused}");
    }
}

#[test]
fn instants_travel_in_serde() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Times {
        #[serde(with = "serde_instant")]
        at: Timestamp,
        #[serde(with = "serde_instant_opt", default)]
        until: Option<Timestamp>,
    }
    let at = Timestamp::from_microsecond(1).unwrap();
    for (value, want) in [
        (
            Times { at, until: None },
            r#"{"at":"1970-01-01T00:00:00.000001Z","until":null}"#,
        ),
        (
            Times {
                at,
                until: Some(at),
            },
            r#"{"at":"1970-01-01T00:00:00.000001Z","until":"1970-01-01T00:00:00.000001Z"}"#,
        ),
    ] {
        assert_eq!(to_string(&value).unwrap(), want);
        assert_eq!(from_slice::<Times>(want.as_bytes()).unwrap(), value);
    }
    assert!(from_slice::<Times>(br#"{"at":"1970-01-01T00:00:00Z"}"#).is_err());
}

#[test]
fn excerpts_are_short_and_printable() {
    assert_eq!(excerpt("plain text"), "plain text");
    assert_eq!(
        excerpt("a`b\u{1b}[31m\u{202e}é"),
        "a'b\\u{1b}[31m\\u{202e}\\u{e9}"
    );
    assert_eq!(
        excerpt(&"x".repeat(1000)),
        format!("{}...", "x".repeat(EXCERPT_CHARS))
    );
}

/// Values that have a canonical form.
fn canonical_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-INTEGER_MAX..=INTEGER_MAX).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\x00-\\x22\\\\]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[ !#-\\[\\]-~]{0,5}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[test]
fn the_text_of_a_member_is_found_wherever_it_is_written() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Unsorted {
        z: u8,
        r: Value,
        a: String,
    }
    for (text, member) in [
        (
            r#"{"a":"\"r\":1","r":{"r":[1,2],"z":3},"z":4}"#,
            r#"{"r":[1,2],"z":3}"#,
        ),
        (r#"{"a":"","r":null,"z":0}"#, "null"),
        (r#"{"a":"r","r":"r","z":1}"#, r#""r""#),
    ] {
        let found = from_slice_exact_with::<Unsorted>(text.as_bytes(), "r").unwrap();
        assert_eq!(found.1, Some(member.as_bytes()), "{text}");
        let none = from_slice_exact_with::<Unsorted>(text.as_bytes(), "b").unwrap();
        assert_eq!(none.1, None, "{text}");
    }
}

proptest! {
    #[test]
    fn the_text_is_that_of_serde_json_with_sorted_keys(value in canonical_value()) {
        let text = to_string(&value).unwrap();
        prop_assert_eq!(&text, &serde_json::to_string(&value).unwrap());
        prop_assert_eq!(parse_canonical(text.as_bytes()), Ok(value));
    }

    #[test]
    fn what_passes_the_check_is_what_the_writer_makes(value in canonical_value(), at: prop::sample::Index, byte: u8) {
        let mut bytes = to_vec(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if is_canonical(&bytes) {
            let read: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(to_vec(&read).unwrap(), bytes);
        }
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        drop(check(&bytes));
    }

    #[test]
    fn no_text_panics(text in "[\\[\\]{}\":,0-9a-u\\\\.eE+ -]{0,24}") {
        if is_canonical(text.as_bytes()) {
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(to_string(&read).unwrap(), text);
        }
    }

    #[test]
    fn instants_read_back(micros in -62_135_596_800_000_000_i64..253_402_207_200_000_000) {
        let t = Timestamp::from_microsecond(micros).unwrap();
        prop_assert_eq!(parse_instant(&instant(t)), Ok(t));
        prop_assert_eq!(instant(t), format!("{t:.6}"), "as jiff writes it");
    }

    #[test]
    fn no_text_panics_as_an_instant(text in "[0-9TZ:. -]{0,30}") {
        if let Ok(t) = parse_instant(&text) {
            prop_assert_eq!(instant(t), text);
        }
    }
}
