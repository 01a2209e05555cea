//! Verification of a log, offline and without trust in whoever keeps it.
//!
//! Three levels. *Structure*: every byte is where it was when it was logged (canonical form, chain, streams, batch
//! signatures, tree, checkpoints, keys), and what is kept beside the leaves is what they commit to. *State*: what the leaves claim follows from the leaves before (nothing
//! overspent, no approval used twice, no permit without what it needs). *Re-decision*: where its inputs are at
//! hand, each intent is decided again and gives the logged ruling.
//!
//! Leaves are read once, in order; memory is that of the [`State`](crate::state::State) and a hash per level of the tree.

mod beside;
mod disclosed;
mod erased;
mod frontier;
mod heads;
mod lost;
mod replay;
mod report;
mod saved;
mod structure;

use crate::evidence::checkpoint::NoteVerifier;
use crate::evidence::commitment::Openings;
use crate::evidence::leaf::{MacKey, ReadLeaf};
use crate::evidence::receipt::KeptHead;
use crate::hash::{BlobDigest, BundleDigest};

pub use beside::{GoneKey, Kept, Texts};
pub use lost::LostHistory;
pub use report::{Class, FINDINGS_MAX, Finding, Gap, Level, Redecided, Report, What};
pub use saved::{ResumeError, Resumed, Saved};

use beside::Beside;
use disclosed::Disclosed;
use replay::Replay;
use report::Findings;
use saved::Ahead;
use structure::Structure;

/// What a log is held against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Against<'a> {
    /// Signed checkpoints that came with the log, newest or all.
    pub checkpoints: &'a [String],
    /// Heads kept elsewhere, older or equal: what shows that the log was cut short or rewritten.
    pub anchors: &'a [Anchor],
    /// The log's keys as known from elsewhere, the newest first: it is held against the first of them that it names. Without any the
    /// key that the log's first leaf names is believed.
    pub keys: &'a [NoteVerifier],
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

    /// The openings of the record in leaf `seq`.
    fn openings(&self, seq: u64) -> Kept<Openings>;

    /// SHA-256 of the stored ciphertext of the request that waits, or waited, for this approval.
    fn sealed_request(&self, _approval: &str) -> Kept<BlobDigest> {
        Kept::NotGiven
    }

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

    fn openings(&self, _: u64) -> Kept<Openings> {
        Kept::NotGiven
    }
}

/// Verifies a log from its leaves in order. An `Err` among them is a leaf that could not be read, with the reason.
pub fn verify<I, L, E>(leaves: I, against: &Against<'_>, inputs: &dyn Inputs) -> Report
where
    I: IntoIterator<Item = Result<L, E>>,
    L: AsRef<[u8]>,
    E: std::fmt::Display,
{
    let mut verification = Verification::new(against, inputs);
    for leaf in leaves {
        match leaf {
            Ok(bytes) => verification.leaf(bytes.as_ref()),
            Err(why) => verification.unreadable(&why.to_string()),
        }
    }
    verification.finish()
}

/// [`verify`] for whoever is handed the leaves one by one, so that several logs can be read side by side.
pub struct Verification<'a> {
    findings: Findings,
    structure: Structure<'a>,
    beside: Beside<'a>,
    disclosed: Disclosed,
    replay: Replay<'a>,
    next: u64,
    /// What an earlier verification came to, until its leaves have passed.
    ahead: Option<Box<Ahead<'a>>>,
    resumed: Resumed,
}

impl<'a> Verification<'a> {
    /// A verification that has seen no leaf yet.
    pub fn new(against: &'a Against<'a>, inputs: &'a dyn Inputs) -> Self {
        Self {
            findings: Findings::default(),
            structure: Structure::new(against),
            beside: Beside::new(inputs),
            disclosed: Disclosed::default(),
            replay: Replay::new(inputs),
            next: 0,
            ahead: None,
            resumed: Resumed::Anew,
        }
    }

