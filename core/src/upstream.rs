//! Upstreams: where an agent may go, and how actions are read off the wire.

use serde::{Deserialize, Serialize};

use crate::capability::Capability;
use crate::form::ParamPattern;
use crate::host::{HostName, HostPattern};
use crate::json::FieldPath;
use crate::money::Currency;
use crate::path::PathTemplate;

/// One upstream as it stands in a bundle: hosts, transport, credentials and the actions it offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Name of the Upstream resource; first segment of its capabilities.
    pub name: String,
    /// Exact names, or one leading `*.` each.
    pub hosts: Vec<HostPattern>,
    /// TCP ports the names are served on.
    pub ports: Vec<u16>,
    /// What the names may resolve to.
    pub addresses: Addresses,
    /// How requests are read.
    pub protocol: Protocol,
    /// How the transport is protected.
    pub tls: Tls,
    /// Credentials lent for its actions.
    pub credentials: Vec<CredentialUse>,
    /// What can be done there. The most specific match wins.
    pub actions: Vec<ActionSpec>,
    /// Shape of the answers ActPass itself gives on this upstream's behalf.
    pub error_style: ErrorStyle,
    /// Statuses, besides 400, 401, 403, 404 and 422, by which the upstream says no before doing.
    pub failed_statuses: Vec<u16>,
}

impl Upstream {
    /// Whether `host` is one of this upstream's names.
    pub fn serves(&self, host: &HostName, port: u16) -> bool {
        self.ports.contains(&port) && self.hosts.iter().any(|pattern| pattern.matches(host))
    }

    /// The credential lent for an action of this effect, if one is declared.
    pub fn credential_for(&self, effect: Effect) -> Option<&CredentialUse> {
        self.credentials
            .iter()
            .find(|credential| credential.effects.contains(&effect))
    }

    /// The one exact host, for upstreams that have exactly one and can be served in clear on loopback.
    pub fn single_exact_host(&self) -> Option<&HostPattern> {
        match self.hosts.as_slice() {
            [host] if !host.is_wildcard() => Some(host),
            _ => None,
        }
    }
}

/// What a declared name may resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Addresses {
    /// Public unicast addresses only.
    Public,
    /// Private addresses too, as services of a cluster have.
    Cluster,
}

/// How requests to an upstream are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1 or HTTP/2, gRPC included (matched by path).
    #[serde(rename = "HTTP")]
    Http,
    /// Model Context Protocol over HTTP.
    #[serde(rename = "MCP")]
    Mcp,
    /// Uninspected bytes: no credential, flagged.
    #[serde(rename = "TCP")]
    Tcp,
}

/// Protection of the transport towards an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Whether TLS is terminated, passed through or absent.
    pub mode: TlsMode,
    /// PEM certificates trusted for this upstream beside the public roots.
    pub ca_bundle: Option<String>,
}

/// Whether TLS is terminated, passed through or absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsMode {
    /// Terminated here with a leaf of ours, and opened anew towards the upstream.
    Intercept,
    /// Passed through unread: no credential, no action.
    Passthrough,
    /// Clear text.
    None,
}

/// One credential in the tenant's vault and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialUse {
    /// Name in the tenant's vault.
    pub name: String,
    /// Effects it is lent for.
    pub effects: Vec<Effect>,
    /// Request header that carries it, lower case.
    pub header: String,
    /// Header value, with `{secret}` standing for the secret.
    pub format: String,
}

/// An honest word for "can it be undone".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes something that can be changed back.
    Write,
    /// Cannot be undone.
    Irreversible,
}

impl Effect {
    /// Whether the action changes something, and so needs a durable permit.
    pub fn changes(self) -> bool {
        self != Self::Read
    }
}

/// One kind of action an upstream offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionSpec {
    /// `<upstream>.<action>`.
    pub capability: Capability,
    /// HTTP method, upper case.
    pub method: String,
    /// Path template.
    pub path: PathTemplate,
    /// What it does to the world.
    pub effect: Effect,
    /// Shape of the request body.
    pub body: BodySpec,
    /// Body and query fields a request may carry. Reads are open, everything else is closed-world.
    pub params: Vec<ParamPattern>,
    /// Semantic headers, lower case, that are forwarded and judged.
    pub headers: Vec<String>,
    /// Typed attributes read off the request.
    pub attributes: Vec<AttributeSpec>,
    /// Where the amount of money is read.
    pub amount: Option<AmountSpec>,
    /// Where the resource acted upon is read.
    pub resource: Option<Source>,
    /// Meters the action feeds, besides the built-in `writes`.
    pub meters: Vec<MeterSpec>,
    /// Header by which the upstream recognises a repeat, lower case.
    pub idempotency_header: Option<String>,
    /// The action that undoes this one.
    pub compensation: Option<CompensationSpec>,
}

