//! Reads segment files back, and tells a write cut short by a crash from damage.
//!
//! A group is written only after the one before it is durable. So a group that does not check out and has *any*
//! byte behind it was once durable and is damaged: nothing is dropped, the reader refuses and names the place.
//! Only the last group may have been cut short, and a write cut short shows it: the file ends, its end mark was
//! never written, or one of its sectors still holds its zeros. A last group that is complete but wrong is
//! damage as well. Behind the last group every byte must be zero.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::frame::{
    ALIGN, Frame, GROUP_BYTES_MIN, GroupHeader, SECTOR, chain_after, claimed_leaf, decode_frame,
    decode_header, decode_trailer, lacks_mark, other_version,
};
use super::index::{Index, Place};
use super::{Entry, StorageError};

/// Where the groups of one segment end.
#[derive(Debug)]
pub(super) struct SegmentEnd {
    /// The place.
    pub(super) from: Position,
    /// What is there but is no group.
    pub(super) torn: Option<Torn>,
    /// The visitor wanted no more.
    pub(super) stopped: bool,
}

/// A group cut short.
#[derive(Clone, Debug)]
pub(super) struct Torn {
    pub(super) path: PathBuf,
    pub(super) offset: u64,
    /// Bytes up to the last that is not zero.
    pub(super) bytes: u64,
    pub(super) sha256: [u8; 32],
    pub(super) what: String,
}

/// Up to where a segment is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    pub(super) number: u32,
    /// Where the next group is, or goes.
    pub(super) offset: usize,
    /// The length the file was made with; unknown while its first group is missing.
    pub(super) made: Option<u64>,
}

impl Position {
    pub(super) fn start_of(number: u32) -> Self {
        Position {
            number,
            offset: 0,
            made: None,
        }
    }
}

/// One segment's bytes, being read.
pub(super) struct Segment<'a> {
    pub(super) path: &'a Path,
    pub(super) number: u32,
    pub(super) bytes: &'a [u8],
    /// Whether a later segment has data, so that everything here was durable once.
    pub(super) followed: bool,
    pub(super) made: Option<u64>,
    pub(super) index: &'a mut Index,
}

