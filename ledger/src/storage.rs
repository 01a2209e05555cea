//! Where leaves and the bytes beside them are kept: the trait of the engine, its two embedded forms, and PostgreSQL.
//!
//! A storage knows nothing of what a leaf says. It keeps, for each log, a sequence of byte strings chained by
//! their RFC 6962 leaf hashes, and appends to it by compare-and-swap: every [`LogGroup`] names the head it was
//! decided on, and is refused when the log has moved on.
//!
//! # Guarantees
//! - An append answered with [`Appended::Appended`] is durable, and so is every append before it.
//! - A blob is durable no later than the leaves of its group.
//! - What a crash leaves behind is a prefix of what was appended: at most the one call in flight is lost or,
//!   unanswered, kept whole.

pub mod io;
pub mod lead;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod reader;
pub mod segment;

mod contents;
pub(crate) mod cut;
mod frame;
mod index;
mod scan;
mod scrub;
mod sealed;
mod snapshots;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use self::index::Place;
pub use self::lead::{Lead, LeadOpener};
pub use self::memory::MemoryStorage;
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresConfig, PostgresDocuments, PostgresStorage};
pub use self::reader::SegmentReader;
pub use self::scrub::Scrub;
pub use self::sealed::Sealed;
pub use self::segment::SegmentStorage;
pub use self::snapshots::Snapshots;

/// Most bytes of one leaf. The length prefix in a C2SP entry bundle is 16 bits wide, so 32 KiB
/// leave room for one doubling.
pub const LEAF_BYTES_MAX: usize = 32 * 1024;

/// Most bytes of one blob: a sealed request or a bundle of 1 MiB, and 64 KiB for its envelope.
pub const BLOB_BYTES_MAX: usize = (1024 + 64) * 1024;

/// Longest log name in bytes: `actpass/<cluster-id>/<namespace>/<uid>` is about 150.
pub const LOG_NAME_BYTES_MAX: usize = 512;

/// A store of logs. Calls block until the disk has answered, so the engine makes them on a thread of its own.
pub trait Storage: Send {
    /// Appends to many logs with one durable write; one result per group, in order.
    ///
    /// A group whose head is not the log's gets [`Appended::Conflict`] and is left out; the others go on. Two
    /// groups of one log are taken one after the other.
    ///
    /// # Errors
    /// Nothing was appended after [`StorageError::NoSpace`], [`StorageError::TooLarge`] and [`StorageError::Unavailable`], and the
    /// storage can be used further. After [`StorageError::Io`] it is unknown what is on disk: nothing may be answered, and
    /// every later call is [`StorageError::Poisoned`].
    fn append(&mut self, groups: &[LogGroup]) -> Result<Vec<Appended>, StorageError>;

