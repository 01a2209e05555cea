//! Leaves: the bytes the ledger logs, one per record or ledger event, chained and in an RFC 6962 tree.

mod mac;
mod ruling;
mod wire;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::canonical::{self, CanonicalError};
use crate::evidence::record::{RECORD_BYTES_MAX, Record};
use crate::hash::{
    BlobDigest, BundleDigest, DigestMac, LeafHash, RecordHash, StreamId, TreeRoot, sha256,
};
use crate::vote::SignedVote;

pub use mac::{ActionMacs, MacKey};
pub use ruling::{CredentialRef, Ruling, RulingApproval, RulingFacts, RulingVerdict, Settlement};

/// Version of the form below.
pub const LEAF_VERSION: &str = "actpass.leaf/1";

/// Longest leaf, in bytes.
pub const LEAF_BYTES_MAX: usize = 32 * 1024;

/// Longest text within a leaf, in bytes once unescaped: a rationale or a detail of a screen, so that no one
/// field crowds out the others.
pub const FIELD_BYTES_MAX: usize = 1024;

/// One leaf. Canonical JSON `{"d","h","r","s","v"}`; `d` and `s` are left out where there is none. Read from text in memory only, of which
/// it borrows: `serde_json::from_slice`, not `from_reader` or `from_value`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// What the ledger decided, on a record.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub d: Option<Box<Ruling>>,
    /// Where it stands.
    pub h: LeafHeader,
    /// What it is about.
    pub r: Entry,
    /// Batch signature, base64url, on a batch's last record.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub s: Option<String>,
    /// [`LEAF_VERSION`].
    pub v: String,
}

/// Where a leaf stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafHeader {
    /// Origin: `actpass/<cluster-id>/<namespace>/<namespace-uid>`.
    pub log: String,
    /// RFC 6962 leaf hash of the leaf before, or [`genesis_prev`].
    pub prev: LeafHash,
    /// From 0; the index in the tree.
    pub seq: u64,
    /// Strictly increasing per log, in microseconds.
    #[serde(with = "crate::canonical::serde_instant")]
    pub time: Timestamp,
}

/// A sidecar's record, or an event of the ledger's own.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// `"v":"actpass.record/1"`.
    Record(Box<Record>),
    /// `"v":"actpass.event/1"`.
    Event(Box<Event>),
}

/// Something the ledger itself did or was told by people. `{"body","kind","v":"actpass.event/1"}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub what: EventBody,
}

/// Version of the event form.
pub const EVENT_VERSION: &str = "actpass.event/1";

