//! Policies: rules over actions, as they stand in a bundle.

use serde::{Deserialize, Serialize};

use crate::capability::{CapabilityPattern, Glob};
use crate::money::{Currency, Money};

/// One ActionPolicy or ClusterActionPolicy with its targets resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Name of the resource.
    pub name: String,
    /// Whether it is a guard of the whole cluster.
    pub scope: PolicyScope,
    /// Whether it decides or only watches.
    pub mode: PolicyMode,
    /// Names of the passports it applies to, sorted.
    pub passports: Vec<String>,
    /// Its rules; their order does not matter.
    pub rules: Vec<Rule>,
}

/// Who wrote a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyScope {
    /// An ActionPolicy.
    Namespace,
    /// A ClusterActionPolicy: only Deny and RequireApproval, never relaxed below.
    Cluster,
}

/// Whether a policy decides or only watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PolicyMode {
    /// Decides.
    Enforce,
    /// Says what it would have decided. Never loosens, its errors never deny.
    Shadow,
}

/// One rule. It matches when everything it states holds; what it does not state is not asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name within the policy.
    pub name: String,
    /// What it decides.
    pub decision: RuleDecision,
    /// Capabilities it covers, one of.
    pub capabilities: Vec<CapabilityPattern>,
    /// Amounts it covers, one of; empty: any, also none.
    pub amounts: Vec<AmountBound>,
    /// When it holds.
    pub schedule: Option<Schedule>,
    /// Environment labels it covers; empty: any.
    pub environments: Vec<String>,
    /// Patterns over the action's resource; empty: any.
    pub resources: Vec<Glob>,
    /// Typed CEL condition, evaluated last. At most 4 KiB.
    pub when: Option<String>,
    /// Duties the enforcement point carries out.
    pub obligations: Obligations,
    /// Who is asked, for RequireApproval; absent: the passport's default.
    pub approval: Option<ApprovalSpec>,
    /// Lets an Allow cover irreversible actions.
    pub allow_irreversible: bool,
}

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RuleDecision {
    /// Refused.
    Deny,
    /// People are asked.
    RequireApproval,
    /// Permitted.
    Allow,
}

/// Bounds on an amount in one currency, in minor units. An upper bound implies an amount above zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountBound {
    /// The currency.
    pub currency: Currency,
    /// Greater than.
    pub gt: Option<Money>,
    /// Greater than or equal.
    pub gte: Option<Money>,
    /// Less than.
    pub lt: Option<Money>,
    /// Less than or equal.
    pub lte: Option<Money>,
}

/// When a rule holds, in the wall time of one time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Days of the week; empty: all.
    pub days: Vec<Day>,
    /// First minute of the day, counted from 00:00, inclusive.
    pub from_minute: u16,
    /// End minute of the day, exclusive, up to 1440; at or before `from_minute`: past midnight, counted to the day it began.
    pub to_minute: u16,
    /// IANA name of the time zone.
    pub time_zone: String,
}

/// Day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalSpec {
    /// Groups whose members may answer.
    pub groups: Vec<String>,
    /// How many different people must agree.
    pub quorum: u32,
    /// How long the question stands, in seconds.
    pub expires_after_seconds: u32,
    /// How long the sidecar keeps the request open, in seconds, at most 55.
    pub hold_seconds: u32,
}

/// Duties the enforcement point carries out as a condition of a permit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Obligations {
    /// Longest response body passed on, in bytes.
    pub max_response_bytes: Option<u64>,
}

impl Obligations {
    /// The stricter of each.
    pub fn and(self, other: Self) -> Self {
        let max_response_bytes = match (self.max_response_bytes, other.max_response_bytes) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { max_response_bytes }
    }
}
