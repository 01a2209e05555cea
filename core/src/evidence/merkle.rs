//! The Merkle tree of RFC 6962 over the leaves of one log: roots, proofs, and their verification.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::tile::{TILE_WIDTH, TileOf, TilePath};
use crate::hash::{LeafHash, TreeRoot, sha256};

/// Hash of one leaf in the evidence tree: `SHA-256(0x00 || leaf)`, RFC 6962 section 2.1.
/// `leaf` is its canonical JSON, at most 32 KiB.
pub fn leaf_hash(leaf: &[u8]) -> LeafHash {
    LeafHash::from_bytes(sha256(&[&[0x00], leaf]))
}

/// A tree that grows at its right end and keeps every complete subtree, so that roots of all earlier sizes and
/// all proofs take O(log² n) lookups and no hashing of leaves. 64 bytes of memory per leaf; of leaves that it forgot a quarter
/// byte, and it asks for them a tile at a time.
#[derive(Clone, Default)]
pub struct Tree {
    /// `levels[h][i]` is the hash of the complete subtree over leaves `i * 2^h .. (i + 1) * 2^h`; below [`TILE_HEIGHT`] less those
    /// of the tiles that are forgotten.
    levels: Vec<Vec<[u8; 32]>>,
    /// Tiles of leaves at the left end that are kept by their roots only.
    forgotten: u64,
    source: Option<Arc<dyn LeafHashes>>,
}

/// Levels of the tree under one tile's root.
const TILE_HEIGHT: u32 = TILE_WIDTH.trailing_zeros();

const WIDTH: u64 = TILE_WIDTH as u64;

/// Tells hashes of leaves that a tree does not keep. What it tells is held against the tree.
pub trait LeafHashes: Send + Sync {
    /// The hashes of these leaves, which are one tile; none where they cannot be told.
    fn leaf_hashes(&self, leaves: Range<u64>) -> Option<Vec<LeafHash>>;
}

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A leaf that a tree of this size does not have.
    #[error("leaf {index} is not in a tree of {size}")]
    IndexBeyondSize {
        /// Index of the leaf.
        index: u64,
        /// Leaves in the tree.
        size: u64,
    },
    /// A tree never shrinks.
    #[error("tree shrank from {old} to {new} leaves")]
    Shrunk {
        /// Leaves before.
        old: u64,
        /// Leaves after.
        new: u64,
    },
    /// More or fewer hashes than a proof for these numbers has.
    #[error("proof of the wrong length: {found} hashes")]
    Length {
        /// Hashes found.
        found: usize,
    },
    /// The proof leads to another root than the older tree had.
    #[error("proof does not lead to the old root")]
    OldRoot,
    /// The proof leads to another root than the tree has.
    #[error("proof does not lead to the root")]
    Root,
}

impl Tree {
    /// The tree without leaves.
    pub fn new() -> Self {
        Tree::default()
    }

    /// The tree of these complete tiles of leaves, by their roots, and the leaves behind them.
    pub fn of_tiles(
        tiles: &[[u8; 32]],
        edge: impl IntoIterator<Item = LeafHash>,
        source: Arc<dyn LeafHashes>,
    ) -> Self {
        let mut tree = Tree {
            levels: vec![
                Vec::new();
                if tiles.is_empty() {
                    0
                } else {
                    TILE_HEIGHT as usize
                }
            ],
            forgotten: tiles.len() as u64,
            source: Some(source),
        };
        for tile in tiles {
            tree.put(TILE_HEIGHT as usize, *tile);
        }
        edge.into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }

    /// The roots of its complete tiles of leaves.
    pub fn tiles(&self) -> &[[u8; 32]] {
        let tiles = self.levels.get(TILE_HEIGHT as usize);
        tiles.map_or(&[], Vec::as_slice)
    }

    /// The leaves behind them.
    pub fn edge(&self) -> &[[u8; 32]] {
        let complete = (self.tiles().len() as u64).saturating_sub(self.forgotten);
        let complete = usize::try_from(complete.saturating_mul(WIDTH)).unwrap_or(usize::MAX);
        let kept = self
            .levels
            .first()
            .and_then(|leaves| leaves.get(complete..));
        kept.unwrap_or_default()
    }

    /// Keeps of the complete tiles among the first `size` leaves only the roots. `source` is asked for their leaves.
    pub fn forget(&mut self, size: u64, source: Arc<dyn LeafHashes>) {
        let tiles = (size / WIDTH).min(self.tiles().len() as u64);
        let more = tiles.saturating_sub(self.forgotten);
        if more == 0 {
            return;
        }
        for (height, level) in (0..TILE_HEIGHT).zip(&mut self.levels) {
            let gone = usize::try_from(more.saturating_mul(WIDTH >> height)).unwrap_or(usize::MAX);
            level.drain(..gone.min(level.len()));
            level.shrink_to_fit();
        }
        self.forgotten = tiles;
        self.source = Some(source);
    }

