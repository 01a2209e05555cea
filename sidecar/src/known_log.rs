//! The log that a stream goes to, known by the keys that the ledger may sign it with.
//!
//! *Guarantees.* An answer counts where one of them signed its checkpoint and no other key did. Which they are changes while records
//! are sent, and only by whoever holds the [`LedgerKeys`].

use std::sync::Arc;

use actpass_core::evidence::checkpoint::{CheckpointError, NoteVerifier};
use actpass_core::evidence::receipt::{AnswerHead, KeptHead, ReceiptError};
use actpass_core::wire::AnswerEnd;
use arc_swap::ArcSwap;
use ed25519_dalek::VerifyingKey;

/// Keys that checkpoints may be signed with now; all that hold them see what is put here.
#[derive(Clone, Debug)]
pub struct LedgerKeys(Arc<ArcSwap<Vec<VerifyingKey>>>);

impl LedgerKeys {
    /// These, the oldest first.
    pub fn new(keys: Vec<VerifyingKey>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(keys)))
    }

    /// These from here on; whether they are others.
    pub fn exchange(&self, keys: Vec<VerifyingKey>) -> bool {
        let others = **self.0.load() != keys;
        if others {
            self.0.store(Arc::new(keys));
        }
        others
    }
}

/// One log, and who may sign it.
#[derive(Clone, Debug)]
pub struct KnownLog {
    origin: String,
    keys: LedgerKeys,
}

impl KnownLog {
    /// The log of that name.
    pub fn new(origin: impl Into<String>, keys: LedgerKeys) -> Self {
        let origin = origin.into();
        Self { origin, keys }
    }

    /// Checks the last line of an answer as [`AnswerHead::check`] does, against the key that signed it.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, end: &AnswerEnd, kept: &KeptHead) -> Result<AnswerHead, ReceiptError> {
        let nobody = || CheckpointError::NoSignature(self.origin.clone());
        let mut checked = Err(nobody().into());
        // The newest first, as it is the one that signs most of the time.
        for key in self.keys.0.load().iter().rev() {
            checked = AnswerHead::check(end, kept, &NoteVerifier::new(&self.origin, *key));
            let unsigned = CheckpointError::NoSignature(self.origin.clone());
            if !matches!(&checked, Err(ReceiptError::Checkpoint(why)) if *why == unsigned) {
                break;
            }
        }
        checked
    }
}

/// A log that one key signs, all the time.
impl From<NoteVerifier> for KnownLog {
    fn from(verifier: NoteVerifier) -> Self {
        Self::new(verifier.name(), LedgerKeys::new(vec![*verifier.key()]))
    }
}

#[cfg(test)]
mod tests {
    use actpass_core::evidence::checkpoint::{Checkpoint, NoteSigner};
    use actpass_core::evidence::merkle::Tree;
    use ed25519_dalek::SigningKey;

    use super::*;

    const LOG: &str = "actpass/c-1/shop/n-1";

    #[test]
    fn an_answer_counts_where_a_key_signed_it_that_is_believed_now() {
        let key = |seed: u8| SigningKey::from_bytes(&[seed; 32]);
        let signed = |log: &str, seed| {
            let (origin, root) = (log.to_owned(), Tree::new().root());
            let checkpoint = Checkpoint {
                origin,
                size: 0,
                root,
            };
            AnswerEnd {
                checkpoint: checkpoint.sign(&NoteSigner::new(log, key(seed))),
                consistency: Vec::new(),
            }
        };
        let keys = LedgerKeys::new(vec![key(1).verifying_key()]);
        let log = KnownLog::new(LOG, keys.clone());
        let counts = |end: &AnswerEnd| log.check(end, &KeptHead::empty()).is_ok();
        let by = [1, 2, 3].map(|seed| signed(LOG, seed));
        let count = || by.each_ref().map(counts);
        assert_eq!(count(), [true, false, false]);
        let two = [1, 2].map(|seed| key(seed).verifying_key());
        assert!(keys.exchange(two.to_vec()) && !keys.exchange(two.to_vec()));
        assert_eq!(count(), [true, true, false]);
        keys.exchange(two[1..].to_vec());
        assert_eq!(count(), [false, true, false]);
        assert!(!counts(&signed("actpass/c-1/other/n-1", 2)), "another log");
        keys.exchange(Vec::new());
        assert_eq!(count(), [false; 3], "nobody is believed");
    }
}
