use proptest::prelude::*;

use super::*;

#[test]
fn patterns_cover_what_they_say() {
    struct Case {
        pattern: &'static str,
        covers: &'static [&'static str],
        not: &'static [&'static str],
    }
    let cases = [
        Case {
            pattern: "stripe.refunds.create",
            covers: &["stripe.refunds.create"],
            not: &[
                "stripe.refunds",
                "stripe.refunds.create.now",
                "stripe.refunds.list",
            ],
        },
        Case {
            pattern: "zendesk.*",
            covers: &["zendesk.read"],
            not: &["zendesk.tickets.read", "zendeskx.read", "stripe.read"],
        },
        Case {
            pattern: "zendesk.**",
            covers: &["zendesk.read", "zendesk.tickets.read"],
            not: &["zendeskx.read", "stripe.read"],
        },
        Case {
            pattern: "*.read",
            covers: &["stripe.read", "zendesk.read"],
            not: &["stripe.write", "a.b.read"],
        },
        Case {
            pattern: "a.*.c",
            covers: &["a.b.c"],
            not: &["a.c", "a.b.b.c"],
        },
        Case {
            pattern: "a.b.**",
            covers: &["a.b.c"],
            not: &["a.b"],
        },
        Case {
            pattern: "**",
            covers: &["a.b", "a.b.c.d"],
            not: &[],
        },
    ];
    for Case {
        pattern,
        covers,
        not,
    } in cases
    {
        let pattern: CapabilityPattern = pattern.parse().unwrap();
        for name in covers {
            assert!(
                pattern.matches(&name.parse().unwrap()),
                "{pattern} covers {name}"
            );
        }
        for name in not {
            assert!(
                !pattern.matches(&name.parse().unwrap()),
                "{pattern} does not cover {name}"
            );
        }
    }
}

#[test]
fn other_texts_are_no_capabilities() {
    let shown = |text: &str| text.to_owned();
    let character = |text: &str, segment: &str| CapabilityError::Character {
        text: shown(text),
        segment: shown(segment),
    };
    for (given, want) in [
        ("", CapabilityError::EmptySegment(String::new())),
        ("stripe", CapabilityError::OneSegment(shown("stripe"))),
        ("stripe.", CapabilityError::EmptySegment(shown("stripe."))),
        (".read", CapabilityError::EmptySegment(shown(".read"))),
        ("a..b", CapabilityError::EmptySegment(shown("a..b"))),
        ("Stripe.read", character("Stripe.read", "Stripe")),
        ("a.b c", character("a.b c", "b c")),
        ("a.*", character("a.*", "*")),
        ("a.**", character("a.**", "**")),
    ] {
        assert_eq!(given.parse::<Capability>(), Err(want), "{given}");
    }
    for (given, want) in [
        ("*", CapabilityError::OneSegment(shown("*"))),
        ("a.re*", character("a.re*", "re*")),
        ("a.***", character("a.***", "***")),
        ("a.**.b", CapabilityError::RestNotLast(shown("a.**.b"))),
        ("**.**", CapabilityError::RestNotLast(shown("**.**"))),
    ] {
        assert_eq!(given.parse::<CapabilityPattern>(), Err(want), "{given}");
    }
    let longest = format!("a.{}", "b".repeat(CAPABILITY_BYTES_MAX - 2));
    assert!(longest.parse::<Capability>().is_ok());
    assert!(matches!(
        format!("{longest}b").parse::<Capability>(),
        Err(CapabilityError::TooLong(_))
    ));
}

#[test]
fn a_capability_knows_its_upstream_and_action() {
    let capability: Capability = "stripe.refunds.create".parse().unwrap();
    assert_eq!(
        (capability.upstream(), capability.action()),
        ("stripe", "refunds.create")
    );
    let pattern = CapabilityPattern::from(capability.clone());
    assert!(pattern.is_exact() && pattern.matches(&capability));
    assert_eq!(pattern.as_exact(), Some(capability));
    assert!(!"stripe.*".parse::<CapabilityPattern>().unwrap().is_exact());
}

