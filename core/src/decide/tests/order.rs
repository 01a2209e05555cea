//! Steps 1 to 6, 8 and 9: what comes first, who is asked, and what a grant lifts.

use super::*;

#[test]
fn nothing_runs_without_a_rule_that_allows_it() {
    let nothing = World::new(vec![]);
    assert_eq!(nothing.word(), "no_rule", "no rule at all");
    let other = vec![allow(json!({"capabilities": ["pay.read"]}))];
    assert_eq!(
        World::new(other).word(),
        "no_rule",
        "rules about something else"
    );
    let untargeted = World::new(vec![]).policy(policy(
        "other",
        json!({"passports": ["else"]}),
        vec![allow_all()],
    ));
    assert_eq!(
        untargeted.word(),
        "no_rule",
        "a policy for another passport"
    );
    let unwritten = World {
        policies: vec![],
        ..World::new(vec![])
    };
    assert_eq!(unwritten.word(), "no_rule", "no policy");
}

#[test]
fn the_first_reason_in_order_is_given() {
    let over = json!({"limits": [limit("refunds", "USD", 1, "Deny")]});
    let faulty = || Action {
        fault: Some(fault("amount", FaultKind::NotExact)),
        ..refund(12_000)
    };
    let stranger = || Action {
        capability: "other.thing".parse().unwrap(),
        ..faulty()
    };
    let revoked = || {
        Some(Facts {
            revoked: true,
            ambiguous: Some("s/1".to_owned()),
            ..Facts::default()
        })
    };
    let ambiguous = || {
        Some(Facts {
            ambiguous: Some("s/1".to_owned()),
            ..Facts::default()
        })
    };
    let all = || {
        World::new(vec![deny(json!({})), ask(json!({})), allow(json!({}))]).passport(over.clone())
    };
    let cases = [
        (
            "a stranger's action",
            all().on(Action {
                agent: "x".to_owned(),
                ..stranger()
            }),
            "passport_invalid",
        ),
        (
            "another tenant's",
            all().on(Action {
                tenant: "x".to_owned(),
                ..stranger()
            }),
            "passport_invalid",
        ),
        (
            "suspended",
            all().passport(json!({"suspended": true, "not_after": instant(NOW)})),
            "passport_suspended",
        ),
        (
            "expired",
            all()
                .passport(json!({"not_after": instant(NOW)}))
                .facts(revoked()),
            "passport_expired",
        ),
        (
            "revoked",
            all().on(stranger()).facts(revoked()),
            "passport_revoked",
        ),
        (
            "capability out of scope",
            all().on(stranger()).facts(ambiguous()),
            "out_of_scope",
        ),
        (
            "resource out of scope",
            all().passport(scope("re_*")).on(faulty()),
            "resource_out_of_scope",
        ),
        (
            "a write called a read",
            all().on(Action {
                effect: Effect::Read,
                ..faulty()
            }),
            "undeclared",
        ),
        (
            "to another host",
            all().on(Action {
                host: "x.example".parse().unwrap(),
                ..faulty()
            }),
            "undeclared",
        ),
        (
            "to another port",
            all().on(Action {
                port: 80,
                ..faulty()
            }),
            "undeclared",
        ),
        (
            "by another method",
            all().on(Action {
                method: "PUT".to_owned(),
                ..faulty()
            }),
            "undeclared",
        ),
        (
            "a fact is wrong",
            all().on(faulty()).facts(ambiguous()),
            "declared_fact",
        ),
        ("a repeat", all().facts(ambiguous()), "ambiguous_repeat"),
        ("a rule denies", all().used(&[0]), "rule_denies"),
        (
            "a limit, before people are asked",
            World::new(vec![ask(json!({}))])
                .passport(over.clone())
                .used(&[0]),
            "limit_exceeded",
        ),
    ];
    for (name, world, want) in cases {
        assert_eq!(world.word(), want, "{name}");
    }
}

#[test]
fn a_passport_ends_at_its_instant() {
    let until =
        |end: &str| World::new(vec![allow_all()]).passport(json!({"not_after": instant(end)}));
    assert_eq!(until("2026-11-20T10:00:00.000001Z").word(), "permit");
    assert_eq!(until("2026-11-20T10:00:00Z").word(), "passport_expired");
}