/// What happened in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    content = "body",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum EventBody {
    /// First leaf of a log.
    Genesis {
        /// Repeats the log's name.
        origin: String,
        /// Checkpoint key, as a C2SP verifier key.
        log_key: String,
        /// Keys passports are signed with: `kid` to base64url public key.
        issuer_keys: std::collections::BTreeMap<String, String>,
    },
    /// Another key signs checkpoints from the tree on that holds this leaf; see [`log_keys`](crate::evidence::log_keys).
    LogKey {
        /// It, as a C2SP verifier key.
        key: String,
        /// By the key in force before, base64url.
        by: String,
    },
    /// Keys believed from here on, all of them: whatever rests on a key follows the leaf that names it.
    Keys(TrustedKeys),
    /// A bundle became the active one.
    Bundle {
        /// Its SHA-256; its bytes are a blob of the same group.
        digest: BundleDigest,
        /// Whose word it is, where several may give bundles; later than that of every bundle before. Absent in local mode
        /// and in logs of earlier versions.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        revision: Option<Revision>,
    },
    /// A sidecar opened or renewed its stream.
    StreamOpened {
        /// The stream.
        stream: StreamId,
        /// Its public key, base64url.
        key: String,
        /// Name of the Passport.
        passport: String,
        /// Name of the agent.
        agent: String,
        /// Id of the token.
        jti: String,
        /// When the token ends.
        #[serde(with = "crate::canonical::serde_instant")]
        expires: Timestamp,
        /// Id of the key that signed the token; the log names that key before. Absent in logs of earlier versions.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        issuer: Option<String>,
        /// The pod it was issued to; absent in local mode.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        pod_uid: Option<String>,
    },
    /// A stream takes no more records. Its open intents are `ambiguous` from here.
    StreamEnded {
        /// The stream.
        stream: StreamId,
        /// Whether its last words were heard.
        how: StreamEnd,
    },
    /// The exact request behind an escalation is kept, so that people may see the question.
    Sealed {
        /// The approval.
        approval: String,
        /// The stream that asked.
        stream: StreamId,
        /// The intent that asked.
        seq: u64,
        /// SHA-256 of the stored ciphertext.
        blob: BlobDigest,
        /// Size of the request, in bytes.
        bytes: u64,
    },
    /// A person answered.
    Vote {
        /// The approval.
        approval: String,
        /// Yes or no.
        grant: bool,
        /// Who, as authenticated.
        user: String,
        /// Groups the vote counts for.
        groups: Vec<String>,
        /// The vote as it was stamped and signed where the API server said who it is; absent in local mode, where the
        /// ledger itself knows who answers.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        signed: Option<Box<SignedVote>>,
    },
    /// A read credential was leased to a stream.
    Leased {
        /// The stream.
        stream: StreamId,
        /// Upstream it is for.
        upstream: String,
        /// Its name in the vault.
        credential: String,
        /// Its version.
        version: u64,
        /// When the lease ends.
        #[serde(with = "crate::canonical::serde_instant")]
        expires: Timestamp,
    },
    /// The secret of a permit was handed out again because the answer was lost on the way.
    CredentialReleased {
        /// The stream.
        stream: StreamId,
        /// The permitted intent.
        seq: u64,
        /// Its name in the vault.
        credential: String,
    },
    /// A credential was stored, rotated or deleted.
    CredentialChanged {
        /// Its name.
        credential: String,
        /// Version after the change; 0 once deleted.
        version: u64,
        /// `put`, `rotate` or `delete`.
        change: String,
        /// Who did it.
        by: String,
    },
    /// A passport was withdrawn.
    Revoked {
        /// Name of the Passport.
        passport: String,
        /// Who did it.
        by: String,
        /// Why.
        why: String,
    },
    /// Somebody found out what became of an ambiguous action.
    Resolved {
        /// The stream.
        stream: StreamId,
        /// The intent.
        seq: u64,
        /// Whether the effect took place.
        happened: bool,
        /// Who found out.
        by: String,
    },
    /// Keys of texts were destroyed, so that nobody can read these texts any more: all that were kept of one subject, or all
    /// from before a month. Leaves stay as they are.
    Erasure {
        /// Its id.
        id: String,
        /// Whose texts: HMAC-SHA-256 of the subject under the tenant's key. Its first eight bytes stand in the name of the key.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        subject: Option<DigestMac>,
        /// The last generation of that subject's keys that is gone; each erasure of a subject begins another.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        generation: Option<u64>,
        /// Texts of the months before this one, which begins then.
        #[serde(
            skip_serializing_if = "Option::is_none",
            with = "crate::canonical::serde_instant_opt",
            default
        )]
        before: Option<Timestamp>,
        /// Who asked for it.
        by: String,
        /// On what ground.
        why: String,
    },
    /// Texts of these leaves go with an export in clear, as far as there are any and they are not erased. Logged before the first byte
    /// is sent, so it stands also where the answer was broken off, or nothing of them could be opened.
    TextsDisclosed {
        /// Which, in order; all of them stand before this leaf.
        leaves: Vec<LeafRange>,
        /// Who asked for it.
        by: String,
    },
    /// The log goes on where a copy of it ended: what was logged after that is lost. Every stream ends here, its tail unknown, and
    /// every question to people is over.
    Gap {
        /// Leaves that are left: the number of this one.
        size: u64,
        /// Root over them.
        root: TreeRoot,
        /// Heads that the log had and has no more, the smallest first, where any is known.
        #[serde(skip_serializing_if = "Vec::is_empty", default)]
        lost: Vec<LostHead>,
        /// What counts as used of limits from here on.
        limits: GapLimits,
        /// Who says so.
        by: String,
        /// Why.
        why: String,
    },
    /// The last group was torn by a crash and dropped; nobody was ever told that it was kept.
    Recovery {
        /// Bytes dropped.
        bytes: u64,
    },
}

