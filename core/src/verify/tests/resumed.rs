//! Verifications that go on where an earlier one ended: they know what the leaves that only pass said of keys and of lost heads.

use super::log_keys::{rotating, rotation, signed};
use super::*;
use crate::evidence::checkpoint::NoteVerifier;
use crate::evidence::leaf::{GapLimits, LostHead};

/// A log whose key changes, whose end is lost, and whose key changes again; with the heads of what is lost, as anchors.
fn forked() -> (TestLog, Vec<Anchor>) {
    let (mut log, _) = rotating(&[false, true, false]);
    let (lost, _) = rotating(&[false, true, false, false, false, false]);
    let head = lost.head();
    assert_eq!(lost.tree.root_at(log.head().size), Some(log.head().root));
    log.event(EventBody::Gap {
        size: log.head().size,
        root: log.head().root,
        lost: vec![LostHead {
            size: head.size,
            root: head.root,
        }],
        limits: GapLimits::UsedUp,
        by: "ann".to_owned(),
        why: "the disk broke".to_owned(),
    })
    .unwrap();
    let mut sidecar = log.open(2);
    for _ in 0..4 {
        log.note(&mut sidecar);
    }
    log.event(rotation(1, 2)).unwrap();
    assert!(log.head().size > head.size, "it has that many leaves again");
    let note = signed(&lost, head.size, 1);
    (log, vec![Anchor::Head(head), Anchor::Checkpoint(note)])
}

#[test]
fn a_check_that_goes_on_knows_the_keys_and_the_lost_heads_of_what_passed() {
    let (log, anchors) = forked();
    let whole = [signed(&log, log.head().size, 2)];
    let against = Against {
        checkpoints: &whole,
        anchors: &anchors,
        keys: &[],
    };
    let anew = run(&log.leaves, &against, &log);
    assert_eq!(anew.class(), Class::Incomplete, "{:?}", anew.findings);
    assert_eq!(anew.lost.iter().map(|part| part.known).sum::<usize>(), 2);

    let mut went_on = 0;
    for at in 1..log.leaves.len() {
        let nothing = Against::default();
        let mut first = Verification::new(&nothing, &log);
        log.leaves[..at].iter().for_each(|leaf| first.leaf(leaf));
        let Some(saved) = first.save() else { continue };
        let saved = serde_json::to_vec(&saved).unwrap();
        let saved = serde_json::from_slice(&saved).unwrap();
        let mut second = Verification::resume(&against, &log, saved).unwrap();
        log.leaves.iter().for_each(|leaf| second.leaf(leaf));
        assert_eq!(second.resumed(), Resumed::From(at as u64));
        assert_eq!(second.finish(), anew, "from leaf {at}");
        went_on += 1;
    }
    assert!(went_on > 8, "{went_on}");
}

#[test]
fn a_lost_head_is_passed_over_only_where_the_gap_is_signed_and_names_it() {
    let (log, anchors) = forked();
    let size = log.head().size;
    let gap = log.leaves.len() as u64 - 7;
    let covered = |covers: u64, by| [signed(&log, covers, by)];
    let class = |checkpoints: &[String], anchors: &[Anchor]| {
        let against = Against {
            checkpoints,
            anchors,
            keys: &[],
        };
        run(&log.leaves, &against, &log).class()
    };
    assert_eq!(class(&covered(size, 2), &anchors), Class::Incomplete);
    assert_eq!(class(&covered(gap + 1, 1), &anchors), Class::Incomplete);
    assert_eq!(class(&covered(gap, 1), &anchors), Class::Invalid);
    let Anchor::Head(mut head) = anchors[0].clone() else {
        unreachable!("made above")
    };
    head.size -= 1;
    let other = [Anchor::Head(head)];
    assert_eq!(class(&covered(size, 2), &other), Class::Invalid);
}

#[test]
fn who_only_names_a_key_cannot_say_that_what_it_signed_is_lost() {
    // Whoever has the first key makes the log anew, and names the second at its end.
    let (lost, _) = rotating(&[false, true, false, false, false, false, false]);
    let head = lost.head();
    let (mut log, _) = rotating(&[false]);
    log.event(EventBody::Gap {
        size: log.head().size,
        root: log.head().root,
        lost: vec![LostHead {
            size: head.size,
            root: head.root,
        }],
        limits: GapLimits::UsedUp,
        by: "ann".to_owned(),
        why: "the disk broke".to_owned(),
    })
    .unwrap();
    let covered = log.head().size;
    log.event(rotation(0, 1)).unwrap();
    assert!(log.head().size < head.size);
    let anchors = [Anchor::Checkpoint(signed(&lost, head.size, 1))];
    let class = |checkpoint: String| {
        let against = Against {
            checkpoints: &[checkpoint],
            anchors: &anchors,
            keys: &[],
        };
        run(&log.leaves, &against, &log).class()
    };
    assert_eq!(class(signed(&log, covered, 0)), Class::Invalid);
    let by_it = signed(&log, log.head().size, 1);
    assert_eq!(class(by_it), Class::Incomplete, "the counter-proof");
}

#[test]
fn what_a_key_before_the_known_one_signed_counts_no_more_for_who_goes_on() {
    let (log, _) = rotating(&[false, true, false]);
    let size = log.head().size;
    let key = NoteVerifier::new(
        format!("actpass/{TENANT}"),
        super::log_keys::key(1).verifying_key(),
    );
    let early = [signed(&log, size - 2, 0)];
    let against = Against {
        checkpoints: &early,
        anchors: &[],
        keys: &[key],
    };
    let anew = run(&log.leaves, &against, &log);
    assert_eq!((anew.class(), anew.covered), (Class::Incomplete, 0));
    let nothing = Against::default();
    let mut first = Verification::new(&nothing, &log);
    log.leaves.iter().for_each(|leaf| first.leaf(leaf));
    let saved = first.save().unwrap();
    let mut second = Verification::resume(&against, &log, saved).unwrap();
    log.leaves.iter().for_each(|leaf| second.leaf(leaf));
    assert_eq!(second.finish(), anew);
}
