//! What one segment holds, as its index file says: so that a start need not read the segment.
//!
//! ```text
//! file    = head body                            beside 00000001.seg as 00000001.idx
//! head    = "ACTPIDX1" version:u16 0:u16 segment:u32 store:16 made:u64 before after blobs written:u64
//!           bytes of head:u32 bytes of body:u64 logs before:u32 declared:u32 parts:u32 blobs:u32
//!           (bytes:u16 name)… (log:u32 first:u64 leaves:u32 head:32)… word:u64… crc:u32
//! before, after = groups:u64 chain:32
//! body    = ((offset:u32 leaf hash:32)… per part) (name:32 offset:u32)… crc:u32
//! ```
//!
//! Integers are little endian, `crc` is CRC32C of all before it in head or body. `word`s are a Bloom filter of the blobs' names.
//! The same segment always gives the same bytes, so whoever reads the segment can tell whether its index file is right: the
//! file follows from evidence and is none. Its checksums find accidents only.

use std::collections::BTreeMap;

use super::index::Place;

const MAGIC: [u8; 8] = *b"ACTPIDX1";
const VERSION: u16 = 1;

/// Bytes of a head before its first list: 8 + 2 + 2 + 4 + 16 + 8 + 2 × 40 + 8 + 4 + 8 + 4 × 4.
pub(super) const FIXED_BYTES: usize = 156;

/// Most bytes of a head: of a segment of 64 MiB that holds nothing but names, or leaves of one byte.
pub(super) const HEAD_BYTES_MAX: usize = 192 * 1024 * 1024;

/// Bits of the filter per blob, and how many of them each blob sets: one name of 150 that is not there seems to be.
const FILTER_BITS: usize = 12;
const FILTER_HASHES: usize = 4;

/// Where the chain of groups stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Groups so far.
    pub(super) groups: u64,
    /// Chain value after the last of them.
    pub(super) chain: [u8; 32],
}

/// One log's leaves in one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Index of the first.
    pub(super) first: u64,
    /// Where each begins in the file, and its hash.
    pub(super) leaves: Vec<(u32, [u8; 32])>,
}

/// What one segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) segment: u32,
    pub(super) store: [u8; 16],
    /// Length of the file.
    pub(super) made: u64,
    pub(super) before: Mark,
    pub(super) after: Mark,
    /// Blobs in it, those whose name was written again included.
    pub(super) blobs_written: u64,
    /// Logs declared before it.
    pub(super) logs_before: u32,
    /// Logs declared in it, in the order of their numbers.
    pub(super) declared: Vec<String>,
    /// Leaves by the number of their log.
    pub(super) parts: BTreeMap<u32, Part>,
    /// Where the blob written last under each name begins.
    pub(super) blobs: BTreeMap<[u8; 32], u32>,
}

/// The first part of an index file: all that a start needs of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) segment: u32,
    pub(super) store: [u8; 16],
    pub(super) made: u64,
    pub(super) before: Mark,
    pub(super) after: Mark,
    pub(super) blobs_written: u64,
    pub(super) logs_before: u32,
    pub(super) declared: Vec<String>,
    pub(super) parts: Vec<Extent>,
    pub(super) filter: Filter,
    head_bytes: usize,
    body_bytes: usize,
    blobs: usize,
}

/// Which leaves of a log a segment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) log: u32,
    pub(super) first: u64,
    pub(super) leaves: u32,
    /// Hash of the last.
    pub(super) head: [u8; 32],
}

/// Tells most names that a segment does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter(Vec<u64>);

impl Contents {
    /// Of a segment that begins.
    pub(super) fn begin(segment: u32, made: u64, before: Mark, logs_before: u32) -> Self {
        Self {
            segment,
            store: [0; 16],
            made,
            before,
            after: before,
            blobs_written: 0,
            logs_before,
            declared: Vec::new(),
            parts: BTreeMap::new(),
            blobs: BTreeMap::new(),
        }
    }

    /// Where these leaves of a log lie and what they hash to, as far as they are here, from `start` on.
    pub(super) fn leaves(&self, log: u32, start: u64, end: u64) -> &[(u32, [u8; 32])] {
        let Some(part) = self.parts.get(&log) else {
            return &[];
        };
        let from = start
            .checked_sub(part.first)
            .and_then(|at| usize::try_from(at).ok());
        let Some(from) = from else { return &[] };
        let wanted = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let to = from.saturating_add(wanted).min(part.leaves.len());
        part.leaves.get(from..to).unwrap_or_default()
    }

