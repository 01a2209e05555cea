//! What an erasure ends, and what it leaves as it is.

use super::*;
use crate::hash::DigestMac;
use crate::state::{Erasure, month_of};

fn erasure(id: &str, subject: Option<DigestMac>, generation: u64) -> EventBody {
    EventBody::Erasure {
        id: id.to_owned(),
        subject,
        generation: subject.is_some().then_some(generation),
        before: None,
        by: "ann".to_owned(),
        why: "request 4711".to_owned(),
    }
}

fn before(id: &str, before: Timestamp) -> EventBody {
    let EventBody::Erasure { by, why, .. } = erasure(id, None, 0) else {
        unreachable!()
    };
    EventBody::Erasure {
        id: id.to_owned(),
        subject: None,
        generation: None,
        before: Some(before),
        by,
        why,
    }
}

#[test]
fn a_question_about_an_erased_subject_is_over_and_one_about_another_is_not() {
    let (mut log, mut sidecar, granted) = granted();
    let other = log.intent(&mut sidecar, &refund(20_000, "ch_2"));
    let other = approval_of(&other);
    let subject = log.state.approval(&granted).unwrap().subject;
    assert!(subject.is_some());
    let stood = used(&log);
    log.event(erasure("ers_1", subject, 0)).unwrap();
    let state = |log: &TestLog, id: &str| log.state.approval(id).unwrap().state(log.now);
    assert_eq!(state(&log, &granted), ApprovalState::Denied);
    assert_eq!(state(&log, &other), ApprovalState::Sealing);
    assert_eq!(used(&log), stood, "limits stand as they did");
    let Erasure { leaf, by, .. } = &log.state.erasures()[0];
    assert_eq!((*leaf, by.as_str()), (log.tree.size() - 1, "ann"));

    // The grant is worth nothing any more: the same is asked anew.
    let again = log.intent(&mut sidecar, &refund(20_000, "ch_1"));
    assert_eq!(said(&again).0, RulingVerdict::Escalate);
    assert_ne!(approval_of(&again), granted);
    let refused = log.event(vote(&granted, "bob", true));
    assert!(
        matches!(refused, Err(StateError::BadVote(..))),
        "{refused:?}"
    );
}

#[test]
fn an_open_intent_about_an_erased_subject_keeps_what_it_reserved() {
    let (mut log, mut sidecar, _) = granted();
    let permitted = log.intent(&mut sidecar, &refund(20_000, "ch_1"));
    assert_eq!(said(&permitted).0, RulingVerdict::Permit);
    let stood = used(&log);
    log.event(erasure("ers_1", permitted.subject, 0)).unwrap();
    log.outcome(&mut sidecar, 1, OutcomeResult::Ambiguous);
    assert_eq!(used(&log), stood);
    assert_eq!(log.state.open_intents().count(), 1);
}

#[test]
fn months_end_the_questions_that_were_asked_in_them() {
    let (mut log, _, early) = granted();
    let month = month_of(log.now);
    log.event(before("ers_1", month)).unwrap();
    let state = |log: &TestLog, id: &str| log.state.approval(id).unwrap().state(log.now);
    assert_eq!(state(&log, &early), ApprovalState::Granted, "of this month");
    // A month later the question has expired, and is over for good.
    log.tick(Duration::from_secs(32 * 86_400));
    log.event(before("ers_2", month_of(log.now))).unwrap();
    assert!(log.state.approval(&early).unwrap().erased.is_some());
}

#[test]
fn an_erasure_that_does_not_follow_is_refused() {
    let (mut log, _, granted) = granted();
    let subject = log.state.approval(&granted).unwrap().subject;
    let month = month_of(log.now);
    let both = EventBody::Erasure {
        id: "ers_9".to_owned(),
        subject,
        generation: Some(1),
        before: Some(month),
        by: "ann".to_owned(),
        why: "request 4711".to_owned(),
    };
    log.event(erasure("ers_1", subject, 0)).unwrap();
    log.event(before("ers_2", month)).unwrap();
    for (name, event) in [
        ("the same id", erasure("ers_1", subject, 1)),
        ("the same generation", erasure("ers_3", subject, 0)),
        ("the same month", before("ers_3", month)),
        ("no month's begin", before("ers_3", log.now)),
        (
            "a month to come",
            before(
                "ers_3",
                month_of(log.now + Duration::from_secs(40 * 86_400)),
            ),
        ),
        ("neither", erasure("ers_3", None, 0)),
        ("both", both),
    ] {
        let refused = log.clone().event(event);
        assert!(
            matches!(refused, Err(StateError::Form(_))),
            "{name}: {refused:?}"
        );
    }
    log.event(erasure("ers_3", subject, 1)).unwrap();
}
