//! The order of the decision. First hit wins; a denial that needs no facts is found without them.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    ApprovalNeeded, Decision, DenyReason, EscalateReason, Facts, LimitLeft, Reservation, RuleRef,
    ShadowResult, Verdict,
};
use crate::action::Action;
use crate::bundle::Bundle;
use crate::canonical;
use crate::capability::Capability;
use crate::hash::sha256;
use crate::limits::OnExceed;
use crate::passport::{Coverage, Passport};
use crate::policy::{
    ApprovalSpec, Obligations, Policy, PolicyMode, PolicyScope, Rule, RuleDecision,
};
use crate::upstream::Effect;

use super::matching::{self, Match};

pub(super) fn decide(
    bundle: &Bundle,
    passport: &Passport,
    action: &Action,
    facts: Option<&Facts>,
    now: Timestamp,
) -> Decision {
    let mut found = Found::default();
    let verdict = match before_rules(passport, action, facts, now) {
        Some(reason) => Verdict::Deny(reason),
        None => {
            found = Found::gather(bundle, passport, action, facts, now);
            by_rules(passport, action, facts, &mut found, bundle)
        }
    };
    let permitted = matches!(verdict, Verdict::Permit(_));
    found.rules.sort();
    found.rules.dedup();
    found.shadow.sort_by(|a, b| a.policy.cmp(&b.policy));
    Decision {
        effect_is_read: action.effect == Effect::Read,
        rules: found.rules,
        shadow: found.shadow,
        reservations: if permitted {
            found.reservations
        } else {
            Vec::new()
        },
        approval_used: if permitted { found.approval_used } else { None },
        verdict,
    }
}

/// Steps 1 to 3: passport, scope, declared facts.
fn before_rules(
    passport: &Passport,
    action: &Action,
    facts: Option<&Facts>,
    now: Timestamp,
) -> Option<DenyReason> {
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
    if let Some(fault) = &action.fault {
        return Some(DenyReason::DeclaredFact(fault.clone()));
    }
    let repeat = facts.and_then(|facts| facts.ambiguous.clone());
    repeat.map(|record| DenyReason::AmbiguousRepeat { record })
}

/// What the rules say, before it is weighed.
#[derive(Default)]
struct Found {
    rules: Vec<RuleRef>,
    shadow: Vec<ShadowResult>,
    error: Option<(RuleRef, String)>,
    deny: Option<RuleRef>,
    seats: Vec<ApprovalSpec>,
    seatless: bool,
    asks: bool,
    allows: bool,
    allows_irreversible: bool,
    needs_facts: bool,
    obligations: Obligations,
    reservations: Vec<Reservation>,
    approval_used: Option<String>,
}

impl Found {
    /// Step 4: all matching rules of all selected policies.
    fn gather(
        bundle: &Bundle,
        passport: &Passport,
        action: &Action,
        facts: Option<&Facts>,
        now: Timestamp,
    ) -> Self {
        let mut found = Self::default();
        for (p, policy) in bundle.spec().policies.iter().enumerate() {
            if !policy.passports.contains(&passport.name) {
                continue;
            }
            let matches = policy.rules.iter().enumerate().map(|(r, rule)| {
                (
                    rule,
                    matching::rule_matches(rule, bundle.condition(p, r), action, facts, now),
                )
            });
            match policy.mode {
                PolicyMode::Enforce => found.enforce(policy, passport, matches),
                PolicyMode::Shadow => found.shadow.push(shadow(policy, matches)),
            }
        }
        found.seats.sort_by(|a, b| seat_key(a).cmp(&seat_key(b)));
        found.seats.dedup();
        found
    }

