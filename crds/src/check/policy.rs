//! Policies: targets that exist, rules that say what they need, people who are asked.

use actpass_core::passport::Passport;
use actpass_core::policy::{Policy, PolicyScope, Rule};
use actpass_core::upstream::ActionSpec;
use actpass_core::when::{Condition, WhenError};

use super::Check;
use crate::action_policy::{
    ActionPolicySpec, ClusterActionPolicySpec, LabelOperator, LabelSelector, RuleDecision, RuleSpec,
};
use crate::bundle::selected;
use crate::problem::{Said, listed};
use crate::read::Located;
use crate::resource::Kind;
use crate::suggest;

impl<'a> Check<'a> {
    pub(super) fn policy(&mut self, at: &'a Located, name: &str, written: &ActionPolicySpec) {
        let names: Vec<&str> = self
            .of_kind(Kind::Passport)
            .map(|it| it.resource.metadata().name.as_str())
            .collect();
        for (index, target) in written.target_refs.iter().enumerate() {
            if !names.contains(&target.name.as_str()) && self.all_named(Kind::Passport) {
                let said = Said::from(format!("there is no Passport `{}`", target.name));
                let said = match suggest::nearest(&target.name, names.iter().copied()) {
                    Some(near) => said.meant(Some(near)),
                    None if names.is_empty() => said.help("add its manifest"),
                    None => said.help(format!("there is {}", listed(names.iter().copied(), "and"))),
                };
                self.error(at, &format!("spec.targetRefs[{index}].name"), said);
            }
        }
        self.selector(
            at,
            "spec.passportSelector",
            written.passport_selector.as_ref(),
        );
        let selects = !selected(written.passport_selector.as_ref(), self.resources).is_empty();
        if written.target_refs.is_empty() && !selects && self.all_named(Kind::Passport) {
            let said = Said::from("selects no Passport, so it decides nothing");
            let (field, help) = match written.passport_selector {
                Some(_) => ("spec.passportSelector", "no Passport has these labels"),
                None => (
                    "spec",
                    "add `targetRefs: [{kind: Passport, name: ...}]` or `passportSelector`",
                ),
            };
            self.warning(at, field, said.help(help));
        }
        self.rules(at, name, PolicyScope::Namespace, &written.rules);
    }

    pub(super) fn cluster_policy(
        &mut self,
        at: &'a Located,
        name: &str,
        written: &ClusterActionPolicySpec,
    ) {
        self.selector(
            at,
            "spec.passportSelector",
            written.passport_selector.as_ref(),
        );
        for (index, rule) in written.rules.iter().enumerate() {
            if rule.decision == RuleDecision::Allow {
                let said = Said::from(
                    "a ClusterActionPolicy only guards: expected `Deny` or `RequireApproval`, found `Allow`",
                );
                self.error(
                    at,
                    &format!("spec.rules[{index}].decision"),
                    said.help("allow in an ActionPolicy of the namespace"),
                );
            }
        }
        self.rules(at, name, PolicyScope::Cluster, &written.rules);
    }

    pub(super) fn selector(&mut self, at: &Located, field: &str, selector: Option<&LabelSelector>) {
        let expressions = selector
            .into_iter()
            .flat_map(|selector| &selector.match_expressions);
        for (index, expression) in expressions.enumerate() {
            let field = format!("{field}.matchExpressions[{index}].values");
            let listed = matches!(
                expression.operator,
                LabelOperator::In | LabelOperator::NotIn
            );
            match (listed, expression.values.is_empty()) {
                (true, true) => self.error(
                    at,
                    &field,
                    format!("{:?} needs at least one value", expression.operator),
                ),
                (false, false) => self.error(
                    at,
                    &field,
                    format!("{:?} takes no values; leave them out", expression.operator),
                ),
                _ => {}
            }
        }
    }

    fn rules(&mut self, at: &Located, name: &str, scope: PolicyScope, written: &[RuleSpec]) {
        let found = self
            .spec
            .policies
            .iter()
            .find(|policy| policy.scope == scope && policy.name == name);
        for (index, rule) in written.iter().enumerate() {
            self.written(at, &format!("spec.rules[{index}]"), rule);
        }
        let Some(policy) = found else { return };
        let targets: Vec<&Passport> = self.targets(policy);
        for (index, (rule, written)) in policy.rules.iter().zip(written).enumerate() {
            let field = format!("spec.rules[{index}]");
            for (each, pattern) in rule.capabilities.iter().enumerate() {
                self.known(at, &format!("{field}.capabilities[{each}]"), pattern);
            }
            if written.decision == RuleDecision::RequireApproval && written.approval.is_none() {
                self.approvers(at, &field, &targets);
            }
            if let Some(text) = &rule.when {
                self.condition(at, &format!("{field}.when"), text, rule, &targets);
            }
            self.reach(at, &field, rule, &targets);
        }
    }