/// Leaves that follow on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafRange {
    /// The first.
    pub first: u64,
    /// The last, which may be the first.
    pub last: u64,
}

/// A head that a log had once and has no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostHead {
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: TreeRoot,
}

/// What counts as used of limits, where part of the log is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapLimits {
    /// All of every limit, until what was used before the gap no longer counts towards it.
    UsedUp,
    /// What is logged: somebody knows that nothing else was.
    AsLogged,
}

/// Orders the bundles of several writers, of which one at a time leads: first by term, then by count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// Which leader: each has a greater one than those before it. At most 2^53 - 1.
    pub term: u64,
    /// Counts what that leader gave. At most 2^53 - 1.
    pub count: u64,
}

/// `TERM.COUNT`.
impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.term, self.count)
    }
}

/// Keys that a log names: `kid` to base64url public key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedKeys {
    /// Those passports are signed with.
    pub issuer_keys: std::collections::BTreeMap<String, String>,
    /// Those votes are stamped with.
    pub vote_keys: std::collections::BTreeMap<String, String>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamEnd {
    /// The sidecar said that it was done.
    Closed,
    /// It is gone; its ring file was found, and all that it recorded is here.
    ExpiredTailKnown,
    /// It is gone; what it did last is not known.
    ExpiredTailUnknown,
}

/// Why bytes are not a leaf, or a leaf has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not the canonical form of a leaf.
    #[error("not a canonical leaf")]
    Form(#[from] CanonicalError),
    /// Over [`LEAF_BYTES_MAX`].
    #[error("the leaf has {0} bytes, at most {LEAF_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// Over [`FIELD_BYTES_MAX`].
    #[error("a field of the leaf has {0} bytes, at most {FIELD_BYTES_MAX} are allowed")]
    FieldTooLong(usize),
    /// Another version.
    #[error("the leaf has version `{0}`, this build reads {LEAF_VERSION}")]
    Version(String),
    /// A record without a ruling, or an event with a ruling or a batch signature.
    #[error("a record needs a ruling, and an event has neither ruling nor batch signature")]
    Parts,
}

impl Leaf {
    /// A leaf over a record, with its ruling and, on a batch's last record, the batch signature.
    pub fn of_record(
        h: LeafHeader,
        record: Record,
        ruling: Ruling,
        signature: Option<String>,
    ) -> Self {
        let r = Entry::Record(Box::new(record));
        Self {
            d: Some(Box::new(ruling)),
            h,
            r,
            s: signature,
            v: LEAF_VERSION.to_owned(),
        }
    }

    /// A leaf over an event of the ledger.
    pub fn of_event(h: LeafHeader, what: EventBody) -> Self {
        Self {
            d: None,
            h,
            r: Entry::Event(Box::new(Event { what })),
            s: None,
            v: LEAF_VERSION.to_owned(),
        }
    }

    /// The bytes that are hashed and logged.
    ///
    /// # Errors
    /// Where the parts do not make a leaf, have no canonical form or are over the bounds.
    pub fn canonical(&self) -> Result<Vec<u8>, LeafError> {
        self.check_parts()?;
        let bytes = canonical::to_vec(self)?;
        check_bounds(&bytes)?;
        Ok(bytes)
    }

    /// Reads a leaf from its canonical bytes.
    ///
    /// # Errors
    /// Where the bytes are over the bounds, another spelling of a leaf, or none.
    pub fn parse(bytes: &[u8]) -> Result<Self, LeafError> {
        Self::parse_parts(bytes).map(|(leaf, _)| leaf)
    }

