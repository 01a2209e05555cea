//! What is known of a segment directory while and after it is read: heads of logs, places of blobs, the chain.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use super::contents::{Contents, Mark, Part, Summary};
use super::frame::{Frame, GroupId};
use super::{BlobKind, Entry, Head, leaf_hash};

/// The state after some number of whole groups. Written groups and groups read back go through the same
/// [`Index::apply`].
///
/// Where it keeps the places of blobs, a blob costs about 32 + 8 bytes and the table's slack, so 60 MiB per million blobs. What
/// it keeps of segments costs 36 bytes for a leaf and some 60 for a blob, until their index files are written.
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
    numbers: HashMap<String, u32>,
    /// Where blobs lie, for who looks them up here.
    blobs: Option<HashMap<[u8; 32], Place>>,
    /// Of blobs only those that each append writes anew, which are few.
    states_only: bool,
    /// What each segment holds, for who keeps index files.
    contents: Option<BTreeMap<u32, Contents>>,
    /// Number of the log written last.
    last: Option<u32>,
    /// The log whose head has the hash of an earlier leaf until the group is complete.
    unhashed: Option<u32>,
    /// The leaf whose hash it is to have.
    last_leaf: Vec<u8>,
}

/// Where a frame begins, for [`super::SegmentReader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) segment: u32,
    /// A segment is at most 64 MiB.
    pub(super) offset: u32,
}

impl Index {
    /// One that also knows where blobs lie.
    pub(super) fn of_blobs() -> Self {
        Self {
            blobs: Some(HashMap::new()),
            ..Self::default()
        }
    }

    /// One that knows where states lie, so that it does not grow with the log.
    pub(super) fn of_states() -> Self {
        Self {
            states_only: true,
            ..Self::of_blobs()
        }
    }

    /// One that also keeps what segments hold.
    pub(super) fn of_contents() -> Self {
        Self {
            contents: Some(BTreeMap::new()),
            ..Self::default()
        }
    }

    /// The same, from now on.
    pub(super) fn keeping_contents(self) -> Self {
        Self {
            contents: Some(BTreeMap::new()),
            ..self
        }
    }

    /// No more of that.
    pub(super) fn keep_no_contents(&mut self) {
        self.contents = None;
    }