#[test]
fn declared_facts_that_are_missing_or_foreign_deny() {
    let less = |strip: fn(&mut Action)| {
        let mut action = refund(12_000);
        strip(&mut action);
        action
    };
    let items = |amount| {
        let mut action = note();
        action.meters[1].amount = amount;
        action
    };
    let cases = [
        (
            "no amount",
            less(|it| it.amount = None),
            "amount",
            FaultKind::Missing,
        ),
        (
            "zero",
            less(|it| it.amount = Some(Money::new(0, Currency::USD))),
            "amount",
            FaultKind::NotPositive,
        ),
        ("negative", refund(-5), "amount", FaultKind::NotPositive),
        (
            "no resource",
            less(|it| it.resource = None),
            "resource",
            FaultKind::Missing,
        ),
        (
            "no write counted",
            less(|it| it.meters.retain(|used| used.name != "writes")),
            "meter writes",
            FaultKind::Missing,
        ),
        (
            "no refund counted",
            less(|it| it.meters.retain(|used| used.name != "refunds")),
            "meter refunds",
            FaultKind::Missing,
        ),
        (
            "less counted than paid",
            less(|it| it.meters[1].amount = 1),
            "meter refunds",
            FaultKind::WrongUnit,
        ),
        (
            "a negative count",
            items(-1),
            "meter items",
            FaultKind::NotPositive,
        ),
        (
            "no required attribute",
            Action {
                attributes: BTreeMap::new(),
                ..note()
            },
            "attribute items",
            FaultKind::Missing,
        ),
        (
            "an amount nobody declared",
            paying(note(), Money::new(1, Currency::USD)),
            "currency",
            FaultKind::WrongUnit,
        ),
        (
            "a currency nobody declared",
            paying(
                blank("pay.quote", "POST", Effect::Read),
                Money::new(1, Currency::EUR),
            ),
            "currency",
            FaultKind::WrongUnit,
        ),
    ];
    for (name, action, fact, problem) in cases {
        let world = World::new(vec![allow_all()]).on(action);
        assert_eq!(
            world.decide().verdict(),
            &Verdict::Deny(DenyReason::DeclaredFact(fault(fact, problem))),
            "{name}"
        );
    }
}

#[test]
fn deny_wins_over_approval_and_approval_over_allow() {
    let rules = |names: &[&str]| {
        let all = [
            ("deny", deny(json!({}))),
            ("ask", ask(json!({}))),
            ("allow", allow_all()),
        ];
        let mut some: Vec<_> = names
            .iter()
            .map(|name| all.iter().find(|it| it.0 == *name).unwrap().1.clone())
            .collect();
        let forward = World::new(some.clone()).word();
        some.reverse();
        assert_eq!(
            World::new(some).word(),
            forward,
            "the order of rules does not matter"
        );
        forward
    };
    assert_eq!(rules(&["deny", "ask", "allow"]), "rule_denies");
    assert_eq!(rules(&["ask", "allow"]), "escalate");
    assert_eq!(rules(&["allow"]), "permit");
    assert_eq!(rules(&["ask"]), "escalate");
}

#[test]
fn of_several_denies_the_first_by_name_is_given_whatever_their_order() {
    let named = |names: &[&str]| {
        names
            .iter()
            .map(|name| rule(name, RuleDecision::Deny, json!({})))
            .collect()
    };
    for names in [["b", "a"], ["a", "b"]] {
        let Verdict::Deny(DenyReason::RuleDenies(rule)) =
            World::new(named(&names)).decide().verdict().clone()
        else {
            panic!("not denied");
        };
        assert_eq!(rule.to_string(), "main/a");
    }
}

#[test]
fn a_cluster_policy_tightens_and_never_loosens() {
    let guard = |rules| policy("guard", json!({"scope": "Cluster"}), rules);
    assert_eq!(
        World::new(vec![]).policy(guard(vec![allow_all()])).word(),
        "no_rule",
        "its Allow says nothing"
    );
    assert_eq!(
        World::new(vec![allow_all()])
            .policy(guard(vec![deny(json!({}))]))
            .word(),
        "rule_denies"
    );
    assert_eq!(
        World::new(vec![allow_all()])
            .policy(guard(vec![ask(json!({}))]))
            .word(),
        "escalate"
    );
}

