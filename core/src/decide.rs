//! The decision: pure, total, the same for the same arguments.

mod budget;
mod declared;
mod deny;
mod matching;
mod order;
mod question;
mod rules;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::bundle::Bundle;
use crate::limits::Unit;
use crate::passport::Passport;
use crate::policy::{ApprovalSpec, Obligations};

pub use deny::{DenyReason, LimitLeft};
pub use question::asked_by;

/// Decides one action. `facts` is what only the ledger knows: without it a decision that needs it is
/// [`Verdict::NeedsFacts`]. Total and deterministic: an error in a rule denies.
pub fn decide(
    bundle: &Bundle,
    passport: &Passport,
    action: &Action,
    facts: Option<&Facts>,
    now: Timestamp,
) -> Decision {
    order::decide(order::Asked {
        bundle,
        passport,
        action,
        facts,
        now,
    })
}

/// What was decided, and from what. Made only by [`decide`].
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    verdict: Verdict,
    rules: Vec<RuleRef>,
    shadow: Vec<ShadowResult>,
    reservations: Vec<Reservation>,
    approval_used: Option<String>,
    effect_is_read: bool,
}

impl Decision {
    /// The answer.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// All enforcing rules that matched, sorted.
    pub fn rules(&self) -> &[RuleRef] {
        &self.rules
    }

    /// What shadow policies would have said.
    pub fn shadow(&self) -> &[ShadowResult] {
        &self.shadow
    }

    /// What a permit reserves on the passport's limits. Empty for anything else.
    pub fn reservations(&self) -> &[Reservation] {
        &self.reservations
    }

    /// The approval a permit consumes.
    pub fn approval_used(&self) -> Option<&str> {
        self.approval_used.as_deref()
    }
}

/// The answer of the decision point.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// May run, under these obligations.
    Permit(Obligations),
    /// People are asked.
    Escalate(ApprovalNeeded),
    /// May not run.
    Deny(DenyReason),
    /// Only the ledger can say.
    NeedsFacts,
}

impl Verdict {
    /// `permit`, `escalate`, `deny` or `needs_facts`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Permit(_) => "permit",
            Self::Escalate(_) => "escalate",
            Self::Deny(_) => "deny",
            Self::NeedsFacts => "needs_facts",
        }
    }
}

/// Everyone who has to agree before an action runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalNeeded {
    /// One seat per rule that asks; equal ones merged, sorted. All must be filled.
    pub seats: Vec<ApprovalSpec>,
    /// `rule`, `irreversible` or `limit`.
    pub because: EscalateReason,
    /// Limits that would go over and ask instead of denying.
    pub over_limits: Vec<LimitLeft>,
}

impl ApprovalNeeded {
    /// How long the request may be kept open for an answer, in seconds: the longest that any seat says.
    pub fn hold_seconds(&self) -> u32 {
        let seats = self.seats.iter().map(|seat| seat.hold_seconds);
        seats.max().unwrap_or(0)
    }

    /// Whether people who were shown `shown` agreed to everything that goes over here.
    pub(crate) fn is_within(&self, shown: &[LimitLeft]) -> bool {
        let agreed = |now| shown.iter().any(|shown: &LimitLeft| shown.covers(now));
        self.over_limits.iter().all(agreed)
    }
}

/// Why people are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalateReason {
    /// A rule requires it.
    RequiredByRule,
    /// The action cannot be undone and no rule says that this is fine.
    Irreversible,
    /// A limit would be exceeded.
    LimitExceeded,
}

/// A rule by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RuleRef {
    /// Policy name.
    pub policy: String,
    /// Rule name.
    pub rule: String,
}

impl std::fmt::Display for RuleRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.policy, self.rule)
    }
}

impl From<RuleRef> for String {
    fn from(rule: RuleRef) -> Self {
        rule.to_string()
    }
}

impl TryFrom<String> for RuleRef {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once('/') {
            Some((policy, rule)) => Ok(Self {
                policy: policy.to_owned(),
                rule: rule.to_owned(),
            }),
            None => Err(format!("`{text}` is not POLICY/RULE")),
        }
    }
}

