//! What can only be seen by comparing resources: one function, for files and for admission alike.

use std::collections::BTreeSet;

use actpass_core::bundle::BundleSpec;
use actpass_core::capability::{Capability, CapabilityPattern};
use actpass_core::limits::{Unit, WRITES_METER};
use actpass_core::policy::RuleDecision;
use actpass_core::upstream::{ActionSpec, CurrencySource, MeterSource, TlsMode};
use actpass_core::when::Condition;

use crate::read::{Located, Problem, Severity};
use crate::resource::Resource;

/// Compares a namespace's resources, which compiled to `spec`.
pub fn cross_check(resources: &[Located], spec: &BundleSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let actions: Vec<&ActionSpec> = spec
        .upstreams
        .iter()
        .flat_map(|upstream| &upstream.actions)
        .collect();
    let mut names = BTreeSet::new();
    for located in resources {
        let kind = match &located.resource {
            Resource::Passport(..) => "Passport",
            Resource::Upstream(..) => "Upstream",
            Resource::ActionPolicy(..) => "ActionPolicy",
        };
        let name = located.resource.metadata().name.clone();
        if !names.insert((kind, name.clone())) {
            let message = format!("a second {kind} of the name `{name}`");
            problems.push(located.problem("metadata.name", Severity::Error, message));
        }
        match &located.resource {
            Resource::Passport(metadata, _) => {
                passport(located, &metadata.name, spec, &actions, &mut problems)
            }
            Resource::Upstream(metadata, _) => {
                upstream(located, &metadata.name, spec, &mut problems)
            }
            Resource::ActionPolicy(metadata, _) => {
                policy(located, &metadata.name, spec, &actions, &mut problems)
            }
        }
    }
    problems.sort();
    problems
}

fn passport(
    at: &Located,
    name: &str,
    spec: &BundleSpec,
    actions: &[&ActionSpec],
    problems: &mut Vec<Problem>,
) {
    let Some(passport) = spec.passports.iter().find(|passport| passport.name == name) else {
        return;
    };
    for (index, entry) in passport.scope.iter().enumerate() {
        let field = format!("spec.scope[{index}].capability");
        known(at, &field, &entry.capability, actions, problems);
    }
    let in_scope = |action: &&&ActionSpec| {
        passport
            .scope
            .iter()
            .any(|entry| entry.capability.matches(&action.capability))
    };
    for (index, limit) in passport.limits.iter().enumerate() {
        let fed = actions
            .iter()
            .filter(in_scope)
            .any(|action| feeds(action, &limit.meter, limit.unit));
        if !fed {
            let message = format!(
                "no action in scope feeds meter `{}` in {}; declare it under `meters` of an Upstream's action",
                limit.meter, limit.unit
            );
            problems.push(at.problem(
                &format!("spec.limits[{index}].meter"),
                Severity::Error,
                message,
            ));
        }
    }
    for action in actions
        .iter()
        .filter(in_scope)
        .filter(|action| action.amount.is_some())
    {
        let limited = passport
            .limits
            .iter()
            .any(|limit| limit.unit != Unit::Count && feeds(action, &limit.meter, limit.unit));
        if !limited {
            let message = format!(
                "`{}` moves money and no limit of this Passport counts it",
                action.capability
            );
            problems.push(at.problem("spec.limits", Severity::Warning, message));
        }
    }
}

