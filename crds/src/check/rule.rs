//! Rules that can never match, and rules that match more than they seem to.

use actpass_core::money::{Currency, Money};
use actpass_core::passport::{Passport, ScopeEntry};
use actpass_core::policy::{AmountBound, Rule, RuleDecision};
use actpass_core::upstream::{ActionSpec, CurrencySource, Effect};

use super::Check;
use super::action::named;
use super::overlap::may_overlap;
use crate::problem::Said;
use crate::read::Located;
use crate::resource::Kind;

/// Why a rule never matches an action under one entry of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Never {
    /// The scope's resources and the rule's have none in common.
    OtherResources,
    /// The action declares no resource, and an Allow asks for one.
    NoResource,
    /// The action declares no amount, and an Allow bounds it.
    NoAmount,
    /// The action's currency is not among the bounds of an Allow.
    OtherCurrency,
}

impl Check<'_> {
    /// Whether a rule can match what the passports it is for may ask for.
    pub(super) fn reach(&mut self, at: &Located, field: &str, rule: &Rule, targets: &[&Passport]) {
        for (index, bound) in rule.amounts.iter().enumerate() {
            self.bound(at, &format!("{field}.amounts[{index}]"), bound);
        }
        let covers = |action: &&&ActionSpec| {
            rule.capabilities
                .iter()
                .any(|pattern| pattern.matches(&action.capability))
        };
        let covered: Vec<&ActionSpec> = self.actions.iter().filter(covers).copied().collect();
        if covered.is_empty() || !self.all(Kind::Upstream) || !self.all(Kind::Passport) {
            return;
        }
        let reached: Vec<(&ActionSpec, &Passport, &ScopeEntry)> = covered
            .iter()
            .flat_map(|action| {
                targets.iter().flat_map(|passport| {
                    let entries = passport
                        .scope
                        .iter()
                        .filter(|entry| entry.capability.matches(&action.capability));
                    entries.map(|entry| (*action, *passport, entry))
                })
            })
            .collect();
        if reached.is_empty() {
            if !targets.is_empty() {
                let said = Said::from(
                    "can never match: no Passport it is for has these capabilities in its scope",
                );
                self.warning(
                    at,
                    &format!("{field}.capabilities"),
                    said.help("add them to `scope`, or leave the rule out"),
                );
            }
            return;
        }
        let reasons: Vec<Option<Never>> = reached
            .iter()
            .map(|(action, _, entry)| never(rule, action, entry))
            .collect();
        if let Some(Some(reason)) = reasons
            .first()
            .filter(|_| reasons.iter().all(Option::is_some))
        {
            let (part, what, help) = reason.words();
            self.warning(
                at,
                &format!("{field}.{part}"),
                Said::from(format!("can never match: {what}")).help(help),
            );
        }
        let mut seen: Vec<&ActionSpec> = reached.iter().map(|(action, ..)| *action).collect();
        seen.dedup_by(|a, b| a.capability == b.capability);
        self.wider_than_written(at, field, rule, &seen);
        self.irreversible(at, field, rule, &reached);
    }

    fn bound(&mut self, at: &Located, field: &str, bound: &AmountBound) {
        let upper = bound
            .lt
            .map(|lt| lt.minor().saturating_sub(1))
            .or(bound.lte.map(|lte| lte.minor()));
        let lower = bound
            .gt
            .map(|gt| gt.minor().saturating_add(1))
            .or(bound.gte.map(|gte| gte.minor()));
        let Some(upper) = upper else { return };
        if lower.is_some_and(|lower| lower > upper) {
            let text =
                |money: Option<Money>| money.map(|money| money.to_major_text()).unwrap_or_default();
            let (low, high) = (text(bound.gt.or(bound.gte)), text(bound.lt.or(bound.lte)));
            let said = Said::from(format!(
                "can never match: no {} amount lies between {low} and {high}",
                bound.currency
            ));
            self.warning(at, field, said.help("is one bound the other's?"));
        } else if upper <= 0 {
            let said = Said::from("can never match: an upper bound implies an amount above zero");
            self.warning(at, field, said);
        }
    }

    /// An action without the amount that a Deny or RequireApproval bounds counts as matched by it.
    fn wider_than_written(
        &mut self,
        at: &Located,
        field: &str,
        rule: &Rule,
        actions: &[&ActionSpec],
    ) {
        if rule.decision == RuleDecision::Allow {
            return;
        }
        let (what, help) = match rule.decision {
            RuleDecision::Deny => ("denies", "name only capabilities that move money"),
            _ => ("asks about", "name only capabilities that move money"),
        };
        if !rule.amounts.is_empty() {
            let without: Vec<&ActionSpec> = actions
                .iter()
                .filter(|action| action.amount.is_none() && action.effect.changes())
                .copied()
                .collect();
            if !without.is_empty() {
                let names = named(without.into_iter());
                let said = Said::from(format!(
                    "{what} every {names}: no amount is declared there, and doubt counts as matched"
                ));
                self.warning(at, &format!("{field}.amounts"), said.help(help));
            }
            let elsewhere: Vec<&ActionSpec> = actions
                .iter()
                .filter(|action| currency(action).is_some_and(|code| !lists(rule, code)))
                .copied()
                .collect();
            if !elsewhere.is_empty() {
                let names = named(elsewhere.into_iter());
                let said = Said::from(format!(
                    "{what} every {names}: its currency is not listed, and doubt counts as matched"
                ));
                self.warning(
                    at,
                    &format!("{field}.amounts"),
                    said.help("add an entry for that currency"),
                );
            }
        }
        let without: Vec<&ActionSpec> = actions
            .iter()
            .filter(|action| action.resource.is_none())
            .copied()
            .collect();
        if !rule.resources.is_empty() && !without.is_empty() {
            let names = named(without.into_iter());
            let said = Said::from(format!(
                "{what} every {names}: no resource is declared there, and doubt counts as matched"
            ));
            self.warning(
                at,
                &format!("{field}.resources"),
                said.help("name only capabilities that declare a `resource`"),
            );
        }
    }

    /// A plain Allow does not cover what cannot be undone: then the passport's default approvers are asked, if it has some.
    fn irreversible(
        &mut self,
        at: &Located,
        field: &str,
        rule: &Rule,
        reached: &[(&ActionSpec, &Passport, &ScopeEntry)],
    ) {
        if rule.decision != RuleDecision::Allow || rule.allow_irreversible {
            return;
        }
        let denied = reached.iter().find(|(action, passport, _)| {
            action.effect == Effect::Irreversible && passport.default_approval.is_none()
        });
        if let Some((action, passport, _)) = denied {
            let (capability, name) = (&action.capability, &passport.name);
            let said = Said::from(format!(
                "`{capability}` is Irreversible, which a plain Allow does not cover, and Passport `{name}` has no `defaultApproval` to ask, so it is denied"
            ));
            self.warning(
                at,
                field,
                said.help("add `allowIrreversible: true`, or `defaultApproval` to the Passport"),
            );
        }
    }
}

