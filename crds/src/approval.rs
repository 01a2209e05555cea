//! `Approval`: one question to people, as facts they can judge.
//!
//! The facts are those of [`actpass_core::wire::ApprovalView`], under the same names.

mod view;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::approval_vote::VoteDecision;
use crate::condition::Condition;
use crate::instant::Instant;
use crate::upstream::Effect;
use crate::{rules, shape};

pub use view::NotShown;

/// An Approval is one question to people about one action, as facts they can judge. Answer it with an ApprovalVote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::ESCALATION))]
pub struct EscalationSpec {
    /// Id in the evidence, in the answer to the agent and in actpass approvals.
    #[schemars(length(min = 1, max = 64), regex(pattern = shape::LINE.pattern))]
    pub approval_id: String,
    /// Digest of the action: what is approved is this action and no other.
    #[schemars(length(min = 64, max = 64), regex(pattern = shape::HASH.pattern))]
    pub digest: String,
    /// What is to be done: the capability.
    #[schemars(length(max = 128))]
    pub capability: String,
    /// Whether it can be undone.
    pub effect: Effect,
    /// How much, as decimal text with currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub amount: Option<String>,
    /// What it is done to: an account, a charge, a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub resource: Option<String>,
    /// Where: method, host and path.
    #[schemars(length(max = 16_384))]
    pub target: String,
    /// By whom: the agent.
    #[schemars(length(max = 128))]
    pub agent: String,
    /// Name of the Passport that the agent acts under.
    #[schemars(length(max = 63))]
    pub passport: String,
    /// Who answers for the agent, and may not vote.
    #[schemars(length(max = 253))]
    pub owner: String,
    /// What the agent is for, as the Passport says.
    #[schemars(length(max = 512))]
    pub purpose: String,
    /// What the agent says its reason is: its own words, not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub rationale: Option<String>,
    /// Declared attributes of the action.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    pub attributes: BTreeMap<String, String>,
    /// What else is sent and no fact above shows: judged headers, the query, values of the body in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub sent: Vec<Sent>,
    /// How many values are sent besides and left out here. See all of them with kubectl actpass approvals show.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub sent_more: i64,
    /// Why not all of it can be shown. Nobody can approve it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub unseen: Option<String>,
    /// Why people are asked.
    pub because: Because,
    /// The rules that ask, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 256)))]
    pub rules: Vec<String>,
    /// Limits of the Passport as they stood when it was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub limits: Vec<LimitLeft>,
    /// Limits it goes over: an approval lifts these, so far and no further.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub over_limits: Vec<OverLimit>,
    /// Who has to agree: every seat.
    #[schemars(length(min = 1, max = 256))]
    pub seats: Vec<Seat>,
    /// When it was asked.
    pub asked_at: Instant,
    /// Until when it can be answered and used.
    pub expires_at: Instant,
}

/// Why people are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Because {
    /// A rule says so.
    RequiredByRule,
    /// It cannot be undone, and no rule allows that without asking.
    Irreversible,
    /// It goes over a limit that asks.
    LimitExceeded,
}

/// One value of a request, as the agent wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sent {
    /// Where it stands.
    pub place: SentPlace,
    /// Its name there: a header in lower case, a decoded key, or the place of a JSON value.
    #[schemars(length(max = 4096))]
    pub name: String,
    /// Its value there, decoded.
    #[schemars(length(max = 16_384))]
    pub value: String,
}

/// Part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SentPlace {
    /// A judged header.
    Header,
    /// The query.
    Query,
    /// The body.
    Body,
}

/// Where one limit stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitLeft {
    /// The meter it caps.
    #[schemars(length(max = 63))]
    pub meter: String,
    /// A currency code, or Count.
    #[schemars(length(max = 8))]
    pub unit: String,
    /// The cap, as decimal text.
    #[schemars(length(max = 32))]
    pub max: String,
    /// Used and reserved in the window.
    #[schemars(length(max = 32))]
    pub used: String,
    /// What is left of it now.
    #[schemars(length(max = 32))]
    pub left: String,
    /// The time over which it counts, as words.
    #[schemars(length(max = 64))]
    pub window: String,
}

/// A limit that an approval lifts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverLimit {
    /// The meter it caps.
    #[schemars(length(max = 63))]
    pub meter: String,
    /// A currency code, or Count.
    #[schemars(length(max = 8))]
    pub unit: String,
    /// The cap, as decimal text.
    #[schemars(length(max = 32))]
    pub max: String,
    /// The total with this action.
    #[schemars(length(max = 32))]
    pub reaches: String,
    /// The time over which it counts, as words.
    #[schemars(length(max = 64))]
    pub window: String,
}

/// People of whom some have to agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seat {
    /// Groups whose members may answer.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub groups: Vec<String>,
    /// How many different people must agree.
    #[schemars(range(min = 1, max = 10))]
    pub quorum: u32,
}

/// Where a question stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// Where the question stands now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ApprovalState>,
    /// Condition Granted: whether people have agreed, and if not, why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// Votes that count, oldest first, one per person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["user"])
    )]
    pub votes: Vec<CountedVote>,
}

/// Where a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalState {
    /// People may answer.
    Pending,
    /// Everyone needed agreed; it may be used once.
    Granted,
    /// Somebody said no.
    Denied,
    /// Nobody answered, or nobody used it, in time.
    Expired,
    /// The action ran under it.
    Used,
}

/// A vote that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountedVote {
    /// Who voted, as the API server knows them.
    #[schemars(length(min = 1, max = 256))]
    pub user: String,
    /// What they answered: Approve or Deny.
    pub decision: VoteDecision,
    /// When the vote was taken.
    pub time: Instant,
}
