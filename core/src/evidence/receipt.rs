//! Receipts: the proof, checked by the sidecar, that the permit of a write is in the log before the write runs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoint, CheckpointError, NoteVerifier};
use super::leaf::{Leaf, LeafError, Ruling, RulingVerdict};
use super::merkle::{ProofError, leaf_hash, verify_consistency, verify_inclusion};
use super::record::{Body, Record};
use crate::action::Action;
use crate::canonical::{self, INTEGER_MAX};
use crate::hash::{ActionDigest, HexError, TreeRoot, sha256, unhex32};
use crate::policy::Obligations;
use crate::wire::{AnswerEnd, AnswerLine};

/// The newest head of the log that this sidecar has checked. The ledger must prove every later one an extension
/// of it, so it can neither fork the log nor cut it short for this sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptHead {
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: TreeRoot,
}

impl KeptHead {
    /// The head of a log of which nothing was seen: the tree without leaves.
    pub fn empty() -> Self {
        Self {
            size: 0,
            root: TreeRoot::from_bytes(sha256(&[])),
        }
    }
}

/// A permit of the ledger for one exact action, proved to be in its log. Made only by [`AnswerHead::permit`] and
/// [`check_permit`].
#[derive(Debug)]
pub struct CheckedPermit {
    digest: ActionDigest,
    obligations: Obligations,
    not_after: Timestamp,
    leaf_index: u64,
}

impl CheckedPermit {
    /// The action it is for.
    pub fn digest(&self) -> ActionDigest {
        self.digest
    }

    /// Duties it comes with.
    pub fn obligations(&self) -> Obligations {
        self.obligations
    }

    /// Until when the action may start.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Index of its leaf: the number by which people find it.
    pub fn leaf_index(&self) -> u64 {
        self.leaf_index
    }
}

