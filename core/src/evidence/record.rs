//! Records: what a sidecar says happened, hash-chained per stream and signed per batch.

mod chain;
mod wire;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::action::ActionEvidence;
use crate::canonical::{self, CanonicalError};
use crate::decide::{RuleRef, ShadowResult};
use crate::hash::{BundleDigest, RecordHash, StreamId, sha256};

pub use chain::{BatchError, Chain, Link, batch_message, sign_batch, stream_id, verify_batch};
pub(crate) use wire::AnyBody;

/// Version of the form below.
pub const RECORD_VERSION: &str = "actpass.record/1";

/// Longest canonical record, in bytes; a leaf of 32 KiB holds it with its ruling.
pub const RECORD_BYTES_MAX: usize = 24 * 1024;

/// One link of a stream. Canonical JSON
/// `{"body","kind","prev","seq","stream","time","v"}`; hash = SHA-256(`actpass.record/1\0` ‖ canonical record). Read from text in memory
/// only, as a leaf.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The sidecar: SHA-256 of its public key.
    pub stream: StreamId,
    /// From 0, without gaps.
    pub seq: u64,
    /// Hash of the record before; the zero hash for the first.
    pub prev: RecordHash,
    /// The sidecar's clock.
    pub time: Timestamp,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Decided by the sidecar alone: a read, or a denial that needs no facts.
    Decision(Box<Judged>),
    /// Asked of the ledger.
    Intent(Box<Judged>),
    /// What became of a permitted action.
    Outcome(Outcome),
    /// Something else worth keeping.
    Note(Note),
}

impl Body {
    /// `decision`, `intent`, `outcome` or `note`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Decision(_) => "decision",
            Self::Intent(_) => "intent",
            Self::Outcome(_) => "outcome",
            Self::Note(_) => "note",
        }
    }
}

/// One request as the sidecar judged it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// The action; absent where the request could not be read as one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub action: Option<ActionEvidence>,
    /// The bundle it was judged by.
    pub bundle: BundleDigest,
    /// What holds the workload: see [`Containment`].
    pub containment: Containment,
    /// How many equal denials this one stands for.
    pub count: u64,
    /// The reason as a sentence, at most 1 KiB, without values read off the request.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// Whether what was decided holds. `false`: the namespace is under audit, and it was passed on whatever was decided.
    /// Left out where it holds.
    #[serde(skip_serializing_if = "Clone::clone", default = "holds")]
    pub enforced: bool,
    /// Machine-readable reason of a denial.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Why there is no action.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refusal: Option<Refusal>,
    /// Rules that matched.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rules: Vec<RuleRef>,
    /// What shadow policies would have said.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub shadow: Vec<ShadowResult>,
    /// `permit`, `deny`, `escalate` or `needs_facts`: what the sidecar decided without facts.
    pub verdict: String,
}

fn holds() -> bool {
    true
}

/// What keeps a workload from going around ActPass, said in every record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Containment {
    /// Local mode: its network only. Files and sockets of the same user stay reachable.
    NetworkOnly,
    /// Kubernetes: the fence of its pod.
    Pod,
    /// Not enforced: proxy variables only.
    Cooperative,
}

/// A request that is not one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Machine-readable: `unparsable`, `undeclared`, `two_actions`, `undeclared_name`, `host_mismatch`, `too_large`, …
    pub code: String,
    /// What was asked for, as far as it was read: a method and a host, or a DNS name; escaped, at most 512 bytes.
    pub target: String,
}

/// What became of a permitted action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Sequence number of the decision or intent in the same stream.
    pub of: u64,
    /// How it ended.
    pub result: OutcomeResult,
    /// Status of the upstream's answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// What went wrong, in the words of this layer, at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// From the first byte sent to the last received, in microseconds.
    pub micros: u64,
    /// Size of the answer's body, in bytes.
    pub response_bytes: u64,
}

/// How a permitted action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeResult {
    /// Done.
    Ok,
    /// The upstream said no before doing.
    Failed,
    /// Provably never reached the upstream.
    NotSent,
    /// Nobody knows: never taken for success or failure.
    Ambiguous,
}

/// The [`Note::note`] with which another process goes on with a stream: what the one before left open, nobody will say.
pub const RESTARTED: &str = "restarted";

/// Something worth keeping that is no request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Machine-readable: `started`, `stopped`, `connect_to`, `policy`, `fence`, …
    pub note: String,
    /// A sentence, at most 1 KiB.
    pub text: String,
}

/// Why bytes are not a record, or a record has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not the canonical form of a record.
    #[error("not a canonical record")]
    Form(#[from] CanonicalError),
    /// Over [`RECORD_BYTES_MAX`].
    #[error("the record has {0} bytes, at most {RECORD_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// A text over [`super::leaf::FIELD_BYTES_MAX`], which no leaf may hold.
    #[error(
        "a field of the record has more than {} bytes",
        super::leaf::FIELD_BYTES_MAX
    )]
    FieldTooLong,
    /// Sequence numbers end at 2^53−1.
    #[error("the stream is full")]
    StreamFull,
}

impl Record {
    /// The bytes that are hashed, chained and logged.
    ///
    /// # Errors
    /// Where a number or a name is outside what canonical JSON holds, or the bytes are too many for a leaf.
    pub fn canonical(&self) -> Result<Vec<u8>, RecordError> {
        let bytes = canonical::to_vec(self)?;
        check_bounds(&bytes)?;
        Ok(bytes)
    }

    /// Reads a record from its canonical bytes.
    ///
    /// # Errors
    /// Where the bytes are too many, another spelling of a record, or none.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        check_bounds(bytes)?;
        Ok(canonical::from_slice_exact(bytes)?)
    }

    /// Hash of this record.
    ///
    /// # Errors
    /// Where it has no canonical form.
    pub fn hash(&self) -> Result<RecordHash, RecordError> {
        Ok(Self::hash_of(&self.canonical()?))
    }

    /// Hash of a record's canonical bytes.
    pub fn hash_of(canonical: &[u8]) -> RecordHash {
        RecordHash::from_bytes(sha256(&[RECORD_VERSION.as_bytes(), b"\0", canonical]))
    }
}

fn check_bounds(bytes: &[u8]) -> Result<(), RecordError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(RecordError::TooLong(bytes.len()));
    }
    if super::leaf::longest_field(bytes) > super::leaf::FIELD_BYTES_MAX {
        return Err(RecordError::FieldTooLong);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
