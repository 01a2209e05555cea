//! The ring file: a stream's key, its head and the records nobody has acknowledged yet.
//!
//! *Guarantees.* A record is in the file before [`Ring::append`] returns, so it survives the process (the page
//! cache keeps it), not the machine: what must survive that is made durable by the ledger before it has an effect.
//! *Assumptions.* One process at a time holds the file; it is not fsynced.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use actpass_core::hash::{RecordHash, sha256};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

/// Size of the part that holds frames: 4 MiB, about 3,000 records of 1.3 KiB. Full means deny.
pub const RING_BYTES: u64 = 4 << 20;

/// Room kept for outcomes: new decisions are refused before it is touched, so that what already ran can always be said.
/// 512 actions in flight × 512 bytes.
pub const OUTCOME_RESERVE_BYTES: u64 = 256 << 10;

const HEADER_BYTES: u64 = 4096;
const MAGIC: &[u8; 8] = b"APring01";
/// Where the boot id stands: behind the key and the position.
const BOOT_AT: u64 = 128;
const UNKNOWN_BOOT: [u8; 36] = [0; 36];
/// Length and check value in front of each frame.
const FRAME_HEADER_BYTES: u64 = 4 + 8;
/// What is written over records that were given back, a part at a time.
static ZEROS: [u8; 16 << 10] = [0; 16 << 10];
/// A frame length that says: go on at the start.
const WRAP: u32 = u32::MAX;

/// A ring file open for writing.
#[derive(Debug)]
pub struct Ring {
    file: File,
    path: PathBuf,
    tail: u64,
    head: u64,
    used: u64,
    frames: VecDeque<Frame>,
}

#[derive(Debug)]
struct Frame {
    seq: u64,
    end: u64,
    bytes: u64,
}

/// What an earlier process left behind.
#[derive(Debug)]
pub struct Recovered {
    /// The stream's key.
    pub key: SigningKey,
    /// Whether the machine has run on since the file was made. Only then is everything written to the file in it.
    pub same_boot: bool,
    /// Sequence number after the last acknowledged record.
    pub acked_seq: u64,
    /// Hash of the last acknowledged record.
    pub acked_head: RecordHash,
    /// Unacknowledged record lines, in order.
    pub lines: Vec<Vec<u8>>,
}

/// The ring file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// No room; the ledger has to catch up first.
    #[error("the ring file is full: {used} of {RING_BYTES} bytes wait for the ledger")]
    Full {
        /// Bytes in use.
        used: u64,
    },
    /// The operating system refused.
    #[error("ring file `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not a ring file, or damaged.
    #[error("ring file `{path}` is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
}

impl Ring {
    /// Makes a ring file for a new stream, readable by its owner only.
    ///
    /// # Errors
    /// Where the file exists already or cannot be written.
    pub fn create(path: &Path, key: &SigningKey) -> Result<Self, RingError> {
        let fail = |source| io_error(path, source);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(fail)?;
        file.set_len(HEADER_BYTES + RING_BYTES).map_err(fail)?;
        let ring = Self {
            file,
            path: path.to_owned(),
            tail: 0,
            head: 0,
            used: 0,
            frames: Default::default(),
        };
        let mut identity = Zeroizing::new([0u8; 40]);
        let (magic, seed) = identity.split_at_mut(8);
        magic.copy_from_slice(MAGIC);
        seed.copy_from_slice(&*Zeroizing::new(key.to_bytes()));
        ring.write_at(identity.as_slice(), 0)?;
        ring.write_at(&boot_id(), BOOT_AT)?;
        ring.write_position(0, RecordHash::from_bytes([0; 32]))?;
        Ok(ring)
    }

    /// Reads what an earlier process left, without changing it.
    ///
    /// # Errors
    /// Where the file is not a ring file.
    pub fn recover(path: &Path) -> Result<Recovered, RingError> {
        let file = File::open(path).map_err(|source| io_error(path, source))?;
        Ok(scan(&file, path)?.0)
    }

