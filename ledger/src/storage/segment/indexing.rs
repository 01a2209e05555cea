//! Index files of full segments: written, taken in at the start, asked for places.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

use super::beside::{Pace, Thread};
use super::write::{WriteError, make_file};
use super::{SegmentStorage, walk};
use crate::storage::contents::Summary;
use crate::storage::index::{Index, Place};
use crate::storage::io::{Access, Io};
use crate::storage::scan::Position;
use crate::storage::sealed::{Leaf, Sealed, read_summary};
use crate::storage::walk::{
    Walk, begins, index_name, read_sealed, sort_names, unfinished_index_name,
};
use crate::storage::{Entry, StorageError};

/// Segments that wait in memory for their index files while the storage is never idle: 32 MiB of leaves of 1 KiB take 2 MiB. With
/// more, a roll-over writes one.
pub(super) const UNINDEXED_MAX: usize = 8;

/// Takes in the segments behind which others have data: by index file where there is a whole one that follows, else by reading
/// them. The answer is the first of the others.
pub(super) fn take_sealed(
    io: &dyn Io,
    dir: &Path,
    index: &mut Index,
    sealed: &Sealed,
) -> Result<u32, StorageError> {
    let mut names = Walk::default();
    let numbers = sort_names(io, dir, &mut names)?;
    let mut unseen = |_: Entry<'_>| ControlFlow::Continue(());
    let mut number: u32 = 1;
    while numbers.contains(&number) {
        let next = number.saturating_add(1);
        // Only a segment that is full and followed gets an index file.
        let begun = numbers.contains(&next) && names.indexed.contains(&next);
        if !begun && !begins(io, dir, next, Access::Recover)? {
            break;
        }
        let summary = match names.indexed.contains(&number) {
            true => read_summary(io, dir, number, Access::Recover, index)?,
            false => None,
        };
        match summary {
            Some(summary) => sealed.add(summary),
            None => {
                tracing::info!(segment = number, "Segment without index file is read");
                read_sealed(io, dir, Access::Recover, number, index, &mut unseen)?;
            }
        }
        number = next;
    }
    Ok(number)
}

impl SegmentStorage {
    /// Writes the index file of the oldest full segment that has none; whether there was one.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`], and it is tried again; after any other the storage takes nothing more.
    pub(super) fn write_index(&mut self) -> Result<bool, StorageError> {
        self.take_index(true)?;
        let Some((segment, bytes)) = self.next_index() else {
            return Ok(false);
        };
        let made = make_index(&*self.io, &self.segments, segment, &bytes);
        self.index_made(segment, made)?;
        Ok(true)
    }

    /// Has a thread write it, and takes in what the last one wrote: nobody had the time before.
    pub(super) fn write_index_beside(&mut self) -> Result<(), StorageError> {
        self.take_index(false)?;
        if !self.beside || self.indexing.is_some() {
            return Ok(());
        }
        let Some((segment, bytes)) = self.next_index() else {
            return Ok(());
        };
        let (io, segments) = (Arc::clone(&self.io), self.segments.clone());
        let make = move |_: &Pace| make_index(&*io, &segments, segment, &bytes);
        // Without a thread it is written later.
        self.indexing = Thread::start("index", make).map(|thread| (segment, thread));
        Ok(())
    }

    /// Takes in what the thread wrote, if it is done, or else if it is to be waited for.
    fn take_index(&mut self, wait: bool) -> Result<(), StorageError> {
        let done = |(_, thread): &mut (u32, Thread<Option<Summary>>)| wait || thread.is_finished();
        let Some((segment, thread)) = self.indexing.take_if(done) else {
            return Ok(());
        };
        let made = thread.result(&self.segments.join(index_name(segment)));
        match self.index_made(segment, made) {
            // It is tried again.
            Err(StorageError::NoSpace { .. }) => Ok(()),
            made => made,
        }
    }

