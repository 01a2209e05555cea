use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;
use crate::form::FormError;

#[test]
fn paths_are_decoded_segment_by_segment() {
    for (given, segments, canonical) in [
        ("/", &[][..], "/"),
        ("/v1/refunds", &["v1", "refunds"], "/v1/refunds"),
        ("/a%20b/%C3%A9", &["a b", "é"], "/a%20b/%C3%A9"),
        ("/%c3%a9", &["é"], "/%C3%A9"),
        ("/%61%2Dz", &["a-z"], "/a-z"),
        (
            "/a+b/c:d/@e/f,g/h=1",
            &["a+b", "c:d", "@e", "f,g", "h=1"],
            "/a+b/c:d/@e/f,g/h=1",
        ),
        ("/a;b=1", &["a;b=1"], "/a;b=1"),
        ("/...", &["..."], "/..."),
        ("/100%25", &["100%"], "/100%25"),
        ("/%3F%23", &["?#"], "/%3F%23"),
        (
            "/pkg.Service/Method",
            &["pkg.Service", "Method"],
            "/pkg.Service/Method",
        ),
    ] {
        let path = DecodedPath::parse(given).unwrap();
        assert_eq!(path.segments(), segments, "{given}");
        assert_eq!(path.canonical(), canonical, "{given}");
    }
}

#[test]
fn paths_two_servers_could_read_differently_are_refused() {
    use PathError::*;
    for (given, want) in [
        ("", NotAbsolute(String::new())),
        ("*", NotAbsolute("*".to_owned())),
        ("v1", NotAbsolute("v1".to_owned())),
        ("http://a/", NotAbsolute("http://a/".to_owned())),
        ("//", EmptySegment { segment: 0 }),
        ("//a", EmptySegment { segment: 0 }),
        ("/a//b", EmptySegment { segment: 1 }),
        ("/a//", EmptySegment { segment: 1 }),
        ("/a/", TrailingSlash),
        ("/.", DotSegment { segment: 0 }),
        ("/a/..", DotSegment { segment: 1 }),
        ("/a/../b", DotSegment { segment: 1 }),
        ("/a/%2e%2E/b", DotSegment { segment: 1 }),
        ("/a/.%2e", DotSegment { segment: 1 }),
        ("/a/..;x=1/b", DotSegment { segment: 1 }),
        ("/a/.%3b", DotSegment { segment: 1 }),
        ("/a%2Fb", EncodedSlash { segment: 0 }),
        ("/a%2fb", EncodedSlash { segment: 0 }),
        ("/a/b%5Cc", EncodedSlash { segment: 1 }),
        ("/a%00", Control { segment: 0 }),
        ("/a%0d%0aX: 1", RawByte { at: 10, byte: b' ' }),
        ("/a%0d%0aX", Control { segment: 0 }),
        ("/a%7f", Control { segment: 0 }),
        ("/a%C2%85", Control { segment: 0 }),
        ("/a%252F", DoubleEncoding { segment: 0 }),
        ("/a%25%32%46", DoubleEncoding { segment: 0 }),
        ("/%252e%252e", DoubleEncoding { segment: 0 }),
        ("/a%", BadPercent { segment: 0 }),
        ("/a/%2", BadPercent { segment: 1 }),
        ("/a/%zz", BadPercent { segment: 1 }),
        ("/a%2/b", BadPercent { segment: 0 }),
        ("/%ff", NotUtf8 { segment: 0 }),
        ("/%c0%af", NotUtf8 { segment: 0 }),
        ("/a\\b", RawByte { at: 2, byte: b'\\' }),
        ("/a b", RawByte { at: 2, byte: b' ' }),
        ("/a?b", RawByte { at: 2, byte: b'?' }),
        ("/a#b", RawByte { at: 2, byte: b'#' }),
        ("/é", RawByte { at: 1, byte: 0xc3 }),
        ("/a\0", RawByte { at: 2, byte: 0 }),
        ("/a|b", RawByte { at: 2, byte: b'|' }),
    ] {
        assert_eq!(DecodedPath::parse(given), Err(want), "{given}");
    }
}

