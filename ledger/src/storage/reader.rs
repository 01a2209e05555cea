//! Reads a segment directory without a lock and without writing: for `verify`, `events` and tests.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::{Index, Place};
use super::io::{Access, Io, SystemIo};
use super::scan::Position;
use super::scrub::check_sealed;
use super::segment::{read_blob, read_leaf};
use super::walk::{Walk, index_name, walk};
use super::{Entry, Head, StorageError};

/// A segment directory, as it is at each call. A writer may be at work meanwhile.
pub struct SegmentReader {
    io: Arc<dyn Io>,
    segments: PathBuf,
    index: Index,
    /// Where [`SegmentReader::read_on`] goes on.
    next: Position,
}

/// How the bytes of a directory end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With a whole group, and zeros behind it.
    Clean,
    /// With something that is no group. It was cut short by a crash and never answered, or a writer is at work on
    /// it right now, or the last bytes were changed; a kept head or anchor tells which.
    Torn {
        /// The file.
        path: PathBuf,
        /// Where the whole groups end.
        offset: u64,
        /// What is there.
        what: String,
    },
}

/// What a full check found in a directory that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The logs with their heads, in the order in which they were first written.
    pub logs: Vec<(String, Head)>,
    /// Number of blobs.
    pub blobs: u64,
    /// Number of appends.
    pub groups: u64,
    /// Number of segment files, the empty one ahead included.
    pub segments: u32,
    /// How it ends.
    pub tail: Tail,
}

impl SegmentReader {
    /// Opens the log in `dir` for reading.
    ///
    /// # Errors
    /// [`StorageError::Io`] when `dir` holds no log that can be read.
    pub fn open_read_only(dir: &Path) -> Result<Self, StorageError> {
        Self::open_on(Arc::new(SystemIo), dir)
    }

    /// The same for who only reads on: it remembers no blobs, so what it keeps does not grow with the log.
    ///
    /// # Errors
    /// As [`SegmentReader::open_read_only`].
    pub fn open_to_follow(dir: &Path) -> Result<Self, StorageError> {
        Ok(Self {
            index: Index::default(),
            ..Self::open_read_only(dir)?
        })
    }

    /// [`SegmentReader::open_read_only`] on a given file system.
    ///
    /// # Errors
    /// As [`SegmentReader::open_read_only`].
    pub fn open_on(io: Arc<dyn Io>, dir: &Path) -> Result<Self, StorageError> {
        let segments = dir.join("segments");
        io.list(&segments).map_err(|source| StorageError::Io {
            path: segments.clone(),
            did: "list",
            source,
        })?;
        Ok(SegmentReader {
            io,
            segments,
            index: Index::of_blobs(),
            next: Position::start_of(1),
        })
    }

    /// Shows every leaf and blob in the order written, a group's blobs before its leaves, until `visit` breaks.
    /// Files that do not belong to the log are passed over.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] at the first bytes that are not what was written; all before them were shown.
    pub fn replay(
        &mut self,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<Tail, StorageError> {
        self.read(visit).map(|walk| tail(&walk))
    }

    /// Reads everything, and holds every byte of every file against its checksums and the chain; bytes that are to
    /// be zero are, index files say what their segments hold, and there is no file that does not belong. The lock file is not part
    /// of the log.
    ///
    /// # Errors
    /// As [`SegmentReader::replay`], and [`StorageError::Unexpected`].
    pub fn check(&mut self) -> Result<Checked, StorageError> {
        self.check_into(Index::of_blobs())
    }

    /// The same in memory that does not grow with the log: of blobs it remembers only states, such as checkpoints.
    ///
    /// # Errors
    /// As [`SegmentReader::check`].
    pub fn check_lean(&mut self) -> Result<Checked, StorageError> {
        self.check_into(Index::of_states())
    }

    fn check_into(&mut self, index: Index) -> Result<Checked, StorageError> {
        let (io, dir) = (&*self.io, &self.segments);
        self.index = index.keeping_contents();
        self.next = check_sealed(io, dir, &mut self.index)?;
        let index = &mut self.index;
        let mut unseen = |_: Entry<'_>| ControlFlow::Continue(());
        let walk = walk(io, dir, Access::Read, self.next, index, &mut unseen)?;
        index.keep_no_contents();
        let last = walk.last.as_ref().map_or(1, |last| last.from.number);
        let early = walk.indexed.range(last..).next();
        let early = early.map(|number| dir.join(index_name(*number)));
        if let Some(path) = walk.unexpected.iter().chain(early.as_ref()).next() {
            return Err(StorageError::Unexpected { path: path.clone() });
        }
        Ok(Checked {
            logs: self.index.logs().to_vec(),
            blobs: self.index.blobs_written,
            groups: self.index.next_group,
            segments: walk.segments,
            tail: tail(&walk),
        })
    }

    /// Shows what was written since the last call, from the start the first time: how a reader follows a writer. Costs
    /// a read of the segment that is being written, whatever the log's length.
    ///
    /// # Errors
    /// As [`SegmentReader::replay`]. The reader has lost its place then and is to be opened again.
    pub fn read_on(&mut self, visit: &mut dyn FnMut(Entry<'_>)) -> Result<Tail, StorageError> {
        let (io, dir) = (&*self.io, &self.segments);
        let mut shown = |entry: Entry<'_>| {
            visit(entry);
            ControlFlow::Continue(())
        };
        let access = Access::Read;
        let walk = walk(io, dir, access, self.next, &mut self.index, &mut shown)?;
        if let Some(last) = &walk.last {
            self.next = last.from;
        }
        Ok(tail(&walk))
    }

    /// Whether [`SegmentReader::blob`] has bytes of that name.
    pub fn holds(&self, name: &[u8; 32]) -> bool {
        self.index.blob(name).is_some()
    }

    /// The bytes of the blob stored last under `name` when the directory was last read whole by
    /// [`SegmentReader::replay`] or [`SegmentReader::check`].
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when they are not what was written.
    pub fn blob(&self, name: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(place) = self.index.blob(name) else {
            return Ok(None);
        };
        read_blob(&*self.io, &self.segments, place, name).map(Some)
    }

    /// The leaf at a place that [`super::Storage::places`] named, and its number in its log. Its bytes are what their checksum
    /// says; whose they are is the caller's to check.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when they are not what was written.
    pub fn leaf(&self, place: Place) -> Result<(u64, Vec<u8>), StorageError> {
        read_leaf(&*self.io, &self.segments, place)
    }

    fn read(
        &mut self,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<Walk, StorageError> {
        self.index = Index::of_blobs();
        self.next = Position::start_of(1);
        let (io, dir) = (&*self.io, &self.segments);
        walk(io, dir, Access::Read, self.next, &mut self.index, visit)
    }
}

fn tail(walk: &Walk) -> Tail {
    match walk.last.as_ref().and_then(|last| last.torn.as_ref()) {
        None => Tail::Clean,
        Some(torn) => Tail::Torn {
            path: torn.path.clone(),
            offset: torn.offset,
            what: torn.what.clone(),
        },
    }
}
