//! Logs whose key changes: each checkpoint counts under the key in force at its size, and under no other.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::evidence::checkpoint::NoteVerifier;
use crate::evidence::leaf::{GapLimits, LostHead};
use crate::evidence::log_keys::vouch;

/// The key of that number; 0 is the one that test logs begin with.
pub(super) fn key(at: usize) -> SigningKey {
    SigningKey::from_bytes(&[200 + u8::try_from(at).unwrap(); 32])
}

fn public(at: usize) -> NoteVerifier {
    NoteVerifier::new(format!("actpass/{TENANT}"), key(at).verifying_key())
}

pub(super) fn rotation(before: usize, next: usize) -> EventBody {
    let next = public(next);
    EventBody::LogKey {
        key: next.to_vkey(),
        by: vouch(&key(before), &next),
    }
}

/// The checkpoint over so many leaves, by that key.
pub(super) fn signed(log: &TestLog, size: u64, by: usize) -> String {
    let origin = format!("actpass/{TENANT}");
    let checkpoint = Checkpoint {
        origin: origin.clone(),
        size,
        root: log.tree.root_at(size).unwrap(),
    };
    checkpoint.sign(&NoteSigner::new(origin, key(by)))
}

/// Leaves between which the key changes, and the key in force at each size.
pub(super) fn rotating(changes: &[bool]) -> (TestLog, Vec<usize>) {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    let mut in_force = vec![0; log.leaves.len() + 1];
    let mut now = 0;
    for changes in changes {
        match changes {
            true => {
                log.event(rotation(now, now + 1)).unwrap();
                now += 1;
            }
            false => drop(log.note(&mut sidecar)),
        }
        in_force.push(now);
    }
    (log, in_force)
}

fn held(log: &TestLog, checkpoints: &[String], anchors: &[Anchor], by: &[usize]) -> Report {
    let keys: Vec<NoteVerifier> = by.iter().copied().map(public).collect();
    let against = Against {
        checkpoints,
        anchors,
        keys: &keys,
    };
    run(&log.leaves, &against, log)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_checkpoint_counts_under_the_key_in_force_at_its_size_and_no_other(
        changes in prop::collection::vec(any::<bool>(), 1..8),
    ) {
        let (log, in_force) = rotating(&changes);
        let (last, newest) = (log.leaves.len() as u64, *in_force.last().unwrap());
        let whole = [signed(&log, last, newest)];
        for size in 0..=last {
            for by in 0..=newest + 1 {
                let right = by == in_force[usize::try_from(size).unwrap()];
                let note = signed(&log, size, by);
                let anchored = held(&log, &whole, &[Anchor::Checkpoint(note.clone())], &[]);
                let first_bad = (!right).then(|| size.saturating_sub(1));
                prop_assert_eq!(anchored.first_bad().map(|bad| bad.seq), first_bad, "anchor {} by {}", size, by);
                let alone = held(&log, &[note], &[], &[]);
                prop_assert_eq!(alone.first_bad().map(|bad| bad.seq), first_bad, "checkpoint {} by {}", size, by);
                prop_assert_eq!(alone.covered, if right { size } else { 0 });
            }
        }
        for by in 0..=newest + 1 {
            let report = held(&log, &whole, &[], &[by]);
            let want = if by <= newest { Class::Valid } else { Class::Invalid };
            prop_assert_eq!(report.class(), want, "held against key {}", by);
        }
    }
}

#[test]
fn a_log_names_its_keys_and_where_each_begins() {
    let (log, _) = rotating(&[false, true, false, true]);
    let size = log.leaves.len() as u64;
    let report = held(&log, &[signed(&log, size, 2)], &[], &[]);
    assert_eq!(report.class(), Class::Valid, "{:?}", report.findings);
    let keys: Vec<_> = report
        .keys
        .iter()
        .map(|(from, key)| (from, key.id()))
        .collect();
    let want = [(0, 0), (size - 2, 1), (size, 2)].map(|(from, at)| (from, public(at).id()));
    assert_eq!(keys, want);
}

