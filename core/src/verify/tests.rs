mod log_keys;
mod resumed;

use std::time::Duration;

use super::*;
use crate::action::ActionEvidence;
use crate::evidence::checkpoint::{Checkpoint, NoteSigner};
use crate::evidence::leaf::{EventBody, Leaf, Ruling, RulingApproval, RulingVerdict, StreamEnd};
use crate::evidence::record::{Body, OutcomeResult};
use crate::hash::{DigestMac, TreeRoot};
use crate::state::testlog::{TENANT, TestLog, refund, sealed, signer, vote};

/// A small log with one of everything: 16 leaves.
fn sample() -> TestLog {
    let mut log = TestLog::new();
    let (mut first, mut second) = (log.open(1), log.open(2));
    log.note(&mut first);
    log.intent(&mut first, &refund(5_000, "ch_1"));
    log.outcome(&mut first, 1, OutcomeResult::Ok);
    log.denied_locally(&mut second, 2);
    let asked = log.intent(&mut second, &refund(20_000, "ch_2"));
    let Some(RulingApproval::Asked { id, .. }) = asked.approval else {
        panic!("{asked:?}")
    };
    log.event(sealed(&id, &second, 1)).unwrap();
    log.event(vote(&id, "ann", true)).unwrap();
    log.tick(Duration::from_secs(5));
    log.intent(&mut second, &refund(20_000, "ch_2"));
    log.outcome(&mut second, 2, OutcomeResult::Ambiguous);
    log.intent(&mut first, &refund(600_000, "ch_3"));
    log.event(EventBody::StreamEnded {
        stream: second.id(),
        how: StreamEnd::Closed,
    })
    .unwrap();
    log.intent(&mut first, &refund(4_000, "ch_1"));
    log
}

fn run(leaves: &[Vec<u8>], against: &Against<'_>, inputs: &dyn Inputs) -> Report {
    verify(leaves.iter().map(Ok::<_, String>), against, inputs)
}

/// Verifies leaves against the checkpoint of the log they come from.
fn with_checkpoint(log: &TestLog, leaves: &[Vec<u8>]) -> Report {
    run(
        leaves,
        &Against {
            checkpoints: &[log.checkpoint()],
            ..Against::default()
        },
        log,
    )
}

#[test]
fn a_whole_log_is_valid() {
    let log = sample();
    let report = with_checkpoint(&log, &log.leaves);
    assert_eq!(
        (report.class(), &report.findings[..], &report.gaps[..]),
        (Class::Valid, &[][..], &[][..])
    );
    assert_eq!((report.leaves, report.covered), (16, 16));
    assert_eq!(
        (report.structure, report.state),
        (Level::Holds, Level::Holds)
    );
    assert_eq!(report.root, log.head().root);
    assert_eq!(report.origin.as_deref(), Some("actpass/local/support/1"));
    assert_eq!((report.redecided.intents, report.redecided.same), (5, 5));
}

#[test]
fn any_changed_byte_is_found_in_its_leaf() {
    let log = sample();
    let checkpoints = [log.checkpoint()];
    let against = Against {
        checkpoints: &checkpoints,
        ..Against::default()
    };
    let mut changes = 0;
    for seq in 0..log.leaves.len() {
        for at in (seq % stride()..log.leaves[seq].len()).step_by(stride()) {
            let mut leaves = log.leaves.clone();
            leaves[seq][at] ^= 1;
            let report = run(&leaves, &against, &log);
            assert_eq!(report.class(), Class::Invalid, "byte {at} of leaf {seq}");
            let first = report.first_bad().unwrap();
            assert_eq!(first.seq, seq as u64, "byte {at} of leaf {seq}: {first}");
            changes += 1;
        }
    }
    assert!(changes > 300, "{changes}");
}

#[test]
fn without_a_checkpoint_every_change_but_one_of_the_last_leaf_is_found_too() {
    let log = sample();
    for seq in 0..log.leaves.len() - 1 {
        for at in (0..log.leaves[seq].len()).step_by(10 * stride()) {
            let mut leaves = log.leaves.clone();
            leaves[seq][at] ^= 1;
            let report = run(&leaves, &Against::default(), &NoInputs);
            assert_eq!(report.class(), Class::Invalid, "byte {at} of leaf {seq}");
            let first = report.first_bad().unwrap();
            let near = first.seq == seq as u64
                || first.seq + 1 == seq as u64 && seq == log.leaves.len() - 2;
            assert!(near, "byte {at} of leaf {seq}: {first}");
        }
    }
}

