//! Step 7: limits.

use super::*;
use crate::canonical::INTEGER_MAX;

fn limited(limits: Value) -> World {
    World::new(vec![allow_all()]).passport(json!({ "limits": limits }))
}

#[test]
fn a_limit_denies_what_goes_over_it_and_says_what_is_left() {
    let world = |used| limited(json!([limit("refunds", "USD", 500_000, "Deny")])).used(&[used]);
    assert_eq!(world(488_000).word(), "permit", "to the cent");
    let Verdict::Deny(DenyReason::LimitExceeded(left)) = world(488_001).decide().verdict().clone()
    else {
        panic!("not denied");
    };
    assert_eq!(
        (left.max, left.used, left.asked, left.left()),
        (500_000, 488_001, 12_000, 11_999)
    );
}

#[test]
fn a_permit_reserves_on_every_limit_it_counts_on() {
    let limits = json!([
        limit("refunds", "USD", 500_000, "Deny"),
        limit("items", "Count", 5, "Deny"),
        limit("writes", "Count", 5, "Deny"),
        limit("refunds", "USD", 600_000, "RequireApproval"),
    ]);
    let decision = limited(limits).used(&[0, 0, 0, 0]).decide();
    let held: Vec<_> = decision
        .reservations()
        .iter()
        .map(|it| (it.limit, it.amount))
        .collect();
    assert_eq!(held, [(0, 12_000), (2, 1), (3, 12_000)]);
}

#[test]
fn denied_and_escalated_actions_consume_nothing() {
    let limits = json!({"limits": [limit("refunds", "USD", 500_000, "Deny"), limit("writes", "Count", 0, "Deny")]});
    let one_over = World::new(vec![allow_all()])
        .passport(limits)
        .used(&[0, 0])
        .decide();
    assert_eq!(one_over.verdict().word(), "deny");
    assert!(one_over.reservations().is_empty(), "all or nothing");
    let limits = json!({"limits": [limit("refunds", "USD", 500_000, "Deny")]});
    for rules in [vec![ask(json!({}))], vec![deny(json!({})), allow_all()]] {
        let decision = World::new(rules)
            .passport(limits.clone())
            .used(&[0])
            .decide();
        assert!(
            decision.reservations().is_empty(),
            "{:?}",
            decision.verdict()
        );
    }
}

#[test]
fn a_limit_may_ask_people_instead() {
    let over = || limited(json!([limit("refunds", "USD", 10_000, "RequireApproval")])).used(&[0]);
    let Verdict::Escalate(needed) = over().decide().verdict().clone() else {
        panic!("not escalated")
    };
    assert_eq!(needed.because, EscalateReason::LimitExceeded);
    assert_eq!(needed.over_limits.len(), 1);
    let granted = over().granted().decide();
    assert_eq!(granted.verdict().word(), "permit", "people lift it");
    assert_eq!(
        granted.reservations().len(),
        1,
        "and what they lift is counted all the same"
    );
    assert_eq!(
        over().passport(json!({"default_approval": null})).word(),
        "no_approver"
    );
    let asking = World::new(vec![ask(json!({"approval": seat("finance")}))])
        .passport(json!({"limits": [limit("refunds", "USD", 10_000, "RequireApproval")], "default_approval": null}));
    assert_eq!(
        asking.used(&[0]).word(),
        "no_approver",
        "whom a rule asks does not lift a limit of the passport"
    );
}

#[test]
fn a_grant_lifts_a_limit_only_as_far_as_it_was_shown() {
    struct Case {
        name: &'static str,
        /// Used when people were asked, the limit then, used now.
        given: (i64, Value, i64),
        want: &'static str,
    }
    let asks = |max| limit("refunds", "USD", max, "RequireApproval");
    let hourly = |max| {
        let mut limit = asks(max);
        merge(
            &mut limit,
            json!({"window": {"Sliding": {"seconds": 3600}}}),
        );
        limit
    };
    // The action adds 12,000, of a limit of 20,000 now.
    let cases = [
        Case {
            name: "nothing was over, and nothing is",
            given: (0, asks(20_000), 8_000),
            want: "permit",
        },
        Case {
            name: "nothing was over, and now it is by a cent",
            given: (0, asks(20_000), 8_001),
            want: "escalate",
        },
        Case {
            name: "as far over as was shown",
            given: (9_000, asks(20_000), 9_000),
            want: "permit",
        },
        Case {
            name: "less far over than was shown",
            given: (9_000, asks(20_000), 8_500),
            want: "permit",
        },
        Case {
            name: "further over than was shown",
            given: (9_000, asks(20_000), 9_001),
            want: "escalate",
        },
        Case {
            name: "over a limit of another window",
            given: (9_000, hourly(20_000), 9_000),
            want: "escalate",
        },
        Case {
            name: "over another limit of the same meter",
            given: (9_000, asks(20_001), 9_000),
            want: "escalate",
        },
    ];
    for Case { name, given, want } in cases {
        let (used_then, limit_then, used_now) = given;
        let world = |limit: Value| {
            World::new(vec![ask(json!({"approval": seat("leads")}))])
                .passport(json!({"limits": [limit]}))
        };
        let then = world(limit_then).used(&[used_then]).granted();
        let mut now = world(asks(20_000)).used(&[used_now]);
        now.facts.as_mut().unwrap().grants = then.facts.unwrap().grants;
        assert_eq!(now.word(), want, "{name}");
    }
}

