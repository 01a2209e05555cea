//! The first level: bytes, chain, streams, signatures, tree, checkpoints, keys.

use std::collections::BTreeMap;

use ed25519_dalek::VerifyingKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Against;
use super::frontier::Frontier;
use super::heads::Heads;
use super::lost::LostHistory;
use super::report::{Findings, Gap, What};
use crate::canonical::{excerpt, serde_instant_opt};
use crate::evidence::checkpoint::NoteVerifier;
use crate::evidence::leaf::{EventBody, Leaf, ReadLeaf, genesis_prev};
use crate::evidence::log_keys::{self, LogKeys};
use crate::evidence::merkle::leaf_hash;
use crate::evidence::receipt::KeptHead;
use crate::evidence::record::{Record, stream_id, verify_batch};
use crate::hash::{LeafHash, RecordHash, StreamId, TreeRoot};
use crate::kept;
use crate::public_key;

/// The check as it goes through the leaves.
pub(super) struct Structure<'a> {
    against: &'a Against<'a>,
    origin: Option<String>,
    /// Those that the leaves name so far.
    keys: LogKeys,
    heads: Heads<'a>,
    /// The tree so far, and as it was before the last leaf.
    tree: Frontier,
    before_last: Frontier,
    last: Option<LeafHash>,
    last_time: Option<Timestamp>,
    suspicion: Option<Suspicion>,
    streams: BTreeMap<StreamId, Stream>,
    lost: Vec<LostHistory>,
}

/// A leaf whose `prev` is not the hash of the one before. Which of the two was changed shows by what follows.
struct Suspicion {
    seq: u64,
    /// The tree if the leaf before had been what this one says.
    otherwise: Frontier,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream {
    /// None once it has ended: what is kept of it for ever is small.
    open: Option<Box<Open>>,
    /// Leaf of the first record that no signature covers yet.
    unsigned_from: Option<u64>,
}

/// A stream that goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    #[serde(with = "kept::ed25519")]
    key: VerifyingKey,
    next_seq: u64,
    head: RecordHash,
}

/// What a later check needs of this one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedStructure {
    #[serde(with = "serde_instant_opt")]
    last_time: Option<Timestamp>,
    streams: BTreeMap<StreamId, Stream>,
    keys: LogKeys,
    lost: Vec<LostHistory>,
}

/// What is known once all leaves were seen.
pub(super) struct End {
    pub(super) origin: Option<String>,
    pub(super) key: Option<NoteVerifier>,
    pub(super) keys: LogKeys,
    pub(super) leaves: u64,
    pub(super) root: TreeRoot,
    pub(super) covered: u64,
    pub(super) gaps: Vec<Gap>,
    pub(super) lost: Vec<LostHistory>,
}

impl<'a> Structure<'a> {
    pub(super) fn new(against: &'a Against<'a>) -> Self {
        Self {
            against,
            origin: None,
            keys: LogKeys::default(),
            heads: Heads::new(against),
            tree: Frontier::default(),
            before_last: Frontier::default(),
            last: None,
            last_time: None,
            suspicion: None,
            streams: BTreeMap::new(),
            lost: Vec::new(),
        }
    }

    /// Checks the leaf at `seq`; gives it back where it can be read.
    pub(super) fn leaf(
        &mut self,
        seq: u64,
        bytes: &[u8],
        findings: &mut Findings,
    ) -> Option<ReadLeaf> {
        let hash = leaf_hash(bytes);
        let read = match ReadLeaf::parse(bytes) {
            Ok(read) => Some(read),
            Err(error) => {
                findings.add(seq, What::Form(error));
                None
            }
        };
        if let Some(read) = &read {
            let leaf = read.leaf();
            if seq == 0 {
                self.first(leaf, findings);
            }
            self.place(seq, leaf, findings);
            self.next_key(seq, leaf, findings);
            let follows = self.chain(seq, leaf, findings);
            self.time(seq, leaf, follows, findings);
            // A leaf in the wrong place says nothing of the streams in the right one.
            if !findings.any() {
                self.entry(seq, read, findings);
            }
        } else {
            self.suspicion = None;
            if seq == 0 {
                self.begin(None);
            }
        }
        self.push(hash, findings);
        read
    }