/// Why an answer of the ledger does not permit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The checkpoint is not one of this log, or not signed by its key.
    #[error("checkpoint of the answer")]
    Checkpoint(#[from] CheckpointError),
    /// The log is not the one we kept the head of, grown: it was forked or cut short.
    #[error("the log does not extend the head kept from before")]
    Consistency(#[source] ProofError),
    /// The leaf is not in the log.
    #[error("the leaf is not in the log")]
    Inclusion(#[source] ProofError),
    /// A hash of a proof is no hash.
    #[error("a hash of the proof is malformed")]
    Hash(#[from] HexError),
    /// The leaf's text is no leaf.
    #[error("leaf of the answer")]
    Leaf(#[from] LeafError),
    /// Another log's leaf, or one for another place.
    #[error("the leaf is not of this log at this index")]
    Place,
    /// The leaf holds another record than the one sent, or none.
    #[error("the leaf does not hold the record that was sent")]
    Record,
    /// The record sent is not an intent for this action.
    #[error("the record that was sent is not an intent for this action")]
    Action,
    /// Not a permit.
    #[error("the ledger's verdict is not a permit")]
    NotPermitted,
    /// A permit without end, or one whose end has come.
    #[error("the permit is no longer valid")]
    Expired,
}

/// The head that an answer proves, checked once for all its permits.
#[derive(Clone, Debug)]
pub struct AnswerHead {
    origin: String,
    head: KeptHead,
}

impl AnswerHead {
    /// Checks the last line of an answer: the checkpoint is signed by the log's key and extends `kept`.
    ///
    /// # Errors
    /// Where the signature is missing or wrong, or the log is shorter than `kept` or another one.
    pub fn check(
        end: &AnswerEnd,
        kept: &KeptHead,
        verifier: &NoteVerifier,
    ) -> Result<Self, ReceiptError> {
        let Checkpoint { origin, size, root } = Checkpoint::verify(&end.checkpoint, verifier)?;
        if size > INTEGER_MAX.unsigned_abs() {
            return Err(ReceiptError::Place);
        }
        let proof = hashes(&end.consistency)?;
        verify_consistency(kept.size, kept.root, size, root, &proof)
            .map_err(ReceiptError::Consistency)?;
        Ok(Self {
            origin,
            head: KeptHead { size, root },
        })
    }

    /// The head to keep from here on.
    pub fn kept(&self) -> KeptHead {
        self.head
    }

    /// Checks one line of the answer. `sent_record` is the canonical bytes of the record as they were sent for
    /// `action`.
    ///
    /// # Errors
    /// Where anything at all is not as it must be; then nothing may run.
    pub fn permit(
        &self,
        sent_record: &[u8],
        action: &Action,
        answer: &AnswerLine,
        now: Timestamp,
    ) -> Result<CheckedPermit, ReceiptError> {
        let bytes = answer.leaf.as_bytes();
        let leaf = Leaf::parse(bytes)?;
        if leaf.h.log != self.origin || leaf.h.seq != answer.index {
            return Err(ReceiptError::Place);
        }
        let (record, ruling) = leaf.record().ok_or(ReceiptError::Record)?;
        check_record(record, sent_record, action, answer)?;
        let not_after = check_ruling(ruling, answer, now)?;
        let proof = hashes(&answer.path)?;
        let KeptHead { size, root } = self.head;
        verify_inclusion(leaf_hash(bytes), answer.index, size, &proof, root)
            .map_err(ReceiptError::Inclusion)?;
        let obligations = ruling.obligations.unwrap_or_default();
        Ok(CheckedPermit {
            digest: action.digest(),
            obligations,
            not_after,
            leaf_index: answer.index,
        })
    }
}

/// Checks the last line of an answer, and gives the head to keep. See [`AnswerHead::check`].
///
/// # Errors
/// As [`AnswerHead::check`].
pub fn check_answer_end(
    end: &AnswerEnd,
    kept: &KeptHead,
    verifier: &NoteVerifier,
) -> Result<KeptHead, ReceiptError> {
    AnswerHead::check(end, kept, verifier).map(|head| head.kept())
}

/// Checks one permit with the end of its answer. For several permits in one answer, [`AnswerHead`] checks the
/// signature once.
///
/// # Errors
/// As [`AnswerHead::check`] and [`AnswerHead::permit`].
pub fn check_permit(
    sent_record: &[u8],
    action: &Action,
    answer: &AnswerLine,
    end: &AnswerEnd,
    kept: &KeptHead,
    verifier: &NoteVerifier,
    now: Timestamp,
) -> Result<CheckedPermit, ReceiptError> {
    AnswerHead::check(end, kept, verifier)?.permit(sent_record, action, answer, now)
}

fn check_record(
    record: &Record,
    sent: &[u8],
    action: &Action,
    answer: &AnswerLine,
) -> Result<(), ReceiptError> {
    let logged =
        canonical::to_vec(record).map_err(|cause| ReceiptError::Leaf(LeafError::Form(cause)))?;
    if logged != sent || record.seq != answer.seq {
        return Err(ReceiptError::Record);
    }
    match &record.body {
        Body::Intent(judged)
            if judged
                .action
                .as_ref()
                .is_some_and(|evidence| evidence.shows(action)) =>
        {
            Ok(())
        }
        _ => Err(ReceiptError::Action),
    }
}

fn check_ruling(
    ruling: &Ruling,
    answer: &AnswerLine,
    now: Timestamp,
) -> Result<Timestamp, ReceiptError> {
    if ruling.verdict != RulingVerdict::Permit || answer.verdict != RulingVerdict::Permit {
        return Err(ReceiptError::NotPermitted);
    }
    ruling
        .not_after
        .filter(|not_after| now < *not_after)
        .ok_or(ReceiptError::Expired)
}

/// The hashes of a proof, as hex.
///
/// # Errors
/// One that is none.
pub fn hashes(proof: &[String]) -> Result<Vec<[u8; 32]>, HexError> {
    proof.iter().map(|hash| unhex32(hash)).collect()
}

#[cfg(test)]
mod tests;
