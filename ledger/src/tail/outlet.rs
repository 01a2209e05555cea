//! Lines on their way to the sink, and what moves the cursor behind them.

use std::collections::BTreeMap;

use super::{Cursor, Sink, Source, TailError, line_of};
use crate::storage::Head;

/// Bytes of lines that a sink is given at once, at least where there are as many. Over PostgreSQL a sink has ten seconds for them, or
/// another ledger takes over: 26 kB a second.
const PIECE_BYTES: usize = 256 * 1024;

/// A sink, and what waits for it.
pub(super) struct Outlet {
    sink: Box<dyn Sink>,
    piece: Piece,
}

/// Lines that wait for the sink.
#[derive(Default)]
struct Piece {
    lines: Vec<u8>,
    leaves: u64,
    /// Where the logs end with them.
    ends: BTreeMap<String, Head>,
}

impl Outlet {
    pub(super) fn new(sink: Box<dyn Sink>) -> Self {
        Self {
            sink,
            piece: Piece::default(),
        }
    }

    /// Whether the sink should be given what waits.
    pub(super) fn is_full(&self) -> bool {
        self.piece.lines.len() >= PIECE_BYTES
    }

    /// Adds the line of a leaf that was not passed on yet.
    pub(super) fn take(
        &mut self,
        cursor: &Cursor,
        log: &str,
        seq: u64,
        leaf: &[u8],
    ) -> Result<(), TailError> {
        let end = self.end(cursor, log);
        if seq.saturating_add(1) < end.size {
            return Ok(());
        }
        let hash = crate::storage::leaf_hash(leaf);
        if seq.saturating_add(1) == end.size && hash == end.hash {
            return Ok(());
        }
        if seq != end.size {
            return Err(TailError::OtherLog {
                log: log.to_owned(),
                seq,
            });
        }
        self.piece.lines.extend(line_of(leaf, &hash));
        self.piece.leaves = self.piece.leaves.saturating_add(1);
        let size = seq.saturating_add(1);
        self.piece.ends.insert(log.to_owned(), Head { size, hash });
        Ok(())
    }

    /// Where a log ends with what waits.
    pub(super) fn end(&self, cursor: &Cursor, log: &str) -> Head {
        let ended = self.piece.ends.get(log).or_else(|| cursor.logs.get(log));
        ended.copied().unwrap_or_else(|| Head::genesis(log))
    }

    /// Lets go of what waits, which is read again, or passed on by others.
    pub(super) fn forget(&mut self) {
        self.piece = Piece::default();
    }

    /// Gives the sink what waits, and moves the cursor.
    pub(super) fn deliver(&mut self, source: &mut dyn Source) -> Result<u64, TailError> {
        if self.piece.leaves == 0 {
            return Ok(0);
        }
        // Getting ready may cut a file short, where those who lead now may have written since.
        source.settle().inspect_err(|_| self.forget())?;
        self.make_ready(source)?;
        source.settle().inspect_err(|_| self.forget())?;
        let taken = self.sink.take(&self.piece.lines);
        let file = taken.map_err(|error| self.failed(error))?;
        let Piece { leaves, ends, .. } = std::mem::take(&mut self.piece);
        source.move_to(ends, file)?;
        Ok(leaves)
    }

    /// A file that the cursor does not know is noted before anything is written to it: else nobody could tell what of it counts.
    pub(super) fn make_ready(&mut self, source: &mut dyn Source) -> Result<(), TailError> {
        let known = source.cursor().file;
        let begins = self.sink.ready(known);
        let begins = begins.map_err(|error| self.failed(error))?;
        let is_known = match (begins, known) {
            // A file that was cut short in place begins anew.
            (Some(begins), Some(known)) => {
                begins.inode == known.inode && begins.bytes >= known.bytes
            }
            (begins, known) => begins == known,
        };
        match is_known {
            true => Ok(()),
            false => source.move_to(BTreeMap::new(), begins),
        }
    }

    fn failed(&self, source: std::io::Error) -> TailError {
        TailError::Sink {
            to: self.sink.name(),
            source,
        }
    }
}
