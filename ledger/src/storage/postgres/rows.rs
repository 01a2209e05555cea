//! What one row holds: the leaves of a group, and what is stored beside them, each with a sum over it and its place.
//!
//! A leaf: its length and its sum, 4 bytes each, then its bytes. A blob: a letter for its kind, 8 bytes for the leaf of a side frame,
//! its name, and then as a leaf. Numbers are big-endian, sums CRC-32C. So what is damaged is known by its place, and nothing is taken
//! for what stood elsewhere.

use std::ops::ControlFlow;

use super::super::{Blob, BlobKind, Entry, HashedLeaf, StorageError};

/// The leaves of a group whose first one has that index.
pub(super) fn leaves(log: &str, first: u64, leaves: &[HashedLeaf]) -> Vec<u8> {
    let bytes: usize = leaves.iter().map(|leaf| leaf.len().saturating_add(8)).sum();
    let mut row = Vec::with_capacity(bytes);
    for (seq, leaf) in (first..).zip(leaves) {
        push(&mut row, leaf, leaf_sum(log, seq, leaf));
    }
    row
}

/// What is stored beside them.
pub(super) fn blobs(log: &str, blobs: &[Blob]) -> Vec<u8> {
    let bytes: usize = blobs
        .iter()
        .map(|blob| blob.bytes.len().saturating_add(49))
        .sum();
    let mut row = Vec::with_capacity(bytes);
    for blob in blobs {
        let (letter, seq) = letter(blob.kind);
        row.push(letter);
        row.extend(seq.to_be_bytes());
        row.extend(blob.name);
        let sum = blob_sum(log, letter, seq, &blob.name, &blob.bytes);
        push(&mut row, &blob.bytes, sum);
    }
    row
}

/// One row as it was read.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) log: &'a str,
    pub(super) first: u64,
    pub(super) leaves_count: u64,
    pub(super) blobs_count: u64,
    pub(super) leaves: &'a [u8],
    pub(super) blobs: &'a [u8],
}

