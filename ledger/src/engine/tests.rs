//! What the sequencer does with a clock that jumps, and with what its storage tells it.

use std::path::Path;

use actpass_core::evidence::leaf::Leaf;
use jiff::SignedDuration;

use super::*;
use crate::storage::memory::{MemoryDisk, MemoryStorage};
use crate::storage::segment::{SegmentOptions, SegmentStorage};
use crate::storage::{Appended, Entry, Head, Recovery, StorageError};
use crate::vault::Kek;

const ORIGIN: &str = "actpass/local/default/1";

fn engine(dir: &Path, storage: Box<dyn Storage>) -> Result<Engine, OpenError> {
    let (kek, _) = Kek::load_or_generate(&dir.join("kek")).unwrap();
    Engine::start(Parts {
        storage,
        vault: Arc::new(Vault::open(&dir.join("vault"), kek).unwrap()),
        log_key: SigningKey::from_bytes(&[7; 32]),
        metrics: Arc::default(),
        heads: None,
    })
}

fn leaves(disk: &MemoryDisk) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    let mut visit = |entry: Entry<'_>| {
        if let Entry::Leaf { bytes, .. } = entry {
            leaves.push(Leaf::parse(bytes).unwrap());
        }
        std::ops::ControlFlow::Continue(())
    };
    let mut storage = MemoryStorage::on(disk.clone());
    storage.replay(&mut visit).unwrap();
    leaves
}

fn event(nth: usize) -> EventBody {
    let key = (nth.to_string(), "key".to_owned());
    EventBody::Keys(TrustedKeys {
        issuer_keys: BTreeMap::from([key]),
        vote_keys: BTreeMap::new(),
    })
}

#[tokio::test]
async fn time_in_the_log_goes_on_whatever_the_clock_does() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::default();
    let ledger = engine(dir.path(), Box::new(MemoryStorage::on(disk.clone()))).unwrap();
    ledger.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
    let begun = leaves(&disk)[0].h.time;
    // Seconds from then: forward, back, the same again, a day back, ten years forward and back.
    let jumps = [0, 60, -60, -60, -86_400, 315_360_000, 0, 1];
    for (nth, jump) in jumps.into_iter().enumerate() {
        let clock = begun + SignedDuration::from_secs(jump);
        let stage = move |staging: &mut Staging<'_>| {
            let time = staging.log(ORIGIN)?.next_time(clock);
            staging.event(ORIGIN, time, event(nth), Vec::new())
        };
        ledger.submit(stage, |(), _| Ok(())).await.unwrap();
    }
    ledger.join();
    let times: Vec<Timestamp> = leaves(&disk).iter().map(|leaf| leaf.h.time).collect();
    assert_eq!(times.len(), 1 + jumps.len());
    assert!(times.is_sorted_by(|one, next| one < next), "{times:?}");
    let forward = begun + SignedDuration::from_secs(315_360_000);
    assert_eq!(times[6], forward, "a clock that is believed");
    assert_eq!(times[7], forward + SignedDuration::from_micros(1));
    // Who reads the log again goes on from there.
    let again = engine(dir.path(), Box::new(MemoryStorage::on(disk.clone()))).unwrap();
    again
        .event(ORIGIN.to_owned(), Vec::new(), |_, _| Ok(event(9)))
        .await
        .unwrap();
    again.join();
    let last = leaves(&disk).last().unwrap().h.time;
    assert!(last > times[8]);
}

/// Says that opening it dropped something, and counts how often it was asked to make room.
struct Recovered {
    inner: MemoryStorage,
    recovery: Recovery,
    asked: Arc<Mutex<u32>>,
    full: bool,
}

impl Recovered {
    fn on(disk: MemoryDisk, full: bool) -> Self {
        Self {
            inner: MemoryStorage::on(disk),
            recovery: Recovery {
                path: PathBuf::from("memory"),
                offset: 64,
                bytes: 123,
                sha256: [0; 32],
                what: String::from("a test"),
            },
            asked: Arc::default(),
            full,
        }
    }
}

