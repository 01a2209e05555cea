//! Many keys out of one, each of which can be destroyed for good.
//!
//! A binary tree: each key gives its two children by a hash, and the keys that are used are the leaves (Goldreich, Goldwasser
//! and Micali, 1986). Only the keys are held under which nothing was destroyed. Destroying a leaf drops every key above it and keeps
//! the siblings of these, so all other leaves can be made as before, and that one by nobody (a punctured function: Boneh
//! and Waters, 2013). So nothing has to be written down when a leaf is first used.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use actpass_core::hash::sha256;
use zeroize::Zeroizing;

use super::cipher::Key;

/// Keys by the numbers of their leaves, `0` to `2^levels - 1`.
#[derive(Clone)]
pub(super) struct Tree {
    /// The keys that are held, by the first leaf under each; what lies under two of them does not overlap.
    held: BTreeMap<u128, Held>,
}

#[derive(Clone)]
struct Held {
    /// How many levels lie under it.
    height: u8,
    key: Key,
}

impl Tree {
    /// All leaves of a tree of so many levels, at most 127.
    pub(super) fn whole(levels: u8, key: Key) -> Self {
        let root = Held {
            height: levels,
            key,
        };
        Self {
            held: BTreeMap::from([(0, root)]),
        }
    }

    /// The key of a leaf; none where it was destroyed.
    pub(super) fn key(&self, leaf: u128) -> Option<Key> {
        let (first, held) = self.held.range(..=leaf).next_back()?;
        if leaf > last(*first, held.height) {
            return None;
        }
        let path = (0..held.height).rev().map(|level| leaf >> level & 1 == 1);
        Some(path.fold(held.key.clone(), |key, right| child(&key, right)))
    }

    /// Whether a key of these is left.
    pub(super) fn any(&self, leaves: &RangeInclusive<u128>) -> bool {
        let before = self.held.range(..=*leaves.end()).next_back();
        before.is_some_and(|(first, held)| last(*first, held.height) >= *leaves.start())
    }

    /// Destroys the keys of these leaves.
    pub(super) fn destroy(&mut self, leaves: &RangeInclusive<u128>) {
        while self.any(leaves) {
            let over = self.held.range(..=*leaves.end()).next_back();
            let Some(first) = over.map(|(first, _)| *first) else {
                return;
            };
            if let Some(held) = self.held.remove(&first) {
                self.keep_outside(first, held, leaves);
            }
        }
    }

    /// Holds what lies under a key and not in `gone`; at most as deep as the tree.
    fn keep_outside(&mut self, first: u128, held: Held, gone: &RangeInclusive<u128>) {
        let end = last(first, held.height);
        if end < *gone.start() || first > *gone.end() {
            self.held.insert(first, held);
        } else if first < *gone.start() || end > *gone.end() {
            let height = held.height.saturating_sub(1);
            let half = |right| Held {
                height,
                key: child(&held.key, right),
            };
            self.keep_outside(first, half(false), gone);
            self.keep_outside(first | 1 << height, half(true), gone);
        }
    }

    /// How many keys are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Of each key that is held the first leaf, the height, and the key.
    pub(super) fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.held.len() * HELD_BYTES));
        for (first, Held { height, key }) in &self.held {
            bytes.extend_from_slice(&first.to_be_bytes());
            bytes.push(*height);
            bytes.extend_from_slice(key.as_ref());
        }
        bytes
    }

    /// A tree of so many levels from [`Tree::bytes`].
    pub(super) fn read(levels: u8, bytes: &[u8]) -> Option<Self> {
        let (all, rest) = bytes.as_chunks::<HELD_BYTES>();
        let mut held = BTreeMap::new();
        let mut free = 0;
        for one in all {
            let (first, one) = one.split_first_chunk::<16>()?;
            let (height, key) = one.split_first()?;
            let (first, height) = (u128::from_be_bytes(*first), *height);
            let key = Zeroizing::new(<[u8; 32]>::try_from(key).ok()?);
            let aligned = height <= levels && first.trailing_zeros() >= u32::from(height);
            if !aligned || first < free || last(first, height) >= 1 << levels {
                return None;
            }
            free = last(first, height) + 1;
            held.insert(first, Held { height, key });
        }
        rest.is_empty().then_some(Self { held })
    }
}

/// First leaf, height and key.
const HELD_BYTES: usize = 16 + 1 + 32;

/// The last leaf under a key.
fn last(first: u128, height: u8) -> u128 {
    first | ((1 << height) - 1)
}

/// SHA-256 over `actpass.tree/1\0` ‖ 0 or 1 ‖ key: 48 bytes, which is one block.
fn child(key: &Key, right: bool) -> Key {
    Zeroizing::new(sha256(&[
        b"actpass.tree/1\0",
        &[u8::from(right)],
        key.as_ref(),
    ]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const LEVELS: u8 = 6;

    fn whole() -> Tree {
        Tree::whole(LEVELS, Zeroizing::new([7; 32]))
    }

    proptest! {
        #[test]
        fn what_was_destroyed_is_gone_and_all_else_stays(
            gone in proptest::collection::vec((0_u128..64, 0_u128..9), 0..8),
        ) {
            let (mut tree, before) = (whole(), whole());
            let mut missing = BTreeSet::new();
            for (first, more) in gone {
                let leaves = first..=(first + more).min(63);
                missing.extend(leaves.clone());
                tree.destroy(&leaves);
                prop_assert!(!tree.any(&leaves));
            }
            let read = Tree::read(LEVELS, &tree.bytes()).unwrap();
            for leaf in 0..64 {
                let want = (!missing.contains(&leaf)).then(|| before.key(leaf).unwrap());
                prop_assert_eq!(tree.key(leaf), want.clone(), "leaf {}", leaf);
                prop_assert_eq!(read.key(leaf), want, "leaf {} read back", leaf);
            }
        }
    }

    /// The keys that are held are those from which every key can be made; none of them may lead to one that is gone.
    #[test]
    fn no_key_that_is_held_lies_above_one_that_is_gone() {
        let mut tree = whole();
        tree.destroy(&(21..=21));
        assert_eq!(tree.len(), usize::from(LEVELS), "one sibling per level");
        for (first, held) in &tree.held {
            assert!(!(*first..=last(*first, held.height)).contains(&21));
        }
    }

    #[test]
    fn leaves_differ_and_bytes_that_are_no_tree_are_refused() {
        let tree = whole();
        let keys: BTreeSet<[u8; 32]> = (0..64).map(|leaf| *tree.key(leaf).unwrap()).collect();
        assert_eq!(keys.len(), 64);
        let mut punctured = whole();
        punctured.destroy(&(3..=9));
        let bytes = punctured.bytes();
        assert!(Tree::read(LEVELS, &bytes[1..]).is_none(), "cut");
        let (first, second) = bytes.split_at(HELD_BYTES);
        let swapped = [&second[..HELD_BYTES], first, &second[HELD_BYTES..]].concat();
        assert!(Tree::read(LEVELS, &swapped).is_none(), "swapped");
        assert!(Tree::read(2, &bytes).is_none(), "a smaller tree's");
    }
}
