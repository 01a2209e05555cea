//! One tenant's log in memory: its state, its tree, its newest checkpoint.

mod durable;
mod snapshot;
mod taken;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use actpass_core::action::Action;
use actpass_core::bundle::{Bundle, BundleError};
use actpass_core::evidence::checkpoint::{Checkpoint, CheckpointError, NoteSigner, NoteVerifier};
use actpass_core::evidence::leaf::{
    ActionMacs, Entry, EventBody, Leaf, LeafHeader, MacKey, Revision, Ruling, genesis_prev,
};
use actpass_core::evidence::log_keys::vouch;
use actpass_core::evidence::merkle::{self, LeafHashes, Tree};
use actpass_core::evidence::record::Record;
use actpass_core::evidence::tile::TilePath;
use actpass_core::hash::{BundleDigest, DigestMac, LeafHash, StreamId, TreeRoot};
use actpass_core::state::{Bundles, State, StateError};
use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};

use super::Keys;
use crate::error::ApiError;
use crate::heads::{self, HeadsError};
use crate::keys::Ring;
use crate::storage::{HashedLeaf, Head, LogGroup, Sealed, StorageError};
use crate::vault::VaultError;

pub(super) use taken::{read_all, read_on};

use durable::Durable;

/// Answers kept per stream, so that a batch whose answer was lost can be sent again: two batches.
const ANSWERS_KEPT: usize = 2 * actpass_core::wire::BATCH_RECORDS_MAX;

/// One tenant's log.
pub struct Log {
    origin: String,
    state: State,
    /// The newest revision given since the start, also where it changed nothing.
    given: Option<Revision>,
    tree: Tree,
    head: LeafHash,
    last_time: Timestamp,
    bundles: BundleMap,
    /// Up to where it is durable, and what it goes back to where a group is not kept.
    durable: Durable,
    keys: Ring,
    checkpoint: String,
    mac_key: MacKey,
    answered: BTreeMap<StreamId, VecDeque<Answered>>,
    /// Streams that ended in leaves that are not durable yet.
    ended: Vec<StreamId>,
    /// Who tells hashes of leaves that are not in memory.
    outside: Option<Arc<OutsideHashes>>,
    /// At how many leaves its state was kept last.
    snapshot_at: u64,
}

/// Hashes of leaves that lie in full segments.
struct OutsideHashes {
    origin: String,
    sealed: Arc<Sealed>,
}

impl LeafHashes for OutsideHashes {
    fn leaf_hashes(&self, leaves: Range<u64>) -> Option<Vec<LeafHash>> {
        let told = self.sealed.leaf_hashes(&self.origin, leaves);
        let told = told.unwrap_or_else(|error| {
            tracing::error!(%error, log = %self.origin, "Hashes of leaves cannot be read");
            None
        });
        let hashes = told?.into_iter().map(LeafHash::from_bytes);
        Some(hashes.collect())
    }
}

/// A record that was answered, and the leaf that says how.
pub(crate) struct Answered {
    pub(crate) seq: u64,
    pub(crate) index: u64,
    pub(crate) leaf: Arc<str>,
}

#[derive(Default)]
struct BundleMap(BTreeMap<BundleDigest, Arc<Bundle>>);

impl Bundles for BundleMap {
    fn bundle(&self, digest: &BundleDigest) -> Option<Arc<Bundle>> {
        self.0.get(digest).cloned()
    }
}