#[test]
fn globs_match_the_whole_resource() {
    struct Case {
        glob: &'static str,
        matches: &'static [&'static str],
        not: &'static [&'static str],
    }
    let cases = [
        Case {
            glob: "ch_1",
            matches: &["ch_1"],
            not: &["ch_12", "xch_1", "", "CH_1"],
        },
        Case {
            glob: "ch_*",
            matches: &["ch_", "ch_1", "ch_*"],
            not: &["ch", "xch_1"],
        },
        Case {
            glob: "*_ch",
            matches: &["_ch", "a_ch"],
            not: &["_chx"],
        },
        Case {
            glob: "a*a",
            matches: &["aa", "aba", "aaa"],
            not: &["a", "ab"],
        },
        Case {
            glob: "*",
            matches: &["", "anything/at all"],
            not: &[],
        },
        Case {
            glob: "**",
            matches: &["", "x"],
            not: &[],
        },
        Case {
            glob: "a*b*c",
            matches: &["abc", "axbxc", "abcbc"],
            not: &["acb", "ab", "ac"],
        },
        Case {
            glob: "*ab*ab*",
            matches: &["abab", "xabyabz"],
            not: &["aba", "ab"],
        },
        Case {
            glob: "a?[b]\\*",
            matches: &["a?[b]\\", "a?[b]\\x"],
            not: &["axb"],
        },
        Case {
            glob: "é*ü",
            matches: &["éü", "é—ü"],
            not: &["é"],
        },
    ];
    for Case { glob, matches, not } in cases {
        let glob: Glob = glob.parse().unwrap();
        for text in matches {
            assert!(glob.matches(text), "{glob} matches {text}");
        }
        for text in not {
            assert!(!glob.matches(text), "{glob} does not match {text}");
        }
    }
    assert_eq!("".parse::<Glob>(), Err(GlobError::Empty));
    assert_eq!(
        "a\0b".parse::<Glob>(),
        Err(GlobError::Control("a\\u{0}b".to_owned()))
    );
    assert!(matches!(
        "x".repeat(GLOB_BYTES_MAX + 1).parse::<Glob>(),
        Err(GlobError::TooLong(_))
    ));
}

#[test]
fn texts_travel_in_serde() {
    let pattern: CapabilityPattern = serde_json::from_str("\"zendesk.*\"").unwrap();
    assert_eq!(serde_json::to_string(&pattern).unwrap(), "\"zendesk.*\"");
    let refused = serde_json::from_str::<Capability>("\"zendesk.*\"")
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("segment `*` of capability `zendesk.*`"),
        "{refused}"
    );
}

/// What a glob means, by trying every length for each star.
fn matches_slowly(glob: &[u8], text: &[u8]) -> bool {
    match (glob.split_first(), text.split_first()) {
        (None, _) => text.is_empty(),
        (Some((b'*', rest)), _) => {
            (0..=text.len()).any(|skipped| matches_slowly(rest, &text[skipped..]))
        }
        (Some((byte, rest)), Some((found, behind))) => {
            byte == found && matches_slowly(rest, behind)
        }
        (Some(_), None) => false,
    }
}

proptest! {
    #[test]
    fn globs_mean_what_trying_everything_finds(glob in "[ab*]{1,8}", text in "[ab]{0,10}") {
        let parsed: Glob = glob.parse().unwrap();
        prop_assert_eq!(parsed.matches(&text), matches_slowly(glob.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn texts_read_back(text in "[a-c*._-]{0,12}") {
        if let Ok(capability) = text.parse::<Capability>() {
            prop_assert_eq!(capability.to_string(), text.clone());
            prop_assert!(text.parse::<CapabilityPattern>().unwrap().matches(&capability));
        }
        if let Ok(pattern) = text.parse::<CapabilityPattern>() {
            prop_assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn no_text_panics(text: String, other: String) {
        drop(text.parse::<Capability>());
        drop(text.parse::<CapabilityPattern>());
        if let Ok(glob) = text.parse::<Glob>() {
            let _ = glob.matches(&other);
            prop_assert!(!glob.is_exact() || glob.matches(&text));
        }
    }
}
