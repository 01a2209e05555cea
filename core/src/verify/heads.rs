//! Heads that a log is held against: its own checkpoints, and anchors from elsewhere.

use std::collections::BTreeMap;

use super::report::{Findings, What};
use super::{Against, Anchor};
use crate::evidence::checkpoint::{Checkpoint, CheckpointError, NoteVerifier};
use crate::evidence::leaf::LostHead;
use crate::hash::TreeRoot;

const CHECKPOINT: &str = "checkpoint";
const ANCHOR: &str = "anchor";

/// Roots by size, with where they come from.
#[derive(Debug, Default)]
pub(super) struct Heads {
    roots: BTreeMap<u64, Vec<(TreeRoot, &'static str)>>,
    signed_to: u64,
}

impl Heads {
    /// Reads all heads; a signature that does not hold is a finding at the last leaf it would cover, or the first.
    pub(super) fn read(
        against: &Against<'_>,
        verifier: Option<&NoteVerifier>,
        findings: &mut Findings,
    ) -> Self {
        let mut heads = Self::default();
        for note in against.checkpoints {
            if let Some(Checkpoint { size, root, .. }) = read(note, verifier, findings) {
                heads.signed_to = heads.signed_to.max(size);
                heads.add(size, root, CHECKPOINT);
            }
        }
        for anchor in against.anchors {
            match anchor {
                Anchor::Head(head) => heads.add(head.size, head.root, ANCHOR),
                Anchor::Checkpoint(note) => {
                    if let Some(Checkpoint { size, root, .. }) = read(note, verifier, findings) {
                        heads.add(size, root, ANCHOR);
                    }
                }
            }
        }
        heads
    }

    /// Takes in a checkpoint of the log that came after its leaves, and holds the tree against it. Roots of smaller trees are gone
    /// by then, so that one of fewer leaves says nothing.
    pub(super) fn late(
        &mut self,
        note: &str,
        verifier: Option<&NoteVerifier>,
        (leaves, tree): (u64, TreeRoot),
        findings: &mut Findings,
    ) {
        let Some(Checkpoint { size, root, .. }) = read(note, verifier, findings) else {
            return;
        };
        if size >= leaves {
            let whole = !findings.any();
            self.signed_to = self.signed_to.max(size);
            self.add(size, root, CHECKPOINT);
            if size == leaves && whole {
                self.check(size, tree, findings);
            }
        }
    }

    fn add(&mut self, size: u64, root: TreeRoot, source: &'static str) {
        self.roots.entry(size).or_default().push((root, source));
    }

    /// Passes over anchors that the log itself says it lost; how many there are.
    pub(super) fn acknowledge(&mut self, lost: &[LostHead]) -> usize {
        let mut known = 0;
        for head in lost {
            let Some(roots) = self.roots.get_mut(&head.size) else {
                continue;
            };
            let before = roots.len();
            roots.retain(|(root, source)| *root != head.root || *source != ANCHOR);
            known += before - roots.len();
            if roots.is_empty() {
                self.roots.remove(&head.size);
            }
        }
        known
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

fn read(
    note: &str,
    verifier: Option<&NoteVerifier>,
    findings: &mut Findings,
) -> Option<Checkpoint> {
    let verified = match verifier {
        Some(verifier) => Checkpoint::verify(note, verifier),
        None => Err(CheckpointError::NoSignature("unknown".to_owned())),
    };
    verified
        .map_err(|error| {
            findings.add(
                size_claimed(note).saturating_sub(1),
                What::Checkpoint(error),
            )
        })
        .ok()
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