/// What one shadow policy would have decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowResult {
    /// Policy name.
    pub policy: String,
    /// `permit`, `escalate`, `deny`, `no_rule`, `error`, or `needs_facts` where only the ledger can say.
    pub would: String,
    /// Rules that matched.
    pub rules: Vec<RuleRef>,
}

/// An amount held on one limit of the passport until the outcome is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// Index into the passport's limits.
    pub limit: usize,
    /// Meter, repeated so that evidence reads by itself.
    pub meter: String,
    /// Unit, repeated.
    pub unit: Unit,
    /// Minor units or count.
    pub amount: i64,
}

/// What only the ledger knows, gathered for one action at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Per index of the passport's limits: used and reserved within its window now, counted conservatively.
    pub used: Vec<LimitUse>,
    /// Granted, unexpired, unconsumed approvals for this digest, the one that expires first leading.
    pub grants: Vec<Grant>,
    /// Whether this token or passport is revoked.
    pub revoked: bool,
    /// Whether the same digest has an outcome that is not known, so that a blind repeat is refused: its record.
    pub ambiguous: Option<String>,
    /// `windowTotal(meter)` for the conditions: totals by meter and unit of the passport.
    pub window_totals: BTreeMap<String, i64>,
    /// Completed actions of this capability and resource.
    pub precedents: i64,
    /// No action on this resource was ever permitted before.
    pub first_seen_resource: bool,
    /// Denials of this passport within the last ten minutes.
    pub recent_denies: i64,
}

/// What stands on one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// Used and reserved within the window.
    pub used: i64,
    /// When the oldest part of it leaves the window.
    pub frees_at: Option<Timestamp>,
}

/// An approval people gave for one exact action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: String,
    /// Seats they filled; a decision that now asks for others is not covered.
    pub seats: Vec<ApprovalSpec>,
    /// SHA-256 over the text of the rules and of the action that asked, which must be unchanged.
    pub asked_by: [u8; 32],
    /// Limits it was shown to go over, and how far; it lifts no other, and none further.
    pub over_limits: Vec<LimitLeft>,
}

/// A record of one permitted action with the duty to carry it out as judged. Not `Clone`: nothing runs ahead
/// of it, nor twice on it.
#[derive(Debug)]
pub struct Permitted {
    action: Action,
    obligations: Obligations,
    not_after: Option<Timestamp>,
}

impl Permitted {
    /// A read that the local decision permits.
    ///
    /// # Errors
    /// The action back, where the decision is not a permit or the action changes something.
    pub fn read(action: Action, decision: &Decision) -> Result<Self, Box<Action>> {
        match decision.verdict {
            Verdict::Permit(obligations) if decision.effect_is_read && !action.effect.changes() => {
                Ok(Self {
                    action,
                    obligations,
                    not_after: None,
                })
            }
            _ => Err(Box::new(action)),
        }
    }

    /// A write that the ledger permitted and proved.
    ///
    /// # Errors
    /// The action back, where the receipt is for another action.
    pub fn write(
        action: Action,
        receipt: &crate::evidence::receipt::CheckedPermit,
    ) -> Result<Self, Box<Action>> {
        if receipt.digest() == action.digest() {
            let (obligations, not_after) = (receipt.obligations(), Some(receipt.not_after()));
            Ok(Self {
                action,
                obligations,
                not_after,
            })
        } else {
            Err(Box::new(action))
        }
    }

    /// What may run.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// Whether it changes something.
    pub fn changes(&self) -> bool {
        self.action.effect.changes()
    }

    /// Under which duties.
    pub fn obligations(&self) -> Obligations {
        self.obligations
    }

    /// Until when it may start; a read has no such bound.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }

    /// Ends the permission, giving the action back.
    pub fn into_action(self) -> Action {
        self.action
    }
}

#[cfg(test)]
mod tests;
