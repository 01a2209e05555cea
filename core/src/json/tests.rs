use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Json, JsonError> {
    parse(text.as_bytes(), &JsonLimits::default())
}

fn number(text: &str) -> Json {
    let Json::Number(number) = read(text).unwrap() else {
        panic!("{text} is no number")
    };
    Json::Number(number)
}

fn string(text: &str) -> Json {
    Json::String(text.to_owned())
}

#[test]
fn values_are_read_with_numbers_as_they_were_written() {
    for (given, want) in [
        ("null", Json::Null),
        (" true\r\n\t", Json::Bool(true)),
        ("false", Json::Bool(false)),
        (r#""""#, string("")),
        (
            r#""a\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00é""#,
            string("a\"\\/\u{8}\u{c}\n\r\tAé😀é"),
        ),
        ("\"\u{7f}\u{2028}\"", string("\u{7f}\u{2028}")),
        ("[]", Json::Array(vec![])),
        (
            "[ 1 , [ ] ]",
            Json::Array(vec![number("1"), Json::Array(vec![])]),
        ),
        ("{}", Json::Object(vec![])),
        (
            r#"{ "b" : 1 , "a" : { } }"#,
            Json::Object(vec![
                ("b".to_owned(), number("1")),
                ("a".to_owned(), Json::Object(vec![])),
            ]),
        ),
    ] {
        assert_eq!(read(given), Ok(want), "{given}");
    }
    for text in [
        "0",
        "-0",
        "1.0",
        "1e309",
        "-1.5E+10",
        "123456789012345678901234567890",
        "0.000",
        "1E-2",
    ] {
        let Ok(Json::Number(number)) = read(text) else {
            panic!("{text}")
        };
        assert_eq!(number.as_str(), text);
    }
}

#[test]
fn integers_are_exact_or_nothing() {
    for (text, want) in [
        ("0", Some(0)),
        ("-1", Some(-1)),
        ("9223372036854775807", Some(i64::MAX)),
        ("-9223372036854775808", Some(i64::MIN)),
        ("9223372036854775808", None),
        ("-0", None),
        ("1.0", None),
        ("1e2", None),
    ] {
        let Ok(Json::Number(number)) = read(text) else {
            panic!("{text}")
        };
        assert_eq!(number.to_i64_exact(), want, "{text}");
    }
}

#[test]
fn everything_json_parsers_differ_on_is_refused() {
    use JsonFault::*;
    let cases: [(&str, &[u8], usize, JsonFault); 62] = [
        ("nothing", b"", 0, EndsEarly),
        ("white space only", b" \n", 2, EndsEarly),
        ("key twice", br#"{"a":1,"a":1}"#, 7, DuplicateKey),
        (
            "key twice, once escaped",
            br#"{"a":1,"\u0061":2}"#,
            7,
            DuplicateKey,
        ),
        (
            "key twice, deeper",
            br#"[{"x":{"b":1,"a":2,"b":3}}]"#,
            19,
            DuplicateKey,
        ),
        ("empty key twice", br#"{"":1,"":2}"#, 6, DuplicateKey),
        ("byte order mark", b"\xef\xbb\xbf1", 0, ByteOrderMark),
        ("UTF-16", b"\xff\xfe1\x00", 0, NotUtf8),
        ("overlong", b"\"\xc0\x80\"", 1, NotUtf8),
        ("encoded surrogate", b"\"\xed\xa0\x80\"", 1, NotUtf8),
        ("second value", b"1 2", 2, Trailing),
        ("closing bracket too many", b"[]]", 2, Trailing),
        ("NUL behind", b"1\0", 1, Trailing),
        ("comment", b"1 // x", 2, Trailing),
        ("comment inside", b"[/**/1]", 1, Expected("a value")),
        (
            "comma at the end of an array",
            b"[1,]",
            3,
            Expected("a value"),
        ),
        ("comma alone", b"[,1]", 1, Expected("a value")),
        ("two commas", b"[1,,2]", 3, Expected("a value")),
        ("no comma", b"[1 2]", 3, Expected("`,` or `]`")),
        ("open array", b"[1", 2, EndsEarly),
        ("open array behind a comma", b"[1,", 3, EndsEarly),
        (
            "open array, other bracket",
            b"[1}",
            2,
            Expected("`,` or `]`"),
        ),
        (
            "comma at the end of an object",
            br#"{"a":1,}"#,
            7,
            Expected("a key"),
        ),
        ("no colon", br#"{"a" 1}"#, 5, Expected("`:`")),
        ("no value", br#"{"a":}"#, 5, Expected("a value")),
        ("bare key", b"{a:1}", 1, Expected("a key")),
        ("single quotes", b"{'a':1}", 1, Expected("a key")),
        ("number as key", b"{1:1}", 1, Expected("a key")),
        ("open object", br#"{"a":1"#, 6, EndsEarly),
        ("object only opened", b"{", 1, EndsEarly),
        ("leading zero", b"01", 0, Number),
        ("minus alone", b"-", 0, Number),
        ("plus", b"+1", 0, Expected("a value")),
        ("point first", b".5", 0, Expected("a value")),
        ("point last", b"5.", 0, Number),
        ("minus and point", b"-.5", 0, Number),
        ("two points", b"1.2.3", 0, Number),
        ("empty exponent", b"1e", 0, Number),
        ("exponent without digits", b"1e+", 0, Number),
        ("exponent with a point", b"1e1.5", 0, Number),
        ("two exponents", b"1e1e1", 0, Number),
        ("hexadecimal", b"0x1", 1, Trailing),
        ("minus with a leading zero", b"-01", 0, Number),
        ("NaN", b"NaN", 0, Expected("a value")),
        ("Infinity", b"Infinity", 0, Expected("a value")),
        ("minus Infinity", b"-Infinity", 0, Number),
        ("foreign digits", "１".as_bytes(), 0, Expected("a value")),
        ("half a word", b"nul", 0, Expected("a value")),
        ("upper-case word", b"True", 0, Expected("a value")),
        ("word too long", b"nulls", 4, Trailing),
        ("open string", br#""a"#, 2, EndsEarly),
        ("open escape", br#""\"#, 2, EndsEarly),
        ("raw line break", b"\"a\nb\"", 2, Control),
        ("raw NUL", b"\"\0\"", 1, Control),
        ("unknown escape", br#""\x41""#, 1, Escape),
        ("short escape", br#""\u12""#, 1, Escape),
        ("escape with a sign", br#""\u+041""#, 1, Escape),
        ("high surrogate alone", br#""\ud800""#, 1, LoneSurrogate),
        (
            "high surrogate before a letter",
            br#""\ud800\u0041""#,
            1,
            LoneSurrogate,
        ),
        ("low surrogate alone", br#""x\udc00""#, 2, LoneSurrogate),
        (
            "high surrogate before U+E000",
            br#""\ud800\ue000""#,
            1,
            LoneSurrogate,
        ),
        (
            "two high surrogates",
            br#""\ud800\ud800""#,
            1,
            LoneSurrogate,
        ),
    ];
    for (name, given, at, why) in cases {
        assert_eq!(
            parse(given, &JsonLimits::default()),
            Err(JsonError { at, why }),
            "{name}"
        );
    }
    assert_eq!(
        read("[1,]").unwrap_err().to_string(),
        "byte 3: a value expected"
    );
}

#[test]
fn values_are_bounded() {
    let limits = JsonLimits {
        depth: 2,
        string_bytes: 3,
        items: 4,
    };
    let fault = |text: &str| {
        parse(text.as_bytes(), &limits)
            .err()
            .map(|error| (error.at, error.why))
    };
    assert_eq!(fault("[[1]]"), None);
    assert_eq!(fault("[[[]]]"), Some((2, JsonFault::Depth)));
    assert_eq!(fault(r#"{"a":{"b":{}}}"#), Some((10, JsonFault::Depth)));
    assert_eq!(fault(r#""abc""#), None);
    assert_eq!(fault(r#""\u0061bc""#), None);
    assert_eq!(fault(r#""abcd""#), Some((1, JsonFault::LongString)));
    assert_eq!(fault(r#""ab\u00e9""#), Some((9, JsonFault::LongString)));
    assert_eq!(fault(r#"{"abcd":1}"#), Some((2, JsonFault::LongString)));
    assert_eq!(fault("[1,2,3]"), None);
    assert_eq!(fault("[1,2,3,4]"), Some((7, JsonFault::TooMany)));
    let longest = "1".repeat(NUMBER_BYTES_MAX);
    assert!(read(&longest).is_ok());
    assert_eq!(
        read(&format!("{longest}1")),
        Err(JsonError {
            at: 0,
            why: JsonFault::LongNumber
        })
    );
    let hostile = "[".repeat(1_000_000);
    assert_eq!(
        read(&hostile),
        Err(JsonError {
            at: 64,
            why: JsonFault::Depth
        })
    );
    // Many members in one object do not take quadratic time.
    let members: Vec<_> = (0..9_000).map(|index| format!("\"k{index}\":0")).collect();
    assert!(read(&format!("{{{}}}", members.join(","))).is_ok());
}

#[test]
fn fields_are_found_by_path() {
    let body =
        read(r#"{"a":{"b":[{"c":7},"x"]},"metadata":{"order":"6735"},"a.b":1,"0":2}"#).unwrap();
    let get = |path: &str| body.get(&path.parse().unwrap());
    assert_eq!(get("a.b.0.c"), Some(&number("7")));
    assert_eq!(get("a.b.1").and_then(Json::as_str), Some("x"));
    assert_eq!(get("metadata[order]"), Some(&string("6735")));
    assert_eq!(get("metadata.order"), Some(&string("6735")));
    assert_eq!(get("0"), Some(&number("2")));
    for absent in [
        "b",
        "a.b.2",
        "a.b.00",
        "a.b.+0",
        "a.b.x",
        "a.b.0.c.d",
        "a.b.18446744073709551616",
    ] {
        assert_eq!(get(absent), None, "{absent}");
    }
    let text = |text: &str| text.to_owned();
    for (given, want) in [
        ("", FieldPathError::EmptyName(text(""))),
        ("a.", FieldPathError::EmptyName(text("a."))),
        ("a[]", FieldPathError::EmptyName(text("a[]"))),
        ("[a]", FieldPathError::EmptyName(text("[a]"))),
        ("a[b", FieldPathError::Bracket(text("a[b"))),
        ("a]b", FieldPathError::Bracket(text("a]b"))),
        ("a[b]c", FieldPathError::Bracket(text("a[b]c"))),
        ("a[*]", FieldPathError::Character(text("a[*]"))),
        ("a b", FieldPathError::Character(text("a b"))),
    ] {
        assert_eq!(given.parse::<FieldPath>(), Err(want), "{given}");
    }
    assert!(matches!(
        "a".repeat(FIELD_BYTES_MAX + 1).parse::<FieldPath>(),
        Err(FieldPathError::TooLong(_))
    ));
}

#[test]
fn the_digest_form_forgets_spelling_but_not_numbers() {
    let form = |text: &str| String::from_utf8(read(text).unwrap().canonical_digest_form()).unwrap();
    assert_eq!(
        form(r#" { "b" : [ 1.0 , true , null , { } ] , "é" : "\u0041\n\/" , "a" : 1e2 } "#),
        "{\"a\":1e2,\"b\":[1.0,true,null,{}],\"é\":\"A\\n/\"}"
    );
    assert_ne!(form("1"), form("1.0"));
    assert_ne!(form("[1,2]"), form("[2,1]"));
}

#[test]
fn leaves_include_empty_containers() {
    let body = read(r#"{"a":[1,{"b":[]}],"c":{},"d":null}"#).unwrap();
    let shown: Vec<_> = body
        .leaves()
        .into_iter()
        .map(|(place, leaf)| {
            let place: Vec<_> = place
                .iter()
                .map(|step| match step {
                    JsonStep::Key(key) => key.clone(),
                    JsonStep::Index(index) => index.to_string(),
                })
                .collect();
            (
                place.join("/"),
                String::from_utf8(leaf.canonical_digest_form()).unwrap(),
            )
        })
        .collect();
    let want = [("a/0", "1"), ("a/1/b", "[]"), ("c", "{}"), ("d", "null")];
    assert_eq!(
        shown,
        want.map(|(place, leaf)| (place.to_owned(), leaf.to_owned()))
    );
    assert_eq!(read("7").unwrap().leaves(), [(vec![], &number("7"))]);
}

/// The same value as serde_json has it, for comparison where serde_json keeps everything.
fn as_serde(value: &Json) -> serde_json::Value {
    match value {
        Json::Null => serde_json::Value::Null,
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => serde_json::from_str(number.as_str()).unwrap(),
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => items.iter().map(as_serde).collect(),
        Json::Object(members) => members
            .iter()
            .map(|(key, value)| (key.clone(), as_serde(value)))
            .collect(),
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        // Floats that serde_json reads back exactly.
        prop::sample::select(vec![0.5, -2.25, 1e10, -0.0, 1e-7]).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_alike(value in any_json(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let read = read(&text.unwrap()).unwrap();
        prop_assert_eq!(as_serde(&read), value);
        prop_assert_eq!(parse(&read.canonical_digest_form(), &JsonLimits::default()).unwrap().canonical_digest_form(), read.canonical_digest_form());
    }

    #[test]
    fn what_is_accepted_is_what_serde_json_accepts(text in "[\\[\\]{}\":,0-9a-u\\\\.eE+ -]{0,16}") {
        if let Ok(value) = read(&text) {
            // serde_json refuses numbers beyond a double.
            if let Ok(theirs) = serde_json::from_str::<serde_json::Value>(&text) {
                prop_assert_eq!(as_serde(&value), theirs);
            } else {
                prop_assert!(text.contains(['e', 'E']));
            }
        }
    }

    #[test]
    fn a_changed_byte_never_panics(value in any_json(), at: prop::sample::Index, byte: u8) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        drop(parse(&bytes, &JsonLimits::default()));
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        drop(parse(&bytes, &JsonLimits::default()));
    }

    #[test]
    fn no_field_path_panics(path: String) {
        drop(path.parse::<FieldPath>());
    }
}
