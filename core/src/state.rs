//! The ledger's state of one log: a pure function of its leaves.
//!
//! *Flow.* [`State::rule_on`] answers one record without changing anything; the answer goes into a leaf; the leaf is
//! made durable; [`State::apply`] takes it in. Verification does the same with the leaves of an exported log.
//! *Guarantees.* The same leaves give the same state, everywhere. What a permit reserves fits every limit; an approval
//! is used once; a digest whose outcome is unknown is not repeated blindly.

mod approvals;
mod erasures;
mod events;
mod facts;
mod gaps;
mod history;
mod intents;
mod meters;
mod records;
mod ruling;
mod snapshot;
mod unenforced;
mod votes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::canonical::{serde_instant, serde_instant_opt};
use crate::evidence::leaf::{Entry, Leaf, ReadLeaf, Revision, StreamEnd, TrustedKeys};
use crate::evidence::log_keys::{LogKeyRefused, LogKeys};
use crate::hash::{BundleDigest, RecordHash, StreamId};
use crate::kept;
use crate::limits::Limit;

pub use approvals::{Approval, ApprovalState, PENDING_APPROVALS_MAX, Vote};
pub use erasures::{ERASURES_MAX, Erasure, month_of};
pub use gaps::{GAPS_MAX, LOST_HEADS_MAX, LostPart};
pub use intents::{IntentId, OpenIntent};
pub use ruling::{CLOCK_SKEW_MAX, NOT_REVEALED, PERMIT_LIFE, RecordRefused};
pub use snapshot::{STATE_VERSION, Snapshot, SnapshotError};
pub use unenforced::{NOT_UNDER_AUDIT, UNDER_AUDIT};
pub use votes::{VOTE_SKEW_MAX, VoteRefused};

/// How long an ambiguous outcome refuses a blind repeat: a day.
pub const AMBIGUOUS_FOR: Duration = Duration::from_secs(86_400);

/// Bundles by digest; each is in the log's blobs.
pub trait Bundles {
    /// The bundle of that digest.
    fn bundle(&self, digest: &BundleDigest) -> Option<Arc<Bundle>>;
}

/// The ledger's state of one log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    log: String,
    keys: TrustedKeys,
    /// None where the first leaf names none that can be used.
    log_keys: LogKeys,
    #[serde(skip)]
    active: Option<Arc<Bundle>>,
    /// Of the active bundle, where it has one.
    revision: Option<Revision>,
    streams: BTreeMap<StreamId, Stream>,
    /// The open stream of each pod.
    #[serde(skip)]
    pods: BTreeMap<String, StreamId>,
    meters: meters::Meters,
    /// What would stand on the limits besides, had the audited actions that would have been permitted been held to them.
    rehearsed: meters::Meters,
    /// Bundles under audit that were active, and until when.
    audits: BTreeMap<BundleDigest, Audited>,
    intents: intents::Intents,
    approvals: approvals::Approvals,
    history: history::History,
    revoked: BTreeSet<String>,
    erasures: Vec<Erasure>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<LostPart>,
}

/// A bundle under audit that was active.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Audited {
    /// Not set while it is the active one.
    #[serde(with = "serde_instant_opt")]
    until: Option<Timestamp>,
}

/// One sidecar as the ledger knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Its public key.
    #[serde(with = "kept::hex32")]
    pub key: [u8; 32],
    /// Name of its Passport.
    pub passport: String,
    /// Name of its agent.
    pub agent: String,
    /// Id of its token.
    pub jti: String,
    /// When its token ends.
    #[serde(with = "serde_instant")]
    pub expires: Timestamp,
    /// Uid of its pod, where it has one.
    pub pod_uid: Option<String>,
    /// Sequence number expected next.
    pub next_seq: u64,
    /// Hash of its last record.
    pub head: RecordHash,
    /// Whether and how it ended.
    pub ended: Option<StreamEnd>,
}