#[test]
fn what_cannot_be_undone_needs_more_than_a_plain_allow() {
    assert_eq!(World::new(vec![allow(json!({}))]).word(), "escalate");
    assert_eq!(World::new(vec![allow_all()]).word(), "permit");
    let nobody = json!({"default_approval": null});
    assert_eq!(
        World::new(vec![allow(json!({}))])
            .passport(nobody.clone())
            .word(),
        "no_approver"
    );
    assert_eq!(
        World::new(vec![allow(json!({}))]).on(note()).word(),
        "permit",
        "a write that can be undone"
    );
    assert_eq!(
        World::new(vec![ask(json!({}))]).passport(nobody).word(),
        "no_approver",
        "a rule that names nobody"
    );
    let loose =
        World::new(vec![allow(json!({}))]).policy(policy("b", json!({}), vec![allow_all()]));
    assert_eq!(loose.word(), "permit", "one of two Allows covers it");
}

#[test]
fn all_seats_of_all_rules_are_asked_once_each() {
    let asks = |name: &str, approval: Value| {
        rule(
            name,
            RuleDecision::RequireApproval,
            json!({"approval": approval}),
        )
    };
    let world = World::new(vec![
        asks("a", seat("finance")),
        asks("b", seat("security")),
        asks("c", seat("finance")),
        asks("d", Value::Null),
    ]);
    let Verdict::Escalate(needed) = world.decide().verdict().clone() else {
        panic!("not escalated")
    };
    let groups: Vec<_> = needed
        .seats
        .iter()
        .map(|seat| seat.groups.join(","))
        .collect();
    assert_eq!(groups, ["finance", "leads", "security"]);
    assert_eq!(needed.because, EscalateReason::RequiredByRule);
}

#[test]
fn a_grant_lifts_the_very_question_it_answered() {
    let asked = || World::new(vec![ask(json!({"approval": seat("finance")})), allow_all()]);
    let granted = asked().granted();
    assert_eq!(granted.word(), "permit");
    assert_eq!(granted.decide().approval_used(), Some("apr_1"));

    let mut other_rule = asked().granted();
    other_rule.policies = vec![policy(
        "main",
        json!({}),
        vec![
            ask(json!({"approval": seat("finance"),
        "amounts": [usd("gt", 1)]})),
            allow_all(),
        ],
    )];
    assert_eq!(other_rule.word(), "escalate", "the rule's text changed");

    let more_seats = asked().granted().policy(policy(
        "new",
        json!({}),
        vec![ask(json!({"approval": seat("legal")}))],
    ));
    assert_eq!(more_seats.word(), "escalate", "another rule asks by now");

    let mut other_seats = asked().granted();
    other_seats.facts.as_mut().unwrap().grants[0].seats.clear();
    assert_eq!(
        other_seats.word(),
        "escalate",
        "the seats asked for now are not filled"
    );

    let mut other_question = asked().granted();
    other_question.facts.as_mut().unwrap().grants[0].asked_by = [0; 32];
    assert_eq!(
        other_question.word(),
        "escalate",
        "it answered another question"
    );

    let denied = asked()
        .granted()
        .policy(policy("new", json!({}), vec![deny(json!({}))]));
    assert_eq!(
        denied.word(),
        "rule_denies",
        "re-decided now, so Deny still wins"
    );

    let revoked = World {
        facts: asked().granted().facts.map(|facts| Facts {
            revoked: true,
            ..facts
        }),
        ..asked()
    };
    assert_eq!(revoked.word(), "passport_revoked");
}

#[test]
fn a_grant_given_under_another_default_is_not_enough() {
    let granted = World::new(vec![allow(json!({}))]).granted();
    assert_eq!(granted.word(), "permit");
    assert_eq!(
        granted
            .passport(json!({"default_approval": seat("board")}))
            .word(),
        "escalate"
    );
}

#[test]
fn a_permit_that_needs_no_approval_consumes_none() {
    let mut world = World::new(vec![ask(json!({})), allow_all()]).granted();
    world.policies = World::new(vec![allow_all()]).policies;
    assert_eq!(world.word(), "permit");
    assert_eq!(world.decide().approval_used(), None);
}

