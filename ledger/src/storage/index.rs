//! What is known of a segment directory while and after it is read: heads of logs, places of blobs, the chain.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use super::frame::Frame;
use super::{Entry, Head};

/// The state after some number of whole groups. Written groups and groups read back go through the same
/// [`Index::apply`].
///
/// A blob costs about 32 + 8 bytes and the table's slack, so 60 MiB per million blobs; a leaf 8 bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// Random id of the directory, once its first group is there.
    pub(super) store: Option<[u8; 16]>,
    /// Number of the next group.
    pub(super) next_group: u64,
    /// Chain value after the last group.
    pub(super) chain: [u8; 32],
    /// Number of blobs written, the ones whose name was written again included.
    pub(super) blobs_written: u64,
    logs: Vec<(String, Head)>,
    /// Where the leaves of each log lie.
    leaves: Vec<Vec<Place>>,
    numbers: HashMap<String, u32>,
    blobs: HashMap<[u8; 32], Place>,
    /// Number of the log written last.
    last: Option<u32>,
}

/// Where a frame begins, for [`super::SegmentReader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) segment: u32,
    /// A segment is at most 64 MiB.
    pub(super) offset: u32,
}

impl Index {
    /// Takes one frame in and shows it; an error says why it cannot follow what came before.
    pub(super) fn apply(
        &mut self,
        frame: &Frame<'_>,
        place: Place,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, String> {
        match *frame {
            Frame::Segment { .. } => Ok(ControlFlow::Continue(())),
            Frame::Log { log, name } => {
                if self.next_log() != log || self.numbers.contains_key(name) {
                    return Err(format!("log `{name}` is declared out of order"));
                }
                self.numbers.insert(name.to_owned(), log);
                self.logs.push((name.to_owned(), Head::genesis(name)));
                self.leaves.push(Vec::new());
                Ok(ControlFlow::Continue(()))
            }
            Frame::Leaf { log, seq, bytes } => {
                let (name, head) = slot(&mut self.logs, log)?;
                if head.size != seq {
                    return Err(format!("leaf {seq} stands where {} belongs", head.size));
                }
                *head = head.after(bytes);
                if let Some(leaves) = self.leaves.get_mut(log as usize) {
                    leaves.push(place);
                }
                self.last = Some(log);
                Ok(visit(Entry::Leaf {
                    log: name,
                    seq,
                    bytes,
                }))
            }
            Frame::Blob {
                log,
                kind,
                name,
                bytes,
            } => {
                let (log, _) = slot(&mut self.logs, log)?;
                self.blobs.insert(*name, place);
                self.blobs_written = self.blobs_written.saturating_add(1);
                Ok(visit(Entry::Blob {
                    log,
                    kind,
                    name,
                    bytes,
                }))
            }
        }
    }

    /// The logs with their heads, in the order of their numbers.
    pub(super) fn logs(&self) -> &[(String, Head)] {
        &self.logs
    }

    /// The number the next new log gets.
    pub(super) fn next_log(&self) -> u32 {
        u32::try_from(self.logs.len()).unwrap_or(u32::MAX)
    }

    /// The number of a log.
    pub(super) fn number(&self, log: &str) -> Option<u32> {
        self.numbers.get(log).copied()
    }

    /// The head of a log; of an unknown one, its genesis.
    pub(super) fn head(&self, log: &str) -> Head {
        self.number(log)
            .and_then(|number| self.logs.get(number as usize))
            .map_or_else(|| Head::genesis(log), |(_, head)| *head)
    }

    /// Name of a log by its number.
    pub(super) fn name(&self, number: u32) -> Option<&str> {
        self.logs
            .get(number as usize)
            .map(|(name, _)| name.as_str())
    }

    /// Where these leaves of a log lie; none where it has not all of them.
    pub(super) fn leaves(&self, log: &str, range: Range<u64>) -> Option<&[Place]> {
        let leaves = self.leaves.get(self.number(log)? as usize)?;
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        leaves.get(start.ok()?..end.ok()?)
    }

    /// Where a blob lies.
    pub(super) fn blob(&self, name: &[u8; 32]) -> Option<Place> {
        self.blobs.get(name).copied()
    }

    /// The log written last and the index of its next leaf: the best guess for a leaf that cannot be read.
    pub(super) fn next_leaf(&self) -> (Option<String>, Option<u64>) {
        let last = self.last.and_then(|last| self.logs.get(last as usize));
        last.map(|(name, head)| (name.clone(), head.size)).unzip()
    }
}

fn slot(logs: &mut [(String, Head)], number: u32) -> Result<(&str, &mut Head), String> {
    logs.get_mut(number as usize)
        .map(|(name, head)| (name.as_str(), head))
        .ok_or_else(|| format!("log number {number} is not declared"))
}
