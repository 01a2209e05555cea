//! The ledger's answer to one record, as a pure function: the engine gives it, verification gives it again.

use std::time::Duration;

use jiff::Timestamp;

use super::approvals::expiry;
use super::facts::Reckoned;
use super::unenforced::{UNDER_AUDIT, UNDER_AUDIT_DETAIL};
use super::{State, Stream, after};
use crate::action::{Action, ActionEvidence};
use crate::bundle::Bundle;
use crate::decide::{self, ApprovalNeeded, Decision, DenyReason, Verdict};
use crate::evidence::leaf::{
    ActionMacs, Ruling, RulingApproval, RulingVerdict, Settlement, bounded,
};
use crate::evidence::record::{Body, Judged, Outcome, OutcomeResult, Record};
use crate::hash::{RecordHash, StreamId, hex, sha256};
use crate::mode::Mode;
use crate::policy::Obligations;

/// A permit may be used for this long.
pub const PERMIT_LIFE: Duration = Duration::from_secs(10);

/// An intent further off the ledger's clock is denied; another record is marked late.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(30);

/// A record the ledger does not take at all: nothing is logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordRefused {
    /// The stream is not open here.
    #[error("stream {0} is not open; open it with a passport first")]
    UnknownStream(StreamId),
    /// A gap, or a record that was answered before.
    #[error("record {found} came where {expected} is due")]
    Sequence {
        /// Sequence number due.
        expected: u64,
        /// Sequence number found.
        found: u64,
    },
    /// Another record than the one that was taken under this number, or one that continues another chain.
    #[error("record {0} does not continue the stream's chain")]
    Chain(u64),
    /// An outcome of nothing.
    #[error("record {0} makes no sense: {1}")]
    Senseless(u64, &'static str),
    /// No bundle is active, so nothing can be decided.
    #[error("no policy is active")]
    NoBundle,
}

impl State {
    /// Answers one record at leaf time `now`. `action` is what the record's commitments open to, for an intent; an
    /// intent without it is denied, and its stream goes on.
    ///
    /// # Errors
    /// Where the record cannot stand in the log.
    pub fn rule_on(
        &self,
        record: &Record,
        action: Option<(&Action, &ActionMacs)>,
        now: Timestamp,
    ) -> Result<Ruling, RecordRefused> {
        let stream = self
            .stream(&record.stream)
            .filter(|stream| stream.ended.is_none());
        let stream = stream.ok_or(RecordRefused::UnknownStream(record.stream))?;
        if record.seq != stream.next_seq {
            return Err(RecordRefused::Sequence {
                expected: stream.next_seq,
                found: record.seq,
            });
        }
        if record.prev != stream.head {
            return Err(RecordRefused::Chain(record.seq));
        }
        let skewed = is_skewed(record.time, now);
        match &record.body {
            Body::Intent(judged) => {
                let bundle = self.active().ok_or(RecordRefused::NoBundle)?;
                let Some(given) = action else {
                    return Ok(not_revealed());
                };
                if now >= stream.expires {
                    return Ok(denial(&DenyReason::PassportExpired, given.1));
                }
                if skewed {
                    return Ok(denial(&DenyReason::ClockSkew, given.1));
                }
                Ok(self.rule_on_intent(record, judged, bundle, stream, given, now))
            }
            Body::Outcome(outcome) => self.rule_on_outcome(record, outcome, skewed),
            Body::Decision(judged) if !judged.enforced => {
                Ok(self.rule_on_unenforced(record, judged, stream, action, now))
            }
            Body::Decision(judged) => {
                let foreign = judged
                    .action
                    .as_ref()
                    .is_some_and(|action| !self.is_own(action, stream));
                let reason = if is_unlawful(judged) {
                    Some(PERMIT_WITHOUT_LEDGER)
                } else {
                    foreign.then(|| DenyReason::PassportInvalid.code())
                };
                let reason = reason.map(str::to_owned);
                Ok(Ruling {
                    reason,
                    late: skewed,
                    ..Ruling::of(RulingVerdict::Recorded)
                })
            }
            Body::Note(_) => Ok(Ruling {
                late: skewed,
                ..Ruling::of(RulingVerdict::Recorded)
            }),
        }
    }