    /// Goes on with the file of an earlier process, which must be gone.
    ///
    /// # Errors
    /// Where the file is not a ring file or cannot be written.
    pub fn resume(path: &Path) -> Result<(Self, Recovered), RingError> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|source| io_error(path, source))?;
        let (recovered, tail, frames) = scan(&file, path)?;
        let ring = Self {
            file,
            path: path.to_owned(),
            tail,
            head: frames.back().map_or(tail, |frame| frame.end),
            used: frames.iter().map(|frame| frame.bytes).sum(),
            frames,
        };
        // What was acknowledged and not wiped any more when the earlier process ended.
        if ring.used < RING_BYTES {
            ring.wipe(ring.head, ring.tail)?;
        }
        Ok((ring, recovered))
    }

    /// Keeps one record line.
    ///
    /// # Errors
    /// [`RingError::Full`] where there is no room (an outcome may use [`OUTCOME_RESERVE_BYTES`]), or the write fails.
    pub fn append(&mut self, seq: u64, line: &[u8], outcome: bool) -> Result<(), RingError> {
        let bytes = FRAME_HEADER_BYTES + 8 + line.len() as u64;
        let at_end = RING_BYTES - self.head;
        // A frame never wraps; the rest of the file before a wrap counts as used until it is read past.
        let skipped = if at_end < bytes + 4 { at_end } else { 0 };
        let room = RING_BYTES - if outcome { 0 } else { OUTCOME_RESERVE_BYTES };
        if self.used + skipped + bytes + 4 > room {
            return Err(RingError::Full { used: self.used });
        }
        let start = if skipped > 0 { 0 } else { self.head };
        if skipped > 0 && at_end >= 4 {
            self.write_frame_bytes(&WRAP.to_le_bytes(), self.head)?;
        }
        let mut frame = Vec::with_capacity(bytes as usize);
        frame.extend_from_slice(&(line.len() as u32).to_le_bytes());
        frame.extend_from_slice(&[0; 8]);
        frame.extend_from_slice(&seq.to_le_bytes());
        frame.extend_from_slice(line);
        let check = check_value(frame.get(12..).unwrap_or_default());
        if let Some(slot) = frame.get_mut(4..12) {
            slot.copy_from_slice(&check);
        }
        // Only a whole frame moves the head: one that the disk had no room for is written over by the next.
        self.write_frame_bytes(&frame, start)?;
        self.head = start + bytes;
        self.used += skipped + bytes;
        self.frames.push_back(Frame {
            seq,
            end: self.head,
            bytes: skipped + bytes,
        });
        Ok(())
    }

    /// Gives back the room of all records before `next_seq`, and writes zeros over them: their texts are the ledger's now, which
    /// can erase them.
    ///
    /// # Errors
    /// Where the position cannot be written.
    pub fn acknowledge(&mut self, next_seq: u64, head: RecordHash) -> Result<(), RingError> {
        let from = self.tail;
        let mut given_back = false;
        while let Some(frame) = self.frames.front().filter(|frame| frame.seq < next_seq) {
            self.tail = frame.end;
            self.used -= frame.bytes;
            self.frames.pop_front();
            given_back = true;
        }
        self.write_position(next_seq, head)?;
        match given_back {
            true => self.wipe(from, self.tail),
            false => Ok(()),
        }
    }

    /// Writes zeros from `from` on to before `to`, over the end of the file where `to` is not behind `from`.
    fn wipe(&self, from: u64, to: u64) -> Result<(), RingError> {
        let (first, second) = match from < to {
            true => (from..to, 0..0),
            false => (from..RING_BYTES, 0..to),
        };
        for range in [first, second] {
            let mut at = range.start;
            while at < range.end {
                let zeros = ZEROS.get(..usize::try_from(range.end - at).unwrap_or(usize::MAX));
                let zeros = zeros.unwrap_or(&ZEROS);
                self.write_frame_bytes(zeros, at)?;
                at += zeros.len() as u64;
            }
        }
        Ok(())
    }

    /// Bytes waiting for the ledger.
    pub fn bytes_used(&self) -> u64 {
        self.used
    }

    fn write_position(&self, next_seq: u64, head: RecordHash) -> Result<(), RingError> {
        let mut body = Vec::with_capacity(56);
        body.extend_from_slice(&next_seq.to_le_bytes());
        body.extend_from_slice(&self.tail.to_le_bytes());
        body.extend_from_slice(head.as_bytes());
        let check = check_value(&body);
        body.extend_from_slice(&check);
        self.write_at(&body, 64)
    }

    fn write_frame_bytes(&self, bytes: &[u8], offset: u64) -> Result<(), RingError> {
        self.write_at(bytes, HEADER_BYTES + offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), RingError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|source| RingError::Io {
                path: self.path.clone(),
                source,
            })
    }
}

