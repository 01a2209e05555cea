//! The embedded default: segment files with one `fdatasync` per append for all logs.
//!
//! ```text
//! <dir>/LOCK                     flock, and the holder's process id
//! <dir>/segments/00000001.seg    filled with zeros when made, then written from the front
//! <dir>/segments/00000002.seg    made ahead, all zeros
//! <dir>/segments/00000001.idx    what a full segment holds, so that a start need not read it
//! ```
//!
//! # Flow
//! An append is one group: compare heads, encode, one `pwrite` behind the last group, one `fdatasync`, and only
//! then do heads and index move. What a crash leaves behind after each step:
//! - before or in the `pwrite`: nothing, or a group cut short. Opening drops it and reports it ([`Recovery`]).
//! - after the `pwrite`: nothing, a group cut short, or the whole group, unanswered. Opening makes a whole one
//!   durable before anything is written behind it.
//! - after the `fdatasync`: the group.
//!
//! A segment is made under another name, filled, synced, renamed, and its directory synced, so that under its own
//! name it is always complete. Blocks exist before they are needed, so a full disk is met while making a segment,
//! where nothing can be lost. The next one is made while nobody waits, or, where somebody always does, by a thread, which does a
//! little at a time.
//!
//! Once a segment is full and the next has data, an index file is made in the same way, while nobody waits. It follows
//! from the segment, so a missing one is made anew, and one that is not whole is passed over.
//!
//! # Errors
//! `ENOSPC` while making a segment or writing refuses the append, and nothing of it stays. Every other error on this
//! path, and any error of `fdatasync`, poisons: what is on disk is unknown then, and a second fsync would
//! report success for pages that the kernel has already dropped (fsyncgate).

mod ahead;
mod beside;
mod compare;
mod indexing;
mod looking;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::ahead::Ahead;
use self::beside::Thread;
use self::compare::{Accepted, compare};
use self::indexing::{UNINDEXED_MAX, take_sealed};
use self::write::{Current, fill, is_full};
pub(super) use self::write::{WriteError, make_file};
use super::contents::Summary;
use super::frame::{
    ALIGN, FRAME_HEADER_BYTES, Frame, GroupBuilder, GroupId, SEGMENT_PAYLOAD_BYTES, decode_frame,
    group_bytes,
};
use super::index::{Index, Place};
use super::io::{Access, Io, SystemIo};
use super::scan::{Position, SegmentEnd};
use super::scrub::Scrub;
use super::sealed::Sealed;
use super::snapshots::Snapshots;
use super::walk::{Walk, index_name, segment_name, unfinished_name, walk};
use super::{
    Appended, BLOB_BYTES_MAX, Entry, Head, LEAF_BYTES_MAX, LogGroup, Recovery, Storage,
    StorageError, check_bounds,
};

/// Largest segment: places in a segment are 32 bits, and reading one back holds it in memory.
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Smallest segment, two pages: for tests.
pub const SEGMENT_BYTES_MIN: u64 = 8 * 1024;

/// Segment size of local mode: one append of 1 MiB of leaves and two of the largest blobs takes 1 + 2 × 1.07 MiB.
pub const SEGMENT_BYTES_DEFAULT: u64 = 4 * 1024 * 1024;

/// Segment size of a ledger that many write to: at 4 MiB one group of 128 leaves in 50 waits for what a new segment takes, at 16
/// one in 200.
pub const SEGMENT_BYTES_SHARED: u64 = 16 * 1024 * 1024;

/// Segment sizes are multiples of a page.
const PAGE_BYTES: u64 = 4096;

/// How a directory is used.
#[derive(Clone, Copy, Debug)]
pub struct SegmentOptions {
    /// Size of new segments in bytes, a multiple of 4096 from [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    pub segment_bytes: u64,
}

impl SegmentOptions {
    /// For a ledger that many write to.
    pub const fn shared() -> Self {
        SegmentOptions {
            segment_bytes: SEGMENT_BYTES_SHARED,
        }
    }
}

impl Default for SegmentOptions {
    fn default() -> Self {
        SegmentOptions {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
        }
    }
}

