//! What is kept beside the leaves and committed to by them: the texts of actions, and sealed requests.
//!
//! Commitments and digests stand in the leaves, and so under the signed tree; what they commit to does not. That it is
//! there needs no key, nor does the digest of a sealed request; that the texts are those committed to is seen where
//! they can be decrypted. One leaf's texts are in memory at a time.

use serde::{Deserialize, Serialize};

use super::Inputs;
use super::erased::Erasures;
use super::report::{Findings, Gap, What};
use crate::action::Action;
use crate::evidence::commitment::Openings;
use crate::evidence::leaf::{EventBody, Leaf, RulingVerdict};
use crate::evidence::record::Body;
use crate::hash::BlobDigest;
use crate::state::NOT_REVEALED;

/// Something that is kept beside the leaves, as far as it is at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept<T> {
    /// Here it is.
    Here(T),
    /// It is there, encrypted, and nobody gave the key.
    Sealed,
    /// It is not there.
    Missing,
    /// It is there, and its key was destroyed.
    Erased(GoneKey),
    /// It is there and cannot be opened with the key: why.
    Unreadable(String),
    /// Nothing beside the leaves was given.
    NotGiven,
}

/// Which key was destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GoneKey {
    /// A subject's: the first bytes of its MAC.
    Subject([u8; 8]),
    /// That of the month in which the text was kept.
    Month,
}

/// Leaves that commit to texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Texts {
    /// All of them.
    pub committed: u64,
    /// Those whose texts were opened and are what they commit to.
    pub opened: u64,
    /// Those whose texts are there and were not looked into, for want of the key.
    pub sealed: u64,
    /// Those whose texts are not there.
    pub missing: u64,
    /// Those whose texts were erased.
    pub erased: u64,
}

/// What a leaf's commitments open to.
pub(super) enum Revealed {
    /// The action.
    Action(Box<Action>),
    /// Nothing, as the ledger said, or as there is nothing to reveal.
    Nothing,
    /// The texts are not at hand.
    Missing,
    /// The texts are erased.
    Erased,
}

/// The check as it goes through the leaves.
pub(super) struct Beside<'a> {
    inputs: &'a dyn Inputs,
    found: SavedBeside,
}

/// What was found so far: all that a later check needs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedBeside {
    texts: Texts,
    first_missing: Option<u64>,
    request_missing: Option<u64>,
    erasures: Erasures,
}

impl<'a> Beside<'a> {
    pub(super) fn new(inputs: &'a dyn Inputs) -> Self {
        Self::resumed(inputs, SavedBeside::default())
    }

    pub(super) fn resumed(inputs: &'a dyn Inputs, found: SavedBeside) -> Self {
        Self { inputs, found }
    }

    pub(super) fn save(&self) -> SavedBeside {
        self.found.clone()
    }

    /// Whether something that leaves commit to is not there. Somebody may bring it, so a later check has to look again.
    pub(super) fn lacks(&self) -> bool {
        self.found.texts.missing > 0 || self.found.request_missing.is_some()
    }

    /// Checks what is kept beside a leaf, and gives its action.
    pub(super) fn leaf(&mut self, leaf: &Leaf, findings: &mut Findings) -> Revealed {
        // Where leaves are not in their places, what lies beside them is not either.
        if findings.structural() {
            return Revealed::Missing;
        }
        let checked = match leaf.event() {
            Some(EventBody::Sealed { approval, blob, .. }) => {
                self.request(leaf.h.seq, approval, blob)
            }
            Some(event) => {
                self.found.erasures.event(event, leaf.h.seq);
                Ok(Revealed::Nothing)
            }
            None => self.record(leaf),
        };
        checked.unwrap_or_else(|what| {
            findings.add(leaf.h.seq, what);
            Revealed::Missing
        })
    }

    pub(super) fn finish(self, gaps: &mut Vec<Gap>) -> Texts {
        if let Some(from) = self.found.first_missing {
            let count = self.found.texts.missing;
            gaps.push(Gap::TextsMissing { from, count });
        }
        gaps.extend(self.found.erasures.finish());
        gaps.extend(
            self.found
                .request_missing
                .map(|seq| Gap::RequestMissing { seq }),
        );
        self.found.texts
    }

    fn request(&mut self, seq: u64, approval: &str, blob: &BlobDigest) -> Result<Revealed, What> {
        match self.inputs.sealed_request(approval) {
            Kept::Here(found) if found != *blob => return Err(What::SealedRequest),
            Kept::Unreadable(_) => return Err(What::SealedRequest),
            Kept::Missing => {
                self.found.request_missing.get_or_insert(seq);
            }
            Kept::Here(_) | Kept::Sealed | Kept::Erased(_) | Kept::NotGiven => {}
        }
        Ok(Revealed::Nothing)
    }

    fn record(&mut self, leaf: &Leaf) -> Result<Revealed, What> {
        let Some((record, logged)) = leaf.record() else {
            return Ok(Revealed::Nothing);
        };
        let (Body::Intent(judged) | Body::Decision(judged)) = &record.body else {
            return Ok(Revealed::Nothing);
        };
        let Some(evidence) = &judged.action else {
            return Ok(Revealed::Nothing);
        };
        // Then the ledger never had the texts, and said so.
        let ruled = match &record.body {
            Body::Intent(_) => logged.verdict == RulingVerdict::Deny,
            _ => !judged.enforced,
        };
        let unrevealed = ruled && logged.reason.as_deref() == Some(NOT_REVEALED);
        let openings = if !evidence.commitments.is_empty() {
            self.found.texts.committed += 1;
            self.inputs.openings(leaf.h.seq)
        } else if matches!(record.body, Body::Intent(_)) {
            Kept::Here(Openings::default())
        } else {
            Kept::NotGiven
        };
        match openings {
            Kept::Here(openings) => match evidence.reveal(&openings) {
                Err(_) if unrevealed => Ok(Revealed::Nothing),
                Err(error) => Err(What::Openings(error)),
                Ok(action) => {
                    self.found.texts.opened += u64::from(!evidence.commitments.is_empty());
                    Ok(Revealed::Action(Box::new(action)))
                }
            },
            // Then the ledger knew no subject of it, and its texts lie under the month's key.
            Kept::Missing | Kept::Erased(_) if unrevealed => Ok(Revealed::Nothing),
            Kept::Unreadable(why) => Err(What::SideFrame(why)),
            Kept::Missing => {
                self.found.texts.missing += 1;
                self.found.first_missing.get_or_insert(leaf.h.seq);
                Ok(Revealed::Missing)
            }
            Kept::Erased(key) => {
                self.found.texts.erased += 1;
                let named = logged.digest.is_some();
                self.found
                    .erasures
                    .text(key, leaf, (named, logged.subject))?;
                Ok(Revealed::Erased)
            }
            Kept::Sealed => {
                self.found.texts.sealed += 1;
                Ok(Revealed::Missing)
            }
            Kept::NotGiven => Ok(Revealed::Missing),
        }
    }
}
