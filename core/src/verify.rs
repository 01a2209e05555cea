//! Verification of a log, offline and without trust in whoever keeps it.
//!
//! Three levels. *Structure*: every byte is where it was when it was logged (canonical form, chain, streams, batch
//! signatures, tree, checkpoints, keys). *State*: what the leaves claim follows from the leaves before (nothing
//! overspent, no approval used twice, no permit without what it needs). *Re-decision*: where its inputs are at
//! hand, each intent is decided again and gives the logged ruling.
//!
//! Leaves are read once, in order; memory is that of the [`State`](crate::state::State) and a hash per level of the tree.

mod frontier;
mod heads;
mod replay;
mod report;
mod structure;

use crate::evidence::checkpoint::NoteVerifier;
use crate::evidence::commitment::Openings;
use crate::evidence::leaf::MacKey;
use crate::evidence::receipt::KeptHead;
use crate::hash::BundleDigest;

pub use report::{Class, FINDINGS_MAX, Finding, Gap, Level, Redecided, Report, What};

use replay::Replay;
use report::Findings;
use structure::Structure;

/// What a log is held against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Against<'a> {
    /// Signed checkpoints that came with the log, newest or all.
    pub checkpoints: &'a [String],
    /// Heads kept elsewhere, older or equal: what shows that the log was cut short or rewritten.
    pub anchors: &'a [Anchor],
    /// The log's key as known from elsewhere. Without it the key that the log's first leaf names is believed.
    pub key: Option<&'a NoteVerifier>,
}

/// A head kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// A signed checkpoint.
    Checkpoint(String),
    /// Size and root, from where they are trusted as they are.
    Head(KeptHead),
}

/// What is kept beside the leaves, for as much of it as is at hand.
pub trait Inputs {
    /// The bytes of a bundle.
    fn bundle(&self, digest: &BundleDigest) -> Option<Vec<u8>>;

    /// The openings of the record in leaf `seq`; `None` where they are erased or were not given.
    fn openings(&self, seq: u64) -> Option<Openings>;

    /// The key under which leaves name digests and resources.
    fn mac_key(&self) -> Option<&MacKey> {
        None
    }
}

/// Nothing beside the leaves: structure alone can be checked in full.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoInputs;

impl Inputs for NoInputs {
    fn bundle(&self, _: &BundleDigest) -> Option<Vec<u8>> {
        None
    }

    fn openings(&self, _: u64) -> Option<Openings> {
        None
    }
}

/// Verifies a log from its leaves in order. An `Err` among them is a leaf that could not be read, with the reason.
pub fn verify<I, L, E>(leaves: I, against: &Against<'_>, inputs: &dyn Inputs) -> Report
where
    I: IntoIterator<Item = Result<L, E>>,
    L: AsRef<[u8]>,
    E: std::fmt::Display,
{
    let mut findings = Findings::default();
    let mut structure = Structure::new(against);
    let mut replay = Replay::new(inputs);
    for (leaf, seq) in leaves.into_iter().zip(0_u64..) {
        match leaf {
            Ok(bytes) => {
                if let Some(leaf) = structure.leaf(seq, bytes.as_ref(), &mut findings) {
                    replay.leaf(&leaf, &mut findings);
                }
            }
            Err(why) => structure.unreadable(seq, &why.to_string(), &mut findings),
        }
    }
    let end = structure.finish(&mut findings);
    report::report(end, replay, findings)
}

#[cfg(test)]
mod tests;