impl Storage for Recovered {
    fn append(&mut self, groups: &[LogGroup]) -> Result<Vec<Appended>, StorageError> {
        self.inner.append(groups)
    }
    fn replay(
        &mut self,
        visit: &mut dyn FnMut(Entry<'_>) -> std::ops::ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.inner.replay(visit)
    }
    fn blob(&self, name: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.blob(name)
    }
    fn logs(&self) -> Vec<(String, Head)> {
        self.inner.logs()
    }
    fn head(&self, log: &str) -> Head {
        self.inner.head(log)
    }
    fn maintain(&mut self) -> Result<(), StorageError> {
        *self.asked.lock().unwrap() += 1;
        match self.full {
            true => Err(StorageError::NoSpace {
                path: PathBuf::from("memory"),
            }),
            false => Ok(()),
        }
    }
    fn recovery(&self) -> Option<&Recovery> {
        Some(&self.recovery)
    }
}

#[tokio::test]
async fn what_a_crash_cut_short_is_said_in_every_log() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::default();
    let ledger = engine(dir.path(), Box::new(Recovered::on(disk.clone(), false))).unwrap();
    let other = "actpass/local/other/2";
    for origin in [ORIGIN, other] {
        ledger.make_log(origin, BTreeMap::new()).await.unwrap();
    }
    ledger.join();
    assert_eq!(
        leaves(&disk).len(),
        2,
        "where there is no log there is nothing to say"
    );
    engine(dir.path(), Box::new(Recovered::on(disk.clone(), false)))
        .unwrap()
        .join();
    let said = leaves(&disk);
    let logs: Vec<&str> = said[2..].iter().map(|leaf| leaf.h.log.as_str()).collect();
    assert_eq!(logs, [ORIGIN, other]);
    for leaf in &said[2..] {
        let what = leaf.event();
        assert!(
            matches!(what, Some(EventBody::Recovery { bytes: 123 })),
            "{what:?}"
        );
    }
    // It follows: who reads the log anew takes it.
    let plain = MemoryStorage::on(disk.clone());
    engine(dir.path(), Box::new(plain)).unwrap().join();
    // A full disk is no reason not to start.
    disk.fail_after(0, crate::storage::memory::Fault::NoSpace);
    let full = Recovered::on(disk.clone(), false);
    let ledger = engine(dir.path(), Box::new(full)).unwrap();
    ledger
        .event(ORIGIN.to_owned(), Vec::new(), |_, _| Ok(event(1)))
        .await
        .unwrap();
    ledger.join();
    assert_eq!(leaves(&disk).len(), said.len() + 1);
}

#[tokio::test]
async fn room_is_made_while_nobody_waits_and_on_a_full_disk_sought_now_and_then() {
    for full in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let storage = Recovered::on(MemoryDisk::default(), full);
        let asked = storage.asked.clone();
        let ledger = engine(dir.path(), Box::new(storage)).unwrap();
        ledger.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
        for nth in 0..10 {
            ledger
                .event(ORIGIN.to_owned(), Vec::new(), move |_, _| Ok(event(nth)))
                .await
                .unwrap();
        }
        ledger.join();
        let asked = *asked.lock().unwrap();
        assert!(asked > 0, "full: {full}");
        assert!(!full || asked < 11, "{asked} times within a second or so");
    }
}

/// What waits while the sequencer is busy is more than one write takes, and each caller gets its answer all the same.
#[tokio::test]
async fn a_queue_that_no_write_takes_is_written_in_several() {
    let dir = tempfile::tempdir().unwrap();
    let options = SegmentOptions {
        segment_bytes: 16 << 10,
    };
    let storage = SegmentStorage::open(&dir.path().join("log"), options).unwrap();
    let ledger = Arc::new(engine(dir.path(), Box::new(storage)).unwrap());
    ledger.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let busy = ledger.query(move |_| {
        wait.recv().ok();
        Ok(())
    });
    let large = |nth: usize| {
        let ledger = ledger.clone();
        async move {
            let (_, kept) = blob(BlobKind::Sealed, vec![u8::try_from(nth).unwrap(); 3 << 10]);
            ledger
                .event(ORIGIN.to_owned(), vec![kept], move |_, _| Ok(event(nth)))
                .await
        }
    };
    let all = futures_util::future::join_all((0..12).map(large));
    let release = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        go.send(()).unwrap();
    };
    let (busy, answers, ()) = tokio::join!(busy, all, release);
    busy.unwrap();
    for answer in answers {
        answer.unwrap();
    }
    assert_eq!(
        ledger.query(|logs| Ok(logs[ORIGIN].size())).await.unwrap(),
        13
    );
}