/// A directory of segments, opened for writing by this process alone.
pub struct SegmentStorage {
    io: Arc<dyn Io>,
    dir: PathBuf,
    segments: PathBuf,
    options: SegmentOptions,
    index: Index,
    /// Segments that have an index file, and are in [`Self::index`] by heads only.
    sealed: Arc<Sealed>,
    /// The last segment that was taken in by its index file at the start, unread.
    believed: Option<u32>,
    current: Option<Current>,
    /// Number of the last segment that was begun; 0 where there is none.
    last: u32,
    ahead: Ahead,
    /// The segment whose index file a thread writes.
    indexing: Option<(u32, Thread<Option<Summary>>)>,
    /// Whether threads may make the next segment and write index files.
    beside: bool,
    recovery: Option<Recovery>,
    poisoned: bool,
    /// Random id for a directory without groups.
    new_store: [u8; 16],
    _lock: Box<dyn Send>,
}

impl SegmentStorage {
    /// Opens the log in `dir`, which is made if absent. Verifies all that has no index file, and so always its end; the rest is
    /// left to [`Storage::scrub`].
    ///
    /// # Errors
    /// [`StorageError::Locked`] when another process has it; [`StorageError::Damaged`] when its bytes are not what was
    /// written, and then nothing is changed.
    pub fn open(dir: &Path, options: SegmentOptions) -> Result<Self, StorageError> {
        let mut storage = Self::open_on(Arc::new(SystemIo), dir, options)?;
        storage.beside = true;
        Ok(storage)
    }

