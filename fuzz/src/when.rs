//! `when` conditions of rules.

use std::collections::BTreeMap;

use actpass_core::action::{Action, Attribute, Hints};
use actpass_core::decide::Facts;
use actpass_core::money::{Currency, Money};
use actpass_core::policy::{Rule, RuleDecision};
use actpass_core::upstream::{AttributeValue, Effect, Upstream};
use actpass_core::when::{Condition, TEXT_BYTES_MAX, WhenError};
use serde_json::json;

/// What conditions are made of.
const WORDS: [&str; 32] = [
    "attributes.reason",
    "attributes.items",
    "attributes.rush",
    "attributes.note",
    "has(attributes.note)",
    "hints.confidence",
    "has(hints.confidence)",
    "facts.precedents",
    "facts.firstSeenResource",
    "facts.windowTotal('refunds')",
    "action.amount.minor",
    "action.resource",
    "size(",
    "(",
    ")",
    ".startsWith('x')",
    ".exists(x, x == ",
    "['a', 'b']",
    "[1, 2]",
    " in ",
    " && ",
    " || ",
    "!",
    " == ",
    " < ",
    " + ",
    " / ",
    " ? ",
    " : ",
    "true",
    "'x'",
    "3",
];

/// Input: a condition; or a zero, then its words by their numbers.
///
/// - A condition that checks never fails for want of a name, whatever the actions it covers leave out, unless it asks
///   the ledger and nobody answers, or for a meter that no limit has; it does not fail in the engine either.
/// - It answers the same twice. In an Allow rule it reads no hint, and without facts it is asked none.
pub(crate) fn run(data: &[u8]) {
    let word = |number: &u8| WORDS[usize::from(*number) % WORDS.len()];
    let text = match data.split_first() {
        Some((0, numbers)) => numbers.iter().map(word).collect(),
        _ => String::from_utf8_lossy(data).into_owned(),
    };
    let text = text.as_str();
    let upstreams = upstreams();
    for decision in [RuleDecision::Deny, RuleDecision::Allow] {
        let Ok(condition) = Condition::compile(text, &rule(decision), &upstreams) else {
            continue;
        };
        assert!(text.len() <= TEXT_BYTES_MAX);
        assert!(decision == RuleDecision::Deny || !condition.uses_hints());
        for action in [full(), bare()] {
            for facts in [Some(facts()), None] {
                let answer = condition.evaluate(&action, facts.as_ref());
                assert_eq!(answer, condition.evaluate(&action, facts.as_ref()));
                match answer {
                    Ok(_) | Err(WhenError::Overflow | WhenError::DivisionByZero) => {}
                    // Limits stand in Passports, which the checker of a policy does not see.
                    Err(WhenError::Absent(name)) if name.starts_with("facts.windowTotal(") => {}
                    Err(WhenError::FactsNeeded(_)) => {
                        assert!(facts.is_none() && condition.uses_facts())
                    }
                    Err(other) => panic!("`{text}` checked, and then: {other}"),
                }
            }
        }
    }
}

/// `pay.refund` always has amount, resource, `reason` and `items`; `note` and hints may be missing.
fn upstreams() -> Vec<Upstream> {
    let attribute = |name: &str, kind: &str, required: bool| {
        json!({"name": name, "from": format!("body.{name}"), "type": kind, "required": required, "default": null,
               "sensitive": false})
    };
    let attributes = [
        attribute("reason", "String", true),
        attribute("items", "Integer", true),
        attribute("rush", "Boolean", true),
        attribute("note", "String", false),
    ];
    let upstream = json!({
        "name": "pay", "hosts": ["api.pay.example"], "ports": [443], "addresses": "Public", "protocol": "HTTP",
        "tls": {"mode": "Intercept", "ca_bundle": null}, "credentials": [], "error_style": "Problem",
        "failed_statuses": [],
        "actions": [{"capability": "pay.refund", "method": "POST", "path": "/v1/x", "effect": "Write",
            "body": {"format": "Form", "max_bytes": 1024, "mode": "Buffered"}, "params": [], "headers": [],
            "attributes": attributes, "resource": "body.charge", "meters": [],
            "amount": {"from": "body.amount", "unit": "Minor", "currency": {"const": "USD"}}}],
    });
    vec![serde_json::from_value(upstream).expect("an upstream")]
}

fn rule(decision: RuleDecision) -> Rule {
    serde_json::from_value(json!({
        "name": "r", "decision": decision, "capabilities": ["pay.**"], "amounts": [], "schedule": null,
        "environments": [], "resources": [], "when": null, "obligations": {"max_response_bytes": null},
        "approval": null, "allow_irreversible": true,
    }))
    .expect("a rule")
}

/// An action with everything that is declared, and a hint.
fn full() -> Action {
    let mut action = bare();
    action.attributes.insert(
        "note".to_owned(),
        plain(AttributeValue::String("urgent".to_owned())),
    );
    action.hints = Hints {
        confidence: Some(40),
        purpose: Some("refund".to_owned()),
        ..Hints::default()
    };
    action
}

/// An action with no more than what is always there.
fn bare() -> Action {
    Action {
        tenant: "t/n/u".to_owned(),
        passport: "p".to_owned(),
        agent: "a".to_owned(),
        upstream: "pay".to_owned(),
        capability: "pay.refund".parse().expect("a capability"),
        effect: Effect::Write,
        method: "POST".to_owned(),
        host: "api.pay.example".parse().expect("a host"),
        port: 443,
        path: "/v1/x".to_owned(),
        path_template: "/v1/x".to_owned(),
        query: Vec::new(),
        headers: BTreeMap::new(),
        amount: Some(Money::new(12_000, Currency::USD)),
        resource: Some("ch_1".to_owned()),
        meters: Vec::new(),
        environment: None,
        attributes: BTreeMap::from([
            (
                "reason".to_owned(),
                plain(AttributeValue::String("duplicate".to_owned())),
            ),
            ("items".to_owned(), plain(AttributeValue::Integer(3))),
            ("rush".to_owned(), plain(AttributeValue::Boolean(false))),
        ]),
        body: [0; 32],
        body_bytes: 0,
        idempotency_key: None,
        fault: None,
        hints: Hints::default(),
    }
}

fn plain(value: AttributeValue) -> Attribute {
    Attribute {
        value,
        sensitive: false,
    }
}

fn facts() -> Facts {
    Facts {
        window_totals: BTreeMap::from([("refunds".to_owned(), 480_000)]),
        precedents: 2,
        first_seen_resource: true,
        recent_denies: 1,
        ..Facts::default()
    }
}
