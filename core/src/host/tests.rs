use proptest::prelude::*;

use super::*;

#[test]
fn names_have_one_spelling() {
    for (given, want) in [
        ("api.stripe.com", "api.stripe.com"),
        ("API.Stripe.COM", "api.stripe.com"),
        ("api.stripe.com.", "api.stripe.com"),
        ("localhost", "localhost"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("a1.2b.c-d", "a1.2b.c-d"),
        ("1.2.3.x", "1.2.3.x"),
    ] {
        assert_eq!(given.parse::<HostName>().unwrap().as_str(), want, "{given}");
    }
}

#[test]
fn other_texts_are_no_host_names() {
    let label = |text: &str, label: &str| HostError::Label {
        text: text.to_owned(),
        label: label.to_owned(),
    };
    for (given, want) in [
        ("", HostError::Empty),
        (".", HostError::Empty),
        ("a..b", HostError::EmptyLabel("a..b".to_owned())),
        (".a", HostError::EmptyLabel(".a".to_owned())),
        ("a.b..", HostError::EmptyLabel("a.b..".to_owned())),
        (
            "münchen.example",
            HostError::NotAscii("m\\u{fc}nchen.example".to_owned()),
        ),
        ("a_b.example", label("a_b.example", "a_b")),
        ("-a.example", label("-a.example", "-a")),
        ("a-.example", label("a-.example", "a-")),
        ("a b.example", label("a b.example", "a b")),
        ("a/b", label("a/b", "a/b")),
        ("a@b.example", label("a@b.example", "a@b")),
        ("a%2eb", label("a%2eb", "a%2eb")),
        (
            "*.example.com",
            HostError::Wildcard("*.example.com".to_owned()),
        ),
    ] {
        assert_eq!(given.parse::<HostName>(), Err(want), "{given}");
    }
    for given in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0X7F000001",
        "1.2.3.4.",
        "[::1]",
        "::1",
        "a:443",
        "x.0x",
    ] {
        assert_eq!(
            given.parse::<HostName>(),
            Err(HostError::IpAddress(given.to_owned())),
            "{given}"
        );
    }
    let longest_label = "a".repeat(LABEL_BYTES_MAX);
    assert!(longest_label.parse::<HostName>().is_ok());
    assert!(matches!(
        format!("{longest_label}a").parse::<HostName>(),
        Err(HostError::LabelTooLong(_))
    ));
    let longest = format!("{0}.{0}.{0}.{1}", longest_label, "b".repeat(61));
    assert_eq!(longest.len(), HOST_BYTES_MAX);
    assert!(format!("{longest}.").parse::<HostName>().is_ok());
    assert!(matches!(
        format!("{longest}b").parse::<HostName>(),
        Err(HostError::TooLong(_))
    ));
    assert!(matches!(
        format!("*.{longest}").parse::<HostPattern>(),
        Err(HostError::TooLong(_))
    ));
}

#[test]
fn a_wildcard_stands_for_exactly_one_label() {
    let pattern: HostPattern = "*.Example.com".parse().unwrap();
    assert_eq!(pattern.to_string(), "*.example.com");
    assert!(pattern.is_wildcard() && pattern.as_exact().is_none());
    for (name, want) in [
        ("api.example.com", true),
        ("example.com", false),
        ("a.b.example.com", false),
        ("api.example.org", false),
        ("apiexample.com", false),
    ] {
        assert_eq!(pattern.matches(&name.parse().unwrap()), want, "{name}");
    }
    let exact: HostPattern = "api.example.com".parse().unwrap();
    assert!(exact.matches(&"api.example.com".parse().unwrap()));
    assert!(!exact.matches(&"x.api.example.com".parse().unwrap()));
    for refused in [
        "*",
        "*.",
        "**.example.com",
        "a*.example.com",
        "api.*.com",
        "*.*.com",
        "*.1",
    ] {
        assert!(refused.parse::<HostPattern>().is_err(), "{refused}");
    }
}

#[test]
fn patterns_overlap_where_one_name_fits_both() {
    for (left, right, want) in [
        ("a.example.com", "a.example.com", true),
        ("a.example.com", "b.example.com", false),
        ("*.example.com", "a.example.com", true),
        ("*.example.com", "example.com", false),
        ("*.example.com", "*.example.com", true),
        ("*.example.com", "*.a.example.com", false),
        ("*.example.com", "a.b.example.com", false),
    ] {
        let [a, b]: [HostPattern; 2] = [left, right].map(|text| text.parse().unwrap());
        assert_eq!(a.overlaps(&b), want, "{left} {right}");
        assert_eq!(b.overlaps(&a), want, "{right} {left}");
    }
}

proptest! {
    #[test]
    fn names_read_back(text in "[a-cA-C0-9x.*-]{1,12}") {
        if let Ok(name) = text.parse::<HostName>() {
            prop_assert_eq!(name.as_str().parse::<HostName>(), Ok(name.clone()));
            prop_assert!(HostPattern::from(name.clone()).matches(&name));
        }
        if let Ok(pattern) = text.parse::<HostPattern>() {
            prop_assert_eq!(pattern.to_string().parse::<HostPattern>(), Ok(pattern));
        }
    }

    #[test]
    fn overlap_is_what_some_name_shows(left in "(\\*\\.)?[ab](\\.[ab]){0,2}", right in "(\\*\\.)?[ab](\\.[ab]){0,2}", name in "[abc](\\.[ab]){0,3}") {
        let [left, right]: [HostPattern; 2] = [left, right].map(|text| text.parse().unwrap());
        let name: HostName = name.parse().unwrap();
        prop_assert!(left.overlaps(&right) || !(left.matches(&name) && right.matches(&name)));
    }

    #[test]
    fn no_text_panics(text: String) {
        drop(text.parse::<HostName>());
        drop(text.parse::<HostPattern>());
    }
}

#[test]
fn people_may_spell_a_name_in_two_ways_and_evidence_in_one() {
    let name: HostName = "api.example".parse().unwrap();
    for (given, want) in [
        ("api.example", true),
        ("API.example", false),
        ("api.example.", false),
    ] {
        assert_eq!(given.parse().as_ref(), Ok(&name), "{given}");
        let read = serde_json::from_str::<HostName>(&format!("\"{given}\""));
        assert_eq!(read.is_ok(), want, "{given}: {read:?}");
        let pattern = serde_json::from_str::<HostPattern>(&format!("\"*.{given}\""));
        assert_eq!(pattern.is_ok(), want, "*.{given}: {pattern:?}");
    }
}
