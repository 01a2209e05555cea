use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::*;
use crate::action::FaultKind;
use crate::evidence::commitment::Opening;
use crate::limits::Unit;
use crate::money::Currency;

/// Salts as a test can repeat them: 1, 2, 3, … in every byte.
fn salts() -> impl FnMut() -> [u8; 32] {
    let mut next = 0;
    move || {
        next += 1;
        [next; 32]
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[ -~]{1,12}",
        "\\PC{1,8}",
        "[a-z]{257,300}"
    ]
}

fn value() -> impl Strategy<Value = AttributeValue> {
    let exact = -canonical::INTEGER_MAX..=canonical::INTEGER_MAX;
    prop_oneof![
        any::<bool>().prop_map(AttributeValue::Boolean),
        exact.prop_map(AttributeValue::Integer),
        text().prop_map(AttributeValue::String),
    ]
}

fn attribute() -> impl Strategy<Value = Attribute> {
    (value(), any::<bool>()).prop_map(|(value, sensitive)| Attribute { value, sensitive })
}

fn hints() -> impl Strategy<Value = Hints> {
    (
        option::of(text()),
        option::of(text()),
        option::of(0_u8..=100),
    )
        .prop_map(|(task, rationale, confidence)| Hints {
            task,
            rationale,
            confidence,
            ..Hints::default()
        })
}

fn money() -> impl Strategy<Value = Money> {
    (0..=canonical::INTEGER_MAX)
        .prop_map(|minor| Money::new(minor, Currency::parse("USD").unwrap()))
}

prop_compose! {
    fn wire()(
        path in text(),
        query in vec((text(), text()), 0..3),
        headers in btree_map("[a-z-]{1,8}", text(), 0..3),
        body in any::<[u8; 32]>(),
        idempotency_key in option::of(text()),
        port in 1_u16..,
    ) -> (String, Vec<(String, String)>, BTreeMap<String, String>, [u8; 32], Option<String>, u16) {
        (path, query, headers, body, idempotency_key, port)
    }
}

prop_compose! {
    pub(super) fn action()(
        (path, query, headers, body, idempotency_key, port) in wire(),
        effect in prop_oneof![Just(Effect::Read), Just(Effect::Write), Just(Effect::Irreversible)],
        amount in option::of(money()),
        resource in option::of(text()),
        environment in option::of(Just("production".to_owned())),
        attributes in btree_map("[a-z]{1,6}", attribute(), 0..4),
        faulty in any::<bool>(),
        meter in 0..=canonical::INTEGER_MAX,
        hints in hints(),
    ) -> Action {
        Action {
            tenant: "local/support/1".to_owned(),
            passport: "refund-agent".to_owned(),
            agent: "refunds".to_owned(),
            upstream: "stripe".to_owned(),
            capability: "stripe.refunds.create".parse().unwrap(),
            effect,
            method: "POST".to_owned(),
            host: "api.stripe.com".parse().unwrap(),
            port,
            path,
            path_template: "/v1/refunds".to_owned(),
            query,
            headers,
            amount,
            resource,
            meters: vec![MeterUse { name: "writes".to_owned(), unit: Unit::Count, amount: meter }],
            environment,
            attributes,
            body,
            body_bytes: 17,
            idempotency_key,
            fault: faulty.then(|| Fault { fact: "amount".to_owned(), problem: FaultKind::Missing }),
            hints,
        }
    }
}

proptest! {
    #[test]
    fn what_is_concealed_is_revealed_again(action in action()) {
        let (evidence, openings) = ActionEvidence::conceal(&action, &mut salts());
        prop_assert!(evidence.shows(&action));
        prop_assert_eq!(evidence.reveal(&openings), Ok(action));
    }

    #[test]
    fn evidence_survives_its_json(action in action()) {
        let (evidence, openings) = ActionEvidence::conceal(&action, &mut salts());
        let bytes = canonical::to_vec(&evidence).unwrap();
        prop_assert_eq!(canonical::from_slice::<ActionEvidence>(&bytes).unwrap(), evidence);
        let bytes = canonical::to_vec(&openings).unwrap();
        prop_assert_eq!(canonical::from_slice::<Openings>(&bytes).unwrap(), openings);
    }

    #[test]
    fn no_private_text_stands_in_the_clear_part(mut action in action(), secret in "[a-z]{16}") {
        action.path = format!("/v1/{secret}");
        action.query = vec![("q".to_owned(), secret.clone())];
        action.resource = Some(secret.clone());
        action.headers.insert("stripe-account".to_owned(), secret.clone());
        action.idempotency_key = Some(secret.clone());
        action.hints.rationale = Some(secret.clone());
        let sensitive = Attribute { value: AttributeValue::String(secret.clone()), sensitive: true };
        action.attributes.insert("customer".to_owned(), sensitive);
        let (evidence, _) = ActionEvidence::conceal(&action, &mut salts());
        prop_assert!(!canonical::to_string(&evidence).unwrap().contains(&secret));
    }

    #[test]
    fn any_changed_opening_is_refused(action in action(), pick in any::<prop::sample::Index>(), salt in any::<bool>()) {
        let (evidence, mut openings) = ActionEvidence::conceal(&action, &mut salts());
        let field = openings.0.keys().nth(pick.index(openings.0.len())).unwrap().clone();
        let opening = openings.0.get_mut(&field).unwrap();
        match salt {
            true => opening.salt[0] ^= 1,
            false => opening.text.push(' '),
        }
        prop_assert_eq!(evidence.reveal(&openings), Err(ActionEvidenceError::Commitment(field)));
    }

    #[test]
    fn any_changed_commitment_is_refused(action in action(), pick in any::<prop::sample::Index>()) {
        let (mut evidence, openings) = ActionEvidence::conceal(&action, &mut salts());
        let field = evidence.commitments.keys().nth(pick.index(evidence.commitments.len())).unwrap().clone();
        evidence.commitments.insert(field.clone(), Commitment::from_bytes([7; 32]));
        prop_assert_eq!(evidence.reveal(&openings), Err(ActionEvidenceError::Commitment(field)));
    }

    #[test]
    fn two_splits_of_one_action_share_no_commitment(action in action()) {
        let mut salts = salts();
        let (first, _) = ActionEvidence::conceal(&action, &mut salts);
        let (second, _) = ActionEvidence::conceal(&action, &mut salts);
        for (field, commitment) in &first.commitments {
            prop_assert_ne!(second.commitments.get(field), Some(commitment));
        }
    }
}