impl<'a> Row<'a> {
    /// Shows its blobs, then its leaves, until `visit` breaks.
    pub(super) fn show(
        &self,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StorageError> {
        for blob in self.blobs() {
            if visit(blob?).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let mut left = self.leaves;
        for seq in (self.first..).take(count(self.leaves_count)) {
            let damaged = |what: &str| self.damaged(seq, what);
            let (bytes, sum) = pull(&mut left).ok_or_else(|| damaged("its row is cut short"))?;
            if sum != leaf_sum(self.log, seq, bytes) {
                return Err(damaged("its bytes are not those that were written"));
            }
            let log = self.log;
            if visit(Entry::Leaf { log, seq, bytes }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        match left.is_empty() {
            true => Ok(ControlFlow::Continue(())),
            false => Err(self.damaged(self.first, "its row is too long")),
        }
    }

    /// The bytes of the last blob of that name.
    pub(super) fn blob(&self, wanted: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError> {
        let mut found = None;
        for blob in self.blobs() {
            if let Entry::Blob { name, bytes, .. } = blob?
                && name == wanted
            {
                found = Some(bytes.to_vec());
            }
        }
        Ok(found)
    }

    fn blobs(&self) -> impl Iterator<Item = Result<Entry<'a>, StorageError>> {
        let (row, mut left) = (*self, self.blobs);
        (0..count(self.blobs_count)).map(move |_| {
            let cut = || row.damaged(row.first, "what is stored beside it is cut short");
            let (letter, rest) = left.split_first().ok_or_else(cut)?;
            let (seq, rest) = rest.split_first_chunk().ok_or_else(cut)?;
            let (name, rest) = rest.split_first_chunk().ok_or_else(cut)?;
            left = rest;
            let (bytes, sum) = pull(&mut left).ok_or_else(cut)?;
            let seq = u64::from_be_bytes(*seq);
            match kind(*letter, seq) {
                Some(kind) if sum == blob_sum(row.log, *letter, seq, name, bytes) => {
                    let log = row.log;
                    Ok(Entry::Blob {
                        log,
                        kind,
                        name,
                        bytes,
                    })
                }
                _ => Err(row.damaged(
                    row.first,
                    "what is stored beside it is not what was written",
                )),
            }
        })
    }

    pub(super) fn damaged(&self, seq: u64, what: &str) -> StorageError {
        damaged(self.log, seq, what)
    }
}

pub(super) fn damaged(log: &str, seq: u64, what: &str) -> StorageError {
    StorageError::DamagedRow {
        log: log.to_owned(),
        seq,
        what: what.to_owned(),
    }
}

fn count(of: u64) -> usize {
    usize::try_from(of).unwrap_or(usize::MAX)
}

fn push(row: &mut Vec<u8>, bytes: &[u8], sum: u32) {
    // Bounds were checked: a blob has at most a little over 1 MiB.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    row.extend(length.to_be_bytes());
    row.extend(sum.to_be_bytes());
    row.extend(bytes);
}

fn pull<'a>(left: &mut &'a [u8]) -> Option<(&'a [u8], u32)> {
    let (length, rest) = left.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (bytes, rest) = rest.split_at_checked(length)?;
    *left = rest;
    Some((bytes, u32::from_be_bytes(*sum)))
}

fn leaf_sum(log: &str, seq: u64, bytes: &[u8]) -> u32 {
    let sum = crc32c::crc32c(log.as_bytes());
    let sum = crc32c::crc32c_append(sum, &seq.to_be_bytes());
    crc32c::crc32c_append(sum, bytes)
}

fn blob_sum(log: &str, letter: u8, seq: u64, name: &[u8; 32], bytes: &[u8]) -> u32 {
    let sum = crc32c::crc32c(log.as_bytes());
    let sum = crc32c::crc32c_append(sum, &[letter]);
    let sum = crc32c::crc32c_append(sum, &seq.to_be_bytes());
    let sum = crc32c::crc32c_append(sum, name);
    crc32c::crc32c_append(sum, bytes)
}

fn letter(kind: BlobKind) -> (u8, u64) {
    match kind {
        BlobKind::SideFrame { seq } => (b'f', seq),
        BlobKind::Sealed => (b's', 0),
        BlobKind::Bundle => (b'b', 0),
        BlobKind::State => (b't', 0),
    }
}

fn kind(letter: u8, seq: u64) -> Option<BlobKind> {
    match letter {
        b'f' => Some(BlobKind::SideFrame { seq }),
        b's' => Some(BlobKind::Sealed),
        b'b' => Some(BlobKind::Bundle),
        b't' => Some(BlobKind::State),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_what_was_written_and_any_changed_byte_is_damage() {
        let log = "actpass/a";
        let (first, second) = (b"one".to_vec(), vec![7; 40]);
        let beside = [
            Blob {
                kind: BlobKind::SideFrame { seq: 9 },
                name: [1; 32],
                bytes: b"side".to_vec(),
            },
            Blob {
                kind: BlobKind::State,
                name: [2; 32],
                bytes: Vec::new(),
            },
        ];
        let written = (
            super::leaves(log, 8, &[first.clone().into(), second.clone().into()]),
            super::blobs(log, &beside),
        );
        let read = |leaves: &[u8], blobs: &[u8]| {
            let mut shown = Vec::new();
            let row = Row {
                log,
                first: 8,
                leaves_count: 2,
                blobs_count: 2,
                leaves,
                blobs,
            };
            let shows = row.show(&mut |entry| {
                shown.push(format!("{entry:?}"));
                ControlFlow::Continue(())
            });
            (shows.map(drop).map_err(|error| error.to_string()), shown)
        };
        let (sound, shown) = read(&written.0, &written.1);
        sound.unwrap();
        assert_eq!(shown.len(), 4);
        for at in 0..written.0.len() + written.1.len() {
            let (mut leaves, mut blobs) = written.clone();
            match leaves.get_mut(at) {
                Some(byte) => *byte ^= 1,
                None => blobs[at - leaves.len()] ^= 1,
            }
            let (found, _) = read(&leaves, &blobs);
            assert!(found.unwrap_err().contains("actpass/a"), "byte {at}");
        }
        // Nor is a leaf taken for one of another place.
        let elsewhere = super::leaves(log, 9, &[first.into(), second.into()]);
        assert!(
            read(&elsewhere, &written.1)
                .0
                .unwrap_err()
                .contains("leaf 8")
        );
    }
}