/// Every byte in a full run, every nineteenth else: a run over the log takes milliseconds.
fn stride() -> usize {
    let full = std::env::var("ACTPASS_TEST_SCALE").is_ok_and(|scale| scale == "1");
    if full { 1 } else { 19 }
}

#[test]
fn a_dropped_leaf_is_found_where_it_stood() {
    let log = sample();
    for seq in 0..log.leaves.len() {
        let mut leaves = log.leaves.clone();
        leaves.remove(seq);
        let report = with_checkpoint(&log, &leaves);
        assert_eq!(report.class(), Class::Invalid, "leaf {seq}");
        assert_eq!(
            report.first_bad().unwrap().seq,
            seq as u64,
            "leaf {seq}: {:?}",
            report.findings
        );
    }
}

#[test]
fn swapped_leaves_are_found_at_the_first() {
    let log = sample();
    for first in 0..log.leaves.len() {
        for second in first + 1..log.leaves.len() {
            let mut leaves = log.leaves.clone();
            leaves.swap(first, second);
            let report = with_checkpoint(&log, &leaves);
            assert_eq!(
                report.first_bad().unwrap().seq,
                first as u64,
                "{first} and {second}: {:?}",
                report.findings
            );
        }
    }
}

#[test]
fn a_repeated_leaf_is_found_where_it_is_repeated() {
    let log = sample();
    for seq in 0..log.leaves.len() {
        for at in seq + 1..=log.leaves.len() {
            let mut leaves = log.leaves.clone();
            leaves.insert(at, log.leaves[seq].clone());
            let report = with_checkpoint(&log, &leaves);
            assert_eq!(
                report.first_bad().unwrap().seq,
                at as u64,
                "leaf {seq} at {at}: {:?}",
                report.findings
            );
        }
    }
}

#[test]
fn a_foreign_leaf_is_found_where_it_stands() {
    let log = sample();
    let mut twin = TestLog::new();
    twin.tick(Duration::from_millis(1));
    let mut sidecar = twin.open(3);
    while twin.leaves.len() < log.leaves.len() {
        twin.note(&mut sidecar);
    }
    for seq in 2..log.leaves.len() {
        let mut leaves = log.leaves.clone();
        leaves[seq] = twin.leaves[seq].clone();
        let report = with_checkpoint(&log, &leaves);
        assert_eq!(
            report.first_bad().unwrap().seq,
            seq as u64,
            "leaf {seq}: {:?}",
            report.findings
        );
    }
    let mut leaves = log.leaves.clone();
    leaves.push(twin.leaves[5].clone());
    assert_eq!(
        with_checkpoint(&log, &leaves).first_bad().unwrap().seq,
        16,
        "behind the end"
    );
}

#[test]
fn a_log_cut_short_is_found_by_whatever_was_kept() {
    let log = sample();
    let whole = log.head();
    let anchors = [
        ("its checkpoint", vec![log.checkpoint()], vec![]),
        (
            "an anchored checkpoint",
            vec![],
            vec![Anchor::Checkpoint(log.checkpoint())],
        ),
        ("an anchored head", vec![], vec![Anchor::Head(whole)]),
    ];
    for (name, checkpoints, anchors) in anchors {
        let against = Against {
            checkpoints: &checkpoints,
            anchors: &anchors,
            keys: &[],
        };
        for kept in 1..log.leaves.len() {
            let report = run(&log.leaves[..kept], &against, &log);
            let want = Finding {
                seq: kept as u64,
                what: What::Truncated { size: 16 },
            };
            assert_eq!(report.findings, [want], "{name}, {kept} leaves left");
        }
        assert_eq!(
            run(&[], &against, &log).class(),
            Class::Invalid,
            "{name}, nothing left"
        );
    }
    let report = run(&log.leaves[..9], &Against::default(), &log);
    assert_eq!(
        (report.class(), &report.gaps[..]),
        (Class::Incomplete, &[Gap::Uncovered { from: 0 }][..])
    );
}

