use std::fs;
use std::path::Path;

use actpass_core::evidence::leaf::{EventBody, TrustedKeys};

use super::*;
use crate::engine::log::read_all;
use crate::engine::{Engine, Logs};
use crate::storage::segment::{SegmentOptions, SegmentStorage};
use crate::vault::{Kek, Vault};

const ORIGIN: &str = "actpass/local/default/1";
const OTHER: &str = "actpass/local/default/2";

const SMALL: SegmentOptions = SegmentOptions {
    segment_bytes: 16 << 10,
};

/// A file that says that the directory has segments of full size.
const LARGE: &str = "large";

fn parts(dir: &Path) -> Parts {
    parts_with(dir, 7)
}

fn parts_with(dir: &Path, key: u8) -> Parts {
    let (kek, _) = Kek::load_or_generate(&dir.join("kek")).unwrap();
    let options = match dir.join(LARGE).exists() {
        true => SegmentOptions::default(),
        false => SMALL,
    };
    Parts {
        storage: Box::new(SegmentStorage::open(&dir.join("log"), options).unwrap()),
        vault: Arc::new(Vault::open(&dir.join("vault"), kek).unwrap()),
        log_key: SigningKey::from_bytes(&[key; 32]).into(),
        metrics: Arc::default(),
        heads: None,
    }
}

fn event(nth: usize) -> EventBody {
    let key = (format!("{nth:0>200}"), "key".to_owned());
    EventBody::Keys(TrustedKeys {
        issuer_keys: BTreeMap::from([key]),
        vote_keys: BTreeMap::new(),
    })
}

/// Starts, logs so many events in each of two logs, and ends.
async fn live(dir: &Path, events: usize) {
    let ledger = Engine::start(parts(dir)).unwrap();
    for origin in [ORIGIN, OTHER] {
        ledger.make_log(origin, BTreeMap::new()).await.unwrap();
        for nth in 0..events {
            let what = move |_: &Log, _| Ok(event(nth));
            ledger
                .event(origin.to_owned(), Vec::new(), what)
                .await
                .unwrap();
        }
    }
    ledger.join();
}

fn copied(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_tree(from, to.path());
    to
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_tree(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Files of states, the oldest first.
fn states(dir: &Path, origin: &str) -> Vec<std::path::PathBuf> {
    let parts = parts(dir);
    let files = parts.storage.snapshots().unwrap();
    let kept = files.of(origin, &files.names().unwrap()).unwrap();
    kept.into_iter().rev().map(|(path, _)| path).collect()
}

/// All that a log says.
fn told(log: &Log) -> Vec<String> {
    let size = log.size();
    let mut all = vec![
        format!("{:?} {:?} {:?}", log.head(), log.last_time, log.given),
        String::from_utf8(Snapshot::of(&log.state).to_vec().unwrap()).unwrap(),
        log.checkpoint.clone(),
        format!("{:?}", log.leaf_hashes(0..size)),
    ];
    for at in 0..size {
        let index = (
            log.root_at(at),
            log.path(at),
            log.tree.consistency(at, size),
        );
        all.push(format!("{index:?}"));
    }
    all
}

fn all_told(logs: &Logs) -> Vec<String> {
    logs.values().flat_map(told).collect()
}

/// What the log says when all its leaves are taken in.
fn from_the_first(dir: &Path) -> Vec<String> {
    let copy = copied(dir);
    fs::remove_dir_all(copy.path().join("log/states")).unwrap();
    all_told(&read_all(&mut parts(copy.path())).unwrap())
}

#[tokio::test]
async fn a_log_begun_from_a_kept_state_is_the_log_of_all_its_leaves() {
    let dir = tempfile::tempdir().unwrap();
    for lives in 1..=3 {
        live(dir.path(), 150).await;
        let want = from_the_first(dir.path());
        let logs = read_all(&mut parts(dir.path())).unwrap();
        assert_eq!(all_told(&logs), want, "{lives} lives");
        for log in logs.values() {
            assert_eq!(log.unkept(), 0, "nothing was taken in");
            let forgotten = log.tree.forgotten();
            assert!(forgotten <= log.size() / 256 * 256);
            assert!(lives < 3 || forgotten == 256, "{forgotten}");
        }
        assert_eq!(states(dir.path(), ORIGIN).len(), lives.min(2));
        // From the one before, and what came after it.
        if lives > 1 {
            let copy = copied(dir.path());
            let newest = states(copy.path(), ORIGIN).pop().unwrap();
            fs::remove_file(newest).unwrap();
            let logs = read_all(&mut parts(copy.path())).unwrap();
            assert_eq!(all_told(&logs), want, "{lives} lives, the state before");
            assert_eq!((logs[ORIGIN].unkept(), logs[OTHER].unkept()), (150, 0));
        }
    }
}

/// In one segment, that is not full.
#[tokio::test]
async fn tiles_whose_leaves_no_index_file_tells_are_there_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(LARGE), "").unwrap();
    live(dir.path(), 260).await;
    let logs = read_all(&mut parts(dir.path())).unwrap();
    assert_eq!(logs[ORIGIN].unkept(), 0);
    assert_eq!(logs[ORIGIN].tree.forgotten(), 0, "nobody could tell");
    assert_eq!(all_told(&logs), from_the_first(dir.path()));
}