    /// Takes one frame in and shows it; an error says why it cannot follow what came before.
    pub(super) fn apply(
        &mut self,
        frame: &Frame<'_>,
        place: Place,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, String> {
        self.apply_hashed(frame, None, place, visit)
    }

    /// The same, of a leaf whose hash is known.
    pub(super) fn apply_hashed(
        &mut self,
        frame: &Frame<'_>,
        hash: Option<[u8; 32]>,
        place: Place,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, String> {
        match *frame {
            Frame::Segment { size, .. } => {
                let (mark, logs) = (self.mark(), self.next_log());
                if let Some(contents) = &mut self.contents {
                    let begun = Contents::begin(place.segment, size, mark, logs);
                    contents.insert(place.segment, begun);
                }
                Ok(ControlFlow::Continue(()))
            }
            Frame::Log { log, name } => {
                if self.next_log() != log || self.numbers.contains_key(name) {
                    return Err(format!("log `{name}` is declared out of order"));
                }
                self.numbers.insert(name.to_owned(), log);
                self.logs.push((name.to_owned(), Head::genesis(name)));
                if let Some(contents) = in_segment(&mut self.contents, place) {
                    contents.declared.push(name.to_owned());
                }
                Ok(ControlFlow::Continue(()))
            }
            Frame::Leaf { log, seq, bytes } => {
                let (_, head) = slot(&mut self.logs, log)?;
                if head.size != seq {
                    return Err(format!("leaf {seq} stands where {} belongs", head.size));
                }
                if let Some(contents) = in_segment(&mut self.contents, place) {
                    *head = head.after_hash(hash.unwrap_or_else(|| leaf_hash(bytes)));
                    let part = contents.parts.entry(log).or_insert_with(|| Part {
                        first: seq,
                        leaves: Vec::new(),
                    });
                    part.leaves.push((place.offset, head.hash));
                } else {
                    head.size = head.size.saturating_add(1);
                    self.hash_later(log, bytes);
                }
                self.last = Some(log);
                let (name, _) = slot(&mut self.logs, log)?;
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
                if let Some(blobs) = &mut self.blobs
                    && (!self.states_only || kind == BlobKind::State)
                {
                    blobs.insert(*name, place);
                }
                if let Some(contents) = in_segment(&mut self.contents, place) {
                    contents.blobs.insert(*name, place.offset);
                    contents.blobs_written = contents.blobs_written.saturating_add(1);
                }
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

    /// Of a log's leaves in a group only the last one's hash is asked for, where none of the others is kept.
    fn hash_later(&mut self, log: u32, leaf: &[u8]) {
        if self.unhashed != Some(log) {
            self.hash_now();
        }
        self.unhashed = Some(log);
        self.last_leaf.clear();
        self.last_leaf.extend_from_slice(leaf);
    }

    fn hash_now(&mut self) {
        let log = self.unhashed.take();
        let head = log.and_then(|log| self.logs.get_mut(log as usize));
        if let Some((_, head)) = head {
            head.hash = leaf_hash(&self.last_leaf);
        }
    }

    /// Takes note that a group is complete.
    pub(super) fn close_group(&mut self, id: &GroupId, chain: [u8; 32]) {
        self.hash_now();
        self.store = Some(id.store);
        self.next_group = id.number.saturating_add(1);
        self.chain = chain;
        let after = self.mark();
        if let Some(contents) = &mut self.contents
            && let Some(contents) = contents.get_mut(&id.segment)
        {
            contents.store = id.store;
            contents.after = after;
        }
    }

    /// Takes in a whole segment by its summary; `false`, and then nothing, where it does not follow.
    pub(super) fn follow(&mut self, summary: &Summary) -> bool {
        let continues = self.store.is_none_or(|store| store == summary.store)
            && summary.before == self.mark()
            && summary.logs_before == self.next_log()
            && !summary
                .declared
                .iter()
                .any(|name| self.numbers.contains_key(name));
        let declared = summary.declared.iter().map(|name| Head::genesis(name).size);
        let sizes = self.logs.iter().map(|(_, head)| head.size);
        let sizes: Vec<u64> = sizes.chain(declared).collect();
        let fit = summary
            .parts
            .iter()
            .all(|part| sizes.get(part.log as usize) == Some(&part.first) && part.leaves > 0);
        if !continues || !fit {
            return false;
        }
        for name in &summary.declared {
            let number = self.next_log();
            self.numbers.insert(name.clone(), number);
            self.logs.push((name.clone(), Head::genesis(name)));
        }
        for part in &summary.parts {
            if let Some((_, head)) = self.logs.get_mut(part.log as usize) {
                head.size = part.first.saturating_add(u64::from(part.leaves));
                head.hash = part.head;
            }
            self.last = Some(part.log);
        }
        self.store = Some(summary.store);
        self.next_group = summary.after.groups;
        self.chain = summary.after.chain;
        self.blobs_written = self.blobs_written.saturating_add(summary.blobs_written);
        true
    }

    /// Goes to where a segment begins that lies before: knows the names of all logs declared by then, and the sizes of those that
    /// the segment has leaves of, which is all that reading it takes.
    pub(super) fn at_start_of(&self, summary: &Summary) -> Self {
        let logs_before = summary.logs_before as usize;
        let known = self.logs.iter().take(logs_before);
        let mut before = Self {
            store: Some(summary.store),
            next_group: summary.before.groups,
            chain: summary.before.chain,
            logs: known.cloned().collect(),
            ..Self::default()
        };
        let numbers = (0_u32..).zip(&before.logs);
        before.numbers = numbers.map(|(at, (name, _))| (name.clone(), at)).collect();
        for part in &summary.parts {
            if let Some((_, head)) = before.logs.get_mut(part.log as usize) {
                head.size = part.first;
            }
        }
        before
    }

    /// Where the chain stands.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            groups: self.next_group,
            chain: self.chain,
        }
    }

    /// What segments hold, as far as it is kept.
    pub(super) fn contents(&self) -> impl DoubleEndedIterator<Item = &Contents> {
        self.contents.iter().flat_map(BTreeMap::values)
    }

    /// Gives up what it keeps of a segment.
    pub(super) fn release(&mut self, segment: u32) -> Option<Contents> {
        self.contents.as_mut()?.remove(&segment)
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

    /// Where a blob lies, as far as it is kept.
    pub(super) fn blob(&self, name: &[u8; 32]) -> Option<Place> {
        let known = self.blobs.as_ref().and_then(|blobs| blobs.get(name));
        let kept = || self.contents().rev().find_map(|it| it.blob(name));
        known.copied().or_else(kept)
    }

    /// The log written last and the index of its next leaf: the best guess for a leaf that cannot be read.
    pub(super) fn next_leaf(&self) -> (Option<String>, Option<u64>) {
        let last = self.last.and_then(|last| self.logs.get(last as usize));
        last.map(|(name, head)| (name.clone(), head.size)).unzip()
    }
}

fn in_segment(
    contents: &mut Option<BTreeMap<u32, Contents>>,
    place: Place,
) -> Option<&mut Contents> {
    contents.as_mut()?.get_mut(&place.segment)
}

fn slot(logs: &mut [(String, Head)], number: u32) -> Result<(&str, &mut Head), String> {
    logs.get_mut(number as usize)
        .map(|(name, head)| (name.as_str(), head))
        .ok_or_else(|| format!("log number {number} is not declared"))
}
