use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::*;
use crate::storage::segment::{SEGMENT_BYTES_MIN, SegmentOptions};
use crate::storage::{Appended, Entry, LogGroup, SegmentReader, SegmentStorage, Storage};

const SMALL: SegmentOptions = SegmentOptions {
    segment_bytes: SEGMENT_BYTES_MIN,
};

/// A directory with a log that grows, and room for a file and its cursor.
struct Growing {
    dir: TempDir,
    storage: Option<SegmentStorage>,
    written: u64,
}

impl Growing {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = SegmentStorage::open(&dir.path().join("log"), SMALL).unwrap();
        Self {
            dir,
            storage: Some(storage),
            written: 0,
        }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("out.jsonl")
    }

    fn cursor(&self) -> CursorFile {
        CursorFile::open(&self.dir.path().join("cursor")).unwrap()
    }

    fn cursor_text(&self) -> String {
        text(&self.dir.path().join("cursor"))
    }

    /// Appends groups of some leaves to two logs.
    fn grow(&mut self, groups: u64) {
        let storage = self.storage.as_mut().unwrap();
        for group in 0..groups {
            let log = ["one", "two"][usize::from(group % 3 == 0)].to_owned();
            let leaves = (0..=group % 4).map(|_| {
                self.written += 1;
                format!("{{\"leaf\":{},\"of\":\"{log}\"}}", self.written)
                    .into_bytes()
                    .into()
            });
            let appended = storage.append(&[LogGroup {
                expected_head: storage.head(&log),
                leaves: leaves.collect(),
                blobs: Vec::new(),
                log,
            }]);
            assert!(matches!(appended.unwrap()[..], [Appended::Appended { .. }]));
        }
    }

    /// One that was just started, with a sink to this file.
    fn to_file(&self) -> Tailer {
        let sink = Box::new(FileSink::new(&self.file()));
        Tailer::new(&self.log(), self.cursor(), sink).unwrap()
    }

    /// That these texts hold each leaf's line once, and of each log in order.
    fn holds_each_once(&self, texts: &[&str]) {
        let lines: Vec<&str> = texts.iter().flat_map(|text| text.lines()).collect();
        let distinct: BTreeSet<&str> = lines.iter().copied().collect();
        assert_eq!(distinct.len(), lines.len(), "no line twice");
        assert_eq!(lines.len() as u64, self.written, "no line missing");
        let mut want: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut reader = SegmentReader::open_read_only(&self.log()).unwrap();
        reader
            .read_on(&mut |entry| {
                if let Entry::Leaf { log, bytes, .. } = entry {
                    let line = line_of(bytes, &crate::storage::leaf_hash(bytes));
                    let line = String::from_utf8(line).unwrap();
                    want.entry(log.to_owned()).or_default().push(line);
                }
            })
            .unwrap();
        for (log, want) in want {
            let of = format!("\"of\":\"{log}\"");
            let found = lines.iter().filter(|line| line.contains(&of));
            let found: Vec<String> = found.map(|line| format!("{line}\n")).collect();
            assert_eq!(found, want, "{log}");
        }
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn each_leaf_is_passed_on_once_however_often_it_is_started_anew() {
    let mut log = Growing::new();
    for _ in 0..5 {
        log.grow(40);
        let mut tailer = log.to_file();
        assert!(tailer.pass_on(None).unwrap() > 0);
        log.grow(40);
        assert!(tailer.pass_on(None).unwrap() > 0);
        assert_eq!(tailer.pass_on(None).unwrap(), 0, "nothing new");
        assert_eq!(tailer.passed(), log.written);
    }
    log.holds_each_once(&[&text(&log.file())]);
}

#[test]
fn what_a_crash_left_behind_the_cursor_is_passed_on_again_and_stands_in_the_file_once() {
    let mut log = Growing::new();
    log.grow(30);
    log.to_file().pass_on(None).unwrap();
    let cursor = log.dir.path().join("cursor");
    for cut in [0, 1, 7] {
        let before = text(&cursor);
        log.grow(30);
        log.to_file().pass_on(None).unwrap();
        // As if it had ended before the cursor was kept, in the middle of a line.
        std::fs::write(&cursor, before).unwrap();
        let length = std::fs::metadata(log.file()).unwrap().len();
        let file = std::fs::OpenOptions::new().write(true).open(log.file());
        file.unwrap().set_len(length - cut).unwrap();
        log.to_file().pass_on(None).unwrap();
        log.holds_each_once(&[&text(&log.file())]);
    }
}

#[test]
fn a_file_that_was_begun_before_a_crash_is_known_to_the_cursor() {
    let mut log = Growing::new();
    log.grow(10);
    let mut tailer = log.to_file();
    tailer.pass_on(None).unwrap();
    std::fs::rename(log.file(), log_path(&log.dir, 1)).unwrap();
    log.grow(10);
    let cursor = log.dir.path().join("cursor");
    let before = log.cursor_text();
    tailer.pass_on(None).unwrap();
    drop(tailer);
    // As if it had ended after the first lines of the new file, and before the cursor was kept: it knows the file, empty.
    let inode = |text: &str| -> u64 {
        let cursor: serde_json::Value = serde_json::from_str(text).unwrap();
        cursor["file"]["inode"].as_u64().unwrap()
    };
    let mut noted: serde_json::Value = serde_json::from_str(&before).unwrap();
    noted["file"] = serde_json::json!({"inode": inode(&log.cursor_text()), "bytes": 0});
    std::fs::write(&cursor, noted.to_string()).unwrap();
    log.to_file().pass_on(None).unwrap();
    log.holds_each_once(&[&text(&log_path(&log.dir, 1)), &text(&log.file())]);
}

#[test]
fn a_file_that_was_renamed_is_followed_by_another() {
    let mut log = Growing::new();
    let mut tailer = log.to_file();
    log.grow(30);
    tailer.pass_on(None).unwrap();
    std::fs::rename(log.file(), log_path(&log.dir, 1)).unwrap();
    log.grow(30);
    tailer.pass_on(None).unwrap();
    drop(tailer);
    std::fs::rename(log.file(), log_path(&log.dir, 2)).unwrap();
    log.grow(30);
    log.to_file().pass_on(None).unwrap();
    let texts = [
        text(&log_path(&log.dir, 1)),
        text(&log_path(&log.dir, 2)),
        text(&log.file()),
    ];
    assert!(texts.iter().all(|text| !text.is_empty()));
    log.holds_each_once(&texts.each_ref().map(String::as_str));
}

fn log_path(dir: &TempDir, nth: u32) -> PathBuf {
    dir.path().join(format!("out.jsonl.{nth}"))
}

#[test]
fn leaves_that_are_not_durable_wait() {
    let mut log = Growing::new();
    log.grow(30);
    let mut tailer = log.to_file();
    let durable = |name: &str| if name == "one" { 5 } else { 0 };
    assert_eq!(tailer.pass_on(Some(&durable)).unwrap(), 5);
    assert_eq!(tailer.pass_on(Some(&durable)).unwrap(), 0);
    let durable = |name: &str| if name == "one" { 5 } else { 3 };
    assert_eq!(
        tailer.pass_on(Some(&durable)).unwrap(),
        3,
        "the other log's first"
    );
    log.grow(30);
    tailer.pass_on(Some(&|_| u64::MAX)).unwrap();
    log.holds_each_once(&[&text(&log.file())]);
}

/// Takes what it is given, but not every time.
#[derive(Clone, Default)]
struct Moody {
    given: Arc<Mutex<Vec<u8>>>,
    /// How often it was asked.
    asked: Arc<Mutex<u32>>,
}

impl Sink for Moody {
    fn name(&self) -> String {
        "moody".to_owned()
    }

    fn ready(&mut self, _: Option<FileEnd>) -> io::Result<Option<FileEnd>> {
        Ok(None)
    }

    fn take(&mut self, lines: &[u8]) -> io::Result<Option<FileEnd>> {
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        if !asked.is_multiple_of(3) {
            return Err(io::Error::other("not now"));
        }
        self.given.lock().unwrap().extend_from_slice(lines);
        Ok(None)
    }
}

/// The logs of a server whose lead is gone.
struct Led(Cursor);

impl Source for Led {
    fn cursor(&self) -> &Cursor {
        &self.0
    }

    fn settle(&mut self) -> Result<(), TailError> {
        Err(StorageError::Poisoned.into())
    }

    fn move_to(&mut self, _: BTreeMap<String, Head>, _: Option<FileEnd>) -> Result<(), TailError> {
        unreachable!("nothing was taken")
    }

    fn read_on(&mut self, _: &mut Outlet, _: Durable<'_>) -> Result<u64, TailError> {
        unreachable!("it is given what it passes on")
    }
}

#[test]
fn who_leads_no_more_cuts_no_file_short() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.jsonl");
    let mut sink = FileSink::new(&path);
    let begins = sink.ready(None).unwrap();
    // Whoever leads now has written since.
    std::fs::write(&path, "theirs\n").unwrap();
    let mut led = Led(Cursor {
        logs: BTreeMap::new(),
        file: begins,
    });
    let mut outlet = Outlet::new(Box::new(FileSink::new(&path)));
    outlet.take(&led.0, "one", 0, b"{}").unwrap();
    outlet.deliver(&mut led).unwrap_err();
    assert_eq!(text(&path), "theirs\n");
}