#[test]
fn an_older_anchor_shows_a_rewritten_past() {
    let log = sample();
    let mut other = TestLog::new();
    let mut sidecar = other.open(9);
    for _ in 0..13 {
        other.note(&mut sidecar);
    }
    let checkpoints = [other.checkpoint()];
    let kept = Anchor::Head(KeptHead {
        size: 5,
        root: log.tree.root_at(5).unwrap(),
    });
    let against = Against {
        checkpoints: &checkpoints,
        anchors: &[kept],
        keys: &[],
    };
    let report = run(&other.leaves, &against, &other);
    assert_eq!(
        report.first_bad().unwrap().what,
        What::Root {
            size: 5,
            source_name: "anchor"
        }
    );
    let without = Against {
        checkpoints: &checkpoints,
        ..Against::default()
    };
    assert_eq!(
        run(&other.leaves, &without, &other).class(),
        Class::Valid,
        "which nothing else shows"
    );
}

#[test]
fn heads_and_keys_that_cannot_be_believed_are_found() {
    let log = sample();
    let good = log.checkpoint();
    let stranger = NoteSigner::new(
        format!("actpass/{TENANT}"),
        ed25519_dalek::SigningKey::from_bytes(&[1; 32]),
    );
    let head = log.head();
    let forged = Checkpoint {
        origin: format!("actpass/{TENANT}"),
        size: head.size,
        root: head.root,
    }
    .sign(&stranger);
    let other_root = Checkpoint {
        origin: format!("actpass/{TENANT}"),
        size: 16,
        root: TreeRoot::from_bytes([1; 32]),
    };
    let own = signer().verifier();
    let foreign = stranger.verifier();
    let cases = [
        ("a checkpoint by another key", forged, None),
        (
            "a checkpoint with another root",
            other_root.sign(&signer()),
            None,
        ),
        (
            "a checkpoint with a byte changed",
            good.replacen("\n16\n", "\n15\n", 1),
            None,
        ),
        ("no checkpoint", "x".to_owned(), None),
        (
            "another key than the given one",
            good.clone(),
            Some(foreign),
        ),
    ];
    for (name, checkpoint, key) in cases {
        let report = run(
            &log.leaves,
            &Against {
                checkpoints: &[checkpoint],
                anchors: &[],
                keys: key.as_slice(),
            },
            &log,
        );
        assert_eq!(report.class(), Class::Invalid, "{name}");
    }
    let report = run(
        &log.leaves,
        &Against {
            checkpoints: &[good],
            anchors: &[],
            keys: &[own],
        },
        &log,
    );
    assert_eq!(report.class(), Class::Valid, "the given key is the log's");
}

