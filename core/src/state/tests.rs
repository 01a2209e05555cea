mod erasures;
mod forged;
mod gaps;
mod pods;
mod random;
mod snapshot;
mod unenforced;
mod votes;

use std::time::Duration;

use super::testlog::{PASSPORT, TestLog, bundle, opened, refund, sealed, vote};
use super::*;
use crate::decide::LimitLeft;
use crate::evidence::leaf::{EventBody, Ruling, RulingApproval, RulingVerdict};
use crate::evidence::record::{Body, OutcomeResult, RESTARTED};

/// The verdict and its reason.
fn said(ruling: &Ruling) -> (RulingVerdict, &str) {
    (ruling.verdict, ruling.reason.as_deref().unwrap_or_default())
}

fn approval_of(ruling: &Ruling) -> String {
    match ruling.approval.clone().unwrap() {
        RulingApproval::Asked { id, .. }
        | RulingApproval::Pending { id }
        | RulingApproval::Used { id } => id,
    }
}

/// Used on each limit of the passport.
fn used(log: &TestLog) -> Vec<i64> {
    let active = log.state.active().unwrap();
    let limits = &active.passport(PASSPORT).unwrap().limits;
    limits
        .iter()
        .map(|limit| log.state.used(PASSPORT, limit, log.now).0)
        .collect()
}

/// Asks, seals and has somebody grant: a refund of $200.00 that may run once.
fn granted() -> (TestLog, testlog::Sidecar, String) {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let asked = log.intent(&mut sidecar, &refund(20_000, "ch_1"));
    let id = approval_of(&asked);
    log.event(sealed(&id, &sidecar, 0)).unwrap();
    log.event(vote(&id, "ann", true)).unwrap();
    (log, sidecar, id)
}

#[test]
fn amounts_are_allowed_asked_about_or_denied() {
    struct Case {
        name: &'static str,
        given: i64,
        want: (RulingVerdict, &'static str),
    }
    let cases = [
        Case {
            name: "small",
            given: 10_000,
            want: (RulingVerdict::Permit, ""),
        },
        Case {
            name: "large",
            given: 10_001,
            want: (RulingVerdict::Escalate, "approval_required"),
        },
        Case {
            name: "over the limit",
            given: 100_001,
            want: (RulingVerdict::Deny, "limit_exceeded"),
        },
        Case {
            name: "huge",
            given: 500_001,
            want: (RulingVerdict::Deny, "rule_denies"),
        },
    ];
    for Case { name, given, want } in cases {
        let mut log = TestLog::new();
        let mut sidecar = log.open(1);
        let ruling = log.intent(&mut sidecar, &refund(given, "ch_1"));
        assert_eq!(said(&ruling), want, "{name}");
        let held = if want.0 == RulingVerdict::Permit {
            vec![given, given, 1]
        } else {
            vec![0, 0, 0]
        };
        assert_eq!(
            used(&log),
            held,
            "{name}: only a permit consumes, and a shared total once"
        );
    }
}

#[test]
fn outcomes_settle_what_was_reserved() {
    struct Case {
        name: &'static str,
        given: OutcomeResult,
        want: (i64, usize),
    }
    let cases = [
        Case {
            name: "done stays used",
            given: OutcomeResult::Ok,
            want: (5_000, 0),
        },
        Case {
            name: "refused is released",
            given: OutcomeResult::Failed,
            want: (0, 0),
        },
        Case {
            name: "not sent is released",
            given: OutcomeResult::NotSent,
            want: (0, 0),
        },
        Case {
            name: "unknown stays used and open",
            given: OutcomeResult::Ambiguous,
            want: (5_000, 1),
        },
    ];
    for Case { name, given, want } in cases {
        let mut log = TestLog::new();
        let mut sidecar = log.open(1);
        log.intent(&mut sidecar, &refund(5_000, "ch_1"));
        log.outcome(&mut sidecar, 0, given);
        assert_eq!(
            (used(&log)[0], log.state.open_intents().count()),
            want,
            "{name}"
        );
        let again = log.outcome(&mut sidecar, 0, OutcomeResult::NotSent);
        assert_eq!(
            again.settles, None,
            "{name}: a second outcome settles nothing"
        );
        assert_eq!(used(&log)[0], want.0, "{name}");
    }
}

#[test]
fn an_unknown_outcome_refuses_a_blind_repeat_until_somebody_finds_out() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let action = refund(5_000, "ch_1");
    log.intent(&mut sidecar, &action);
    log.outcome(&mut sidecar, 0, OutcomeResult::Ambiguous);
    assert_eq!(
        said(&log.intent(&mut sidecar, &action)),
        (RulingVerdict::Deny, "ambiguous_repeat")
    );
    assert_eq!(
        log.intent(&mut sidecar, &refund(5_000, "ch_2")).verdict,
        RulingVerdict::Permit,
        "another charge"
    );
    let resolved = EventBody::Resolved {
        stream: sidecar.id(),
        seq: 0,
        happened: false,
        by: "ann".to_owned(),
    };
    log.event(resolved.clone()).unwrap();
    assert_eq!(used(&log)[0], 5_000, "what did not happen is released");
    assert_eq!(
        log.intent(&mut sidecar, &action).verdict,
        RulingVerdict::Permit
    );
    assert!(
        log.event(resolved).is_err(),
        "there is nothing more to find out"
    );
}