/// A leaf does not follow from the leaves before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The leaf belongs to another log.
    #[error("the leaf belongs to log `{0}`")]
    ForeignLog(String),
    /// A bundle became active whose bytes are missing.
    #[error("bundle {0} is named and not there")]
    MissingBundle(BundleDigest),
    /// A bundle became active that is not later than the one before.
    #[error("bundle {digest} does not come after that of revision {newest}")]
    StaleBundle {
        /// The bundle.
        digest: BundleDigest,
        /// Revision of the one before.
        newest: Revision,
    },
    /// A stream that was never opened, or has ended.
    #[error("stream {0} is not open")]
    NotOpen(StreamId),
    /// A second stream of a pod whose first has not ended.
    #[error("pod `{0}` has a stream that has not ended")]
    SecondStream(String),
    /// A record out of its stream's order.
    #[error("stream {stream}: record {found} stands where {expected} belongs")]
    OutOfOrder {
        /// The stream.
        stream: StreamId,
        /// Expected sequence number.
        expected: u64,
        /// Found sequence number.
        found: u64,
    },
    /// A record that does not continue its stream's hash chain.
    #[error("stream {0}: record {1} does not continue the chain")]
    BrokenChain(StreamId, u64),
    /// A log key that does not follow the one in force.
    #[error("the log key does not follow")]
    LogKey(#[from] LogKeyRefused),
    /// More is reserved than a limit allows.
    #[error("limit on `{meter}` is overspent: {used} of {max}")]
    Overspent {
        /// The meter.
        meter: String,
        /// Total with this reservation.
        used: i64,
        /// The cap.
        max: i64,
    },
    /// A permit without what it needs.
    #[error("the permit does not follow: {0}")]
    BadPermit(&'static str),
    /// An approval used that was not granted, or was used already.
    #[error("approval {0} is used and not granted")]
    NotGranted(String),
    /// A vote that does not count.
    #[error("vote on approval {0}: {1}")]
    BadVote(String, VoteRefused),
    /// An event about something that is not there.
    #[error("{0} `{1}` is not there")]
    Unknown(&'static str, String),
    /// Anything that is no leaf of a ledger of this version.
    #[error("{0}")]
    Form(&'static str),
}

impl State {
    /// The state before the first leaf of the log of that origin.
    pub fn new(log: &str) -> Self {
        Self {
            log: log.to_owned(),
            keys: TrustedKeys::default(),
            log_keys: LogKeys::default(),
            active: None,
            revision: None,
            streams: BTreeMap::new(),
            pods: BTreeMap::new(),
            meters: meters::Meters::default(),
            rehearsed: meters::Meters::default(),
            audits: BTreeMap::new(),
            intents: intents::Intents::default(),
            approvals: approvals::Approvals::default(),
            history: history::History::default(),
            revoked: BTreeSet::new(),
            erasures: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// `<cluster-id>/<namespace>/<namespace-uid>`: the log's name without its prefix.
    pub fn tenant(&self) -> &str {
        self.log.strip_prefix("actpass/").unwrap_or(&self.log)
    }

    /// Keys that the log names as believed now.
    pub fn keys(&self) -> &TrustedKeys {
        &self.keys
    }

    /// The keys that sign its checkpoints, by size.
    pub fn log_keys(&self) -> &LogKeys {
        &self.log_keys
    }

    /// The active bundle.
    pub fn active(&self) -> Option<&Arc<Bundle>> {
        self.active.as_ref()
    }

    /// The revision of the active bundle, where it has one.
    pub fn revision(&self) -> Option<Revision> {
        self.revision
    }

    /// The stream of that id.
    pub fn stream(&self, id: &StreamId) -> Option<&Stream> {
        self.streams.get(id)
    }

    /// The stream of that pod that has not ended.
    pub fn stream_of_pod(&self, uid: &str) -> Option<&StreamId> {
        self.pods.get(uid)
    }

    /// Streams that have not ended.
    pub fn open_streams(&self) -> impl Iterator<Item = (&StreamId, &Stream)> {
        self.streams
            .iter()
            .filter(|(_, stream)| stream.ended.is_none())
    }

    /// Permitted actions whose outcome is not known: awaited, or unknown for less than [`AMBIGUOUS_FOR`].
    pub fn open_intents(&self) -> impl Iterator<Item = (&IntentId, &OpenIntent)> {
        self.intents.iter()
    }

    /// The permitted action of that record, while its outcome is not known.
    pub fn open_intent(&self, id: &IntentId) -> Option<&OpenIntent> {
        self.intents.get(id)
    }

    /// Approvals by id; closed ones until a day after they expired.
    pub fn approvals(&self) -> impl Iterator<Item = &Approval> {
        self.approvals.iter()
    }

    /// The approval of that id.
    pub fn approval(&self, id: &str) -> Option<&Approval> {
        self.approvals.get(id)
    }

    /// Whether the passport was withdrawn.
    pub fn is_revoked(&self, passport: &str) -> bool {
        self.revoked.contains(passport)
    }

    /// Erasures of texts, oldest first.
    pub fn erasures(&self) -> &[Erasure] {
        &self.erasures
    }

    /// Used and reserved on one limit now, and when the oldest part of it frees.
    pub fn used(&self, passport: &str, limit: &Limit, now: Timestamp) -> (i64, Option<Timestamp>) {
        self.meters.on(passport, limit, now, self.used_up_since())
    }

    /// Takes a leaf in. Chain, tree and signatures are checked elsewhere; this checks what the leaf means.
    ///
    /// # Errors
    /// Where the leaf does not follow from the ones before it. The state must not be used any further.
    pub fn apply(&mut self, leaf: &Leaf, bundles: &dyn Bundles) -> Result<(), StateError> {
        let hash = leaf.record().and_then(|(record, _)| record.hash().ok());
        self.take(leaf, hash, bundles)
    }

    /// [`State::apply`] of a leaf that was read from its bytes, which were hashed then.
    ///
    /// # Errors
    /// As [`State::apply`].
    pub fn apply_read(&mut self, read: &ReadLeaf, bundles: &dyn Bundles) -> Result<(), StateError> {
        self.take(read.leaf(), read.record_hash(), bundles)
    }

    /// `hash`: of its record; none where that has no canonical form.
    fn take(
        &mut self,
        leaf: &Leaf,
        hash: Option<RecordHash>,
        bundles: &dyn Bundles,
    ) -> Result<(), StateError> {
        if leaf.h.log != self.log {
            return Err(StateError::ForeignLog(leaf.h.log.clone()));
        }
        self.intents.expire(leaf.h.time);
        match (&leaf.r, &leaf.d) {
            (Entry::Record(record), Some(ruling)) => {
                self.apply_record(record, hash, ruling, &leaf.h)
            }
            (Entry::Event(event), None) => self.apply_event(&event.what, &leaf.h, bundles),
            (Entry::Record(_), None) => Err(StateError::Form("a record without a ruling")),
            (Entry::Event(_), Some(_)) => Err(StateError::Form("an event with a ruling")),
        }
    }
}

/// `time` moved on; the end of time where it would run over.
fn after(time: Timestamp, span: Duration) -> Timestamp {
    time.checked_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
pub(crate) mod testlog;
#[cfg(test)]
mod tests;