    fn rule_on_intent(
        &self,
        record: &Record,
        judged: &Judged,
        bundle: &Bundle,
        stream: &Stream,
        (action, macs): (&Action, &ActionMacs),
        now: Timestamp,
    ) -> Ruling {
        if judged.bundle != bundle.digest() {
            return denial(&DenyReason::StalePolicy, macs);
        }
        if bundle.spec().mode == Mode::Audit || !judged.enforced {
            return refusal(UNDER_AUDIT, UNDER_AUDIT_DETAIL, macs);
        }
        let Some(evidence) = judged
            .action
            .as_ref()
            .filter(|evidence| evidence.shows(action))
        else {
            return not_revealed();
        };
        let passport = bundle
            .passport(&stream.passport)
            .filter(|_| self.is_own(evidence, stream));
        let Some(passport) = passport else {
            return denial(&DenyReason::PassportInvalid, macs);
        };
        if !is_declared(evidence, bundle) {
            return refusal(
                "undeclared",
                "No upstream of the policy declares an action like this.",
                macs,
            );
        }
        let facts = self.facts(passport, &action.capability, macs, now);
        let decision = decide::decide(bundle, passport, action, Some(&facts), now);
        let ruling = match decision.verdict() {
            Verdict::Permit(obligations) => permit(&decision, *obligations, now),
            Verdict::Deny(reason) => denial(reason, macs),
            // With facts at hand nothing can still need them; doubt denies.
            Verdict::NeedsFacts => denial(&DenyReason::NoRule, macs),
            Verdict::Escalate(needed) => {
                let asked_by = decide::asked_by(bundle, decision.rules(), &action.capability);
                self.escalate(record, needed, asked_by, (&passport.name, macs), now)
            }
        };
        Ruling {
            rules: decision.rules().to_vec(),
            shadow: decision.shadow().to_vec(),
            digest: Some(macs.digest),
            resource: macs.resource,
            subject: macs.subject,
            facts: Some(self.shown_facts(
                Reckoned::Enforced,
                passport,
                &action.capability,
                macs.resource,
                now,
            )),
            ..ruling
        }
    }

    fn escalate(
        &self,
        record: &Record,
        needed: &ApprovalNeeded,
        asked_by: [u8; 32],
        (passport, macs): (&str, &ActionMacs),
        now: Timestamp,
    ) -> Ruling {
        let approval = match self
            .approvals
            .same_open(&macs.digest, needed, &asked_by, now)
        {
            Some(same) => RulingApproval::Pending {
                id: same.id.clone(),
            },
            None if self.approvals.is_full(passport, now) => {
                return denial(&DenyReason::TooManyPending, macs);
            }
            None => RulingApproval::Asked {
                id: approval_id(&self.log, record),
                needed: needed.clone(),
                asked_by: hex(&asked_by),
                expires: expiry(needed, now),
            },
        };
        let reason = Some("approval_required".to_owned());
        Ruling {
            reason,
            approval: Some(approval),
            ..Ruling::of(RulingVerdict::Escalate)
        }
    }

    /// Whether an action says of itself what its authenticated stream is.
    pub(super) fn is_own(&self, action: &ActionEvidence, stream: &Stream) -> bool {
        action.tenant == self.tenant()
            && action.passport == stream.passport
            && action.agent == stream.agent
    }

    fn rule_on_outcome(
        &self,
        record: &Record,
        outcome: &Outcome,
        late: bool,
    ) -> Result<Ruling, RecordRefused> {
        if outcome.of >= record.seq {
            return Err(RecordRefused::Senseless(
                record.seq,
                "an outcome before its action",
            ));
        }
        let settles = self.settlement(record, outcome);
        Ok(Ruling {
            settles,
            late,
            ..Ruling::of(RulingVerdict::Recorded)
        })
    }

