//! One action of an Upstream: what it matches, and what is read off it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Effect;
use crate::{rules, shape};

/// One kind of action. Its capability is the name of the Upstream, a dot, and its own name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::ACTION))]
pub struct ActionSpec {
    /// Name within the Upstream, such as refunds.create.
    #[schemars(length(min = 1, max = 64), regex(pattern = shape::ACTION_NAME.pattern))]
    pub name: String,
    /// Which requests are this action.
    #[serde(rename = "match")]
    pub matches: MatchSpec,
    /// Whether it can be undone. Reads may be decided without the ledger; everything else is recorded durably first.
    pub effect: Effect,
    /// Shape of the request body. Absent: a body is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BodySpec>,
    /// Parameters a request may carry. Unless the effect is Read, anything undeclared is denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<ParamsSpec>,
    /// Headers that mean something. Unless the effect is Read, other headers are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeadersSpec>,
    /// Typed values read off the request, for conditions, meters and evidence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub attributes: Vec<AttributeSpec>,
    /// Where the amount of money is read. A request without it is denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<AmountSpec>,
    /// Where the resource acted upon is read. A request without it is denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceSpec>,
    /// Meters the action feeds, besides the built-in writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub meters: Vec<MeterSpec>,
    /// Header by which the upstream recognises a repeat. It is forwarded and recorded, and is no part of what is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = shape::HEADER.pattern))]
    pub idempotency_header: Option<String>,
    /// The action that undoes this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<CompensationSpec>,
}

/// Which requests are an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchSpec {
    /// By HTTP method and path.
    pub http: HttpMatch,
}

/// HTTP method and path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpMatch {
    /// Method in upper case.
    #[schemars(length(min = 1, max = 32), regex(pattern = shape::METHOD.pattern))]
    pub method: String,
    /// Path, in which {name} and * stand for one segment and ** for the rest. Segments rank literal, {name}, *, **.
    #[schemars(length(min = 1, max = 1024), regex(pattern = shape::PATH_TEMPLATE.pattern))]
    pub path: String,
}

/// Shape of a request body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BodySpec {
    /// Format, which must equal the request's Content-Type.
    pub format: BodyFormat,
    /// Most bytes accepted, at most 16777216 (16 MiB).
    #[serde(default = "body_bytes")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub max_bytes: u64,
    /// Whether the body is read whole before the decision.
    #[serde(default)]
    pub mode: BodyMode,
}

/// 64 KiB: API calls rarely send more.
fn body_bytes() -> u64 {
    65_536
}

/// Format of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BodyFormat {
    /// No body at all.
    None,
    /// application/x-www-form-urlencoded.
    Form,
    /// application/json.
    #[serde(rename = "JSON")]
    Json,
    /// multipart/form-data.
    Multipart,
}

/// Whether a body is read before the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BodyMode {
    /// Read whole, parsed, judged, then sent.
    #[default]
    Buffered,
    /// Sent as it comes. Nothing in it can be judged, so nothing may be read from it.
    Streamed,
}

/// Parameters a request may carry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParamsSpec {
    /// Body fields, in which [*] stands for one bracket of a form key or one key or index of JSON, and query.NAME for
    /// the query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(min = 1, max = 256), regex(pattern = shape::PARAM.pattern)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub allow: Vec<String>,
}

/// Headers that mean something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeadersSpec {
    /// Forwarded, and part of what is judged and approved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 128), regex(pattern = shape::HEADER.pattern)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub forward: Vec<String>,
}

/// A typed value read off the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttributeSpec {
    /// Name in conditions and evidence.
    #[schemars(length(min = 1, max = 63), regex(pattern = shape::IDENTIFIER.pattern))]
    pub name: String,
    /// Where it is read: body.FIELD, query.NAME, path.NAME or header.NAME.
    #[schemars(length(min = 1, max = 300), regex(pattern = shape::SOURCE.pattern))]
    pub from: String,
    /// Its type. A value of another type denies.
    #[serde(rename = "type")]
    pub kind: AttributeType,
    /// Whether a request without it is denied.
    #[serde(default)]
    pub required: bool,
    /// Value where the request has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<AttributeDefault>,
    /// Whether it is kept out of the clear part of the evidence. True unless stated.
    #[serde(default = "yes")]
    pub sensitive: bool,
}

fn yes() -> bool {
    true
}

/// Type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AttributeType {
    /// Text, at most 1 KiB.
    String,
    /// A whole number, at most 2^53-1 either way.
    Integer,
    /// true or false.
    Boolean,
}

/// Value of an attribute where the request has none, of the attribute's type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttributeDefault {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    String(String),
}

impl JsonSchema for AttributeDefault {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AttributeDefault".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// A structural schema knows no value of several types, so any is let through and the type is compared later.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
    }
}

/// Where the amount of money is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AmountSpec {
    /// Where the number stands.
    #[schemars(length(min = 1, max = 300), regex(pattern = shape::SOURCE.pattern))]
    pub from: String,
    /// Whether it counts cents or dollars, so to speak.
    pub unit: AmountUnit,
    /// Its currency: exactly one of const and from.
    pub currency: CurrencySpec,
}

/// Unit of an amount on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AmountUnit {
    /// Minor units, whole: cents for USD.
    Minor,
    /// Major units with decimals: dollars for USD.
    Major,
}

/// The currency of an amount. Needs exactly one of const and from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::CURRENCY))]
pub struct CurrencySpec {
    /// The currency of every such action, as a code.
    #[serde(rename = "const", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3), regex(pattern = shape::CURRENCY.pattern))]
    pub constant: Option<String>,
    /// Read off the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300), regex(pattern = shape::SOURCE.pattern))]
    pub from: Option<String>,
}

/// Where the resource acted upon is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceSpec {
    /// Where the resource is read: body.FIELD, query.NAME, path.NAME or header.NAME.
    #[schemars(length(min = 1, max = 300), regex(pattern = shape::SOURCE.pattern))]
    pub from: String,
}

/// A meter an action feeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::METER))]
pub struct MeterSpec {
    /// Name that limits refer to.
    #[schemars(length(min = 1, max = 63), regex(pattern = shape::NAME.pattern))]
    pub name: String,
    /// What one action adds.
    pub from: MeterFrom,
    /// Name of an Integer attribute, for Attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = shape::IDENTIFIER.pattern))]
    pub attribute: Option<String>,
    /// The count, for Constant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_i64))]
    pub value: Option<i64>,
}

/// What one action adds to a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MeterFrom {
    /// Its amount of money, in the amount's currency.
    Amount,
    /// An attribute, as a count.
    Attribute,
    /// Always the same count.
    Constant,
}

/// The action that undoes another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CompensationSpec {
    /// Its capability, which some Upstream declares.
    #[schemars(length(min = 1, max = 128), regex(pattern = shape::CAPABILITY.pattern))]
    pub capability: String,
    /// The HTTP method of the compensation.
    #[schemars(length(min = 1, max = 32), regex(pattern = shape::METHOD.pattern))]
    pub method: String,
    /// Its path, in which {response.FIELD} stands for a field of the answer to undo.
    #[schemars(length(min = 1, max = 1024), regex(pattern = shape::RESPONSE_PATH.pattern))]
    pub path: String,
}