#[test]
fn an_unknown_outcome_is_forgotten_after_a_day() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let action = refund(5_000, "ch_1");
    log.intent(&mut sidecar, &action);
    log.outcome(&mut sidecar, 0, OutcomeResult::Ambiguous);
    log.tick(AMBIGUOUS_FOR - Duration::from_millis(1));
    assert_eq!(
        log.intent(&mut sidecar, &action).verdict,
        RulingVerdict::Deny
    );
    log.tick(Duration::from_millis(2));
    assert_eq!(
        log.intent(&mut sidecar, &action).verdict,
        RulingVerdict::Permit
    );
}

#[test]
fn a_stream_that_ends_leaves_its_open_intents_unknown() {
    let mut log = TestLog::new();
    let mut first = log.open(1);
    let mut second = log.open(2);
    let action = refund(5_000, "ch_1");
    log.intent(&mut first, &action);
    log.event(EventBody::StreamEnded {
        stream: first.id(),
        how: StreamEnd::ExpiredTailUnknown,
    })
    .unwrap();
    assert_eq!(used(&log)[0], 5_000);
    assert_eq!(
        said(&log.intent(&mut second, &action)),
        (RulingVerdict::Deny, "ambiguous_repeat")
    );
    let note = log.judged(None, "deny");
    let refused = log.record(&mut first, Body::Decision(Box::new(note)), None);
    assert_eq!(
        refused,
        Err(RecordRefused::UnknownStream(first.id())),
        "an ended stream takes nothing"
    );
    let reopened = opened(&first, after(log.now, Duration::from_secs(60)));
    assert_eq!(
        log.event(reopened),
        Err(StateError::NotOpen(first.id())),
        "and does not come back"
    );
}

#[test]
fn another_process_of_a_stream_knows_nothing_of_what_the_one_before_left_open() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let left = refund(5_000, "ch_1");
    log.intent(&mut sidecar, &left);
    log.note(&mut sidecar);
    assert_eq!(log.state.open_intents().count(), 1);
    assert!(
        log.state
            .open_intents()
            .all(|it| it.1.ambiguous_since.is_none())
    );
    log.noted(&mut sidecar, RESTARTED);
    assert_eq!(
        said(&log.intent(&mut sidecar, &left)),
        (RulingVerdict::Deny, "ambiguous_repeat")
    );
    let other = refund(6_000, "ch_2");
    let permitted = log.intent(&mut sidecar, &other);
    assert_eq!(
        permitted.verdict,
        RulingVerdict::Permit,
        "the stream goes on"
    );
    assert_eq!(used(&log)[0], 11_000, "what is unknown stays used");
}

#[test]
fn a_grant_is_used_once() {
    let (mut log, mut sidecar, id) = granted();
    let action = refund(20_000, "ch_1");
    let permitted = log.intent(&mut sidecar, &action);
    assert_eq!(
        permitted.approval,
        Some(RulingApproval::Used { id: id.clone() })
    );
    assert_eq!(
        log.state.approval(&id).unwrap().state(log.now),
        ApprovalState::Used
    );
    let again = log.intent(&mut sidecar, &action);
    assert_eq!(
        said(&again),
        (RulingVerdict::Escalate, "approval_required"),
        "the next one is asked about anew"
    );
    assert_ne!(approval_of(&again), id);
}

