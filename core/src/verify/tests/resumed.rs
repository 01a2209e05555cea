//! Verifications that go on where an earlier one ended: they know what the leaves that only pass said of keys and of lost heads.

use super::log_keys::{rotating, rotation, signed};
use super::*;
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
    log.event(rotation(1, 2)).unwrap();
    let mut sidecar = log.open(2);
    for _ in 0..4 {
        log.note(&mut sidecar);
    }
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
        key: None,
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
            key: None,
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
