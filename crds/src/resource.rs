//! The resources as people write them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// API group and version of every kind here.
pub const API_VERSION: &str = "actpass.org/v1alpha1";

/// Metadata of a resource, as far as it is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Name, a DNS label.
    pub name: String,
    /// Namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// One resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// Who may do what, how much, for how long.
    Passport(Metadata, PassportSpec),
    /// Where, and how actions are read off the wire.
    Upstream(Metadata, UpstreamSpec),
    /// Rules.
    ActionPolicy(Metadata, ActionPolicySpec),
}

impl Resource {
    /// Its metadata.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Passport(metadata, _)
            | Self::Upstream(metadata, _)
            | Self::ActionPolicy(metadata, _) => metadata,
        }
    }
}

/// Who a workload is and what it may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PassportSpec {
    /// Name of the agent in evidence. Immutable.
    pub agent_id: String,
    /// The workload it is for. Ignored in local mode.
    #[serde(default)]
    pub subject: Option<Subject>,
    /// Who answers for it.
    pub owner: String,
    /// Why it exists.
    pub purpose: String,
    /// What it may ask for.
    pub scope: Vec<ScopeEntry>,
    /// How much.
    #[serde(default)]
    pub limits: Vec<LimitSpec>,
    /// Who is asked where a rule does not say.
    #[serde(default)]
    pub default_approval: Option<ApprovalSpec>,
    /// Life of one issued token, in seconds, 60 to 3600.
    #[serde(default = "default_ttl")]
    pub ttl_seconds: u32,
    /// How long reads go on while the ledger does not answer, in seconds, 0 to 300.
    #[serde(default)]
    pub reads_without_ledger_seconds: u32,
    /// Denies everything while set.
    #[serde(default)]
    pub suspended: bool,
    /// Denies everything from then on, RFC 3339.
    #[serde(default)]
    pub not_after: Option<String>,
}

fn default_ttl() -> u32 {
    900
}

/// The workload a passport is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// Its ServiceAccount.
    pub service_account_name: String,
}

/// One entry of a scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScopeEntry {
    /// Capability, or a pattern: `*` one segment, `**` the rest.
    pub capability: String,
    /// Resources it is narrowed to; absent: any.
    #[serde(default)]
    pub resources: Option<Vec<String>>,
}

/// A cap on one meter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitSpec {
    /// Meter it caps.
    pub meter: String,
    /// Currency code, or `Count`.
    pub unit: String,
    /// The cap: decimal text with the currency's digits, or a count.
    pub max: String,
    /// Length of a sliding window, in seconds.
    #[serde(default)]
    pub window_seconds: Option<u32>,
    /// Or a calendar period in UTC.
    #[serde(default)]
    pub calendar: Option<CalendarSpec>,
    /// What happens to an action that would go over.
    #[serde(default = "deny")]
    pub on_exceed: OnExceedSpec,
}

fn deny() -> OnExceedSpec {
    OnExceedSpec::Deny
}

/// A calendar period in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CalendarSpec {
    Day,
    Month,
}

/// What happens over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum OnExceedSpec {
    Deny,
    RequireApproval,
}

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalSpec {
    /// Groups whose members may answer.
    pub groups: Vec<String>,
    /// How many different people must agree.
    #[serde(default = "one")]
    pub quorum: u32,
    /// How long the question stands, in seconds.
    #[serde(default = "half_an_hour")]
    pub expires_after_seconds: u32,
    /// How long the request is kept open, in seconds, at most 55.
    #[serde(default)]
    pub hold_seconds: u32,
}

fn one() -> u32 {
    1
}

fn half_an_hour() -> u32 {
    1_800
}

