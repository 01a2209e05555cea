//! Reads segments that a start took in by their index files: every byte against checksums and chain, and what the index files say
//! against what the segments hold.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::Index;
use super::io::{Access, Io};
use super::scan::Position;
use super::sealed::{read_index, wrong_index};
use super::walk::{Walk, begins, index_name, read_sealed, sort_names};
use super::{Entry, StorageError};

/// A reading of the segments that were believed unread, one at a time.
pub struct Scrub {
    io: Arc<dyn Io>,
    dir: PathBuf,
    index: Index,
    next: u32,
    last: u32,
}

impl Scrub {
    pub(super) fn new(io: Arc<dyn Io>, dir: PathBuf, last: u32) -> Self {
        Self {
            io,
            dir,
            index: Index::of_contents(),
            next: 1,
            last,
        }
    }

    /// Segments that are still to be read.
    pub fn left(&self) -> u32 {
        self.last.saturating_add(1).saturating_sub(self.next)
    }

    /// Segments there are to read in all.
    pub fn all(&self) -> u32 {
        self.last
    }

    /// Reads the next segment and shows what it holds; nothing where none is left.
    ///
    /// # Errors
    /// [`StorageError::Damaged`], and the index file is removed then: the next start reads the segment.
    pub fn step(&mut self, visit: &mut dyn FnMut(Entry<'_>)) -> Result<(), StorageError> {
        if self.left() == 0 {
            return Ok(());
        }
        let read = self.read(visit);
        if matches!(read, Err(StorageError::Damaged { .. })) {
            drop(self.io.remove(&self.dir.join(index_name(self.next))));
        }
        read?;
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    fn read(&mut self, visit: &mut dyn FnMut(Entry<'_>)) -> Result<(), StorageError> {
        let mut shown = |entry: Entry<'_>| {
            visit(entry);
            ControlFlow::Continue(())
        };
        let (io, dir, number) = (&*self.io, &self.dir, self.next);
        let access = Access::Recover;
        read_sealed(io, dir, access, number, &mut self.index, &mut shown)?;
        match index_is_right(io, dir, number, &mut self.index)? {
            true => Ok(()),
            false => Err(wrong_index(dir, number)),
        }
    }
}

/// Reads the segments behind which others have data, and holds their index files against them; the answer is where to go on.
pub(super) fn check_sealed(
    io: &dyn Io,
    dir: &Path,
    index: &mut Index,
) -> Result<Position, StorageError> {
    let numbers: BTreeSet<u32> = sort_names(io, dir, &mut Walk::default())?;
    let mut number = 1;
    let mut unseen = |_: Entry<'_>| ControlFlow::Continue(());
    while numbers.contains(&number) && begins(io, dir, number.saturating_add(1), Access::Read)? {
        read_sealed(io, dir, Access::Read, number, index, &mut unseen)?;
        if !index_is_right(io, dir, number, index)? {
            return Err(wrong_index(dir, number));
        }
        number = number.saturating_add(1);
    }
    Ok(Position::start_of(number))
}

/// Whether the index file of a segment that was just read says what it holds, or is not there; what is known of it is released.
fn index_is_right(
    io: &dyn Io,
    dir: &Path,
    number: u32,
    index: &mut Index,
) -> Result<bool, StorageError> {
    let holds = index.release(number);
    let said = match read_index(io, dir, number) {
        Err(StorageError::Damaged { .. }) => return Ok(false),
        said => said?,
    };
    Ok(said.is_none_or(|said| holds.is_some_and(|holds| holds.encode() == said)))
}