    /// How many leaves it keeps by the roots of their tiles only.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.saturating_mul(WIDTH)
    }

    /// Adds a leaf at the right end.
    pub fn push(&mut self, leaf: LeafHash) {
        self.put(0, *leaf.as_bytes());
    }

    /// Adds a complete subtree of that height.
    fn put(&mut self, height: usize, mut hash: [u8; 32]) {
        for level in self.levels.iter_mut().skip(height) {
            level.push(hash);
            // An even number of subtrees of this height: the last two make one of the next.
            let ([.., left, right], 0) = (level.as_slice(), level.len() % 2) else {
                return;
            };
            hash = node(left, right);
        }
        self.levels.push(vec![hash]);
    }

    /// Goes back to the tree of the first `size` leaves; nothing where it has no more, or has forgotten some of the others.
    pub fn truncate(&mut self, size: u64) {
        if size < self.forgotten() {
            return;
        }
        for (height, level) in (0..).zip(&mut self.levels) {
            let complete = (size >> height).saturating_sub(forgotten_at(height, self.forgotten));
            level.truncate(usize::try_from(complete).unwrap_or(usize::MAX));
        }
        while self.levels.last().is_some_and(Vec::is_empty) {
            self.levels.pop();
        }
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        let kept = self.levels.first().map_or(0, |leaves| leaves.len() as u64);
        kept.saturating_add(self.forgotten())
    }

    /// Root over all leaves; over none it is the hash of nothing.
    pub fn root(&self) -> TreeRoot {
        self.subtree(0, self.size())
            .map_or_else(empty_root, TreeRoot::from_bytes)
    }

    /// Root as it was when the tree had `size` leaves; `None` if it never had.
    pub fn root_at(&self, size: u64) -> Option<TreeRoot> {
        match size {
            0 => Some(empty_root()),
            _ => self.subtree(0, size).map(TreeRoot::from_bytes),
        }
    }

    /// Hash of the leaf at `index`.
    pub fn leaf(&self, index: u64) -> Option<LeafHash> {
        self.complete(0, index).map(LeafHash::from_bytes)
    }

    /// Hashes of these leaves, each tile of those it forgot asked for once; `None` where it has not all of them.
    pub fn leaves(&self, range: Range<u64>) -> Option<Vec<[u8; 32]>> {
        if range.end > self.size() {
            return None;
        }
        let mut hashes = Vec::new();
        let mut next = range.start;
        while next < range.end.min(self.forgotten()) {
            let tile = next / WIDTH;
            let end = tile.checked_add(1)?.checked_mul(WIDTH)?.min(range.end);
            let (from, to) = (next % WIDTH, end - tile * WIDTH);
            let leaves = self.below(tile)?;
            let leaves = leaves.levels.first()?;
            hashes.extend(leaves.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)?);
            next = end;
        }
        if next < range.end {
            let from = usize::try_from(next.checked_sub(self.forgotten())?).ok()?;
            let to = usize::try_from(range.end.checked_sub(self.forgotten())?).ok()?;
            hashes.extend(self.levels.first()?.get(from..to)?);
        }
        Some(hashes)
    }

    /// The bytes of a tile of hashes (C2SP `tlog-tiles`), of any width that the tree has had; `None` for one that it never had,
    /// and for a bundle of leaves, which are not in the tree.
    pub fn tile(&self, path: &TilePath) -> Option<Vec<u8>> {
        let TileOf::Hashes { level } = path.of() else {
            return None;
        };
        if level == 0 {
            return Some(self.leaves(path.range()?)?.concat());
        }
        // A tile stands on eight levels of the tree.
        let row = self.levels.get(usize::from(level).checked_mul(8)?)?;
        let range = path.range()?;
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        Some(row.get(start.ok()?..end.ok()?)?.concat())
    }

    /// Proof that leaf `index` is in the tree of the first `size` leaves (`PATH`, RFC 6962 section 2.1.1).
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<[u8; 32]>> {
        if index >= size || size > self.size() {
            return None;
        }
        let (mut start, mut end) = (0, size);
        let mut proof = Vec::new();
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                proof.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                proof.push(self.subtree(start, middle)?);
                start = middle;
            }
        }
        proof.reverse();
        Some(proof)
    }

    /// Proof that the tree of `new` leaves extends that of `old` leaves (`PROOF`, RFC 6962 section 2.1.2). Empty
    /// for `old` 0, which every tree extends, and for equal sizes.
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<[u8; 32]>> {
        if old > new || new > self.size() {
            return None;
        }
        let mut proof = Vec::new();
        if old == 0 || old == new {
            return Some(proof);
        }
        let (mut start, mut end) = (0, new);
        // Down to the subtree that ends where the old tree ended.
        while end != old {
            let middle = start + split(end - start);
            if old <= middle {
                proof.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                proof.push(self.subtree(start, middle)?);
                start = middle;
            }
        }
        // That subtree is the whole old tree when it starts at 0: the verifier has its hash then.
        if start > 0 {
            proof.push(self.subtree(start, end)?);
        }
        proof.reverse();
        Some(proof)
    }

    /// Hash over leaves `start..end`, where `start` is a multiple of the power of two at or above the length: what
    /// the recursion of RFC 6962 section 2.1 asks for. `None` beyond the tree and for no leaves.
    fn subtree(&self, start: u64, end: u64) -> Option<[u8; 32]> {
        let length = end.checked_sub(start)?;
        if length.is_power_of_two() {
            let height = length.trailing_zeros();
            return self.complete(height, start >> height);
        }
        if length == 0 {
            return None;
        }
        let middle = start + split(length);
        Some(node(
            &self.subtree(start, middle)?,
            &self.subtree(middle, end)?,
        ))
    }

    fn complete(&self, height: u32, index: u64) -> Option<[u8; 32]> {
        let gone = forgotten_at(height, self.forgotten);
        let Some(kept) = index.checked_sub(gone) else {
            let in_tile = TILE_HEIGHT.checked_sub(height)?;
            let tile = index >> in_tile;
            return self
                .below(tile)?
                .complete(height, index - (tile << in_tile));
        };
        let level = self.levels.get(usize::try_from(height).ok()?)?;
        level.get(usize::try_from(kept).ok()?).copied()
    }

    /// The tree under the root of a forgotten tile, if the leaves that are told give that root.
    fn below(&self, tile: u64) -> Option<Tree> {
        let start = tile.checked_mul(WIDTH)?;
        let leaves = self.source.as_ref()?.leaf_hashes(start..start + WIDTH)?;
        let below: Tree = leaves.into_iter().collect();
        let root = self.tiles().get(usize::try_from(tile).ok()?)?;
        (below.size() == WIDTH && below.root().as_bytes() == root).then_some(below)
    }
}

