//! Objects of the API server, as far as they are shown.

use actpass_core::wire::{
    ApprovalView, LimitView, OverLimitView, SeatView, SentPlace, SentView, VoteView,
};
use actpass_crds::approval::{
    ApprovalState, ApprovalStatus, Because, EscalationSpec, SentPlace as Place,
};
use actpass_crds::approval_vote::VoteDecision;
use actpass_crds::condition::{Condition, ConditionStatus};
use actpass_crds::passport::PassportSpec;
use actpass_crds::status::PassportStatus;
use serde::{Deserialize, Serialize};

/// A list of objects.
#[derive(Debug, Deserialize)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
}

/// What is read of any object's metadata.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) uid: String,
    #[serde(default)]
    pub(super) labels: std::collections::BTreeMap<String, String>,
}

/// An Approval.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Approval {
    pub(super) metadata: Meta,
    pub(super) spec: EscalationSpec,
    #[serde(default)]
    pub(super) status: ApprovalStatus,
}

/// A Passport.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Passport {
    pub(super) metadata: Meta,
    pub(super) spec: PassportSpec,
    #[serde(default)]
    pub(super) status: PassportStatus,
}

impl Approval {
    /// Its state, in the word of evidence and answers.
    pub(super) fn state(&self) -> &'static str {
        match self.status.state {
            // The controller made it and has not said more yet.
            None | Some(ApprovalState::Pending) => "pending",
            Some(ApprovalState::Granted) => "granted",
            Some(ApprovalState::Denied) => "denied",
            Some(ApprovalState::Expired) => "expired",
            Some(ApprovalState::Used) => "used",
        }
    }

    /// The facts, in the form in which they are shown on a laptop too.
    pub(super) fn view(&self) -> ApprovalView {
        let spec = &self.spec;
        ApprovalView {
            id: self.metadata.name.clone(),
            state: self.state().to_owned(),
            digest: spec.digest.clone(),
            capability: spec.capability.clone(),
            effect: format!("{:?}", spec.effect),
            amount: spec.amount.clone(),
            resource: spec.resource.clone(),
            target: spec.target.clone(),
            agent: spec.agent.clone(),
            passport: spec.passport.clone(),
            owner: spec.owner.clone(),
            purpose: spec.purpose.clone(),
            rationale: spec.rationale.clone(),
            attributes: spec.attributes.clone(),
            sent: (spec.sent.iter())
                .map(|sent| SentView {
                    place: match sent.place {
                        Place::Header => SentPlace::Header,
                        Place::Query => SentPlace::Query,
                        Place::Body => SentPlace::Body,
                    },
                    name: sent.name.clone(),
                    value: sent.value.clone(),
                    fact: false,
                })
                .collect(),
            sent_more: u64::try_from(spec.sent_more).unwrap_or_default(),
            unseen: spec.unseen.clone(),
            rules: spec.rules.clone(),
            because: match spec.because {
                Because::RequiredByRule => "required_by_rule",
                Because::Irreversible => "irreversible",
                Because::LimitExceeded => "limit_exceeded",
            }
            .to_owned(),
            limits: (spec.limits.iter())
                .map(|limit| LimitView {
                    passport: spec.passport.clone(),
                    meter: limit.meter.clone(),
                    unit: limit.unit.clone(),
                    max: limit.max.clone(),
                    used: limit.used.clone(),
                    left: limit.left.clone(),
                    window: limit.window.clone(),
                    frees_at: None,
                })
                .collect(),
            over_limits: (spec.over_limits.iter())
                .map(|over| OverLimitView {
                    meter: over.meter.clone(),
                    unit: over.unit.clone(),
                    max: over.max.clone(),
                    reaches: over.reaches.clone(),
                    window: over.window.clone(),
                })
                .collect(),
            seats: (spec.seats.iter())
                .map(|seat| SeatView {
                    groups: seat.groups.clone(),
                    quorum: seat.quorum,
                })
                .collect(),
            asked: spec.asked_at.0,
            expires: spec.expires_at.0,
            votes: (self.status.votes.iter())
                .map(|vote| VoteView {
                    user: vote.user.clone(),
                    grant: vote.decision == VoteDecision::Approve,
                    time: vote.time.0,
                })
                .collect(),
        }
    }
}

/// A pod, as far as it is looked at.
#[derive(Deserialize)]
pub(super) struct Pod {
    pub(super) metadata: Meta,
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    #[serde(default)]
    service_account_name: String,
    #[serde(default)]
    init_containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    name: String,
}

#[derive(Default, Deserialize)]
struct PodStatus {
    #[serde(default)]
    phase: String,
}

impl Pod {
    /// Its ServiceAccount.
    pub(super) fn account(&self) -> &str {
        match self.spec.service_account_name.as_str() {
            "" => "default",
            named => named,
        }
    }

    /// Whether it has a sidecar of ActPass.
    pub(super) fn is_injected(&self) -> bool {
        let mut containers = self.spec.init_containers.iter();
        containers.any(|it| it.name == actpass_core::pod::contract::PROXY)
    }

    /// Whether all its containers have ended, for good.
    pub(super) fn has_ended(&self) -> bool {
        ["Succeeded", "Failed"].contains(&self.status.phase.as_str())
    }
}

/// A condition by its type.
pub(super) fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// Whether a condition is true.
pub(super) fn holds(condition: Option<&Condition>) -> bool {
    condition.is_some_and(|condition| condition.status == ConditionStatus::True)
}