/// Where an agent may go, and how actions are read off the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpstreamSpec {
    /// Exact names, or one leading `*.` each.
    pub hosts: Vec<String>,
    /// Ports.
    #[serde(default = "https")]
    pub ports: Vec<u16>,
    /// What the names may resolve to.
    #[serde(default = "public")]
    pub addresses: actpass_core::upstream::Addresses,
    /// How requests are read.
    #[serde(default = "http")]
    pub protocol: actpass_core::upstream::Protocol,
    /// How the transport is protected.
    #[serde(default = "intercept")]
    pub tls: TlsSpec,
    /// Which namespaces may use it, for those of the shared catalogue.
    #[serde(default)]
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// Credentials lent for its actions.
    #[serde(default)]
    pub credentials: Vec<CredentialSpec>,
    /// What can be done there.
    pub actions: Vec<ActionSpec>,
    /// Shape of ActPass' own answers.
    #[serde(default = "problem")]
    pub error_style: actpass_core::upstream::ErrorStyle,
    /// More statuses by which it says no before doing.
    #[serde(default)]
    pub failed_statuses: Vec<u16>,
}

fn https() -> Vec<u16> {
    vec![443]
}

fn public() -> actpass_core::upstream::Addresses {
    actpass_core::upstream::Addresses::Public
}

fn http() -> actpass_core::upstream::Protocol {
    actpass_core::upstream::Protocol::Http
}

fn problem() -> actpass_core::upstream::ErrorStyle {
    actpass_core::upstream::ErrorStyle::Problem
}

fn intercept() -> TlsSpec {
    TlsSpec {
        mode: actpass_core::upstream::TlsMode::Intercept,
        ca_bundle: None,
    }
}

/// How the transport is protected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSpec {
    /// Terminated, passed through, or absent.
    pub mode: actpass_core::upstream::TlsMode,
    /// PEM certificates trusted beside the public roots.
    #[serde(default)]
    pub ca_bundle: Option<String>,
}

/// Which namespaces may use a catalogue upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedNamespaces {
    /// `Same`, `All` or `Selector`.
    pub from: String,
}

/// One credential and where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CredentialSpec {
    /// Name in the vault.
    pub name: String,
    /// Effects it is lent for.
    pub effects: Vec<actpass_core::upstream::Effect>,
    /// Header that carries it.
    pub header: String,
    /// Header value with `{secret}`.
    pub format: String,
}

/// One kind of action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionSpec {
    /// Name; the capability is `<upstream>.<name>`.
    pub name: String,
    /// What matches it.
    #[serde(rename = "match")]
    pub matches: MatchSpec,
    /// What it does to the world.
    pub effect: actpass_core::upstream::Effect,
    /// Shape of the body.
    #[serde(default)]
    pub body: Option<BodySpec>,
    /// Declared parameters.
    #[serde(default)]
    pub params: ParamsSpec,
    /// Semantic headers.
    #[serde(default)]
    pub headers: HeadersSpec,
    /// Typed attributes.
    #[serde(default)]
    pub attributes: Vec<AttributeSpec>,
    /// Where the amount is read.
    #[serde(default)]
    pub amount: Option<AmountSpec>,
    /// Where the resource is read.
    #[serde(default)]
    pub resource: Option<FromSpec>,
    /// Meters it feeds.
    #[serde(default)]
    pub meters: Vec<MeterSpec>,
    /// Header by which the upstream knows a repeat.
    #[serde(default)]
    pub idempotency_header: Option<String>,
    /// What undoes it.
    #[serde(default)]
    pub compensation: Option<CompensationSpec>,
}

/// What matches an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchSpec {
    /// By HTTP method and path.
    pub http: HttpMatch,
}

/// HTTP method and path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpMatch {
    /// Method, upper case.
    pub method: String,
    /// Path template.
    pub path: String,
}

/// Shape of a body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BodySpec {
    /// Must equal the Content-Type.
    pub format: actpass_core::upstream::BodyFormat,
    /// Most bytes.
    #[serde(default = "body_bytes")]
    pub max_bytes: u64,
    /// `Buffered` or `Streamed`.
    #[serde(default = "buffered")]
    pub mode: actpass_core::upstream::BodyMode,
}

fn body_bytes() -> u64 {
    65_536
}

fn buffered() -> actpass_core::upstream::BodyMode {
    actpass_core::upstream::BodyMode::Buffered
}

/// Declared parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParamsSpec {
    /// Body fields, and query parameters as `query.NAME`.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// Semantic headers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeadersSpec {
    /// Forwarded and judged.
    #[serde(default)]
    pub forward: Vec<String>,
}

