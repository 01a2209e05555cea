//! Step 4: all matching rules of all policies that apply, gathered so that their order does not matter.

use super::matching::{self, Match};
use super::order::Asked;
use super::{RuleRef, ShadowResult};
use crate::policy::{
    ApprovalSpec, Obligations, Policy, PolicyMode, PolicyScope, Rule, RuleDecision,
};
use crate::upstream::Effect;

/// What the rules say, before it is weighed.
#[derive(Default)]
pub(super) struct Found {
    /// Enforcing rules that matched, sorted.
    pub(super) rules: Vec<RuleRef>,
    /// What shadow policies say, sorted.
    pub(super) shadow: Vec<ShadowResult>,
    /// The first rule by name that could not be evaluated.
    pub(super) error: Option<(RuleRef, String)>,
    /// The first rule by name that denies.
    pub(super) deny: Option<RuleRef>,
    /// Some rule requires approval.
    pub(super) asks: bool,
    /// Seats of the rules that ask.
    pub(super) seats: Vec<ApprovalSpec>,
    /// Some rule asks, and neither it nor the passport says whom.
    pub(super) seatless: bool,
    /// Some rule allows.
    pub(super) allows: bool,
    /// Some rule allows although it cannot be undone.
    pub(super) allows_irreversible: bool,
    /// Some rule's condition reads facts that are not given.
    pub(super) needs_facts: bool,
    /// Of all rules that matched.
    pub(super) obligations: Obligations,
}

impl Found {
    pub(super) fn gather(asked: &Asked<'_>) -> Self {
        let mut found = Self::default();
        for (p, policy) in asked.bundle.spec().policies.iter().enumerate() {
            if !policy.passports.contains(&asked.passport.name) {
                continue;
            }
            match policy.mode {
                PolicyMode::Enforce => matches(asked, p, policy, |rule, matched| {
                    found.add(asked, policy, rule, matched)
                }),
                PolicyMode::Shadow => found.shadow.push(shadow(asked, p, policy)),
            }
        }
        found.rules.sort();
        found.rules.dedup();
        found
            .shadow
            .sort_by(|a, b| (&a.policy, &a.would, &a.rules).cmp(&(&b.policy, &b.would, &b.rules)));
        found
    }

    fn add(&mut self, asked: &Asked<'_>, policy: &Policy, rule: &Rule, matched: Match) {
        match matched {
            Match::No => return,
            Match::NeedsFacts => {
                self.needs_facts = true;
                return;
            }
            Match::Error(what) => {
                let name = name(policy, rule);
                if self
                    .error
                    .as_ref()
                    .is_none_or(|first| (&name, &what) < (&first.0, &first.1))
                {
                    self.error = Some((name, what));
                }
                return;
            }
            Match::Yes => {}
        }
        let name = name(policy, rule);
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
                    .or(asked.passport.default_approval.as_ref())
                {
                    Some(seat) => self.seats.push(seat.clone()),
                    None => self.seatless = true,
                }
            }
            RuleDecision::Allow => {
                self.allows = true;
                self.allows_irreversible |= rule.allow_irreversible;
            }
        }
        self.obligations = self.obligations.and(rule.obligations);
        self.rules.push(name);
    }
}

/// Hands over how each rule of a policy matches. A guard of the whole cluster can only tighten: its Allow rules say
/// nothing.
fn matches<'a>(
    asked: &Asked<'_>,
    p: usize,
    policy: &'a Policy,
    mut then: impl FnMut(&'a Rule, Match),
) {
    for (r, rule) in policy.rules.iter().enumerate() {
        if policy.scope == PolicyScope::Cluster && rule.decision == RuleDecision::Allow {
            continue;
        }
        then(
            rule,
            matching::rule_matches(rule, asked.bundle.condition(p, r), asked),
        );
    }
}

/// What one shadow policy would have decided on its own, limits aside.
fn shadow(asked: &Asked<'_>, p: usize, policy: &Policy) -> ShadowResult {
    let (mut strongest, mut error, mut needs_facts, mut allows_irreversible) =
        (None, false, false, false);
    let mut rules = Vec::new();
    matches(asked, p, policy, |rule, matched| match matched {
        Match::Yes => {
            strongest = Some(strongest.map_or(rule.decision, |before: RuleDecision| {
                before.min(rule.decision)
            }));
            allows_irreversible |= rule.allow_irreversible && rule.decision == RuleDecision::Allow;
            rules.push(name(policy, rule));
        }
        Match::Error(_) => error = true,
        Match::NeedsFacts => needs_facts = true,
        Match::No => {}
    });
    rules.sort();
    let asks_anyway = asked.action.effect == Effect::Irreversible && !allows_irreversible;
    let would = match strongest {
        _ if error => "error",
        Some(RuleDecision::Deny) => "deny",
        _ if needs_facts => "needs_facts",
        Some(RuleDecision::RequireApproval) => "escalate",
        Some(RuleDecision::Allow) if asks_anyway => "escalate",
        Some(RuleDecision::Allow) => "permit",
        None => "no_rule",
    };
    ShadowResult {
        policy: policy.name.clone(),
        would: would.to_owned(),
        rules,
    }
}

fn name(policy: &Policy, rule: &Rule) -> RuleRef {
    RuleRef {
        policy: policy.name.clone(),
        rule: rule.name.clone(),
    }
}
