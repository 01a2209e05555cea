//! Leaves that claim what does not follow from those before: a ledger that forges its own log.

use super::*;
use crate::evidence::leaf::{Leaf, Revision, Settlement};
use crate::evidence::record::Link;

/// The leaf an honest ledger would log next for this action, and the log without it.
fn next(log: &mut TestLog, sidecar: &testlog::Sidecar, action: &crate::action::Action) -> Leaf {
    let mut honest = log.clone();
    honest.intent(&mut sidecar.clone(), action);
    log.header();
    Leaf::parse(honest.leaves.last().unwrap()).unwrap()
}

fn forge(leaf: &Leaf, change: impl FnOnce(&mut Ruling)) -> Leaf {
    let mut forged = leaf.clone();
    change(forged.d.as_mut().unwrap());
    forged
}

#[test]
fn a_permit_without_what_it_needs_is_refused() {
    type Change = fn(&mut Ruling);
    struct Case {
        name: &'static str,
        given: Change,
    }
    let cases = [
        Case {
            name: "nothing reserved",
            given: |ruling| ruling.reservations.clear(),
        },
        Case {
            name: "one limit left out",
            given: |ruling| drop(ruling.reservations.remove(1)),
        },
        Case {
            name: "less reserved",
            given: |ruling| ruling.reservations[0].amount -= 1,
        },
        Case {
            name: "a limit there is not",
            given: |ruling| ruling.reservations[0].limit = 9,
        },
        Case {
            name: "no digest",
            given: |ruling| ruling.digest = None,
        },
        Case {
            name: "no end",
            given: |ruling| ruling.not_after = None,
        },
        Case {
            name: "a later end",
            given: |ruling| {
                ruling.not_after = ruling.not_after.map(|end| end + Duration::from_secs(1))
            },
        },
        Case {
            name: "no facts",
            given: |ruling| ruling.facts = None,
        },
        Case {
            name: "other facts",
            given: |ruling| ruling.facts.as_mut().unwrap().used[0] -= 1,
        },
        Case {
            name: "an approval nobody gave",
            given: |ruling| {
                ruling.approval = Some(RulingApproval::Used {
                    id: "apr_1".to_owned(),
                })
            },
        },
        Case {
            name: "a settlement",
            given: |ruling| {
                ruling.settles = Some(Settlement {
                    result: OutcomeResult::Ok,
                    released: true,
                    approval_returned: None,
                });
            },
        },
        Case {
            name: "called recorded",
            given: |ruling| ruling.verdict = RulingVerdict::Recorded,
        },
        Case {
            name: "called denied, with its reservations",
            given: |ruling| ruling.verdict = RulingVerdict::Deny,
        },
        Case {
            name: "called escalated",
            given: |ruling| ruling.verdict = RulingVerdict::Escalate,
        },
    ];
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    log.intent(&mut sidecar, &refund(1_000, "ch_0"));
    let leaf = next(&mut log, &sidecar, &refund(5_000, "ch_1"));
    for Case { name, given } in cases {
        let forged = forge(&leaf, given);
        assert_ne!(forged, leaf, "{name}: the case changes nothing");
        assert!(
            log.state.clone().apply(&forged, &log.bundles).is_err(),
            "{name}"
        );
    }
    assert_eq!(
        log.state.clone().apply(&leaf, &log.bundles),
        Ok(()),
        "the honest leaf is taken"
    );
}

#[test]
fn more_than_a_limit_allows_is_overspent() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    for charge in 0..8 {
        log.intent(&mut sidecar, &refund(10_000, &format!("ch_{charge}")));
    }
    // The ninth is above the limit that asks; its permit is forged whole, facts and reservations included.
    let action = refund(10_000, "ch_9");
    let leaf = next(&mut log, &sidecar, &action);
    let permit = next(&mut TestLog::new_with_stream(), &sidecar_of_new(), &action);
    let forged = forge(&leaf, |ruling| {
        ruling.verdict = RulingVerdict::Permit;
        ruling.approval = None;
        ruling
            .reservations
            .clone_from(&permit.d.as_ref().unwrap().reservations);
        ruling.not_after = Some(leaf.h.time + PERMIT_LIFE);
    });
    let refused = log.state.clone().apply(&forged, &log.bundles);
    assert_eq!(
        refused,
        Err(StateError::Overspent {
            meter: "refunds".to_owned(),
            used: 90_000,
            max: 80_000
        })
    );
}

#[test]
fn a_grant_that_was_not_shown_how_far_a_limit_is_passed_does_not_lift_it() {
    let (mut log, mut sidecar) = granted_ahead();
    log.intent(&mut sidecar, &refund(50_000, "ch_1"));
    let permit = Leaf::parse(log.leaves.last().unwrap()).unwrap().d.unwrap();
    let second = log
        .state
        .approvals()
        .find(|approval| approval.asked_by_intent.1 == 1)
        .unwrap()
        .id
        .clone();
    let leaf = next(&mut log, &sidecar, &refund(50_000, "ch_2"));
    let forged = forge(&leaf, |ruling| {
        ruling.verdict = RulingVerdict::Permit;
        ruling.reason = None;
        ruling.approval = Some(RulingApproval::Used { id: second });
        ruling.reservations = permit.reservations;
        ruling.not_after = Some(leaf.h.time + PERMIT_LIFE);
    });
    assert_eq!(
        log.state.clone().apply(&forged, &log.bundles),
        Err(StateError::Overspent {
            meter: "refunds".to_owned(),
            used: 100_000,
            max: 80_000
        })
    );
    // So whoever verifies the log finds it too, without the texts of the requests.
    log.push_unchecked(&forged);
    let checkpoints = [log.checkpoint()];
    let against = crate::verify::Against {
        checkpoints: &checkpoints,
        ..Default::default()
    };
    log.side.clear();
    let leaves = log.leaves.iter().map(Ok::<_, String>);
    let report = crate::verify::verify(leaves, &against, &log);
    assert_eq!(report.class(), crate::verify::Class::Invalid);
    assert_eq!(report.first_bad().map(|bad| bad.seq), Some(leaf.h.seq));
}

