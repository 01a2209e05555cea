use std::fs;
use std::path::Path;

use actpass_core::evidence::leaf::{EventBody, TrustedKeys};
use ed25519_dalek::SigningKey;

use super::*;
use crate::engine::{Engine, Log, Parts};
use crate::error::ApiError;
use crate::storage::segment::{SegmentOptions, SegmentStorage};
use crate::vault::{Kek, Vault};

const ORIGIN: &str = "actpass/local/default/1";

fn start(dir: &Path) -> Result<(Engine, Arc<Metrics>), OpenError> {
    let (kek, _) = Kek::load_or_generate(&dir.join("kek")).unwrap();
    let options = SegmentOptions {
        segment_bytes: 16 << 10,
    };
    let metrics = Arc::new(Metrics::default());
    let ledger = Engine::start(Parts {
        storage: Box::new(SegmentStorage::open(&dir.join("log"), options)?),
        vault: Arc::new(Vault::open(&dir.join("vault"), kek).unwrap()),
        log_key: SigningKey::from_bytes(&[7; 32]).into(),
        metrics: metrics.clone(),
        heads: None,
    })?;
    Ok((ledger, metrics))
}

async fn grow(ledger: &Engine, events: usize) -> Result<(), ApiError> {
    for nth in 0..events {
        let key = (format!("{nth:0>300}"), "key".to_owned());
        let keys = TrustedKeys {
            issuer_keys: BTreeMap::from([key]),
            vote_keys: BTreeMap::new(),
        };
        let what = move |_: &Log, _| Ok(EventBody::Keys(keys.clone()));
        ledger.event(ORIGIN.to_owned(), Vec::new(), what).await?;
    }
    Ok(())
}

/// A log of some segments, closed in order.
async fn made() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = start(dir.path()).unwrap();
    ledger.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
    grow(&ledger, 100).await.unwrap();
    ledger.join();
    dir
}

async fn read_to_the_end(metrics: &Metrics) {
    for _ in 0..6_000 {
        if metrics.text().contains("actpass_ledger_unread_segments 0") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not read: {}", metrics.text());
}

#[tokio::test]
async fn a_log_that_is_whole_is_read_to_its_end_and_goes_on() {
    let dir = made().await;
    let (ledger, metrics) = start(dir.path()).unwrap();
    read_to_the_end(&metrics).await;
    grow(&ledger, 3).await.unwrap();
    ledger.join();
}

#[tokio::test]
async fn damage_in_a_segment_that_no_start_read_stops_the_ledger_and_the_next_start_names_it() {
    let dir = made().await;
    let path = dir.path().join("log/segments/00000002.seg");
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[5_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (ledger, _) = start(dir.path()).unwrap();
    let stopped = tokio::time::timeout(Duration::from_secs(60), ledger.poisoned());
    stopped.await.unwrap();
    let refused = grow(&ledger, 1).await.unwrap_err();
    assert!(matches!(refused, ApiError::Poisoned), "{refused}");
    ledger.join();
    let refused = start(dir.path()).unwrap_err();
    let named = matches!(&refused, OpenError::Storage(StorageError::Damaged { path: it, .. }) if *it == path);
    assert!(named, "{refused}");
    // Put back, it is the log that it was.
    fs::write(&path, whole).unwrap();
    let (ledger, metrics) = start(dir.path()).unwrap();
    read_to_the_end(&metrics).await;
    grow(&ledger, 1).await.unwrap();
    ledger.join();
}

#[tokio::test]
async fn leaves_that_are_not_those_of_the_tree_are_found_though_every_checksum_is_right() {
    let (one, other) = (made().await, made().await);
    let storage = |dir: &Path| {
        let options = SegmentOptions::default();
        SegmentStorage::open(&dir.join("log"), options).unwrap()
    };
    let (kek, _) = Kek::load_or_generate(&one.path().join("kek")).unwrap();
    let mut parts = Parts {
        storage: Box::new(storage(one.path())),
        vault: Arc::new(Vault::open(&one.path().join("vault"), kek).unwrap()),
        log_key: SigningKey::from_bytes(&[7; 32]).into(),
        metrics: Arc::default(),
        heads: None,
    };
    let logs = crate::engine::log::read_all(&mut parts).unwrap();
    for (dir, fits) in [(one.path(), true), (other.path(), false)] {
        let opened = match fits {
            true => parts.storage.scrub(),
            false => crate::storage::Storage::scrub(&storage(dir)),
        };
        let (poison, poisoned) = watch::channel(false);
        let metrics = Arc::new(Metrics::default());
        let scrubbing = Scrubbing::start(opened.unwrap(), &logs, metrics.clone(), poison).unwrap();
        for _ in 0..6_000 {
            if *poisoned.borrow() || metrics.text().contains("unread_segments 0") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(scrubbing);
        assert_eq!(*poisoned.borrow(), !fits);
    }
}

#[tokio::test]
async fn a_ledger_that_ends_does_not_wait_for_the_reading() {
    let dir = made().await;
    let (ledger, _) = start(dir.path()).unwrap();
    ledger.join();
    let (ledger, metrics) = start(dir.path()).unwrap();
    read_to_the_end(&metrics).await;
    ledger.join();
}
