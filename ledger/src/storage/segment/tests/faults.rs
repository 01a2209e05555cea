//! The promise under faults: after recovery every answered append is there, the one in flight is there whole or
//! not at all, and nothing else is.

use super::disk::{EIO, ENOSPC, Fault};
use super::*;

/// Rounds per case.
pub(super) fn seeds() -> u64 {
    scaled(10)
}

/// Appends until something breaks: what was answered, and what was not.
pub(super) struct Run {
    pub(super) answered: Vec<String>,
    pub(super) in_flight: Vec<String>,
    pub(super) error: Option<StorageError>,
}

const APPENDS: u64 = 18;

fn run(disk: &Disk) -> Run {
    let mut result = Run {
        answered: Vec::new(),
        in_flight: Vec::new(),
        error: None,
    };
    let mut storage = match open(disk) {
        Ok(storage) => storage,
        Err(error) => {
            result.error = Some(error);
            return result;
        }
    };
    let mut random = 11;
    for nth in 0..APPENDS {
        if nth % 3 == 0
            && let Err(error) = storage.maintain()
            && !matches!(error, StorageError::NoSpace { .. })
        {
            result.error = Some(error);
            return result;
        }
        let groups = some_groups(&storage, &mut random);
        match storage.append(&groups) {
            Ok(_) => result.answered.extend(described(&groups)),
            Err(error @ StorageError::NoSpace { .. }) => result.error = Some(error),
            Err(error) => {
                result.in_flight = described(&groups);
                result.error = Some(error);
                assert!(matches!(
                    storage.append(&groups),
                    Err(StorageError::Poisoned)
                ));
                return result;
            }
        }
    }
    result
}

/// Opens the disk and compares with what may be there; then it must take further appends.
pub(super) fn recovers(disk: &Disk, run: &Run, case: &str) {
    let opened = open_and_read(disk);
    let mut storage = match opened {
        Ok(storage) => storage,
        Err(error) => panic!("{case}: {error}"),
    };
    let found = contents(&mut storage);
    let mut with_in_flight = run.answered.clone();
    with_in_flight.extend(run.in_flight.iter().cloned());
    assert!(
        found == run.answered || found == with_in_flight,
        "{case}: found {found:#?}, answered {:#?}, in flight {:#?}",
        run.answered,
        run.in_flight
    );
    let mut random = 99;
    for _ in 0..2 {
        let groups = some_groups(&storage, &mut random);
        storage.append(&groups).unwrap();
    }
    let checked = check(disk).unwrap();
    assert_eq!(checked.tail, Tail::Clean, "{case}");
    assert_eq!(checked.logs, storage.logs(), "{case}");
}

fn operations() -> u64 {
    let disk = Disk::default();
    assert!(run(&disk).error.is_none());
    disk.changes()
}

#[test]
fn power_lost_at_any_operation_loses_nothing_answered() {
    for nth in 1..=operations() {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let disk = Disk::default();
            disk.fail(None, nth, fault);
            let run = run(&disk);
            for seed in 0..seeds() {
                let case = format!("{fault:?} at operation {nth}, seed {seed}");
                recovers(&disk.crash(seed), &run, &case);
            }
            recovers(
                &disk.restart(),
                &run,
                &format!("process killed at operation {nth}"),
            );
        }
    }
}

#[test]
fn power_lost_again_while_recovering_loses_nothing_answered() {
    for nth in 1..=operations() {
        let disk = Disk::default();
        disk.fail(None, nth, Fault::CrashAfter);
        let run = run(&disk);
        for again in 1..=8 {
            let second = disk.crash(nth);
            second.fail(None, again, Fault::CrashAfter);
            let whole = open(&second).is_ok();
            for seed in 0..seeds() {
                let case = format!("operation {nth}, then {again} (opened: {whole}), seed {seed}");
                recovers(&second.crash(seed), &run, &case);
            }
        }
    }
}

#[test]
fn power_lost_soon_after_the_process_was_killed_loses_nothing_answered() {
    for nth in 1..=operations() {
        let disk = Disk::default();
        disk.fail(None, nth, Fault::CrashAfter);
        run(&disk);
        for later in 1..=6 {
            // What the page cache kept may still be lost, but not once something is answered behind it.
            let second = disk.restart();
            let mut answered = contents(&mut open(&second).unwrap());
            let mut storage = open(&second).unwrap();
            second.fail(None, later, Fault::CrashAfter);
            let mut random = nth + 1;
            let mut in_flight = Vec::new();
            while in_flight.is_empty() {
                let groups = some_groups(&storage, &mut random);
                match storage.append(&groups) {
                    Ok(_) => answered.extend(described(&groups)),
                    Err(_) => in_flight = described(&groups),
                }
            }
            let run = Run {
                answered,
                in_flight,
                error: None,
            };
            for seed in 0..seeds() {
                let case = format!("killed at operation {nth}, off {later} later, seed {seed}");
                recovers(&second.crash(seed), &run, &case);
            }
        }
    }
}

