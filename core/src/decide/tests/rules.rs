//! Whether one rule matches, and what a rule that cannot be told does.

use super::*;

#[test]
fn amounts_match_in_their_currency_and_doubt_counts_against_the_action() {
    let eur = |minor| refund_in(minor, Currency::EUR);
    let cases = [
        (
            "an Allow up to the bound",
            allow(json!({"amounts": [usd("lte", 50_000)]})),
            refund(50_000),
            true,
        ),
        (
            "an Allow over the bound",
            allow(json!({"amounts": [usd("lte", 50_000)]})),
            refund(50_001),
            false,
        ),
        (
            "gt excludes the bound",
            deny(json!({"amounts": [usd("gt", 50_000)]})),
            refund(50_000),
            false,
        ),
        (
            "gte includes it",
            deny(json!({"amounts": [usd("gte", 50_000)]})),
            refund(50_000),
            true,
        ),
        (
            "lt excludes it",
            deny(json!({"amounts": [usd("lt", 50_000)]})),
            refund(50_000),
            false,
        ),
        (
            "an Allow in another currency",
            allow(json!({"amounts": [usd("lte", 50_000)]})),
            eur(1),
            false,
        ),
        (
            "a Deny in another currency",
            deny(json!({"amounts": [usd("gt", 50_000)]})),
            eur(1),
            true,
        ),
        (
            "an ask in another currency",
            ask(json!({"amounts": [usd("gt", 50_000)]})),
            eur(1),
            true,
        ),
        (
            "an Allow without amount",
            allow(json!({"amounts": [usd("lte", 50_000)]})),
            note(),
            false,
        ),
        (
            "a Deny on a write without amount",
            deny(json!({"amounts": [usd("gt", 50_000)]})),
            note(),
            true,
        ),
        (
            "a Deny on a read without amount",
            deny(json!({"amounts": [usd("gt", 50_000)]})),
            read(),
            false,
        ),
        (
            "one of several bounds",
            deny(json!({"amounts": [usd("lt", 5), usd("gt", 100)]})),
            refund(101),
            true,
        ),
        (
            "none of several bounds",
            deny(json!({"amounts": [usd("lt", 5), usd("gt", 100)]})),
            refund(50),
            false,
        ),
    ];
    for (name, rule, action, want) in cases {
        assert_eq!(matched(rule, action, NOW), want, "{name}");
    }
}

#[test]
fn resources_and_environments_match_or_are_in_doubt() {
    let mut live = refund(1);
    live.environment = Some("production".to_owned());
    let cases = [
        (
            "the resource",
            allow(json!({"resources": ["ch_*"]})),
            refund(1),
            true,
        ),
        (
            "another resource",
            allow(json!({"resources": ["re_*", "xx"]})),
            refund(1),
            false,
        ),
        (
            "an Allow without resource",
            allow(json!({"resources": ["*"]})),
            note(),
            false,
        ),
        (
            "a Deny without resource",
            deny(json!({"resources": ["re_*"]})),
            note(),
            true,
        ),
        (
            "the environment",
            allow(json!({"environments": ["production"]})),
            live.clone(),
            true,
        ),
        (
            "another environment",
            deny(json!({"environments": ["staging"]})),
            live,
            false,
        ),
        (
            "an Allow without environment",
            allow(json!({"environments": ["production"]})),
            refund(1),
            false,
        ),
        (
            "a Deny without environment",
            deny(json!({"environments": ["production"]})),
            refund(1),
            true,
        ),
        (
            "another capability",
            deny(json!({"capabilities": ["pay.read"]})),
            refund(1),
            false,
        ),
    ];
    for (name, rule, action, want) in cases {
        assert_eq!(matched(rule, action, NOW), want, "{name}");
    }
}

#[test]
fn a_schedule_holds_in_the_wall_time_of_its_zone() {
    let hours = |days: &[&str], from: u16, to: u16, zone: &str| {
        allow(
            json!({"schedule": {"days": days, "from_minute": from, "to_minute": to, "time_zone": zone}}),
        )
    };
    let week = ["Mon", "Tue", "Wed", "Thu", "Fri"];
    let office = |zone: &str| hours(&week, 540, 1020, zone);
    let cases = [
        ("Friday at ten", office("UTC"), "2026-11-20T10:00:00Z", true),
        (
            "from is inclusive",
            office("UTC"),
            "2026-11-20T09:00:00Z",
            true,
        ),
        (
            "a second before",
            office("UTC"),
            "2026-11-20T08:59:59Z",
            false,
        ),
        (
            "to is exclusive",
            office("UTC"),
            "2026-11-20T17:00:00Z",
            false,
        ),
        ("Saturday", office("UTC"), "2026-11-21T10:00:00Z", false),
        (
            "still Thursday night in Los Angeles",
            office("America/Los_Angeles"),
            "2026-11-20T10:00:00Z",
            false,
        ),
        (
            "Friday morning in Los Angeles",
            office("America/Los_Angeles"),
            "2026-11-20T17:00:00Z",
            true,
        ),
        (
            "summer time in Berlin",
            office("Europe/Berlin"),
            "2026-07-03T07:00:00Z",
            true,
        ),
        (
            "winter time in Berlin",
            office("Europe/Berlin"),
            "2026-11-20T07:30:00Z",
            false,
        ),
        (
            "every day",
            hours(&[], 0, 1440, "UTC"),
            "2026-11-22T23:59:59Z",
            true,
        ),
        (
            "past midnight, evening",
            hours(&["Fri"], 1320, 360, "UTC"),
            "2026-11-20T22:00:00Z",
            true,
        ),
        (
            "past midnight, the morning after",
            hours(&["Fri"], 1320, 360, "UTC"),
            "2026-11-21T05:59:00Z",
            true,
        ),
        (
            "past midnight, the morning before",
            hours(&["Fri"], 1320, 360, "UTC"),
            "2026-11-20T05:59:00Z",
            false,
        ),
        (
            "past midnight, over",
            hours(&["Fri"], 1320, 360, "UTC"),
            "2026-11-21T06:00:00Z",
            false,
        ),
    ];
    for (name, rule, at, want) in cases {
        assert_eq!(matched(rule, refund(1), at), want, "{name}");
    }
}