    /// Where the blob of that name begins.
    pub(super) fn blob(&self, name: &[u8; 32]) -> Option<Place> {
        let offset = *self.blobs.get(name)?;
        let segment = self.segment;
        Some(Place { segment, offset })
    }

    /// The index file's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let body = self.encode_body();
        let names = self
            .declared
            .iter()
            .map(|name| name.len().saturating_add(2));
        let filter = Filter::of(self.blobs.keys(), self.blobs.len());
        let head_bytes = FIXED_BYTES
            .saturating_add(names.sum())
            .saturating_add(self.parts.len().saturating_mul(EXTENT_BYTES))
            .saturating_add(filter.0.len().saturating_mul(8))
            .saturating_add(4);
        let mut bytes = Vec::with_capacity(head_bytes.saturating_add(body.len()));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.store);
        bytes.extend_from_slice(&self.made.to_le_bytes());
        for mark in [self.before, self.after] {
            bytes.extend_from_slice(&mark.groups.to_le_bytes());
            bytes.extend_from_slice(&mark.chain);
        }
        bytes.extend_from_slice(&self.blobs_written.to_le_bytes());
        bytes.extend_from_slice(&count(head_bytes));
        bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.logs_before.to_le_bytes());
        for counted in [self.declared.len(), self.parts.len(), self.blobs.len()] {
            bytes.extend_from_slice(&count(counted));
        }
        for name in &self.declared {
            // At most LOG_NAME_BYTES_MAX.
            let length = u16::try_from(name.len()).unwrap_or(u16::MAX);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        for (log, part) in &self.parts {
            let head = part.leaves.last().map_or([0; 32], |(_, hash)| *hash);
            bytes.extend_from_slice(&log.to_le_bytes());
            bytes.extend_from_slice(&part.first.to_le_bytes());
            bytes.extend_from_slice(&count(part.leaves.len()));
            bytes.extend_from_slice(&head);
        }
        for word in &filter.0 {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    fn encode_body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (offset, hash) in self.parts.values().flat_map(|part| &part.leaves) {
            body.extend_from_slice(&offset.to_le_bytes());
            body.extend_from_slice(hash);
        }
        for (name, offset) in &self.blobs {
            body.extend_from_slice(name);
            body.extend_from_slice(&offset.to_le_bytes());
        }
        body.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        body
    }

    /// What a whole index file says; none where it is not whole.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let summary = Summary::decode(bytes)?;
        let body = bytes.get(summary.head_bytes..)?;
        if body.len() != summary.body_bytes {
            return None;
        }
        let mut from = checked(body)?;
        let mut parts = BTreeMap::new();
        for extent in &summary.parts {
            let mut leaves = Vec::with_capacity(extent.leaves as usize);
            for _ in 0..extent.leaves {
                leaves.push((u32::from_le_bytes(take(&mut from)?), take(&mut from)?));
            }
            let first = extent.first;
            parts.insert(extent.log, Part { first, leaves });
        }
        let mut blobs = BTreeMap::new();
        for _ in 0..summary.blobs {
            blobs.insert(take(&mut from)?, u32::from_le_bytes(take(&mut from)?));
        }
        let contents = Self {
            segment: summary.segment,
            store: summary.store,
            made: summary.made,
            before: summary.before,
            after: summary.after,
            blobs_written: summary.blobs_written,
            logs_before: summary.logs_before,
            declared: summary.declared,
            parts,
            blobs,
        };
        from.is_empty().then_some(contents)
    }

    /// What a start would read of its index file.
    pub(super) fn summary(&self) -> Option<Summary> {
        Summary::decode(&self.encode())
    }
}

impl Summary {
    /// Less the names of logs, of which there may be many, and which are kept once.
    pub(super) fn without_names(self) -> Self {
        Self {
            declared: Vec::new(),
            ..self
        }
    }

    /// Whether it has a leaf of a log at or behind where `from` says of the log with that number.
    pub(super) fn has_leaves(&self, from: impl Fn(u32) -> u64) -> bool {
        self.parts.iter().any(|part| {
            let end = part.first.saturating_add(u64::from(part.leaves));
            end > from(part.log)
        })
    }

    /// How long the whole file is.
    pub(super) fn file_bytes(&self) -> u64 {
        self.head_bytes.saturating_add(self.body_bytes) as u64
    }

    /// How long the head is whose first [`FIXED_BYTES`] these are; none where they are not.
    pub(super) fn head_bytes(fixed: &[u8]) -> Option<usize> {
        let bytes: [u8; 4] = *fixed.get(128..)?.first_chunk()?;
        let bytes = usize::try_from(u32::from_le_bytes(bytes)).ok()?;
        let is_one = fixed.starts_with(&MAGIC);
        (is_one && (FIXED_BYTES..=HEAD_BYTES_MAX).contains(&bytes)).then_some(bytes)
    }

