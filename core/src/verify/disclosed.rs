//! Texts that the keeper of a log disclosed with it, held against what the leaves commit to.
//!
//! It takes no key of the ledger: a commitment hides its text behind a random salt, and whoever has both makes it again. What was
//! disclosed is not decided again, as the digests in a leaf are under a key that is not disclosed with it.

use super::report::{Findings, What};
use crate::evidence::commitment::{Openings, commit};
use crate::evidence::leaf::Leaf;
use crate::evidence::record::Body;

/// The check as it goes through the leaves.
#[derive(Default)]
pub(super) struct Disclosed {
    /// Of the leaf that comes next.
    next: Option<Openings>,
    leaves: u64,
}

impl Disclosed {
    /// Holds what was disclosed of the leaf that comes next.
    pub(super) fn hold(&mut self, openings: Openings) {
        self.next = Some(openings);
    }

    /// What was disclosed of the leaf that has come; whatever that is, it is not of the one after it.
    pub(super) fn take(&mut self) -> Option<Openings> {
        self.next.take()
    }

    /// Holds it against that leaf.
    pub(super) fn leaf(&mut self, leaf: &Leaf, openings: &Openings, findings: &mut Findings) {
        // Behind something that is wrong it shows nothing.
        if findings.any() {
            return;
        }
        match opens(leaf, openings) {
            true => self.leaves = self.leaves.saturating_add(1),
            false => findings.add(leaf.h.seq, What::Disclosed),
        }
    }

    /// Leaves of which texts were disclosed that fit.
    pub(super) fn leaves(&self) -> u64 {
        self.leaves
    }
}

/// Whether there are openings, and the leaf commits to each of them.
fn opens(leaf: &Leaf, openings: &Openings) -> bool {
    let record = leaf.record().map(|(record, _)| &record.body);
    let Some(Body::Intent(judged) | Body::Decision(judged)) = record else {
        return false;
    };
    let Some(action) = &judged.action else {
        return false;
    };
    let fits = |(field, opening)| action.commitments.get(field) == Some(&commit(opening));
    !openings.is_empty() && openings.iter().all(fits)
}
