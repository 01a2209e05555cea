//! Rulings: what the ledger decided about one record, and from what.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decide::{ApprovalNeeded, LimitLeft, Reservation, RuleRef, ShadowResult};
use crate::evidence::record::OutcomeResult;
use crate::hash::DigestMac;
use crate::policy::Obligations;

/// What the ledger decided about one record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ruling {
    /// The answer.
    pub verdict: RulingVerdict,
    /// Machine-readable reason of a denial or an escalation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The reason as a sentence, at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// Rules that matched.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rules: Vec<RuleRef>,
    /// What shadow policies would have said.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub shadow: Vec<ShadowResult>,
    /// HMAC-SHA-256 of the action's digest under the tenant's erasable key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub digest: Option<DigestMac>,
    /// HMAC-SHA-256 of the upstream and the resource under the same key, by which precedents are counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resource: Option<DigestMac>,
    /// HMAC-SHA-256 of the subject under the same key, by which an erasure names whose texts it erased.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<DigestMac>,
    /// What the decision knew.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub facts: Option<RulingFacts>,
    /// What a permit holds on the limits.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub reservations: Vec<Reservation>,
    /// A limit that stood in the way.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<LimitLeft>,
    /// The approval asked for or used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approval: Option<RulingApproval>,
    /// Name and version of the credential lent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<CredentialRef>,
    /// Duties of a permit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub obligations: Option<Obligations>,
    /// Until when a permit may be used.
    #[serde(
        skip_serializing_if = "Option::is_none",
        with = "crate::canonical::serde_instant_opt",
        default
    )]
    pub not_after: Option<Timestamp>,
    /// What an outcome does to the reservations of its intent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub settles: Option<Settlement>,
    /// The record arrived over 30 s after its time.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub late: bool,
    /// What the ledger would have answered to what was not enforced, by the limits as audited actions count on them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub would: Option<RulingVerdict>,
}

impl Ruling {
    /// A ruling of this verdict that says nothing else.
    pub fn of(verdict: RulingVerdict) -> Self {
        Self {
            verdict,
            reason: None,
            detail: None,
            rules: Vec::new(),
            shadow: Vec::new(),
            digest: None,
            resource: None,
            subject: None,
            facts: None,
            reservations: Vec::new(),
            limit: None,
            approval: None,
            credential: None,
            obligations: None,
            not_after: None,
            settles: None,
            late: false,
            would: None,
        }
    }
}

/// The ledger's answer to one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulingVerdict {
    /// An intent that may run.
    Permit,
    /// An intent people are asked about.
    Escalate,
    /// An intent that may not run.
    Deny,
    /// A record that asks nothing.
    Recorded,
}

/// What a decision knew beyond the request, in clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulingFacts {
    /// Per limit of the passport: used and reserved before this action.
    pub used: Vec<i64>,
    /// Completed actions of this capability and resource.
    pub precedents: i64,
    /// First time this resource is acted upon.
    pub first_seen_resource: bool,
    /// Denials of this passport within the last ten minutes.
    pub recent_denies: i64,
}

/// The approval an intent asked for or used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub enum RulingApproval {
    /// A new question.
    Asked {
        /// Its id.
        id: String,
        /// Who has to agree, and why.
        needed: ApprovalNeeded,
        /// SHA-256 over the text of the rules and of the action that asked, lower-case hex.
        asked_by: String,
        /// Until when the question stands, and the grant with it.
        #[serde(with = "crate::canonical::serde_instant")]
        expires: Timestamp,
    },
    /// The same question is open already.
    Pending {
        /// Its id.
        id: String,
    },
    /// A grant was consumed.
    Used {
        /// Its id.
        id: String,
    },
}

/// A credential by name and version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialRef {
    /// Name in the tenant's vault.
    pub name: String,
    /// Version lent.
    pub version: u64,
}

/// What an outcome does to the reservations of its intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    /// The outcome as accepted.
    pub result: OutcomeResult,
    /// Whether the reservations are released; otherwise they stand as used.
    pub released: bool,
    /// The approval whose use is given back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approval_returned: Option<String>,
}
