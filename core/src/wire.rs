//! The ledger's API as data: what sidecars, people and the ledger say to each other.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::evidence::commitment::Openings;
use crate::evidence::leaf::RulingVerdict;
use crate::evidence::record::Record;
use crate::hash::{BundleDigest, RecordHash, StreamId};

/// Most records in one batch.
pub const BATCH_RECORDS_MAX: usize = 512;

/// Most bytes of one batch. One record of the largest size always fits.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;

/// `POST /v1/streams`: opens the stream of the connection's client key, or renews its passport.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenStream {
    /// The passport, a compact JWS.
    pub passport: String,
}

/// Where the ledger stands with a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamOpened {
    /// The stream.
    pub stream: StreamId,
    /// Origin of the tenant's log.
    pub log: String,
    /// Sequence number expected next.
    pub next_seq: u64,
    /// Hash of the last record accepted; zero for none.
    pub head: RecordHash,
    /// The active bundle.
    pub bundle: BundleDigest,
    /// The newest signed checkpoint.
    pub checkpoint: String,
    /// Consistency proof from the size in the query `from` (0 if absent), lower-case hex.
    pub consistency: Vec<String>,
}

/// One line of `POST /v1/streams/{id}/records`, canonical JSON; the last line is a [`BatchEnd`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordLine {
    /// Openings of the record's commitments.
    pub o: Openings,
    /// The record.
    pub r: Record,
}

/// Last line of a batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchEnd {
    /// Ed25519 over [`crate::evidence::record::batch_message`], base64url.
    pub s: String,
    /// The sidecar's clock as it sent the batch.
    #[serde(with = "crate::canonical::serde_instant")]
    pub sent: Timestamp,
    /// Size of the sidecar's kept head, from which consistency is proved.
    pub from: u64,
}

/// One line of the answer, one per record, in order; the last line is an [`AnswerEnd`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerLine {
    /// Sequence number of the record.
    pub seq: u64,
    /// The ruling's verdict.
    pub verdict: RulingVerdict,
    /// The ruling's reason.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The leaf's exact bytes, as text.
    pub leaf: String,
    /// Its index in the tree.
    pub index: u64,
    /// Inclusion proof towards the checkpoint of the last line, lower-case hex. Only for permits; empty else.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub path: Vec<String>,
    /// The secret lent with a permit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub secret: Option<String>,
}

/// Last line of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerEnd {
    /// Signed checkpoint that covers all leaves of the answer.
    pub checkpoint: String,
    /// Consistency proof from the size the batch named, lower-case hex.
    pub consistency: Vec<String>,
}

/// A refusal of the API: RFC 9457 problem details.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `about:blank`, or a documentation address.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short and constant per code.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// Machine-readable: `stale_policy`, `unknown_stream`, `sequence`, `unauthorized`, …
    pub code: String,
}

/// `POST /v1/streams/{id}/leases`: a read credential for a while.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseRequest {
    /// Name of the upstream.
    pub upstream: String,
    /// The exact host it will be sent to.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A leased or released credential.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// Its name.
    pub credential: String,
    /// Its version.
    pub version: u64,
    /// The secret.
    pub secret: String,
    /// Until when it may be used.
    #[serde(with = "crate::canonical::serde_instant")]
    pub expires: Timestamp,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("credential", &self.credential)
            .field("secret", &"[redacted]")
            .finish_non_exhaustive()
    }
}