    /// The leaf, and the bytes of what it is about.
    fn parse_parts(bytes: &[u8]) -> Result<(Self, Option<&[u8]>), LeafError> {
        check_bounds(bytes)?;
        let (leaf, about): (Self, _) = canonical::from_slice_exact_with(bytes, "r")?;
        leaf.check_parts()?;
        Ok((leaf, about))
    }

    /// The record and its ruling, where it is about one.
    pub fn record(&self) -> Option<(&Record, &Ruling)> {
        match (&self.r, &self.d) {
            (Entry::Record(record), Some(ruling)) => Some((record, ruling)),
            _ => None,
        }
    }

    /// The event, where it is about one.
    pub fn event(&self) -> Option<&EventBody> {
        match &self.r {
            Entry::Event(event) => Some(&event.what),
            Entry::Record(_) => None,
        }
    }

    fn check_parts(&self) -> Result<(), LeafError> {
        if self.v != LEAF_VERSION {
            return Err(LeafError::Version(canonical::excerpt(&self.v)));
        }
        match (&self.r, &self.d, &self.s) {
            (Entry::Record(_), Some(_), _) | (Entry::Event(_), None, None) => Ok(()),
            // Seeded: an event may carry a batch signature.
            (Entry::Event(_), None, Some(_)) if crate::SEEDED_BUGS => Ok(()),
            _ => Err(LeafError::Parts),
        }
    }
}

/// A leaf as it was read from its bytes, with the hash of its record: it is not written out again to be hashed.
#[derive(Clone, Debug)]
pub struct ReadLeaf {
    leaf: Leaf,
    record: Option<RecordHash>,
}

impl ReadLeaf {
    /// As [`Leaf::parse`].
    ///
    /// # Errors
    /// As [`Leaf::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, LeafError> {
        let (leaf, about) = Leaf::parse_parts(bytes)?;
        let about = about.filter(|about| about.len() <= RECORD_BYTES_MAX);
        let record = match &leaf.r {
            Entry::Record(_) => about.map(Record::hash_of),
            Entry::Event(_) => None,
        };
        Ok(Self { leaf, record })
    }

    /// The leaf.
    pub fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// Hash of its record; none of an event, and of a record that is longer than one may be.
    pub fn record_hash(&self) -> Option<RecordHash> {
        self.record
    }
}

fn check_bounds(bytes: &[u8]) -> Result<(), LeafError> {
    if bytes.len() > LEAF_BYTES_MAX {
        return Err(LeafError::TooLong(bytes.len()));
    }
    match longest_field(bytes) {
        length if length > FIELD_BYTES_MAX => Err(LeafError::FieldTooLong(length)),
        _ => Ok(()),
    }
}

/// Length of the longest string in a canonical JSON text, in bytes once unescaped; an escaped control character
/// counts as the five bytes after its backslash, so never as too few.
pub(crate) fn longest_field(json: &[u8]) -> usize {
    let (mut longest, mut rest) = (0, json);
    while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
        let mut length = 0;
        rest = rest.get(quote + 1..).unwrap_or_default();
        while let Some(at) = canonical::first_special(rest) {
            let special = rest.get(at);
            length += at;
            rest = rest.get(at + 1..).unwrap_or_default();
            if special == Some(&b'"') {
                longest = longest.max(length);
                break;
            }
            // The escaped byte counts, its backslash does not.
            length += 1;
            if special == Some(&b'\\') {
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    longest
}

/// `text` cut to what a field may hold, at a character boundary.
pub fn bounded(text: &str) -> String {
    // A control character is written as `\u00xx`: counted at its full length, as in `longest_field`.
    let mut length = 0;
    let fits = |char: &char| {
        length += if char.is_control() {
            "u0000".len()
        } else {
            char.len_utf8()
        };
        length <= FIELD_BYTES_MAX
    };
    text.chars().take_while(fits).collect()
}

/// `prev` of a log's first leaf: SHA-256(`actpass-genesis-v1\0` ‖ origin).
pub fn genesis_prev(origin: &str) -> LeafHash {
    LeafHash::from_bytes(sha256(&[b"actpass-genesis-v1\0", origin.as_bytes()]))
}

#[cfg(test)]
mod tests;
