//! Heads that a log is held against: its own checkpoints, and anchors from elsewhere.
//!
//! Which key has to have signed one is known once the leaves that it covers were read, so each is opened then. An anchor that the log
//! names as lost is opened once all leaves were read: the key that signed what is lost may follow later in what is left.

use std::collections::BTreeMap;

use super::report::{Findings, What};
use super::{Against, Anchor};
use crate::evidence::checkpoint::{Checkpoint, CheckpointError};
use crate::evidence::leaf::LostHead;
use crate::evidence::log_keys::LogKeys;
use crate::hash::TreeRoot;

const CHECKPOINT: &str = "checkpoint";
const ANCHOR: &str = "anchor";

/// Roots by size, with where they come from.
#[derive(Debug, Default)]
pub(super) struct Heads<'a> {
    roots: BTreeMap<u64, Vec<(TreeRoot, &'static str)>>,
    signed_to: u64,
    /// Heads that the log says it lost, each behind the leaf that says so.
    lost: Vec<(u64, LostHead)>,
    /// Anchors that were passed over for such a leaf.
    passed: Vec<Passed>,
    /// Notes that are not opened yet, by the size that they claim.
    waiting: BTreeMap<u64, Vec<(&'a str, &'static str)>>,
    /// Anchors of heads that the log says it lost, each behind the leaf that says so; not opened yet.
    named: Vec<(u64, &'a str)>,
}

/// An anchor that was passed over, if a checkpoint speaks for it.
#[derive(Debug)]
struct Passed {
    /// The leaf that says it is of what is lost.
    leaf: u64,
    /// Leaves that a checkpoint has to cover for that: this one, and the one that names the key of the anchor. Who can name a key
    /// need not have it, so no other than the anchor's own key, or one that follows it, says that what it signed is lost.
    needs: u64,
    size: u64,
    root: TreeRoot,
}

impl<'a> Heads<'a> {
    pub(super) fn new(against: &'a Against<'_>) -> Self {
        let mut heads = Self::default();
        for note in against.checkpoints {
            heads.wait(note, CHECKPOINT);
        }
        for anchor in against.anchors {
            match anchor {
                Anchor::Head(head) => heads.add((head.size, head.root), ANCHOR),
                Anchor::Checkpoint(note) => heads.wait(note, ANCHOR),
            }
        }
        heads
    }

    fn wait(&mut self, note: &'a str, source: &'static str) {
        let claimed = size_claimed(note);
        self.waiting
            .entry(claimed)
            .or_default()
            .push((note, source));
    }

    /// Opens those of trees of at most so many leaves, without anchors that the log names as lost. A signature that does not hold is a
    /// finding at the last leaf it would cover, or the first.
    pub(super) fn open(&mut self, size: u64, keys: &LogKeys, findings: &mut Findings) {
        while let Some(next) = self
            .waiting
            .first_entry()
            .filter(|next| *next.key() <= size)
        {
            let (claimed, notes) = next.remove_entry();
            for (note, source) in notes {
                if source == ANCHOR
                    && let Ok(Checkpoint { size, root, .. }) = Checkpoint::unverified(note)
                    && let Some(leaf) = self.leaf_of(size, root)
                {
                    self.named.push((leaf, note));
                    continue;
                }
                let Some(Checkpoint { size, root, .. }) = read(note, claimed, keys, findings)
                else {
                    continue;
                };
                if source == CHECKPOINT {
                    self.signed_to = self.signed_to.max(size);
                }
                self.add((size, root), source);
            }
        }
    }

    /// Takes in a checkpoint of the log that came after its leaves, and holds the tree against it. Roots of smaller trees are gone
    /// by then, so that one of fewer leaves says nothing.
    pub(super) fn late(
        &mut self,
        note: &str,
        keys: &LogKeys,
        (leaves, tree): (u64, TreeRoot),
        findings: &mut Findings,
    ) {
        let claimed = size_claimed(note);
        let Some(Checkpoint { size, root, .. }) = read(note, claimed, keys, findings) else {
            return;
        };
        if size >= leaves {
            let whole = !findings.any();
            self.signed_to = self.signed_to.max(size);
            self.add((size, root), CHECKPOINT);
            if size == leaves && whole {
                self.check(size, tree, findings);
            }
        }
    }

    /// Opens, once all leaves were read, the anchors that the log names as lost. Any of its keys may have signed one,
    /// and the last that has a line in it counts: where part of a log is lost, so may be the leaf that brought a key into use, and what
    /// is left names that key later.
    pub(super) fn open_named(&mut self, keys: &LogKeys, findings: &mut Findings) {
        for (leaf, note) in std::mem::take(&mut self.named) {
            let by_key = |(from, key)| match Checkpoint::verify(note, key) {
                Err(CheckpointError::NoSignature(_)) => None,
                read => Some((from, read)),
            };
            let (from, opened) = keys
                .iter()
                .rev()
                .find_map(by_key)
                .unwrap_or((0, Err(unsigned())));
            match opened {
                Ok(Checkpoint { size, root, .. }) => self.passed.push(Passed {
                    leaf,
                    needs: leaf.saturating_add(1).max(from),
                    size,
                    root,
                }),
                Err(error) => {
                    let last = size_claimed(note).saturating_sub(1);
                    findings.add(last, What::Checkpoint(error));
                }
            }
        }
    }

    fn add(&mut self, (size, root): (u64, TreeRoot), source: &'static str) {
        if let Some(leaf) = self.leaf_of(size, root).filter(|_| source == ANCHOR) {
            return self.passed.push(Passed {
                leaf,
                needs: leaf.saturating_add(1),
                size,
                root,
            });
        }
        self.roots.entry(size).or_default().push((root, source));
    }

    /// Passes over anchors of heads that this leaf says the log lost, if a checkpoint covers the leaf: only what is signed may stand
    /// against a head from elsewhere, and that shows later.
    pub(super) fn acknowledge(&mut self, leaf: u64, lost: &[LostHead]) {
        for head in lost {
            self.lost.push((leaf, *head));
            let Some(roots) = self.roots.remove(&head.size) else {
                continue;
            };
            for (root, source) in roots {
                self.add((head.size, root), source);
            }
        }
    }

    /// The leaf that says that the log lost this head.
    fn leaf_of(&self, size: u64, root: TreeRoot) -> Option<u64> {
        let mut lost = self.lost.iter();
        lost.find(|(_, head)| (head.size, head.root) == (size, root))
            .map(|(leaf, _)| *leaf)
    }

    /// How many anchors were passed over for that leaf.
    pub(super) fn known(&self, leaf: u64) -> usize {
        let signed = |it: &&Passed| it.leaf == leaf && it.needs <= self.signed_to;
        self.passed.iter().filter(signed).count()
    }

    /// Finds what was passed over and no signature speaks for.
    pub(super) fn unacknowledged(&mut self, leaves: u64, findings: &mut Findings) {
        let signed_to = self.signed_to;
        let passed = std::mem::take(&mut self.passed).into_iter();
        for Passed { size, root, .. } in passed.filter(|it| it.needs > signed_to) {
            match size > leaves {
                true => self.roots.entry(size).or_default().push((root, ANCHOR)),
                false => {
                    let source_name = ANCHOR;
                    findings.add(size.saturating_sub(1), What::Root { size, source_name });
                }
            }
        }
    }

    /// Has checkpoints count from the tree of that size on only.
    pub(super) fn count_from(&mut self, size: u64) {
        if self.signed_to < size {
            self.signed_to = 0;
        }
    }

    /// Whether a head was given for this size.
    pub(super) fn at(&self, size: u64) -> bool {
        self.roots.contains_key(&size)
    }

    /// Whether a head of this size has this root, where there is one.
    pub(super) fn agrees(&self, size: u64, root: TreeRoot) -> Option<bool> {
        self.roots
            .get(&size)
            .map(|heads| heads.iter().all(|(found, _)| *found == root))
    }

    /// Holds the tree of `size` leaves against the heads given for it.
    pub(super) fn check(&self, size: u64, root: TreeRoot, findings: &mut Findings) {
        let other = self
            .roots
            .get(&size)
            .and_then(|heads| heads.iter().find(|(found, _)| *found != root));
        if let Some((_, source_name)) = other {
            findings.add(size.saturating_sub(1), What::Root { size, source_name });
        }
    }

    /// Finds that leaves are missing behind the last.
    pub(super) fn check_end(&self, leaves: u64, findings: &mut Findings) {
        if let Some((size, _)) = self
            .roots
            .last_key_value()
            .filter(|(size, _)| **size > leaves)
        {
            findings.add(leaves, What::Truncated { size: *size });
        }
    }

    /// Leaves covered by a signed checkpoint of the log.
    pub(super) fn signed_to(&self) -> u64 {
        self.signed_to
    }
}

/// What a note says, where it is signed with the key for the tree it claims to be of; else that is a finding.
fn read(note: &str, claimed: u64, keys: &LogKeys, findings: &mut Findings) -> Option<Checkpoint> {
    let opened = match keys.at(claimed) {
        Some(key) => Checkpoint::verify(note, key),
        None => Err(unsigned()),
    };
    opened
        .map_err(|error| findings.add(claimed.saturating_sub(1), What::Checkpoint(error)))
        .ok()
}

fn unsigned() -> CheckpointError {
    CheckpointError::NoSignature("unknown".to_owned())
}

/// The size a note claims, to say which leaf its failure concerns: its second line where that is digits only, else 0.
fn size_claimed(note: &str) -> u64 {
    let digits = |size: &&str| size.bytes().all(|byte| byte.is_ascii_digit());
    note.split('\n')
        .nth(1)
        .filter(digits)
        .and_then(|size| size.parse().ok())
        .unwrap_or(0)
}