#[test]
fn every_byte_of_the_checkpoint_counts() {
    let log = sample();
    let checkpoint = log.checkpoint();
    for at in 0..checkpoint.len() {
        let mut bytes = checkpoint.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else {
            continue;
        };
        let report = run(
            &log.leaves,
            &Against {
                checkpoints: &[changed],
                ..Against::default()
            },
            &log,
        );
        assert_ne!(report.class(), Class::Valid, "byte {at}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let mut log = sample();
    let report = run(
        &log.leaves,
        &Against {
            checkpoints: &[log.checkpoint()],
            ..Against::default()
        },
        &NoInputs,
    );
    assert_eq!(report.class(), Class::Incomplete);
    assert!(
        matches!(report.gaps[..], [Gap::BundleMissing { seq: 1, .. }]),
        "{:?}",
        report.gaps
    );
    assert_eq!(
        (report.structure, report.state),
        (Level::Holds, Level::CheckedTo(1))
    );
    assert_eq!(report.redecided.missing.get("bundle"), Some(&5));

    log.side.pop_first();
    let report = with_checkpoint(&log, &log.leaves);
    assert_eq!(report.class(), Class::Valid, "what was erased is no fault");
    assert_eq!(
        (
            report.redecided.same,
            report.redecided.missing.get("side frame")
        ),
        (4, Some(&1))
    );
}

#[test]
fn an_empty_log_is_incomplete() {
    let report = run(&[], &Against::default(), &NoInputs);
    assert_eq!(
        (report.class(), &report.gaps[..]),
        (Class::Incomplete, &[Gap::Empty][..])
    );
}

#[test]
fn a_leaf_that_cannot_be_read_is_found() {
    let log = sample();
    let leaves = log.leaves.iter().enumerate();
    let leaves = leaves.map(|(seq, leaf)| {
        if seq == 4 {
            Err("checksum of frame 2")
        } else {
            Ok(leaf)
        }
    });
    let report = verify(leaves, &Against::default(), &log);
    assert_eq!(
        report.first_bad().unwrap().what,
        What::Unreadable("checksum of frame 2".to_owned())
    );
    assert_eq!((report.first_bad().unwrap().seq, report.found), (4, 1));
}

#[test]
fn texts_that_are_not_what_was_committed_to_are_found() {
    let mut log = sample();
    let seq = *log.side.keys().next().unwrap();
    log.side
        .get_mut(&seq)
        .unwrap()
        .0
        .values_mut()
        .for_each(|opening| opening.text.push('x'));
    let report = with_checkpoint(&log, &log.leaves);
    assert!(
        matches!(
            report.first_bad(),
            Some(Finding {
                what: What::Openings(_),
                ..
            })
        ),
        "{:?}",
        report.findings
    );
    assert_eq!(report.first_bad().unwrap().seq, seq);
    let mut log = sample();
    log.mac_key = MacKey::new([8; 32]);
    let report = with_checkpoint(&log, &log.leaves);
    assert_eq!(
        report.first_bad().map(|finding| &finding.what),
        Some(&What::Mac),
        "MACs under another key"
    );
}

#[test]
fn a_denial_because_nothing_was_revealed_holds_only_where_that_is_so() {
    let mut log = sample();
    let mut sidecar = log.open(3);
    let (evidence, right) = ActionEvidence::conceal(&refund(1, "ch_1"), &mut || [0; 32]);
    let judged = Box::new(log.judged(Some(evidence), "needs_facts"));
    log.record(&mut sidecar, Body::Intent(judged), None)
        .unwrap();
    let seq = log.leaves.len() as u64 - 1;
    let (_, others) = ActionEvidence::conceal(&refund(2, "ch_1"), &mut || [0; 32]);
    for (name, openings, want) in [
        ("the texts of another action", others, None),
        ("its own texts", right, Some(What::Ruling("digest"))),
    ] {
        log.side.insert(seq, openings);
        let report = with_checkpoint(&log, &log.leaves);
        let found = report.first_bad().map(|finding| finding.what.clone());
        assert_eq!(found, want, "{name}");
    }
}

/// A log with other things beside it than it has.
struct Instead<'a> {
    log: &'a TestLog,
    seq: u64,
    openings: Kept<Openings>,
    request: Kept<BlobDigest>,
}

impl Inputs for Instead<'_> {
    fn bundle(&self, digest: &BundleDigest) -> Option<Vec<u8>> {
        self.log.bundle(digest)
    }

    fn openings(&self, seq: u64) -> Kept<Openings> {
        match seq == self.seq {
            true => self.openings.clone(),
            false => self.log.openings(seq),
        }
    }

    fn sealed_request(&self, _: &str) -> Kept<BlobDigest> {
        self.request.clone()
    }
}

#[test]
fn what_lies_beside_a_leaf_is_what_it_commits_to_or_the_leaf_is_named() {
    struct Case {
        name: &'static str,
        openings: Kept<Openings>,
        request: Kept<BlobDigest>,
        want: (Class, Option<(u64, What)>),
    }
    let log = sample();
    let bodies = log.leaves.iter().map(|leaf| Leaf::parse(leaf).unwrap());
    let leaves: Vec<Leaf> = bodies.collect();
    let (sealed_at, digest) = leaves
        .iter()
        .find_map(|leaf| match leaf.event() {
            Some(EventBody::Sealed { blob, .. }) => Some((leaf.h.seq, *blob)),
            _ => None,
        })
        .unwrap();
    let intent = |leaf: &&Leaf| matches!(leaf.record(), Some((record, _)) if matches!(record.body, Body::Intent(_)));
    let mut intents = leaves.iter().filter(intent).map(|leaf| leaf.h.seq);
    let (asked, another) = (intents.next().unwrap(), intents.next().unwrap());
    let other = log.side.get(&another).unwrap().clone();
    let request = Kept::Here(digest);
    let unfit = |field: &str| {
        What::Openings(crate::action::ActionEvidenceError::Commitment(
            field.to_owned(),
        ))
    };
    let right = || log.openings(asked);
    let cases = [
        Case {
            name: "all as it was",
            openings: right(),
            request: request.clone(),
            want: (Class::Valid, None),
        },
        Case {
            name: "the texts of another leaf",
            openings: Kept::Here(other),
            request: request.clone(),
            want: (Class::Invalid, Some((asked, unfit("request")))),
        },
        Case {
            name: "texts that do not decrypt",
            openings: Kept::Unreadable("garbled".to_owned()),
            request: request.clone(),
            want: (
                Class::Invalid,
                Some((asked, What::SideFrame("garbled".to_owned()))),
            ),
        },
        Case {
            name: "texts that nobody can look into",
            openings: Kept::Sealed,
            request: request.clone(),
            want: (Class::Valid, None),
        },
        Case {
            name: "no texts",
            openings: Kept::Missing,
            request,
            want: (Class::Incomplete, None),
        },
        Case {
            name: "another request",
            openings: right(),
            request: Kept::Here(BlobDigest::from_bytes([9; 32])),
            want: (Class::Invalid, Some((sealed_at, What::SealedRequest))),
        },
        Case {
            name: "no request",
            openings: right(),
            request: Kept::Missing,
            want: (Class::Incomplete, None),
        },
    ];
    for Case {
        name,
        openings,
        request,
        want,
    } in cases
    {
        let inputs = Instead {
            log: &log,
            seq: asked,
            openings,
            request,
        };
        let checkpoints = [log.checkpoint()];
        let against = Against {
            checkpoints: &checkpoints,
            ..Against::default()
        };
        let report = run(&log.leaves, &against, &inputs);
        let found = report
            .first_bad()
            .map(|finding| (finding.seq, finding.what.clone()));
        assert_eq!((report.class(), found), want, "{name}");
        assert_eq!(report.structure, Level::Holds, "{name}");
    }
}

