//! Conditions: what is true of a resource now, why, and since when.
//!
//! As Kubernetes' API conventions and the Gateway API have them: types are positive, so `True` is what one wants to
//! see; the reason is one word to branch on, the message a sentence that says what to do.

use actpass_core::canonical::excerpt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instant::Instant;

/// What is true of this resource, of which generation, why and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is true or not, such as Ready.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub kind: String,
    /// Whether it is.
    pub status: ConditionStatus,
    /// Generation of the resource this was said of. What is said of an older one may be outdated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When the status last changed.
    pub last_transition_time: Instant,
    /// Why, in one word.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Why, in a sentence that says what to do.
    #[schemars(length(max = 32_768))]
    pub message: String,
}

/// Whether something is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It is.
    True,
    /// It is not.
    False,
    /// Nobody knows yet, or any more.
    Unknown,
}

/// The types of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum ConditionType {
    /// Upstreams and policies: this generation is valid and agrees with the other resources.
    Accepted,
    /// Passports, Upstreams and policies: everything they name exists.
    ResolvedRefs,
    /// Upstreams and policies: this generation is in the bundle by which sidecars decide.
    Programmed,
    /// Passports: this generation is in force, so that pods of its subject get passports. EvidenceLogs: the log is
    /// there and answers.
    Ready,
    /// Passports: no pod that acts by it has reported a way out beside its sidecar. Unknown while none acts by it.
    Fenced,
    /// EvidenceLogs: every head seen extends the one before, so nothing recorded was changed or removed.
    Consistent,
    /// EvidenceLogs: a head is kept where the ledger cannot change it, and is recent enough.
    Anchored,
    /// Approvals: everyone who is needed agreed. Unknown while people may still answer.
    Granted,
}

/// Why a condition has its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Reason {
    /// Accepted: it is valid.
    Accepted,
    /// Accepted, Ready: it has a mistake, which the message names. Where there is a bundle that was accepted last, it
    /// stays in force.
    Rejected,
    /// Accepted, Ready: another resource claims the same: two Passports for one ServiceAccount, two Upstreams for one
    /// name and port. Both deny until one is changed.
    Conflicted,
    /// Accepted: an Upstream of this namespace has the host of a shared one, which it cannot replace.
    Shadowed,
    /// ResolvedRefs: everything it names exists.
    ResolvedRefs,
    /// ResolvedRefs: it names something that does not exist; what depends on it is denied.
    DanglingReference,
    /// Programmed: sidecars decide by it.
    Programmed,
    /// Programmed: the bundle with it is on its way.
    Pending,
    /// Programmed: another resource of the namespace was rejected, so the bundle accepted last stays in force.
    BundleHeld,
    /// Ready: it is in force.
    InForce,
    /// Ready: `suspended` is true, so everything is denied.
    Suspended,
    /// Ready: `notAfter` has passed, so everything is denied. Granted: nobody answered, or nobody used it, in time.
    Expired,
    /// Ready: it has no `subject`, so no pod gets a passport by it.
    NoSubject,
    /// Ready: the namespace has no label actpass.org/mode, so nothing in it is governed.
    NamespaceNotEnrolled,
    /// Ready: the ledger does not answer.
    LedgerUnavailable,
    /// Ready: the log is there and answers.
    Serving,
    /// Fenced: no pod has reported a way out; none starts its agents before it tried.
    Fenced,
    /// Fenced: a pod reported a way out, which the message names.
    WayOut,
    /// Fenced: a pod has not tried its ways out for minutes.
    Unverified,
    /// Fenced: no pod acts by it.
    NoPods,
    /// Consistent: each head seen extends the one before.
    Consistent,
    /// Consistent: the log is smaller than a head seen before.
    Truncated,
    /// Consistent: two heads of the log contradict each other.
    Forked,
    /// Anchored: the last anchor is recent.
    Anchored,
    /// Anchored: no anchor was made yet, or the last one is too old.
    AnchorOverdue,
    /// Granted: people may still answer.
    AwaitingVotes,
    /// Granted: everyone who is needed agreed; the action may run once.
    Granted,
    /// Granted: somebody said no.
    Denied,
    /// Granted: the action ran under it.
    Used,
}

impl Reason {
    /// As it stands in `reason`.
    pub fn name(self) -> String {
        format!("{self:?}")
    }
}

impl ConditionType {
    /// As it stands in `type`.
    pub fn name(self) -> String {
        format!("{self:?}")
    }
}

impl Condition {
    /// A condition as it is now. A message that is too long is cut.
    pub fn new(
        kind: ConditionType,
        status: ConditionStatus,
        reason: Reason,
        message: impl Into<String>,
        generation: Option<i64>,
        now: jiff::Timestamp,
    ) -> Self {
        let message = message.into();
        Self {
            kind: kind.name(),
            status,
            observed_generation: generation,
            last_transition_time: Instant(now),
            reason: reason.name(),
            message: match message.len() > MESSAGE_BYTES_MAX {
                true => excerpt(&message),
                false => message,
            },
        }
    }
}

/// Puts a condition in the place of the one of its type. The time of the last transition stays while the status does.
/// Returns whether anything but times changed, and so whether the status is worth writing.
pub fn set(conditions: &mut Vec<Condition>, mut condition: Condition) -> bool {
    let Some(found) = conditions.iter_mut().find(|it| it.kind == condition.kind) else {
        conditions.push(condition);
        return true;
    };
    if found.status == condition.status {
        condition.last_transition_time = found.last_transition_time;
    }
    let changed = *found != condition;
    *found = condition;
    changed
}

/// The longest message of `metav1.Condition`.
const MESSAGE_BYTES_MAX: usize = 32_768;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    fn ready(status: ConditionStatus, reason: Reason, second: i64) -> Condition {
        Condition::new(
            ConditionType::Ready,
            status,
            reason,
            "",
            Some(1),
            at(second),
        )
    }

    #[test]
    fn a_transition_is_dated_once() {
        use ConditionStatus::{False, True};
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, ready(False, Reason::Suspended, 1)));
        assert!(!set(&mut conditions, ready(False, Reason::Suspended, 2)));
        assert!(set(&mut conditions, ready(False, Reason::Expired, 3)));
        assert_eq!(conditions, [ready(False, Reason::Expired, 1)]);
        assert!(set(&mut conditions, ready(True, Reason::InForce, 4)));
        assert_eq!(conditions, [ready(True, Reason::InForce, 4)]);
    }

    #[test]
    fn each_type_has_its_place() {
        let mut conditions = vec![ready(ConditionStatus::True, Reason::InForce, 1)];
        let mut resolved = ready(ConditionStatus::True, Reason::ResolvedRefs, 1);
        resolved.kind = ConditionType::ResolvedRefs.name();
        set(&mut conditions, resolved);
        let kinds: Vec<&str> = conditions.iter().map(|it| it.kind.as_str()).collect();
        assert_eq!(kinds, ["Ready", "ResolvedRefs"]);
    }
}