    /// [`SegmentStorage::open`] on a given file system, all of whose calls come from the caller's thread.
    ///
    /// # Errors
    /// As [`SegmentStorage::open`].
    pub fn open_on(
        io: Arc<dyn Io>,
        dir: &Path,
        options: SegmentOptions,
    ) -> Result<Self, StorageError> {
        let size = options.segment_bytes;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&size)
            || !size.is_multiple_of(PAGE_BYTES)
        {
            return Err(StorageError::SegmentSize(size));
        }
        let segments = dir.join("segments");
        io.make_dir(&segments)
            .map_err(|error| failed(&segments, "make directory", error))?;
        let lock = io.lock(&dir.join("LOCK"))?;
        let mut new_store = [0; 16];
        getrandom::fill(&mut new_store).map_err(|error| {
            failed(
                dir,
                "draw randomness for",
                io::Error::other(error.to_string()),
            )
        })?;
        let mut index = Index::of_contents();
        let mut unseen = |_: Entry<'_>| ControlFlow::Continue(());
        let sealed = Sealed::new(io.clone(), segments.clone());
        let next = take_sealed(&*io, &segments, &mut index, &sealed)?;
        let start = Position::start_of(next);
        let walk = walk(
            &*io,
            &segments,
            Access::Recover,
            start,
            &mut index,
            &mut unseen,
        )?;
        let mut storage = SegmentStorage {
            io,
            dir: dir.to_path_buf(),
            segments,
            options,
            index,
            believed: sealed.last(),
            sealed: Arc::new(sealed),
            current: None,
            last: 0,
            ahead: Ahead::Nothing,
            indexing: None,
            beside: false,
            recovery: None,
            poisoned: false,
            new_store,
            _lock: lock,
        };
        storage.settle(walk)?;
        Ok(storage)
    }

    /// The number of bytes an append can still write without making a new segment.
    pub fn bytes_ahead(&self) -> u64 {
        let current = self
            .current
            .as_ref()
            .map_or(0, |current| current.size.saturating_sub(current.end));
        let prepared = self.made_ahead().map_or(0, |_| self.options.segment_bytes);
        current.saturating_add(prepared)
    }

    /// Makes the directory whole after reading it: everything kept becomes durable, and the rest zero.
    fn settle(&mut self, walk: Walk) -> Result<(), StorageError> {
        for path in &walk.unexpected {
            tracing::warn!(path = %path.display(), "File does not belong to the log, ignored");
        }
        for path in &walk.unfinished {
            let removed = self.io.remove(path);
            removed.map_err(|error| failed(path, "remove", error))?;
        }
        // One of a segment that is written on would soon be wrong.
        let last = walk.last.as_ref().map_or(1, |last| last.from.number);
        for number in walk.indexed.range(last..) {
            let path = self.segments.join(index_name(*number));
            let removed = self.io.remove(&path);
            removed.map_err(|error| failed(&path, "remove", error))?;
        }
        if let Some(end) = walk.last {
            self.take_up(end)?;
        }
        if let Some((number, size)) = walk.prepared {
            if size == self.options.segment_bytes {
                self.ahead = Ahead::Made(number);
            } else {
                let path = self.segments.join(segment_name(number));
                let removed = self.io.remove(&path);
                removed.map_err(|error| failed(&path, "remove", error))?;
            }
        }
        for dir in [&self.segments, &self.dir] {
            let synced = self.io.sync_dir(dir);
            synced.map_err(|error| failed(dir, "sync", error))?;
        }
        if let Some(above) = self.dir.parent().filter(|path| path.is_dir()) {
            match self.io.sync_dir(above) {
                // A volume's mount point may be closed to us, and then somebody else made it.
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                    return Err(failed(above, "sync", error));
                }
                _ => {}
            }
        }
        if self.current.is_none() {
            self.prepare()?;
        }
        while self.write_index_if_room()? {}
        Ok(())
    }

    /// Opens the segment to write on in, and clears what a crash left behind its last group.
    fn take_up(&mut self, end: SegmentEnd) -> Result<(), StorageError> {
        let path = self.segments.join(segment_name(end.from.number));
        let opened = self.io.open(&path, Access::Write);
        let file = opened.map_err(|error| failed(&path, "open", error))?;
        let on_disk = file.size().map_err(|error| failed(&path, "open", error))?;
        let size = end
            .from
            .made
            .unwrap_or(self.options.segment_bytes.max(on_disk));
        if let Some(torn) = end.torn {
            if on_disk < size {
                let resized = file.resize(size);
                resized.map_err(|error| failed(&path, "extend", error))?;
                fill(&*file, on_disk, size).map_err(|error| self.full_or(&path, error))?;
            }
            fill(&*file, torn.offset, torn.offset.saturating_add(torn.bytes))
                .map_err(|error| self.full_or(&path, error))?;
            self.recovery = Some(Recovery {
                path: torn.path,
                offset: torn.offset,
                bytes: torn.bytes,
                sha256: torn.sha256,
                what: torn.what,
            });
        }
        // The last group may be here only because the page cache outlived the process. Writing behind it before
        // it is durable would make its loss look like damage.
        let synced = file.fdatasync();
        synced.map_err(|error| failed(&path, "fdatasync", error))?;
        self.last = end.from.number;
        self.current = Some(Current {
            file,
            path,
            number: end.from.number,
            size,
            end: end.from.offset as u64,
            dirty: None,
        });
        Ok(())
    }

    /// Makes the prepared segment the current one.
    fn roll_over(&mut self) -> Result<(), StorageError> {
        self.prepare()?;
        let Some(number) = self.made_ahead() else {
            return Err(self.no_space());
        };
        let path = self.segments.join(segment_name(number));
        let file = self.io.open(&path, Access::Write).map_err(|error| {
            self.poisoned = true;
            failed(&path, "open", error)
        })?;
        self.ahead = Ahead::Nothing;
        self.last = number;
        self.current = Some(Current {
            file,
            path,
            number,
            size: self.options.segment_bytes,
            end: 0,
            dirty: None,
        });
        self.write_index_beside()?;
        if self.index.contents().count() > UNINDEXED_MAX {
            self.write_index_if_room()?;
        }
        Ok(())
    }

    /// Writes one group and makes it durable; the index moves only after.
    fn commit(&mut self, accepted: &[Accepted<'_>]) -> Result<(), StorageError> {
        let frames = accepted.iter().flat_map(Accepted::frames);
        let frames_bytes = frames.fold(0_usize, |sum, frame| {
            sum.saturating_add(frame.encoded_bytes())
        });
        let (bytes, max) = (group_bytes(frames_bytes), self.append_bytes_max());
        if bytes > max {
            let what = "append";
            return Err(StorageError::TooLarge { what, bytes, max });
        }
        let fits = self.current.as_ref().is_some_and(|current| {
            // A full segment that was never begun still lacks its first frame.
            let first = if current.end == 0 {
                FRAME_HEADER_BYTES + SEGMENT_PAYLOAD_BYTES
            } else {
                0
            };
            let bytes = group_bytes(frames_bytes.saturating_add(first)) as u64;
            current.end.saturating_add(bytes) <= current.size
        });
        if !fits {
            self.roll_over()?;
        }
        let Some(current) = self.current.as_mut() else {
            return Err(self.no_space());
        };
        if let Err(error) = current.scrub() {
            return Err(self.write_failed(error));
        }
        let id = GroupId {
            store: self.index.store.unwrap_or(self.new_store),
            segment: current.number,
            number: self.index.next_group,
        };
        let mut group = GroupBuilder::with_capacity(frames_bytes);
        if current.end == 0 {
            group.push(&Frame::Segment {
                chain: self.index.chain,
                size: current.size,
            });
        }
        let mut placed = Vec::new();
        for (frame, hash) in accepted.iter().flat_map(Accepted::hashed_frames) {
            let offset = current.end.saturating_add(group.push(&frame) as u64);
            let place = Place {
                segment: current.number,
                offset: u32::try_from(offset).unwrap_or(u32::MAX),
            };
            placed.push((frame, hash, place));
        }
        let (bytes, chain) = group.finish(&id, &self.index.chain);
        if let Err(error) = current.write(&bytes) {
            return Err(self.write_failed(error));
        }
        if current.end == bytes.len() as u64 {
            let mut unseen = |_: Entry<'_>| ControlFlow::Continue(());
            let first = Frame::Segment {
                chain: self.index.chain,
                size: current.size,
            };
            let place = Place {
                segment: current.number,
                offset: ALIGN as u32,
            };
            drop(self.index.apply(&first, place, &mut unseen));
        }
        for (frame, hash, place) in placed {
            let mut unseen = |_: Entry<'_>| ControlFlow::Continue(());
            let applied = self.index.apply_hashed(&frame, hash, place, &mut unseen);
            // Cannot fail, as the frames were numbered from this index; if it did, the bytes would be wrong.
            if applied.is_err() {
                self.poisoned = true;
                return Err(StorageError::Poisoned);
            }
        }
        self.index.close_group(&id, chain);
        // The group is durable whatever comes of the next segment; after a failed one this storage takes nothing more.
        if let Err(error) = self.prepare_beside() {
            tracing::error!(%error, "The next segment of the log was not made");
        }
        Ok(())
    }

    fn write_failed(&mut self, error: WriteError) -> StorageError {
        match error {
            WriteError::Full => self.no_space(),
            WriteError::Failed { path, did, source } => {
                self.poisoned = true;
                StorageError::Io { path, did, source }
            }
        }
    }

    fn no_space(&self) -> StorageError {
        StorageError::NoSpace {
            path: self.dir.clone(),
        }
    }

    fn full_or(&self, path: &Path, error: io::Error) -> StorageError {
        match is_full(&error) {
            true => self.no_space(),
            false => failed(path, "write", error),
        }
    }
}