/// `GET /v1/approvals`, `GET /v1/approvals/{id}`: a question to people, as facts they can judge.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalView {
    /// Its id.
    pub id: String,
    /// Digest of the action under the tenant's key, as the log names it, lower-case hex: what a vote is on.
    pub digest: String,
    /// `sealing`, `pending`, `granted`, `denied`, `expired` or `used`.
    pub state: String,
    /// What: the capability.
    pub capability: String,
    /// Whether it can be undone: `Read`, `Write` or `Irreversible`.
    pub effect: String,
    /// How much, as decimal text with currency.
    pub amount: Option<String>,
    /// On what.
    pub resource: Option<String>,
    /// Where: method, host and path.
    pub target: String,
    /// By whom: the agent.
    pub agent: String,
    /// Its Passport.
    pub passport: String,
    /// Who answers for the agent.
    pub owner: String,
    /// What the agent is for, as the Passport says.
    pub purpose: String,
    /// What the agent says its reason is: its own words, not checked.
    pub rationale: Option<String>,
    /// Declared attributes.
    pub attributes: std::collections::BTreeMap<String, String>,
    /// What goes out: judged headers by name, the query, every value of the body in its order. A list carries only
    /// what no fact above shows, at most 16 KiB of it, and nothing for a question that was answered with no, expired or used.
    pub sent: Vec<SentView>,
    /// How many of them the list leaves out; none of them are left out elsewhere.
    pub sent_more: u64,
    /// Why not all of it can be shown; nobody can agree to it then. Where its texts cannot be read, what stands here is
    /// what the log says in clear: no resource, and the template of the path instead of the path.
    pub unseen: Option<String>,
    /// Rules that ask.
    pub rules: Vec<String>,
    /// `required_by_rule`, `irreversible` or `limit_exceeded`.
    pub because: String,
    /// Limits as they stand now.
    pub limits: Vec<LimitView>,
    /// Limits it goes over, as they stood when it was asked: an approval lifts these, so far and no further.
    pub over_limits: Vec<OverLimitView>,
    /// Groups of each seat and how many of them have to agree.
    pub seats: Vec<SeatView>,
    /// When it was asked.
    #[serde(with = "crate::canonical::serde_instant")]
    pub asked: Timestamp,
    /// Until when it stands.
    #[serde(with = "crate::canonical::serde_instant")]
    pub expires: Timestamp,
    /// Votes so far.
    pub votes: Vec<VoteView>,
}

/// `GET /v1/approvals?brief=true`: where a question stands, without what it is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalBrief {
    /// Its id.
    pub id: String,
    /// `sealing`, `pending`, `granted`, `denied`, `expired` or `used`.
    pub state: String,
    /// When it was asked.
    #[serde(with = "crate::canonical::serde_instant")]
    pub asked: Timestamp,
    /// Until when it stands.
    #[serde(with = "crate::canonical::serde_instant")]
    pub expires: Timestamp,
    /// Votes so far.
    pub votes: Vec<VoteView>,
}

/// One value of a request, as the agent wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentView {
    /// Where it stands.
    pub place: SentPlace,
    /// Its name there: a header in lower case, a decoded key, or the place of a JSON value.
    pub name: String,
    /// Its value, decoded; a JSON value that is no string as its text.
    pub value: String,
    /// Whether amount, resource or an attribute is read from it, so that the facts show it too.
    pub fact: bool,
}

/// Part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SentPlace {
    /// A judged header.
    Header,
    /// The query.
    Query,
    /// The body.
    Body,
}

/// The exact request behind an escalation, as it is kept for people. What may hold any byte is base64url.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedRequest {
    /// The body.
    pub body: String,
    /// Headers as they came, without the agent's credentials.
    pub headers: Vec<(String, String)>,
    /// Name dialled.
    pub host: String,
    /// Whether it came over HTTP/2.
    #[serde(default)]
    pub http2: bool,
    /// Method.
    pub method: String,
    /// Port dialled.
    pub port: u16,
    /// Path and query as sent.
    pub target: String,
    /// [`SEALED_VERSION`].
    pub v: String,
}

/// Version of the form above.
pub const SEALED_VERSION: &str = "actpass.sealed/1";

/// A limit that an approval lifts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverLimitView {
    /// Meter it caps.
    pub meter: String,
    /// Unit of the numbers.
    pub unit: String,
    /// The cap, in major units.
    pub max: String,
    /// The total with this action, in major units.
    pub reaches: String,
    /// Its window.
    pub window: String,
}

/// One seat of an approval.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeatView {
    /// Groups whose members may answer.
    pub groups: Vec<String>,
    /// How many different people must agree.
    pub quorum: u32,
}

/// One vote.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoteView {
    /// Who.
    pub user: String,
    /// Yes or no.
    pub grant: bool,
    /// When.
    #[serde(with = "crate::canonical::serde_instant")]
    pub time: Timestamp,
}

