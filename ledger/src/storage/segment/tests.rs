mod beside;
mod calls;
mod crashes;
#[expect(unreachable_pub, reason = "the tests crate takes it in as well")]
mod disk;
mod faults;
mod flips;
mod indexes;
mod skewed;
mod states;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use self::disk::{Disk, Op, next};
use super::*;
use crate::storage::memory::MemoryStorage;
use crate::storage::reader::{SegmentReader, Tail};
use crate::storage::{Blob, BlobKind};

const SMALL: SegmentOptions = SegmentOptions {
    segment_bytes: SEGMENT_BYTES_MIN,
};

fn dir() -> PathBuf {
    PathBuf::from("/log")
}

fn segment(number: u32) -> PathBuf {
    dir().join("segments").join(segment_name(number))
}

fn open(disk: &Disk) -> Result<SegmentStorage, StorageError> {
    SegmentStorage::open_on(Arc::new(disk.clone()), &dir(), SMALL)
}

/// Opens, and reads what that believed unread: all that is damaged is found by one of the two.
fn open_and_read(disk: &Disk) -> Result<SegmentStorage, StorageError> {
    let storage = open(disk)?;
    if let Some(mut scrub) = storage.scrub() {
        while scrub.left() > 0 {
            scrub.step(&mut |_| {})?;
        }
    }
    Ok(storage)
}

fn check(disk: &Disk) -> Result<crate::storage::reader::Checked, StorageError> {
    SegmentReader::open_on(Arc::new(disk.clone()), &dir())?.check()
}

/// Everything stored, in order, as text that compares.
fn contents(storage: &mut dyn Storage) -> Vec<String> {
    let mut all = Vec::new();
    let mut visit = |entry: Entry<'_>| {
        all.push(describe(&entry));
        ControlFlow::Continue(())
    };
    storage.replay(&mut visit).unwrap();
    all
}