    /// A leaf that could not be read: nothing can be said of the links to it.
    pub(super) fn unreadable(&mut self, seq: u64, why: &str, findings: &mut Findings) {
        findings.add(seq, What::Unreadable(excerpt(why)));
        if seq == 0 {
            self.begin(None);
        }
        self.suspicion = None;
        self.push(LeafHash::from_bytes([0; 32]), findings);
        self.last = None;
    }

    /// A leaf that was verified before.
    pub(super) fn passed(&mut self, seq: u64, bytes: &[u8], findings: &mut Findings) {
        if seq == 0 {
            let keys = std::mem::take(&mut self.keys);
            match ReadLeaf::parse(bytes) {
                Ok(read) => self.first(read.leaf(), findings),
                Err(_) => self.begin(None),
            }
            self.keys = keys;
        }
        self.push(leaf_hash(bytes), findings);
    }

    /// What a later check needs; none while it is open whether the last leaf is wrong.
    pub(super) fn save(&self) -> Option<SavedStructure> {
        self.suspicion.is_none().then(|| SavedStructure {
            last_time: self.last_time,
            streams: self.streams.clone(),
            keys: self.keys.clone(),
            lost: self.lost.clone(),
        })
    }

    /// What heads of leaves that are about to pass are held against: the keys that these leaves name, and what they say is lost.
    pub(super) fn expect(&mut self, saved: &SavedStructure) {
        self.keys.clone_from(&saved.keys);
        self.lost.clone_from(&saved.lost);
        for part in &saved.lost {
            self.heads.acknowledge(part.leaf, &part.heads);
        }
    }

    /// Goes on behind leaves that have passed, where an earlier check ended.
    pub(super) fn take_up(&mut self, saved: SavedStructure) {
        (self.last_time, self.streams) = (saved.last_time, saved.streams);
    }

    pub(super) fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// The tree so far.
    pub(super) fn head(&self) -> KeptHead {
        KeptHead {
            size: self.tree.size(),
            root: self.tree.root(),
        }
    }

    /// `late`: checkpoints that came after the leaves.
    pub(super) fn finish(mut self, late: &[String], findings: &mut Findings) -> End {
        let leaves = self.tree.size();
        if leaves == 0 {
            self.begin(None);
        }
        self.open_heads(u64::MAX, findings);
        let vouched = self.vouched();
        if vouched.is_none() && !self.against.keys.is_empty() {
            findings.add(0, What::OtherLogKey);
        }
        for note in late {
            let root = self.tree.root();
            self.heads.late(note, &self.keys, (leaves, root), findings);
        }
        // What was signed before the known key counts under what that one signed, or those that followed it. One that the log does not
        // name signs nothing of it.
        let from = match (&vouched, self.against.keys) {
            (Some((from, _)), _) => *from,
            (None, []) => 0,
            (None, _) => u64::MAX,
        };
        self.heads.count_from(from);
        self.heads.open_named(&self.keys, findings);
        for part in &mut self.lost {
            part.known = self.heads.known(part.leaf);
        }
        self.heads.unacknowledged(leaves, findings);
        if let Some(Suspicion { seq, otherwise }) = self.suspicion.take() {
            // Nothing follows, so the signed root tells: does it fit if the leaf before had been another?
            let before = self
                .heads
                .agrees(otherwise.size(), otherwise.root())
                .unwrap_or(true);
            suspect(seq, before, findings);
        }
        self.heads.check_end(leaves, findings);
        let mut gaps = Vec::new();
        if leaves == 0 {
            gaps.push(Gap::Empty);
        } else if self.heads.signed_to() < leaves {
            gaps.push(Gap::Uncovered {
                from: self.heads.signed_to(),
            });
        }
        let unsigned = self
            .streams
            .iter()
            .filter_map(|(stream, state)| Some((*stream, state.unsigned_from?)));
        gaps.extend(unsigned.map(|(stream, from)| Gap::Unsigned { stream, from }));
        let (root, covered) = (self.tree.root(), self.heads.signed_to().min(leaves));
        let given = vouched.map(|(_, key)| key);
        let given = given.or_else(|| self.against.keys.first().cloned());
        let key = given.or_else(|| self.keys.at(0).cloned());
        End {
            origin: self.origin,
            key,
            keys: self.keys,
            leaves,
            root,
            covered,
            gaps,
            lost: self.lost,
        }
    }

