//! A directory of segments for who only looks: nothing in it is made, locked, cleared or changed.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::{Ahead, SegmentOptions, SegmentStorage, take_sealed};
use crate::storage::index::Index;
use crate::storage::io::{Access, SystemIo};
use crate::storage::scan::Position;
use crate::storage::sealed::Sealed;
use crate::storage::walk::walk;
use crate::storage::{Entry, StorageError};

impl SegmentStorage {
    /// Reads the log in `dir` as [`SegmentStorage::open`] does, and leaves what a crash cut short where it is. Every append is
    /// [`StorageError::Poisoned`].
    ///
    /// # Errors
    /// As there; [`StorageError::Io`] where `dir` holds no log.
    pub fn look(dir: &Path) -> Result<Self, StorageError> {
        let (io, segments) = (Arc::new(SystemIo), dir.join("segments"));
        let mut index = Index::of_contents();
        let mut unseen = |_: Entry<'_>| ControlFlow::Continue(());
        let sealed = Sealed::new(io.clone(), segments.clone());
        let start = Position::start_of(take_sealed(&*io, &segments, &mut index, &sealed)?);
        let access = Access::Read;
        let walk = walk(&*io, &segments, access, start, &mut index, &mut unseen)?;
        Ok(Self {
            io,
            dir: dir.to_path_buf(),
            segments,
            options: SegmentOptions::default(),
            index,
            believed: sealed.last(),
            sealed: Arc::new(sealed),
            current: None,
            last: walk.last.map_or(0, |last| last.from.number),
            ahead: Ahead::Nothing,
            indexing: None,
            beside: false,
            recovery: None,
            poisoned: true,
            new_store: [0; 16],
            _lock: Box::new(()),
        })
    }
}