impl Segment<'_> {
    /// Reads groups on from `from`, which follows them.
    pub(super) fn scan(
        &mut self,
        from: &mut Position,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<SegmentEnd, StorageError> {
        self.made = from.made;
        let mut torn = None;
        let mut stopped = false;
        while !stopped {
            let offset = from.offset;
            match self.group(offset, visit)? {
                Step::Group { bytes, flow } => {
                    from.offset = offset.saturating_add(bytes);
                    from.made = self.made;
                    stopped = flow.is_break();
                }
                Step::Torn(what) => {
                    torn = Some(self.torn(offset, what)?);
                    break;
                }
                Step::End => {
                    if let Some(missing) = self.missing_bytes() {
                        let what = format!("the file is {missing} bytes shorter than it was made");
                        torn = Some(self.torn(offset, what)?);
                    }
                    break;
                }
            }
        }
        Ok(SegmentEnd {
            from: *from,
            torn,
            stopped,
        })
    }

    /// What stands at `offset`: a whole group, nothing, or a group cut short; everything else is damage.
    fn group(
        &mut self,
        offset: usize,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<Step, StorageError> {
        let bytes = self.bytes;
        let rest = bytes.get(offset..).unwrap_or_default();
        if is_zero(rest) {
            return Ok(Step::End);
        }
        let Some(header) = decode_header(rest) else {
            return self.without_header(offset, rest);
        };
        if self
            .index
            .store
            .is_some_and(|store| store != header.id.store)
        {
            return Err(self.damaged(offset, "a group of another directory stands here"));
        }
        if (header.id.segment, header.id.number) != (self.number, self.index.next_group) {
            return Err(self.damaged(
                offset,
                format!(
                    "group {} of segment {} stands where group {} belongs",
                    header.id.number, header.id.segment, self.index.next_group
                ),
            ));
        }
        let parts = rest.get(..header.bytes).and_then(|group| {
            let body = group.len().checked_sub(ALIGN)?;
            group.split_at_checked(body)
        });
        let chained = parts.and_then(|(body, trailer)| {
            let trailer = decode_trailer(trailer)?;
            let body_crc = crc32c::crc32c(body);
            let right = trailer.number == header.id.number
                && trailer.body_crc == body_crc
                && trailer.chain == chain_after(&self.index.chain, body, body_crc);
            right.then_some((body, trailer.chain))
        });
        let Some((body, chain)) = chained else {
            return self.incomplete(offset, rest, &header);
        };
        let flow = self.frames(offset, &header, body, visit)?;
        if let Some(extra) = self.made.filter(|made| *made < bytes.len() as u64) {
            return Err(self.damaged(
                usize::try_from(extra).unwrap_or(usize::MAX),
                "bytes were added behind the end of the segment",
            ));
        }
        self.index.close_group(&header.id, chain);
        Ok(Step::Group {
            bytes: header.bytes,
            flow,
        })
    }

    /// Takes in the frames of a group whose checksums and chain are right.
    fn frames(
        &mut self,
        offset: usize,
        header: &GroupHeader,
        body: &[u8],
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StorageError> {
        let mut rest = body.get(ALIGN..).unwrap_or_default();
        let mut flow = ControlFlow::Continue(());
        for nth in 0..header.frames {
            let at = offset.saturating_add(body.len().saturating_sub(rest.len()));
            let Some((frame, after)) = decode_frame(rest) else {
                return Err(self.damaged(at, "a frame cannot be read"));
            };
            let begins_segment = offset == 0 && nth == 0;
            match frame {
                Frame::Segment { chain, size } if begins_segment => {
                    if chain != self.index.chain {
                        return Err(self.damaged(at, "it does not continue the segment before"));
                    }
                    self.made = Some(size);
                }
                _ if begins_segment => {
                    return Err(self.damaged(at, "the segment lacks its first frame"));
                }
                Frame::Segment { .. } => {
                    return Err(self.damaged(at, "a segment begins inside a segment"));
                }
                _ => {}
            }
            let place = Place {
                segment: self.number,
                offset: u32::try_from(at).unwrap_or(u32::MAX),
            };
            // After the visitor has had enough, the rest of the group is still taken in, unseen.
            let mut unseen = |_: Entry<'_>| ControlFlow::Break(());
            let shown: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()> = match flow {
                ControlFlow::Continue(()) => visit,
                ControlFlow::Break(()) => &mut unseen,
            };
            let went = self.index.apply(&frame, place, shown);
            let went = went.map_err(|what| self.damaged(at, what))?;
            flow = if flow.is_break() { flow } else { went };
            rest = after;
        }
        if is_zero(rest) {
            Ok(flow)
        } else {
            Err(self.damaged(offset, "the group holds more than its frames"))
        }
    }

    /// Bytes that are not zero, where no header can be read.
    fn without_header(&self, offset: usize, rest: &[u8]) -> Result<Step, StorageError> {
        if let Some(version) = other_version(rest) {
            let path = self.path.to_owned();
            return Err(StorageError::OtherVersion { path, version });
        }
        let later = rest.chunks(ALIGN).skip(1).any(|chunk| {
            decode_header(chunk).is_some_and(|header| {
                self.index
                    .store
                    .is_none_or(|store| store == header.id.store)
                    && header.id.number > self.index.next_group
            })
        });
        let start = rest.get(..ALIGN);
        let cut = if later {
            None
        } else if start.is_none() && self.missing_bytes().is_some() {
            Some("the file ends inside a group")
        } else if start.is_none() && self.made.is_none() {
            Some("the file ends inside its first group")
        } else if start.is_some_and(lacks_mark) {
            Some("the start of a group was never written")
        } else {
            None
        };
        match cut {
            Some(what) => Ok(Step::Torn(what.to_owned())),
            None if later => Err(self.damaged(offset, "a group's header is not what was written")),
            None => Err(self.damaged(
                offset,
                "the last group's header is not what was written, and no crash leaves it so",
            )),
        }
    }

    /// A header is there, but the group behind it does not check out.
    fn incomplete(
        &self,
        offset: usize,
        rest: &[u8],
        header: &GroupHeader,
    ) -> Result<Step, StorageError> {
        let group = rest.get(..header.bytes);
        let behind = rest.get(header.bytes..).unwrap_or_default();
        let cut = match group {
            // Seeded: what stands behind a group does not matter.
            _ if header.bytes < GROUP_BYTES_MIN || (!is_zero(behind) && !crate::SEEDED_BUGS) => {
                None
            }
            None => Some(String::from("the file ends inside a group")),
            Some(group) if lacks_mark(group) => {
                Some(String::from("the end of a group was never written"))
            }
            Some(group) => unwritten_sector(group, offset)
                .map(|at| format!("the sector at byte {at} of a group was never written")),
        };
        if let Some(what) = cut {
            return Ok(Step::Torn(what));
        }
        let group = group.unwrap_or(rest);
        Err(self.locate(offset, group, header))
    }

    /// Names the first bad frame of a group that does not check out.
    fn locate(&self, offset: usize, group: &[u8], header: &GroupHeader) -> StorageError {
        let body = group.len().saturating_sub(ALIGN);
        let mut rest = group.get(ALIGN..body).unwrap_or_default();
        let mut index = self.index.clone();
        let mut unseen = |_: Entry<'_>| ControlFlow::Continue(());
        for _ in 0..header.frames {
            let at = offset.saturating_add(body.saturating_sub(rest.len()));
            let place = Place {
                segment: self.number,
                offset: 0,
            };
            let Some((frame, after)) = decode_frame(rest) else {
                // The frame's own word counts only where it fits: its header may be what is damaged.
                let claimed = claimed_leaf(rest)
                    .and_then(|(log, seq)| Some((index.name(log)?.to_owned(), seq)))
                    .filter(|(log, seq)| index.head(log).size == *seq)
                    .unzip();
                let leaf = match claimed {
                    (None, _) => index.next_leaf(),
                    claimed => claimed,
                };
                return damaged(self.path, at, leaf, "a frame is not what was written");
            };
            if let Err(what) = index.apply(&frame, place, &mut unseen) {
                return damaged(self.path, at, index.next_leaf(), what);
            }
            rest = after;
        }
        // Every frame is what its checksum says, so padding, trailer or chain is at fault.
        let whole = group
            .split_at_checked(body)
            .and_then(|(body, trailer)| Some((body, decode_trailer(trailer)?)))
            .is_some_and(|(body, trailer)| trailer.body_crc == crc32c::crc32c(body));
        match whole {
            true => self.damaged(offset, "a group does not continue the one before"),
            false => {
                let at = offset.saturating_add(body);
                self.damaged(at, "a group's padding or trailer is not what was written")
            }
        }
    }

    /// Bytes by which the file is shorter than it was made.
    fn missing_bytes(&self) -> Option<u64> {
        self.made?
            .checked_sub(self.bytes.len() as u64)
            .filter(|missing| *missing > 0)
    }

    /// A group cut short, which only the last one can be.
    fn torn(&self, offset: usize, what: String) -> Result<Torn, StorageError> {
        if self.followed {
            return Err(self.damaged(offset, format!("{what}, and a later segment is not empty")));
        }
        let rest = self.bytes.get(offset..).unwrap_or_default();
        let used = rest.iter().rposition(|byte| *byte != 0);
        let used = used.map_or(0, |last| last.saturating_add(1));
        Ok(Torn {
            path: self.path.to_path_buf(),
            offset: offset as u64,
            bytes: used as u64,
            sha256: Sha256::digest(rest.get(..used).unwrap_or_default()).into(),
            what,
        })
    }

    fn damaged(&self, offset: usize, what: impl Into<String>) -> StorageError {
        damaged(self.path, offset, self.index.next_leaf(), what)
    }
}

enum Step {
    Group { bytes: usize, flow: ControlFlow<()> },
    Torn(String),
    End,
}

pub(super) fn damaged(
    path: &Path,
    offset: impl TryInto<u64>,
    leaf: (Option<String>, Option<u64>),
    what: impl Into<String>,
) -> StorageError {
    StorageError::Damaged {
        path: path.to_path_buf(),
        offset: offset.try_into().unwrap_or(u64::MAX),
        log: leaf.0,
        seq: leaf.1,
        what: what.into(),
    }
}

/// The first sector inside `group` that holds only zeros; `offset` is where the group begins in its file.
fn unwritten_sector(group: &[u8], offset: usize) -> Option<usize> {
    let into = offset.checked_rem(SECTOR).unwrap_or(0);
    let (first, others) = group.split_at_checked(SECTOR.saturating_sub(into))?;
    let mut at = offset;
    for sector in std::iter::once(first).chain(others.chunks(SECTOR)) {
        if !sector.is_empty() && is_zero(sector) {
            return Some(at);
        }
        at = at.saturating_add(sector.len());
    }
    None
}

pub(super) fn is_zero(bytes: &[u8]) -> bool {
    // Whole words first: most of a segment is zeros ahead.
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_le_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}