/// One write with everything concealed that can be, split.
fn sample() -> (Action, ActionEvidence, Openings) {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut action = action().new_tree(&mut runner).unwrap().current();
    action.effect = Effect::Write;
    action.resource = Some("ch_1".to_owned());
    action.hints.rationale = Some("asked for".to_owned());
    let sensitive = Attribute {
        value: AttributeValue::Integer(7),
        sensitive: true,
    };
    action.attributes = BTreeMap::from([("customer".to_owned(), sensitive)]);
    let (evidence, openings) = ActionEvidence::conceal(&action, &mut salts());
    (action, evidence, openings)
}

/// Replaces a text and commits to the new one, as a sidecar that lies would.
fn replace(evidence: &mut ActionEvidence, openings: &mut Openings, field: &str, text: &str) {
    let opening = Opening {
        salt: [9; 32],
        text: text.to_owned(),
    };
    evidence
        .commitments
        .insert(field.to_owned(), openings.insert(field, opening));
}

#[test]
fn a_split_that_no_action_has_is_refused() {
    type Change = fn(&mut ActionEvidence, &mut Openings);
    struct Case {
        name: &'static str,
        given: Change,
        want: ActionEvidenceError,
    }
    let extra = |field: &str| ActionEvidenceError::Extra(field.to_owned());
    let cases = [
        Case {
            name: "an opening is left out",
            given: |_, openings| drop(openings.0.remove(RESOURCE_FIELD)),
            want: ActionEvidenceError::Missing(RESOURCE_FIELD.to_owned()),
        },
        Case {
            name: "an opening and its commitment are left out",
            given: |evidence, openings| {
                evidence.commitments.remove(RESOURCE_FIELD);
                openings.0.remove(RESOURCE_FIELD);
            },
            want: ActionEvidenceError::Digest,
        },
        Case {
            name: "the request itself is left out",
            given: |evidence, openings| {
                evidence.commitments.remove(REQUEST_FIELD);
                openings.0.remove(REQUEST_FIELD);
            },
            want: ActionEvidenceError::Missing(REQUEST_FIELD.to_owned()),
        },
        Case {
            name: "a field nobody knows is committed to",
            given: |evidence, openings| replace(evidence, openings, "more", "x"),
            want: extra("more"),
        },
        Case {
            name: "an opening has no commitment",
            given: |evidence, _| {
                evidence.commitments.remove(HINTS_FIELD);
            },
            want: extra(HINTS_FIELD),
        },
        Case {
            name: "another resource is committed to",
            given: |evidence, openings| replace(evidence, openings, RESOURCE_FIELD, "ch_2"),
            want: ActionEvidenceError::Digest,
        },
        Case {
            name: "the part in clear names another amount",
            given: |evidence, _| {
                evidence.amount = Some(Money::new(1, Currency::parse("EUR").unwrap()))
            },
            want: ActionEvidenceError::Digest,
        },
        Case {
            name: "hints without content",
            given: |evidence, openings| {
                replace(evidence, openings, HINTS_FIELD, &write(&Hints::default()))
            },
            want: ActionEvidenceError::Form,
        },
        Case {
            name: "a sensitive attribute stands in clear too",
            given: |evidence, _| {
                drop(
                    evidence
                        .attributes
                        .insert("customer".to_owned(), AttributeValue::Integer(7)),
                )
            },
            want: ActionEvidenceError::Form,
        },
    ];
    for Case { name, given, want } in cases {
        let (_, mut evidence, mut openings) = sample();
        given(&mut evidence, &mut openings);
        assert_eq!(evidence.reveal(&openings), Err(want), "{name}");
    }
}

#[test]
fn a_request_text_in_another_spelling_is_refused() {
    let (_, mut evidence, mut openings) = sample();
    let text = format!(" {}", openings.get(REQUEST_FIELD).unwrap().text);
    replace(&mut evidence, &mut openings, REQUEST_FIELD, &text);
    let refused = evidence.reveal(&openings);
    assert!(
        matches!(
            refused,
            Err(ActionEvidenceError::Text {
                field: REQUEST_FIELD,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn a_plain_read_costs_one_commitment() {
    let (mut action, ..) = sample();
    action.effect = Effect::Read;
    action.resource = None;
    action.hints = Hints::default();
    let (evidence, _) = ActionEvidence::conceal(&action, &mut salts());
    assert_eq!(
        evidence.commitments.keys().collect::<Vec<_>>(),
        [REQUEST_FIELD]
    );
}