    fn enforce<'a>(
        &mut self,
        policy: &Policy,
        passport: &Passport,
        matches: impl Iterator<Item = (&'a Rule, Match)>,
    ) {
        for (rule, matched) in matches {
            let name = RuleRef {
                policy: policy.name.clone(),
                rule: rule.name.clone(),
            };
            match matched {
                Match::No => continue,
                Match::NeedsFacts => {
                    self.needs_facts = true;
                    continue;
                }
                Match::Error(what) => {
                    // The same error is named whatever the order of rules.
                    if self.error.as_ref().is_none_or(|(first, _)| name < *first) {
                        self.error = Some((name, what));
                    }
                    continue;
                }
                Match::Yes => {}
            }
            match rule.decision {
                RuleDecision::Deny => {
                    if self.deny.as_ref().is_none_or(|first| name < *first) {
                        self.deny = Some(name.clone());
                    }
                }
                RuleDecision::RequireApproval => {
                    self.asks = true;
                    match rule
                        .approval
                        .as_ref()
                        .or(passport.default_approval.as_ref())
                    {
                        Some(seat) => self.seats.push(seat.clone()),
                        None => self.seatless = true,
                    }
                }
                // A guard of the whole cluster can only tighten.
                RuleDecision::Allow if policy.scope == PolicyScope::Cluster => continue,
                RuleDecision::Allow => {
                    self.allows = true;
                    self.allows_irreversible |= rule.allow_irreversible;
                }
            }
            self.obligations = self.obligations.and(rule.obligations);
            self.rules.push(name);
        }
    }
}

/// Steps 5 to 9.
fn by_rules(
    passport: &Passport,
    action: &Action,
    facts: Option<&Facts>,
    found: &mut Found,
    bundle: &Bundle,
) -> Verdict {
    if let Some((rule, what)) = found.error.take() {
        return Verdict::Deny(DenyReason::RuleError { rule, what });
    }
    if let Some(rule) = found.deny.take() {
        return Verdict::Deny(DenyReason::RuleDenies(rule));
    }
    if found.needs_facts {
        return Verdict::NeedsFacts;
    }
    if !found.allows && !found.asks {
        return Verdict::Deny(DenyReason::NoRule);
    }
    let mut because = found.asks.then_some(EscalateReason::RequiredByRule);
    if found.seatless {
        return Verdict::Deny(DenyReason::NoApprover);
    }
    if because.is_none() && action.effect == Effect::Irreversible && !found.allows_irreversible {
        match &passport.default_approval {
            Some(seat) => found.seats.push(seat.clone()),
            None => return Verdict::Deny(DenyReason::NoApprover),
        }
        because = Some(EscalateReason::Irreversible);
    }
    let Some(facts) = facts else {
        let limited = passport
            .limits
            .iter()
            .any(|limit| asked(action, limit).is_some());
        let local = because.is_none() && !limited && !action.effect.changes();
        return if local {
            Verdict::Permit(found.obligations)
        } else {
            Verdict::NeedsFacts
        };
    };
    let over_limits = match test_limits(passport, action, facts, found) {
        Ok(over) => over,
        Err(reason) => return Verdict::Deny(reason),
    };
    if !over_limits.is_empty() && because.is_none() {
        match &passport.default_approval {
            Some(seat) => found.seats.push(seat.clone()),
            None => return Verdict::Deny(DenyReason::NoApprover),
        }
        because = Some(EscalateReason::LimitExceeded);
    }
    let Some(because) = because else {
        return Verdict::Permit(found.obligations);
    };
    let needed = ApprovalNeeded {
        seats: found.seats.clone(),
        because,
        over_limits,
    };
    granted(bundle, action, facts, found, &needed)
}

/// Step 8: a grant for this digest counts while it fills all seats asked for now and its question is unchanged.
fn granted(
    bundle: &Bundle,
    action: &Action,
    facts: &Facts,
    found: &mut Found,
    needed: &ApprovalNeeded,
) -> Verdict {
    let mut rules = found.rules.clone();
    rules.sort();
    rules.dedup();
    let asked_by = asked_by(bundle, &rules, &action.capability);
    match &facts.grant {
        Some(grant)
            if grant.asked_by == asked_by
                && needed.seats.iter().all(|seat| grant.seats.contains(seat)) =>
        {
            found.approval_used = Some(grant.id.clone());
            Verdict::Permit(found.obligations)
        }
        _ => Verdict::Escalate(needed.clone()),
    }
}

