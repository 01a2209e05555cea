//! Policies: targets become names of passports, bounds become money.

use actpass_core::money::{Currency, Money};
use actpass_core::policy::{
    AmountBound, Day, Obligations, Policy, PolicyMode, PolicyScope, Rule, RuleDecision, Schedule,
};

use super::At;
use super::passport::approval;
use crate::action_policy::{
    self, ActionPolicySpec, AmountBoundSpec, ClusterActionPolicySpec, LabelSelector, RuleSpec,
    ScheduleSpec,
};
use crate::problem::Said;
use crate::read::Located;
use crate::resource::{Metadata, Resource};
use crate::shape::{TIME_ZONE, minute_of_day};

impl At<'_> {
    pub(super) fn policy(
        &mut self,
        name: &str,
        spec: &ActionPolicySpec,
        all: &[Located],
    ) -> Option<Policy> {
        let mut passports = selected(spec.passport_selector.as_ref(), all);
        passports.extend(spec.target_refs.iter().map(|target| target.name.clone()));
        self.any_policy(
            name,
            PolicyScope::Namespace,
            spec.mode,
            passports,
            &spec.rules,
        )
    }

    pub(super) fn cluster_policy(
        &mut self,
        name: &str,
        spec: &ClusterActionPolicySpec,
        all: &[Located],
    ) -> Option<Policy> {
        let everyone = LabelSelector::default();
        let passports = selected(
            Some(spec.passport_selector.as_ref().unwrap_or(&everyone)),
            all,
        );
        self.any_policy(
            name,
            PolicyScope::Cluster,
            spec.mode,
            passports,
            &spec.rules,
        )
    }

    fn any_policy(
        &mut self,
        name: &str,
        scope: PolicyScope,
        mode: action_policy::PolicyMode,
        mut passports: Vec<String>,
        specs: &[RuleSpec],
    ) -> Option<Policy> {
        let mut rules = Vec::with_capacity(specs.len());
        for (index, rule) in specs.iter().enumerate() {
            rules.extend(self.rule(&format!("spec.rules[{index}]"), rule));
        }
        passports.sort();
        passports.dedup();
        let mode = match mode {
            action_policy::PolicyMode::Enforce => PolicyMode::Enforce,
            action_policy::PolicyMode::Shadow => PolicyMode::Shadow,
        };
        // A policy short of a rule would be another policy.
        (rules.len() == specs.len()).then(|| Policy {
            name: name.to_owned(),
            scope,
            mode,
            passports,
            rules,
        })
    }

    fn rule(&mut self, field: &str, spec: &RuleSpec) -> Option<Rule> {
        let capabilities = self.texts(&format!("{field}.capabilities"), &spec.capabilities);
        let resources = self.texts(&format!("{field}.resources"), &spec.resources);
        let mut amounts = Vec::with_capacity(spec.amounts.len());
        for (index, bound) in spec.amounts.iter().enumerate() {
            amounts.extend(self.bound(&format!("{field}.amounts[{index}]"), bound));
        }
        let schedule = match &spec.schedule {
            Some(schedule) => Some(self.schedule(&format!("{field}.schedule"), schedule)?),
            None => None,
        };
        let right = capabilities.len() == spec.capabilities.len()
            && resources.len() == spec.resources.len()
            && amounts.len() == spec.amounts.len();
        let decision = match spec.decision {
            action_policy::RuleDecision::Deny => RuleDecision::Deny,
            action_policy::RuleDecision::RequireApproval => RuleDecision::RequireApproval,
            action_policy::RuleDecision::Allow => RuleDecision::Allow,
        };
        let max_response_bytes = spec
            .obligations
            .and_then(|obligations| obligations.max_response_bytes);
        right.then(|| Rule {
            name: spec.name.clone(),
            decision,
            capabilities,
            amounts,
            schedule,
            environments: spec.environments.clone(),
            resources,
            when: spec.when.clone(),
            obligations: Obligations { max_response_bytes },
            approval: spec.approval.as_ref().map(approval),
            allow_irreversible: spec.allow_irreversible,
        })
    }

    fn bound(&mut self, field: &str, spec: &AmountBoundSpec) -> Option<AmountBound> {
        let currency: Currency = self.text(&format!("{field}.currency"), &spec.currency)?;
        let mut side = |name: &str, text: &Option<String>| -> Option<Option<Money>> {
            match text {
                Some(text) => self
                    .money(&format!("{field}.{name}"), text, currency)
                    .map(Some),
                None => Some(None),
            }
        };
        let (gt, gte, lt, lte) = (
            side("gt", &spec.gt),
            side("gte", &spec.gte),
            side("lt", &spec.lt),
            side("lte", &spec.lte),
        );
        let (gt, gte, lt, lte) = (gt?, gte?, lt?, lte?);
        if [gt, gte, lt, lte].iter().all(Option::is_none) {
            let said = Said::from("bounds nothing");
            return self.wrong(
                field,
                said.help("give at least one of `gt`, `gte`, `lt` and `lte`"),
            );
        }
        for (one, other, both) in [("gt", "gte", gt.and(gte)), ("lt", "lte", lt.and(lte))] {
            if both.is_some() {
                return self.wrong(
                    field,
                    Said::from(format!("`{one}` and `{other}` are both given")).help("keep one"),
                );
            }
        }
        Some(AmountBound {
            currency,
            gt,
            gte,
            lt,
            lte,
        })
    }

    fn schedule(&mut self, field: &str, spec: &ScheduleSpec) -> Option<Schedule> {
        let (Some(from_minute), Some(to_minute)) =
            (minute_of_day(&spec.from), minute_of_day(&spec.to))
        else {
            return self.wrong(field, "expected times of day such as \"09:00\"");
        };
        if from_minute == 1_440 {
            let said = Said::from("`24:00` is an end of a day");
            return self.wrong(
                &format!("{field}.from"),
                said.help("write \"00:00\" for its start"),
            );
        }
        if from_minute == to_minute {
            let said = Said::from(format!(
                "starts and ends at {}, so it is empty or the whole day",
                spec.from
            ));
            return self.wrong(
                field,
                said.help("for the whole day write from \"00:00\" to \"24:00\""),
            );
        }
        // Of a resource that the API server took, nobody has held the name against the list of zones yet.
        if let Err(what) = (TIME_ZONE.check)(&spec.time_zone) {
            let said = Said::from(what).help(format!("expected {}", TIME_ZONE.says));
            return self.wrong(&format!("{field}.timeZone"), said);
        }
        let days = spec
            .days
            .iter()
            .flatten()
            .map(|day| (*day).into())
            .collect();
        Some(Schedule {
            days,
            from_minute,
            to_minute,
            time_zone: spec.time_zone.clone(),
        })
    }
}

/// Names of the Passports a selector selects; absent, it selects none.
pub(crate) fn selected(selector: Option<&LabelSelector>, all: &[Located]) -> Vec<String> {
    let passports = all.iter().filter_map(|located| match &located.resource {
        Resource::Passport(metadata, _) => Some(metadata),
        _ => None,
    });
    let chosen =
        |metadata: &&Metadata| selector.is_some_and(|selector| selector.selects(&metadata.labels));
    passports
        .filter(chosen)
        .map(|metadata| metadata.name.clone())
        .collect()
}

impl From<action_policy::Day> for Day {
    fn from(day: action_policy::Day) -> Self {
        match day {
            action_policy::Day::Mon => Self::Mon,
            action_policy::Day::Tue => Self::Tue,
            action_policy::Day::Wed => Self::Wed,
            action_policy::Day::Thu => Self::Thu,
            action_policy::Day::Fri => Self::Fri,
            action_policy::Day::Sat => Self::Sat,
            action_policy::Day::Sun => Self::Sun,
        }
    }
}