/// What stands in a ring file, where its first frame begins, and its frames.
fn scan(file: &File, path: &Path) -> Result<(Recovered, u64, VecDeque<Frame>), RingError> {
    let fail = |source| io_error(path, source);
    let damaged = |what| RingError::Damaged {
        path: path.to_owned(),
        what,
    };
    let mut identity = Zeroizing::new([0u8; 40]);
    file.read_exact_at(identity.as_mut_slice(), 0)
        .map_err(fail)?;
    let seed = identity
        .strip_prefix(MAGIC)
        .and_then(|seed| <[u8; 32]>::try_from(seed).ok());
    let seed = Zeroizing::new(seed.ok_or_else(|| damaged("it does not begin as one"))?);
    let mut boot = [0; 36];
    file.read_exact_at(&mut boot, BOOT_AT).map_err(fail)?;

    let mut position = [0u8; 56];
    file.read_exact_at(&mut position, 64).map_err(fail)?;
    let (body, check) = position.split_at(48);
    if check != check_value(body) {
        return Err(damaged("its position is unreadable"));
    }
    let (acked_seq, tail) = (read_u64(body, 0), read_u64(body, 8));
    if tail > RING_BYTES {
        return Err(damaged("its position lies outside of it"));
    }
    let mut acked_head = [0u8; 32];
    acked_head.copy_from_slice(body.get(16..48).unwrap_or(&[0; 32]));

    let (mut lines, mut frames) = (Vec::new(), VecDeque::new());
    let (mut offset, mut scanned) = (tail, 0);
    for seq in acked_seq.. {
        let Some((end, line)) = read_frame(file, offset, seq).filter(|_| scanned < RING_BYTES)
        else {
            break;
        };
        let bytes = if end > offset {
            end - offset
        } else {
            RING_BYTES - offset + end
        };
        scanned += bytes;
        offset = end;
        frames.push_back(Frame { seq, end, bytes });
        lines.push(line);
    }
    let recovered = Recovered {
        key: SigningKey::from_bytes(&seed),
        same_boot: boot == boot_id() && boot != UNKNOWN_BOOT,
        acked_seq,
        acked_head: RecordHash::from_bytes(acked_head),
        lines,
    };
    Ok((recovered, tail, frames))
}

/// The kernel's name for the time since it started; all zeros where it does not say.
fn boot_id() -> [u8; 36] {
    let text = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.first_chunk().copied().unwrap_or(UNKNOWN_BOOT)
}

fn io_error(path: &Path, source: io::Error) -> RingError {
    RingError::Io {
        path: path.to_owned(),
        source,
    }
}

/// The frame at `offset`, following a wrap, if it is whole and has the expected sequence number: a frame of an earlier
/// round has a smaller one, so old bytes are never taken for new.
fn read_frame(file: &File, offset: u64, expected: u64) -> Option<(u64, Vec<u8>)> {
    let mut start = offset;
    let mut length = read_length(file, start);
    if start != 0 && length.is_none_or(|length| length == WRAP) {
        start = 0;
        length = read_length(file, 0);
    }
    let length = u64::from(length?);
    let end = start + FRAME_HEADER_BYTES + 8 + length;
    if end > RING_BYTES {
        return None;
    }
    let mut rest = vec![0; (length + 16) as usize];
    file.read_exact_at(&mut rest, HEADER_BYTES + start + 4)
        .ok()?;
    let (check, body) = rest.split_at_checked(8)?;
    // Seeded: a frame of any number is taken for the next one.
    let next = read_u64(body, 0) == expected || crate::SEEDED_BUGS;
    if check != check_value(body) || !next {
        return None;
    }
    Some((end, body.get(8..)?.to_vec()))
}

