//! That one leaf is in a log, as a text which is checked without the log: C2SP `tlog-proof`.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64 of the leaf>
//! index 42
//! <base64 of each hash from the leaf's sibling up>
//!
//! <the signed checkpoint>
//! ```
//!
//! The extra data are the leaf itself: they are believed only because they hash to what the proof is of.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Checkpoint, CheckpointError, NOTE_BYTES_MAX, NoteVerifier};
use super::leaf::{LEAF_BYTES_MAX, Leaf, LeafError};
use super::merkle::{ProofError, leaf_hash, verify_inclusion};

/// First line of the text.
pub const TLOG_PROOF_VERSION: &str = "c2sp.org/tlog-proof@v1";

/// Longest text: a leaf of 32 KiB in base64, [`HASHES_MAX`] lines of 45 bytes, a checkpoint, and the words between them.
pub const TLOG_PROOF_BYTES_MAX: usize =
    LEAF_BYTES_MAX.div_ceil(3) * 4 + HASHES_MAX * 45 + NOTE_BYTES_MAX + 128;

/// Most hashes: a tree of 2^64 leaves is that high.
pub const HASHES_MAX: usize = 64;

/// The parts of the text. Nothing of them is checked but that they can be read: [`logged`] says what they show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// The leaf; proofs of other logs carry other things, or nothing.
    pub extra: Option<Vec<u8>>,
    /// Where the leaf stands.
    pub index: u64,
    /// The inclusion proof (RFC 6962 section 2.1.1).
    pub path: Vec<[u8; 32]>,
    /// The signed checkpoint of the tree that it leads to.
    pub checkpoint: String,
}

/// Why a text is no such proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// Over [`TLOG_PROOF_BYTES_MAX`].
    #[error("the proof is longer than {TLOG_PROOF_BYTES_MAX} bytes")]
    TooLong,
    /// Another version, or something else.
    #[error("the first line is not `{TLOG_PROOF_VERSION}`")]
    Version,
    /// No empty line, and so no checkpoint.
    #[error("no checkpoint behind an empty line")]
    NoCheckpoint,
    /// No line of that kind.
    #[error("no line `index N` where it belongs")]
    Index,
    /// Extra data that are not base64.
    #[error("the extra data are not base64")]
    Extra,
    /// A line that is no hash.
    #[error("hash {0} of the proof is not 32 bytes in base64")]
    Hash(usize),
    /// More than [`HASHES_MAX`].
    #[error("the proof has more than {HASHES_MAX} hashes")]
    TooManyHashes,
}

/// Why a leaf is not shown to be in a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoggedError {
    /// The checkpoint is not one of this log, or not signed by its key.
    #[error("the checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// The proof does not lead from the leaf to the checkpoint.
    #[error("the leaf is not in the log that the checkpoint is of")]
    Inclusion(#[from] ProofError),
    /// The bytes are in the tree, and no leaf.
    #[error("the leaf")]
    Leaf(#[from] LeafError),
    /// It says of itself that it stands elsewhere.
    #[error("the leaf is not of this log at this place")]
    Place,
}

/// The head and the leaf, where the leaf is proved to stand at `index` of the log that the key of `verifier` signs for.
///
/// # Errors
/// What does not hold.
pub fn logged(
    leaf: &[u8],
    index: u64,
    path: &[[u8; 32]],
    checkpoint: &str,
    verifier: &NoteVerifier,
) -> Result<(Checkpoint, Leaf), LoggedError> {
    let head = Checkpoint::verify(checkpoint, verifier)?;
    verify_inclusion(leaf_hash(leaf), index, head.size, path, head.root)?;
    let leaf = Leaf::parse(leaf)?;
    match leaf.h.log == head.origin && leaf.h.seq == index {
        true => Ok((head, leaf)),
        false => Err(LoggedError::Place),
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{TLOG_PROOF_VERSION}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "{EXTRA}{}", STANDARD.encode(extra))?;
        }
        writeln!(f, "{INDEX}{}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofError;

    fn from_str(text: &str) -> Result<Self, TlogProofError> {
        if text.len() > TLOG_PROOF_BYTES_MAX {
            return Err(TlogProofError::TooLong);
        }
        let rest = text.strip_prefix(TLOG_PROOF_VERSION);
        let rest = rest.and_then(|rest| rest.strip_prefix('\n'));
        let rest = rest.ok_or(TlogProofError::Version)?;
        let (head, checkpoint) = rest
            .split_once("\n\n")
            .ok_or(TlogProofError::NoCheckpoint)?;
        let mut lines = head.split('\n').peekable();
        let extra = lines.next_if(|line| line.starts_with(EXTRA));
        let extra = extra.and_then(|line| line.strip_prefix(EXTRA));
        let extra = extra.map(|text| STANDARD.decode(text)).transpose();
        let extra = extra.map_err(|_| TlogProofError::Extra)?;
        let index = lines.next().and_then(|line| line.strip_prefix(INDEX));
        let index = index.and_then(number).ok_or(TlogProofError::Index)?;
        let mut path = Vec::new();
        for (at, line) in lines.enumerate() {
            if at == HASHES_MAX {
                return Err(TlogProofError::TooManyHashes);
            }
            let hash = STANDARD.decode(line).ok();
            let hash = hash.and_then(|hash| hash.try_into().ok());
            path.push(hash.ok_or(TlogProofError::Hash(at + 1))?);
        }
        Ok(Self {
            extra,
            index,
            path,
            checkpoint: checkpoint.to_owned(),
        })
    }
}

/// A number in its one spelling.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

const EXTRA: &str = "extra ";
const INDEX: &str = "index ";

#[cfg(test)]
mod tests;
