//! What threads do beside the appends, on a real disk.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::super::beside::{Pace, Thread};
use super::*;

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
