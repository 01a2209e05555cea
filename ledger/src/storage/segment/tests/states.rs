//! Files of states: whole or not there, whatever power and disk do.

use super::disk::{EIO, ENOSPC, Fault};
use super::*;
use crate::storage::Snapshots;

const LOG: &str = "a";

fn files(disk: &Disk) -> Snapshots {
    Snapshots::new(Arc::new(disk.clone()), &dir())
}

/// What is kept of a log at that size: some sectors.
fn bytes(size: u64) -> Vec<u8> {
    text(&mut (size + 1), 1_300)
}

fn of(disk: &Disk, log: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let files = files(disk);
    files.of(log, &files.names().unwrap()).unwrap()
}

/// Sizes of what is there, the newest first; each of it whole.
fn kept(disk: &Disk) -> Vec<u64> {
    let found = of(disk, LOG).into_iter();
    let sizes = found.map(|(path, found)| {
        let size = (0..20).find(|size| {
            path.to_str()
                .unwrap()
                .ends_with(&format!("-{size:020}.state"))
        });
        assert_eq!(found, bytes(size.unwrap()), "{path:?}");
        size.unwrap()
    });
    sizes.collect()
}

#[test]
fn the_newest_two_of_each_log_stay() {
    let disk = Disk::default();
    for size in [1, 9, 10, 11] {
        files(&disk).keep(LOG, size, &bytes(size)).unwrap();
        files(&disk).keep("b", size, b"of another").unwrap();
    }
    assert_eq!(kept(&disk), [11, 10]);
    assert_eq!(of(&disk, "b").len(), 2);
    assert!(of(&disk, "c").is_empty());
}

#[test]
fn whatever_power_leaves_is_whole_and_what_was_kept_is_there() {
    let disk = Disk::default();
    disk.record();
    let mut tried = 0;
    for size in 1..=4 {
        files(&disk).keep(LOG, size, &bytes(size)).unwrap();
        for moment in disk.moments() {
            for left in moment.crash_states(64, size) {
                let found = kept(&left);
                assert!(
                    size == 1 || found.iter().any(|it| *it >= size - 1),
                    "{found:?} at {size}"
                );
                tried += 1;
            }
        }
        for left in disk.crash_states(64, size) {
            assert_eq!(kept(&left).first(), Some(&size));
        }
    }
    assert!(tried > 200, "{tried}");
}

#[test]
fn a_call_that_fails_takes_nothing_away_that_was_kept() {
    for errno in [EIO, ENOSPC] {
        for nth in 1..40 {
            let disk = Disk::default();
            for size in 1..=2 {
                files(&disk).keep(LOG, size, &bytes(size)).unwrap();
            }
            disk.fail_call(nth, Fault::Errno(errno));
            let failed = files(&disk).keep(LOG, 3, &bytes(3)).is_err();
            let struck = disk.struck();
            disk.heal();
            let found = kept(&disk);
            assert!(
                found.contains(&2) && (failed || found[0] == 3),
                "{struck:?}"
            );
            assert_eq!(disk.syncs_repeated(), 0, "{struck:?}");
            if struck.is_none() {
                assert!(nth > 8, "{nth} calls");
                break;
            }
            // Once the disk answers again, it goes on.
            files(&disk.restart()).keep(LOG, 4, &bytes(4)).unwrap();
        }
    }
}
