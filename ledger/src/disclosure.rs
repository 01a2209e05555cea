//! Which leaves' texts are disclosed with an exported log, and opening them.
//!
//! An export holds texts as they lie in the log: encrypted. Where somebody asks for it, texts of chosen leaves go with it in clear,
//! each with the salt that opens its commitment, on a line directly before its leaf. What is erased is not disclosed. Whatever else
//! keeps a text closed breaks the export off, so that nobody takes it for one of which all was disclosed that was there.

mod leaves;
mod tally;

use std::collections::BTreeMap;

use actpass_core::canonical::{self, CanonicalError};
use actpass_core::evidence::commitment::Openings;
use actpass_core::evidence::leaf::Leaf;
use actpass_core::evidence::record::Body;

use crate::engine::side_frame_aad;
use crate::storage::{BlobKind, Entry};
use crate::vault::{Destroyed, KeyName, Vault, VaultError};

pub use leaves::{Leaves, LeavesError, RANGES_MAX};
pub use tally::Tally;

/// Most bytes of encrypted texts held until their leaves come. An append takes at most 4 MiB, and what it keeps beside its leaves
/// stands right before them: this is that, sixteen times.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Why texts are not disclosed.
#[derive(Debug, thiserror::Error)]
pub enum DiscloseError {
    /// The vault does not open them, and not because they are erased.
    #[error("the texts of leaf {seq} cannot be opened")]
    Vault {
        /// The leaf.
        seq: u64,
        /// Why.
        #[source]
        source: VaultError,
    },
    /// They open to something else.
    #[error("the texts of leaf {seq} are not what is kept beside a leaf; run `actpass verify`")]
    Form {
        /// The leaf.
        seq: u64,
        /// What is wrong.
        #[source]
        source: CanonicalError,
    },
    /// More lies before the leaves than an append writes.
    #[error("over {HELD_BYTES_MAX} bytes of texts stand before their leaves; run `actpass verify`")]
    Held,
}

/// Opens texts of one log as it is exported.
pub struct Disclosing<'a> {
    log: &'a str,
    leaves: &'a Leaves,
    vault: &'a Vault,
    /// What the log says is erased, whatever keys the vault has.
    erased: Destroyed,
    /// Encrypted texts by their leaves, which are still to come.
    held: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
}

impl<'a> Disclosing<'a> {
    /// Of these leaves of that log, by the keys in `vault`.
    pub fn new(log: &'a str, leaves: &'a Leaves, vault: &'a Vault) -> Self {
        Self {
            log,
            leaves,
            vault,
            erased: Destroyed::default(),
            held: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// The same without what is erased, by a vault that may be from before that.
    #[must_use]
    pub fn without(self, erased: Destroyed) -> Self {
        Self { erased, ..self }
    }

    /// What is to be disclosed before this entry is written: its number and texts, where it is such a leaf and there are any.
    ///
    /// # Errors
    /// [`DiscloseError`].
    pub fn before(&mut self, entry: &Entry<'_>) -> Result<Option<(u64, Openings)>, DiscloseError> {
        match *entry {
            Entry::Blob {
                log,
                kind: BlobKind::SideFrame { seq },
                bytes,
                ..
            } if log == self.log && self.leaves.holds(seq) => {
                self.bytes = self.bytes.saturating_add(bytes.len());
                if self.bytes > HELD_BYTES_MAX {
                    return Err(DiscloseError::Held);
                }
                if let Some(before) = self.held.insert(seq, bytes.to_vec()) {
                    self.bytes = self.bytes.saturating_sub(before.len());
                }
                Ok(None)
            }
            Entry::Leaf { log, seq, bytes } if log == self.log => {
                let Some(sealed) = self.held.remove(&seq) else {
                    return Ok(None);
                };
                self.bytes = self.bytes.saturating_sub(sealed.len());
                let openings = match commits(bytes) {
                    true => self.opened(seq, &sealed)?,
                    false => None,
                };
                Ok(openings.map(|openings| (seq, openings)))
            }
            Entry::Leaf { .. } | Entry::Blob { .. } => Ok(None),
        }
    }

    /// The texts of a leaf; none where they are erased.
    fn opened(&self, seq: u64, sealed: &[u8]) -> Result<Option<Openings>, DiscloseError> {
        if KeyName::of(sealed).is_some_and(|name| self.erased.holds(&name)) {
            return Ok(None);
        }
        let aad = side_frame_aad(self.log, seq);
        let tenant = self.log.strip_prefix("actpass/").unwrap_or(self.log);
        let text = match self.vault.open_sealed(tenant, aad.as_bytes(), sealed) {
            Err(VaultError::Erased { .. }) => return Ok(None),
            opened => opened.map_err(|source| DiscloseError::Vault { seq, source })?,
        };
        let openings = canonical::from_slice::<Openings>(&text);
        let openings = openings.map_err(|source| DiscloseError::Form { seq, source })?;
        Ok((!openings.is_empty()).then_some(openings))
    }
}

/// Whether the leaf says that texts of it are kept.
fn commits(leaf: &[u8]) -> bool {
    let Ok(leaf) = Leaf::parse(leaf) else {
        return false;
    };
    let Some((record, _)) = leaf.record() else {
        return false;
    };
    match &record.body {
        Body::Intent(judged) | Body::Decision(judged) => {
            let action = judged.action.as_ref();
            action.is_some_and(|action| !action.commitments.is_empty())
        }
        Body::Outcome(_) | Body::Note(_) => false,
    }
}
