use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::engine::log::read_all;
use crate::engine::{Engine, Parts};
use crate::storage::segment::{SegmentOptions, SegmentStorage};
use crate::vault::{Kek, Vault};

const KEY: [u8; 32] = [7; 32];

fn parts(dir: &Path) -> Parts {
    let (kek, _) = Kek::load_or_generate(&dir.join("kek")).unwrap();
    let storage = SegmentStorage::open(&dir.join("log"), SegmentOptions::default()).unwrap();
    Parts {
        storage: Box::new(storage),
        vault: Arc::new(Vault::open(&dir.join("vault"), kek).unwrap()),
        log_key: SigningKey::from_bytes(&KEY).into(),
        metrics: Arc::default(),
        heads: None,
    }
}

/// Two logs of one leaf each, of which no state is kept.
async fn two_logs(dir: &Path) -> (Logs, Snapshots) {
    let ledger = Engine::start(parts(dir)).unwrap();
    for origin in ["actpass/a", "actpass/b"] {
        ledger.make_log(origin, BTreeMap::new()).await.unwrap();
    }
    ledger.join();
    std::fs::remove_dir_all(dir.join("log/states")).unwrap();
    let mut parts = parts(dir);
    let logs = read_all(&mut parts).unwrap();
    let files = parts.storage.snapshots().unwrap();
    (logs, files)
}

#[tokio::test]
async fn the_log_with_most_leaves_is_kept_once_there_are_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let (mut logs, files) = two_logs(dir.path()).await;
    let key = SigningKey::from_bytes(&KEY);
    let mut keeping = Keeping::new(Some(files.clone()), &logs);
    assert_eq!(keeping.unkept, 2);
    let kept = |origin| files.of(origin, &files.names().unwrap()).unwrap().len();
    for (leaves, idle, want) in [
        (TAKEN_IN_MAX as usize - 3, true, 0),
        (1, false, 0),
        (1, true, 1),
        (TAKEN_IN_MAX as usize - 1, false, 1),
        (1, false, 2),
    ] {
        keeping.grew(leaves);
        keeping.when_due(&mut logs, &key, idle).unwrap();
        assert_eq!(kept("actpass/a") + kept("actpass/b"), want, "{leaves} more");
    }
}

#[tokio::test]
async fn a_log_that_rests_is_kept_and_each_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut logs, files) = two_logs(dir.path()).await;
    let key = SigningKey::from_bytes(&KEY);
    let now = Timestamp::now();
    assert!(resting(&mut logs, now).is_none());
    let later = now + RESTS_AFTER;
    let mut keeping = Keeping::new(Some(files.clone()), &logs);
    let first = resting(&mut logs, later).unwrap();
    assert_eq!(first.origin(), "actpass/a");
    keeping.keep(first, &key).unwrap();
    assert_eq!(resting(&mut logs, later).unwrap().origin(), "actpass/b");
    assert_eq!(keeping.unkept, 1);
    keeping.at_end(&mut logs, &key).unwrap();
    assert!(resting(&mut logs, later).is_none());
    let names = files.names().unwrap();
    assert_eq!(files.of("actpass/b", &names).unwrap().len(), 1);
}
