//! A log as it stood after some leaf, in signed bytes, so that a start takes in only what came after.
//!
//! ```text
//! "actpass.snapshot/1\n" signature:64 bytes of header:u32 header state (tile root:32)… (leaf hash:32)…
//! ```
//!
//! The header is JSON ([`Header`]). The log's key signs the hash of all that follows the signature, behind a text that stands in no
//! checkpoint, so that nobody who may write the directory can plant a state, and no signature of the one kind passes for the other.
//! Whoever has the key could; a signed state is no evidence, and verification takes in every leaf.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use actpass_core::bundle::Bundle;
use actpass_core::evidence::checkpoint::Checkpoint;
use actpass_core::evidence::leaf::Revision;
use actpass_core::evidence::merkle::Tree;
use actpass_core::evidence::tile::TILE_WIDTH;
use actpass_core::hash::{BundleDigest, LeafHash, StreamId, hex, sha256, unhex32};
use actpass_core::state::Snapshot;
use ed25519_dalek::{Signature, Signer, SigningKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Answered, Log, OpenError, OutsideHashes};
use crate::engine::{Keys, Parts};
use crate::storage::{Head, Storage, StorageError};

const FORM: &[u8] = b"actpass.snapshot/1\n";

/// What is signed begins so. No checkpoint holds a zero byte.
const SIGNED: &[u8] = b"actpass.snapshot/1\0";

/// What is known of a log besides its state and its tree.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    origin: String,
    size: u64,
    /// Hash of the last leaf, in hex.
    head: String,
    /// Time of the last leaf, in nanoseconds.
    time: String,
    checkpoint: String,
    given: Option<Revision>,
    /// Bundles that a later leaf may name. They are blobs.
    bundles: Vec<BundleDigest>,
    /// Which record of a stream which leaf answers.
    answered: BTreeMap<StreamId, Vec<(u64, u64)>>,
    state_bytes: usize,
    tiles: usize,
}