    /// The first leaf names the log and its key.
    fn first(&mut self, leaf: &Leaf, findings: &mut Findings) {
        let given = self.against.keys.first();
        self.origin = Some(given.map_or_else(|| leaf.h.log.clone(), |key| key.name().to_owned()));
        let Some(EventBody::Genesis {
            origin, log_key, ..
        }) = leaf.event()
        else {
            findings.add(0, What::Genesis);
            return self.begin(None);
        };
        if *origin != leaf.h.log {
            findings.add(0, What::Log(excerpt(origin)));
        }
        match log_keys::named(log_key, origin) {
            Ok(named) => self.begin(Some(named)),
            Err(error) => {
                findings.add(0, What::LogKey(error));
                self.begin(None);
            }
        }
    }

    /// Where the log names no key, one known from elsewhere is the one that its heads are held against.
    fn begin(&mut self, named: Option<NoteVerifier>) {
        let first = named.or_else(|| self.against.keys.first().cloned());
        self.keys = first.map(LogKeys::of).unwrap_or_default();
    }

    /// A key that follows counts also behind what is wrong: who signed for it did so for this log.
    fn next_key(&mut self, seq: u64, leaf: &Leaf, findings: &mut Findings) {
        if let Some(EventBody::LogKey { key, by }) = leaf.event()
            && let Err(refused) = self.keys.rotate(seq, key, by)
        {
            findings.add(seq, What::NextLogKey(refused));
        }
    }

    /// The newest key that is known from elsewhere and is one of the log's, with the size from which on it is in force.
    fn vouched(&self) -> Option<(u64, NoteVerifier)> {
        let from = |given: &NoteVerifier| {
            let mut keys = self.keys.iter();
            keys.find(|(_, key)| *key == given).map(|(from, _)| from)
        };
        let mut given = self.against.keys.iter();
        given.find_map(|given| Some((from(given)?, given.clone())))
    }

    fn open_heads(&mut self, size: u64, findings: &mut Findings) {
        self.heads.open(size, &self.keys, findings);
    }

    fn place(&mut self, seq: u64, leaf: &Leaf, findings: &mut Findings) {
        if Some(&leaf.h.log) != self.origin.as_ref() {
            findings.add(seq, What::Log(excerpt(&leaf.h.log)));
        }
        if leaf.h.seq != seq {
            findings.add(seq, What::Seq(leaf.h.seq));
        }
        if seq > 0 && matches!(leaf.event(), Some(EventBody::Genesis { .. })) {
            findings.add(seq, What::Genesis);
        }
    }

    /// Where the link to the leaf before is broken, that leaf's time may be the one that was changed.
    fn time(&mut self, seq: u64, leaf: &Leaf, follows: bool, findings: &mut Findings) {
        if follows && self.last_time.is_some_and(|last| leaf.h.time <= last) {
            findings.add(seq, What::Time);
        }
        self.last_time = Some(leaf.h.time);
    }