    /// What the index file of the oldest full segment without one holds.
    fn next_index(&self) -> Option<(u32, Vec<u8>)> {
        let current = self.current.as_ref()?;
        let (number, begun) = (current.number, current.end > 0);
        let full = |segment: u32| {
            let next = segment.saturating_add(1);
            next < number || (next == number && begun)
        };
        let contents = self.index.contents().find(|it| full(it.segment))?;
        Some((contents.segment, contents.encode()))
    }

    fn index_made(
        &mut self,
        segment: u32,
        made: Result<Option<Summary>, WriteError>,
    ) -> Result<(), StorageError> {
        let summary = made.map_err(|error| self.write_failed(error))?;
        self.index.release(segment);
        if let Some(summary) = summary {
            self.sealed.add(summary);
        }
        Ok(())
    }

    /// The same, where a full disk is no reason to stop.
    pub(super) fn write_index_if_room(&mut self) -> Result<bool, StorageError> {
        match self.write_index() {
            Err(StorageError::NoSpace { .. }) => Ok(false),
            written => written,
        }
    }

    /// Where these leaves lie and what they hash to; none where not all of them are there.
    pub(super) fn find_leaves(
        &self,
        log: &str,
        leaves: Range<u64>,
    ) -> Result<Option<Vec<Leaf>>, StorageError> {
        let Some(number) = self.index.number(log) else {
            return Ok(None);
        };
        if leaves.start > leaves.end || leaves.end > self.index.head(log).size {
            return Ok(None);
        }
        let mut places = Vec::new();
        let mut next = leaves.start;
        while next < leaves.end {
            let some = self.some_leaves(number, next..leaves.end)?;
            if some.is_empty() {
                return Ok(None);
            }
            next = next.saturating_add(some.len() as u64);
            places.extend(some);
        }
        Ok(Some(places))
    }

    /// The same of the first of them, as many as are in one segment.
    fn some_leaves(&self, log: u32, leaves: Range<u64>) -> Result<Vec<Leaf>, StorageError> {
        for contents in self.index.contents() {
            let some = contents.leaves(log, leaves.start, leaves.end);
            if !some.is_empty() {
                let segment = contents.segment;
                let placed = some.iter().map(|(offset, hash)| {
                    let offset = *offset;
                    (Place { segment, offset }, *hash)
                });
                return Ok(placed.collect());
            }
        }
        self.sealed.leaves(log, leaves)
    }

    /// Reads the segments that have leaves from there on.
    pub(super) fn read_from(
        &self,
        from: &BTreeMap<String, u64>,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let known = |log: &str| from.get(log).copied().unwrap_or(0);
        let mut shown = |entry: Entry<'_>| match entry {
            Entry::Leaf { log, seq, .. } if seq < known(log) => ControlFlow::Continue(()),
            entry => visit(entry),
        };
        let (io, dir) = (&*self.io, &self.segments);
        let last = self.last;
        for number in 1..=last {
            let kept = || self.index.contents().find(|it| it.segment == number);
            let summary = self.sealed.summary(number);
            let Some(summary) = summary.or_else(|| kept()?.summary()) else {
                // It was never begun.
                continue;
            };
            let from = |log| self.index.name(log).map_or(0, known);
            if !summary.has_leaves(from) {
                continue;
            }
            let mut index = self.index.at_start_of(&summary);
            let access = Access::Read;
            let stopped = if number < last {
                read_sealed(io, dir, access, number, &mut index, &mut shown)?.stopped
            } else {
                let start = Position::start_of(number);
                walk(io, dir, access, start, &mut index, &mut shown)?;
                true
            };
            if stopped {
                break;
            }
        }
        Ok(())
    }
}

/// Writes one, and says what is in it.
fn make_index(
    io: &dyn Io,
    segments: &Path,
    segment: u32,
    bytes: &[u8],
) -> Result<Option<Summary>, WriteError> {
    let unfinished = segments.join(unfinished_index_name(segment));
    let made = make_file(
        io,
        &unfinished,
        &segments.join(index_name(segment)),
        &|file| file.pwrite(bytes, 0).map_err(|error| ("write", error)),
    );
    if matches!(made, Err(WriteError::Full)) {
        drop(io.remove(&unfinished));
    }
    made.map(|()| Summary::decode(bytes))
}
