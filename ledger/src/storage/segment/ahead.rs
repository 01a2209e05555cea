//! The next segment, made before it is needed: while nobody waits, or by a thread where somebody always does.

use std::path::Path;
use std::sync::Arc;

use super::beside::{Pace, Thread};
use super::write::{Current, WriteError, fill, make_file};
use super::{SegmentStorage, segment_name, unfinished_name};
use crate::storage::StorageError;
use crate::storage::io::Io;

/// What is known of the next segment.
pub(super) enum Ahead {
    /// It is not there.
    Nothing,
    /// A thread makes it.
    Making(Thread<()>),
    /// A thread found no room: whoever needs it next asks again.
    GivenUp,
    /// It is made, under this number.
    Made(u32),
}

impl SegmentStorage {
    /// Makes the next segment, if it is not there yet.
    pub(super) fn prepare(&mut self) -> Result<(), StorageError> {
        if self.made_ahead().is_some() {
            return Ok(());
        }
        let (number, size) = (self.next_number(), self.options.segment_bytes);
        self.take_ahead(true)?;
        if self.made_ahead().is_none() {
            // Where a thread found no room, there may be some by now.
            let made = make_segment(&*self.io, &self.segments, number, size, &Pace::at_once());
            self.ahead_made(number, made)?;
        }
        Ok(())
    }

    /// Takes in what the thread made, if it is done, or else if it is to be waited for. That it found no room is no error yet.
    fn take_ahead(&mut self, wait: bool) -> Result<(), StorageError> {
        let done = match &self.ahead {
            Ahead::Making(thread) => wait || thread.is_finished(),
            _ => false,
        };
        if !done {
            return Ok(());
        }
        let Ahead::Making(thread) = std::mem::replace(&mut self.ahead, Ahead::Nothing) else {
            return Ok(());
        };
        let number = self.next_number();
        let made = thread.result(&self.segments.join(segment_name(number)));
        match self.ahead_made(number, made) {
            Err(StorageError::NoSpace { .. }) => {
                tracing::warn!(path = %self.dir.display(), "No room for the next segment of the log; there has to be some once this one is full");
                Ok(())
            }
            made => made,
        }
    }

    fn ahead_made(
        &mut self,
        number: u32,
        made: Result<(), WriteError>,
    ) -> Result<(), StorageError> {
        self.ahead = match &made {
            Ok(()) => Ahead::Made(number),
            Err(WriteError::Full) => Ahead::GivenUp,
            Err(WriteError::Failed { .. }) => Ahead::Nothing,
        };
        made.map_err(|error| self.write_failed(error))
    }

    /// Has a thread make it, all along this one but its ends, and takes in what it made: nobody had the time before.
    pub(super) fn prepare_beside(&mut self) -> Result<(), StorageError> {
        let used = self.current.as_ref().map_or(0, Current::percent_used);
        if !self.beside || used < STARTS_AT {
            return Ok(());
        }
        self.take_ahead(false)?;
        if matches!(self.ahead, Ahead::Nothing) {
            let (io, segments) = (Arc::clone(&self.io), self.segments.clone());
            let (number, size) = (self.next_number(), self.options.segment_bytes);
            let make = move |pace: &Pace| make_segment(&*io, &segments, number, size, pace);
            // Without a thread it is made when it is needed.
            if let Some(thread) = Thread::start("segment", make) {
                self.ahead = Ahead::Making(thread);
            }
        }
        if let Ahead::Making(thread) = &self.ahead {
            thread.allow((used - STARTS_AT) * 100 / (DONE_AT - STARTS_AT));
        }
        Ok(())
    }

    /// The number of the next segment, where it is made.
    pub(super) fn made_ahead(&self) -> Option<u32> {
        match self.ahead {
            Ahead::Made(number) => Some(number),
            _ => None,
        }
    }

    fn next_number(&self) -> u32 {
        let current = self.current.as_ref();
        current.map_or(1, |current| current.number.saturating_add(1))
    }
}

fn make_segment(
    io: &dyn Io,
    segments: &Path,
    number: u32,
    size: u64,
    pace: &Pace,
) -> Result<(), WriteError> {
    let path = segments.join(segment_name(number));
    let unfinished = segments.join(unfinished_name(number));
    let made = make_file(io, &unfinished, &path, &|file| {
        file.allocate(size).map_err(|error| ("allocate", error))?;
        // Zeros are written, not only reserved: the first write to a reserved block would change metadata, and the
        // fdatasync of an append would wait for the file system's journal.
        let parts = size.div_ceil(PART_BYTES);
        for part in 0..parts {
            let others_wait = pace.wait(part, parts);
            let from = part.saturating_mul(PART_BYTES);
            fill(file, from, size.min(from.saturating_add(PART_BYTES)))
                .map_err(|error| ("fill", error))?;
            if others_wait {
                // Else all of it would go to the disk at the end, and an append behind it.
                file.fdatasync().map_err(|error| ("fdatasync", error))?;
            }
        }
        Ok(())
    });
    if matches!(made, Err(WriteError::Full)) {
        // Gives back the blocks reserved so far; if even that fails, opening removes the file.
        drop(io.remove(&unfinished));
    }
    made
}

/// Percent of the current segment that are used when a thread begins to make the next one, and when it may be done.
const STARTS_AT: u64 = 5;
const DONE_AT: u64 = 95;

/// Zeros that go to the disk beside appends at once. More of them, and the slowest hundredth of appends waits longer (all at once: 7 times
/// what the disk takes, so: 3 times); fewer, and more appends wait (64 KiB: a tenth fewer leaves per second in groups of 128).
const PART_BYTES: u64 = 256 * 1024;