    /// Shows every leaf and blob in the order written, a group's blobs before its leaves, until `visit` breaks.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] at the first bytes that are not what was written.
    fn replay(
        &mut self,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError>;

    /// The same from where each log is known: leaves of a log from the index on that `from` says, all of one it does not name, and
    /// the blobs written with them; maybe also other blobs.
    ///
    /// # Errors
    /// As [`Storage::replay`].
    fn replay_from(
        &mut self,
        from: &BTreeMap<String, u64>,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.replay(&mut |entry| match entry {
            Entry::Leaf { log, seq, .. } if from.get(log).is_some_and(|from| seq < *from) => {
                ControlFlow::Continue(())
            }
            entry => visit(entry),
        })
    }

    /// The bytes of the blob stored last under `name`, checked against their checksum; one that many write to may know side
    /// frames by [`Storage::side_frame`] only.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when they are not what was written.
    fn blob(&self, name: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError>;

    /// The bytes of the side frame of that name, which was stored with that leaf.
    ///
    /// # Errors
    /// As [`Storage::blob`].
    fn side_frame(
        &self,
        log: &str,
        seq: u64,
        name: &[u8; 32],
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let (_, _) = (log, seq);
        self.blob(name)
    }

    /// The logs with their heads, in the order in which they were first written.
    fn logs(&self) -> Vec<(String, Head)>;

    /// The head of `log`; of a log never written, [`Head::genesis`].
    fn head(&self, log: &str) -> Head;

    /// Work best done while nobody waits, such as making room ahead. The engine calls it when its queue is empty;
    /// an append does the same when it has to.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`] is an early warning: appends go on as long as the room already made lasts.
    fn maintain(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Where these leaves of `log` lie in [`Storage::directory`], durable as they are; none where it has not all of them.
    fn places(&self, log: &str, leaves: Range<u64>) -> Option<Vec<Place>> {
        let (_, _) = (log, leaves);
        None
    }

    /// One leaf, its bytes as their checksum says; none where it is not told or not there.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] when they are not what was written.
    fn leaf(&self, log: &str, seq: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let (_, _) = (log, seq);
        Ok(None)
    }

    /// The hashes of these leaves, by what is known without reading them; none where that is not told, or not all are there.
    ///
    /// # Errors
    /// What tells them cannot be read.
    fn leaf_hashes(
        &self,
        log: &str,
        leaves: Range<u64>,
    ) -> Result<Option<Vec<[u8; 32]>>, StorageError> {
        let (_, _) = (log, leaves);
        Ok(None)
    }

    /// Tells the hashes of leaves that no append changes any more, so that they need not be in memory.
    fn sealed(&self) -> Option<Arc<Sealed>> {
        None
    }

    /// Where the engine keeps what saves it from taking in every leaf; none where it does.
    fn snapshots(&self) -> Option<Snapshots> {
        None
    }

    /// Reads what opening believed unread; none where it read all.
    fn scrub(&self) -> Option<Scrub> {
        None
    }

    /// The directory that a [`SegmentReader`] reads meanwhile; none where nothing is on disk.
    fn directory(&self) -> Option<PathBuf> {
        None
    }

    /// How to open the same logs once more, for who reads them meanwhile; none where [`Storage::directory`] says where they are.
    fn another(&self) -> Option<Opener> {
        None
    }

    /// How to pass leaves on from there, by one of all who have it open at a time; none where [`Storage::directory`] says where they
    /// are.
    fn lead(&self) -> Option<LeadOpener> {
        None
    }

    /// The most bytes that one append may take.
    fn append_bytes_max(&self) -> usize {
        usize::MAX
    }

    /// Whether others append to the same logs meanwhile.
    fn is_shared(&self) -> bool {
        false
    }

    /// The logs that end elsewhere than they did when this was asked last, and where. Empty unless [`Storage::is_shared`].
    ///
    /// # Errors
    /// Where it cannot be told now; it may be asked again.
    fn moved(&mut self) -> Result<Vec<(String, Head)>, StorageError> {
        Ok(Vec::new())
    }

    /// Keeps others from appending to these logs until the next append or [`Storage::end_turn`], where it can and not for long: a
    /// help to who was too late, that nothing but its time may depend on. What is asked after sees all that came before.
    fn take_turn(&mut self, logs: &BTreeSet<String>) {
        let _ = logs;
    }

    /// Lets others append again; nothing where it is nobody's turn.
    fn end_turn(&mut self) {}

    /// Shows the leaves of one log from that index on, and the blobs written with them, which come before them; maybe also blobs
    /// written earlier.
    ///
    /// # Errors
    /// As [`Storage::replay`].
    fn tail(
        &mut self,
        log: &str,
        from: u64,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.replay(&mut |entry| match entry {
            Entry::Leaf { log: of, seq, .. } if of == log && seq >= from => visit(entry),
            Entry::Blob { log: of, .. } if of == log => visit(entry),
            Entry::Leaf { .. } | Entry::Blob { .. } => ControlFlow::Continue(()),
        })
    }

    /// What opening the storage had to drop: the write that a crash cut short.
    fn recovery(&self) -> Option<&Recovery> {
        None
    }
}

/// Opens logs that several may have open.
pub type Opener = Arc<dyn Fn() -> Result<Box<dyn Storage>, StorageError> + Send + Sync>;

/// Where a log ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Head {
    /// Number of leaves.
    pub size: u64,
    /// RFC 6962 leaf hash of the last leaf; of an empty log, its genesis value.
    pub hash: [u8; 32],
}

impl Head {
    /// The head of an empty log: size 0 and `SHA-256("actpass-genesis-v1\0" || log)`, which is also the `prev` of
    /// its first leaf.
    pub fn genesis(log: &str) -> Head {
        let hash = Sha256::new()
            .chain_update(b"actpass-genesis-v1\0")
            .chain_update(log.as_bytes())
            .finalize();
        Head {
            size: 0,
            hash: hash.into(),
        }
    }

    /// The head after one more leaf.
    #[must_use]
    pub fn after(self, leaf: &[u8]) -> Head {
        self.after_hash(leaf_hash(leaf))
    }

    /// [`Head::after`] of a leaf with this hash.
    #[must_use]
    pub(crate) fn after_hash(self, hash: [u8; 32]) -> Head {
        Head {
            size: self.size.saturating_add(1),
            hash,
        }
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({}, {})", self.size, Hex(&self.hash))
    }
}

/// Hash of one leaf in the evidence tree: `SHA-256(0x00 || leaf)`, RFC 6962 section 2.1.
pub fn leaf_hash(leaf: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update([0])
        .chain_update(leaf)
        .finalize()
        .into()
}

/// What one append adds to one log.
#[derive(Clone, Debug)]
pub struct LogGroup {
    /// Name of the log, which is its origin.
    pub log: String,
    /// Where the log must end for this group to be valid.
    pub expected_head: Head,
    /// The leaves in order, each at most [`LEAF_BYTES_MAX`].
    pub leaves: Vec<HashedLeaf>,
    /// Bytes that the leaves, or later ones, name.
    pub blobs: Vec<Blob>,
}

/// The bytes of a leaf and their hash, which is asked for where it is chained, put into the tree and indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashedLeaf {
    bytes: Vec<u8>,
    hash: [u8; 32],
}

impl HashedLeaf {
    /// [`leaf_hash`] of the bytes.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }
}

impl From<Vec<u8>> for HashedLeaf {
    fn from(bytes: Vec<u8>) -> Self {
        let hash = leaf_hash(&bytes);
        Self { bytes, hash }
    }
}

impl std::ops::Deref for HashedLeaf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes stored beside the leaves and outside the tree, under a name.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What they are.
    pub kind: BlobKind,
    /// The name to read them by: a digest, or random. A name stored twice means its last bytes.
    pub name: [u8; 32],
    /// The bytes as they are to lie on disk, so ciphertext where the content is personal; at most
    /// [`BLOB_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// What a blob is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobKind {
    /// The sealed openings of the leaf with this sequence number in the group's log.
    SideFrame {
        /// Index of the leaf.
        seq: u64,
    },
    /// A sealed request that waits for its approval.
    Sealed,
    /// A policy bundle, named by its digest.
    Bundle,
    /// Anything else the engine keeps.
    State,
}