    /// The condition has the types its names have, and what it asks the ledger is counted there.
    fn condition(
        &mut self,
        at: &Located,
        field: &str,
        text: &str,
        rule: &Rule,
        targets: &[&Passport],
    ) {
        // Without all Upstreams only its form is judged.
        let upstreams = match self.all(Kind::Upstream) {
            true => self.spec.upstreams.as_slice(),
            false => &[],
        };
        let condition = match Condition::compile(text, rule, upstreams) {
            Ok(condition) => condition,
            Err(error) => {
                let said = Said::from(error.to_string());
                let said = match &error {
                    WhenError::Unknown(name) => {
                        let names = self.names_in_conditions(rule);
                        said.meant(suggest::nearest(name, names.iter().map(String::as_str)))
                    }
                    _ => said,
                };
                return self.error(at, field, said);
            }
        };
        for meter in &condition.types().meters {
            let without =
                |passport: &&&Passport| !passport.limits.iter().any(|limit| limit.meter == *meter);
            if let Some(passport) = targets.iter().find(without) {
                let said = Said::from(format!(
                    "meter `{meter}` has no total for Passport `{}`, so the rule would deny",
                    passport.name
                ));
                let meters = passport.limits.iter().map(|limit| limit.meter.as_str());
                let said = match suggest::nearest(meter, meters) {
                    Some(near) => said.meant(Some(near)),
                    None => said.help("add a limit on this meter to the Passport"),
                };
                self.error(at, field, said);
            }
        }
    }

    /// What a condition of this rule can be about.
    fn names_in_conditions(&self, rule: &Rule) -> Vec<String> {
        let covers = |action: &&&ActionSpec| {
            let mut patterns = rule.capabilities.iter();
            patterns.any(|pattern| pattern.matches(&action.capability))
        };
        let attributes = self
            .actions
            .iter()
            .filter(covers)
            .flat_map(|it| &it.attributes);
        let attributes = attributes.map(|attribute| format!("attributes.{}", attribute.name));
        attributes
            .chain(CONDITION_NAMES.map(str::to_owned))
            .collect()
    }

    fn targets(&self, policy: &Policy) -> Vec<&'a Passport> {
        let passports = self.spec.passports.iter();
        passports
            .filter(|passport| policy.passports.contains(&passport.name))
            .collect()
    }

    /// Fields that only mean something with another decision.
    fn written(&mut self, at: &Located, field: &str, rule: &RuleSpec) {
        if rule.approval.is_some() && rule.decision != RuleDecision::RequireApproval {
            let said = Said::from(format!(
                "asks nobody: the rule's decision is {:?}",
                rule.decision
            ));
            self.error(
                at,
                &format!("{field}.approval"),
                said.help("write `decision: RequireApproval`, or leave `approval` out"),
            );
        }
        if rule.allow_irreversible && rule.decision != RuleDecision::Allow {
            let said = Said::from(format!(
                "allows nothing: the rule's decision is {:?}",
                rule.decision
            ));
            self.error(
                at,
                &format!("{field}.allowIrreversible"),
                said.help("leave it out"),
            );
        }
        if rule.obligations.is_some() && rule.decision == RuleDecision::Deny {
            let said = Said::from("a denied action has no obligations");
            self.warning(
                at,
                &format!("{field}.obligations"),
                said.help("leave it out"),
            );
        }
    }

    fn approvers(&mut self, at: &Located, field: &str, targets: &[&Passport]) {
        for passport in targets
            .iter()
            .filter(|passport| passport.default_approval.is_none())
        {
            let name = &passport.name;
            let said = Said::from(format!(
                "asks nobody: it has no `approval`, and Passport `{name}` no `defaultApproval`"
            ));
            self.error(at, field, said.help("add `approval: {groups: [...]}`"));
        }
    }
}

/// Names of conditions besides attributes.
const CONDITION_NAMES: [&str; 13] = [
    "action.amount.currency",
    "action.amount.minor",
    "action.capability",
    "action.effect",
    "action.host",
    "action.method",
    "action.resource",
    "facts.firstSeenResource",
    "facts.precedents",
    "facts.recentDenies",
    "hints.confidence",
    "hints.purpose",
    "hints.toolHash",
];