#[test]
fn paths_are_bounded() {
    let longest = format!("/{}", "a".repeat(PATH_BYTES_MAX - 1));
    assert!(DecodedPath::parse(&longest).is_ok());
    assert_eq!(
        DecodedPath::parse(&format!("{longest}a")),
        Err(PathError::TooLong {
            found: PATH_BYTES_MAX + 1
        })
    );
    assert!(DecodedPath::parse(&"/a".repeat(PATH_SEGMENTS_MAX)).is_ok());
    assert_eq!(
        DecodedPath::parse(&"/a".repeat(PATH_SEGMENTS_MAX + 1)),
        Err(PathError::TooManySegments)
    );
}

fn template(text: &str) -> PathTemplate {
    text.parse().unwrap()
}

#[test]
fn templates_match_decoded_segments() {
    struct Case {
        template: &'static str,
        path: &'static str,
        want: Option<&'static [(&'static str, &'static str)]>,
    }
    let cases = [
        Case {
            template: "/",
            path: "/",
            want: Some(&[]),
        },
        Case {
            template: "/",
            path: "/a",
            want: None,
        },
        Case {
            template: "/v1/refunds",
            path: "/v1/refunds",
            want: Some(&[]),
        },
        Case {
            template: "/v1/refunds",
            path: "/v1/%72efunds",
            want: Some(&[]),
        },
        Case {
            template: "/v1/refunds",
            path: "/V1/refunds",
            want: None,
        },
        Case {
            template: "/v1/refunds",
            path: "/v1",
            want: None,
        },
        Case {
            template: "/v1/refunds",
            path: "/v1/refunds/re_1",
            want: None,
        },
        Case {
            template: "/a b",
            path: "/a%20b",
            want: Some(&[]),
        },
        Case {
            template: "/v1/charges/{charge}/refunds",
            path: "/v1/charges/ch%201/refunds",
            want: Some(&[("charge", "ch 1")]),
        },
        Case {
            template: "/v1/charges/{charge}/refunds",
            path: "/v1/charges/refunds",
            want: None,
        },
        Case {
            template: "/{a}/{b}",
            path: "/1/2",
            want: Some(&[("a", "1"), ("b", "2")]),
        },
        Case {
            template: "/v1/*",
            path: "/v1/x",
            want: Some(&[]),
        },
        Case {
            template: "/v1/*",
            path: "/v1",
            want: None,
        },
        Case {
            template: "/v1/*",
            path: "/v1/x/y",
            want: None,
        },
        Case {
            template: "/v1/**",
            path: "/v1/x/y/z",
            want: Some(&[]),
        },
        Case {
            template: "/v1/**",
            path: "/v1",
            want: None,
        },
        Case {
            template: "/{v}/**",
            path: "/v1/x",
            want: Some(&[("v", "v1")]),
        },
        Case {
            template: "/**",
            path: "/x",
            want: Some(&[]),
        },
        Case {
            template: "/**",
            path: "/",
            want: None,
        },
    ];
    for Case {
        template: text,
        path,
        want,
    } in cases
    {
        let want = want.map(|pairs| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        });
        assert_eq!(
            template(text).matches(&DecodedPath::parse(path).unwrap()),
            want,
            "{text} {path}"
        );
        assert_eq!(template(text).to_string(), text);
    }
}