    /// One that goes on where an earlier one ended. It takes in every leaf, and of those before only hashes: they have to be
    /// the ones that were verified, which [`Verification::resumed`] says.
    ///
    /// # Errors
    /// Where what was saved cannot be taken up, by whichever log.
    pub fn resume(
        against: &'a Against<'a>,
        inputs: &'a dyn Inputs,
        saved: Saved,
    ) -> Result<Self, ResumeError> {
        let ahead = Ahead::read(saved, inputs)?;
        let mut verification = Self::new(against, inputs);
        verification.structure.expect(&ahead.structure);
        verification.ahead = Some(Box::new(ahead));
        verification.resumed = Resumed::NotYet;
        Ok(verification)
    }

    /// How it stands to an earlier one.
    pub fn resumed(&self) -> Resumed {
        self.resumed
    }

    /// What a later one needs to go on from here; none where something is wrong or missing, or the last leaf is not yet judged.
    pub fn save(&self) -> Option<Saved> {
        let unsound = self.findings.any() || self.beside.lacks();
        if unsound || matches!(self.resumed, Resumed::NotYet | Resumed::Other) {
            return None;
        }
        Some(Saved {
            log: self.structure.origin()?.to_owned(),
            head: self.structure.head(),
            structure: self.structure.save()?,
            beside: self.beside.save(),
            replay: self.replay.save()?,
        })
    }

    /// Takes in what was disclosed of the leaf that comes next.
    pub fn disclosed(&mut self, openings: Openings) {
        self.disclosed.hold(openings);
    }

    /// Takes in the next leaf.
    pub fn leaf(&mut self, bytes: &[u8]) {
        if matches!(self.resumed, Resumed::NotYet | Resumed::Other) {
            return self.passed(bytes);
        }
        let opened = self.disclosed.take();
        if let Some(read) = self.structure.leaf(self.next, bytes, &mut self.findings) {
            if let Some(openings) = &opened {
                self.disclosed
                    .leaf(read.leaf(), openings, &mut self.findings);
            }
            let revealed = self.beside.leaf(read.leaf(), &mut self.findings);
            self.replay.leaf(&read, revealed, &mut self.findings);
        }
        self.next = self.next.saturating_add(1);
    }

    /// Takes in that the next leaf could not be read.
    pub fn unreadable(&mut self, why: &str) {
        self.disclosed.take();
        self.structure
            .unreadable(self.next, why, &mut self.findings);
        self.next = self.next.saturating_add(1);
    }

    /// What was found.
    pub fn finish(self) -> Report {
        self.finish_under(&[])
    }

    /// The same for who gets the log's signed checkpoints only after its leaves. One that is not over all leaves covers none.
    pub fn finish_under(mut self, checkpoints: &[String]) -> Report {
        let end = self.structure.finish(checkpoints, &mut self.findings);
        let disclosed = self.disclosed.leaves();
        report::report(end, self.beside, disclosed, self.replay, self.findings)
    }

    /// Takes in a leaf that was verified before, if all up to the last such leaf are the same. What is disclosed of it need not have
    /// been.
    fn passed(&mut self, bytes: &[u8]) {
        if let Some(openings) = self.disclosed.take() {
            match ReadLeaf::parse(bytes) {
                Ok(read) => self
                    .disclosed
                    .leaf(read.leaf(), &openings, &mut self.findings),
                Err(error) => self.findings.add(self.next, What::Form(error)),
            }
        }
        self.structure.passed(self.next, bytes, &mut self.findings);
        self.next = self.next.saturating_add(1);
        let there = |ahead: &mut Box<Ahead<'_>>| ahead.head.size == self.next;
        let Some(ahead) = self.ahead.take_if(there) else {
            return;
        };
        if ahead.head != self.structure.head() {
            self.resumed = Resumed::Other;
            return;
        }
        self.resumed = Resumed::From(self.next);
        self.structure.take_up(ahead.structure);
        (self.beside, self.replay) = (ahead.beside, ahead.replay);
    }
}

#[cfg(test)]
mod tests;
