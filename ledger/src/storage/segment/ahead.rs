//! The next segment, made before it is needed: while nobody waits, or by a thread where somebody always does.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::write::{WriteError, fill, make_file};
use super::{SegmentStorage, segment_name, unfinished_name};
use crate::storage::StorageError;
use crate::storage::io::Io;

/// What is known of the next segment.
pub(super) enum Ahead {
    /// It is not there.
    Nothing,
    /// A thread makes it.
    Making(Thread),
    /// A thread found no room: whoever needs it next asks again.
    GivenUp,
    /// It is made, under this number.
    Made(u32),
}

/// A thread that is waited for before anybody else may have the directory.
pub(super) struct Thread(Option<JoinHandle<Result<(), WriteError>>>);

impl Thread {
    fn result(mut self) -> Option<thread::Result<Result<(), WriteError>>> {
        self.0.take().map(JoinHandle::join)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // What it made counts once it is found; why it failed is said to who asks.
        drop(self.0.take().map(JoinHandle::join));
    }
}

impl SegmentStorage {
    /// Makes the next segment, if it is not there yet.
    pub(super) fn prepare(&mut self) -> Result<(), StorageError> {
        if self.made_ahead().is_some() {
            return Ok(());
        }
        let (number, size) = (self.next_number(), self.options.segment_bytes);
        let made = match std::mem::replace(&mut self.ahead, Ahead::Nothing) {
            Ahead::Making(thread) => thread.result().unwrap_or(Ok(Ok(()))),
            _ => Ok(make_segment(&*self.io, &self.segments, number, size)),
        };
        let made = made.unwrap_or_else(|_| {
            Err(WriteError::Failed {
                path: self.segments.join(segment_name(number)),
                did: "make",
                source: io::Error::other("the thread that made it panicked"),
            })
        });
        if let Err(error) = made {
            if matches!(error, WriteError::Full) {
                // Gives back the blocks reserved so far; if even that fails, opening removes the file.
                drop(self.io.remove(&self.segments.join(unfinished_name(number))));
                self.ahead = Ahead::GivenUp;
            }
            return Err(self.write_failed(error));
        }
        self.ahead = Ahead::Made(number);
        Ok(())
    }

    /// Has a thread make it, once three quarters of this one are used: nobody had the time before.
    pub(super) fn prepare_beside(&mut self) {
        let current = self.current.as_ref();
        let needed = current.is_some_and(|it| it.end >= it.size.saturating_mul(3) / 4);
        if !self.beside || !needed || !matches!(self.ahead, Ahead::Nothing) {
            return;
        }
        let (io, segments) = (Arc::clone(&self.io), self.segments.clone());
        let (number, size) = (self.next_number(), self.options.segment_bytes);
        let thread = thread::Builder::new().name("segment".to_owned());
        // Without a thread it is made when it is needed.
        if let Ok(thread) = thread.spawn(move || make_segment(&*io, &segments, number, size)) {
            self.ahead = Ahead::Making(Thread(Some(thread)));
        }
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

fn make_segment(io: &dyn Io, segments: &Path, number: u32, size: u64) -> Result<(), WriteError> {
    let path = segments.join(segment_name(number));
    let unfinished = segments.join(unfinished_name(number));
    make_file(io, &unfinished, &path, &|file| {
        file.allocate(size).map_err(|error| ("allocate", error))?;
        // Zeros are written, not only reserved: the first write to a reserved block would change metadata, and the
        // fdatasync of an append would wait for the file system's journal.
        fill(file, 0, size).map_err(|error| ("fill", error))
    })
}