fn describe(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Leaf { log, seq, bytes } => format!("{log} leaf {seq} {}", shown(bytes)),
        Entry::Blob {
            log,
            kind,
            name,
            bytes,
        } => {
            format!("{log} {kind:?} {:?} {}", &name[..4], shown(bytes))
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    match bytes.len() {
        ..=16 => String::from_utf8_lossy(bytes).into_owned(),
        length => format!("{length} bytes {:08x}", crc32c::crc32c(bytes)),
    }
}

/// How many rounds of `full` to run under `ACTPASS_TEST_SCALE`; all where it is not set, at least one.
#[expect(clippy::float_arithmetic, reason = "a count of test rounds")]
fn scaled(full: u64) -> u64 {
    let scale = std::env::var("ACTPASS_TEST_SCALE").ok();
    let scale = scale.and_then(|text| text.parse().ok()).unwrap_or(1.0);
    ((full as f64 * scale) as u64).max(1)
}

/// What [`contents`] shows of some groups.
fn described(groups: &[LogGroup]) -> Vec<String> {
    let mut all = Vec::new();
    for group in groups {
        let log = &group.log;
        for Blob { kind, name, bytes } in &group.blobs {
            all.push(describe(&Entry::Blob {
                log,
                kind: *kind,
                name,
                bytes,
            }));
        }
        for (bytes, seq) in group.leaves.iter().zip(group.expected_head.size..) {
            all.push(describe(&Entry::Leaf { log, seq, bytes }));
        }
    }
    all
}

fn text(random: &mut u64, bytes: u64) -> Vec<u8> {
    (0..bytes)
        .map(|_| b'a' + (next(random) % 26) as u8)
        .collect()
}

/// A valid append to one or two of three logs, with leaves from a few bytes to several sectors.
fn some_groups(storage: &dyn Storage, random: &mut u64) -> Vec<LogGroup> {
    let first = next(random) % 3;
    let count = 1 + next(random) % 2;
    (first..first + count)
        .map(|log| {
            let log = format!("log-{}", log % 3);
            let expected_head = storage.head(&log);
            let leaves = 1 + next(random) % 2;
            let leaves = (0..leaves)
                .map(|_| {
                    let bytes = 2 + next(random) % 700;
                    text(random, bytes).into()
                })
                .collect();
            let mut name = [0; 32];
            name[..8].copy_from_slice(&next(random).to_le_bytes());
            let blobs = match next(random) % 2 {
                0 => Vec::new(),
                _ => vec![Blob {
                    kind: BlobKind::SideFrame {
                        seq: expected_head.size,
                    },
                    name,
                    bytes: text(random, 600),
                }],
            };
            LogGroup {
                log,
                expected_head,
                leaves,
                blobs,
            }
        })
        .collect()
}

fn leaf_group(storage: &dyn Storage, log: &str, leaf: &[u8]) -> LogGroup {
    LogGroup {
        log: log.to_owned(),
        expected_head: storage.head(log),
        leaves: vec![leaf.to_vec().into()],
        blobs: Vec::new(),
    }
}

/// A disk with a log of some segments, closed cleanly, and the appends made to it.
fn small_log(appends: u64) -> (Disk, Vec<Vec<LogGroup>>) {
    let disk = Disk::default();
    let mut storage = open(&disk).unwrap();
    let mut random = 7;
    let mut made = Vec::new();
    for _ in 0..appends {
        let groups = some_groups(&storage, &mut random);
        storage.append(&groups).unwrap();
        storage.maintain().unwrap();
        made.push(groups);
    }
    (disk, made)
}

#[test]
fn what_was_appended_is_there_after_reopening() {
    let (disk, made) = small_log(20);
    let mut storage = open(&disk).unwrap();
    assert_eq!(storage.recovery(), None);
    assert_eq!(contents(&mut storage), described(&made.concat()));
    for group in made.concat() {
        for blob in group.blobs {
            assert_eq!(storage.blob(&blob.name).unwrap(), Some(blob.bytes));
        }
    }
    assert_eq!(storage.blob(&[1; 32]).unwrap(), None);
    let checked = check(&disk).unwrap();
    assert_eq!(checked.tail, Tail::Clean);
    assert_eq!(checked.groups, 20);
    assert_eq!(checked.logs, storage.logs());
    assert!(checked.segments > 2, "the log spans segments");
}

#[test]
fn one_append_to_many_logs_is_one_write_and_one_sync() {
    let disk = Disk::default();
    let mut storage = open(&disk).unwrap();
    let groups: Vec<_> = ["a", "b", "c"]
        .map(|log| leaf_group(&storage, log, b"{}"))
        .into();
    let before = (
        disk.done(Op::Write),
        disk.done(Op::Fdatasync),
        disk.changes(),
    );
    let results = storage.append(&groups).unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!(
        (
            disk.done(Op::Write),
            disk.done(Op::Fdatasync),
            disk.changes()
        ),
        (before.0 + 1, before.1 + 1, before.2 + 2)
    );
}

#[test]
fn a_group_on_another_head_conflicts_alone() {
    let mut storage = open(&Disk::default()).unwrap();
    let stale = leaf_group(&storage, "a", b"stale");
    storage
        .append(&[leaf_group(&storage, "a", b"first")])
        .unwrap();
    let found = storage.head("a");
    let fine = leaf_group(&storage, "b", b"fine");
    let results = storage.append(&[stale, fine]).unwrap();
    let head = Head::genesis("b").after(b"fine");
    assert_eq!(
        results,
        [Appended::Conflict { found }, Appended::Appended { head }]
    );
    assert_eq!(contents(&mut storage), ["a leaf 0 first", "b leaf 0 fine"]);
}

#[test]
fn bounds_are_tested_before_anything_is_written() {
    let disk = Disk::default();
    let mut storage = open(&disk).unwrap();
    let leaf = |bytes| vec![leaf_group(&Disk::empty(), "a", &vec![b'x'; bytes])];
    let mut named = leaf(1);
    named[0].log = "x".repeat(513);
    let cases = [
        (
            "a leaf over 32 KiB",
            leaf(32 * 1024 + 1),
            "leaf of 32769 bytes is over the bound of 32768",
        ),
        (
            "an append over a segment",
            leaf(8192),
            "append of 8384 bytes is over the bound of 8000",
        ),
        (
            "a name over 512 bytes",
            named,
            "log name of 513 bytes is over the bound of 512",
        ),
    ];
    let ops = disk.changes();
    for (name, groups, want) in cases {
        let refused = storage.append(&groups).unwrap_err();
        assert_eq!(refused.to_string(), want, "{name}");
    }
    assert_eq!(disk.changes(), ops);
    let fits = vec![leaf_group(&storage, "a", &vec![b'x'; 7800])];
    storage.append(&fits).unwrap();
}

impl Disk {
    /// Stands for a store without logs.
    fn empty() -> MemoryStorage {
        MemoryStorage::new()
    }
}

#[test]
fn a_second_process_is_refused_and_readers_are_not() {
    let temp = tempfile::tempdir().unwrap();
    let mut storage = SegmentStorage::open(temp.path(), SMALL).unwrap();
    storage.append(&[leaf_group(&storage, "a", b"{}")]).unwrap();
    let refused = SegmentStorage::open(temp.path(), SMALL).err().unwrap();
    let want = format!(
        "`{}` is in use by process {}; stop it, or give another state directory",
        temp.path().join("LOCK").display(),
        std::process::id()
    );
    assert_eq!(refused.to_string(), want);
    let mut reader = SegmentReader::open_read_only(temp.path()).unwrap();
    assert_eq!(reader.check().unwrap().groups, 1);
    drop(storage);
    let mut storage = SegmentStorage::open(temp.path(), SMALL).unwrap();
    assert_eq!(contents(&mut storage), ["a leaf 0 {}"]);
}

#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("state");
    drop(SegmentStorage::open(&dir, SMALL).unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("segments/00000001.seg")), 0o600);
    assert_eq!(mode(&dir.join("LOCK")), 0o600);
}

