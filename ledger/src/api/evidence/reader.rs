//! Leaves beside the sequencer: in the files of a volume, or by a connection of one's own to whoever keeps them.

use std::ops::ControlFlow;
use std::path::PathBuf;

use actpass_core::evidence::merkle;

use crate::engine::PlacedLeaf;
use crate::storage::{Entry, Opener, SegmentReader, Storage, StorageError};

/// Where leaves are read.
#[derive(Clone)]
pub(crate) enum Source {
    /// In the files of a directory.
    Files(PathBuf),
    /// Where others read them as well.
    Server(Opener),
}

impl Source {
    /// Where those of `storage` are; none where only it can tell.
    pub(crate) fn of(storage: &dyn Storage) -> Option<Self> {
        let files = storage.directory().map(Self::Files);
        files.or_else(|| storage.another().map(Self::Server))
    }

    pub(super) fn open(&self) -> Result<Reader, StorageError> {
        Ok(match self {
            Self::Files(directory) => {
                Reader::Files(Box::new(SegmentReader::open_read_only(directory)?))
            }
            Self::Server(opener) => Reader::Server {
                storage: opener()?,
                next: 0,
            },
        })
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Files(_) => "Files",
            Self::Server(_) => "Server",
        })
    }
}

pub(crate) enum Reader {
    Files(Box<SegmentReader>),
    Server {
        storage: Box<dyn Storage>,
        /// The first leaf that was not shown.
        next: u64,
    },
}

impl Reader {
    /// Shows what there is, at least of that log.
    pub(crate) fn replay(
        &mut self,
        log: &str,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        match self {
            Self::Files(reader) => reader.replay(visit).map(drop),
            Self::Server { storage, .. } => storage.tail(log, 0, visit),
        }
    }

    /// Shows what came since it did so last, at least of that log.
    pub(super) fn read_on(
        &mut self,
        log: &str,
        visit: &mut dyn FnMut(Entry<'_>),
    ) -> Result<(), StorageError> {
        match self {
            Self::Files(reader) => reader.read_on(visit).map(drop),
            Self::Server { storage, next } => storage.tail(log, *next, &mut |entry| {
                if let Entry::Leaf { seq, .. } = entry {
                    *next = seq.saturating_add(1);
                }
                visit(entry);
                ControlFlow::Continue(())
            }),
        }
    }

    /// Shows these leaves, which follow each other. Whatever is stored, only what stands in the tree leaves here.
    pub(super) fn leaves(
        &mut self,
        log: &str,
        leaves: &[PlacedLeaf],
        visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        match self {
            Self::Files(reader) => {
                for leaf in leaves {
                    let place = leaf.place.ok_or_else(|| not_in_tree(leaf.seq))?;
                    let (seq, bytes) = reader.leaf(place)?;
                    if visit(checked(leaf, seq, &bytes)?).is_break() {
                        break;
                    }
                }
                Ok(())
            }
            Self::Server { storage, .. } => {
                let mut left = leaves.iter();
                let mut next = left.next();
                let (mut found, mut stopped) = (Ok(()), false);
                let from = next.map_or(0, |leaf| leaf.seq);
                storage.tail(log, from, &mut |entry| {
                    let (Entry::Leaf { seq, bytes, .. }, Some(leaf)) = (&entry, next) else {
                        return ControlFlow::Continue(());
                    };
                    next = left.next();
                    match checked(leaf, *seq, bytes) {
                        Ok(bytes) => stopped = visit(bytes).is_break(),
                        Err(error) => found = Err(error),
                    }
                    match stopped || found.is_err() || next.is_none() {
                        true => ControlFlow::Break(()),
                        false => ControlFlow::Continue(()),
                    }
                })?;
                found?;
                match next {
                    // What was asked for is in the tree, so it is missing.
                    Some(leaf) if !stopped => Err(not_in_tree(leaf.seq)),
                    Some(_) | None => Ok(()),
                }
            }
        }
    }
}

fn checked<'a>(leaf: &PlacedLeaf, seq: u64, bytes: &'a [u8]) -> Result<&'a [u8], StorageError> {
    match seq == leaf.seq && merkle::leaf_hash(bytes) == leaf.hash {
        true => Ok(bytes),
        false => Err(not_in_tree(leaf.seq)),
    }
}

fn not_in_tree(seq: u64) -> StorageError {
    StorageError::Damaged {
        path: PathBuf::from("segments"),
        offset: 0,
        log: None,
        seq: Some(seq),
        what: format!("leaf {seq} is not the one in the tree"),
    }
}