#[test]
fn a_sink_that_takes_nothing_is_given_the_same_again_and_loses_nothing() {
    let mut log = Growing::new();
    let moody = Moody::default();
    let mut tailer = Tailer::new(&log.log(), log.cursor(), Box::new(moody.clone())).unwrap();
    let mut refused = 0;
    for _ in 0..40 {
        log.grow(10);
        match tailer.pass_on(None) {
            Ok(_) => {}
            Err(error) if error.is_of_sink() => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    while let Err(error) = tailer.pass_on(None) {
        assert!(error.is_of_sink());
    }
    assert!(refused > 10, "{refused}");
    let given = String::from_utf8(moody.given.lock().unwrap().clone()).unwrap();
    log.holds_each_once(&[&given]);
}

#[test]
fn a_full_disk_leaves_no_half_line_and_the_cursor_where_it_was() {
    let mut log = Growing::new();
    log.grow(10);
    let sink = Box::new(FileSink::new(Path::new("/dev/full")));
    let refused =
        Tailer::new(&log.log(), log.cursor(), sink).and_then(|mut tailer| tailer.pass_on(None));
    assert!(refused.unwrap_err().is_of_sink());
    assert_eq!(log.cursor().cursor().logs, BTreeMap::new());
}

#[test]
fn a_log_that_is_not_the_one_that_was_passed_on_is_refused() {
    let mut log = Growing::new();
    log.grow(30);
    log.to_file().pass_on(None).unwrap();
    let rewritten = |groups: u64| {
        let mut other = Growing::new();
        other.written = 1_000;
        other.grow(groups);
        Tailer::new(&other.log(), log.cursor(), Box::new(Moody::default()))
            .and_then(|mut tailer| tailer.pass_on(None))
            .unwrap_err()
    };
    assert!(matches!(rewritten(40), TailError::OtherLog { .. }));
    assert!(matches!(rewritten(2), TailError::CutShort { .. }));
}

#[test]
fn a_cursor_is_one_process_s_and_anything_else_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cursor");
    let held = CursorFile::open(&path).unwrap();
    assert!(matches!(
        CursorFile::open(&path),
        Err(TailError::Taken { .. })
    ));
    drop(held);
    for text in ["", "{}", r#"{"v":"actpass.cursor/2","logs":{}}"#] {
        crate::vault::private_file::replace(&path, text.as_bytes()).unwrap();
        assert!(
            matches!(CursorFile::open(&path), Err(TailError::NoCursor { .. })),
            "{text}"
        );
    }
}