#[test]
fn a_file_that_does_not_belong_is_passed_over_at_open_and_named_by_check() {
    let (disk, _) = small_log(2);
    let stray = dir().join("segments/notes.txt");
    disk.put(&stray, b"hello".to_vec());
    assert!(open(&disk).is_ok());
    let found = check(&disk).unwrap_err();
    assert!(matches!(found, StorageError::Unexpected { path } if path == stray));
}

#[test]
fn a_reader_beside_a_writer_sees_a_growing_prefix_and_no_damage() {
    let temp = tempfile::tempdir().unwrap();
    let mut storage = SegmentStorage::open(temp.path(), SMALL).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = 3;
            for _ in 0..300 {
                let groups = some_groups(&storage, &mut random);
                storage.append(&groups).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let mut seen = 0;
        while !done.load(Ordering::Acquire) {
            let mut reader = SegmentReader::open_read_only(temp.path()).unwrap();
            let groups = reader.check().unwrap().groups;
            assert!(groups >= seen);
            seen = groups;
        }
        let mut reader = SegmentReader::open_read_only(temp.path()).unwrap();
        assert_eq!(reader.check().unwrap().groups, 300);
    });
}

#[test]
fn a_visitor_that_breaks_sees_no_more() {
    let (disk, _) = small_log(5);
    let mut storage = open(&disk).unwrap();
    let mut seen = 0;
    let mut visit = |_: Entry<'_>| {
        seen += 1;
        ControlFlow::Break(())
    };
    storage.replay(&mut visit).unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn odd_segment_sizes_are_refused() {
    for segment_bytes in [0, 4096, 8193, SEGMENT_BYTES_MAX + 4096] {
        let io = Arc::new(Disk::default());
        let opened = SegmentStorage::open_on(io, &dir(), SegmentOptions { segment_bytes });
        assert!(
            matches!(opened, Err(StorageError::SegmentSize(_))),
            "{segment_bytes}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Segment files and memory answer alike, whatever heads the groups expect.
    #[test]
    fn both_storages_answer_alike(
        appends in proptest::collection::vec(
            proptest::collection::vec((0_u8..3, 0_u64..3, 0_usize..3, 0_usize..2), 1..4),
            1..20,
        )
    ) {
        let disk = Disk::default();
        let mut segment = open(&disk).unwrap();
        let mut memory = MemoryStorage::new();
        for append in appends {
            let groups: Vec<_> = append.into_iter().map(|(log, behind, leaves, blobs)| {
                let log = format!("log-{log}");
                let mut expected_head = memory.head(&log);
                expected_head.size = expected_head.size.saturating_sub(behind);
                LogGroup {
                    log,
                    expected_head,
                    leaves: vec![b"{}".to_vec().into(); leaves],
                    blobs: vec![Blob { kind: BlobKind::Sealed, name: [blobs as u8; 32], bytes: vec![7; 9] }; blobs],
                }
            }).collect();
            prop_assert_eq!(segment.append(&groups).unwrap(), memory.append(&groups).unwrap());
        }
        let mut segment = open(&disk).unwrap();
        prop_assert_eq!(contents(&mut segment), contents(&mut memory));
        prop_assert_eq!(segment.logs(), memory.logs());
    }
}