#[test]
fn a_key_that_does_not_follow_is_found_where_it_is_announced() {
    let unsigned = rotation(1, 2);
    let again = rotation(0, 0);
    for (name, event) in [("another key signed", unsigned), ("the same key", again)] {
        let (mut log, _) = rotating(&[false]);
        // The log as whoever writes it can make it: the state would not have taken this.
        let leaf = Leaf::of_event(log.header(), event);
        log.push_unchecked(&leaf);
        let size = log.leaves.len() as u64;
        for by in 0..3 {
            let report = held(&log, &[signed(&log, size, by)], &[], &[]);
            let bad = report.first_bad().unwrap();
            assert_eq!(bad.seq, size - 1, "{name}");
            assert!(matches!(bad.what, What::NextLogKey(_)), "{name}: {bad}");
        }
    }
}

#[test]
fn what_a_key_before_the_known_one_signed_counts_only_under_that_one() {
    // Whoever has a key of their own makes a log and ends it with the key that everybody knows.
    let (log, _) = rotating(&[false, true]);
    let size = log.leaves.len() as u64;
    let report = held(&log, &[signed(&log, size - 1, 0)], &[], &[1]);
    assert_eq!((report.class(), report.covered), (Class::Incomplete, 0));
    let report = held(&log, &[signed(&log, size - 1, 0)], &[], &[0]);
    assert_eq!(report.covered, size - 1, "the counter-proof");
}

#[test]
fn a_log_is_held_against_the_newest_of_the_known_keys_that_it_names() {
    let (log, _) = rotating(&[false, true]);
    let size = log.leaves.len() as u64;
    for (known, own) in [
        (&[2, 1, 0][..], Some(1)),
        (&[2, 0], Some(0)),
        (&[1], Some(1)),
        (&[2, 3], None),
    ] {
        let report = held(&log, &[signed(&log, size, 1)], &[], known);
        let want = match own {
            Some(_) => Class::Valid,
            None => Class::Invalid,
        };
        assert_eq!(report.class(), want, "{known:?}");
        assert_eq!(report.key, Some(public(own.unwrap_or(2))), "{known:?}");
    }
    let report = held(&log, &[signed(&log, size - 1, 0)], &[], &[1, 0]);
    let what = "what an older one signed, before the newest that the log names";
    assert_eq!(
        (report.class(), report.covered),
        (Class::Incomplete, 0),
        "{what}"
    );
}

/// A log that says it lost a head of that size, and then takes the keys after the first up to that one.
fn forked(lost: u64, keys: usize) -> (TestLog, u64, LostHead) {
    let mut log = TestLog::new();
    let mut sidecar = log.open(1);
    drop(log.note(&mut sidecar));
    let size = log.leaves.len() as u64;
    let root = log.tree.root_at(size).unwrap();
    let head = LostHead {
        root: TreeRoot::from_bytes([9; 32]),
        size: size + lost,
    };
    log.event(EventBody::Gap {
        size,
        root,
        lost: vec![head],
        limits: GapLimits::AsLogged,
        by: "owner@example.com".to_owned(),
        why: "case 17".to_owned(),
    })
    .unwrap();
    for at in 0..keys {
        log.event(rotation(at, at + 1)).unwrap();
    }
    (log, size, head)
}

#[test]
fn an_anchor_of_what_is_lost_may_be_signed_by_any_key_once_what_names_gap_and_key_is_signed() {
    let mut tried = 0;
    for lost in [1, 2, 3, 4, 90] {
        let (log, gap, head) = forked(lost, 2);
        let last = log.leaves.len() as u64;
        for by in 0..=3 {
            let note = Checkpoint {
                origin: format!("actpass/{TENANT}"),
                size: head.size,
                root: head.root,
            };
            let note = note.sign(&NoteSigner::new(format!("actpass/{TENANT}"), key(by)));
            let from = gap + 1 + by as u64;
            for covered in 1..=last {
                let in_force = covered.saturating_sub(gap + 1).min(2);
                let whole = [signed(&log, covered, usize::try_from(in_force).unwrap())];
                let report = held(&log, &whole, &[Anchor::Checkpoint(note.clone())], &[]);
                let passed = by <= 2 && covered >= from;
                let what = format!(
                    "lost {lost}, by {by}, covered {covered}: {:?}",
                    report.findings
                );
                assert_eq!(report.first_bad().is_none(), passed, "{what}");
                assert_eq!(report.lost[0].known, usize::from(passed), "{what}");
                tried += 1;
            }
        }
    }
    println!("{tried} anchors of what is lost");
}
