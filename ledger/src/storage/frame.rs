//! The bytes of a segment file: groups of frames.
//!
//! ```text
//! segment = group… zeros                         each group begins at a multiple of 64 bytes
//! group   = header (64) frame… padding trailer (64)
//! header  = "ACTPGRP1" version:u16 0:u16 segment:u32 store:16 number:u64 bytes:u32 frames:u32 0:u32 crc:u32 "GRP-HEAD"
//! frame   = kind:u8 sub:u8 "AF" bytes:u32 log:u32 crc:u32 seq:u64 payload
//! trailer = crc of all before:u32 0:u32 number:u64 chain:32 crc:u32 0:u32 "GRPCLOSE"
//! ```
//!
//! Integers are little endian; `crc` is CRC32C of the bytes before it (of a frame: of the rest of the frame). `chain`
//! is `SHA-256(chain of the group before || header || crc of all before)`, across segments, so that no group can be dropped, swapped
//! or repeated; that a leaf is the one that was logged, its hash in the tree says. `store` is random per directory, so that bytes inside a leaf never pass for a header.
//!
//! 64 divides a sector: header and trailer each lie in one sector, and a sector either reached the disk or still
//! holds its zeros. A group cut short by a crash therefore shows a sector of zeros, or ends in zeros; both end
//! marks, which are not zero, make that visible (see [`super::scan`]).

use sha2::{Digest, Sha256};

use super::BlobKind;

/// The unit a disk writes whole or not at all, in bytes.
pub(super) const SECTOR: usize = 512;

/// Where groups may begin, and the size of a header and of a trailer: divides [`SECTOR`].
pub(super) const ALIGN: usize = 64;

/// Bytes of a frame before its payload: 1 + 1 + 2 + 4 + 4 + 4 + 8.
pub(super) const FRAME_HEADER_BYTES: usize = 24;

/// Bytes of a group without frames.
pub(super) const GROUP_BYTES_MIN: usize = 2 * ALIGN;

/// The payload of a [`Frame::Segment`]: the chain so far, and the size of the file.
pub(super) const SEGMENT_PAYLOAD_BYTES: usize = 32 + 8;

const MAGIC: [u8; 8] = *b"ACTPGRP1";
const HEADER_MARK: [u8; 8] = *b"GRP-HEAD";
const TRAILER_MARK: [u8; 8] = *b"GRPCLOSE";
const FRAME_MARK: [u8; 2] = *b"AF";

/// The only version of this form that is read.
pub(super) const VERSION: u16 = 2;

const KIND_SEGMENT: u8 = 1;
const KIND_LOG: u8 = 2;
const KIND_LEAF: u8 = 3;
const KIND_BLOB: u8 = 4;

/// Names one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupId {
    /// Random, the same in all segments of a directory.
    pub(super) store: [u8; 16],
    /// Number of the segment file, from 1.
    pub(super) segment: u32,
    /// Number of the group in the directory, from 0.
    pub(super) number: u64,
}

/// A group's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) id: GroupId,
    /// Bytes from the header's first to the trailer's last.
    pub(super) bytes: usize,
    /// Number of frames.
    pub(super) frames: u32,
}

/// A group's trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// CRC32C of the group before the trailer.
    pub(super) body_crc: u32,
    pub(super) number: u64,
    pub(super) chain: [u8; 32],
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// The first frame of each segment file.
    Segment {
        /// Chain value of the last group before this file.
        chain: [u8; 32],
        /// Size of this file in bytes.
        size: u64,
    },
    /// Gives a log the number that later frames call it by; numbers count from 0.
    Log { log: u32, name: &'a str },
    /// A leaf.
    Leaf { log: u32, seq: u64, bytes: &'a [u8] },
    /// A blob.
    Blob {
        log: u32,
        kind: BlobKind,
        name: &'a [u8; 32],
        bytes: &'a [u8],
    },
}

impl Frame<'_> {
    /// Bytes of the encoded frame.
    pub(super) fn encoded_bytes(&self) -> usize {
        let payload = match self {
            Frame::Segment { .. } => SEGMENT_PAYLOAD_BYTES,
            Frame::Log { name, .. } => name.len(),
            Frame::Leaf { bytes, .. } => bytes.len(),
            Frame::Blob { bytes, .. } => bytes.len().saturating_add(32),
        };
        payload.saturating_add(FRAME_HEADER_BYTES)
    }
}

/// Bytes of a group whose frames take `frames` bytes.
pub(super) fn group_bytes(frames: usize) -> usize {
    frames
        .checked_next_multiple_of(ALIGN)
        .and_then(|padded| padded.checked_add(GROUP_BYTES_MIN))
        .unwrap_or(usize::MAX)
}

/// Puts one group together.
pub(super) struct GroupBuilder {
    /// Room for the header, then frames.
    bytes: Vec<u8>,
    frames: u32,
}

impl GroupBuilder {
    /// A group whose frames will take `frames_bytes`.
    pub(super) fn with_capacity(frames_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(group_bytes(frames_bytes));
        bytes.resize(ALIGN, 0);
        GroupBuilder { bytes, frames: 0 }
    }

