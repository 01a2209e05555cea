//! Passes leaves on as they are logged, each once and in order, to whoever keeps or searches them elsewhere.
//!
//! *Flow.* Leaves are read from the disk beside the sequencer, as far as they are durable, and become lines ([`line_of`]). A
//! [`Sink`] takes some lines at a time; then a file, the cursor, says how far it is. *What a crash leaves.* The cursor before or
//! after some lines: they are passed on again, and a sink that can tell leaves out what it has. *Errors.* No append ever waits
//! for a sink. One that takes nothing is asked again with the same lines, and nothing is read meanwhile. A log that is not the
//! one of which the cursor is, or is shorter, is passed on no further.

mod cursor;
mod passing;
mod sink;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use crate::storage::{Entry, Head, SegmentReader, StorageError};
use crate::vault::PrivateFileError;

pub use cursor::{Cursor, CursorFile};
pub use passing::{Passing, Target};
pub use sink::{FileEnd, FileSink, Sink, Stdout};

/// Bytes of lines that a sink is given at once, at least where there are as many.
const PIECE_BYTES: usize = 1 << 20;

/// Leaves could not be passed on.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[from] StorageError),
    /// The cursor cannot be read or kept.
    #[error("the cursor cannot be kept")]
    Cursor(#[from] PrivateFileError),
    /// A file that is no cursor.
    #[error("`{path}` is no cursor: {what}; remove it to begin at the first leaf")]
    NoCursor {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Another passes on by the same cursor.
    #[error("another process passes leaves on by the cursor `{path}`")]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// The sink took nothing.
    #[error("`{to}` takes nothing")]
    Sink {
        /// What it is.
        to: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The log has another leaf than was passed on.
    #[error(
        "leaf {seq} of log `{log}` is not the one that was passed on: the log was rewritten or is another one"
    )]
    OtherLog {
        /// The log.
        log: String,
        /// The leaf.
        seq: u64,
    },
    /// The log is shorter than what was passed on.
    #[error("log `{log}` ends at leaf {found}, and {size} leaves were passed on: it was cut short")]
    CutShort {
        /// The log.
        log: String,
        /// How many leaves were passed on.
        size: u64,
        /// How many it has.
        found: u64,
    },
}

impl TailError {
    /// Whether the sink alone is to blame, so that it may be asked again.
    pub fn is_of_sink(&self) -> bool {
        matches!(self, Self::Sink { .. })
    }
}

/// The line of a leaf: `{"leaf":<the leaf as it stands in the log>,"leaf_hash":<its RFC 6962 leaf hash>}`. By log, `h.seq` and hash a
/// row kept elsewhere can be held against the log.
pub fn line_of(leaf: &[u8], hash: &[u8; 32]) -> Vec<u8> {
    let hash = actpass_core::hash::hex(hash);
    [
        b"{\"leaf\":",
        leaf,
        b",\"leaf_hash\":\"",
        hash.as_bytes(),
        b"\"}\n",
    ]
    .concat()
}

/// How many leaves of each log are durable; without, all that can be read.
pub type Durable<'a> = Option<&'a dyn Fn(&str) -> u64>;

/// Passes the logs of one directory on to one sink.
pub struct Tailer {
    directory: PathBuf,
    /// None: it is opened anew, and read from its first leaf, once the sink has taken what waits.
    reader: Option<SegmentReader>,
    sink: Box<dyn Sink>,
    cursor: CursorFile,
    piece: Piece,
    /// Read and not durable yet.
    held: VecDeque<Held>,
    /// How many leaves of each log were read.
    read: BTreeMap<String, u64>,
}

/// Lines that wait for the sink.
#[derive(Default)]
struct Piece {
    lines: Vec<u8>,
    leaves: u64,
    /// Where the logs end with them.
    ends: BTreeMap<String, Head>,
}

struct Held {
    log: String,
    seq: u64,
    leaf: Vec<u8>,
}

impl Tailer {
    /// One that goes on where the cursor is.
    ///
    /// # Errors
    /// Where the cursor cannot be used, or the sink cannot go on from there.
    pub fn new(
        directory: &Path,
        mut cursor: CursorFile,
        mut sink: Box<dyn Sink>,
    ) -> Result<Self, TailError> {
        make_ready(&mut *sink, &mut cursor)?;
        Ok(Self {
            directory: directory.to_owned(),
            reader: None,
            sink,
            cursor,
            piece: Piece::default(),
            held: VecDeque::new(),
            read: BTreeMap::new(),
        })
    }

