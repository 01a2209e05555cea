//! Holds groups against the heads they were decided on, and numbers what will be written.

use std::collections::HashMap;

use crate::storage::frame::Frame;
use crate::storage::index::Index;
use crate::storage::{Appended, HashedLeaf, Head, LogGroup};

/// One group whose head was right, with the numbers it will be written under.
pub(super) struct Accepted<'a> {
    group: &'a LogGroup,
    number: u32,
    /// Whether the log is new.
    declare: bool,
    /// Index of its first leaf.
    first: u64,
}

impl Accepted<'_> {
    /// Its frames: blobs come first, as the leaves name them.
    pub(super) fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.hashed_frames().map(|(frame, _)| frame)
    }

    /// Its frames, those of leaves with their hashes.
    pub(super) fn hashed_frames(&self) -> impl Iterator<Item = (Frame<'_>, Option<[u8; 32]>)> {
        let log = self.number;
        let name = self.group.log.as_str();
        let declare = self.declare.then_some(Frame::Log { log, name });
        let blobs = self.group.blobs.iter().map(move |blob| Frame::Blob {
            log,
            kind: blob.kind,
            name: &blob.name,
            bytes: &blob.bytes,
        });
        let leaves = self.group.leaves.iter().zip(self.first..);
        let leaves = leaves.map(move |(leaf, seq)| {
            let (hash, bytes) = (leaf.hash(), &**leaf);
            (Frame::Leaf { log, seq, bytes }, Some(hash))
        });
        let others = declare.into_iter().chain(blobs);
        others.map(|frame| (frame, None)).chain(leaves)
    }
}

/// Compares each group with the head it was decided on, counting the groups before it.
pub(super) fn compare<'a>(
    index: &Index,
    groups: &'a [LogGroup],
) -> (Vec<Appended>, Vec<Accepted<'a>>) {
    let mut results = Vec::with_capacity(groups.len());
    let mut accepted = Vec::with_capacity(groups.len());
    // Number and head of the logs that this append has touched so far.
    let mut staged: HashMap<&str, (u32, Head)> = HashMap::new();
    let mut next_log = index.next_log();
    for group in groups {
        let log = group.log.as_str();
        let known = staged.get(log).copied();
        let known = known.or_else(|| Some((index.number(log)?, index.head(log))));
        let found = known.map_or_else(|| Head::genesis(log), |(_, head)| head);
        if found != group.expected_head {
            results.push(Appended::Conflict { found });
            continue;
        }
        let head = Head {
            size: found.size.saturating_add(group.leaves.len() as u64),
            hash: group.leaves.last().map_or(found.hash, HashedLeaf::hash),
        };
        results.push(Appended::Appended { head });
        if group.leaves.is_empty() && group.blobs.is_empty() {
            continue;
        }
        let number = known.map_or(next_log, |(number, _)| number);
        if known.is_none() {
            next_log = next_log.saturating_add(1);
        }
        staged.insert(log, (number, head));
        accepted.push(Accepted {
            group,
            number,
            declare: known.is_none(),
            first: found.size,
        });
    }
    (results, accepted)
}
