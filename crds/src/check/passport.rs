//! Passports: a scope that exists, limits that are fed, one Passport per subject.

use actpass_core::limits::{Limit, Unit, WRITES_METER};
use actpass_core::passport::Passport;
use actpass_core::policy::{Policy, PolicyMode, PolicyScope, RuleDecision};
use actpass_core::upstream::{ActionSpec, CurrencySource, MeterSource};

use super::Check;
use crate::passport::{OnExceed, PassportSpec};
use crate::problem::{Said, listed};
use crate::read::Located;
use crate::resource::{Kind, Resource};
use crate::suggest;

impl<'a> Check<'a> {
    pub(super) fn passport(&mut self, at: &'a Located, name: &str, written: &PassportSpec) {
        self.subject(at, written);
        let Some(passport) = self
            .spec
            .passports
            .iter()
            .find(|passport| passport.name == name)
        else {
            return;
        };
        for (index, entry) in passport.scope.iter().enumerate() {
            self.known(
                at,
                &format!("spec.scope[{index}].capability"),
                &entry.capability,
            );
            let covered = self
                .actions
                .iter()
                .filter(|action| entry.capability.matches(&action.capability));
            let mut covered = covered.peekable();
            if entry.resources.is_some()
                && covered.peek().is_some()
                && covered.all(|action| action.resource.is_none())
            {
                let said = Said::from(format!(
                    "no action of `{}` declares a `resource`, so this entry covers nothing",
                    entry.capability
                ));
                self.warning(
                    at,
                    &format!("spec.scope[{index}].resources"),
                    said.help("leave `resources` out, or declare where it is read"),
                );
            }
        }
        let in_scope = |action: &&&ActionSpec| {
            passport
                .scope
                .iter()
                .any(|entry| entry.capability.matches(&action.capability))
        };
        let actions: Vec<&ActionSpec> = self.actions.iter().filter(in_scope).copied().collect();
        let fed = self.limits(at, passport, written, &actions);
        if fed {
            self.unlimited(at, passport, &actions);
        }
        self.unruled(at, passport);
    }

    /// Two Passports for one subject: the cluster could not tell which one a pod has.
    fn subject(&mut self, at: &'a Located, written: &PassportSpec) {
        let Some(subject) = &written.subject else {
            return;
        };
        for other in self
            .of_kind(Kind::Passport)
            .take_while(|other| !std::ptr::eq(*other, at))
        {
            if matches!(&other.resource, Resource::Passport(_, spec) if spec.subject.as_ref() == Some(subject))
            {
                let account = &subject.service_account_name;
                let (name, whence) = (
                    &other.resource.metadata().name,
                    other.whence("spec.subject"),
                );
                let said = Said::from(format!(
                    "ServiceAccount `{account}` already has Passport `{name}` ({whence})"
                ));
                self.error(
                    at,
                    "spec.subject",
                    said.help(
                        "both would deny everything; keep one, or give each its ServiceAccount",
                    ),
                );
                return;
            }
        }
    }

    /// Whether each limit is fed: one that is not was probably meant for what no other limit counts.
    fn limits(
        &mut self,
        at: &Located,
        passport: &Passport,
        written: &PassportSpec,
        actions: &[&ActionSpec],
    ) -> bool {
        let mut fed = true;
        for (index, limit) in passport.limits.iter().enumerate() {
            let field = format!("spec.limits[{index}]");
            if !actions.iter().any(|action| feeds(action, limit)) && self.all(Kind::Upstream) {
                self.unfed(at, &field, limit, actions);
                fed = false;
            }
            let same = |other: &&Limit| {
                (&other.meter, other.unit, other.window) == (&limit.meter, limit.unit, limit.window)
            };
            if let Some(first) = passport
                .limits
                .iter()
                .take(index)
                .position(|other| same(&other))
            {
                let said = format!(
                    "caps meter `{}` in {} over the same window as spec.limits[{first}]",
                    limit.meter, limit.unit
                );
                self.error(at, &field, Said::from(said).help("keep the smaller one"));
            }
            let asks = written
                .limits
                .get(index)
                .is_some_and(|limit| limit.on_exceed == OnExceed::RequireApproval);
            if asks && passport.default_approval.is_none() {
                let said = Said::from("asks nobody: the Passport has no `defaultApproval`");
                self.error(
                    at,
                    &format!("{field}.onExceed"),
                    said.help("add one, or write `Deny`"),
                );
            }
        }
        fed
    }

