//! From the ledger's view of a question to the facts of an Approval.

use actpass_core::wire::{self, ApprovalView};

use super::{
    ApprovalState, Because, CountedVote, EscalationSpec, LimitLeft, OverLimit, Seat, Sent,
    SentPlace,
};
use crate::approval_vote::VoteDecision;
use crate::instant::Instant;
use crate::upstream::Effect;

/// A word of the ledger that this build does not know, so nobody is shown a question that might say something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotShown {
    /// The fact.
    pub field: &'static str,
    /// The word.
    pub word: String,
}

impl std::fmt::Display for NotShown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}` is no {} this build knows; use the controller and the ledger of one release",
            actpass_core::canonical::excerpt(&self.word),
            self.field
        )
    }
}

impl std::error::Error for NotShown {}

impl EscalationSpec {
    /// The facts of a question, with the digest of its action. What is sent and shown by a fact already is left out,
    /// and so is, counted in `sentMore`, what is more than an object of the API server should hold.
    ///
    /// # Errors
    /// The ledger says a word this build does not know.
    pub fn of(view: &ApprovalView, digest: String) -> Result<Self, NotShown> {
        let (sent, left_out) = sent(&view.sent);
        Ok(Self {
            approval_id: view.id.clone(),
            digest,
            capability: view.capability.clone(),
            effect: effect(&view.effect)?,
            amount: view.amount.clone(),
            resource: view.resource.clone(),
            target: view.target.clone(),
            agent: view.agent.clone(),
            passport: view.passport.clone(),
            owner: view.owner.clone(),
            purpose: view.purpose.clone(),
            rationale: view.rationale.clone(),
            attributes: view.attributes.clone(),
            sent,
            sent_more: i64::try_from(view.sent_more.saturating_add(left_out)).unwrap_or(i64::MAX),
            unseen: view.unseen.clone(),
            because: because(&view.because)?,
            rules: view.rules.clone(),
            limits: view.limits.iter().map(LimitLeft::from).collect(),
            over_limits: view.over_limits.iter().map(OverLimit::from).collect(),
            seats: view.seats.iter().map(Seat::from).collect(),
            asked_at: Instant(view.asked),
            expires_at: Instant(view.expires),
        })
    }
}

impl ApprovalState {
    /// The state of a question that people are shown; `None` while its request is not kept yet, so that nobody is
    /// asked.
    ///
    /// # Errors
    /// The ledger says a word this build does not know.
    pub fn of(view: &ApprovalView) -> Result<Option<Self>, NotShown> {
        Ok(Some(match view.state.as_str() {
            "sealing" => return Ok(None),
            "pending" => Self::Pending,
            "granted" => Self::Granted,
            "denied" => Self::Denied,
            "expired" => Self::Expired,
            "used" => Self::Used,
            word => return Err(unknown("state", word)),
        }))
    }
}

fn effect(word: &str) -> Result<Effect, NotShown> {
    match word {
        "Read" => Ok(Effect::Read),
        "Write" => Ok(Effect::Write),
        "Irreversible" => Ok(Effect::Irreversible),
        _ => Err(unknown("effect", word)),
    }
}

fn because(word: &str) -> Result<Because, NotShown> {
    match word {
        "required_by_rule" => Ok(Because::RequiredByRule),
        "irreversible" => Ok(Because::Irreversible),
        "limit_exceeded" => Ok(Because::LimitExceeded),
        _ => Err(unknown("reason to ask", word)),
    }
}

fn unknown(field: &'static str, word: &str) -> NotShown {
    let word = word.to_owned();
    NotShown { field, word }
}

/// What no fact shows, up to the first value that is too many or too long, and how many it leaves out.
fn sent(views: &[wire::SentView]) -> (Vec<Sent>, u64) {
    let more: Vec<&wire::SentView> = views.iter().filter(|it| !it.fact).collect();
    let mut bytes: usize = 0;
    let shown = more.iter().take(SENT_MAX).take_while(|it| {
        bytes = bytes.saturating_add(it.name.len().saturating_add(it.value.len()));
        it.name.len() <= NAME_BYTES_MAX && bytes <= SENT_BYTES_MAX
    });
    let shown: Vec<Sent> = shown.map(|it| Sent::from(*it)).collect();
    let left_out = more.len().saturating_sub(shown.len());
    (shown, u64::try_from(left_out).unwrap_or(u64::MAX))
}

/// As many values as the schema of `sent` takes.
const SENT_MAX: usize = 512;
/// As long as the schema of a name takes.
const NAME_BYTES_MAX: usize = 4_096;
/// As long as the schema of one value takes, for all of them: an object of the API server has 1.5 MiB at most, and an
/// approver's screen far less.
const SENT_BYTES_MAX: usize = 16_384;

impl From<&wire::SentView> for Sent {
    fn from(view: &wire::SentView) -> Self {
        let place = match view.place {
            wire::SentPlace::Header => SentPlace::Header,
            wire::SentPlace::Query => SentPlace::Query,
            wire::SentPlace::Body => SentPlace::Body,
        };
        Self {
            place,
            name: view.name.clone(),
            value: view.value.clone(),
        }
    }
}

impl From<&wire::LimitView> for LimitLeft {
    fn from(view: &wire::LimitView) -> Self {
        Self {
            meter: view.meter.clone(),
            unit: view.unit.clone(),
            max: view.max.clone(),
            used: view.used.clone(),
            left: view.left.clone(),
            window: view.window.clone(),
        }
    }
}

impl From<&wire::OverLimitView> for OverLimit {
    fn from(view: &wire::OverLimitView) -> Self {
        Self {
            meter: view.meter.clone(),
            unit: view.unit.clone(),
            max: view.max.clone(),
            reaches: view.reaches.clone(),
            window: view.window.clone(),
        }
    }
}

impl From<&wire::SeatView> for Seat {
    fn from(view: &wire::SeatView) -> Self {
        Self {
            groups: view.groups.clone(),
            quorum: view.quorum,
        }
    }
}

impl From<&wire::VoteView> for CountedVote {
    fn from(view: &wire::VoteView) -> Self {
        let decision = match view.grant {
            true => VoteDecision::Approve,
            false => VoteDecision::Deny,
        };
        Self {
            user: view.user.clone(),
            decision,
            time: Instant(view.time),
        }
    }
}

#[cfg(test)]
mod tests;