#[test]
fn a_rule_that_cannot_be_evaluated_denies_whatever_it_decides() {
    let broken = [
        (
            "an unknown time zone",
            json!({"schedule":
            {"days": [], "from_minute": 0, "to_minute": 1440, "time_zone": "Mars/Olympus"}}),
        ),
        (
            "a bound in another currency",
            json!({"amounts": [
            {"currency": "USD", "gt": {"minor": "1", "currency": "EUR"}, "gte": null, "lt": null, "lte": null}]}),
        ),
        (
            "a number out of range",
            json!({"capabilities": ["pay.refund"],
            "when": "action.amount.minor + 9223372036854775807 > 0"}),
        ),
        (
            "a total nobody keeps",
            json!({"when": "facts.windowTotal('nope') > 0"}),
        ),
    ];
    for (name, more) in broken {
        for decision in [
            RuleDecision::Deny,
            RuleDecision::RequireApproval,
            RuleDecision::Allow,
        ] {
            let world = World::new(vec![allow_all(), rule("broken", decision, more.clone())]);
            let Verdict::Deny(DenyReason::RuleError { rule, what }) =
                world.decide().verdict().clone()
            else {
                panic!("{name}, {decision:?}: {:?}", world.decide().verdict());
            };
            assert_eq!(rule.to_string(), "main/broken", "{name}");
            assert!(
                !what.contains("12000"),
                "{name}: no value of the request is repeated"
            );
        }
    }
}

#[test]
fn an_error_in_a_rule_that_does_not_cover_the_action_changes_nothing() {
    let more = json!({"capabilities": ["pay.read"], "when": "facts.windowTotal('nope') > 0"});
    assert_eq!(World::new(vec![allow_all(), deny(more)]).word(), "permit");
}

#[test]
fn a_condition_decides_last() {
    let fraud = |decision| {
        rule(
            "fraud",
            decision,
            json!({
        "capabilities": ["pay.refund"], "when": "attributes.reason == 'fraudulent'"}),
        )
    };
    let mut fraudulent = refund(1);
    fraudulent.attributes.get_mut("reason").unwrap().value =
        AttributeValue::String("fraudulent".to_owned());
    assert_eq!(
        World::new(vec![allow_all(), fraud(RuleDecision::Deny)]).word(),
        "permit"
    );
    assert_eq!(
        World::new(vec![allow_all(), fraud(RuleDecision::Deny)])
            .on(fraudulent)
            .word(),
        "rule_denies"
    );
    assert_eq!(
        World::new(vec![fraud(RuleDecision::Allow)]).word(),
        "no_rule"
    );
}

#[test]
fn a_hint_tightens() {
    let unsure = json!({"when": "!has(hints.confidence) || hints.confidence < 80"});
    let mut sure = refund(1);
    sure.hints.confidence = Some(95);
    assert_eq!(
        World::new(vec![allow_all(), ask(unsure.clone())]).word(),
        "escalate"
    );
    assert_eq!(
        World::new(vec![allow_all(), ask(unsure)]).on(sure).word(),
        "permit"
    );
}

/// Whether a rule matches on its own: an Allow permits, the others do what they do beside an Allow.
fn matched(one: Value, action: Action, at: &str) -> bool {
    let decision: RuleDecision = serde_json::from_value(one["decision"].clone()).unwrap();
    let world = match decision {
        RuleDecision::Allow => World::new(vec![one]).passport(json!({"default_approval": null})),
        _ => World::new(vec![
            rule(
                "any",
                RuleDecision::Allow,
                json!({"allow_irreversible": true}),
            ),
            one,
        ]),
    };
    let name = match decision {
        RuleDecision::Allow => "main/allow",
        RuleDecision::Deny => "main/deny",
        RuleDecision::RequireApproval => "main/ask",
    };
    world
        .on(action)
        .at(at)
        .decide()
        .rules()
        .iter()
        .any(|rule| rule.to_string() == name)
}
