use std::collections::BTreeMap;

use crate::action::{Action, Attribute, Fault, FaultKind, Hints, MeterUse};
use crate::limits::Unit;
use crate::money::{Currency, Money};
use crate::upstream::{AttributeValue, Effect};

/// One edit of an action.
type Change = fn(&mut Action);

fn action() -> Action {
    let text = str::to_owned;
    let value = AttributeValue::String(text("none"));
    Action {
        tenant: text("c/n/u"),
        passport: text("agent"),
        agent: text("refunds"),
        upstream: text("pay"),
        capability: "pay.refund".parse().unwrap(),
        effect: Effect::Write,
        method: text("POST"),
        host: "api.pay.example".parse().unwrap(),
        port: 443,
        path: text("/v1/refunds/re_1"),
        path_template: text("/v1/refunds/{id}"),
        query: vec![(text("expand"), text("charge"))],
        headers: BTreeMap::from([(text("stripe-account"), text("acct_1"))]),
        amount: Some(Money::new(1_250, Currency::EUR)),
        resource: Some(text("re_1")),
        meters: vec![MeterUse {
            name: text("writes"),
            unit: Unit::Count,
            amount: 1,
        }],
        environment: Some(text("production")),
        attributes: BTreeMap::from([(
            text("reason"),
            Attribute {
                value,
                sensitive: false,
            },
        )]),
        body: [7; 32],
        body_bytes: 20,
        idempotency_key: Some(text("key-1")),
        fault: None,
        hints: Hints::default(),
    }
}

/// The digest is part of evidence and of every approval: another value here breaks both.
#[test]
fn the_digest_of_an_action_stays_what_it_is() {
    assert_eq!(action().digest().to_string(), DIGEST);
}

const DIGEST: &str = "f31181a2bbd70b131d67863ec755799df58878ff2a5d729642a4d654aa2f5326";

#[test]
fn everything_judged_changes_the_digest() {
    let changes: [(&str, Change); 24] = [
        ("tenant", |it| it.tenant.push('x')),
        ("passport", |it| it.passport.push('x')),
        ("agent", |it| it.agent.push('x')),
        ("upstream", |it| it.upstream.push('x')),
        ("capability", |it| {
            it.capability = "pay.refunds".parse().unwrap();
        }),
        ("effect", |it| it.effect = Effect::Irreversible),
        ("method", |it| it.method = "PUT".to_owned()),
        ("host", |it| it.host = "pay.example".parse().unwrap()),
        ("port", |it| it.port = 8443),
        ("path", |it| it.path.push('2')),
        ("template", |it| it.path_template = "/v1/**".to_owned()),
        ("query value", |it| it.query[0].1.push('x')),
        ("query twice", |it| it.query.push(it.query[0].clone())),
        ("header value", |it| {
            it.headers
                .insert("stripe-account".to_owned(), "acct_2".to_owned());
        }),
        ("no header", |it| it.headers.clear()),
        ("amount", |it| {
            it.amount = Some(Money::new(1_251, Currency::EUR));
        }),
        ("currency", |it| {
            it.amount = Some(Money::new(1_250, Currency::USD));
        }),
        ("no amount", |it| it.amount = None),
        ("resource", |it| it.resource = Some("re_2".to_owned())),
        ("empty resource", |it| it.resource = Some(String::new())),
        ("meter", |it| it.meters[0].amount = 2),
        ("environment", |it| it.environment = None),
        ("attribute type", |it| {
            it.attributes.get_mut("reason").unwrap().value = AttributeValue::Boolean(true);
        }),
        ("body", |it| it.body = [8; 32]),
    ];
    let mut seen = vec![action().digest()];
    for (name, change) in changes {
        let mut changed = action();
        change(&mut changed);
        assert!(
            !seen.contains(&changed.digest()),
            "{name} is not in the digest"
        );
        seen.push(changed.digest());
    }
}

#[test]
fn what_an_sdk_makes_up_or_an_agent_says_changes_nothing() {
    let changes: [(&str, Change); 4] = [
        ("idempotency key", |it| {
            it.idempotency_key = Some("key-2".to_owned());
        }),
        ("hints", |it| {
            it.hints.rationale = Some("because".to_owned())
        }),
        ("fault", |it| {
            it.fault = Some(Fault {
                fact: "amount".to_owned(),
                problem: FaultKind::Missing,
            });
        }),
        ("whether an attribute is shown", |it| {
            it.attributes.get_mut("reason").unwrap().sensitive = true;
        }),
    ];
    for (name, change) in changes {
        let mut changed = action();
        change(&mut changed);
        assert_eq!(changed.digest(), action().digest(), "{name}");
    }
}

#[test]
fn an_integer_and_its_text_have_different_digests() {
    let with = |value| {
        let mut action = action();
        action.attributes.get_mut("reason").unwrap().value = value;
        action.digest()
    };
    let (text, number) = (
        AttributeValue::String("5".to_owned()),
        AttributeValue::Integer(5),
    );
    assert_ne!(with(text), with(number));
}

#[test]
fn actions_without_a_canonical_form_are_told_apart_too() {
    let with = |amount| {
        let mut action = action();
        action.meters[0].amount = amount;
        action.digest()
    };
    assert_ne!(with(i64::MAX), with(i64::MAX - 1));
    let named = |name: &str| {
        let mut action = action();
        let value = AttributeValue::Integer(1);
        let attribute = Attribute {
            value,
            sensitive: false,
        };
        action.attributes.insert(name.to_owned(), attribute);
        action.digest()
    };
    assert_ne!(named("größe"), named("größer"));
}