    /// Adds a frame; the answer is where it begins in the group.
    pub(super) fn push(&mut self, frame: &Frame<'_>) -> usize {
        let at = self.bytes.len();
        let (kind, sub, log, seq) = match *frame {
            Frame::Segment { .. } => (KIND_SEGMENT, 0, 0, 0),
            Frame::Log { log, .. } => (KIND_LOG, 0, log, 0),
            Frame::Leaf { log, seq, .. } => (KIND_LEAF, 0, log, seq),
            Frame::Blob { log, kind, .. } => {
                let (sub, seq) = blob_code(kind);
                (KIND_BLOB, sub, log, seq)
            }
        };
        let (chain, size, name);
        let payload: [&[u8]; 2] = match frame {
            Frame::Segment { chain: c, size: s } => {
                (chain, size) = (*c, s.to_le_bytes());
                [&chain, &size]
            }
            Frame::Log { name, .. } => [name.as_bytes(), &[]],
            Frame::Leaf { bytes, .. } => [bytes, &[]],
            Frame::Blob {
                name: n, bytes: b, ..
            } => {
                name = *n;
                [name, b]
            }
        };
        let [first, second] = payload;
        // Bounded by GROUP_BYTES_MAX, which is under 4 GiB.
        let length = u32::try_from(first.len().saturating_add(second.len())).unwrap_or(u32::MAX);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[kind, sub]);
        self.bytes.extend_from_slice(&FRAME_MARK);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&log.to_le_bytes());
        let start = self.bytes.get(start..).unwrap_or_default();
        let crc = frame_crc(start, seq, &[first, second]);
        self.bytes.extend_from_slice(&crc.to_le_bytes());
        self.bytes.extend_from_slice(&seq.to_le_bytes());
        self.bytes.extend_from_slice(first);
        self.bytes.extend_from_slice(second);
        self.frames = self.frames.saturating_add(1);
        at
    }

    /// The group's bytes, and the chain value after it.
    pub(super) fn finish(mut self, id: &GroupId, chain: &[u8; 32]) -> (Vec<u8>, [u8; 32]) {
        let total = group_bytes(self.bytes.len().saturating_sub(ALIGN));
        self.bytes.resize(total.saturating_sub(ALIGN), 0);
        let header = encode_header(&GroupHeader {
            id: *id,
            bytes: total,
            frames: self.frames,
        });
        if let Some(room) = self.bytes.first_chunk_mut::<ALIGN>() {
            *room = header;
        }
        let body_crc = crc32c::crc32c(&self.bytes);
        let after = chain_after(chain, &self.bytes, body_crc);
        let mut trailer = Vec::with_capacity(ALIGN);
        trailer.extend_from_slice(&body_crc.to_le_bytes());
        trailer.extend_from_slice(&[0; 4]);
        trailer.extend_from_slice(&id.number.to_le_bytes());
        trailer.extend_from_slice(&after);
        let crc = crc32c::crc32c(&trailer);
        trailer.extend_from_slice(&crc.to_le_bytes());
        trailer.extend_from_slice(&[0; 4]);
        trailer.extend_from_slice(&TRAILER_MARK);
        self.bytes.extend_from_slice(&trailer);
        (self.bytes, after)
    }
}

/// The chain value after a group whose bytes before the trailer are `body`, of that checksum.
pub(super) fn chain_after(chain: &[u8; 32], body: &[u8], body_crc: u32) -> [u8; 32] {
    let header = body.get(..ALIGN).unwrap_or(body);
    Sha256::new()
        .chain_update(chain)
        .chain_update(header)
        .chain_update(body_crc.to_le_bytes())
        .finalize()
        .into()
}

/// The header in the first [`ALIGN`] bytes, if they are one.
pub(super) fn decode_header(mut bytes: &[u8]) -> Option<GroupHeader> {
    let from = &mut bytes;
    let raw: [u8; ALIGN] = *from.first_chunk()?;
    let magic: [u8; 8] = take(from)?;
    let version = u16::from_le_bytes(take(from)?);
    let _zero: [u8; 2] = take(from)?;
    let segment = u32::from_le_bytes(take(from)?);
    let store = take(from)?;
    let number = u64::from_le_bytes(take(from)?);
    let total = u32::from_le_bytes(take(from)?);
    let frames = u32::from_le_bytes(take(from)?);
    let header = GroupHeader {
        id: GroupId {
            store,
            segment,
            number,
        },
        bytes: usize::try_from(total).ok()?,
        frames,
    };
    // Encoding again compares the reserved bytes, the checksum and the mark in one go.
    (magic == MAGIC && version == VERSION && raw == encode_header(&header)).then_some(header)
}