#[test]
fn what_was_not_sent_gives_its_grant_back() {
    for (result, back) in [
        (OutcomeResult::NotSent, true),
        (OutcomeResult::Failed, false),
        (OutcomeResult::Ok, false),
    ] {
        let (mut log, mut sidecar, id) = granted();
        let action = refund(20_000, "ch_1");
        log.intent(&mut sidecar, &action);
        let settled = log.outcome(&mut sidecar, 1, result).settles.unwrap();
        assert_eq!(
            settled.approval_returned,
            back.then(|| id.clone()),
            "{result:?}"
        );
        let next = log.intent(&mut sidecar, &action);
        assert_eq!(next.verdict == RulingVerdict::Permit, back, "{result:?}");
    }
}

#[test]
fn a_grant_is_for_one_action_only() {
    let (mut log, mut sidecar, _) = granted();
    let other = log.intent(&mut sidecar, &refund(20_001, "ch_1"));
    assert_eq!(other.verdict, RulingVerdict::Escalate, "another amount");
    let other = log.intent(&mut sidecar, &refund(20_000, "ch_2"));
    assert_eq!(other.verdict, RulingVerdict::Escalate, "another charge");
}

#[test]
fn a_grant_falls_with_the_rules_it_was_given_under() {
    let (mut log, mut sidecar, id) = granted();
    let stricter = |spec: &mut serde_json::Value| {
        spec["policies"][0]["rules"][1]["obligations"]["max_response_bytes"] = 1.into()
    };
    log.activate(bundle(stricter)).unwrap();
    let asked = log.intent(&mut sidecar, &refund(20_000, "ch_1"));
    assert_eq!(asked.verdict, RulingVerdict::Escalate);
    assert_ne!(
        approval_of(&asked),
        id,
        "a new question, since the old grant can never be used"
    );
}

#[test]
fn equal_questions_share_one_approval() {
    let mut log = TestLog::new();
    let (mut first, mut second) = (log.open(1), log.open(2));
    let action = refund(20_000, "ch_1");
    let asked = log.intent(&mut first, &action);
    let shared = log.intent(&mut second, &action);
    assert_eq!(
        shared.approval,
        Some(RulingApproval::Pending {
            id: approval_of(&asked)
        })
    );
    log.event(sealed(&approval_of(&asked), &second, 0)).unwrap();
    assert!(
        log.event(sealed(&approval_of(&asked), &first, 0)).is_err(),
        "one request is kept, not two"
    );
}

#[test]
fn an_approval_id_names_its_intent() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let id = approval_of(&log.intent(&mut sidecar, &refund(20_000, "ch_1")));
    let digits = id.strip_prefix("apr_").unwrap();
    assert_eq!(digits.len(), 20);
    assert!(
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
        "{id}"
    );
}

#[test]
fn votes_count_only_where_they_may() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let two = |spec: &mut serde_json::Value| {
        spec["passports"][0]["default_approval"]["quorum"] = 2.into()
    };
    log.activate(bundle(two)).unwrap();
    let id = approval_of(&log.intent(&mut sidecar, &refund(20_000, "ch_1")));
    let groups = ["finance".to_owned()];
    let check = |log: &TestLog, user: &str, groups: &[String]| {
        log.state.check_vote(&id, user, groups, log.now)
    };
    assert_eq!(
        check(&log, "ann", &groups),
        Err(VoteRefused::NotPending(ApprovalState::Sealing)),
        "not kept yet"
    );
    log.event(sealed(&id, &sidecar, 0)).unwrap();
    assert_eq!(
        check(&log, "owner@example.com", &groups),
        Err(VoteRefused::Owner)
    );
    assert_eq!(
        check(&log, "ann", &["sales".to_owned()]),
        Err(VoteRefused::NoSeat("ann".to_owned()))
    );
    assert_eq!(
        log.state.check_vote("apr_0", "ann", &groups, log.now),
        Err(VoteRefused::Unknown)
    );
    log.event(vote(&id, "ann", true)).unwrap();
    assert_eq!(
        check(&log, "ann", &groups),
        Err(VoteRefused::Twice("ann".to_owned()))
    );
    assert_eq!(
        log.state.approval(&id).unwrap().state(log.now),
        ApprovalState::Pending,
        "two people have to agree"
    );
    log.event(vote(&id, "bob", true)).unwrap();
    assert_eq!(
        log.state.approval(&id).unwrap().state(log.now),
        ApprovalState::Granted
    );
    log.tick(Duration::from_secs(1_800));
    assert_eq!(
        check(&log, "cid", &groups),
        Err(VoteRefused::NotPending(ApprovalState::Expired))
    );
    assert_eq!(
        log.intent(&mut sidecar, &refund(20_000, "ch_1")).verdict,
        RulingVerdict::Escalate,
        "too late"
    );
}