#[test]
fn an_fdatasync_that_fails_poisons_and_loses_nothing_answered() {
    let disk = Disk::default();
    run(&disk);
    for nth in 1..=disk.done(Op::Fdatasync) {
        let disk = Disk::default();
        disk.fail(Some(Op::Fdatasync), nth, Fault::Errno(EIO));
        let run = run(&disk);
        assert!(
            matches!(run.error, Some(StorageError::Io { .. })),
            "fdatasync {nth}"
        );
        recovers(
            &disk.restart(),
            &run,
            &format!("fdatasync {nth} fails, process restarts"),
        );
        for seed in 0..seeds() {
            recovers(
                &disk.crash(seed),
                &run,
                &format!("fdatasync {nth} fails, seed {seed}"),
            );
        }
    }
}

#[test]
fn a_write_that_fails_poisons_and_loses_nothing_answered() {
    let disk = Disk::default();
    run(&disk);
    for nth in 1..=disk.done(Op::Write) {
        let disk = Disk::default();
        disk.fail(Some(Op::Write), nth, Fault::Errno(EIO));
        let run = run(&disk);
        assert!(
            matches!(run.error, Some(StorageError::Io { .. })),
            "write {nth}"
        );
        recovers(
            &disk.restart(),
            &run,
            &format!("write {nth} fails, process restarts"),
        );
    }
}

#[test]
fn a_full_disk_refuses_one_append_and_the_next_goes_on() {
    let disk = Disk::default();
    run(&disk);
    let counts = (disk.done(Op::Write), disk.done(Op::Allocate));
    let writes = (1..=counts.0).map(|nth| (Op::Write, nth));
    let allocations = (1..=counts.1).map(|nth| (Op::Allocate, nth));
    for (op, nth) in writes.chain(allocations) {
        let disk = Disk::default();
        disk.fail(Some(op), nth, Fault::Errno(ENOSPC));
        let run = run(&disk);
        let case = format!("{op:?} {nth} is out of space");
        let early = run.answered.is_empty();
        assert!(
            matches!(run.error, None | Some(StorageError::NoSpace { .. })),
            "{case}: {:?}",
            run.error
        );
        assert!(early || run.in_flight.is_empty(), "{case}");
        recovers(&disk.restart(), &run, &case);
        for seed in 0..seeds() {
            recovers(&disk.crash(seed), &run, &format!("{case}, seed {seed}"));
        }
    }
}

#[test]
fn a_crash_right_after_a_refused_append_loses_nothing_answered() {
    let clean = Disk::default();
    run(&clean);
    for nth in 2..=clean.done(Op::Write) {
        for later in 1..=6 {
            let disk = Disk::default();
            let mut storage = open(&disk).unwrap();
            disk.fail(Some(Op::Write), nth, Fault::Errno(ENOSPC));
            let (mut answered, mut random) = (Vec::new(), 11);
            let mut refused = Vec::new();
            for _ in 0..APPENDS {
                let groups = some_groups(&storage, &mut random);
                match storage.append(&groups) {
                    Ok(_) => answered.extend(described(&groups)),
                    Err(StorageError::NoSpace { .. }) => {
                        // The disk stays full for the scrub, or goes off in one of the steps after it.
                        disk.fail(None, later, Fault::CrashAfter);
                    }
                    Err(_) => {
                        refused = described(&groups);
                        break;
                    }
                }
            }
            let run = Run {
                answered,
                in_flight: refused,
                error: None,
            };
            for seed in 0..seeds() {
                let case = format!("write {nth} full, off {later} operations later, seed {seed}");
                recovers(&disk.crash(seed), &run, &case);
            }
        }
    }
}

#[test]
fn a_disk_that_stays_full_denies_until_space_is_freed() {
    let disk = Disk::default();
    let mut storage = open(&disk).unwrap();
    let mut random = 5;
    let mut answered = Vec::new();
    let mut denied = 0;
    while denied < 3 {
        disk.fail(Some(Op::Allocate), 1, Fault::Errno(ENOSPC));
        let groups = some_groups(&storage, &mut random);
        match storage.append(&groups) {
            Ok(_) => answered.extend(described(&groups)),
            Err(StorageError::NoSpace { .. }) => denied += 1,
            Err(error) => panic!("{error}"),
        }
    }
    disk.fail(Some(Op::Allocate), 1, Fault::Errno(ENOSPC));
    assert!(matches!(
        storage.maintain(),
        Err(StorageError::NoSpace { .. })
    ));
    disk.heal();
    let groups = some_groups(&storage, &mut random);
    storage.append(&groups).unwrap();
    answered.extend(described(&groups));
    assert_eq!(contents(&mut storage), answered);
    drop(storage);
    assert_eq!(contents(&mut open(&disk).unwrap()), answered);
}

#[test]
fn a_disk_that_stalls_is_waited_for_and_answers_nothing_meanwhile() {
    let disk = Disk::default();
    let mut storage = open(&disk).unwrap();
    let groups = vec![leaf_group(&storage, "a", b"{}")];
    disk.stall();
    std::thread::scope(|scope| {
        let appended = scope.spawn(|| storage.append(&groups));
        disk.awaited();
        assert!(!appended.is_finished());
        // Power lost now: nobody was answered, and nothing is there.
        assert_eq!(contents(&mut open(&disk.crash(1)).unwrap()).len(), 0);
        disk.go_on();
        assert!(matches!(
            appended.join().unwrap().unwrap()[..],
            [Appended::Appended { .. }]
        ));
    });
    assert_eq!(contents(&mut storage), described(&groups));
}