impl Never {
    /// The field, what is wrong, and what would help.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::OtherResources => (
                "resources",
                "no resource in scope matches these patterns",
                "compare them with `scope` of the Passport",
            ),
            Self::NoResource => (
                "resources",
                "the actions it covers declare no resource",
                "leave `resources` out, or declare where it is read",
            ),
            Self::NoAmount => (
                "amounts",
                "the actions it covers declare no amount",
                "leave `amounts` out, or declare where it is read",
            ),
            Self::OtherCurrency => (
                "amounts",
                "the actions it covers are in another currency",
                "bound the amount in their currency",
            ),
        }
    }
}

fn never(rule: &Rule, action: &ActionSpec, entry: &ScopeEntry) -> Option<Never> {
    let allows = rule.decision == RuleDecision::Allow;
    if allows && !rule.resources.is_empty() && action.resource.is_none() {
        return Some(Never::NoResource);
    }
    let meets = |scope: &Vec<_>| {
        rule.resources
            .iter()
            .any(|ours| scope.iter().any(|theirs| may_overlap(ours, theirs)))
    };
    if !rule.resources.is_empty() && entry.resources.as_ref().is_some_and(|scope| !meets(scope)) {
        return Some(Never::OtherResources);
    }
    if rule.amounts.is_empty() {
        return None;
    }
    match (&action.amount, currency(action)) {
        // A read without an amount moves no money, so it is in no bounds.
        (None, _) if allows || !action.effect.changes() => Some(Never::NoAmount),
        (_, Some(code)) if allows && !lists(rule, code) => Some(Never::OtherCurrency),
        _ => None,
    }
}

/// The one currency of an action's amount, where it has one.
fn currency(action: &ActionSpec) -> Option<Currency> {
    match action.amount.as_ref()?.currency {
        CurrencySource::Const(currency) => Some(currency),
        CurrencySource::From(_) => None,
    }
}

fn lists(rule: &Rule, currency: Currency) -> bool {
    rule.amounts.iter().any(|bound| bound.currency == currency)
}