/// The version of a header that is whole and of another one. Its place, its checksum and its marks are those of every version.
pub(super) fn other_version(bytes: &[u8]) -> Option<u16> {
    let from = &mut bytes.get(..ALIGN)?;
    let before_crc = from.get(..52)?;
    let magic: [u8; 8] = take(from)?;
    let version = u16::from_le_bytes(take(from)?);
    *from = bytes.get(52..ALIGN)?;
    let crc = u32::from_le_bytes(take(from)?);
    let mark: [u8; 8] = take(from)?;
    let whole = magic == MAGIC && mark == HEADER_MARK && crc == crc32c::crc32c(before_crc);
    (whole && version != VERSION).then_some(version)
}

/// The trailer in the first [`ALIGN`] bytes, if they are one.
pub(super) fn decode_trailer(mut bytes: &[u8]) -> Option<Trailer> {
    let from = &mut bytes;
    let before_crc = from.get(..48)?;
    let body_crc = u32::from_le_bytes(take(from)?);
    let zero: [u8; 4] = take(from)?;
    let number = u64::from_le_bytes(take(from)?);
    let chain = take(from)?;
    let crc = u32::from_le_bytes(take(from)?);
    let zero_too: [u8; 4] = take(from)?;
    let mark: [u8; 8] = take(from)?;
    let whole = zero == [0; 4]
        && zero_too == [0; 4]
        && mark == TRAILER_MARK
        && crc == crc32c::crc32c(before_crc);
    whole.then_some(Trailer {
        body_crc,
        number,
        chain,
    })
}

/// The first frame in `bytes`, and what follows it; none when the bytes are not a whole, undamaged frame.
pub(super) fn decode_frame(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let mut rest = bytes;
    let from = &mut rest;
    let start = from.get(..12)?;
    let [kind, sub] = take(from)?;
    let mark: [u8; 2] = take(from)?;
    let length = usize::try_from(u32::from_le_bytes(take(from)?)).ok()?;
    let log = u32::from_le_bytes(take(from)?);
    let crc = u32::from_le_bytes(take(from)?);
    let seq = u64::from_le_bytes(take(from)?);
    let (payload, after) = from.split_at_checked(length)?;
    if mark != FRAME_MARK || crc != frame_crc(start, seq, &[payload]) {
        return None;
    }
    let frame = match kind {
        KIND_SEGMENT => {
            let mut payload = payload;
            let chain = take(&mut payload)?;
            let size = u64::from_le_bytes(take(&mut payload)?);
            Frame::Segment { chain, size }
        }
        KIND_LOG => Frame::Log {
            log,
            name: std::str::from_utf8(payload).ok()?,
        },
        KIND_LEAF => Frame::Leaf {
            log,
            seq,
            bytes: payload,
        },
        KIND_BLOB => {
            let (name, bytes) = payload.split_first_chunk()?;
            let kind = blob_kind(sub, seq)?;
            Frame::Blob {
                log,
                kind,
                name,
                bytes,
            }
        }
        _ => return None,
    };
    Some((frame, after))
}

/// What the header of a frame that fails its checksum claims: log number and sequence number, if it is a leaf.
pub(super) fn claimed_leaf(bytes: &[u8]) -> Option<(u32, u64)> {
    let mut rest = bytes;
    let from = &mut rest;
    let [kind, _sub] = take(from)?;
    let _mark_and_length: [u8; 6] = take(from)?;
    let log = u32::from_le_bytes(take(from)?);
    let _crc: [u8; 4] = take(from)?;
    let seq = u64::from_le_bytes(take(from)?);
    (kind == KIND_LEAF).then_some((log, seq))
}

/// Whether the last byte of a header or trailer was never written. Marks end in no zero, and no flipped bit makes one.
pub(super) fn lacks_mark(header_or_trailer: &[u8]) -> bool {
    header_or_trailer.last().is_none_or(|byte| *byte == 0)
}

fn encode_header(header: &GroupHeader) -> [u8; ALIGN] {
    let mut bytes = Vec::with_capacity(ALIGN);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&header.id.segment.to_le_bytes());
    bytes.extend_from_slice(&header.id.store);
    bytes.extend_from_slice(&header.id.number.to_le_bytes());
    let total = u32::try_from(header.bytes).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&total.to_le_bytes());
    bytes.extend_from_slice(&header.frames.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&HEADER_MARK);
    // 8 + 2 + 2 + 4 + 16 + 8 + 4 + 4 + 4 + 4 + 8 = 64.
    bytes.try_into().unwrap_or([0; ALIGN])
}

fn frame_crc(start: &[u8], seq: u64, payload: &[&[u8]]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(start), &seq.to_le_bytes());
    payload
        .iter()
        .fold(head, |crc, part| crc32c::crc32c_append(crc, part))
}

fn blob_code(kind: BlobKind) -> (u8, u64) {
    match kind {
        BlobKind::SideFrame { seq } => (1, seq),
        BlobKind::Sealed => (2, 0),
        BlobKind::Bundle => (3, 0),
        BlobKind::State => (4, 0),
    }
}

fn blob_kind(code: u8, seq: u64) -> Option<BlobKind> {
    match code {
        1 => Some(BlobKind::SideFrame { seq }),
        2 => Some(BlobKind::Sealed),
        3 => Some(BlobKind::Bundle),
        4 => Some(BlobKind::State),
        _ => None,
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests;