fn feeds(action: &ActionSpec, meter: &str, unit: Unit) -> bool {
    if meter == WRITES_METER {
        return unit == Unit::Count && action.effect.changes();
    }
    action
        .meters
        .iter()
        .filter(|it| it.name == meter)
        .any(|it| match (&it.from, unit) {
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

fn upstream(at: &Located, name: &str, spec: &BundleSpec, problems: &mut Vec<Problem>) {
    let Some(upstream) = spec.upstreams.iter().find(|upstream| upstream.name == name) else {
        return;
    };
    for other in spec
        .upstreams
        .iter()
        .filter(|other| *other.name < *upstream.name)
    {
        let ports = upstream.ports.iter().any(|port| other.ports.contains(port));
        for (index, host) in upstream.hosts.iter().enumerate() {
            if ports && other.hosts.iter().any(|theirs| theirs.overlaps(host)) {
                let message = format!(
                    "Upstream `{}` serves this host on the same port",
                    other.name
                );
                problems.push(at.problem(
                    &format!("spec.hosts[{index}]"),
                    Severity::Error,
                    message,
                ));
            }
        }
    }
    if upstream.tls.mode != TlsMode::Intercept && !upstream.credentials.is_empty() {
        let message = "a credential is lent only where TLS is intercepted";
        problems.push(at.problem("spec.credentials", Severity::Error, message));
    }
    for (index, action) in upstream.actions.iter().enumerate() {
        let field = format!("spec.actions[{index}]");
        for earlier in upstream.actions.iter().take(index) {
            if earlier.capability == action.capability {
                let message = format!(
                    "a second action of the name `{}`",
                    action.capability.action()
                );
                problems.push(at.problem(&format!("{field}.name"), Severity::Error, message));
            } else if earlier.method == action.method && earlier.path.ties(&action.path) {
                let message = format!(
                    "matches the same requests as `{}`, and neither path is more specific",
                    earlier.capability
                );
                problems.push(at.problem(&format!("{field}.match"), Severity::Error, message));
            }
        }
        if action.effect.changes()
            && !upstream.credentials.is_empty()
            && upstream.credential_for(action.effect).is_none()
        {
            let message = format!(
                "no credential is declared for effect {:?}; it will be sent without one",
                action.effect
            );
            problems.push(at.problem(&format!("{field}.effect"), Severity::Warning, message));
        }
        if action.amount.is_none()
            && action
                .meters
                .iter()
                .any(|meter| meter.from == MeterSource::Amount)
        {
            let message = "a meter counts the amount, and the action declares none";
            problems.push(at.problem(&format!("{field}.meters"), Severity::Error, message));
        }
    }
}

fn policy(
    at: &Located,
    name: &str,
    spec: &BundleSpec,
    actions: &[&ActionSpec],
    problems: &mut Vec<Problem>,
) {
    let Some(policy) = spec.policies.iter().find(|policy| policy.name == name) else {
        return;
    };
    if let Resource::ActionPolicy(_, written) = &at.resource {
        for (index, target) in written.target_refs.iter().enumerate() {
            if target.kind != "Passport"
                || !spec
                    .passports
                    .iter()
                    .any(|passport| passport.name == target.name)
            {
                let message = format!("there is no {} `{}`", target.kind, target.name);
                problems.push(at.problem(
                    &format!("spec.targetRefs[{index}]"),
                    Severity::Error,
                    message,
                ));
            }
        }
        if written.target_refs.is_empty() {
            problems.push(at.problem(
                "spec.targetRefs",
                Severity::Warning,
                "selects no Passport, so it decides nothing",
            ));
        }
    }
    let targets: Vec<_> = spec
        .passports
        .iter()
        .filter(|passport| policy.passports.contains(&passport.name))
        .collect();
    let mut names = BTreeSet::new();
    for (index, rule) in policy.rules.iter().enumerate() {
        let field = format!("spec.rules[{index}]");
        if !names.insert(&rule.name) {
            let message = format!("a second rule of the name `{}`", rule.name);
            problems.push(at.problem(&format!("{field}.name"), Severity::Error, message));
        }
        if let Some(text) = &rule.when
            && let Err(error) = Condition::compile(text, rule, &spec.upstreams)
        {
            problems.push(at.problem(&format!("{field}.when"), Severity::Error, error.to_string()));
        }
        for (at_index, pattern) in rule.capabilities.iter().enumerate() {
            known(
                at,
                &format!("{field}.capabilities[{at_index}]"),
                pattern,
                actions,
                problems,
            );
        }
        let covered: Vec<_> = actions
            .iter()
            .filter(|action| {
                rule.capabilities
                    .iter()
                    .any(|pattern| pattern.matches(&action.capability))
            })
            .collect();
        let reachable = covered.iter().any(|action| {
            targets.iter().any(|passport| {
                passport
                    .scope
                    .iter()
                    .any(|entry| entry.capability.matches(&action.capability))
            })
        });
        if !covered.is_empty() && !targets.is_empty() && !reachable {
            let message = "can never match: no selected Passport has these capabilities in scope";
            problems.push(at.problem(&format!("{field}.capabilities"), Severity::Warning, message));
        }
        for (at_index, bound) in rule.amounts.iter().enumerate() {
            let low = bound
                .gt
                .map(|it| it.minor().saturating_add(1))
                .max(bound.gte.map(|it| it.minor()));
            let high = [
                bound.lt.map(|it| it.minor().saturating_sub(1)),
                bound.lte.map(|it| it.minor()),
            ];
            let high = high.into_iter().flatten().min();
            if low.zip(high).is_some_and(|(low, high)| low > high) {
                let message = "can never match: its lower bound is above its upper bound";
                problems.push(at.problem(
                    &format!("{field}.amounts[{at_index}]"),
                    Severity::Warning,
                    message,
                ));
            }
        }
        let asks = rule.decision == RuleDecision::RequireApproval && rule.approval.is_none();
        for passport in targets
            .iter()
            .filter(|passport| asks && passport.default_approval.is_none())
        {
            let message = format!(
                "asks nobody: it has no `approval`, and Passport `{}` no `defaultApproval`",
                passport.name
            );
            problems.push(at.problem(&format!("{field}.approval"), Severity::Error, message));
        }
    }
}

/// An exact capability must exist; a pattern should match something.
fn known(
    at: &Located,
    field: &str,
    pattern: &CapabilityPattern,
    actions: &[&ActionSpec],
    problems: &mut Vec<Problem>,
) {
    if actions
        .iter()
        .any(|action| pattern.matches(&action.capability))
    {
        return;
    }
    let (severity, what) = match pattern.as_exact() {
        Some(_) => (Severity::Error, "no Upstream declares this capability"),
        None => (
            Severity::Warning,
            "this pattern matches no declared capability",
        ),
    };
    let message = match closest(pattern.as_str(), actions) {
        Some(near) => format!("{what}; did you mean `{near}`?"),
        None => what.to_owned(),
    };
    problems.push(at.problem(field, severity, message));
}

/// The declared capability that differs least, if it differs little.
fn closest<'a>(text: &str, actions: &[&'a ActionSpec]) -> Option<&'a Capability> {
    let distances = actions.iter().map(|action| {
        (
            distance(text, action.capability.as_str()),
            &action.capability,
        )
    });
    distances
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, capability)| capability)
}

/// Levenshtein distance; capabilities have at most 128 bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, right) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal + usize::from(left != right);
            diagonal = *cell;
            before = replaced.min(diagonal + 1).min(before + 1);
            *cell = before;
        }
    }
    row.last().copied().unwrap_or(0)
}