/// `POST /v1/approvals/{id}/votes` in local mode; in a cluster it takes a [`crate::vote::SignedVote`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoteRequest {
    /// Yes or no.
    pub grant: bool,
}

/// `GET /v1/limits`: where one limit stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitView {
    /// The Passport.
    pub passport: String,
    /// The meter.
    pub meter: String,
    /// Currency code or `Count`.
    pub unit: String,
    /// The cap: decimal text of the unit.
    pub max: String,
    /// Used and reserved in the window.
    pub used: String,
    /// What is left.
    pub left: String,
    /// The window: `86400s sliding`, `calendar day (UTC)`, …
    pub window: String,
    /// When the oldest part frees, RFC 3339.
    pub frees_at: Option<String>,
}

/// `GET /v1/intents`: a permitted action whose outcome is not known.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntentView {
    /// The stream.
    pub stream: StreamId,
    /// The intent.
    pub seq: u64,
    /// `open` or `ambiguous`.
    pub state: String,
    /// What.
    pub capability: String,
    /// How much.
    pub amount: Option<String>,
    /// By whom.
    pub agent: String,
    /// When it was permitted.
    #[serde(with = "crate::canonical::serde_instant")]
    pub time: Timestamp,
}

/// `POST /v1/intents/{stream}/{seq}/resolution`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    /// Whether the effect took place.
    pub happened: bool,
}

/// `POST /v1/erasures`: of one subject, or of all before a month.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseRequest {
    /// Whose texts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<String>,
    /// Texts of the months before that of this instant, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<String>,
    /// On what ground; it stands in the log in clear.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub why: Option<String>,
    /// Only say what would be erased.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub dry_run: bool,
}

/// What an erasure made unreadable, or would.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErasedView {
    /// Its id; none where nothing was erased, since there was nothing or nobody asked for more than the counts.
    pub id: Option<String>,
    /// The subject as the log names it: a MAC.
    pub subject: Option<String>,
    /// The month before which everything is erased.
    #[serde(with = "crate::canonical::serde_instant_opt", default)]
    pub before: Option<Timestamp>,
    /// Leaves whose texts could be read.
    pub texts: u64,
    /// Requests that were kept for people.
    pub requests: u64,
    /// Questions to people that end with it.
    pub questions: u64,
}

/// `GET /v1/erasures`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErasureView {
    /// Its id.
    pub id: String,
    /// The leaf that records it.
    pub leaf: u64,
    /// When that was logged.
    #[serde(with = "crate::canonical::serde_instant")]
    pub time: Timestamp,
    /// The subject as the log names it: a MAC.
    pub subject: Option<String>,
    /// The month before which everything is erased.
    #[serde(with = "crate::canonical::serde_instant_opt", default)]
    pub before: Option<Timestamp>,
    /// Who asked for it.
    pub by: String,
    /// On what ground.
    pub why: String,
}

/// `PUT /v1/credentials/{name}`: stores or rotates. Values are write-only.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutCredential {
    /// The secret.
    pub secret: String,
    /// Where it may be sent. Absent on a rotation: unchanged.
    pub bindings: Option<Bindings>,
}

/// Where a credential may be sent; fixed when it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bindings {
    /// Host patterns.
    pub hosts: Vec<String>,
    /// Ports.
    pub ports: Vec<u16>,
    /// Header that carries it, lower case.
    pub header: String,
    /// What is put around the secret, as `Bearer {secret}`; absent: whatever the Upstream says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub format: Option<String>,
    /// SHA-256 of the upstream's declared CA bundle, hex; absent: public roots.
    pub ca_digest: Option<String>,
    /// Effects it may be lent for.
    pub effects: Vec<crate::upstream::Effect>,
}

/// Most lines of `GET /v1/events?last=N`: they are held until the end of the log is known, at 2 KiB or so each.
pub const LAST_MAX: usize = 10_000;

/// `GET /v1/credentials`: no secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialView {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// Where it may be sent.
    pub bindings: Bindings,
    /// When this version was stored.
    #[serde(with = "crate::canonical::serde_instant")]
    pub created: Timestamp,
}
