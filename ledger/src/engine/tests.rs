//! What the sequencer does with a clock that jumps, and with what its storage tells it.

mod forks;
mod keys;
mod turns;

use std::path::Path;

use actpass_core::bundle::{BUNDLE_VERSION, BundleSpec};
use actpass_core::evidence::leaf::Leaf;
use actpass_core::mode::Mode;
use ed25519_dalek::SigningKey;
use jiff::SignedDuration;

use super::*;
use crate::storage::memory::{Fault, MemoryDisk, MemoryStorage};
use crate::storage::segment::{SegmentOptions, SegmentStorage};
use crate::storage::{Appended, Entry, Head, Recovery, StorageError};
use crate::vault::Kek;

const ORIGIN: &str = "actpass/local/default/1";

fn engine(dir: &Path, storage: Box<dyn Storage>) -> Result<Engine, OpenError> {
    let (kek, _) = Kek::load_or_generate(&dir.join("kek")).unwrap();
    Engine::start(Parts {
        storage,
        vault: Arc::new(Vault::open(&dir.join("vault"), kek).unwrap()),
        log_key: SigningKey::from_bytes(&[7; 32]).into(),
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

fn shared(dir: &Path, disk: &MemoryDisk) -> Engine {
    engine(dir, Box::new(MemoryStorage::shared(disk.clone()))).unwrap()
}

async fn note(ledger: &Engine, nth: usize) -> Result<(), ApiError> {
    let events = ledger.event(ORIGIN.to_owned(), Vec::new(), move |_, _| Ok(event(nth)));
    events.await
}

/// A server that goes away, in each of the ways that an append can end with it: those who ask are denied, nothing ends, and once it
/// is back everything goes on where it was.
#[tokio::test]
async fn while_the_storage_is_away_jobs_are_denied_and_go_on_once_it_is_back() {
    for (fault, kept) in [
        (None, false),
        (Some(Fault::AwayLost), false),
        (Some(Fault::AwayKept), true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let disk = MemoryDisk::default();
        let (ledger, other) = (shared(dir.path(), &disk), shared(dir.path(), &disk));
        ledger.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
        note(&ledger, 0).await.unwrap();
        match fault {
            None => disk.away(true),
            Some(fault) => disk.fail_after(0, fault),
        }
        for nth in 1..4 {
            // Who asks beside it is shown nothing either, in the same group or after it.
            let (denied, unread) = tokio::join!(note(&ledger, nth), ledger.query(|_| Ok(())));
            assert!(
                matches!(denied, Err(ApiError::Stalled)),
                "{fault:?}: {denied:?}"
            );
            assert!(matches!(unread, Err(ApiError::Stalled)), "{fault:?}");
        }
        disk.away(false);
        // The first who asks is shown all of it.
        let size = ledger.query(|logs| Ok(logs[ORIGIN].size())).await.unwrap();
        assert_eq!(size, 2 + u64::from(kept), "{fault:?}");
        note(&ledger, 4).await.unwrap();
        note(&other, 5).await.unwrap();
        note(&ledger, 6).await.unwrap();
        // The one of which nobody knew is there once or not at all; those after it were never sent.
        let found = leaves(&disk);
        assert_eq!(found.len(), 5 + usize::from(kept), "{fault:?}");
        for ledger in [ledger, other] {
            let size = ledger.query(|logs| Ok(logs[ORIGIN].size())).await.unwrap();
            assert_eq!(size, u64::try_from(found.len()).unwrap());
            ledger.join();
        }
    }
}

/// Whoever keeps the log may be away in the middle of any of its calls.
#[tokio::test]
async fn a_ledger_that_finds_its_storage_away_at_any_call_loses_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::default();
    let ledger = shared(dir.path(), &disk);
    ledger.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
    let mut said = Vec::new();
    for nth in 0..60 {
        match nth % 4 {
            0 => disk.fail_after(0, Fault::AwayKept),
            1 => disk.fail_after(0, Fault::UnknownKept),
            2 => disk.fail_after(0, Fault::AwayLost),
            _ => disk.fail_after(0, Fault::UnknownLost),
        }
        if note(&ledger, nth).await.is_ok() {
            said.push(nth);
        }
        disk.away(false);
    }
    ledger.join();
    let there: Vec<String> = leaves(&disk)
        .iter()
        .filter_map(|leaf| match leaf.event() {
            Some(EventBody::Keys(keys)) => keys.issuer_keys.keys().next().cloned(),
            _ => None,
        })
        .collect();
    for nth in &said {
        let times = there.iter().filter(|it| **it == nth.to_string()).count();
        assert_eq!(times, 1, "event {nth}");
    }
    assert_eq!(said.len(), 30, "of which it can be told");
    let distinct: BTreeSet<&String> = there.iter().collect();
    assert_eq!(distinct.len(), there.len());
}

#[tokio::test]
async fn a_log_that_goes_back_stops_the_ledger() {
    for (log, what) in [(ORIGIN, "cut"), ("actpass/other", "left alone")] {
        let dir = tempfile::tempdir().unwrap();
        let disk = MemoryDisk::default();
        let ledger = shared(dir.path(), &disk);
        ledger.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
        note(&ledger, 0).await.unwrap();
        note(&ledger, 1).await.unwrap();
        disk.cut(log, 2);
        let asked = ledger.query(|_| Ok(())).await;
        assert_eq!(
            asked.is_err(),
            log == ORIGIN,
            "{what}: also who only reads is told nothing of what is gone"
        );
        let ended = tokio::time::timeout(Duration::from_millis(100), ledger.poisoned());
        assert_eq!(ended.await.is_ok(), log == ORIGIN, "{what}");
        ledger.join();
    }
}

/// Of a bundle that is given again nothing changes, but it is later than what was given before: each ledger has to know.
#[tokio::test]
async fn what_was_given_to_one_ledger_is_not_given_earlier_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::default();
    let (one, two) = (shared(dir.path(), &disk), shared(dir.path(), &disk));
    let bundle = Arc::new(
        Bundle::new(BundleSpec {
            v: BUNDLE_VERSION.to_owned(),
            tenant: "local/default/1".to_owned(),
            environment: None,
            mode: Mode::Enforce,
            passports: Vec::new(),
            upstreams: Vec::new(),
            policies: Vec::new(),
        })
        .unwrap(),
    );
    let at = |count| Some(Revision { term: 1, count });
    let give = async |ledger: &Engine, count| {
        let given = ledger.set_bundle(bundle.clone(), at(count), BTreeMap::new());
        given.await
    };
    give(&one, 1).await.unwrap();
    give(&one, 5).await.unwrap();
    let refused = give(&two, 3).await;
    assert!(
        matches!(
            refused,
            Err(ApiError::Conflict {
                code: "stale_revision",
                ..
            })
        ),
        "{refused:?}"
    );
    give(&two, 5).await.unwrap();
    for ledger in [one, two] {
        ledger.join();
    }
}
