//! From the ledger's view of a question to the facts of an Approval.

use std::collections::BTreeMap;

use actpass_core::canonical::excerpt;
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
    /// and so is, counted in `sentMore`, what is more than an object of the API server should hold. Texts that are longer
    /// than their schema takes are cut off, so that the question is shown at all; where that takes from what is decided on,
    /// `unseen` says so, and nobody can approve it.
    ///
    /// # Errors
    /// The ledger says a word this build does not know.
    pub fn of(view: &ApprovalView, digest: String) -> Result<Self, NotShown> {
        let (sent, left_out) = sent(&view.sent);
        let mut facts = Facts::default();
        let attributes = facts.attributes(&view.attributes);
        let resource = view.resource.as_deref();
        Ok(Self {
            approval_id: view.id.clone(),
            digest,
            capability: facts.fact("capability", &view.capability, 128),
            effect: effect(&view.effect)?,
            amount: (view.amount.as_deref()).map(|text| facts.fact("amount", text, 64)),
            resource: resource.map(|text| facts.fact("resource", text, 4_096)),
            target: facts.fact("target", &view.target, 16_384),
            agent: facts.fact("agent", &view.agent, 128),
            passport: facts.fact("passport", &view.passport, 63),
            owner: cut(&view.owner, 253),
            purpose: cut(&view.purpose, 512),
            rationale: view.rationale.as_deref().map(|text| cut(text, 4_096)),
            attributes,
            sent,
            sent_more: i64::try_from(view.sent_more.saturating_add(left_out)).unwrap_or(i64::MAX),
            unseen: facts.unseen(view.unseen.as_deref()),
            because: because(&view.because)?,
            rules: (view.rules.iter().take(256))
                .map(|rule| cut(rule, 256))
                .collect(),
            limits: view.limits.iter().take(64).map(LimitLeft::from).collect(),
            over_limits: (view.over_limits.iter().take(64))
                .map(OverLimit::from)
                .collect(),
            seats: view.seats.iter().take(256).map(Seat::from).collect(),
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
    pub fn of(word: &str) -> Result<Option<Self>, NotShown> {
        Ok(Some(match word {
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

/// Facts that people decide on, and those of them that are too long for an Approval.
#[derive(Default)]
struct Facts {
    too_long: Vec<String>,
}

impl Facts {
    fn fact(&mut self, name: &str, text: &str, chars_max: usize) -> String {
        let shown = cut(text, chars_max);
        if shown != text {
            self.too_long.push(format!("`{}`", excerpt(name)));
        }
        shown
    }

    fn attributes(&mut self, all: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        if all.len() > ATTRIBUTES_MAX {
            self.too_long.push("`attributes`".to_owned());
        }
        let kept = all.iter().take(ATTRIBUTES_MAX);
        kept.map(|(name, text)| (name.clone(), self.fact(name, text, 1_024)))
            .collect()
    }

    fn unseen(self, why: Option<&str>) -> Option<String> {
        let too_long = (!self.too_long.is_empty()).then(|| {
            let names = self.too_long.join(", ");
            format!("longer than an Approval holds: {names}")
        });
        let why = why.into_iter().map(str::to_owned).chain(too_long);
        let why: Vec<String> = why.collect();
        (!why.is_empty()).then(|| cut(&why.join("; "), 1_024))
    }
}

/// The text, or its first characters with a sign that there are more.
fn cut(text: &str, chars_max: usize) -> String {
    match text.chars().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => {
            let first = text.chars().take(chars_max.saturating_sub(1));
            first.chain(std::iter::once('…')).collect()
        }
    }
}

/// As many attributes as their schema takes.
const ATTRIBUTES_MAX: usize = 32;

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
            meter: cut(&view.meter, 63),
            unit: cut(&view.unit, 8),
            max: cut(&view.max, 32),
            used: cut(&view.used, 32),
            left: cut(&view.left, 32),
            window: cut(&view.window, 64),
        }
    }
}

impl From<&wire::OverLimitView> for OverLimit {
    fn from(view: &wire::OverLimitView) -> Self {
        Self {
            meter: cut(&view.meter, 63),
            unit: cut(&view.unit, 8),
            max: cut(&view.max, 32),
            reaches: cut(&view.reaches, 32),
            window: cut(&view.window, 64),
        }
    }
}

impl From<&wire::SeatView> for Seat {
    fn from(view: &wire::SeatView) -> Self {
        Self {
            groups: (view.groups.iter().take(16))
                .map(|group| cut(group, 128))
                .collect(),
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
            user: cut(&view.user, 256),
            decision,
            time: Instant(view.time),
        }
    }
}

#[cfg(test)]
mod tests;