impl Storage for SegmentStorage {
    fn append(&mut self, groups: &[LogGroup]) -> Result<Vec<Appended>, StorageError> {
        if self.poisoned {
            return Err(StorageError::Poisoned);
        }
        for group in groups {
            check_bounds(group)?;
        }
        let (results, accepted) = compare(&self.index, groups);
        if accepted.iter().any(|group| group.frames().next().is_some()) {
            self.commit(&accepted)?;
        }
        Ok(results)
    }

    fn replay_from(
        &mut self,
        from: &BTreeMap<String, u64>,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.read_from(from, visit)
    }

    fn sealed(&self) -> Option<Arc<Sealed>> {
        Some(self.sealed.clone())
    }

    fn snapshots(&self) -> Option<Snapshots> {
        Some(Snapshots::new(self.io.clone(), &self.dir))
    }

    fn scrub(&self) -> Option<Scrub> {
        let last = self.believed?;
        Some(Scrub::new(self.io.clone(), self.segments.clone(), last))
    }

    fn replay(
        &mut self,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let mut index = Index::default();
        let start = Position::start_of(1);
        walk(
            &*self.io,
            &self.segments,
            Access::Read,
            start,
            &mut index,
            visit,
        )?;
        Ok(())
    }

    /// A segment less its first frame.
    fn append_bytes_max(&self) -> usize {
        usize::try_from(self.options.segment_bytes)
            .unwrap_or(usize::MAX)
            .saturating_sub(group_bytes(FRAME_HEADER_BYTES + SEGMENT_PAYLOAD_BYTES))
    }

    fn directory(&self) -> Option<PathBuf> {
        Some(self.dir.clone())
    }