#[test]
fn a_changed_bundle_is_found() {
    let mut log = sample();
    let other =
        crate::state::testlog::bundle(|spec| spec["passports"][0]["limits"][0]["max"] = 1.into());
    let digest = *log.bundles.0.keys().next().unwrap();
    log.bundles.0.insert(digest, std::sync::Arc::new(other));
    let report = with_checkpoint(&log, &log.leaves);
    assert_eq!(
        report.first_bad().unwrap(),
        &Finding {
            seq: 1,
            what: What::Bundle(digest)
        }
    );
}

/// A ledger with its own key that logs another ruling than policy gives, and signs over it.
fn forged(change: impl FnOnce(&mut Ruling)) -> Report {
    let mut log = sample();
    let mut sidecar = log.open(3);
    let mut honest = log.clone();
    honest.intent(&mut sidecar, &refund(600_000, "ch_5"));
    let mut leaf = Leaf::parse(honest.leaves.last().unwrap()).unwrap();
    change(leaf.d.as_mut().unwrap());
    log.header();
    log.push_unchecked(&leaf);
    log.side = honest.side;
    with_checkpoint(&log, &log.leaves)
}

#[test]
fn a_ledger_that_rules_against_policy_is_found_out() {
    assert_eq!(forged(|_| {}).class(), Class::Valid, "the honest ruling");
    let report = forged(|ruling| ruling.reason = Some("no_rule".to_owned()));
    assert_eq!(
        report.first_bad().unwrap(),
        &Finding {
            seq: 17,
            what: What::Ruling("reason")
        }
    );
    assert_eq!(
        (report.structure, report.state),
        (Level::Holds, Level::Broken)
    );
    let report = forged(|ruling| ruling.verdict = RulingVerdict::Permit);
    assert_eq!(report.first_bad().unwrap().what, What::Ruling("verdict"));
}

#[test]
fn records_without_a_batch_signature_are_named() {
    let mut log = sample();
    let mut sidecar = log.open(3);
    let mut honest = log.clone();
    honest.note(&mut sidecar);
    let mut leaf = Leaf::parse(honest.leaves.last().unwrap()).unwrap();
    leaf.s = None;
    log.header();
    log.push_unchecked(&leaf);
    let report = with_checkpoint(&log, &log.leaves);
    let gap = Gap::Unsigned {
        stream: sidecar.id(),
        from: 17,
    };
    assert_eq!(
        (report.class(), &report.gaps[..]),
        (Class::Incomplete, &[gap][..])
    );
}

#[test]
fn the_frontier_has_the_roots_of_the_tree() {
    let log = sample();
    let mut frontier = frontier::Frontier::default();
    for size in 0..=log.tree.size() {
        assert_eq!(
            Some(frontier.root()),
            log.tree.root_at(size),
            "{size} leaves"
        );
        log.tree
            .leaf(size)
            .into_iter()
            .for_each(|leaf| frontier.push(leaf));
    }
}

