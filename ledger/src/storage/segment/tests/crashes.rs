//! Every disk that a loss of power can leave, or many of them, told apart by what is on them: each is opened, and holds
//! what was answered and nothing else.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::disk::{ENOSPC, Fault};
use super::*;

/// Disks that are told apart. At full scale of each history a few hundred.
const STATES: u64 = 10_000;

/// Appends of one history: three segments, or four.
const APPENDS: u64 = 14;

/// Disks of one moment: all of them where seven sectors are not synced, else that many drawn.
const OF_ONE_MOMENT: usize = 128;

/// Disks of one moment of a recovery.
const OF_RECOVERY: usize = 8;

/// A disk as it was at a moment, and what is promised of it.
struct Moment {
    disk: Disk,
    /// How many of the history's appends were answered.
    answered: usize,
    /// How many were begun: as many, or one more.
    begun: usize,
}

/// Appends, each as [`described`], and the disk after each change they made.
struct History {
    appends: Vec<Vec<String>>,
    moments: Vec<Moment>,
}

impl History {
    fn new(seed: u64) -> Self {
        let disk = Disk::default();
        disk.record();
        let mut history = Self {
            appends: Vec::new(),
            moments: Vec::new(),
        };
        let mut storage = open(&disk).unwrap();
        history.take(&disk, 0);
        let mut random = seed;
        for nth in 0..APPENDS {
            if nth % 3 == 1 {
                storage.maintain().unwrap();
                history.take(&disk, 0);
            }
            let groups = some_groups(&storage, &mut random);
            if nth % 4 == 2 {
                // Half of it is written, and cleared away: at once, or before the next.
                disk.fail(Some(Op::Write), 1, Fault::Errno(ENOSPC));
                let refused = storage.append(&groups).unwrap_err();
                assert!(matches!(refused, StorageError::NoSpace { .. }));
                disk.heal();
                history.take(&disk, 0);
            }
            storage.append(&groups).unwrap();
            history.take(&disk, 1);
            history.appends.push(described(&groups));
        }
        assert!(storage.logs().len() == 3);
        history
    }

    /// Takes the moments since the last; `begun` more appends than are answered were under way.
    fn take(&mut self, disk: &Disk, begun: usize) {
        let answered = self.appends.len();
        let moments = disk.moments().into_iter();
        self.moments.extend(moments.map(|disk| Moment {
            disk,
            answered,
            begun: answered + begun,
        }));
    }

    /// What the disk holds after so many appends.
    fn after(&self, appends: usize) -> Vec<String> {
        self.appends[..appends].concat()
    }
}

/// What was opened.
#[derive(Debug, Default)]
struct Tally {
    seen: HashSet<[u8; 32]>,
    tried: u64,
    dropped: u64,
    kept: u64,
    in_recovery: u64,
    in_second_recovery: u64,
    /// Of which a segment was taken in by its index file.
    believed: u64,
}

impl Tally {
    /// Whether no such disk was opened before.
    fn is_new(&mut self, disk: &Disk) -> bool {
        self.tried += 1;
        let mut hash = Sha256::new();
        for (path, bytes) in disk.read_all() {
            hash.update(path.to_str().unwrap());
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(&bytes);
        }
        self.seen.insert(hash.finalize().into())
    }
}