/// A typed attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttributeSpec {
    /// Name.
    pub name: String,
    /// Where it is read.
    pub from: String,
    /// Type.
    #[serde(rename = "type")]
    pub kind: actpass_core::upstream::AttributeType,
    /// Whether it must be there.
    #[serde(default)]
    pub required: bool,
    /// Value where it is not.
    #[serde(default)]
    pub default: Option<actpass_core::upstream::AttributeValue>,
    /// Kept out of the clear part of the evidence.
    #[serde(default = "yes")]
    pub sensitive: bool,
}

fn yes() -> bool {
    true
}

/// Where an amount is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AmountSpec {
    /// The number.
    pub from: String,
    /// Minor or major units.
    pub unit: actpass_core::upstream::AmountUnit,
    /// Its currency.
    pub currency: CurrencySpec,
}

/// `const` or `from`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CurrencySpec {
    /// Always this one.
    #[serde(rename = "const", default)]
    pub constant: Option<String>,
    /// Read off the request.
    #[serde(default)]
    pub from: Option<String>,
}

/// Where a value is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FromSpec {
    /// `body.FIELD`, `query.NAME`, `path.NAME` or `header.NAME`.
    pub from: String,
}

/// A meter an action feeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeterSpec {
    /// Name.
    pub name: String,
    /// `Amount`, `Attribute` or `Constant`.
    pub from: MeterFrom,
    /// The attribute.
    #[serde(default)]
    pub attribute: Option<String>,
    /// The constant.
    #[serde(default)]
    pub value: Option<i64>,
}

/// What feeds a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum MeterFrom {
    Amount,
    Attribute,
    Constant,
}

/// What undoes an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CompensationSpec {
    /// Its capability.
    pub capability: String,
    /// Method.
    pub method: String,
    /// Path with `{response.FIELD}`.
    pub path: String,
}

/// Rules for some passports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionPolicySpec {
    /// Passports it applies to.
    #[serde(default)]
    pub target_refs: Vec<TargetRef>,
    /// Whether it decides or only watches.
    #[serde(default = "enforce")]
    pub mode: actpass_core::policy::PolicyMode,
    /// Its rules.
    pub rules: Vec<RuleSpec>,
}

fn enforce() -> actpass_core::policy::PolicyMode {
    actpass_core::policy::PolicyMode::Enforce
}

/// A passport by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// `Passport`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSpec {
    /// Name within the policy.
    pub name: String,
    /// What it decides.
    pub decision: actpass_core::policy::RuleDecision,
    /// Capabilities it covers.
    pub capabilities: Vec<String>,
    /// Amounts it covers.
    #[serde(default)]
    pub amounts: Vec<AmountBoundSpec>,
    /// When it holds.
    #[serde(default)]
    pub schedule: Option<ScheduleSpec>,
    /// Environments it covers.
    #[serde(default)]
    pub environments: Vec<String>,
    /// Patterns over the resource.
    #[serde(default)]
    pub resources: Vec<String>,
    /// Condition.
    #[serde(default)]
    pub when: Option<String>,
    /// Duties of a permit.
    #[serde(default)]
    pub obligations: ObligationsSpec,
    /// Who is asked.
    #[serde(default)]
    pub approval: Option<ApprovalSpec>,
    /// Lets an Allow cover what cannot be undone.
    #[serde(default)]
    pub allow_irreversible: bool,
}

/// Bounds on an amount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AmountBoundSpec {
    /// Currency code.
    pub currency: String,
    /// Greater than, decimal text.
    #[serde(default)]
    pub gt: Option<String>,
    /// At least.
    #[serde(default)]
    pub gte: Option<String>,
    /// Less than.
    #[serde(default)]
    pub lt: Option<String>,
    /// At most.
    #[serde(default)]
    pub lte: Option<String>,
}

/// When a rule holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Days; absent: all.
    #[serde(default)]
    pub days: Vec<actpass_core::policy::Day>,
    /// `HH:MM`, inclusive.
    pub from: String,
    /// `HH:MM`, exclusive; `24:00` is the end of the day.
    pub to: String,
    /// IANA time zone.
    pub time_zone: String,
}

/// Duties of a permit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObligationsSpec {
    /// Longest response body passed on.
    #[serde(default)]
    pub max_response_bytes: Option<u64>,
}