    /// No action in scope feeds this limit: in that unit, or not at all.
    fn unfed(&mut self, at: &Located, field: &str, limit: &Limit, actions: &[&ActionSpec]) {
        let mut units: Vec<String> = actions
            .iter()
            .flat_map(|action| units_of(action, &limit.meter))
            .collect();
        units.sort();
        units.dedup();
        if !units.is_empty() {
            let said = Said::from(format!(
                "meter `{}` is never fed in {}",
                limit.meter, limit.unit
            ));
            let said = said.help(format!(
                "the actions in scope feed it in {}",
                listed(units.iter().map(String::as_str), "and")
            ));
            return self.error(at, &format!("{field}.unit"), said);
        }
        let field = format!("{field}.meter");
        let said = Said::from(format!("no action in scope feeds meter `{}`", limit.meter));
        let meters = || {
            actions
                .iter()
                .flat_map(|action| &action.meters)
                .map(|meter| meter.name.as_str())
        };
        if let Some(near) = suggest::nearest(&limit.meter, meters().chain([WRITES_METER])) {
            return self.error(at, &field, said.meant(Some(near)));
        }
        let mut known: Vec<&str> = meters().chain([WRITES_METER]).collect();
        known.sort_unstable();
        known.dedup();
        self.error(
            at,
            &field,
            said.help(format!("they feed {}", listed(known, "and"))),
        );
    }

    fn unlimited(&mut self, at: &Located, passport: &Passport, actions: &[&ActionSpec]) {
        for action in actions.iter().filter(|action| action.amount.is_some()) {
            let limited = passport
                .limits
                .iter()
                .any(|limit| limit.unit != Unit::Count && feeds(action, limit));
            if !limited {
                let capability = &action.capability;
                let said = Said::from(format!(
                    "`{capability}` moves money, and no limit of this Passport counts it"
                ));
                let meter = action
                    .meters
                    .iter()
                    .find(|meter| meter.from == MeterSource::Amount);
                let said = match meter {
                    Some(meter) => said.help(format!("add a limit on meter `{}`", meter.name)),
                    None => said
                        .help("let the action feed a meter `from: Amount`, and add a limit on it"),
                };
                self.warning(
                    at,
                    if passport.limits.is_empty() {
                        "spec"
                    } else {
                        "spec.limits"
                    },
                    said,
                );
            }
        }
    }

    /// Without a rule that lets something through, a Passport is of no use. A policy that misses its Passport is said
    /// where it stands.
    fn unruled(&mut self, at: &Located, passport: &Passport) {
        let known = |name: &String| self.spec.passports.iter().any(|it| it.name == *name);
        let misses = |policy: &Policy| {
            policy.scope == PolicyScope::Namespace
                && (policy.passports.is_empty() || !policy.passports.iter().all(known))
        };
        if self.spec.policies.iter().any(misses) {
            return;
        }
        let policies = self.spec.policies.iter().filter(|policy| {
            policy.scope == PolicyScope::Namespace
                && policy.mode == PolicyMode::Enforce
                && policy.passports.contains(&passport.name)
        });
        let lets_through = policies
            .flat_map(|policy| &policy.rules)
            .any(|rule| rule.decision != RuleDecision::Deny);
        if !lets_through && self.all(Kind::ActionPolicy) {
            let said =
                Said::from("no rule allows this Passport anything, so all it asks for is denied");
            self.warning(
                at,
                "metadata.name",
                said.help("name it in the `targetRefs` of an ActionPolicy with mode Enforce"),
            );
        }
    }
}

/// Whether an action adds to what a limit caps.
fn feeds(action: &ActionSpec, limit: &Limit) -> bool {
    if limit.meter == WRITES_METER {
        return limit.unit == Unit::Count && action.effect.changes();
    }
    action
        .meters
        .iter()
        .filter(|meter| meter.name == limit.meter)
        .any(|meter| match (&meter.from, limit.unit) {
            (MeterSource::Amount, Unit::Money(currency)) => {
                match action.amount.as_ref().map(|amount| &amount.currency) {
                    Some(CurrencySource::Const(constant)) => *constant == currency,
                    Some(CurrencySource::From(_)) => true,
                    None => false,
                }
            }
            (MeterSource::Attribute(_) | MeterSource::Constant(_), Unit::Count) => true,
            _ => false,
        })
}

/// The units in which an action feeds a meter.
fn units_of(action: &ActionSpec, meter: &str) -> Vec<String> {
    if meter == WRITES_METER {
        return if action.effect.changes() {
            vec![Unit::Count.to_string()]
        } else {
            Vec::new()
        };
    }
    let units = action
        .meters
        .iter()
        .filter(|it| it.name == meter)
        .map(|it| match &it.from {
            MeterSource::Amount => match action.amount.as_ref().map(|amount| &amount.currency) {
                Some(CurrencySource::Const(currency)) => currency.to_string(),
                _ => "the currency of the request".to_owned(),
            },
            MeterSource::Attribute(_) | MeterSource::Constant(_) => Unit::Count.to_string(),
        });
    units.collect()
}