#[test]
fn a_finding_reads_as_a_sentence() {
    let log = sample();
    let mut leaves = log.leaves.clone();
    leaves[3].push(b' ');
    let report = with_checkpoint(&log, &leaves);
    assert_eq!(
        report.first_bad().unwrap().to_string().split(':').next(),
        Some("leaf 3")
    );
    assert_eq!(report.class().exit_code(), 3);
}

/// A log whose texts about some subjects have no key any more.
struct Forgotten<'a> {
    log: &'a TestLog,
    /// By leaf.
    gone: std::collections::BTreeMap<u64, GoneKey>,
}

impl Inputs for Forgotten<'_> {
    fn bundle(&self, digest: &BundleDigest) -> Option<Vec<u8>> {
        self.log.bundle(digest)
    }

    fn openings(&self, seq: u64) -> Kept<Openings> {
        match self.gone.get(&seq) {
            Some(gone) => Kept::Erased(*gone),
            None => self.log.openings(seq),
        }
    }
}

#[test]
fn texts_without_a_key_are_no_fault_where_a_later_leaf_says_that_they_were_erased() {
    let mut log = sample();
    let mut sidecar = log.open(3);
    let ruled = log.intent(&mut sidecar, &refund(1_000, "ch_9"));
    let seq = log.leaves.len() as u64 - 1;
    let mac = ruled.subject.unwrap();
    let tag = |first: u8| {
        let mut tag: [u8; 8] = mac.as_bytes()[..8].try_into().unwrap();
        tag[0] ^= first;
        tag
    };
    let erasure = |subject, before| EventBody::Erasure {
        id: "ers_1".to_owned(),
        subject,
        generation: Option::is_some(&subject).then_some(0),
        before,
        by: "ann".to_owned(),
        why: "request 4711".to_owned(),
    };
    let report = |log: &TestLog, gone| {
        let gone = [(seq, gone)].into();
        let inputs = Forgotten { log, gone };
        let checkpoints = [log.checkpoint()];
        let against = Against {
            checkpoints: &checkpoints,
            ..Against::default()
        };
        run(&log.leaves, &against, &inputs)
    };
    let unsaid = Gap::ErasureUnsaid {
        from: seq,
        count: 1,
    };
    let gone = GoneKey::Subject(tag(0));
    let none = report(&log, gone);
    assert_eq!(
        (none.class(), &none.gaps[..]),
        (Class::Incomplete, &[unsaid.clone()][..])
    );
    assert_eq!(none.texts.erased, 1);

    // Another subject's erasure, or that of months before, does not speak of it.
    let mut other = log.clone();
    let another = DigestMac::from_bytes([9; 32]);
    other.event(erasure(Some(another), None)).unwrap();
    let month = crate::state::month_of(other.now);
    let EventBody::Erasure { by, why, .. } = erasure(None, None) else {
        unreachable!()
    };
    let months = EventBody::Erasure {
        id: "ers_2".to_owned(),
        subject: None,
        generation: None,
        before: Some(month),
        by,
        why,
    };
    other.event(months).unwrap();
    for key in [gone, GoneKey::Month] {
        assert_eq!(
            report(&other, key).gaps,
            std::slice::from_ref(&unsaid),
            "{key:?}"
        );
    }

    log.event(erasure(Some(mac), None)).unwrap();
    let said = report(&log, gone);
    assert_eq!(
        (said.class(), said.texts.erased),
        (Class::Valid, 1),
        "{said:?}"
    );
    assert_eq!(said.redecided.missing, [("erased texts", 1)].into());
    assert_eq!(said.redecided.same + 1, said.redecided.intents);

    // Who would hide a text behind the erasure of somebody else is found out by the leaf itself.
    let hidden = report(&log, GoneKey::Subject(tag(1)));
    assert_eq!(
        hidden.first_bad().map(|found| (found.seq, &found.what)),
        Some((seq, &What::ErasedForAnother))
    );

    // What comes after an erasure is not erased by it.
    log.intent(&mut sidecar, &refund(1_001, "ch_9"));
    let later = log.leaves.len() as u64 - 1;
    let inputs = Forgotten {
        log: &log,
        gone: [(later, gone)].into(),
    };
    let later = run(&log.leaves, &Against::default(), &inputs);
    assert!(
        later
            .gaps
            .iter()
            .any(|gap| matches!(gap, Gap::ErasureUnsaid { count: 1, .. }))
    );
}