#[test]
fn one_no_is_a_no() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let id = approval_of(&log.intent(&mut sidecar, &refund(20_000, "ch_1")));
    log.event(sealed(&id, &sidecar, 0)).unwrap();
    log.event(vote(&id, "ann", false)).unwrap();
    assert_eq!(
        log.state.approval(&id).unwrap().state(log.now),
        ApprovalState::Denied
    );
    assert_eq!(
        log.intent(&mut sidecar, &refund(20_000, "ch_1")).verdict,
        RulingVerdict::Escalate
    );
}

#[test]
fn twenty_questions_are_open_at_most() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    for charge in 0..PENDING_APPROVALS_MAX {
        let asked = log.intent(&mut sidecar, &refund(20_000, &format!("ch_{charge}")));
        assert_eq!(asked.verdict, RulingVerdict::Escalate, "question {charge}");
    }
    let flood = log.intent(&mut sidecar, &refund(20_000, "ch_more"));
    assert_eq!(said(&flood), (RulingVerdict::Deny, "too_many_pending"));
    assert_eq!(
        log.intent(&mut sidecar, &refund(20_000, "ch_0")).verdict,
        RulingVerdict::Escalate,
        "the same is shared"
    );
    log.tick(Duration::from_secs(1_800));
    assert_eq!(
        log.intent(&mut sidecar, &refund(20_000, "ch_more")).verdict,
        RulingVerdict::Escalate,
        "after expiry"
    );
}

#[test]
fn a_limit_that_asks_is_passed_with_a_grant_and_one_that_denies_is_not() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    for charge in 0..8 {
        assert_eq!(
            log.intent(&mut sidecar, &refund(10_000, &format!("ch_{charge}")))
                .verdict,
            RulingVerdict::Permit
        );
    }
    let action = refund(10_000, "ch_9");
    let asked = log.intent(&mut sidecar, &action);
    assert_eq!(
        asked.verdict,
        RulingVerdict::Escalate,
        "$900.00 is above the limit that asks"
    );
    let id = approval_of(&asked);
    log.event(sealed(&id, &sidecar, 8)).unwrap();
    log.event(vote(&id, "ann", true)).unwrap();
    assert_eq!(
        log.intent(&mut sidecar, &action).verdict,
        RulingVerdict::Permit
    );
    assert_eq!(used(&log), [90_000, 90_000, 9]);
    let over = log.intent(&mut sidecar, &refund(10_001, "ch_10"));
    assert_eq!(said(&over), (RulingVerdict::Deny, "limit_exceeded"));
    assert_eq!(over.limit.unwrap().used, 90_000);
}

/// Three refunds of $500.00, asked about and granted before any of them ran, where more than $800.00 an hour asks.
fn granted_ahead() -> (TestLog, testlog::Sidecar) {
    let mut log = TestLog::new();
    let no_cap = |spec: &mut serde_json::Value| {
        spec["passports"][0]["limits"]
            .as_array_mut()
            .unwrap()
            .remove(0);
    };
    log.activate(bundle(no_cap)).unwrap();
    let mut sidecar = log.open(1);
    for (seq, charge) in ["ch_1", "ch_2", "ch_3"].into_iter().enumerate() {
        let asked = log.intent(&mut sidecar, &refund(50_000, charge));
        let id = approval_of(&asked);
        log.event(sealed(&id, &sidecar, seq as u64)).unwrap();
        log.event(vote(&id, "ann", true)).unwrap();
    }
    (log, sidecar)
}

