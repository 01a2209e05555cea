//! What an audit passes on: decided as if it had been asked, held to nothing, and decided again by whoever verifies.

use super::*;
use crate::passport::{ABSENT, Passport};
use crate::verify::{Against, Class, Level, Report, verify};

fn audit() -> Bundle {
    bundle(|spec| spec["mode"] = "audit".into())
}

/// A log under audit, and one sidecar.
fn audited() -> (TestLog, testlog::Sidecar) {
    let mut log = TestLog::new();
    log.activate(audit()).unwrap();
    let sidecar = log.open(1);
    (log, sidecar)
}

fn verified(log: &TestLog) -> Report {
    let checkpoints = [log.checkpoint()];
    let against = Against {
        checkpoints: &checkpoints,
        ..Against::default()
    };
    verify(log.leaves.iter().map(Ok::<_, String>), &against, log)
}

#[test]
fn what_is_passed_on_is_recorded_with_what_would_have_been_answered() {
    struct Case {
        name: &'static str,
        given: crate::action::Action,
        want: (RulingVerdict, &'static str),
    }
    let elsewhere = crate::action::Action {
        capability: "stripe.refunds.undo".parse().unwrap(),
        ..refund(1, "ch_1")
    };
    let cases = [
        Case {
            name: "what a rule allows",
            given: refund(10_000, "ch_1"),
            want: (RulingVerdict::Permit, ""),
        },
        Case {
            name: "what people would be asked about",
            given: refund(10_001, "ch_1"),
            want: (RulingVerdict::Escalate, "approval_required"),
        },
        Case {
            name: "what a rule denies",
            given: refund(500_001, "ch_1"),
            want: (RulingVerdict::Deny, "rule_denies"),
        },
        Case {
            name: "what nobody declares",
            given: elsewhere,
            want: (RulingVerdict::Deny, "undeclared"),
        },
    ];
    for Case { name, given, want } in cases {
        let (mut log, mut sidecar) = audited();
        let ruling = log.passed_on(&mut sidecar, &given);
        assert_eq!(ruling.verdict, RulingVerdict::Recorded, "{name}");
        let would = ruling.would.unwrap();
        let reason = ruling.reason.as_deref().unwrap_or_default();
        assert_eq!((would, reason), want, "{name}");
        assert_eq!(used(&log), [0, 0, 0], "{name}: nothing is reserved");
        assert_eq!(log.state.approvals().count(), 0, "{name}: nobody is asked");
        assert_eq!(log.state.open_intents().count(), 0, "{name}");
        log.outcome(&mut sidecar, 0, OutcomeResult::Ok);
        let report = verified(&log);
        assert_eq!(report.class(), Class::Valid, "{name}: {report:?}");
        let again = &report.redecided;
        let counts = (again.intents, again.unenforced, again.unenforced_same);
        assert_eq!(counts, (0, 1, 1), "{name}");
    }
}

#[test]
fn audited_actions_count_on_limits_of_their_own() {
    let (mut log, mut sidecar) = audited();
    let mut would = Vec::new();
    for charge in 0..9 {
        let ruling = log.passed_on(&mut sidecar, &refund(10_000, &format!("ch_{charge}")));
        would.push((ruling.would.unwrap(), ruling.facts.unwrap().used[0]));
    }
    let permitted = (0..8).map(|at| (RulingVerdict::Permit, at * 10_000));
    let mut want: Vec<_> = permitted.collect();
    want.push((RulingVerdict::Escalate, 80_000));
    assert_eq!(would, want);
    assert_eq!(used(&log), [0, 0, 0]);
    log.activate(bundle(|_| {})).unwrap();
    let ruling = log.intent(&mut sidecar, &refund(10_000, "ch_9"));
    assert_eq!(ruling.verdict, RulingVerdict::Permit);
    let facts = ruling.facts.unwrap();
    assert_eq!(facts.used[0], 0, "an audit uses nothing of what holds");
    assert!(
        facts.first_seen_resource && facts.recent_denies == 0,
        "{facts:?}"
    );
    assert_eq!(verified(&log).class(), Class::Valid);
}

#[test]
fn an_audit_permits_nothing() {
    let (mut log, mut sidecar) = audited();
    let ruling = log.intent(&mut sidecar, &refund(5_000, "ch_1"));
    assert_eq!(said(&ruling), (RulingVerdict::Deny, "under_audit"));
    assert_eq!(verified(&log).class(), Class::Valid);
    // A ledger that permits it all the same makes a log that does not verify.
    let (mut log, mut sidecar) = audited();
    let mut lawful = TestLog::new();
    let mut other = lawful.open(1);
    let permit = lawful.intent(&mut other, &refund(5_000, "ch_1"));
    let action = refund(5_000, "ch_1");
    let (evidence, openings) = crate::action::ActionEvidence::conceal(&action, &mut || [0; 32]);
    let judged = Box::new(log.judged(Some(evidence), "needs_facts"));
    let header = log.header();
    let link = sidecar
        .chain
        .next(Body::Intent(judged), header.time)
        .unwrap();
    log.side.insert(header.seq, openings);
    let leaf = Leaf::of_record(header, link.record, permit, None);
    let error = log.push(leaf).unwrap_err();
    assert!(matches!(error, StateError::BadPermit(_)), "{error}");
}

#[test]
fn a_pod_without_a_passport_would_be_denied_everything() {
    let mut log = TestLog::new();
    log.activate(bundle(|spec| {
        spec["mode"] = "audit".into();
        let absent = serde_json::to_value(Passport::absent()).unwrap();
        spec["passports"].as_array_mut().unwrap().push(absent);
    }))
    .unwrap();
    let mut sidecar = testlog::Sidecar::new(1);
    let end = after(log.now, Duration::from_secs(900));
    let EventBody::StreamOpened {
        stream,
        key,
        jti,
        issuer,
        pod_uid,
        ..
    } = opened(&sidecar, end)
    else {
        panic!("not opened")
    };
    let agent = "serviceaccount:refunds".to_owned();
    log.event(EventBody::StreamOpened {
        stream,
        key,
        jti,
        issuer,
        pod_uid,
        expires: end,
        passport: ABSENT.to_owned(),
        agent: agent.clone(),
    })
    .unwrap();
    let action = crate::action::Action {
        passport: ABSENT.to_owned(),
        agent,
        ..refund(1, "ch_1")
    };
    let ruling = log.passed_on(&mut sidecar, &action);
    assert_eq!(ruling.would, Some(RulingVerdict::Deny));
    assert_eq!(ruling.reason.as_deref(), Some("no_passport"));
    assert_eq!(verified(&log).class(), Class::Valid);
}

#[test]
fn who_says_that_nothing_was_enforced_where_something_was_is_told_apart() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let ruling = log.passed_on(&mut sidecar, &refund(1, "ch_1"));
    assert_eq!(ruling.reason.as_deref(), Some("not_under_audit"));
    log.activate(audit()).unwrap();
    let under = log.state.active().unwrap().digest();
    log.activate(bundle(|_| {})).unwrap();
    // On its way while the mode changed: it is what it says, and what would have been is the sidecar's word.
    let ruling = log.passed_on_by(under, &mut sidecar, &refund(1, "ch_1"));
    assert_eq!((ruling.reason, ruling.would), (None, None));
    log.tick(Duration::from_secs(31));
    let ruling = log.passed_on_by(under, &mut sidecar, &refund(1, "ch_1"));
    assert_eq!(ruling.reason.as_deref(), Some("not_under_audit"));
    let report = verified(&log);
    assert_eq!((report.class(), report.state), (Class::Valid, Level::Holds));
}