#[test]
fn other_texts_are_no_templates() {
    use TemplateError::*;
    let shown = |text: &str| text.to_owned();
    let segment = |text: &str, segment: &str| Segment {
        text: shown(text),
        segment: shown(segment),
    };
    let literal = |text: &str, segment: &str| Literal {
        text: shown(text),
        segment: shown(segment),
    };
    for (given, want) in [
        ("", NotAbsolute(String::new())),
        ("v1", NotAbsolute(shown("v1"))),
        ("//", EmptySegment(shown("//"))),
        ("/v1/", EmptySegment(shown("/v1/"))),
        ("/../a", DotSegment(shown("/../a"))),
        ("/**/a", RestNotLast(shown("/**/a"))),
        ("/**/**", RestNotLast(shown("/**/**"))),
        ("/a*", segment("/a*", "a*")),
        ("/***", segment("/***", "***")),
        ("/{}", segment("/{}", "{}")),
        ("/{a", segment("/{a", "{a")),
        ("/{a}b", segment("/{a}b", "{a}b")),
        ("/{a-b}", segment("/{a-b}", "{a-b}")),
        ("/{1}", segment("/{1}", "{1}")),
        (
            "/{a}/{a}",
            DuplicateName {
                text: shown("/{a}/{a}"),
                name: shown("a"),
            },
        ),
        ("/a%20b", literal("/a%20b", "a%20b")),
        ("/a?b", literal("/a?b", "a?b")),
        ("/a\\b", literal("/a\\b", "a\\b")),
    ] {
        assert_eq!(given.parse::<PathTemplate>(), Err(want), "{given}");
    }
    assert_eq!(
        "/v1/{a".parse::<PathTemplate>().unwrap_err().to_string(),
        "path template `/v1/{a`: segment `{a` must be text, `{name}`, `*` or `**` as a whole"
    );
}

#[test]
fn the_more_specific_template_wins_from_the_left() {
    let ranked = [
        "/v1/charges/mine",
        "/v1/charges/{id}",
        "/v1/charges/*",
        "/v1/charges/**",
        "/v1/{kind}/mine",
        "/v1/*/mine",
        "/v1/**",
        "/{v}/charges",
        "/*/charges",
        "/**",
    ];
    for (index, more) in ranked.iter().enumerate() {
        assert_eq!(
            template(more).cmp_specificity(&template(more)),
            Ordering::Equal,
            "{more}"
        );
        for less in &ranked[index + 1..] {
            assert_eq!(
                template(more).cmp_specificity(&template(less)),
                Ordering::Greater,
                "{more} {less}"
            );
            assert!(
                template(more).specificity() > template(less).specificity(),
                "{more} {less}"
            );
            assert!(!template(more).ties(&template(less)), "{more} {less}");
        }
    }
}

#[test]
fn ties_are_equal_ranks_that_meet() {
    for (left, right, overlaps, ties) in [
        ("/a/{x}", "/a/{y}", true, true),
        ("/a/*", "/a/*", true, true),
        ("/a/{x}", "/b/{x}", false, false),
        ("/a/{x}", "/a/*", true, false),
        ("/a/**", "/a/b/c", true, false),
        ("/a/**", "/a", false, false),
        ("/a/**", "/**", true, false),
        ("/{x}/b", "/a/{y}", true, false),
        ("/a/b", "/a/b/c", false, false),
        ("/", "/**", false, false),
        ("/", "/", true, true),
    ] {
        for (a, b) in [(left, right), (right, left)] {
            assert_eq!(template(a).overlaps(&template(b)), overlaps, "{a} {b}");
            assert_eq!(template(a).ties(&template(b)), ties, "{a} {b}");
        }
    }
}

