//! `ActionPolicy` and `ClusterActionPolicy`: rules over actions.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::passport::ApprovalSpec;
use crate::{rules, shape};

/// An ActionPolicy holds the rules by which actions of some Passports of its namespace are decided. Every matching
/// rule of every policy counts: one Deny denies, one RequireApproval asks, and without an Allow nothing is permitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionPolicySpec {
    /// Passports it applies to, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind", "name"])
    )]
    pub target_refs: Vec<TargetRef>,
    /// Passports it applies to, by label. Absent selects none, empty selects all of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passport_selector: Option<LabelSelector>,
    /// Whether it decides or only watches.
    #[serde(default)]
    pub mode: PolicyMode,
    /// Its rules. Their order does not matter.
    #[schemars(
        length(min = 1, max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub rules: Vec<RuleSpec>,
}

/// A ClusterActionPolicy holds guard rules for all namespaces: only Deny and RequireApproval, which no policy of a
/// namespace relaxes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterActionPolicySpec {
    /// Passports it applies to, by label. Absent or empty: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passport_selector: Option<LabelSelector>,
    /// Whether it decides or only watches.
    #[serde(default)]
    pub mode: PolicyMode,
    /// Its rules. Their order does not matter.
    #[schemars(
        length(min = 1, max = 256),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "x-kubernetes-validations" = rules::GUARDS
        )
    )]
    pub rules: Vec<RuleSpec>,
}

/// A Passport by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// Always Passport.
    pub kind: TargetKind,
    /// Name of a Passport in this namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = shape::LABEL.pattern))]
    pub name: String,
}

/// What a policy can target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// A Passport.
    Passport,
}

/// Resources by label. All that it states must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels that must be there with this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,
    /// Expressions that must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<LabelExpression>,
}

/// One expression over a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::LABEL_EXPRESSION))]
pub struct LabelExpression {
    /// Key of the label.
    #[schemars(length(min = 1, max = 317), regex(pattern = shape::LINE.pattern))]
    pub key: String,
    /// How the label is compared.
    pub operator: LabelOperator,
    /// Values for In and NotIn, none for the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// It is there with one of the values.
    In,
    /// It is absent or has none of the values.
    NotIn,
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether these labels are selected.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = self
            .match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value));
        equal
            && self
                .match_expressions
                .iter()
                .all(|expression| expression.holds(labels))
    }
}

impl LabelExpression {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = labels.get(&self.key);
        let listed = found.is_some_and(|value| self.values.contains(value));
        match self.operator {
            LabelOperator::In => listed,
            LabelOperator::NotIn => !listed,
            LabelOperator::Exists => found.is_some(),
            LabelOperator::DoesNotExist => found.is_none(),
        }
    }
}

/// Whether a policy decides or only watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyMode {
    /// Its rules decide.
    #[default]
    Enforce,
    /// Evidence says what it would have decided. It never permits and never denies.
    Shadow,
}

/// One rule. It matches when everything it states holds; what it does not state is not asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::POLICY_RULE))]
pub struct RuleSpec {
    /// Name within the policy. Evidence and answers to the agent show it.
    #[schemars(length(min = 1, max = 63), regex(pattern = shape::LABEL.pattern))]
    pub name: String,
    /// What it decides.
    pub decision: RuleDecision,
    /// Capabilities or patterns of capabilities, one of which must match.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 128), regex(pattern = shape::CAPABILITY_PATTERN.pattern)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub capabilities: Vec<String>,
    /// Bounds on the amount of money, one entry per currency. An amount in a currency not listed counts as matched by
    /// Deny and RequireApproval and does not match an Allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["currency"])
    )]
    pub amounts: Vec<AmountBoundSpec>,
    /// When the rule holds. Absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleSpec>,
    /// Values of the namespace's label actpass.org/environment for which the rule holds. Absent: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 63), regex(pattern = shape::LINE.pattern)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub environments: Vec<String>,
    /// Patterns over the resource acted upon, one of which must match. Absent: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 256), regex(pattern = shape::GLOB.pattern)))]
    pub resources: Vec<String>,
    /// A condition in a typed subset of CEL over attributes, action and facts, at most 4096 bytes, evaluated last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub when: Option<String>,
    /// Duties that come with a permit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obligations: Option<ObligationsSpec>,
    /// Who is asked, for RequireApproval. Absent: the Passport's defaultApproval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalSpec>,
    /// Lets an Allow cover actions that cannot be undone, which are otherwise asked about.
    #[serde(default)]
    pub allow_irreversible: bool,
}

/// What a rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RuleDecision {
    /// Matching actions are refused.
    Deny,
    /// People are asked about matching actions.
    RequireApproval,
    /// Matching actions are permitted, unless another rule says otherwise.
    Allow,
}

/// Bounds on an amount in one currency, as decimal text. An upper bound implies an amount above zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::AMOUNT_BOUND))]
pub struct AmountBoundSpec {
    /// Currency code such as USD.
    #[schemars(length(max = 3), regex(pattern = shape::CURRENCY.pattern))]
    pub currency: String,
    /// Matches amounts above this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = shape::DECIMAL.pattern))]
    pub gt: Option<String>,
    /// At least this amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = shape::DECIMAL.pattern))]
    pub gte: Option<String>,
    /// Matches amounts below this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = shape::DECIMAL.pattern))]
    pub lt: Option<String>,
    /// At most this amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = shape::DECIMAL.pattern))]
    pub lte: Option<String>,
}

/// When a rule holds, in the wall time of one time zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::SCHEDULE))]
pub struct ScheduleSpec {
    /// Days of the week. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub days: Option<Vec<Day>>,
    /// First minute of the day, such as 09:00, inclusive.
    #[schemars(length(max = 5), regex(pattern = shape::TIME.pattern))]
    pub from: String,
    /// End of the day, such as 17:00, exclusive. 24:00 is midnight; a time before from is on the next day.
    #[schemars(length(max = 5), regex(pattern = shape::TIME.pattern))]
    pub to: String,
    /// IANA time zone, such as UTC or Europe/Berlin.
    #[schemars(length(min = 1, max = 64), regex(pattern = shape::TIME_ZONE.pattern))]
    pub time_zone: String,
}

/// Day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// Duties that come with a permit. Of several matching rules the most restrictive of each counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObligationsSpec {
    /// Longest response body passed on to the agent, in bytes, at most 1073741824 (1 GiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub max_response_bytes: Option<u64>,
}