#[test]
fn approvals_collected_first_do_not_escape_a_limit_that_asks() {
    let (mut log, mut sidecar) = granted_ahead();
    let mut ask = |log: &mut TestLog, charge| log.intent(&mut sidecar, &refund(50_000, charge));
    assert_eq!(ask(&mut log, "ch_1").verdict, RulingVerdict::Permit);
    for (charge, total) in [("ch_2", 100_000), ("ch_3", 150_000)] {
        let over = ask(&mut log, charge);
        assert_eq!(said(&over), (RulingVerdict::Escalate, "approval_required"));
        let Some(RulingApproval::Asked { id, needed, .. }) = over.approval else {
            panic!("{charge}: {:?}", over.approval)
        };
        let shown: Vec<_> = needed.over_limits.iter().map(LimitLeft::total).collect();
        assert_eq!(shown, [total], "{charge}: what people are shown now");
        let again = ask(&mut log, charge).approval;
        assert_eq!(again, Some(RulingApproval::Pending { id: id.clone() }));
        let approval = log.state.approval(&id).unwrap().clone();
        let blob = crate::hash::BlobDigest::from_bytes([1; 32]);
        let (stream, seq) = approval.asked_by_intent;
        log.event(EventBody::Sealed {
            approval: id.clone(),
            stream,
            seq,
            blob,
            bytes: 10,
        })
        .unwrap();
        log.event(vote(&id, "ann", true)).unwrap();
        let permit = ask(&mut log, charge);
        assert_eq!(permit.verdict, RulingVerdict::Permit, "{charge}");
        assert_eq!(permit.approval, Some(RulingApproval::Used { id }));
        assert_eq!(used(&log)[0], total);
    }
}

#[test]
fn a_question_about_more_than_was_shown_is_another_question() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let first = log.intent(&mut sidecar, &refund(75_000, "ch_1"));
    log.intent(&mut sidecar, &refund(10_000, "ch_2"));
    let second = log.intent(&mut sidecar, &refund(75_000, "ch_1"));
    assert!(matches!(
        second.approval,
        Some(RulingApproval::Asked { .. })
    ));
    assert_ne!(approval_of(&first), approval_of(&second));
}

#[test]
fn an_edited_limit_keeps_what_was_used() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    log.intent(&mut sidecar, &refund(9_000, "ch_1"));
    let edited = |spec: &mut serde_json::Value| {
        let limits = spec["passports"][0]["limits"].as_array_mut().unwrap();
        limits.remove(0);
        limits[0]["max"] = 10_000.into();
        limits[0]["on_exceed"] = "Deny".into();
    };
    log.activate(bundle(edited)).unwrap();
    let over = log.intent(&mut sidecar, &refund(1_001, "ch_2"));
    assert_eq!(said(&over), (RulingVerdict::Deny, "limit_exceeded"));
    assert_eq!(
        log.intent(&mut sidecar, &refund(1_000, "ch_2")).verdict,
        RulingVerdict::Permit
    );
}

#[test]
fn intents_that_cannot_be_decided_are_denied() {
    type Change = fn(&mut TestLog, &mut testlog::Sidecar, &mut crate::action::Action);
    struct Case {
        name: &'static str,
        given: Change,
        want: &'static str,
    }
    let cases = [
        Case {
            name: "expired passport",
            given: |log, _, _| log.tick(Duration::from_secs(31 * 86_400)),
            want: "passport_expired",
        },
        Case {
            name: "another agent",
            given: |_, _, action| action.agent = "other".to_owned(),
            want: "passport_invalid",
        },
        Case {
            name: "another passport",
            given: |_, _, action| action.passport = "x".to_owned(),
            want: "passport_invalid",
        },
        Case {
            name: "another tenant",
            given: |_, _, action| action.tenant = "x".to_owned(),
            want: "passport_invalid",
        },
        Case {
            name: "a write called a read",
            given: |_, _, action| action.effect = crate::upstream::Effect::Read,
            want: "undeclared",
        },
        Case {
            name: "another host",
            given: |_, _, action| action.host = "evil.example".parse().unwrap(),
            want: "undeclared",
        },
        Case {
            name: "a revoked passport",
            given: |log, _, _| {
                let (by, why) = ("ann".to_owned(), "lost".to_owned());
                log.event(EventBody::Revoked {
                    passport: PASSPORT.to_owned(),
                    by,
                    why,
                })
                .unwrap();
            },
            want: "passport_revoked",
        },
    ];
    for Case { name, given, want } in cases {
        let mut log = TestLog::new();
        let mut sidecar = log.open(1);
        let mut action = refund(5_000, "ch_1");
        given(&mut log, &mut sidecar, &mut action);
        let ruling = log.intent(&mut sidecar, &action);
        assert_eq!(said(&ruling), (RulingVerdict::Deny, want), "{name}");
        assert_eq!(used(&log), [0, 0, 0], "{name}");
    }
}