#[tokio::test]
async fn a_state_that_is_not_what_the_key_signed_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    live(dir.path(), 20).await;
    let want = from_the_first(dir.path());
    let path = states(dir.path(), ORIGIN).pop().unwrap();
    let bytes = fs::read(&path).unwrap();
    let taken_in = |bytes: &[u8], case: &str| {
        fs::write(&path, bytes).unwrap();
        let logs = read_all(&mut parts(dir.path())).unwrap();
        assert_eq!(all_told(&logs), want, "{case}");
        logs[ORIGIN].unkept()
    };
    assert_eq!(taken_in(&bytes, "as it was"), 0);
    for at in (0..bytes.len()).step_by(307) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_eq!(taken_in(&flipped, &format!("byte {at}")), 21);
        assert_eq!(taken_in(&bytes[..at], &format!("cut at {at}")), 21);
    }
    // Rightly signed and of another log, of another key, or with another state under another key.
    let other = fs::read(states(dir.path(), OTHER).pop().unwrap()).unwrap();
    assert_eq!(taken_in(&other, "of another log"), 21);
    let logs = read_all(&mut parts(dir.path())).unwrap();
    let forged = logs[ORIGIN]
        .snapshot(&SigningKey::from_bytes(&[8; 32]))
        .unwrap();
    assert_eq!(taken_in(&forged, "of another key"), 21);
    let honest = logs[ORIGIN]
        .snapshot(&SigningKey::from_bytes(&[7; 32]))
        .unwrap();
    assert_eq!(taken_in(&honest, "signed anew"), 0);
}

#[tokio::test]
async fn a_log_that_is_shorter_than_a_state_signed_of_it_is_not_begun() {
    let dir = tempfile::tempdir().unwrap();
    live(dir.path(), 30).await;
    let old = copied(dir.path());
    live(dir.path(), 30).await;
    // An earlier copy of the segments, beside the states of today.
    let segments = dir.path().join("log/segments");
    fs::remove_dir_all(&segments).unwrap();
    copy_tree(&old.path().join("log/segments"), &segments);
    let refused = read_all(&mut parts(dir.path())).unwrap_err().to_string();
    assert!(
        refused.contains("a state of 61 leaves was signed"),
        "{refused}"
    );
    // With the states of its own time it is what it was.
    let states = dir.path().join("log/states");
    fs::remove_dir_all(&states).unwrap();
    copy_tree(&old.path().join("log/states"), &states);
    let logs = read_all(&mut parts(dir.path())).unwrap();
    assert_eq!(logs[ORIGIN].size(), 31);
}

#[tokio::test]
async fn a_state_beside_a_log_of_the_same_length_and_other_leaves_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    live(dir.path(), 10).await;
    let other = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join("kek"), other.path().join("kek")).unwrap();
    live(other.path(), 10).await;
    fs::remove_dir_all(dir.path().join("log/segments")).unwrap();
    copy_tree(
        &other.path().join("log/segments"),
        &dir.path().join("log/segments"),
    );
    let logs = read_all(&mut parts(dir.path())).unwrap();
    assert_eq!(logs[ORIGIN].unkept(), 11);
    assert_eq!(all_told(&logs), from_the_first(other.path()));
    let refused = read_all(&mut parts_with(dir.path(), 8)).unwrap_err();
    assert!(matches!(refused, OpenError::OtherKey { .. }), "{refused}");
}