/// The result of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Durable.
    Appended {
        /// The log's head now.
        head: Head,
    },
    /// Nothing was written, as the log ends elsewhere: decide again on that head.
    Conflict {
        /// Where the log ends.
        found: Head,
    },
    /// It may or may not have been written: read the head again and compare.
    Unknown,
}

/// One stored thing, as [`Storage::replay`] shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A leaf.
    Leaf {
        /// Its log.
        log: &'a str,
        /// Its index in the log, from 0.
        seq: u64,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A blob.
    Blob {
        /// The log in whose group it was written.
        log: &'a str,
        /// What it is.
        kind: BlobKind,
        /// Its name.
        name: &'a [u8; 32],
        /// Its bytes.
        bytes: &'a [u8],
    },
}

/// A write that a crash had cut short, found and dropped on opening. It was never answered. The engine records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The file.
    pub path: PathBuf,
    /// Where the dropped bytes began.
    pub offset: u64,
    /// How many bytes there were, up to the last that was not zero.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// What gave it away.
    pub what: String,
}

/// Why a storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No room for another write. Nothing was written.
    #[error(
        "no space left on the volume of `{path}`; nothing was written, and writes go on once space is freed"
    )]
    NoSpace {
        /// The directory of the log.
        path: PathBuf,
    },
    /// The disk refused. What it holds is unknown, and an fsync that failed once cannot be trusted when repeated.
    #[error(
        "{did} `{path}` failed; the log takes no more writes until it is restarted, which verifies it first"
    )]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operation.
        did: &'static str,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The server that keeps the leaves cannot be asked now. It may be asked again.
    #[error("the PostgreSQL of the log cannot be used now: {what}")]
    Unavailable {
        /// Why.
        what: String,
    },
    /// A server that would not keep what it is given, or is not the one that was meant.
    #[error("this PostgreSQL is not used: {what}")]
    Refused {
        /// Which of its settings to change, or what to give instead.
        what: String,
    },
    /// Rows on a server are not what was written.
    #[error(
        "PostgreSQL gives damaged rows{}: {what}; nothing was changed, restore the database from a copy",
        near(Some(.log), Some(*.seq))
    )]
    DamagedRow {
        /// The log.
        log: String,
        /// Index of the first leaf that cannot be read, or beside which something cannot.
        seq: u64,
        /// What is wrong.
        what: String,
    },
    /// Tables on a server contradict each other, or cannot be read.
    #[error("the tables in PostgreSQL are damaged: {what}; restore the database from a copy")]
    DamagedTables {
        /// What the server says.
        what: String,
    },
    /// An earlier I/O error ended this storage.
    #[error("the log stopped at an earlier i/o error; restart, which verifies it first")]
    Poisoned,
    /// Another process has the log.
    #[error("`{path}` is in use by {}; stop it, or give another state directory", holder(*.pid))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, where the file says.
        pid: Option<u32>,
    },
    /// Bytes on disk are not what was written.
    #[error(
        "`{path}` is damaged at byte {offset}{}: {what}; nothing was changed, restore the file from a copy",
        near(.log.as_deref(), *.seq)
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// The log of the first leaf that cannot be read; where the damage hides it, the log written last before.
        log: Option<String>,
        /// Index of that leaf.
        seq: Option<u64>,
        /// What is wrong.
        what: String,
    },
    /// Another build wrote it.
    #[error(
        "`{path}` has segments of version {version}, and this build reads version {}; nothing was changed: go on with the build that wrote it, or begin a log in another directory and keep this one with that build to verify it",
        frame::VERSION
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u16,
    },
    /// A file that this storage never makes.
    #[error("`{path}` does not belong to the log; move it away")]
    Unexpected {
        /// The file.
        path: PathBuf,
    },
    /// A leaf, blob, name or whole append over its bound. Nothing was written.
    #[error("{what} of {bytes} bytes is over the bound of {max}")]
    TooLarge {
        /// Which.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// An option outside its range.
    #[error("segment size {0} is not a multiple of 4096 between 8192 and 67108864")]
    SegmentSize(u64),
}

/// Lower-case hex of some bytes.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn holder(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => String::from("another process"),
    }
}

fn near(log: Option<&str>, seq: Option<u64>) -> String {
    match (log, seq) {
        (Some(log), Some(seq)) => format!(", at leaf {seq} of log `{log}`"),
        (Some(log), None) => format!(", in log `{log}`"),
        (None, _) => String::new(),
    }
}

/// The bounds of one group, tested before anything is written.
fn check_bounds(group: &LogGroup) -> Result<(), StorageError> {
    let within = |what, bytes: usize, max: usize| match bytes <= max {
        true => Ok(()),
        false => Err(StorageError::TooLarge { what, bytes, max }),
    };
    within("log name", group.log.len(), LOG_NAME_BYTES_MAX)?;
    for leaf in &group.leaves {
        within("leaf", leaf.len(), LEAF_BYTES_MAX)?;
    }
    for blob in &group.blobs {
        within("blob", blob.bytes.len(), BLOB_BYTES_MAX)?;
    }
    Ok(())
}
