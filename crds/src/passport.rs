//! `Passport`: who a workload is and what it may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{rules, shape};

/// A Passport says what one workload may do, how much and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::PASSPORT))]
pub struct PassportSpec {
    /// Name of the agent in evidence. Immutable.
    #[schemars(length(min = 1, max = 128), regex(pattern = shape::AGENT_ID.pattern), extend("x-kubernetes-validations" = rules::AGENT_ID))]
    pub agent_id: String,
    /// The workload this Passport is for. At most one Passport per subject. Ignored in local mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Who answers for the workload, for example a mail address. The owner may not vote on its approvals.
    #[schemars(length(min = 1, max = 253), regex(pattern = shape::LINE.pattern))]
    pub owner: String,
    /// Why the workload exists, in one line. Approvers see it.
    #[schemars(length(min = 1, max = 512), regex(pattern = shape::LINE.pattern))]
    pub purpose: String,
    /// What the workload may ask for. Anything outside is denied before any rule is read.
    #[schemars(
        length(min = 1, max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["capability"])
    )]
    pub scope: Vec<ScopeEntry>,
    /// How much the workload may do within windows of time, shared by all its replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub limits: Vec<LimitSpec>,
    /// Who is asked where a rule, a limit or an irreversible action does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_approval: Option<ApprovalSpec>,
    /// How long one issued passport stays valid, in seconds, 60 to 3600. It is renewed at a third of that.
    #[serde(default = "default_ttl")]
    #[schemars(range(min = 60, max = 3600))]
    pub ttl_seconds: u32,
    /// How long reads go on while the ledger does not answer, in seconds, 0 to 300. Writes never do.
    #[serde(default)]
    #[schemars(range(min = 0, max = 300))]
    pub reads_without_ledger_seconds: u32,
    /// While true, everything is denied.
    #[serde(default)]
    pub suspended: bool,
    /// From this instant on everything is denied. RFC 3339, for example 2027-01-31T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), regex(pattern = shape::INSTANT.pattern))]
    pub not_after: Option<String>,
}

fn default_ttl() -> u32 {
    900
}

/// The workload a Passport is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// Name of the ServiceAccount the workload's pods run as.
    #[schemars(length(min = 1, max = 253), regex(pattern = shape::NAME.pattern))]
    pub service_account_name: String,
}

/// One entry of a scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScopeEntry {
    /// A capability, or a pattern: * stands for one segment, ** for the rest.
    #[schemars(length(min = 1, max = 128), regex(pattern = shape::CAPABILITY_PATTERN.pattern))]
    pub capability: String,
    /// Patterns over the resource acted upon, one of which must match. Absent: any resource, also none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 256), regex(pattern = shape::GLOB.pattern)))]
    pub resources: Option<Vec<String>>,
}

/// A cap on one meter within a window of time. Needs exactly one of windowSeconds and calendar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::LIMIT))]
pub struct LimitSpec {
    /// The meter it caps: one that an action in scope feeds, or writes, which every action but a read feeds by one.
    #[schemars(length(min = 1, max = 63), regex(pattern = shape::NAME.pattern))]
    pub meter: String,
    /// A currency code such as USD, or Count.
    #[schemars(length(max = 8), regex(pattern = shape::UNIT.pattern))]
    pub unit: String,
    /// The cap as text: an amount such as 5000.00 in the currency's decimals, or a whole count.
    #[schemars(length(min = 1, max = 32), regex(pattern = shape::DECIMAL.pattern))]
    pub max: String,
    /// Length of a sliding window, in seconds, 60 to 2678400 (31 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 2_678_400))]
    pub window_seconds: Option<u32>,
    /// Or the current calendar period in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<Calendar>,
    /// What happens to an action that would go over.
    #[serde(default)]
    pub on_exceed: OnExceed,
}

/// A calendar period in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Calendar {
    /// From midnight to midnight.
    Day,
    /// From the first of the month.
    Month,
}

/// What happens to an action that would go over a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnExceed {
    /// It is denied, saying what is left and when more frees.
    #[default]
    Deny,
    /// People are asked, by defaultApproval.
    RequireApproval,
}

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalSpec {
    /// Groups whose members may answer.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 1, max = 128), regex(pattern = shape::LINE.pattern)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub groups: Vec<String>,
    /// How many different people must agree, 1 to 10.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10))]
    pub quorum: u32,
    /// How long the question stands, in seconds, 60 to 604800 (7 days).
    #[serde(default = "half_an_hour")]
    #[schemars(range(min = 60, max = 604_800))]
    pub expires_after_seconds: u32,
    /// How long the agent's request is kept open for an answer, in seconds, 0 to 55.
    #[serde(default)]
    #[schemars(range(min = 0, max = 55))]
    pub hold_seconds: u32,
}

fn one() -> u32 {
    1
}

fn half_an_hour() -> u32 {
    1_800
}