#[test]
fn another_word_on_what_was_passed_on_is_found() {
    for change in [
        (|ruling: &mut Ruling| ruling.would = Some(RulingVerdict::Permit)) as fn(&mut Ruling),
        |ruling| ruling.would = None,
        |ruling| ruling.reason = Some("no_rule".to_owned()),
        |ruling| ruling.facts.as_mut().unwrap().used[0] += 1,
    ] {
        let (mut log, mut sidecar) = audited();
        let mut ruling = log.passed_on(&mut sidecar.clone(), &refund(500_001, "ch_1"));
        change(&mut ruling);
        let (mut forged, _) = audited();
        std::mem::swap(&mut forged.side, &mut log.side);
        let action = refund(500_001, "ch_1");
        let (evidence, openings) = crate::action::ActionEvidence::conceal(&action, &mut || [1; 32]);
        let judged = crate::evidence::record::Judged {
            enforced: false,
            ..forged.judged(Some(evidence), "needs_facts")
        };
        let header = forged.header();
        let body = Body::Decision(Box::new(judged));
        let link = sidecar.chain.next(body, header.time).unwrap();
        forged.side.insert(header.seq, openings);
        let signature = crate::evidence::record::sign_batch(&sidecar.key, &link.hash);
        let leaf = Leaf::of_record(header, link.record, ruling, Some(signature));
        forged.push_unchecked(&leaf);
        assert_eq!(verified(&forged).class(), Class::Invalid);
    }
}