/// What the action adds to a limit's meter in its unit.
fn asked(action: &Action, limit: &crate::limits::Limit) -> Option<i64> {
    let uses = action
        .meters
        .iter()
        .filter(|used| used.name == limit.meter && used.unit == limit.unit);
    uses.map(|used| used.amount).reduce(i64::saturating_add)
}

/// Step 7: every limit, all or nothing. Ok: the limits that ask people; reservations are ready.
fn test_limits(
    passport: &Passport,
    action: &Action,
    facts: &Facts,
    found: &mut Found,
) -> Result<Vec<LimitLeft>, DenyReason> {
    let mut over_limits = Vec::new();
    for (index, limit) in passport.limits.iter().enumerate() {
        let Some(amount) = asked(action, limit) else {
            continue;
        };
        let known = facts.used.get(index);
        let used = known.map_or(i64::MAX, |known| known.used);
        if used
            .checked_add(amount)
            .is_none_or(|total| total > limit.max)
        {
            let frees_at = known.and_then(|known| known.frees_at);
            let (meter, unit, max) = (limit.meter.clone(), limit.unit, limit.max);
            let left = LimitLeft {
                meter,
                unit,
                max,
                used,
                asked: amount,
                frees_at,
            };
            match limit.on_exceed {
                OnExceed::Deny => return Err(DenyReason::LimitExceeded(left)),
                OnExceed::RequireApproval => over_limits.push(left),
            }
        }
        let (meter, unit) = (limit.meter.clone(), limit.unit);
        found.reservations.push(Reservation {
            limit: index,
            meter,
            unit,
            amount,
        });
    }
    Ok(over_limits)
}

fn shadow<'a>(policy: &Policy, matches: impl Iterator<Item = (&'a Rule, Match)>) -> ShadowResult {
    let mut strongest = None;
    let mut error = false;
    let mut rules = BTreeSet::new();
    for (rule, matched) in matches {
        match matched {
            Match::Yes => {
                strongest = strongest.min(Some(rule.decision)).or(Some(rule.decision));
                rules.insert(RuleRef {
                    policy: policy.name.clone(),
                    rule: rule.name.clone(),
                });
            }
            Match::Error(_) => error = true,
            Match::No | Match::NeedsFacts => {}
        }
    }
    let would = match (error, strongest) {
        (true, _) => "error",
        (_, Some(RuleDecision::Deny)) => "deny",
        (_, Some(RuleDecision::RequireApproval)) => "escalate",
        (_, Some(RuleDecision::Allow)) => "permit",
        (_, None) => "no_rule",
    };
    ShadowResult {
        policy: policy.name.clone(),
        would: would.to_owned(),
        rules: rules.into_iter().collect(),
    }
}

fn seat_key(seat: &ApprovalSpec) -> (&[String], u32, u32, u32) {
    (
        &seat.groups,
        seat.quorum,
        seat.expires_after_seconds,
        seat.hold_seconds,
    )
}

/// SHA-256 over the text of the rules that matched and of the action's declaration: a grant holds while both are
/// unchanged.
pub fn asked_by(bundle: &Bundle, rules: &[RuleRef], capability: &Capability) -> [u8; 32] {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for name in rules {
        let policy = bundle
            .spec()
            .policies
            .iter()
            .find(|policy| policy.name == name.policy);
        let rule =
            policy.and_then(|policy| policy.rules.iter().find(|rule| rule.name == name.rule));
        parts.push(canonical::to_vec(&rule).unwrap_or_default());
    }
    let declared = bundle.action(capability).map(|(_, spec)| spec);
    parts.push(canonical::to_vec(&declared).unwrap_or_default());
    // Canonical JSON never holds a raw line feed, so the parts cannot run into each other.
    sha256(&[b"actpass.asked/1\0", &parts.join(b"\n".as_slice())])
}