#[test]
fn a_grant_that_falls_short_does_not_hide_one_that_does_not() {
    let world = || limited(json!([limit("refunds", "USD", 10_000, "RequireApproval")]));
    let grant = |used: i64, id: &str| {
        let granted = world().used(&[used]).granted();
        Grant {
            id: id.to_owned(),
            ..granted.facts.unwrap().grants[0].clone()
        }
    };
    let mut now = world().used(&[5_000]);
    now.facts.as_mut().unwrap().grants = vec![grant(0, "apr_old"), grant(5_000, "apr_new")];
    assert_eq!(now.decide().approval_used(), Some("apr_new"));
}

#[test]
fn the_passports_approvers_are_asked_about_its_limits_beside_those_of_the_rules() {
    let ask_finance = || World::new(vec![ask(json!({"approval": seat("finance")}))]);
    let over = json!({"limits": [limit("refunds", "USD", 10_000, "RequireApproval")]});
    let groups = |world: World| match world.decide().verdict().clone() {
        Verdict::Escalate(needed) => needed
            .seats
            .iter()
            .map(|seat| seat.groups.join(","))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        groups(ask_finance().passport(over.clone()).used(&[0])),
        ["finance", "leads"]
    );
    assert_eq!(groups(ask_finance()), ["finance"]);
    let late = ask_finance().granted().passport(over);
    let grant = late.facts.clone().unwrap().grants;
    let mut late = late.used(&[0]);
    late.facts.as_mut().unwrap().grants = grant;
    assert_eq!(
        late.word(),
        "escalate",
        "who agreed to the action did not agree to go over"
    );
}

#[test]
fn no_approval_lifts_a_limit_that_denies() {
    let granted = World::new(vec![ask(json!({}))]).granted();
    let grant = granted.facts.clone().unwrap().grants;
    let mut world = granted
        .passport(json!({"limits": [limit("refunds", "USD", 10_000, "Deny")]}))
        .used(&[0]);
    world.facts.as_mut().unwrap().grants = grant;
    assert_eq!(world.word(), "limit_exceeded");
}

#[test]
fn a_limit_that_denies_wins_over_one_that_asks() {
    for order in [[0, 1], [1, 0]] {
        let both = [
            limit("refunds", "USD", 10_000, "RequireApproval"),
            limit("writes", "Count", 0, "Deny"),
        ];
        let limits: Vec<_> = order
            .iter()
            .map(|index: &usize| both[*index].clone())
            .collect();
        assert_eq!(
            limited(json!(limits)).used(&[0, 0]).word(),
            "limit_exceeded"
        );
    }
}

#[test]
fn a_limited_meter_fed_in_another_unit_is_denied_and_never_converted() {
    let dollars = || limited(json!([limit("refunds", "USD", 500_000, "Deny")])).used(&[0]);
    assert_eq!(
        dollars().on(refund_in(1, Currency::EUR)).word(),
        "declared_fact"
    );
    let both = json!([
        limit("refunds", "USD", 500_000, "Deny"),
        limit("refunds", "EUR", 100, "Deny")
    ]);
    let both = |used: &[i64]| limited(both.clone()).used(used);
    assert_eq!(
        both(&[500_000, 0]).on(refund_in(100, Currency::EUR)).word(),
        "permit"
    );
    assert_eq!(
        both(&[0, 1]).on(refund_in(100, Currency::EUR)).word(),
        "limit_exceeded"
    );
}

#[test]
fn what_cannot_be_counted_is_denied_even_where_people_could_be_asked() {
    for on_exceed in ["Deny", "RequireApproval"] {
        let world = || limited(json!([limit("refunds", "USD", INTEGER_MAX, on_exceed)]));
        assert_eq!(
            world().used(&[]).word(),
            "limit_exceeded",
            "facts without this limit"
        );
        assert_eq!(
            world().used(&[INTEGER_MAX]).word(),
            "limit_exceeded",
            "a total beyond what evidence holds"
        );
        assert_eq!(
            world().used(&[i64::MAX]).word(),
            "limit_exceeded",
            "a total beyond 64 bits"
        );
        assert_eq!(world().used(&[INTEGER_MAX - 12_000]).word(), "permit");
    }
}

#[test]
fn what_is_left_has_a_canonical_form() {
    for used in [&[][..], &[i64::MAX], &[i64::MIN]] {
        let world = limited(json!([limit("refunds", "USD", 1, "Deny")])).used(used);
        let Verdict::Deny(DenyReason::LimitExceeded(left)) = world.decide().verdict().clone()
        else {
            panic!("not denied");
        };
        let bytes = crate::canonical::to_vec(&left).unwrap();
        assert_eq!(
            crate::canonical::from_slice::<LimitLeft>(&bytes).unwrap(),
            left
        );
    }
}
