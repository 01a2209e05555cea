//! Passes leaves on as they are logged, each once and in order, to whoever keeps or searches them elsewhere.
//!
//! *Flow.* Leaves are read from the disk beside the sequencer, as far as they are durable, and become lines ([`line_of`]). A
//! [`Sink`] takes some lines at a time; then a file, the cursor, says how far it is. *What a crash leaves.* The cursor before or
//! after some lines: they are passed on again, and a sink that can tell leaves out what it has. *Errors.* No append ever waits
//! for a sink. One that takes nothing is asked again with the same lines, and nothing is read meanwhile. A log that is not the
//! one of which the cursor is, or is shorter, is passed on no further.

mod cursor;
mod outlet;
mod passing;
mod segments;
mod server;
mod sink;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::outlet::Outlet;
use self::segments::Segments;
use self::server::Server;
use crate::storage::{Head, Lead, StorageError};
use crate::vault::PrivateFileError;

pub use cursor::{Cursor, CursorFile};
pub(crate) use passing::Logs;
pub use passing::{Passing, Target};
pub use sink::{FileEnd, FileSink, Sink, Stdout};

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
    /// A cursor beside the logs of a server that is none.
    #[error(
        "document `tail/cursor` is no cursor: {what}; delete its row of `actpass.document` to begin at the first leaf"
    )]
    NoSharedCursor {
        /// What is wrong with it.
        what: String,
    },
    /// The cursor beside the logs went back.
    #[error(
        "{size} leaves of log `{log}` were passed on, and the cursor says {found}: the server was put back to an older state"
    )]
    PutBack {
        /// The log.
        log: String,
        /// How many leaves were passed on.
        size: u64,
        /// How many the cursor says.
        found: u64,
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

/// Where leaves are read, and where it is kept how far they were passed on.
trait Source: Send {
    /// How far they were passed on.
    fn cursor(&self) -> &Cursor;

    /// Moves that, durably.
    fn move_to(
        &mut self,
        ends: BTreeMap<String, Head>,
        file: Option<FileEnd>,
    ) -> Result<(), TailError>;

    /// How many leaves all logs have, where it is told.
    fn logged(&self) -> Option<u64> {
        None
    }

    /// Waits until what was put into an outlet may leave it.
    fn settle(&mut self) -> Result<(), TailError> {
        Ok(())
    }

    /// Puts the leaves into `outlet` that are durable and come behind the cursor; how many the sink took meanwhile.
    fn read_on(&mut self, outlet: &mut Outlet, durable: Durable<'_>) -> Result<u64, TailError>;
}

/// Passes logs on to one sink.
pub struct Tailer {
    source: Box<dyn Source>,
    outlet: Outlet,
}

impl Tailer {
    /// One that passes the logs of a directory on, and goes on where the cursor is.
    ///
    /// # Errors
    /// Where the cursor cannot be used, or the sink cannot go on from there.
    pub fn new(
        directory: &Path,
        cursor: CursorFile,
        sink: Box<dyn Sink>,
    ) -> Result<Self, TailError> {
        let mut source = Box::new(Segments::new(directory, cursor));
        let mut outlet = Outlet::new(sink);
        outlet.make_ready(&mut *source)?;
        Ok(Self { source, outlet })
    }

    /// One that passes the logs of a server on whenever it has the lead, and goes on where whoever had it before was.
    pub fn over(lead: Box<dyn Lead>, sink: Box<dyn Sink>) -> Self {
        Self {
            source: Box::new(Server::new(lead)),
            outlet: Outlet::new(sink),
        }
    }

    /// Passes on what there is; how many leaves the sink took.
    ///
    /// # Errors
    /// After [`TailError::Sink`] it may be called again, and goes on where it was.
    pub fn pass_on(&mut self, durable: Durable<'_>) -> Result<u64, TailError> {
        let before = self.outlet.deliver(&mut *self.source)?;
        let read = self.source.read_on(&mut self.outlet, durable)?;
        let after = self.outlet.deliver(&mut *self.source)?;
        Ok(before.saturating_add(read).saturating_add(after))
    }

    /// How many leaves of all logs were passed on.
    pub fn passed(&self) -> u64 {
        let logs = &self.source.cursor().logs;
        logs.values().map(|head| head.size).sum()
    }

    /// How many leaves all logs have, where a server was asked.
    pub fn logged(&self) -> Option<u64> {
        self.source.logged()
    }
}

#[cfg(test)]
mod tests;