#[test]
fn what_asked_changes_with_the_text_of_rules_and_action_only() {
    let refund: Capability = "pay.refund".parse().unwrap();
    let of = |rules: Vec<Value>, capability: &Capability| {
        let world = World::new(rules);
        asked_by(&world.bundle(), world.decide().rules(), capability)
    };
    let base = of(vec![ask(json!({}))], &refund);
    assert_eq!(
        of(
            vec![
                ask(json!({})),
                rule(
                    "else",
                    RuleDecision::Deny,
                    json!({"capabilities": ["pay.read"]})
                )
            ],
            &refund
        ),
        base
    );
    assert_ne!(of(vec![ask(json!({"when": "true"}))], &refund), base);
    assert_ne!(of(vec![ask(json!({})), allow_all()], &refund), base);
    assert_ne!(of(vec![ask(json!({}))], &"pay.note".parse().unwrap()), base);
    let twins = |more: Value| {
        let world = World::new(vec![ask(json!({}))]).policy(policy(
            "main",
            json!({"scope": "Cluster"}),
            vec![ask(more)],
        ));
        asked_by(&world.bundle(), world.decide().rules(), &refund)
    };
    assert_ne!(
        twins(json!({})),
        twins(json!({"when": "true"})),
        "a cluster policy of the same name counts too"
    );
}

#[test]
fn obligations_of_all_matching_rules_hold_the_strictest_each() {
    let bytes = |name: &str, decision, bytes: u64| {
        rule(
            name,
            decision,
            json!({"obligations": {"max_response_bytes": bytes}, "allow_irreversible": true}),
        )
    };
    let world = World::new(vec![
        bytes("a", RuleDecision::Allow, 500),
        bytes("b", RuleDecision::Allow, 100),
        bytes("c", RuleDecision::Allow, 900),
    ]);
    assert_eq!(
        world.decide().verdict(),
        &Verdict::Permit(Obligations {
            max_response_bytes: Some(100)
        })
    );
}

#[test]
fn shadow_policies_are_told_apart_and_change_nothing() {
    let shadow = |name: &str, rules| policy(name, json!({"mode": "Shadow"}), rules);
    let broken = deny(
        json!({"schedule": {"days": [], "from_minute": 0, "to_minute": 1, "time_zone": "Nowhere"}}),
    );
    let world = World::new(vec![allow_all()])
        .policy(shadow("deny", vec![allow_all(), deny(json!({}))]))
        .policy(shadow("escalate", vec![ask(json!({}))]))
        .policy(shadow("irreversible", vec![allow(json!({}))]))
        .policy(shadow("permit", vec![allow_all()]))
        .policy(shadow("silent", vec![]))
        .policy(shadow("broken", vec![broken]));
    let decision = world.decide();
    assert_eq!(decision.verdict().word(), "permit");
    assert_eq!(decision.rules().len(), 1);
    let said: Vec<_> = decision
        .shadow()
        .iter()
        .map(|it| (it.policy.as_str(), it.would.as_str()))
        .collect();
    let want = [
        ("broken", "error"),
        ("deny", "deny"),
        ("escalate", "escalate"),
        ("irreversible", "escalate"),
        ("permit", "permit"),
        ("silent", "no_rule"),
    ];
    assert_eq!(said, want);
    let loose = World::new(vec![]).policy(shadow("permit", vec![allow_all()]));
    assert_eq!(loose.word(), "no_rule", "a shadow never loosens");
    let facts = World::new(vec![allow(json!({}))]).policy(shadow(
        "facts",
        vec![deny(json!({"when": "facts.precedents > 1"}))],
    ));
    let local = facts.on(read()).facts(None);
    assert_eq!(
        local.word(),
        "permit",
        "a shadow does not make a read ask the ledger"
    );
    assert_eq!(local.decide().shadow()[0].would, "needs_facts");
}

