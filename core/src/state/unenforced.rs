//! What was passed on under audit: ruled on as if it had been asked, with nothing reserved, asked or lent.
//!
//! What an audited action would have used counts on limits of its own, beside those that hold, so that "over the limit" shows
//! in an audit as it would under enforcement. It is counted as done, whatever became of it. Nothing else follows from it: it
//! is no precedent, and no denial that a rule could ask about.

use std::sync::Arc;

use jiff::Timestamp;

use super::facts::Reckoned;
use super::ruling::{denial, is_declared, is_skewed, refusal};
use super::{Audited, CLOCK_SKEW_MAX, NOT_REVEALED, State, StateError, Stream, after, meters};
use crate::action::Action;
use crate::bundle::Bundle;
use crate::decide::{self, ApprovalNeeded, DenyReason, Verdict};
use crate::evidence::leaf::{ActionMacs, Ruling, RulingVerdict, bounded};
use crate::evidence::record::{Judged, Record};
use crate::mode::Mode;

/// Reason of an intent under audit: nothing is permitted or lent there, and what is passed on asks nothing.
pub const UNDER_AUDIT: &str = "under_audit";

pub(super) const UNDER_AUDIT_DETAIL: &str =
    "The namespace is under audit, where nothing is permitted, asked of people or lent.";

/// Reason of a record that says that nothing was enforced, where something was to be.
pub const NOT_UNDER_AUDIT: &str = "not_under_audit";

impl State {
    /// Makes a bundle the active one.
    pub(super) fn activate(&mut self, bundle: Arc<Bundle>, now: Timestamp) {
        if let Some(before) = &self.active
            && let Some(until) = self.audits.get_mut(&before.digest())
        {
            until.until = Some(now);
        }
        if bundle.spec().mode == Mode::Audit {
            self.audits.insert(bundle.digest(), Audited { until: None });
        }
        self.active = Some(bundle);
    }

    /// What would have been answered to an action that was passed on. Without its action, or where policy has changed since,
    /// the sidecar's own word stands.
    pub(super) fn rule_on_unenforced(
        &self,
        record: &Record,
        judged: &Judged,
        stream: &Stream,
        given: Option<(&Action, &ActionMacs)>,
        now: Timestamp,
    ) -> Ruling {
        let ruling = self.would(judged, stream, given, now);
        let reason = match self.was_audit(judged, record.time) {
            true => ruling.reason,
            false => Some(NOT_UNDER_AUDIT.to_owned()),
        };
        Ruling {
            reason,
            verdict: RulingVerdict::Recorded,
            late: is_skewed(record.time, now),
            ..ruling
        }
    }

    /// Whether the bundle of a record was an audit's when it was made. A sidecar hears of the next within seconds.
    fn was_audit(&self, judged: &Judged, made: Timestamp) -> bool {
        let audited = self.audits.get(&judged.bundle);
        audited.is_some_and(|Audited { until }| {
            until.is_none_or(|until| made <= after(until, CLOCK_SKEW_MAX))
        })
    }

    fn would(
        &self,
        judged: &Judged,
        stream: &Stream,
        given: Option<(&Action, &ActionMacs)>,
        now: Timestamp,
    ) -> Ruling {
        let plain = Ruling::of(RulingVerdict::Recorded);
        let Some(evidence) = &judged.action else {
            return plain;
        };
        let given = given.filter(|(action, _)| evidence.shows(action));
        let Some((action, macs)) = given else {
            return Ruling {
                reason: Some(NOT_REVEALED.to_owned()),
                ..plain
            };
        };
        let named = Ruling {
            digest: Some(macs.digest),
            resource: macs.resource,
            subject: macs.subject,
            ..plain
        };
        let bundle = self.active();
        let Some(bundle) = bundle.filter(|bundle| bundle.digest() == judged.bundle) else {
            return named;
        };
        let deny = |ruling: Ruling| Ruling {
            would: Some(RulingVerdict::Deny),
            ..ruling
        };
        let passport = bundle.passport(&stream.passport);
        let Some(passport) = passport.filter(|_| self.is_own(evidence, stream)) else {
            return deny(denial(&DenyReason::PassportInvalid, macs));
        };
        if !is_declared(evidence, bundle) {
            return deny(denial(&DenyReason::Undeclared, macs));
        }
        let (reckoned, capability) = (Reckoned::Rehearsed, &action.capability);
        let facts = self.facts_by(reckoned, passport, capability, macs, now);
        let decision = decide::decide(bundle, passport, action, Some(&facts), now);
        let ruling = match decision.verdict() {
            Verdict::Permit(_) => Ruling {
                would: Some(RulingVerdict::Permit),
                ..named
            },
            Verdict::Deny(reason) => deny(denial(reason, macs)),
            Verdict::NeedsFacts => deny(denial(&DenyReason::NoRule, macs)),
            Verdict::Escalate(needed) => Ruling {
                would: Some(RulingVerdict::Escalate),
                ..refusal("approval_required", &asked(needed), macs)
            },
        };
        Ruling {
            rules: decision.rules().to_vec(),
            shadow: decision.shadow().to_vec(),
            facts: Some(self.shown_facts(reckoned, passport, capability, macs.resource, now)),
            ..ruling
        }
    }

    /// Takes in what was passed on.
    pub(super) fn rehearse(
        &mut self,
        judged: &Judged,
        ruling: &Ruling,
        stream: &Stream,
        now: Timestamp,
    ) -> Result<(), StateError> {
        if ruling.would.is_none() {
            return Ok(());
        }
        let bundle = self.active.clone();
        let bundle = bundle.filter(|bundle| bundle.digest() == judged.bundle);
        let (Some(bundle), Some(action)) = (bundle, &judged.action) else {
            return Err(StateError::Form(
                "what was passed on, ruled on without its action or policy",
            ));
        };
        let Some(passport) = bundle.passport(&stream.passport) else {
            return Ok(());
        };
        let (reckoned, resource) = (Reckoned::Rehearsed, ruling.resource);
        let shown = self.shown_facts(reckoned, passport, &action.capability, resource, now);
        if ruling.facts.as_ref().is_some_and(|facts| *facts != shown) {
            return Err(StateError::Form(
                "a ruling by facts that are not those of the log",
            ));
        }
        if ruling.would == Some(RulingVerdict::Permit) {
            let due = meters::due(passport, &action.meters);
            self.rehearsed.rehearse(passport, &due, now);
        }
        Ok(())
    }
}

/// Who would have been asked.
fn asked(needed: &ApprovalNeeded) -> String {
    let seat = |seat: &crate::policy::ApprovalSpec| {
        format!("{} of {}", seat.quorum, seat.groups.join(" or "))
    };
    let seats: Vec<String> = needed.seats.iter().map(seat).collect();
    bounded(&format!("People would be asked: {}.", seats.join(", ")))
}
