//! One log as one file, to be kept and verified elsewhere: lines of JSON, which any tool reads.
//!
//! ```text
//! {"export":"actpass.export/1","leaves":2,"log":"actpass/…","key":"…"}    what it is
//! {"blob":{"bytes":"…","kind":"bundle","name":"…"}}                       what leaves name, before they name it
//! {"disclosed":{"openings":{…},"seq":1}}                                  where somebody asks for it: texts of the leaf that follows
//! {"h":{…},"r":{…},"v":"actpass.leaf/1"}                                  leaves, as they stand in the log
//! {"checkpoint":"…","sha256":"…"}                                         the signed head, and the sum of all lines before
//! ```
//!
//! Texts and requests are in it as they lie in the log: encrypted, and lost with their key. The sum finds accidents, in those
//! too; what finds whoever changes the file on purpose is the signed checkpoint.

use actpass_core::evidence::commitment::Openings;
use actpass_core::hash::hex;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::disclosure::{DiscloseError, Disclosing};
use crate::storage::{BlobKind, Entry};

/// Version of the form above.
pub const VERSION: &str = "actpass.export/1";

/// Longest line: a blob of 1 MiB and its envelope in base64, with room for its frame.
pub const LINE_BYTES_MAX: usize = 2 << 20;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct First {
    /// [`VERSION`].
    pub export: String,
    /// Number of leaves.
    pub leaves: u64,
    /// Name of the log.
    pub log: String,
    /// A key of the log, as whoever wrote the file says: a C2SP verifier key. Nobody believes it.
    pub key: String,
}

/// A line of a blob.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlobLine {
    pub(crate) blob: BlobBody,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlobBody {
    /// Base64.
    pub(crate) bytes: String,
    pub(crate) kind: Kind,
    /// Lower-case hex.
    pub(crate) name: String,
}

/// A line of what is disclosed of the leaf that follows it: salts and texts, which open the leaf's commitments.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DisclosedLine {
    pub(crate) disclosed: DisclosedBody,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DisclosedBody {
    pub(crate) openings: Openings,
    /// Number of the leaf.
    pub(crate) seq: u64,
}

/// What a blob is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    SideFrame,
    Sealed,
    Bundle,
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Last {
    /// The signed checkpoint over all leaves.
    pub checkpoint: String,
    /// SHA-256 of all bytes before this line, lower-case hex.
    pub sha256: String,
}

/// Writes the lines of one log.
pub struct Writer {
    log: String,
    sum: Sha256,
    /// Leaves to come.
    left: u64,
}

impl Writer {
    /// A writer of that many leaves, and its first line.
    pub fn new(first: &First) -> (Self, Vec<u8>) {
        let mut writer = Self {
            log: first.log.clone(),
            sum: Sha256::new(),
            left: first.leaves,
        };
        let line = writer.line(first);
        (writer, line)
    }

    /// Whether every leaf was written.
    pub fn complete(&self) -> bool {
        self.left == 0
    }

    /// The line of what the storage shows, if it belongs here.
    pub fn entry(&mut self, entry: Entry<'_>) -> Option<Vec<u8>> {
        match entry {
            Entry::Leaf { log, bytes, .. } if log == self.log && self.left > 0 => {
                self.left = self.left.saturating_sub(1);
                Some(self.summed([bytes, b"\n"].concat()))
            }
            Entry::Blob {
                log,
                kind,
                name,
                bytes,
            } if log == self.log && self.left > 0 => {
                let kind = match kind {
                    BlobKind::SideFrame { .. } => Kind::SideFrame,
                    BlobKind::Sealed => Kind::Sealed,
                    BlobKind::Bundle => Kind::Bundle,
                    // Checkpoints of every group: the last one says it all.
                    BlobKind::State => return None,
                };
                let blob = BlobBody {
                    bytes: STANDARD.encode(bytes),
                    kind,
                    name: hex(name),
                };
                Some(self.line(&BlobLine { blob }))
            }
            Entry::Leaf { .. } | Entry::Blob { .. } => None,
        }
    }

    /// The lines of what the storage shows, with what is disclosed of it.
    ///
    /// # Errors
    /// Where texts that are there cannot be disclosed.
    pub(crate) fn lines(
        &mut self,
        disclosing: Option<&mut Disclosing<'_>>,
        entry: Entry<'_>,
    ) -> Result<Vec<u8>, DiscloseError> {
        let before = match disclosing {
            Some(disclosing) if self.left > 0 => disclosing.before(&entry)?,
            Some(_) | None => None,
        };
        let mut lines = match before {
            Some((seq, openings)) => self.disclosed(seq, openings),
            None => Vec::new(),
        };
        lines.extend(self.entry(entry).unwrap_or_default());
        Ok(lines)
    }

    /// The line that discloses texts of the leaf of that number, which has to be written next.
    pub fn disclosed(&mut self, seq: u64, openings: Openings) -> Vec<u8> {
        let disclosed = DisclosedBody { openings, seq };
        self.line(&DisclosedLine { disclosed })
    }

    /// The last line.
    pub fn last(self, checkpoint: String) -> Vec<u8> {
        let sha256 = hex(&self.sum.finalize());
        json(&Last { checkpoint, sha256 })
    }

    fn line<T: Serialize>(&mut self, value: &T) -> Vec<u8> {
        self.summed(json(value))
    }

    fn summed(&mut self, line: Vec<u8>) -> Vec<u8> {
        self.sum.update(&line);
        line
    }
}

/// One line of JSON. Texts and numbers always have one.
fn json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}
