//! Leaves as a ledger makes them, of 512 bytes each.

use std::collections::HashSet;

use actpass_core::evidence::checkpoint::{Checkpoint, NoteSigner};
use actpass_core::evidence::merkle::Tree;
use actpass_core::hash::{LeafHash, hex};
use actpass_ledger::storage::HashedLeaf;
use anyhow::ensure;
use ed25519_dalek::SigningKey;

pub(super) const LOG: &str = "actpass/bench/log/1";

/// Bytes of a leaf.
pub(super) const LEAF_BYTES: usize = 512;

/// More than is ever paid here.
const BUDGET: u64 = 1 << 60;

/// A log in memory: its tree, the nonces that were used, and what was paid.
pub(super) struct Leaves {
    tree: Tree,
    head: [u8; 32],
    signer: NoteSigner,
    used: HashSet<[u8; 16]>,
    paid: u64,
    drawn: u128,
}

/// Leaves that belong together.
pub(super) struct Group {
    /// Index of the first.
    pub(super) first: u64,
    /// Their bytes.
    pub(super) leaves: Vec<HashedLeaf>,
    /// The nonce of each.
    pub(super) nonces: Vec<[u8; 16]>,
    /// What was paid with them, in all.
    pub(super) paid: u64,
    /// The signed checkpoint over all leaves so far.
    pub(super) checkpoint: String,
}

impl Leaves {
    pub(super) fn new() -> Self {
        let key = SigningKey::from_bytes(&[7; 32]);
        Self {
            tree: Tree::new(),
            head: [0; 32],
            signer: NoteSigner::new(LOG, key),
            used: HashSet::new(),
            paid: 0,
            drawn: 0,
        }
    }

    /// The next group.
    pub(super) fn group(&mut self, leaves: usize) -> anyhow::Result<Group> {
        let mut group = self.chained(leaves)?;
        for nonce in &group.nonces {
            ensure!(self.used.insert(*nonce), "a nonce twice");
        }
        ensure!(self.paid <= BUDGET, "over the budget");
        let checkpoint = Checkpoint {
            origin: LOG.to_owned(),
            size: self.tree.size(),
            root: self.tree.root(),
        };
        group.checkpoint = checkpoint.sign(&self.signer);
        Ok(group)
    }

    /// The next group of a store that looks after nonces and budget itself.
    pub(super) fn chained(&mut self, leaves: usize) -> anyhow::Result<Group> {
        let first = self.tree.size();
        let (mut texts, mut nonces) = (Vec::with_capacity(leaves), Vec::with_capacity(leaves));
        for _ in 0..leaves {
            let nonce = self.nonce();
            let header = format!(
                "{{\"h\":{{\"prev\":\"{}\",\"seq\":{}}},\"nonce\":\"{}\",\"of\":\"",
                hex(&self.head),
                self.tree.size(),
                hex(&nonce),
            );
            // What it is about was made before, as by who asks.
            let mut leaf = Vec::with_capacity(LEAF_BYTES);
            leaf.extend_from_slice(header.as_bytes());
            leaf.resize(LEAF_BYTES, b'-');
            let leaf = HashedLeaf::from(leaf);
            self.head = leaf.hash();
            self.tree.push(LeafHash::from_bytes(self.head));
            self.paid += 1;
            texts.push(leaf);
            nonces.push(nonce);
        }
        Ok(Group {
            first,
            leaves: texts,
            nonces,
            paid: self.paid,
            checkpoint: String::new(),
        })
    }

    /// As good as random to an index, and the same in each run.
    fn nonce(&mut self) -> [u8; 16] {
        self.drawn += 1;
        // An odd factor: no two are the same (Knuth's multiplicative hashing).
        let mixed = self
            .drawn
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        mixed.swap_bytes().to_le_bytes()
    }

    pub(super) fn sign(&self) -> String {
        let checkpoint = Checkpoint {
            origin: LOG.to_owned(),
            size: self.tree.size(),
            root: self.tree.root(),
        };
        checkpoint.sign(&self.signer)
    }
}
