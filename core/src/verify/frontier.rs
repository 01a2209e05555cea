//! The right edge of a tree that only grows: its root at any size passed, in memory for one hash per level.

use crate::hash::{LeafHash, TreeRoot, sha256};

/// The complete subtrees of a tree, largest first: one per set bit of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frontier {
    size: u64,
    subtrees: Vec<[u8; 32]>,
}

impl Frontier {
    /// Adds a leaf at the right end.
    pub(super) fn push(&mut self, leaf: LeafHash) {
        let mut hash = *leaf.as_bytes();
        // As many subtrees are completed by this leaf as the old size has trailing ones.
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.subtrees.pop() else {
                break;
            };
            hash = sha256(&[&[0x01], &left, &hash]);
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// Number of leaves.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Root over all leaves so far (RFC 6962 section 2.1).
    pub(super) fn root(&self) -> TreeRoot {
        let root = self
            .subtrees
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| sha256(&[&[0x01], &left, &right]));
        TreeRoot::from_bytes(root.unwrap_or_else(|| sha256(&[])))
    }
}