fn read_length(file: &File, offset: u64) -> Option<u32> {
    if offset + 4 > RING_BYTES {
        return None;
    }
    let mut length = [0; 4];
    file.read_exact_at(&mut length, HEADER_BYTES + offset)
        .ok()?;
    Some(u32::from_le_bytes(length))
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|slice| slice.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

/// Finds torn frames after a crash; it is no defence against a writer, the signatures are.
fn check_value(bytes: &[u8]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = sha256(&[bytes]);
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn line(seq: u64, bytes: usize) -> Vec<u8> {
        vec![u8::try_from(seq % 251).unwrap(); bytes]
    }

    #[test]
    fn unacknowledged_lines_survive_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let mut ring = Ring::create(&path, &key()).unwrap();
        for seq in 0..5 {
            ring.append(seq, &line(seq, 100), false).unwrap();
        }
        ring.acknowledge(2, RecordHash::from_bytes([9; 32]))
            .unwrap();
        drop(ring);
        let recovered = Ring::recover(&path).unwrap();
        assert_eq!(recovered.key.to_bytes(), key().to_bytes());
        assert_eq!(recovered.acked_seq, 2);
        assert_eq!(recovered.acked_head, RecordHash::from_bytes([9; 32]));
        assert_eq!(
            recovered.lines,
            vec![line(2, 100), line(3, 100), line(4, 100)]
        );
    }

    #[test]
    fn a_full_ring_refuses_decisions_but_still_takes_outcomes() {
        let dir = tempfile::tempdir().unwrap();
        let mut ring = Ring::create(&dir.path().join("ring"), &key()).unwrap();
        let mut seq = 0;
        while ring.append(seq, &line(seq, 10_000), false).is_ok() {
            seq += 1;
        }
        assert!(seq > 300);
        assert!(matches!(
            ring.append(seq, &line(seq, 10_000), false),
            Err(RingError::Full { .. })
        ));
        ring.append(seq, &line(seq, 1_000), true).unwrap();
    }

    #[test]
    fn many_rounds_never_bring_an_old_frame_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let mut ring = Ring::create(&path, &key()).unwrap();
        for seq in 0..5_000u64 {
            let size = 500 + usize::try_from(seq * 37 % 3_000).unwrap();
            ring.append(seq, &line(seq, size), false).unwrap();
            if seq % 100 == 99 {
                ring.acknowledge(seq - 10, RecordHash::from_bytes([1; 32]))
                    .unwrap();
            }
            if seq % 997 == 0 {
                let recovered = Ring::recover(&path).unwrap();
                let last = recovered.acked_seq + recovered.lines.len() as u64;
                assert_eq!(last, seq + 1, "everything unacknowledged is there");
                assert_eq!(recovered.lines.last().unwrap(), &line(seq, size));
            }
        }
    }

    #[test]
    fn a_file_is_gone_on_with_where_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let mut ring = Ring::create(&path, &key()).unwrap();
        let mut acked = 0;
        for seq in 0..4_000u64 {
            let size = 500 + usize::try_from(seq * 37 % 3_000).unwrap();
            ring.append(seq, &line(seq, size), false).unwrap();
            if seq % 100 == 99 {
                acked = seq - 10;
                ring.acknowledge(acked, RecordHash::from_bytes([1; 32]))
                    .unwrap();
            }
            if seq % 499 == 0 {
                let used = ring.bytes_used();
                let recovered;
                (ring, recovered) = Ring::resume(&path).unwrap();
                assert_eq!(ring.bytes_used(), used, "after record {seq}");
                assert_eq!(recovered.acked_seq, acked);
                assert!(recovered.same_boot);
            }
        }
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"another-boot", BOOT_AT).unwrap();
        assert!(!Ring::recover(&path).unwrap().same_boot);
    }

    #[test]
    fn a_torn_last_frame_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let mut ring = Ring::create(&path, &key()).unwrap();
        ring.append(0, &line(0, 100), false).unwrap();
        ring.append(1, &line(1, 100), false).unwrap();
        drop(ring);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0xff], HEADER_BYTES + 120 + 60).unwrap();
        assert_eq!(Ring::recover(&path).unwrap().lines, vec![line(0, 100)]);
    }

    /// Whether a byte of any record stands in the file, but for these.
    fn holds_others(path: &Path, lines: &[Vec<u8>]) -> bool {
        let file = std::fs::read(path).unwrap();
        let frames = file.split_at(usize::try_from(HEADER_BYTES).unwrap()).1;
        let kept: usize = lines.iter().map(|line| line.len() + 20).sum();
        frames.iter().filter(|byte| **byte != 0).count() > kept
    }

    #[test]
    fn an_acknowledged_record_is_nowhere_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let mut ring = Ring::create(&path, &key()).unwrap();
        // More than twice around the file.
        for seq in 1..8_000u64 {
            let size = 500 + usize::try_from(seq * 37 % 3_000).unwrap();
            ring.append(seq, &line(seq.max(1), size), false).unwrap();
            if seq % 7 == 0 {
                ring.acknowledge(seq - 1, RecordHash::from_bytes([1; 32]))
                    .unwrap();
            }
            if seq % 501 == 0 {
                let kept = Ring::recover(&path).unwrap().lines;
                assert!(!holds_others(&path, &kept), "after record {seq}");
            }
        }
        // One that an earlier process had no time for.
        let left = Ring::recover(&path).unwrap().lines;
        let behind = OpenOptions::new().write(true).open(&path).unwrap();
        let free = HEADER_BYTES + (ring.head + 100_000) % RING_BYTES;
        behind.write_all_at(b"vendor_gone", free).unwrap();
        drop(ring);
        let (_, recovered) = Ring::resume(&path).unwrap();
        assert_eq!(recovered.lines, left);
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(11).any(|it| it == b"vendor_gone"));
    }

    #[test]
    fn a_position_outside_the_file_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let mut ring = Ring::create(&path, &key()).unwrap();
        ring.append(0, &line(0, 100), false).unwrap();
        for tail in [RING_BYTES + 1, 1 << 40, u64::MAX] {
            // Its check value is right: only the position itself can tell.
            ring.tail = tail;
            ring.acknowledge(0, RecordHash::from_bytes([1; 32]))
                .unwrap();
            let recovered = Ring::recover(&path);
            assert!(
                matches!(recovered, Err(RingError::Damaged { .. })),
                "{tail}: {recovered:?}"
            );
        }
    }
}