/// Opens a disk and compares; the answer is how many appends it holds, and the disk at each change that opening made.
fn recovered(
    history: &History,
    moment: &Moment,
    tally: &mut Tally,
    seed: u64,
) -> (usize, Vec<Disk>) {
    let disk = &moment.disk;
    let torn = check(disk).unwrap().tail != Tail::Clean;
    disk.record();
    let mut storage = open_and_read(disk).unwrap();
    let steps = disk.moments();
    let told = storage.recovery().is_some();
    assert_eq!(told, torn, "what is dropped is told, and nothing else");
    let found = contents(&mut storage);
    let held = (moment.answered..=moment.begun).find(|held| found == history.after(*held));
    let held = held.unwrap_or_else(|| {
        let (answered, begun) = (moment.answered, moment.begun);
        panic!("{answered} answered, {begun} begun, found {found:#?}")
    });
    assert!(!told || held == moment.answered, "what was whole is told");
    tally.dropped += u64::from(told);
    tally.kept += u64::from(held > moment.answered);

    // What was found may have been shown: power lost now does not take it away.
    let again = open(&disk.crash(seed)).unwrap();
    assert_eq!(again.recovery(), None, "a second opening finds nothing");
    assert_eq!(again.logs(), storage.logs());

    let mut random = seed + 99;
    let mut want = found;
    for _ in 0..2 {
        let groups = some_groups(&storage, &mut random);
        storage.append(&groups).unwrap();
        want.extend(described(&groups));
    }
    drop(storage);
    let mut again = open_and_read(disk).unwrap();
    assert_eq!(again.recovery(), None);
    assert_eq!(contents(&mut again), want);
    tally.believed += u64::from(again.scrub().is_some());
    let checked = check(disk).unwrap();
    assert_eq!(checked.tail, Tail::Clean);
    assert_eq!(checked.logs, again.logs());
    (held, steps)
}

/// Opens what losing power during a recovery leaves, and after that during the recovery from it.
fn recovered_again(
    history: &History,
    of: &Moment,
    steps: &[Disk],
    tally: &mut Tally,
    depth: u32,
    seed: u64,
) {
    for step in steps {
        for disk in step.crash_states(OF_RECOVERY, seed) {
            if !tally.is_new(&disk) {
                continue;
            }
            tally.in_recovery += u64::from(depth == 1);
            tally.in_second_recovery += u64::from(depth == 2);
            let moment = Moment { disk, ..*of };
            let (_, steps) = recovered(history, &moment, tally, seed);
            if depth == 1 {
                recovered_again(history, &moment, &steps, tally, 2, seed + 1);
            }
        }
    }
}

#[test]
fn every_disk_that_losing_power_leaves_holds_what_was_answered() {
    let want = scaled(STATES);
    let mut tally = Tally::default();
    let mut histories = 0;
    while (tally.seen.len() as u64) < want {
        histories += 1;
        assert!(histories < 200, "{tally:?}");
        let history = History::new(histories);
        for (nth, moment) in history.moments.iter().enumerate() {
            let seed = nth as u64;
            for (choice, disk) in moment
                .disk
                .crash_states(OF_ONE_MOMENT, seed)
                .into_iter()
                .enumerate()
            {
                if tally.seen.len() as u64 >= want {
                    break;
                }
                if !tally.is_new(&disk) {
                    continue;
                }
                let moment = Moment { disk, ..*moment };
                let (_, steps) = recovered(&history, &moment, &mut tally, choice as u64);
                if choice % 5 == 3 {
                    recovered_again(&history, &moment, &steps, &mut tally, 1, seed);
                }
            }
        }
    }
    let distinct = tally.seen.len() as u64;
    println!(
        "{distinct} distinct disks of {} tried, {histories} histories of {APPENDS} appends: {} with an unanswered group kept whole, \
         {} dropped, {} left by power lost in a recovery, {} in the recovery from that",
        tally.tried, tally.kept, tally.dropped, tally.in_recovery, tally.in_second_recovery
    );
    assert!(distinct >= want);
    assert!(tally.kept * 200 >= distinct && tally.dropped * 4 >= distinct);
    assert!(tally.believed * 2 >= distinct, "{tally:?}");
    assert!(tally.in_recovery * 50 >= distinct && tally.in_second_recovery * 200 >= distinct);
}

#[test]
fn a_storage_that_answered_before_its_sync_would_be_found() {
    let history = History::new(1);
    // As if the group under way had been answered when it was merely written.
    let early = |moment: &&Moment| moment.begun > moment.answered;
    let lost = history.moments.iter().filter(early).any(|moment| {
        let states = moment.disk.crash_states(OF_ONE_MOMENT, 0);
        states.iter().any(|disk| {
            let mut storage = open(disk).unwrap();
            contents(&mut storage) != history.after(moment.begun)
        })
    });
    assert!(lost);
}