#[test]
fn queries_are_decoded_and_sorted() {
    let pairs = |expected: &[(&str, &str)]| {
        Ok(expected
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<Vec<_>>())
    };
    assert_eq!(parse_query(""), pairs(&[]));
    assert_eq!(parse_query("b=2&a=1"), pairs(&[("a", "1"), ("b", "2")]));
    assert_eq!(
        parse_query("expand[]=b&expand%5B%5D=a"),
        pairs(&[("expand[]", "a"), ("expand[]", "b")])
    );
    assert_eq!(
        parse_query("acl&a=x+y%20z/?"),
        pairs(&[("a", "x y z/?"), ("acl", "")])
    );
    assert_eq!(
        parse_query("a=1&a=1"),
        Err(FormError::DuplicateKey("a".to_owned()))
    );
    assert_eq!(parse_query("a=1;b=2"), Err(FormError::Semicolon { at: 3 }));
    assert_eq!(
        parse_query("a=1#f"),
        Err(FormError::RawByte { at: 3, byte: b'#' })
    );
    assert_eq!(
        parse_query("a=é"),
        Err(FormError::RawByte { at: 2, byte: 0xc3 })
    );
    assert_eq!(parse_query("a=1&"), Err(FormError::EmptyPair { at: 4 }));
    assert_eq!(parse_query("a=%"), Err(FormError::BadPercent { at: 2 }));
    let longest = format!("a={}", "x".repeat(QUERY_BYTES_MAX - 2));
    assert!(parse_query(&longest).is_ok());
    assert_eq!(
        parse_query(&format!("{longest}x")),
        Err(FormError::TooLong {
            found: QUERY_BYTES_MAX + 1,
            max: QUERY_BYTES_MAX
        })
    );
    let many = |count: usize| {
        (0..count)
            .map(|index| format!("k{index}"))
            .collect::<Vec<_>>()
            .join("&")
    };
    assert_eq!(
        parse_query(&many(QUERY_PAIRS_MAX)).unwrap().len(),
        QUERY_PAIRS_MAX
    );
    assert_eq!(
        parse_query(&many(QUERY_PAIRS_MAX + 1)),
        Err(FormError::TooManyPairs {
            max: QUERY_PAIRS_MAX
        })
    );
}

proptest! {
    #[test]
    fn the_canonical_path_reads_back(raw in "(/[a-z%0-9A-F.;é\\\\ ~+]{0,6}){0,5}") {
        if let Ok(path) = DecodedPath::parse(&raw) {
            prop_assert_eq!(DecodedPath::parse(&path.canonical()), Ok(path));
        }
    }

    #[test]
    fn any_allowed_segment_survives_encoding(segments in prop::collection::vec("[^\\p{Cc}/\\\\%]{1,6}", 1..5)) {
        prop_assume!(segments.iter().all(|segment| !matches!(segment.split(';').next(), Some("." | ".."))));
        let path = DecodedPath { segments: segments.clone() };
        let read = DecodedPath::parse(&path.canonical()).unwrap();
        prop_assert_eq!(read.segments(), segments);
    }

    #[test]
    fn no_decoded_segment_can_climb_or_split(raw in "/[./%2eEfF5cC0-9;]{0,16}") {
        if let Ok(path) = DecodedPath::parse(&raw) {
            for segment in path.segments() {
                prop_assert!(!segment.is_empty() && segment != "." && segment != "..");
                prop_assert!(!segment.contains(['/', '\\', '\0']));
            }
        }
    }

    #[test]
    fn no_text_panics(text: String) {
        drop(DecodedPath::parse(&text));
        drop(text.parse::<PathTemplate>());
        drop(parse_query(&text));
    }

    #[test]
    fn of_two_templates_on_one_path_one_is_more_specific_or_they_tie(
        left in "(/(a|b|\\*|\\{x\\})){1,3}(/\\*\\*)?",
        right in "(/(a|b|\\*|\\{y\\})){1,3}(/\\*\\*)?",
        path in "(/[ab]){1,4}",
    ) {
        // A name may stand only once in a template.
        prop_assume!(left.matches("{x}").count() < 2 && right.matches("{y}").count() < 2);
        let (left, right) = (template(&left), template(&right));
        let path = DecodedPath::parse(&path).unwrap();
        if left.matches(&path).is_some() && right.matches(&path).is_some() {
            prop_assert!(left.overlaps(&right) && right.overlaps(&left));
            prop_assert_eq!(left.ties(&right), left.specificity() == right.specificity());
        }
        prop_assert_eq!(left.cmp_specificity(&right), right.cmp_specificity(&left).reverse());
    }
}
