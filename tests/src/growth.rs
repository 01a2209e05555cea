//! A log made long in little time: leaves are put into its storage as the ledger itself would, while it is stopped. The ledger reads
//! and checks each of them when it starts.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use actpass_core::evidence::checkpoint::{Checkpoint, NoteSigner};
use actpass_core::evidence::leaf::{EventBody, Leaf, LeafHeader};
use actpass_core::evidence::merkle::{Tree, leaf_hash};
use actpass_core::hash::LeafHash;
use actpass_ledger::engine::checkpoint_name;
use actpass_ledger::storage::segment::SegmentOptions;
use actpass_ledger::storage::{
    Blob, BlobKind, Entry, LogGroup, SegmentStorage, Storage, StorageError,
};
use anyhow::{Context, ensure};
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};

/// Leaves of one append: 400 KiB of the 4 MiB that one may take.
const GROUP_LEAVES: usize = 512;

/// Lets the log `origin` in `dir` grow to `size` leaves, the last of them under a checkpoint. It has to be there already.
///
/// # Errors
/// Where it is not, or the storage says no.
pub fn grow(dir: &Path, key: &SigningKey, origin: &str, size: u64) -> anyhow::Result<()> {
    let mut storage = opened(dir)?;
    let (mut tree, mut last) = (Tree::new(), None);
    storage.replay(&mut |entry| {
        if let Entry::Leaf { log, bytes, .. } = entry
            && log == origin
        {
            tree.push(leaf_hash(bytes));
            last = Some(bytes.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    let last = Leaf::parse(&last.context("no such log")?)?;
    let mut time = last.h.time;
    while tree.size() < size {
        let mut group = LogGroup {
            log: origin.to_owned(),
            expected_head: storage.head(origin),
            leaves: Vec::new(),
            blobs: Vec::new(),
        };
        while tree.size() < size && group.leaves.len() < GROUP_LEAVES {
            time = time.checked_add(SignedDuration::from_micros(1))?;
            let leaf = leaf(origin, &tree, time)?;
            tree.push(leaf_hash(&leaf));
            group.leaves.push(leaf.into());
        }
        group.blobs = vec![checkpoint(key, origin, &tree)];
        let appended = storage.append(&[group])?;
        ensure!(appended.len() == 1, "{appended:?}");
    }
    ensure!(storage.head(origin).size == size, "the log was longer");
    Ok(())
}

/// The log in `dir` for writing. A program that another test starts has our lock, too, from its fork until it is itself, so this is
/// tried for a while.
///
/// # Errors
/// Where it cannot be opened.
pub(crate) fn opened(dir: &Path) -> Result<SegmentStorage, StorageError> {
    let mut tries = 0;
    loop {
        match SegmentStorage::open(dir, SegmentOptions::default()) {
            Err(StorageError::Locked { .. }) if tries < 100 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

/// The next leaf: of many lengths, some of them as long as a field may be.
fn leaf(origin: &str, tree: &Tree, time: Timestamp) -> anyhow::Result<Vec<u8>> {
    let seq = tree.size();
    let prev = seq.checked_sub(1).and_then(|before| tree.leaf(before));
    let header = LeafHeader {
        log: origin.to_owned(),
        prev: prev.unwrap_or(LeafHash::from_bytes([0; 32])),
        seq,
        time,
    };
    let length = if seq % 500 == 499 { 1_024 } else { seq % 97 };
    let why = "x".repeat(usize::try_from(length)?);
    let (passport, by) = ("nobody".to_owned(), "tester".to_owned());
    let event = EventBody::Revoked { passport, by, why };
    Ok(Leaf::of_event(header, event).canonical()?)
}

fn checkpoint(key: &SigningKey, origin: &str, tree: &Tree) -> Blob {
    let head = Checkpoint {
        origin: origin.to_owned(),
        size: tree.size(),
        root: tree.root(),
    };
    Blob {
        kind: BlobKind::State,
        name: checkpoint_name(origin),
        bytes: head.sign(&NoteSigner::new(origin, key.clone())).into(),
    }
}