    /// What an outcome does to its intent; nothing where none is awaited, as for a read, or a second time.
    pub(super) fn settlement(&self, record: &Record, outcome: &Outcome) -> Option<Settlement> {
        let intent = self.intents.awaited(&(record.stream, outcome.of))?;
        let not_sent = outcome.result == OutcomeResult::NotSent;
        Some(Settlement {
            result: outcome.result,
            released: not_sent || outcome.result == OutcomeResult::Failed,
            approval_returned: intent.approval.clone().filter(|_| not_sent),
        })
    }
}

fn permit(decision: &Decision, obligations: Obligations, now: Timestamp) -> Ruling {
    Ruling {
        reservations: decision.reservations().to_vec(),
        approval: decision
            .approval_used()
            .map(|id| RulingApproval::Used { id: id.to_owned() }),
        obligations: Some(obligations),
        not_after: Some(after(now, PERMIT_LIFE)),
        ..Ruling::of(RulingVerdict::Permit)
    }
}

/// The denial of an intent that no action is known of: there is nothing to decide on, and no digest to name.
fn not_revealed() -> Ruling {
    Ruling {
        reason: Some(NOT_REVEALED.to_owned()),
        detail: Some("The texts sent with the record are not those it commits to.".to_owned()),
        ..Ruling::of(RulingVerdict::Deny)
    }
}

pub(super) fn denial(reason: &DenyReason, macs: &ActionMacs) -> Ruling {
    let limit = match reason {
        DenyReason::LimitExceeded(left) => Some(left.clone()),
        _ => None,
    };
    Ruling {
        limit,
        ..refusal(reason.code(), &reason.to_string(), macs)
    }
}

pub(super) fn refusal(reason: &str, detail: &str, macs: &ActionMacs) -> Ruling {
    Ruling {
        reason: Some(reason.to_owned()),
        detail: Some(bounded(detail)),
        digest: Some(macs.digest),
        resource: macs.resource,
        subject: macs.subject,
        ..Ruling::of(RulingVerdict::Deny)
    }
}

/// Whether the bundle declares an action like this: a sidecar cannot call a write a read, or take it elsewhere.
pub(super) fn is_declared(action: &ActionEvidence, bundle: &Bundle) -> bool {
    bundle
        .action(&action.capability)
        .is_some_and(|(upstream, declared)| {
            declared.effect == action.effect
                && upstream.name == action.upstream
                && upstream.serves(&action.host, action.port)
        })
}

/// Whether a sidecar permitted by itself what only the ledger may permit. Recorded with a reason, as evidence.
fn is_unlawful(judged: &Judged) -> bool {
    judged.verdict == "permit"
        && judged
            .action
            .as_ref()
            .is_some_and(|action| action.effect.changes())
}

/// Reason of a denied intent whose openings do not reveal the action it commits to.
pub const NOT_REVEALED: &str = "not_revealed";

/// Reason of a recorded decision that only the ledger could have taken.
const PERMIT_WITHOUT_LEDGER: &str = "permit_without_ledger";

pub(super) fn is_skewed(then: Timestamp, now: Timestamp) -> bool {
    now.duration_since(then).unsigned_abs() > CLOCK_SKEW_MAX
}

/// `apr_` and 20 hex digits of SHA-256(log ‖ stream ‖ seq).
pub(super) fn approval_id(log: &str, record: &Record) -> String {
    let hash = sha256(&[
        log.as_bytes(),
        record.stream.as_bytes(),
        &record.seq.to_be_bytes(),
    ]);
    let short: String = RecordHash::from_bytes(hash)
        .to_string()
        .chars()
        .take(20)
        .collect();
    format!("apr_{short}")
}