    /// Whether the leaf follows the one before it; where not, which of the two is wrong.
    fn chain(&mut self, seq: u64, leaf: &Leaf, findings: &mut Findings) -> bool {
        let follows = match (seq, self.last) {
            (0, _) => leaf.h.prev == genesis_prev(&leaf.h.log),
            (_, Some(last)) => leaf.h.prev == last,
            (_, None) => true,
        };
        if let Some(Suspicion { seq: suspected, .. }) = self.suspicion.take() {
            suspect(suspected, follows, findings);
        }
        if !follows && seq == 0 {
            findings.add(0, What::Chain);
        } else if !follows && !findings.has(seq) && !findings.has(seq - 1) {
            let mut otherwise = self.before_last.clone();
            otherwise.push(leaf.h.prev);
            self.suspicion = Some(Suspicion { seq, otherwise });
        }
        follows
    }

    fn entry(&mut self, seq: u64, read: &ReadLeaf, findings: &mut Findings) {
        let leaf = read.leaf();
        if let Some((record, _)) = leaf.record()
            && let Err(what) = self.record(seq, record, read.record_hash(), leaf.s.as_deref())
        {
            findings.add(seq, what);
        }
        match leaf.event() {
            Some(EventBody::StreamOpened { stream, key, .. }) => {
                let key = public_key::read(key);
                match key.filter(|key| stream_id(key) == *stream) {
                    Some(key) => {
                        self.streams
                            .entry(*stream)
                            .or_insert_with(|| Stream::new(key));
                    }
                    None => findings.add(seq, What::StreamKey),
                }
            }
            Some(EventBody::Gap {
                size, root, lost, ..
            }) => {
                for stream in self.streams.values_mut() {
                    stream.open = None;
                }
                if (*size, *root) != (seq, self.tree.root()) {
                    findings.add(seq, What::Gap);
                } else if let Some(part) = LostHistory::of(leaf) {
                    self.heads.acknowledge(seq, lost);
                    self.lost.push(part);
                }
            }
            Some(EventBody::StreamEnded { stream, .. }) => match self.streams.get_mut(stream) {
                Some(stream) => stream.open = None,
                None => findings.add(seq, What::StreamNotOpen),
            },
            _ => {}
        }
    }

    fn record(
        &mut self,
        seq: u64,
        record: &Record,
        hash: Option<RecordHash>,
        signature: Option<&str>,
    ) -> Result<(), What> {
        let stream = self.streams.get_mut(&record.stream);
        let stream = stream.ok_or(What::StreamNotOpen)?;
        let open = stream.open.as_mut().ok_or(What::StreamNotOpen)?;
        if record.seq != open.next_seq || record.prev != open.head {
            return Err(What::Stream { seq: record.seq });
        }
        open.head = hash.ok_or(What::Stream { seq: record.seq })?;
        open.next_seq += 1;
        match signature {
            Some(signature) => {
                verify_batch(&open.key, &open.head, signature).map_err(What::Batch)?;
                stream.unsigned_from = None;
            }
            None => {
                stream.unsigned_from.get_or_insert(seq);
            }
        }
        Ok(())
    }

    fn push(&mut self, hash: LeafHash, findings: &mut Findings) {
        self.before_last.clone_from(&self.tree);
        self.tree.push(hash);
        self.last = Some(hash);
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.otherwise.push(hash);
        }
        let size = self.tree.size();
        self.open_heads(size, findings);
        // Where the chain is broken already, the root cannot fit, and says nothing new.
        if self.heads.at(size) && !findings.any() && self.suspicion.is_none() {
            self.heads.check(size, self.tree.root(), findings);
        }
    }
}

impl Stream {
    fn new(key: VerifyingKey) -> Self {
        Self {
            open: Some(Box::new(Open {
                key,
                next_seq: 0,
                head: RecordHash::from_bytes([0; 32]),
            })),
            unsigned_from: None,
        }
    }
}

/// A link does not hold: it was the leaf before it that changed, or the leaf's own `prev`.
fn suspect(seq: u64, before: bool, findings: &mut Findings) {
    match before {
        true => findings.add(seq - 1, What::Changed),
        false => findings.add(seq, What::Chain),
    }
}