/// The logs cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The storage says no.
    #[error("the log cannot be read")]
    Storage(#[from] StorageError),
    /// The vault says no.
    #[error("the vault cannot be used")]
    Vault(#[from] VaultError),
    /// A leaf that is none, or does not follow.
    #[error(
        "log `{log}`: leaf {seq} is damaged: {what}; run `actpass verify` and restore the log from a copy"
    )]
    Damaged {
        /// The log.
        log: String,
        /// The leaf.
        seq: u64,
        /// What is wrong.
        what: String,
    },
    /// A bundle in the log that this build does not read.
    #[error("bundle {digest} in the log cannot be used")]
    Bundle {
        /// The bundle.
        digest: BundleDigest,
        /// Why.
        #[source]
        source: Box<BundleError>,
    },
    /// A log that another ledger began or went on with, under a key that is not one of ours.
    #[error(
        "log `{log}` is signed with key {named} and the log key here is {ours}; put back the log that belongs to this key, or the key that belongs to this log"
    )]
    OtherKey {
        /// The log.
        log: String,
        /// Id of the key in force, or what the log says instead.
        named: String,
        /// Ids of the keys that are held, the newest first.
        ours: String,
    },
    /// The leaves are not those that were signed last.
    #[error(
        "log `{log}` ends otherwise than it was signed: {what}; run `actpass verify` and restore the log from a copy"
    )]
    Unsigned {
        /// The log.
        log: String,
        /// What is wrong.
        what: String,
    },
    /// The log is not the one whose head was kept.
    #[error(transparent)]
    Heads(#[from] HeadsError),
    /// No thread.
    #[error("the sequencer cannot start")]
    Thread(#[source] std::io::Error),
}

impl Log {
    pub(super) fn new(origin: &str, keys: &Keys<'_>) -> Result<Self, VaultError> {
        let tenant = origin.strip_prefix("actpass/").unwrap_or(origin);
        Ok(Self {
            origin: origin.to_owned(),
            state: State::new(origin),
            durable: Durable::nothing(origin),
            given: None,
            tree: Tree::new(),
            head: genesis_prev(origin),
            last_time: Timestamp::UNIX_EPOCH,
            bundles: BundleMap::default(),
            keys: keys.log.clone(),
            checkpoint: String::new(),
            mac_key: MacKey::new(*keys.vault.digest_key(tenant)?),
            answered: BTreeMap::new(),
            ended: Vec::new(),
            outside: keys.sealed.clone().map(|sealed| {
                let origin = origin.to_owned();
                Arc::new(OutsideHashes { origin, sealed })
            }),
            snapshot_at: 0,
        })
    }

    /// Its name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The tenant it belongs to.
    pub fn tenant(&self) -> &str {
        self.origin.strip_prefix("actpass/").unwrap_or(&self.origin)
    }

    /// Its state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its newest signed checkpoint.
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Root as it was at that size; none if it never had it.
    pub(crate) fn root_at(&self, size: u64) -> Option<TreeRoot> {
        self.tree.root_at(size)
    }

    /// Time of its last leaf.
    pub(super) fn last_time(&self) -> Timestamp {
        self.last_time
    }

    /// Its tree.
    pub(super) fn tree(&self) -> Tree {
        self.tree.clone()
    }

    /// Verifies its newest checkpoint.
    pub(crate) fn verifier(&self) -> NoteVerifier {
        let first = || NoteVerifier::new(&self.origin, self.keys.newest().verifying_key());
        let in_force = self.state.log_keys().in_force();
        in_force.cloned().unwrap_or_else(first)
    }

    /// Verifies the checkpoint of that size; none where the log names no key.
    pub(crate) fn verifier_at(&self, size: u64) -> Option<&NoteVerifier> {
        self.state.log_keys().at(size)
    }

    /// What a head kept outside the log says, where one of the keys signed it that the log had at that size, or that are held: in a
    /// part that is lost another may have been in force.
    pub(crate) fn read_head(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        let then = self.verifier_at(heads::claimed(note)).cloned();
        let read = Checkpoint::verify(note, &then.unwrap_or_else(|| self.verifier()));
        let held = self.keys.all().map(|key| key.verifying_key());
        let mut held = held.map(|key| NoteVerifier::new(&self.origin, key));
        read.or_else(|error| {
            let by_other = held.find_map(|key| Checkpoint::verify(note, &key).ok());
            by_other.ok_or(error)
        })
    }

    /// The next key on the way to the newest, where the log has one before that in force; with the signature of that one. A log that
    /// was restored names each again that it had in what is lost, for that one signed what others have kept of it.
    pub(super) fn next_key(&self) -> Option<EventBody> {
        let keys = self.state.log_keys();
        let in_force = keys.in_force()?;
        let before = self.keys.get(in_force.key())?;
        let behind = self.keys.behind(in_force.key()).into_iter();
        let mut named = behind.map(|key| NoteVerifier::new(&self.origin, key.verifying_key()));
        let next = named.find(|next| !keys.holds(next))?;
        let (key, by) = (next.to_vkey(), vouch(&before, &next));
        Some(EventBody::LogKey { key, by })
    }

    /// Its checkpoint key, as a C2SP verifier key.
    pub fn vkey(&self) -> String {
        self.verifier().to_vkey()
    }

    /// Consistency proof from `old` to now, as hex; empty where there is nothing to prove.
    pub(crate) fn consistency(&self, old: u64) -> Result<Vec<String>, ApiError> {
        if old == 0 {
            return Ok(Vec::new());
        }
        let proof = self.tree.consistency(old, self.tree.size());
        let proof = proof.ok_or_else(|| ApiError::Conflict {
            code: "head_unknown",
            detail: format!(
                "this log has {} leaves and never had a head of {old}",
                self.tree.size()
            ),
        })?;
        Ok(proof
            .iter()
            .map(|hash| actpass_core::hash::hex(hash))
            .collect())
    }

    /// Inclusion proof of one leaf in the newest checkpoint, as hex.
    pub(crate) fn inclusion(&self, index: u64) -> Vec<String> {
        let proof = self.path(index).unwrap_or_default();
        proof
            .iter()
            .map(|hash| actpass_core::hash::hex(hash))
            .collect()
    }

    /// The same; none of a leaf that is not there.
    pub(crate) fn path(&self, index: u64) -> Option<Vec<[u8; 32]>> {
        self.tree.inclusion(index, self.tree.size())
    }

    /// A tile of its tree, of any width that it has had.
    pub(crate) fn tile(&self, path: &TilePath) -> Option<Vec<u8>> {
        self.tree.tile(path)
    }

    /// Hashes of these leaves.
    pub(crate) fn leaf_hashes(&self, leaves: Range<u64>) -> Option<Vec<LeafHash>> {
        let hashes = self.tree.leaves(leaves)?.into_iter();
        Some(hashes.map(LeafHash::from_bytes).collect())
    }

    /// The stored answer to a record.
    pub(crate) fn answered(&self, stream: &StreamId, seq: u64) -> Option<&Answered> {
        self.answered
            .get(stream)?
            .iter()
            .find(|answered| answered.seq == seq)
    }

    /// A subject under the tenant's key.
    pub(crate) fn subject(&self, subject: &str) -> DigestMac {
        self.mac_key.subject(subject)
    }

    /// Digest and resource of an action under the tenant's key.
    pub(crate) fn macs(&self, action: &Action) -> ActionMacs {
        self.mac_key.macs(action)
    }

    pub(super) fn head(&self) -> Head {
        Head {
            size: self.tree.size(),
            hash: *self.head.as_bytes(),
        }
    }

    /// Whether the leaves of that head are its first ones.
    pub(super) fn holds(&self, head: Head) -> bool {
        let last = head.size.checked_sub(1);
        last.is_none_or(|last| {
            let hash = self.tree.leaf(last);
            hash.is_some_and(|hash| *hash.as_bytes() == head.hash)
        })
    }

    /// `now` to the microsecond, or a microsecond after the last leaf.
    pub(super) fn next_time(&self, now: Timestamp) -> Timestamp {
        let now = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
        let next = self
            .last_time
            .checked_add(SignedDuration::from_micros(1))
            .unwrap_or(now);
        now.max(next)
    }

    /// Takes note of the revision of a bundle that is given; `same`: it is the active one.
    ///
    /// # Errors
    /// It is not later than all before: whoever gives it led once, or sent it before something later.
    pub(super) fn order(&mut self, revision: Option<Revision>, same: bool) -> Result<(), ApiError> {
        let newest = self.given.max(self.state.revision());
        let Some(newest) = newest else {
            self.given = revision;
            return Ok(());
        };
        match revision {
            Some(revision) if revision > newest || (revision == newest && same) => {
                self.given = Some(revision);
                Ok(())
            }
            _ => Err(ApiError::Conflict {
                code: "stale_revision",
                detail: format!(
                    "this bundle does not come after that of revision {newest}, so another leader or a later edit has spoken; \
                     compile it anew"
                ),
            }),
        }
    }

    /// Makes a bundle known, so that a leaf may name it.
    pub(crate) fn learn(&mut self, bundle: Arc<Bundle>) {
        self.bundles.0.insert(bundle.digest(), bundle);
    }

    pub(super) fn push_event(
        &mut self,
        now: Timestamp,
        what: EventBody,
        staged: &mut LogGroup,
    ) -> Result<(), ApiError> {
        let leaf = Leaf::of_event(self.next_header(now), what);
        self.push(&leaf, staged).map(drop)
    }

    pub(super) fn push_record(
        &mut self,
        now: Timestamp,
        record: Record,
        ruling: Ruling,
        signature: Option<String>,
        staged: &mut LogGroup,
    ) -> Result<(u64, Arc<str>), ApiError> {
        let leaf = Leaf::of_record(self.next_header(now), record, ruling, signature);
        self.push(&leaf, staged)
    }

    fn next_header(&self, now: Timestamp) -> LeafHeader {
        LeafHeader {
            log: self.origin.clone(),
            prev: self.head,
            seq: self.tree.size(),
            time: now,
        }
    }

    fn push(&mut self, leaf: &Leaf, staged: &mut LogGroup) -> Result<(u64, Arc<str>), ApiError> {
        let bytes = leaf
            .canonical()
            .map_err(|error| ApiError::Malformed(error.to_string()))?;
        let bytes = HashedLeaf::from(bytes);
        let hash = LeafHash::from_bytes(bytes.hash());
        let text = self.take(leaf, &bytes, hash).map_err(|error| {
            // The ruling was made from this very state, so this is a defect; nothing was staged.
            tracing::error!(%error, "A leaf does not follow from the state it was made from");
            ApiError::Malformed(error.to_string())
        })?;
        staged.leaves.push(bytes);
        Ok((leaf.h.seq, text))
    }

    /// Takes a leaf in, new or read back.
    fn take(&mut self, leaf: &Leaf, bytes: &[u8], hash: LeafHash) -> Result<Arc<str>, StateError> {
        self.state.apply(leaf, &self.bundles)?;
        let index = self.tree.size();
        self.head = hash;
        self.tree.push(self.head);
        self.last_time = leaf.h.time;
        let text: Arc<str> = std::str::from_utf8(bytes).unwrap_or_default().into();
        if let Entry::Record(record) = &leaf.r {
            let kept = self.answered.entry(record.stream).or_default();
            kept.push_back(Answered {
                seq: record.seq,
                index,
                leaf: text.clone(),
            });
            if kept.len() > ANSWERS_KEPT {
                kept.pop_front();
            }
        }
        if let Entry::Event(event) = &leaf.r
            && let EventBody::StreamEnded { stream, .. } = &event.what
        {
            self.ended.push(*stream);
        }
        Ok(text)
    }

    /// The signed checkpoint of all leaves, which is [`Log::checkpoint`] once they are durable.
    /// None where the key that the log is signed with is not held any more: under another nobody would believe it.
    pub(super) fn sign(&self) -> Option<String> {
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size: self.tree.size(),
            root: self.tree.root(),
        };
        let key = self.keys.get(self.verifier().key())?;
        Some(checkpoint.sign(&NoteSigner::new(&self.origin, key)))
    }

    /// Whether the key in force is one of ours.
    fn check_key(&self) -> Result<(), OpenError> {
        let named = self.state.log_keys().in_force();
        if named.is_some_and(|named| self.keys.get(named.key()).is_some()) {
            return Ok(());
        }
        let id = |key: SigningKey| NoteVerifier::new(&self.origin, key.verifying_key()).id();
        let ours: Vec<String> = self.keys.all().map(id).collect();
        Err(OpenError::OtherKey {
            log: self.origin.clone(),
            named: named.map_or_else(|| "of no known form".to_owned(), NoteVerifier::id),
            ours: ours.join(", "),
        })
    }

    /// Whether the checkpoint stored with the last group is ours and of these very leaves.
    fn check_signed(&self, stored: Option<&[u8]>) -> Result<String, OpenError> {
        let unsigned = |what: String| OpenError::Unsigned {
            log: self.origin.clone(),
            what,
        };
        let note = stored.ok_or_else(|| unsigned("it holds no checkpoint".to_owned()))?;
        let note = String::from_utf8_lossy(note);
        let signed = Checkpoint::verify(&note, &self.verifier());
        let signed = signed.map_err(|error| unsigned(error.to_string()))?;
        match (signed.size, signed.root) == (self.tree.size(), self.tree.root()) {
            true => Ok(note.into_owned()),
            false => Err(unsigned(format!(
                "the checkpoint is of {} leaves with root {}, and here are {} with root {}",
                signed.size,
                signed.root,
                self.tree.size(),
                self.tree.root()
            ))),
        }
    }

    /// Takes a stored leaf in, checking that it stands where it belongs.
    fn read_back(&mut self, bytes: &[u8]) -> Result<(), String> {
        let leaf = Leaf::parse(bytes).map_err(|error| error.to_string())?;
        if leaf.h.seq != self.tree.size() || leaf.h.prev != self.head {
            return Err("it does not continue the chain".to_owned());
        }
        if leaf.h.time <= self.last_time {
            return Err("its time does not come after the leaf before".to_owned());
        }
        self.take(&leaf, bytes, merkle::leaf_hash(bytes))
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("origin", &self.origin)
            .field("size", &self.tree.size())
            .finish_non_exhaustive()
    }
}