/// Shape of a request body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodySpec {
    /// Must equal the Content-Type.
    pub format: BodyFormat,
    /// Most bytes accepted.
    pub max_bytes: u64,
    /// Whether the body is read whole before the decision.
    pub mode: BodyMode,
}

/// Format of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyFormat {
    /// No body at all.
    None,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `application/json`.
    #[serde(rename = "JSON")]
    Json,
    /// `multipart/form-data`.
    Multipart,
}

/// Whether a body is read before the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BodyMode {
    /// Read whole, parsed, judged, then sent.
    Buffered,
    /// Sent as it comes; nothing in it can be judged, so it forbids amounts.
    Streamed,
}

/// Where a value is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// A field of the JSON or form body: `body.a.b`.
    Body(FieldPath),
    /// A query parameter: `query.name`.
    Query(String),
    /// A `{name}` of the path template: `path.name`.
    Path(String),
    /// A forwarded semantic header: `header.name`.
    Header(String),
}

/// The text does not say where a value is read from.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not `body.FIELD`, `query.NAME`, `path.NAME` or `header.NAME`")]
pub struct SourceError(pub String);

impl std::str::FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let wrong = || SourceError(text.to_owned());
        let (kind, rest) = text.split_once('.').ok_or_else(wrong)?;
        if rest.is_empty() {
            return Err(wrong());
        }
        match kind {
            "body" => rest.parse().map(Self::Body).map_err(|_| wrong()),
            "query" => Ok(Self::Query(rest.to_owned())),
            "path" => Ok(Self::Path(rest.to_owned())),
            "header" => Ok(Self::Header(rest.to_ascii_lowercase())),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Source {
    type Error = SourceError;

    fn try_from(text: String) -> Result<Self, SourceError> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Body(path) => write!(f, "body.{path}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Path(name) => write!(f, "path.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
        }
    }
}

/// A typed attribute read off the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeSpec {
    /// Name in rules and evidence.
    pub name: String,
    /// Where it is read.
    pub from: Source,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: AttributeType,
    /// Absent and required: denied.
    pub required: bool,
    /// Value where it is absent and not required.
    pub default: Option<AttributeValue>,
    /// Kept out of the clear part of the evidence.
    pub sensitive: bool,
}

/// Type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeType {
    /// Text, at most 1 KiB.
    String,
    /// A whole number within ±(2^53−1), which is what evidence can hold as a number.
    Integer,
    /// `true` or `false`.
    Boolean,
}

/// Value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number within ±(2^53−1).
    Integer(i64),
    /// Text.
    String(String),
}

/// Where the amount of money is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmountSpec {
    /// Where the number stands.
    pub from: Source,
    /// Whether it counts minor or major units.
    pub unit: AmountUnit,
    /// Its currency.
    pub currency: CurrencySource,
}

/// Unit of an amount on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AmountUnit {
    /// Cents for USD.
    Minor,
    /// Dollars for USD, as decimal text.
    Major,
}

/// Where the currency of an amount comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CurrencySource {
    /// Always this one.
    #[serde(rename = "const")]
    Const(Currency),
    /// Read off the request.
    #[serde(rename = "from")]
    From(Source),
}

/// A meter an action feeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeterSpec {
    /// Name limits refer to.
    pub name: String,
    /// How much one action adds.
    pub from: MeterSource,
}

/// How much one action adds to a meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MeterSource {
    /// The action's amount, in its currency.
    Amount,
    /// An integer attribute, as a count.
    Attribute(String),
    /// Always this count.
    Constant(i64),
}

/// The action that undoes another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompensationSpec {
    /// Its capability.
    pub capability: Capability,
    /// HTTP method.
    pub method: String,
    /// Path with `{response.FIELD}` places.
    pub path: String,
}

/// Shape of the answers ActPass itself gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorStyle {
    /// RFC 9457 members plus `message` and `error{}`, which most SDKs read.
    Problem,
    /// `ok: false` and `error`, as Slack's SDKs read it.
    Slack,
}
