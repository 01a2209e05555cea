//! Tiles: a log's tree and its leaves in pieces that never change, C2SP `tlog-tiles`.
//!
//! ```text
//! tile/<L>/<N>            256 hashes of complete subtrees over 256^L leaves each
//! tile/<L>/<N>.p/<W>      the first W of them, where the tree has no more
//! tile/entries/<N>        the leaves under tile/0/<N>, each behind its length in two bytes, big endian
//! ```
//!
//! `N` is written in groups of three digits, all but the last behind an `x`: 1234067 is `x001/x234/067`. Each tile has one
//! spelling, so that no two paths name the same bytes.

use std::fmt;
use std::str::FromStr;

use super::leaf::LEAF_BYTES_MAX;

/// Hashes of a full tile, and leaves of a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// Highest level that `tlog-tiles` names; a tree of 2^64 leaves has 8.
pub const LEVEL_MAX: u8 = 63;

/// Longest path: `tile/entries/`, the 7 groups of 2^64 - 1 with 5 x and slashes, `.p/255`, and some room for the error to be about
/// what is wrong and not about the length.
const PATH_BYTES_MAX: usize = 64;

// The length before each leaf of a bundle has 16 bits.
const _: () = assert!(LEAF_BYTES_MAX <= u16::MAX as usize);

/// Names one tile or bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TilePath {
    of: TileOf,
    index: u64,
    width: u16,
}

/// What a tile is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TileOf {
    /// Hashes of complete subtrees over 256^level leaves.
    Hashes {
        /// At most [`LEVEL_MAX`].
        level: u8,
    },
    /// Leaves.
    Entries,
}

/// Why a text does not name a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TilePathError {
    /// Longer than any tile's.
    #[error("a tile's path has at most {PATH_BYTES_MAX} bytes, not {0}")]
    TooLong(usize),
    /// Another shape.
    #[error("a tile's path is `tile/L/N`, `tile/L/N.p/W` or `tile/entries/N`")]
    Shape,
    /// No level, or another spelling of one.
    #[error("the level is `entries` or a number up to {LEVEL_MAX} without leading zeros")]
    Level,
    /// No index, or another spelling of one.
    #[error(
        "group {0} of the index is not three digits, with an `x` before all groups but the last"
    )]
    Group(usize),
    /// Zeros that say nothing.
    #[error("the index begins with a group of zeros")]
    LeadingZeros,
    /// Over 2^64 - 1.
    #[error("the index is over 2^64 - 1")]
    IndexTooLarge,
    /// No width of a partial tile, or another spelling of one.
    #[error("the width of a partial tile is a number from 1 to 255 without leading zeros")]
    Width,
}

impl TilePath {
    /// The tile of these; none where no tile has that level or width.
    pub fn new(of: TileOf, index: u64, width: u16) -> Option<Self> {
        let level = match of {
            TileOf::Hashes { level } => level,
            TileOf::Entries => 0,
        };
        let is_one = level <= LEVEL_MAX && (1..=TILE_WIDTH).contains(&width);
        is_one.then_some(Self { of, index, width })
    }

    /// What it is made of.
    pub fn of(&self) -> TileOf {
        self.of
    }

    /// Its place in its level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or leaves it has, from 1 to [`TILE_WIDTH`].
    pub fn width(&self) -> u16 {
        self.width
    }

    /// The hashes or leaves it is of, counted in its level; none beyond 2^64 - 1.
    pub fn range(&self) -> Option<std::ops::Range<u64>> {
        let start = self.index.checked_mul(u64::from(TILE_WIDTH))?;
        Some(start..start.checked_add(u64::from(self.width))?)
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            TileOf::Hashes { level } => write!(f, "tile/{level}")?,
            TileOf::Entries => f.write_str("tile/entries")?,
        }
        let mut groups = vec![self.index % 1_000];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        while let Some(group) = groups.pop() {
            let x = if groups.is_empty() { "" } else { "x" };
            write!(f, "/{x}{group:03}")?;
        }
        match self.width {
            TILE_WIDTH => Ok(()),
            width => write!(f, ".p/{width}"),
        }
    }
}

impl FromStr for TilePath {
    type Err = TilePathError;

    fn from_str(text: &str) -> Result<Self, TilePathError> {
        if text.len() > PATH_BYTES_MAX {
            return Err(TilePathError::TooLong(text.len()));
        }
        let (kind, rest) = text
            .strip_prefix("tile/")
            .and_then(|rest| rest.split_once('/'))
            .ok_or(TilePathError::Shape)?;
        let of = match kind {
            "entries" => TileOf::Entries,
            level => TileOf::Hashes {
                level: number(level)
                    .filter(|level| *level <= LEVEL_MAX)
                    .ok_or(TilePathError::Level)?,
            },
        };
        let (groups, width) = match rest.split_once(".p/") {
            None => (rest, TILE_WIDTH),
            Some((groups, width)) => {
                let width = number::<u16>(width).filter(|width| (1..TILE_WIDTH).contains(width));
                (groups, width.ok_or(TilePathError::Width)?)
            }
        };
        let index = index(groups)?;
        Ok(Self { of, index, width })
    }
}

/// The number in groups of three digits.
fn index(text: &str) -> Result<u64, TilePathError> {
    let groups: Vec<&str> = text.split('/').collect();
    let mut index = 0_u64;
    for (at, group) in groups.iter().enumerate() {
        let digits = match at + 1 == groups.len() {
            true => Some(*group),
            false => group.strip_prefix('x'),
        };
        let digits = digits.filter(|it| it.len() == 3 && it.bytes().all(|it| it.is_ascii_digit()));
        let value: u64 = digits
            .and_then(|digits| digits.parse().ok())
            .ok_or(TilePathError::Group(at + 1))?;
        if at == 0 && value == 0 && groups.len() > 1 {
            return Err(TilePathError::LeadingZeros);
        }
        let next = index
            .checked_mul(1_000)
            .and_then(|it| it.checked_add(value));
        index = next.ok_or(TilePathError::IndexTooLarge)?;
    }
    Ok(index)
}

/// A number in its one spelling: digits without leading zeros.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let one = text == "0" || !text.starts_with('0');
    (digits && one).then(|| text.parse().ok()).flatten()
}

/// Adds a leaf to the bytes of a bundle; `false`, and nothing is added, where it is longer than a bundle can say.
#[must_use]
pub fn push_entry(bundle: &mut Vec<u8>, leaf: &[u8]) -> bool {
    let Ok(length) = u16::try_from(leaf.len()) else {
        return false;
    };
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(leaf);
    true
}

/// The leaves of a bundle; none where its bytes end within one.
pub fn entries(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut leaves = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk::<2>()?;
        let (leaf, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        leaves.push(leaf);
        bundle = rest;
    }
    Some(leaves)
}

#[cfg(test)]
mod tests;