#[test]
fn an_intent_by_an_outdated_policy_is_asked_again() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let stale = log.state.active().unwrap().digest();
    log.activate(bundle(|spec| {
        spec["passports"][0]["purpose"] = "Other".into()
    }))
    .unwrap();
    let (evidence, openings) =
        crate::action::ActionEvidence::conceal(&refund(1, "ch_1"), &mut || [0; 32]);
    let judged = crate::evidence::record::Judged {
        bundle: stale,
        ..log.judged(Some(evidence), "needs_facts")
    };
    let ruling = log
        .record(
            &mut sidecar,
            Body::Intent(Box::new(judged)),
            Some((&refund(1, "ch_1"), openings)),
        )
        .unwrap();
    assert_eq!(said(&ruling), (RulingVerdict::Deny, "stale_policy"));
    let again = log.intent(&mut sidecar, &refund(1, "ch_1"));
    assert_eq!(again.verdict, RulingVerdict::Permit, "the stream goes on");
    assert_eq!(
        again.facts.unwrap().recent_denies,
        0,
        "which is no denial of the agent"
    );
}

#[test]
fn an_intent_whose_openings_reveal_no_action_is_denied_and_its_stream_goes_on() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let (evidence, _) = crate::action::ActionEvidence::conceal(&refund(1, "ch_1"), &mut || [0; 32]);
    for evidence in [Some(evidence), None] {
        let judged = Box::new(log.judged(evidence, "needs_facts"));
        let ruling = log.record(&mut sidecar, Body::Intent(judged), None);
        assert_eq!(
            said(&ruling.unwrap()),
            (RulingVerdict::Deny, "not_revealed")
        );
    }
    let next = log.intent(&mut sidecar, &refund(1, "ch_1"));
    assert_eq!(next.verdict, RulingVerdict::Permit);
    assert_eq!(used(&log), [1, 1, 1], "one permit");
}

#[test]
fn a_decision_about_anothers_action_is_recorded_with_a_reason() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    for (name, want) in [("refund-agent", None), ("other", Some("passport_invalid"))] {
        let action = crate::action::Action {
            passport: name.to_owned(),
            ..refund(1, "ch_1")
        };
        let (evidence, _) = crate::action::ActionEvidence::conceal(&action, &mut || [0; 32]);
        let judged = Box::new(log.judged(Some(evidence), "deny"));
        let ruling = log.record(&mut sidecar, Body::Decision(judged), None);
        assert_eq!(ruling.unwrap().reason.as_deref(), want, "{name}");
    }
}

