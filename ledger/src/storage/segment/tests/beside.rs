//! What threads do beside the appends, on a real disk.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::super::beside::{Pace, Thread};
use super::*;
use crate::storage::io::IoFile;

/// Appends until so many segments are begun, without ever a moment for [`Storage::maintain`]: how many were made, and how many index
/// files written, beside it.
fn fill_segments(storage: &mut SegmentStorage, segments: u32) -> (usize, usize) {
    let (mut made, mut indexed) = (BTreeSet::new(), BTreeSet::new());
    let leaf = vec![b'x'; 500];
    while storage
        .current
        .as_ref()
        .is_none_or(|it| it.number < segments)
    {
        let group = leaf_group(storage, "busy", &leaf);
        storage.append(&[group]).unwrap();
        if matches!(storage.ahead, Ahead::Making(_)) {
            made.insert(storage.current.as_ref().unwrap().number);
        }
        indexed.extend(storage.indexing.as_ref().map(|(segment, _)| *segment));
    }
    (made.len(), indexed.len())
}

#[test]
fn a_log_that_never_rests_gets_its_segments_and_index_files_and_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let options = SegmentOptions {
        segment_bytes: 4 * SEGMENT_BYTES_MIN,
    };
    let mut storage = SegmentStorage::open(dir.path(), options).unwrap();
    let begun = 4 * UNINDEXED_MAX as u32;
    let (made, indexed) = fill_segments(&mut storage, begun);
    assert_eq!(made, begun as usize - 1, "the first was made at the start");
    assert!(indexed > UNINDEXED_MAX, "{indexed} index files");
    let head = storage.head("busy");
    let waiting = storage.index.contents().count();
    assert!(waiting <= UNINDEXED_MAX + 1, "{waiting} without index file");
    let leaf = storage.leaf("busy", 0).unwrap().unwrap();
    assert_eq!(leaf, vec![b'x'; 500], "by its index file");
    // Threads may be at work: whoever opens it next waits for them.
    drop(storage);

    let mut storage = SegmentStorage::open(dir.path(), options).unwrap();
    assert_eq!(storage.head("busy"), head);
    assert_eq!(contents(&mut storage).len() as u64, head.size);
    let names = SystemIo.list(&dir.path().join("segments")).unwrap();
    let unfinished = names.iter().filter(|name| {
        let extension = Path::new(name).extension();
        extension.is_none_or(|it| it != "seg" && it != "idx")
    });
    assert_eq!(unfinished.count(), 0, "{names:?}");
}

#[test]
fn a_thread_goes_as_far_as_it_may_and_to_the_end_when_it_is_waited_for() {
    let (did, done) = channel();
    let work = move |pace: &Pace| {
        for part in 0..4 {
            let others_wait = pace.wait(part, 4);
            did.send((part, others_wait)).unwrap();
        }
        Ok(())
    };
    let thread = Thread::start("test", work).unwrap();
    assert_eq!(done.recv().unwrap(), (0, true));
    thread.allow(49);
    assert_eq!(done.recv().unwrap(), (1, true));
    let rests = done.recv_timeout(Duration::from_millis(50));
    assert_eq!(rests, Err(RecvTimeoutError::Timeout), "half is not allowed");
    assert!(!thread.is_finished());
    assert!(thread.result(Path::new("test")).is_ok());
    assert_eq!(done.iter().collect::<Vec<_>>(), [(2, false), (3, false)]);
}

#[test]
fn a_thread_that_panics_is_an_error_and_one_nobody_asks_for_is_waited_for() {
    let died = Thread::start("test", |_| -> Result<(), WriteError> { panic!("planted") });
    let error = died.unwrap().result(Path::new("segment")).unwrap_err();
    assert!(matches!(error, WriteError::Failed { .. }));

    let (did, done) = channel();
    let thread = Thread::start("test", move |pace| {
        pace.wait(1, 2);
        did.send(()).unwrap();
        Ok(())
    });
    drop(thread);
    assert_eq!(done.try_recv(), Ok(()), "before the directory is given up");
}

/// The system's files, of which none can be made while an error is planted.
#[derive(Clone, Default)]
struct Refusing(Arc<AtomicI32>);

impl Io for Refusing {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        SystemIo.make_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        SystemIo.list(dir)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn IoFile>> {
        SystemIo.open(path, access)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn IoFile>> {
        match self.0.load(Ordering::SeqCst) {
            0 => SystemIo.create(path),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemIo.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemIo.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        SystemIo.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send>, StorageError> {
        SystemIo.lock(path)
    }
}

/// Appends until a thread was started for the next segment and did not make it, and a few times more; the first refusal.
fn fill_beside(storage: &mut SegmentStorage) -> Result<(), StorageError> {
    let leaf = vec![b'x'; 500];
    let segment = storage.current.as_ref().unwrap().number;
    while storage.current.as_ref().unwrap().percent_used() < 90 {
        let group = leaf_group(storage, "busy", &leaf);
        storage.append(&[group])?;
        if let Ahead::Making(thread) = &storage.ahead {
            while !thread.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    assert_eq!(storage.current.as_ref().unwrap().number, segment);
    Ok(())
}

fn refusing(dir: &Path, io: &Refusing, errno: rustix::io::Errno) -> SegmentStorage {
    let options = SegmentOptions {
        segment_bytes: SEGMENT_BYTES_MIN,
    };
    let mut storage = SegmentStorage::open_on(Arc::new(io.clone()), dir, options).unwrap();
    storage.beside = true;
    let first = leaf_group(&storage, "busy", b"first");
    storage.append(&[first]).unwrap();
    io.0.store(errno.raw_os_error(), Ordering::SeqCst);
    storage
}

#[test]
fn a_thread_that_found_no_room_refuses_no_append_once_there_is_some() {
    let (dir, io) = (tempfile::tempdir().unwrap(), Refusing::default());
    let mut storage = refusing(dir.path(), &io, rustix::io::Errno::NOSPC);
    fill_beside(&mut storage).unwrap();
    assert!(matches!(storage.ahead, Ahead::GivenUp), "taken in");
    io.0.store(0, Ordering::SeqCst);
    while storage.current.as_ref().unwrap().number < 3 {
        let group = leaf_group(&storage, "busy", &[b'x'; 500]);
        storage.append(&[group]).unwrap();
    }
}

#[test]
fn a_thread_that_met_an_error_of_the_disk_stops_the_appends_before_its_segment_is_needed() {
    let (dir, io) = (tempfile::tempdir().unwrap(), Refusing::default());
    let mut storage = refusing(dir.path(), &io, rustix::io::Errno::IO);
    let refused = fill_beside(&mut storage).unwrap_err();
    assert!(matches!(refused, StorageError::Poisoned), "{refused}");
    let used = storage.current.as_ref().unwrap().percent_used();
    assert!(used < 50, "at {used} percent");
}