#[test]
fn without_facts_only_what_needs_none_is_decided() {
    let rows = json!({"limits": [limit("rows", "Count", 100, "Deny")]});
    let asks_facts = json!({"when": "facts.precedents > 1"});
    let local = |rules, action| World::new(rules).on(action).facts(None);
    let cases = [
        (
            "a read that is allowed",
            local(vec![allow(json!({}))], read()),
            "permit",
        ),
        (
            "a read that feeds an unlimited meter",
            local(vec![allow(json!({}))], export()),
            "permit",
        ),
        (
            "a read that feeds a limit",
            local(vec![allow(json!({}))], export()).passport(rows.clone()),
            "needs_facts",
        ),
        (
            "a read beside a limit",
            local(vec![allow(json!({}))], read()).passport(rows),
            "permit",
        ),
        (
            "a read people are asked about",
            local(vec![ask(json!({}))], read()),
            "needs_facts",
        ),
        (
            "a read whose rule reads facts",
            local(vec![allow(json!({})), deny(asks_facts.clone())], read()),
            "needs_facts",
        ),
        (
            "a read whose only Allow reads facts",
            local(vec![allow(asks_facts.clone())], read()),
            "needs_facts",
        ),
        ("a read no rule allows", local(vec![], read()), "no_rule"),
        (
            "a write that is allowed",
            local(vec![allow(json!({}))], note()),
            "needs_facts",
        ),
        (
            "a write that is denied",
            local(vec![allow(json!({})), deny(json!({}))], note()),
            "rule_denies",
        ),
        (
            "a write denied beside a rule that reads facts",
            local(vec![ask(asks_facts), deny(json!({}))], note()),
            "rule_denies",
        ),
        ("a write no rule allows", local(vec![], note()), "no_rule"),
        (
            "an irreversible write nobody may approve",
            local(vec![allow(json!({}))], refund(1)).passport(json!({"default_approval": null})),
            "no_approver",
        ),
        (
            "a write people are asked about",
            local(vec![ask(json!({}))], note()),
            "needs_facts",
        ),
    ];
    for (name, world, want) in cases {
        assert_eq!(world.word(), want, "{name}");
        assert!(world.decide().reservations().is_empty(), "{name}");
    }
}

#[test]
fn every_reason_has_a_listed_code_and_says_something() {
    let rule = RuleRef {
        policy: "p".to_owned(),
        rule: "r".to_owned(),
    };
    let left = LimitLeft {
        meter: "refunds".to_owned(),
        unit: Unit::Money(Currency::USD),
        max: 500_000,
        used: 480_000,
        asked: 30_000,
        frees_at: Some(now()),
        window: None,
    };
    let reasons = [
        DenyReason::PassportInvalid,
        DenyReason::NoPassport,
        DenyReason::PassportSuspended,
        DenyReason::PassportExpired,
        DenyReason::PassportRevoked,
        DenyReason::OutOfScope,
        DenyReason::ResourceOutOfScope,
        DenyReason::Undeclared,
        DenyReason::DeclaredFact(fault("amount", FaultKind::NotExact)),
        DenyReason::AmbiguousRepeat {
            record: "s/1".to_owned(),
        },
        DenyReason::RuleError {
            rule: rule.clone(),
            what: "division by zero".to_owned(),
        },
        DenyReason::RuleDenies(rule),
        DenyReason::NoRule,
        DenyReason::NoApprover,
        DenyReason::LimitExceeded(left.clone()),
        DenyReason::TooManyPending,
        DenyReason::StalePolicy,
        DenyReason::ClockSkew,
    ];
    assert_eq!(
        reasons.iter().map(DenyReason::code).collect::<Vec<_>>(),
        DenyReason::CODES
    );
    for reason in &reasons {
        let text = reason.to_string();
        assert!(text.ends_with('.') && text.len() < 1024, "{text}");
    }
    assert_eq!(
        left.to_string(),
        "The limit on `refunds` is 5000.00 USD; 200.00 USD is left and 300.00 USD was asked for. More frees at \
         2026-11-20T10:00:00.000000Z."
    );
    let never = LimitLeft {
        asked: 500_001,
        ..left
    };
    assert!(
        never
            .to_string()
            .ends_with("It can never fit: ask for less, or for a higher limit."),
        "{never}"
    );
}

fn fault(fact: &str, problem: FaultKind) -> Fault {
    Fault {
        fact: fact.to_owned(),
        problem,
    }
}

fn scope(resources: &str) -> Value {
    json!({"scope": [{"capability": "pay.**", "resources": [resources]}]})
}

fn instant(text: &str) -> String {
    crate::canonical::instant(text.parse().unwrap())
}