#[test]
fn a_grant_used_twice_is_refused() {
    let (mut log, mut sidecar, id) = granted();
    let action = refund(20_000, "ch_1");
    log.intent(&mut sidecar, &action);
    let used = Leaf::parse(log.leaves.last().unwrap()).unwrap().d.unwrap();
    let leaf = next(&mut log, &sidecar, &action);
    let forged = forge(&leaf, |ruling| {
        ruling.verdict = RulingVerdict::Permit;
        ruling.reason = None;
        ruling.approval = used.approval.clone();
        ruling.reservations = used.reservations.clone();
        ruling.not_after = Some(leaf.h.time + PERMIT_LIFE);
    });
    assert_eq!(
        log.state.clone().apply(&forged, &log.bundles),
        Err(StateError::NotGranted(id))
    );
}

#[test]
fn a_settlement_that_does_not_follow_is_refused() {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    log.intent(&mut sidecar, &refund(5_000, "ch_1"));
    let mut honest = log.clone();
    honest.outcome(&mut sidecar.clone(), 0, OutcomeResult::Ok);
    let leaf = Leaf::parse(honest.leaves.last().unwrap()).unwrap();
    for (name, forged) in [
        (
            "released although done",
            forge(&leaf, |ruling| {
                ruling.settles.as_mut().unwrap().released = true
            }),
        ),
        (
            "another result",
            forge(&leaf, |ruling| {
                ruling.settles.as_mut().unwrap().result = OutcomeResult::Failed
            }),
        ),
        ("not settled", forge(&leaf, |ruling| ruling.settles = None)),
        (
            "permitted",
            forge(&leaf, |ruling| ruling.verdict = RulingVerdict::Permit),
        ),
    ] {
        assert!(
            log.state.clone().apply(&forged, &log.bundles).is_err(),
            "{name}"
        );
    }
}

#[test]
fn events_about_nothing_are_refused() {
    let log = TestLog::new();
    let nobody = testlog::Sidecar::new(9);
    let stream = nobody.id();
    let events = [
        sealed("apr_1", &nobody, 0),
        vote("apr_1", "ann", true),
        EventBody::StreamEnded {
            stream,
            how: StreamEnd::Closed,
        },
        EventBody::Resolved {
            stream,
            seq: 0,
            happened: true,
            by: "ann".to_owned(),
        },
        EventBody::Bundle {
            digest: BundleDigest::from_bytes([1; 32]),
            revision: None,
        },
    ];
    for event in events {
        assert!(log.clone().event(event.clone()).is_err(), "{event:?}");
    }
}

#[test]
fn a_bundle_that_is_not_later_than_the_active_one_is_refused() {
    let mut log = TestLog::new();
    let revision = |term, count| Some(Revision { term, count });
    assert_eq!(log.state.revision(), None);
    log.activate_as(bundle(|_| {}), revision(7, 2)).unwrap();
    for stale in [None, revision(7, 2), revision(7, 1), revision(6, 9)] {
        let refused = log.clone().activate_as(bundle(|_| {}), stale);
        assert!(
            matches!(refused, Err(StateError::StaleBundle { .. })),
            "{stale:?}: {refused:?}"
        );
    }
    for later in [revision(7, 3), revision(8, 0)] {
        let mut log = log.clone();
        log.activate_as(bundle(|_| {}), later).unwrap();
        assert_eq!(log.state.revision(), later);
    }
}

#[test]
fn a_bundle_or_leaf_of_another_tenant_is_refused() {
    let mut log = TestLog::new();
    let other = bundle(|spec| spec["tenant"] = "local/other/2".into());
    assert_eq!(
        log.activate(other),
        Err(StateError::Form("a bundle of another tenant"))
    );
    let mut header = log.header();
    header.log = "actpass/local/other/2".to_owned();
    let leaf = Leaf::of_event(header, EventBody::Recovery { bytes: 1 });
    assert!(matches!(
        log.state.apply(&leaf, &log.bundles),
        Err(StateError::ForeignLog(_))
    ));
}

#[test]
fn a_record_out_of_its_chain_is_refused() {
    let mut log = TestLog::new();
    let sidecar = log.open(1);
    let mut honest = log.clone();
    honest.note(&mut sidecar.clone());
    let leaf = Leaf::parse(honest.leaves.last().unwrap()).unwrap();
    let (record, ruling) = leaf.record().unwrap();
    let forge = |change: fn(&mut crate::evidence::record::Record)| {
        let mut record = record.clone();
        change(&mut record);
        Leaf::of_record(leaf.h.clone(), record, ruling.clone(), None)
    };
    let forged = [
        forge(|record| record.seq = 1),
        forge(|record| record.prev = RecordHash::from_bytes([1; 32])),
        forge(|record| record.stream = StreamId::from_bytes([1; 32])),
    ];
    for leaf in forged {
        assert!(
            log.state.clone().apply(&leaf, &log.bundles).is_err(),
            "{leaf:?}"
        );
    }
    let Link { record: second, .. } = sidecar
        .chain
        .clone()
        .next(record.body.clone(), leaf.h.time)
        .unwrap();
    assert_eq!(
        second, *record,
        "the honest record is the same as made here"
    );
}

impl TestLog {
    fn new_with_stream() -> Self {
        let mut log = Self::new();
        log.open(1);
        log
    }
}

fn sidecar_of_new() -> testlog::Sidecar {
    testlog::Sidecar::new(1)
}