/// How many complete subtrees of that height are in so many forgotten tiles, and not kept.
fn forgotten_at(height: u32, tiles: u64) -> u64 {
    match TILE_HEIGHT.checked_sub(height) {
        None | Some(0) => 0,
        Some(below) => tiles << below,
    }
}

impl PartialEq for Tree {
    /// The same leaves, whichever of them are kept.
    fn eq(&self, other: &Self) -> bool {
        self.size() == other.size() && self.root() == other.root()
    }
}

impl Eq for Tree {}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("size", &self.size())
            .field("forgotten", &self.forgotten())
            .finish_non_exhaustive()
    }
}

impl FromIterator<LeafHash> for Tree {
    fn from_iter<I: IntoIterator<Item = LeafHash>>(leaves: I) -> Self {
        let mut tree = Tree::new();
        leaves.into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }
}

/// Checks that `leaf` stands at `index` of the tree with `size` leaves and this root (RFC 9162 section 2.1.3.2).
pub fn verify_inclusion(
    leaf: LeafHash,
    index: u64,
    size: u64,
    proof: &[[u8; 32]],
    root: TreeRoot,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::IndexBeyondSize { index, size });
    }
    let mut hash = *leaf.as_bytes();
    let (mut position, mut last) = (index, size - 1);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length { found: proof.len() });
        }
        if position % 2 == 1 || position == last {
            hash = node(sibling, &hash);
            // A right edge without sibling on this level: the hash rises as it is.
            while position % 2 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length { found: proof.len() });
    }
    if hash == *root.as_bytes() {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}

/// Checks that the tree with `new_size` leaves extends the one with `old_size` (RFC 9162 section 2.1.4.2).
pub fn verify_consistency(
    old_size: u64,
    old_root: TreeRoot,
    new_size: u64,
    new_root: TreeRoot,
    proof: &[[u8; 32]],
) -> Result<(), ProofError> {
    let wrong_length = ProofError::Length { found: proof.len() };
    if old_size > new_size {
        return Err(ProofError::Shrunk {
            old: old_size,
            new: new_size,
        });
    }
    if old_size == 0 || old_size == new_size {
        if !proof.is_empty() {
            return Err(wrong_length);
        }
        if old_size == 0 && old_root != empty_root() {
            return Err(ProofError::OldRoot);
        }
        let same = old_size == new_size && old_root != new_root;
        return if same { Err(ProofError::Root) } else { Ok(()) };
    }
    let (mut position, mut last) = (old_size - 1, new_size - 1);
    while position % 2 == 1 {
        position >>= 1;
        last >>= 1;
    }
    let mut hashes = proof.iter();
    // An old tree that is one complete subtree is its own first hash, which the proof leaves out.
    let first = if old_size.is_power_of_two() {
        *old_root.as_bytes()
    } else {
        *hashes.next().ok_or(wrong_length.clone())?
    };
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in hashes {
        if last == 0 {
            return Err(wrong_length);
        }
        if position % 2 == 1 || position == last {
            old_hash = node(sibling, &old_hash);
            new_hash = node(sibling, &new_hash);
            while position % 2 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node(&new_hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(wrong_length);
    }
    if old_hash != *old_root.as_bytes() {
        return Err(ProofError::OldRoot);
    }
    if new_hash == *new_root.as_bytes() {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}

/// Root of the tree without leaves: the hash of nothing, RFC 6962 section 2.1.
fn empty_root() -> TreeRoot {
    TreeRoot::from_bytes(sha256(&[]))
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    sha256(&[&[0x01], left, right])
}

/// Largest power of two below `length`, which is at least 2: where RFC 6962 splits a tree.
fn split(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}

#[cfg(test)]
mod tests;