#[test]
fn clocks_may_be_thirty_seconds_apart() {
    struct Case {
        name: &'static str,
        given: i64,
        want: (RulingVerdict, bool),
    }
    let cases = [
        Case {
            name: "at the bound",
            given: -30_000,
            want: (RulingVerdict::Permit, false),
        },
        Case {
            name: "before it",
            given: -30_001,
            want: (RulingVerdict::Deny, true),
        },
        Case {
            name: "ahead, at the bound",
            given: 30_000,
            want: (RulingVerdict::Permit, false),
        },
        Case {
            name: "ahead of it",
            given: 30_001,
            want: (RulingVerdict::Deny, true),
        },
    ];
    for Case {
        name,
        given,
        want: (verdict, late),
    } in cases
    {
        let mut log = TestLog::new();
        let mut sidecar = log.open(1);
        let now = log.header().time;
        let sent = now + jiff::SignedDuration::from_millis(given);
        let macs = log.mac_key.macs(&refund(1, "ch_1"));
        let (evidence, _) =
            crate::action::ActionEvidence::conceal(&refund(1, "ch_1"), &mut || [0; 32]);
        let judged = Box::new(log.judged(Some(evidence), "needs_facts"));
        let intent = sidecar
            .chain
            .clone()
            .next(Body::Intent(judged.clone()), sent)
            .unwrap()
            .record;
        let ruling = log
            .state
            .rule_on(&intent, Some((&refund(1, "ch_1"), &macs)), now)
            .unwrap();
        assert_eq!(ruling.verdict, verdict, "{name}");
        let decision = sidecar
            .chain
            .next(Body::Decision(judged), sent)
            .unwrap()
            .record;
        let ruling = log.state.rule_on(&decision, None, now).unwrap();
        assert_eq!(
            (ruling.verdict, ruling.late),
            (RulingVerdict::Recorded, late),
            "{name}: what happened is recorded"
        );
    }
}

#[test]
fn a_stream_takes_each_record_once_and_in_order() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let mut ahead = sidecar.clone();
    let mut fork = sidecar.clone();
    log.note(&mut sidecar);
    let note = |log: &TestLog| Body::Decision(Box::new(log.judged(None, "deny")));
    let (repeated, next) = (note(&log), note(&log));
    let refused = log.record(&mut fork, repeated, None);
    assert_eq!(
        refused,
        Err(RecordRefused::Sequence {
            expected: 1,
            found: 0
        }),
        "the same number again"
    );
    let refused = log.record(&mut fork, next.clone(), None);
    assert_eq!(
        refused,
        Err(RecordRefused::Chain(1)),
        "another record before it"
    );
    ahead.chain =
        crate::evidence::record::Chain::resume(ahead.id(), 5, RecordHash::from_bytes([0; 32]));
    assert_eq!(
        log.record(&mut ahead, next, None),
        Err(RecordRefused::Sequence {
            expected: 1,
            found: 5
        }),
        "a gap"
    );
    let stranger = testlog::Sidecar::new(9);
    let refused = log.record(&mut stranger.clone(), note(&log), None);
    assert_eq!(refused, Err(RecordRefused::UnknownStream(stranger.id())));
}

#[test]
fn facts_count_what_came_before() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    log.denied_locally(&mut sidecar, 3);
    log.intent(&mut sidecar, &refund(600_000, "ch_1"));
    let facts = log
        .intent(&mut sidecar, &refund(1_000, "ch_1"))
        .facts
        .unwrap();
    assert_eq!(
        (
            facts.recent_denies,
            facts.precedents,
            facts.first_seen_resource
        ),
        (4, 0, true)
    );
    log.outcome(&mut sidecar, 2, OutcomeResult::Ok);
    let facts = log
        .intent(&mut sidecar, &refund(1_000, "ch_1"))
        .facts
        .unwrap();
    assert_eq!((facts.precedents, facts.first_seen_resource), (1, false));
    assert_eq!(facts.used, [1_000, 1_000, 1]);
    let facts = log
        .intent(&mut sidecar, &refund(1_000, "ch_2"))
        .facts
        .unwrap();
    assert_eq!(
        (facts.precedents, facts.first_seen_resource),
        (0, true),
        "another resource"
    );
    log.tick(Duration::from_secs(611));
    assert_eq!(
        log.intent(&mut sidecar, &refund(1_000, "ch_2"))
            .facts
            .unwrap()
            .recent_denies,
        0
    );
}

#[test]
fn a_permit_of_a_write_by_the_sidecar_alone_is_marked() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let (evidence, _) = crate::action::ActionEvidence::conceal(&refund(1, "ch_1"), &mut || [0; 32]);
    let judged = log.judged(Some(evidence), "permit");
    let ruling = log
        .record(&mut sidecar, Body::Decision(Box::new(judged)), None)
        .unwrap();
    assert_eq!(
        said(&ruling),
        (RulingVerdict::Recorded, "permit_without_ledger")
    );
}
