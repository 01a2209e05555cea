//! Actions: one outbound effect a workload asks for.

mod digest;
mod evidence;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::capability::Capability;
use crate::hash::ActionDigest;
use crate::host::HostName;
use crate::limits::Unit;
use crate::money::Money;
use crate::upstream::{AttributeValue, Effect};

pub use evidence::{
    ActionEvidence, ActionEvidenceError, CLEAR_ATTRIBUTE_BYTES_MAX, HINTS_FIELD, REQUEST_FIELD,
    RESOURCE_FIELD,
};

/// One outbound effect a workload asks for, as judged: all of it, and nothing the workload only claims
/// except in [`Action::hints`].
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// `<cluster-id>/<namespace>/<namespace-uid>`, from the authenticated principal.
    pub tenant: String,
    /// Name of the Passport resource.
    pub passport: String,
    /// Name of the agent in evidence.
    pub agent: String,
    /// Name of the upstream.
    pub upstream: String,
    /// What kind of action it is.
    pub capability: Capability,
    /// What it does to the world.
    pub effect: Effect,
    /// HTTP method, upper case.
    pub method: String,
    /// Name dialled.
    pub host: HostName,
    /// Port dialled.
    pub port: u16,
    /// Decoded path in its canonical re-encoded form.
    pub path: String,
    /// The template it matched.
    pub path_template: String,
    /// Decoded query, sorted by key, then value.
    pub query: Vec<(String, String)>,
    /// Forwarded semantic headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Amount of money, where the action declares one.
    pub amount: Option<Money>,
    /// What it acts upon, where the action declares that.
    pub resource: Option<String>,
    /// What it adds to which meters, `writes` included.
    pub meters: Vec<MeterUse>,
    /// Label `actpass.org/environment`.
    pub environment: Option<String>,
    /// Declared attributes.
    pub attributes: BTreeMap<String, Attribute>,
    /// SHA-256 of the body's judged form: number text kept, keys sorted; of no bytes where there is no body.
    pub body: [u8; 32],
    /// Length of the body as sent, in bytes.
    pub body_bytes: u64,
    /// The caller's idempotency key, which is forwarded and recorded but is not part of the digest.
    pub idempotency_key: Option<String>,
    /// The first declared fact that is missing, not positive, not exact or in another unit.
    pub fault: Option<Fault>,
    /// What the workload says of itself: recorded, may tighten, never loosens.
    pub hints: Hints,
}

impl Action {
    /// SHA-256 over the canonical form of everything judged. Leaves out hints, the idempotency key and the fault.
    pub fn digest(&self) -> ActionDigest {
        digest::digest(self)
    }

    /// Whom or what it is about: texts of one subject can be erased together.
    pub fn subject(&self) -> Option<&str> {
        self.resource.as_deref()
    }
}

/// What one action adds to one meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeterUse {
    /// Name of the meter.
    pub name: String,
    /// Unit it counts in.
    pub unit: Unit,
    /// Minor units or count, zero or more, within 2^53−1.
    pub amount: i64,
}

/// A declared attribute and whether it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its value.
    pub value: AttributeValue,
    /// Kept out of the clear part of the evidence.
    pub sensitive: bool,
}

/// A declared fact that a request does not have as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// `amount`, `currency`, `resource`, `meter NAME` or `attribute NAME`.
    pub fact: String,
    /// What is wrong, without the value itself.
    pub problem: FaultKind,
}

/// How a declared fact is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Absent.
    Missing,
    /// Zero or below.
    NotPositive,
    /// Not an exact number of the unit, or out of range.
    NotExact,
    /// In another unit or currency, or of another type.
    WrongUnit,
}

/// What a workload says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hints {
    /// Task id (`ActPass-Task`).
    pub task: Option<String>,
    /// Why it does this (`ActPass-Rationale`).
    pub rationale: Option<String>,
    /// Purpose it names (`ActPass-Purpose`).
    pub purpose: Option<String>,
    /// Hash of the tool definition it acted through (`ActPass-Tool-Hash`).
    pub tool_hash: Option<String>,
    /// How sure it is, 0 to 100 (`ActPass-Confidence`).
    pub confidence: Option<u8>,
    /// W3C trace parent.
    pub trace_parent: Option<String>,
}
