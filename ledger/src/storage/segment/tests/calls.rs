//! Every call that the storage makes fails in turn, in every way a file system says no: what was answered is there, what
//! cannot be kept is not answered, and no sync is asked for twice.

use std::collections::BTreeMap;

use super::disk::{EDQUOT, EIO, ENOSPC, EROFS, Fault};
use super::faults::{Run, recovers, seeds};
use super::*;

const KINDS: [(&str, Fault); 5] = [
    ("EIO", Fault::Errno(EIO)),
    ("ENOSPC", Fault::Errno(ENOSPC)),
    ("EDQUOT", Fault::Errno(EDQUOT)),
    ("EROFS", Fault::Errno(EROFS)),
    ("short", Fault::Short),
];

/// Appends of one life of a process: it begins in one segment and ends in the next but one.
const APPENDS: u64 = 12;

/// Opens, appends, reads back, and goes on where it may; `before` is what the disk holds.
fn live(disk: &Disk, before: &[String], seed: u64) -> (Run, u64) {
    let mut run = Run {
        answered: before.to_vec(),
        in_flight: Vec::new(),
        error: None,
    };
    let mut refused = 0;
    let mut storage = match open(disk) {
        Ok(storage) => storage,
        Err(error) => {
            run.error = Some(error);
            return (run, refused);
        }
    };
    let mut random = seed;
    for nth in 0..APPENDS {
        if nth % 3 == 0
            && let Err(error) = storage.maintain()
        {
            let full = matches!(error, StorageError::NoSpace { .. });
            run.error = Some(error);
            if !full {
                takes_nothing_more(disk, &mut storage);
                return (run, refused);
            }
        }
        if nth == APPENDS / 2 {
            // What cannot be read is no reason to stop writing; the answer is no, and that is all.
            let mut unseen = |_: Entry<'_>| ControlFlow::Continue(());
            run.error = storage.replay(&mut unseen).err().or(run.error);
        }
        let groups = some_groups(&storage, &mut random);
        match storage.append(&groups) {
            Ok(_) => run.answered.extend(described(&groups)),
            Err(error @ StorageError::NoSpace { .. }) => {
                refused += 1;
                run.error = Some(error);
            }
            Err(error) => {
                run.in_flight = described(&groups);
                run.error = Some(error);
                takes_nothing_more(disk, &mut storage);
                return (run, refused);
            }
        }
    }
    (run, refused)
}

/// It is over for this process: nothing is answered, and the disk is left alone.
fn takes_nothing_more(disk: &Disk, storage: &mut SegmentStorage) {
    let calls = disk.calls();
    for _ in 0..3 {
        let groups = some_groups(storage, &mut 1);
        let appended = storage.append(&groups);
        assert!(matches!(appended, Err(StorageError::Poisoned)));
        let maintained = storage.maintain();
        assert!(matches!(maintained, Err(StorageError::Poisoned)));
    }
    assert_eq!(disk.calls(), calls, "nothing is tried again");
}

/// Lets each call of one life fail in turn, and counts them.
fn each_call_fails(
    begin: &dyn Fn() -> Disk,
    before: &[String],
    seed: u64,
    counts: &mut BTreeMap<(Op, &str), u64>,
) {
    let clean = begin();
    let (run, refused) = live(&clean, before, seed);
    assert!(run.error.is_none() && refused == 0, "{:?}", run.error);
    for nth in 1..=clean.calls() {
        for (kind, fault) in KINDS {
            let disk = begin();
            disk.fail_call(nth, fault);
            let (run, refused) = live(&disk, before, seed);
            let op = disk.struck().unwrap();
            *counts.entry((op, kind)).or_default() += 1;
            let case = format!("call {nth}, {op:?} with {kind}");
            check_answers(op, kind, &run, refused, &case);
            assert_eq!(disk.syncs_repeated(), 0, "{case}: a sync is repeated");
            recovers(&disk.restart(), &run, &case);
            for seed in 0..seeds().div_ceil(5) {
                recovers(&disk.crash(seed), &run, &format!("{case}, seed {seed}"));
            }
        }
    }
}

fn check_answers(op: Op, kind: &str, run: &Run, refused: u64, case: &str) {
    let full = matches!(kind, "ENOSPC" | "EDQUOT");
    let error = run.error.as_ref();
    let no_space = matches!(error, Some(StorageError::NoSpace { .. }));
    let of_index = matches!(
        op,
        Op::Create | Op::Write | Op::Fdatasync | Op::Rename | Op::Remove
    );
    if full && of_index && error.is_none() {
        // An index file that waits until there is room, as at the start: nothing that was asked for was refused.
        assert_eq!(refused, 0, "{case}");
        return;
    }
    assert!(error.is_some(), "{case}: nobody is told");
    match op {
        Op::Write | Op::Allocate if full => {
            assert!(no_space && refused <= 1, "{case}: {error:?}");
            assert!(run.in_flight.is_empty(), "{case}");
        }
        // A sync is never believed the second time, whatever it failed with: a segment that is being made is given up.
        Op::Fdatasync if full && no_space => assert!(refused <= 1, "{case}"),
        Op::Create | Op::Rename | Op::Remove if full && no_space => {}
        _ => {
            assert!(
                matches!(error, Some(StorageError::Io { .. })),
                "{case}: {error:?}"
            );
            assert_eq!(refused, 0, "{case}");
        }
    }
}

#[test]
fn each_call_that_fails_loses_nothing_answered_and_answers_nothing_that_is_not_kept() {
    let mut counts = BTreeMap::new();
    each_call_fails(&Disk::default, &[], 11, &mut counts);
    let first = Disk::default();
    let (run, _) = live(&first, &[], 11);
    // The second life begins on a group cut short, so that opening has to mend it.
    let (last, bytes) = (1..)
        .map_while(|number| Some((number, first.read_all().remove(&segment(number))?)))
        .filter(|(_, bytes)| bytes[0] != 0)
        .last()
        .unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let begin = || {
        let disk = first.copy();
        let mut torn = bytes.clone();
        torn[end..end + 40].fill(0);
        torn[end.next_multiple_of(64)..][..40].fill(b'x');
        disk.put(&segment(last), torn);
        disk
    };
    assert!(open(&begin()).unwrap().recovery().is_some());
    each_call_fails(&begin, &run.answered, 23, &mut counts);
    let all: u64 = counts.values().sum();
    println!("{all} failed calls");
    for (kind, _) in KINDS {
        let of_kind: Vec<String> = counts
            .iter()
            .filter(|((_, it), _)| *it == kind)
            .map(|((op, _), count)| format!("{op:?} {count}"))
            .collect();
        println!("{kind}: {}", of_kind.join(", "));
    }
    let ops: std::collections::BTreeSet<Op> = counts.keys().map(|(op, _)| *op).collect();
    for op in [
        Op::Allocate,
        Op::Create,
        Op::Fdatasync,
        Op::Rename,
        Op::SyncDir,
        Op::Write,
        Op::List,
        Op::Lock,
        Op::MakeDir,
        Op::Open,
        Op::Read,
        Op::Size,
    ] {
        assert!(ops.contains(&op), "{op:?}");
    }
}