    /// Passes on what there is; how many leaves the sink took.
    ///
    /// # Errors
    /// After [`TailError::Sink`] it may be called again, and goes on where it was.
    pub fn pass_on(&mut self, durable: Durable<'_>) -> Result<u64, TailError> {
        let mut passed = self.deliver()?;
        while let Some(held) = self.held.pop_front() {
            if !is_durable(durable, &held) {
                self.held.push_front(held);
                break;
            }
            self.take(&held.log, held.seq, &held.leaf)?;
        }
        passed = passed.saturating_add(self.read_on(durable)?);
        Ok(passed.saturating_add(self.deliver()?))
    }

    /// How many leaves of all logs were passed on.
    pub fn passed(&self) -> u64 {
        let logs = &self.cursor.cursor().logs;
        logs.values().map(|head| head.size).sum()
    }

    fn read_on(&mut self, durable: Durable<'_>) -> Result<u64, TailError> {
        let (mut reader, anew) = match self.reader.take() {
            Some(reader) => (reader, false),
            None => {
                self.held.clear();
                self.read.clear();
                (SegmentReader::open_to_follow(&self.directory)?, true)
            }
        };
        let (mut passed, mut failed) = (0_u64, None);
        reader.read_on(&mut |entry| {
            let Entry::Leaf { log, seq, bytes } = entry else {
                return;
            };
            if failed.is_some() {
                return;
            }
            match self.leaf(log, seq, bytes, durable) {
                Ok(took) => passed = passed.saturating_add(took),
                Err(error) => failed = Some(error),
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if anew {
            self.check_ends()?;
        }
        self.reader = Some(reader);
        Ok(passed)
    }

    /// Takes in the next leaf that was read; how many the sink took meanwhile.
    fn leaf(
        &mut self,
        log: &str,
        seq: u64,
        leaf: &[u8],
        durable: Durable<'_>,
    ) -> Result<u64, TailError> {
        match self.read.get_mut(log) {
            Some(read) => *read = seq.saturating_add(1),
            None => drop(self.read.insert(log.to_owned(), seq.saturating_add(1))),
        }
        let held = Held {
            log: log.to_owned(),
            seq,
            leaf: Vec::new(),
        };
        if !is_durable(durable, &held) || self.held.iter().any(|before| before.log == log) {
            let leaf = leaf.to_owned();
            self.held.push_back(Held { leaf, ..held });
            return Ok(0);
        }
        self.take(log, seq, leaf)?;
        match self.piece.lines.len() >= PIECE_BYTES {
            true => self.deliver(),
            false => Ok(0),
        }
    }

    /// Adds the line of a leaf that was not passed on yet.
    fn take(&mut self, log: &str, seq: u64, leaf: &[u8]) -> Result<(), TailError> {
        let ended = self.piece.ends.get(log);
        let ended = ended.or_else(|| self.cursor.cursor().logs.get(log));
        let end = ended.copied().unwrap_or_else(|| Head::genesis(log));
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

    /// Gives the sink what waits, and keeps the cursor.
    fn deliver(&mut self) -> Result<u64, TailError> {
        if self.piece.leaves == 0 {
            return Ok(0);
        }
        make_ready(&mut *self.sink, &mut self.cursor)?;
        let taken = self.sink.take(&self.piece.lines);
        let file = taken.map_err(|source| failed(&*self.sink, source))?;
        let Piece { leaves, ends, .. } = std::mem::take(&mut self.piece);
        self.cursor.move_to(ends, file)?;
        Ok(leaves)
    }

    /// Of a log read from its first leaf: nothing that was passed on is missing.
    fn check_ends(&self) -> Result<(), TailError> {
        for (log, head) in &self.cursor.cursor().logs {
            let found = self.read.get(log).copied().unwrap_or(0);
            if found < head.size {
                return Err(TailError::CutShort {
                    log: log.clone(),
                    size: head.size,
                    found,
                });
            }
        }
        Ok(())
    }
}

/// A file that the cursor does not know is noted before anything is written to it: else nobody could tell what of it counts.
fn make_ready(sink: &mut dyn Sink, cursor: &mut CursorFile) -> Result<(), TailError> {
    let known = cursor.cursor().file;
    let begins = sink.ready(known);
    let begins = begins.map_err(|source| failed(sink, source))?;
    let is_known = match (begins, known) {
        // A file that was cut short in place begins anew.
        (Some(begins), Some(known)) => begins.inode == known.inode && begins.bytes >= known.bytes,
        (begins, known) => begins == known,
    };
    match is_known {
        true => Ok(()),
        false => cursor.move_to(BTreeMap::new(), begins),
    }
}

fn is_durable(durable: Durable<'_>, held: &Held) -> bool {
    durable.is_none_or(|durable| held.seq < durable(&held.log))
}

fn failed(sink: &dyn Sink, source: std::io::Error) -> TailError {
    TailError::Sink {
        to: sink.name(),
        source,
    }
}

#[cfg(test)]
mod tests;
