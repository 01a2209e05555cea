//! The order of the decision. First hit wins; a denial that needs no facts is found without them.

use jiff::Timestamp;

use super::budget::{self, Budget};
use super::declared;
use super::question::asked_by;
use super::rules::Found;
use super::{
    ApprovalNeeded, Decision, DenyReason, EscalateReason, Facts, Grant, Reservation, Verdict,
};
use crate::action::Action;
use crate::bundle::Bundle;
use crate::passport::{Coverage, Passport};
use crate::upstream::Effect;

/// One decision's arguments.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) bundle: &'a Bundle,
    pub(super) passport: &'a Passport,
    pub(super) action: &'a Action,
    pub(super) facts: Option<&'a Facts>,
    pub(super) now: Timestamp,
}

pub(super) fn decide(asked: Asked<'_>) -> Decision {
    let mut decision = Decision {
        verdict: Verdict::NeedsFacts,
        rules: Vec::new(),
        shadow: Vec::new(),
        reservations: Vec::new(),
        approval_used: None,
        effect_is_read: asked.action.effect == Effect::Read,
    };
    if let Some(reason) = before_rules(&asked) {
        decision.verdict = Verdict::Deny(reason);
        return decision;
    }
    let mut found = Found::gather(&asked);
    decision.rules = std::mem::take(&mut found.rules);
    decision.shadow = std::mem::take(&mut found.shadow);
    match by_rules(&asked, found, &decision) {
        Ok(permit) => {
            decision.verdict = permit.verdict;
            decision.reservations = permit.reservations;
            decision.approval_used = permit.approval_used;
        }
        Err(verdict) => decision.verdict = verdict,
    }
    decision
}

/// Steps 1 to 3: passport, scope, declared facts; and the repeat of an action whose outcome nobody knows.
fn before_rules(asked: &Asked<'_>) -> Option<DenyReason> {
    let Asked {
        bundle,
        passport,
        action,
        facts,
        now,
    } = *asked;
    let own = action.passport == passport.name && passport.is_of(&action.agent);
    let known = bundle
        .passport(&passport.name)
        .is_some_and(|known| std::ptr::eq(known, passport) || known == passport);
    if !own || !known || action.tenant != bundle.spec().tenant {
        return Some(DenyReason::PassportInvalid);
    }
    if passport.is_absent() {
        return Some(DenyReason::NoPassport);
    }
    if passport.suspended {
        return Some(DenyReason::PassportSuspended);
    }
    if passport.not_after.is_some_and(|end| now >= end) {
        return Some(DenyReason::PassportExpired);
    }
    if facts.is_some_and(|facts| facts.revoked) {
        return Some(DenyReason::PassportRevoked);
    }
    match passport.covers(&action.capability, action.resource.as_deref()) {
        Coverage::NoCapability => return Some(DenyReason::OutOfScope),
        Coverage::OtherResource => return Some(DenyReason::ResourceOutOfScope),
        Coverage::Covered => {}
    }
    if let Some(reason) = declared::wrong(bundle, passport, action) {
        return Some(reason);
    }
    let repeat = facts.and_then(|facts| facts.ambiguous.clone());
    repeat.map(|record| DenyReason::AmbiguousRepeat { record })
}

/// A permit with what it holds and consumes.
struct Permit {
    verdict: Verdict,
    reservations: Vec<Reservation>,
    approval_used: Option<String>,
}

/// Steps 5 to 9. The error is any verdict but a permit.
fn by_rules(asked: &Asked<'_>, found: Found, decision: &Decision) -> Result<Permit, Verdict> {
    let deny = |reason| Err(Verdict::Deny(reason));
    let Asked {
        passport, action, ..
    } = *asked;
    if let Some((rule, what)) = found.error {
        return deny(DenyReason::RuleError { rule, what });
    }
    if let Some(rule) = found.deny {
        return deny(DenyReason::RuleDenies(rule));
    }
    if found.needs_facts {
        return Err(Verdict::NeedsFacts);
    }
    if !found.allows && !found.asks {
        return deny(DenyReason::NoRule);
    }
    if found.seatless {
        return deny(DenyReason::NoApprover);
    }
    let mut seats = found.seats;
    let mut because = found.asks.then_some(EscalateReason::RequiredByRule);
    if because.is_none() && action.effect == Effect::Irreversible && !found.allows_irreversible {
        let Some(seat) = &passport.default_approval else {
            return deny(DenyReason::NoApprover);
        };
        seats.push(seat.clone());
        because = Some(EscalateReason::Irreversible);
    }
    let permit = |reservations, approval_used| {
        Ok(Permit {
            verdict: Verdict::Permit(found.obligations),
            reservations,
            approval_used,
        })
    };
    let Some(facts) = asked.facts else {
        let local =
            because.is_none() && !action.effect.changes() && !budget::is_limited(passport, action);
        return if local {
            permit(Vec::new(), None)
        } else {
            Err(Verdict::NeedsFacts)
        };
    };
    // Tested before anyone is asked: what a limit denies, nobody needs to look at.
    let Budget { reservations, over } = match budget::test(passport, action, facts) {
        Ok(budget) => budget,
        Err(left) => return deny(DenyReason::LimitExceeded(left)),
    };
    if !over.is_empty() {
        // Whom a rule names agrees to the action; the limit is the passport's, and so are those who lift it.
        let Some(seat) = &passport.default_approval else {
            return deny(DenyReason::NoApprover);
        };
        seats.push(seat.clone());
        because = because.or(Some(EscalateReason::LimitExceeded));
    }
    let Some(because) = because else {
        return permit(reservations, None);
    };
    seats.sort_by(|a, b| seat_key(a).cmp(&seat_key(b)));
    seats.dedup();
    let needed = ApprovalNeeded {
        seats,
        because,
        over_limits: over,
    };
    match granted(asked, decision, &needed, facts) {
        Some(id) => permit(reservations, Some(id)),
        None => Err(Verdict::Escalate(needed)),
    }
}

/// Step 8: a grant for this digest counts while it fills every seat asked for now, its question is unchanged, and what
/// goes over now was shown to those who agreed. Several requests may have been asked about before any of them ran: each
/// was judged by what was used then, so each is weighed again by what is used now.
fn granted(
    asked: &Asked<'_>,
    decision: &Decision,
    needed: &ApprovalNeeded,
    facts: &Facts,
) -> Option<String> {
    if facts.grants.is_empty() {
        return None;
    }
    let question = asked_by(asked.bundle, &decision.rules, &asked.action.capability);
    let holds = |grant: &&Grant| {
        needed.seats.iter().all(|seat| grant.seats.contains(seat))
            && grant.asked_by == question
            && needed.is_within(&grant.over_limits)
    };
    facts
        .grants
        .iter()
        .find(holds)
        .map(|grant| grant.id.clone())
}

fn seat_key(seat: &crate::policy::ApprovalSpec) -> (&[String], u32, u32, u32) {
    (
        &seat.groups,
        seat.quorum,
        seat.expires_after_seconds,
        seat.hold_seconds,
    )
}