    fn blob(&self, name: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError> {
        let place = match self.index.blob(name) {
            None => self.sealed.blob(name)?,
            place => place,
        };
        place
            .map(|place| read_blob(&*self.io, &self.segments, place, name))
            .transpose()
    }

    fn places(&self, log: &str, leaves: Range<u64>) -> Option<Vec<Place>> {
        let found = self.find_leaves(log, leaves).unwrap_or_else(|error| {
            tracing::error!(%error, "Leaves cannot be found");
            None
        });
        Some(found?.into_iter().map(|(place, _)| place).collect())
    }

    fn leaf_hashes(
        &self,
        log: &str,
        leaves: Range<u64>,
    ) -> Result<Option<Vec<[u8; 32]>>, StorageError> {
        let found = self.find_leaves(log, leaves)?;
        Ok(found.map(|found| found.into_iter().map(|(_, hash)| hash).collect()))
    }

    fn leaf(&self, log: &str, seq: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let places = self.find_leaves(log, seq..seq.saturating_add(1))?;
        let place = places.and_then(|places| places.first().map(|(place, _)| *place));
        let read = |place| read_leaf(&*self.io, &self.segments, place);
        let found = place.map(read).transpose()?;
        Ok(found.filter(|(of, _)| *of == seq).map(|(_, bytes)| bytes))
    }

    fn logs(&self) -> Vec<(String, Head)> {
        self.index.logs().to_vec()
    }

    fn head(&self, log: &str) -> Head {
        self.index.head(log)
    }

    /// Makes the next segment once half of the current one is used, and writes the index file of one that is full.
    fn maintain(&mut self) -> Result<(), StorageError> {
        if self.poisoned {
            return Err(StorageError::Poisoned);
        }
        let half_used = self
            .current
            .as_ref()
            .is_none_or(|current| current.end >= current.size / 2);
        if half_used {
            self.prepare()?;
        }
        self.write_index().map(drop)
    }

    fn recovery(&self) -> Option<&Recovery> {
        self.recovery.as_ref()
    }
}

/// Reads the blob whose frame begins at `place`.
pub(super) fn read_blob(
    io: &dyn Io,
    segments: &Path,
    place: Place,
    name: &[u8; 32],
) -> Result<Vec<u8>, StorageError> {
    let frame = read_frame(io, segments, place, BLOB_BYTES_MAX + 32)?;
    match frame.as_deref().and_then(decode_frame) {
        Some((
            Frame::Blob {
                name: found, bytes, ..
            },
            _,
        )) if found == name => Ok(bytes.to_vec()),
        _ => Err(not_there(segments, place, "a blob is not what was written")),
    }
}

/// Reads the leaf whose frame begins at `place`, and its number in its log.
pub(super) fn read_leaf(
    io: &dyn Io,
    segments: &Path,
    place: Place,
) -> Result<(u64, Vec<u8>), StorageError> {
    let frame = read_frame(io, segments, place, LEAF_BYTES_MAX)?;
    match frame.as_deref().and_then(decode_frame) {
        Some((Frame::Leaf { seq, bytes, .. }, _)) => Ok((seq, bytes.to_vec())),
        _ => Err(not_there(segments, place, "a leaf is not what was written")),
    }
}

/// The bytes of the frame that begins at `place`; none where it says that it is longer than `max`.
fn read_frame(
    io: &dyn Io,
    segments: &Path,
    place: Place,
    max: usize,
) -> Result<Option<Vec<u8>>, StorageError> {
    let path = segments.join(segment_name(place.segment));
    let opened = io.open(&path, Access::Read);
    let file = opened.map_err(|error| failed(&path, "open", error))?;
    let read = |buffer: &mut [u8]| {
        let done = file.pread(buffer, u64::from(place.offset));
        done.map_err(|error| failed(&path, "read", error))
    };
    let mut header = [0; FRAME_HEADER_BYTES];
    read(&mut header)?;
    let length = header.get(4..8).and_then(|bytes| bytes.first_chunk());
    let length = length.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
    if length > max {
        return Ok(None);
    }
    let mut frame = vec![0; FRAME_HEADER_BYTES.saturating_add(length)];
    read(&mut frame)?;
    Ok(Some(frame))
}

fn not_there(segments: &Path, place: Place, what: &str) -> StorageError {
    StorageError::Damaged {
        path: segments.join(segment_name(place.segment)),
        offset: u64::from(place.offset),
        log: None,
        seq: None,
        what: what.to_owned(),
    }
}

fn failed(path: &Path, did: &'static str, source: io::Error) -> StorageError {
    StorageError::Io {
        path: path.to_path_buf(),
        did,
        source,
    }
}

#[cfg(test)]
mod tests;