/// Why bytes are not believed.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it is not whole")]
    Form,
    #[error("the log's key did not sign it")]
    Unsigned,
    #[error("{0} does not fit")]
    Other(&'static str),
    #[error("{0}")]
    What(String),
    /// It was signed, and so the log was longer once.
    #[error("the log is shorter")]
    Newer(u64),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Log {
    /// The signed bytes of it as it is now; all its leaves are durable.
    pub(in crate::engine) fn snapshot(&self, key: &SigningKey) -> Result<Vec<u8>, String> {
        let state = Snapshot::of(&self.state).to_vec();
        let state = state.map_err(|error| error.to_string())?;
        let answered = self.answered.iter().map(|(stream, kept)| {
            let places = kept.iter().map(|it| (it.seq, it.index));
            (*stream, places.collect())
        });
        let header = Header {
            origin: self.origin.clone(),
            size: self.tree.size(),
            head: hex(self.head.as_bytes()),
            time: self.last_time.as_nanosecond().to_string(),
            checkpoint: self.checkpoint.clone(),
            given: self.given,
            bundles: self.bundles.0.keys().copied().collect(),
            answered: answered.collect(),
            state_bytes: state.len(),
            tiles: self.tree.tiles().len(),
        };
        let header = serde_json::to_vec(&header).map_err(|error| error.to_string())?;
        let length = u32::try_from(header.len()).map_err(|error| error.to_string())?;
        let body = [
            &length.to_le_bytes()[..],
            &header,
            &state,
            self.tree.tiles().as_flattened(),
            self.tree.edge().as_flattened(),
        ]
        .concat();
        let signature = key.sign(&signed(&body)).to_bytes();
        Ok([FORM, &signature, &body].concat())
    }

    /// The log of the first of these snapshots that can be believed; none where all leaves are to be taken in.
    ///
    /// # Errors
    /// The log had more leaves when one was signed, or the storage cannot be read.
    pub(super) fn restored(
        origin: &str,
        kept: Vec<(PathBuf, Vec<u8>)>,
        parts: &Parts,
    ) -> Result<Option<Self>, OpenError> {
        let storage = &*parts.storage;
        for (path, bytes) in kept {
            match Self::of_snapshot(origin, &bytes, &parts.keys(), storage) {
                Ok(log) => return Ok(Some(log)),
                Err(Refused::Newer(size)) => {
                    return Err(OpenError::Unsigned {
                        log: origin.to_owned(),
                        what: format!(
                            "a state of {size} leaves was signed, `{}`, and here are {}",
                            path.display(),
                            storage.head(origin).size
                        ),
                    });
                }
                Err(Refused::Storage(error @ StorageError::Io { .. })) => return Err(error.into()),
                Err(why) => {
                    tracing::warn!(path = %path.display(), %why, "A kept state is not used; more leaves are taken in");
                }
            }
        }
        Ok(None)
    }

    fn of_snapshot(
        origin: &str,
        bytes: &[u8],
        keys: &Keys<'_>,
        storage: &dyn Storage,
    ) -> Result<Self, Refused> {
        let what = |error: &dyn std::fmt::Display| Refused::What(error.to_string());
        let rest = bytes.strip_prefix(FORM).ok_or(Refused::Form)?;
        let (signature, body) = rest.split_first_chunk().ok_or(Refused::Form)?;
        let (signature, text) = (Signature::from_bytes(signature), signed(body));
        let mut held = keys.log.all().map(|key| key.verifying_key());
        let ours = held.any(|key| key.verify_strict(&text, &signature).is_ok());
        ours.then_some(()).ok_or(Refused::Unsigned)?;
        let (length, rest) = body.split_first_chunk().ok_or(Refused::Form)?;
        let (header, rest) = cut(rest, u32::from_le_bytes(*length) as usize)?;
        let header: Header = serde_json::from_slice(header).map_err(|error| what(&error))?;
        let (state, rest) = cut(rest, header.state_bytes)?;
        let (tiles, edge) = cut(rest, header.tiles.saturating_mul(32))?;
        if header.origin != origin {
            return Err(Refused::Other("the log's name"));
        }
        let head = unhex32(&header.head).map_err(|error| what(&error))?;
        fits(storage.head(origin), header.size, head)?;

        let mut log = Self::new(origin, keys).map_err(|error| what(&error))?;
        log.tree = log.tree_of(tiles, edge, header.size, storage)?;
        for digest in &header.bundles {
            let bytes = storage.blob(digest.as_bytes())?;
            let bytes = bytes.ok_or(Refused::Other("a bundle that is not there"))?;
            let bundle = Bundle::parse(&bytes).map_err(|error| what(&error))?;
            if bundle.digest() != *digest {
                return Err(Refused::Other("a bundle"));
            }
            log.learn(Arc::new(bundle));
        }
        log.state = Snapshot::restore(state, &log.bundles).map_err(|error| what(&error))?;
        let checkpoint = Checkpoint::verify(&header.checkpoint, &log.verifier());
        let checkpoint = checkpoint.map_err(|error| what(&error))?;
        let is_of_tree = (checkpoint.size, checkpoint.root) == (log.tree.size(), log.tree.root());
        if !is_of_tree || checkpoint.size != header.size {
            return Err(Refused::Other("the checkpoint"));
        }
        log.head = LeafHash::from_bytes(head);
        let time: i128 = header
            .time
            .parse()
            .map_err(|_| Refused::Other("its time"))?;
        log.last_time = Timestamp::from_nanosecond(time).map_err(|error| what(&error))?;
        log.given = header.given;
        for (stream, places) in header.answered {
            let answered = places
                .into_iter()
                .map(|(seq, index)| log.answer(storage, seq, index));
            let answered = answered.collect::<Result<VecDeque<_>, Refused>>()?;
            log.answered.insert(stream, answered);
        }
        log.is_durable(header.checkpoint, storage.is_shared());
        log.snapshot_at = header.size;
        Ok(log)
    }

    /// The tree of these tiles and leaves. Of tiles whose leaves nobody tells later, it takes in the leaves now.
    fn tree_of(
        &self,
        tiles: &[u8],
        edge: &[u8],
        size: u64,
        storage: &dyn Storage,
    ) -> Result<Tree, Refused> {
        let wrong = || Refused::Other("the tree");
        let (tiles, []) = tiles.as_chunks::<32>() else {
            return Err(wrong());
        };
        let (edge, []) = edge.as_chunks::<32>() else {
            return Err(wrong());
        };
        let outside = self.outside.clone().ok_or(Refused::Other("the storage"))?;
        let width = u64::from(TILE_WIDTH);
        let told = (outside.size().min(size) / width).min(tiles.len() as u64);
        let complete = (tiles.len() as u64).saturating_mul(width);
        let between = storage.leaf_hashes(&self.origin, told.saturating_mul(width)..complete)?;
        let between = between.ok_or_else(wrong)?;
        let told = usize::try_from(told).unwrap_or(usize::MAX);
        let leaves = between
            .iter()
            .chain(edge)
            .copied()
            .map(LeafHash::from_bytes);
        let tree = Tree::of_tiles(tiles.get(..told).unwrap_or_default(), leaves, outside);
        let same = tree.size() == size && tree.tiles() == tiles && tree.edge() == edge;
        if same { Ok(tree) } else { Err(wrong()) }
    }

    /// An answer that was kept, with its leaf as the storage has it.
    fn answer(&self, storage: &dyn Storage, seq: u64, index: u64) -> Result<Answered, Refused> {
        let leaf = storage.leaf(&self.origin, index)?;
        let leaf = leaf.and_then(|leaf| String::from_utf8(leaf).ok());
        let leaf = leaf.ok_or(Refused::Other("an answer that is not there"))?;
        let hash = actpass_core::evidence::merkle::leaf_hash(leaf.as_bytes());
        // Held against the tree, as nothing else was yet.
        if self.tree.leaf(index) != Some(hash) {
            return Err(Refused::Other("an answer"));
        }
        let leaf = leaf.into();
        Ok(Answered { seq, index, leaf })
    }

    /// How many leaves a start would take in one by one.
    pub(in crate::engine) fn unkept(&self) -> u64 {
        self.durable.size.saturating_sub(self.snapshot_at)
    }

    /// Its state was kept as it is now.
    pub(in crate::engine) fn was_kept_whole(&mut self) {
        self.snapshot_at = self.durable.size;
    }

    /// Gives up what the storage can tell again.
    pub(super) fn forget_leaves(&mut self) {
        let Some(outside) = &self.outside else {
            return;
        };
        if self.tree.size().saturating_sub(self.tree.forgotten()) >= FORGOTTEN_EVERY {
            let told = outside.size();
            self.tree.forget(told, outside.clone());
        }
    }
}

/// After how many leaves their hashes are forgotten: 512 KiB of them and of what stands above.
const FORGOTTEN_EVERY: u64 = 8_192;

/// What stands at the end of the log must not be before, nor other than, where the state stood.
fn fits(found: Head, size: u64, head: [u8; 32]) -> Result<(), Refused> {
    match found.size.cmp(&size) {
        std::cmp::Ordering::Less => Err(Refused::Newer(size)),
        std::cmp::Ordering::Equal if found.hash != head => Err(Refused::Other("the last leaf")),
        _ => Ok(()),
    }
}

fn cut(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), Refused> {
    bytes.split_at_checked(at).ok_or(Refused::Form)
}

fn signed(body: &[u8]) -> Vec<u8> {
    [SIGNED, &sha256(&[body])].concat()
}

impl OutsideHashes {
    /// How many leaves from the first on it can tell.
    fn size(&self) -> u64 {
        self.sealed.size(&self.origin)
    }
}

#[cfg(test)]
mod tests;