    /// The head at the start of these bytes; none where it is not whole.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let head_bytes = Self::head_bytes(bytes)?;
        let mut rest = checked(bytes.get(..head_bytes)?)?;
        let from = &mut rest;
        let magic: [u8; 8] = take(from)?;
        let version = u16::from_le_bytes(take(from)?);
        let zero: [u8; 2] = take(from)?;
        if (magic, version, zero) != (MAGIC, VERSION, [0; 2]) {
            return None;
        }
        let segment = u32::from_le_bytes(take(from)?);
        let store = take(from)?;
        let made = u64::from_le_bytes(take(from)?);
        let [before, after] = [mark(from)?, mark(from)?];
        let blobs_written = u64::from_le_bytes(take(from)?);
        let _head_bytes: [u8; 4] = take(from)?;
        let body_bytes = usize::try_from(u64::from_le_bytes(take(from)?)).ok()?;
        let logs_before = u32::from_le_bytes(take(from)?);
        let [declared, parts, blobs] = [counted(from)?, counted(from)?, counted(from)?];
        let declared = (0..declared).map(|_| name(from)).collect::<Option<_>>()?;
        let parts = (0..parts).map(|_| extent(from)).collect::<Option<_>>()?;
        let words = (0..Filter::words(blobs)).map(|_| take(from).map(u64::from_le_bytes));
        let filter = Filter(words.collect::<Option<_>>()?);
        let summary = Self {
            segment,
            store,
            made,
            before,
            after,
            blobs_written,
            logs_before,
            declared,
            parts,
            filter,
            head_bytes,
            body_bytes,
            blobs,
        };
        from.is_empty().then_some(summary)
    }
}

impl Filter {
    fn words(blobs: usize) -> usize {
        blobs.saturating_mul(FILTER_BITS).div_ceil(64)
    }

    fn of<'a>(names: impl Iterator<Item = &'a [u8; 32]>, blobs: usize) -> Self {
        let mut filter = Self(vec![0; Self::words(blobs)]);
        for name in names {
            for (word, bit) in filter.bits(name) {
                if let Some(word) = filter.0.get_mut(word) {
                    *word |= 1 << bit;
                }
            }
        }
        filter
    }

    /// Whether that name may be there.
    pub(super) fn may_have(&self, name: &[u8; 32]) -> bool {
        let mut bits = self.bits(name).into_iter();
        !self.0.is_empty()
            && bits.all(|(word, bit)| self.0.get(word).is_some_and(|it| it & (1 << bit) != 0))
    }

    /// The bits of a name. Names are digests or random, so their own bytes are as good as a hash of them.
    fn bits(&self, name: &[u8; 32]) -> [(usize, u32); FILTER_HASHES] {
        let bits = (self.0.len() as u64).saturating_mul(64);
        let (words, _) = name.as_chunks::<8>();
        let mut all = [(0, 0); FILTER_HASHES];
        for (slot, word) in all.iter_mut().zip(words) {
            let bit = u64::from_le_bytes(*word).checked_rem(bits).unwrap_or(0);
            *slot = (usize::try_from(bit / 64).unwrap_or(0), (bit % 64) as u32);
        }
        all
    }
}

/// 4 + 8 + 4 + 32.
const EXTENT_BYTES: usize = 48;

fn extent(from: &mut &[u8]) -> Option<Extent> {
    Some(Extent {
        log: u32::from_le_bytes(take(from)?),
        first: u64::from_le_bytes(take(from)?),
        leaves: u32::from_le_bytes(take(from)?),
        head: take(from)?,
    })
}

fn mark(from: &mut &[u8]) -> Option<Mark> {
    Some(Mark {
        groups: u64::from_le_bytes(take(from)?),
        chain: take(from)?,
    })
}

fn name(from: &mut &[u8]) -> Option<String> {
    let length = usize::from(u16::from_le_bytes(take(from)?));
    let (name, rest) = from.split_at_checked(length)?;
    *from = rest;
    String::from_utf8(name.to_vec()).ok()
}

fn counted(from: &mut &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(take(from)?)).ok()
}

/// A segment is at most 64 MiB, so nothing in it counts beyond 32 bits.
fn count(of: usize) -> [u8; 4] {
    u32::try_from(of).unwrap_or(u32::MAX).to_le_bytes()
}

/// What stands before the checksum, if that is right.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (before, crc) = bytes.split_last_chunk()?;
    (crc32c::crc32c(before) == u32::from_le_bytes(*crc)).then_some(before)
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests;
