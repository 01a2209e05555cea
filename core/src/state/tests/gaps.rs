//! What a lost part of the log ends, and what counts as used after it.

use super::*;
use crate::evidence::leaf::{GapLimits, LostHead};
use crate::hash::TreeRoot;

pub(super) fn gap(log: &TestLog, lost: &[u64], limits: GapLimits) -> EventBody {
    let head = |size: &u64| LostHead {
        size: *size,
        root: TreeRoot::from_bytes([9; 32]),
    };
    EventBody::Gap {
        size: log.tree.size(),
        root: log.tree.root(),
        lost: lost.iter().map(head).collect(),
        limits,
        by: "ann".to_owned(),
        why: "the disk broke".to_owned(),
    }
}

/// What has to hold right behind a gap, whatever was before it.
pub(super) fn nothing_is_open(log: &TestLog) {
    let state = &log.state;
    assert_eq!(state.open_streams().count(), 0, "every stream is over");
    for (_, intent) in state.open_intents() {
        assert!(intent.ambiguous_since.is_some(), "{intent:?}");
    }
    for approval in state.approvals() {
        let stands = approval.state(log.now);
        let over = [
            ApprovalState::Denied,
            ApprovalState::Expired,
            ApprovalState::Used,
        ];
        assert!(over.contains(&stands), "{approval:?}");
    }
    let passport = state.active().unwrap().passport(PASSPORT).unwrap();
    for limit in &passport.limits {
        let (used, frees) = state.used(PASSPORT, limit, log.now);
        assert!(used >= limit.max && frees > Some(log.now), "{limit:?}");
    }
}

#[test]
fn what_was_open_is_over_and_limits_are_used_up_until_their_windows_have_passed() {
    let (mut log, mut sidecar, _) = granted();
    let small = log.intent(&mut sidecar, &refund(5_000, "ch_2"));
    assert_eq!(said(&small).0, RulingVerdict::Permit);
    let event = gap(&log, &[log.tree.size() + 9], GapLimits::UsedUp);
    log.event(event).unwrap();
    nothing_is_open(&log);
    assert_eq!(log.state.gaps().len(), 1);

    let mut anew = log.open(7);
    let over = log.intent(&mut anew, &refund(1, "ch_3"));
    assert_eq!(said(&over).0, RulingVerdict::Deny, "{over:?}");
    log.tick(Duration::from_secs(3_500));
    let over = log.intent(&mut anew, &refund(1, "ch_4"));
    assert_eq!(said(&over).0, RulingVerdict::Deny, "{over:?}");
    log.tick(Duration::from_secs(200));
    let free = log.intent(&mut anew, &refund(1, "ch_5"));
    assert_eq!(said(&free).0, RulingVerdict::Permit, "{free:?}");
}

#[test]
fn limits_stand_as_they_are_logged_where_somebody_says_so() {
    let (mut log, mut sidecar, granted) = granted();
    log.intent(&mut sidecar, &refund(5_000, "ch_2"));
    let stood = used(&log);
    let event = gap(&log, &[], GapLimits::AsLogged);
    log.event(event).unwrap();
    assert_eq!(used(&log), stood);
    let stands = log.state.approval(&granted).unwrap().state(log.now);
    assert_eq!(stands, ApprovalState::Denied, "it may be used already");
    let mut anew = log.open(7);
    let free = log.intent(&mut anew, &refund(1, "ch_5"));
    assert_eq!(said(&free).0, RulingVerdict::Permit, "{free:?}");
}

#[test]
fn a_grant_that_comes_back_after_a_gap_is_worth_nothing() {
    let (mut log, mut sidecar, granted) = granted();
    let used = log.intent(&mut sidecar, &refund(20_000, "ch_1"));
    assert_eq!(said(&used).0, RulingVerdict::Permit);
    let event = gap(&log, &[], GapLimits::AsLogged);
    log.event(event).unwrap();
    log.event(EventBody::Resolved {
        stream: sidecar.id(),
        seq: 1,
        happened: false,
        by: "ann".to_owned(),
    })
    .unwrap();
    let stands = log.state.approval(&granted).unwrap().state(log.now);
    assert!(
        [ApprovalState::Denied, ApprovalState::Used].contains(&stands),
        "{stands:?}"
    );
}

#[test]
fn a_gap_that_is_elsewhere_or_loses_what_comes_before_it_does_not_follow() {
    let (log, _, _) = granted();
    let here = log.tree.size();
    for lost in [
        &[here][..],
        &[here - 1],
        &[here + 2, here + 1],
        &[here + 1; 2],
    ] {
        let event = gap(&log, lost, GapLimits::UsedUp);
        assert!(log.clone().event(event).is_err(), "{lost:?}");
    }
    let EventBody::Gap {
        root,
        limits,
        by,
        why,
        ..
    } = gap(&log, &[], GapLimits::UsedUp)
    else {
        unreachable!()
    };
    let elsewhere = EventBody::Gap {
        size: here + 1,
        root,
        lost: Vec::new(),
        limits,
        by,
        why,
    };
    assert!(log.clone().event(elsewhere).is_err());
}
