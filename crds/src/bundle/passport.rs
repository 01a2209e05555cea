//! Passports: scope, limits and who is asked.

use actpass_core::limits::{Limit, OnExceed, Period, Unit, Window};
use actpass_core::passport::{Passport, ScopeEntry};
use actpass_core::policy::ApprovalSpec;

use super::At;
use crate::passport::{self, Calendar, LimitSpec, PassportSpec};
use crate::problem::Said;

impl At<'_> {
    pub(super) fn passport(&mut self, name: &str, spec: &PassportSpec) -> Option<Passport> {
        let mut scope = Vec::with_capacity(spec.scope.len());
        for (index, entry) in spec.scope.iter().enumerate() {
            let field = format!("spec.scope[{index}]");
            let resources = entry
                .resources
                .as_ref()
                .map(|it| self.texts(&format!("{field}.resources"), it));
            let capability = self.text(&format!("{field}.capability"), &entry.capability);
            scope.extend(capability.map(|capability| ScopeEntry {
                capability,
                resources,
            }));
        }
        let limits = spec.limits.iter().enumerate();
        let limits: Vec<_> = limits
            .filter_map(|(index, it)| self.limit(&format!("spec.limits[{index}]"), it))
            .collect();
        let not_after = match &spec.not_after {
            Some(text) => Some(self.text::<jiff::Timestamp>("spec.notAfter", text)?),
            None => None,
        };
        if scope.len() < spec.scope.len() || limits.len() < spec.limits.len() {
            return None;
        }
        Some(Passport {
            name: name.to_owned(),
            agent_id: spec.agent_id.clone(),
            owner: spec.owner.clone(),
            purpose: spec.purpose.clone(),
            scope,
            limits,
            default_approval: spec.default_approval.as_ref().map(approval),
            ttl_seconds: spec.ttl_seconds,
            reads_without_ledger_seconds: spec.reads_without_ledger_seconds,
            suspended: spec.suspended,
            not_after,
        })
    }

    fn limit(&mut self, field: &str, spec: &LimitSpec) -> Option<Limit> {
        let unit = match Unit::try_from(spec.unit.clone()) {
            Ok(unit) => unit,
            Err(error) => return self.wrong(&format!("{field}.unit"), error.to_string()),
        };
        let max_field = format!("{field}.max");
        let max = match unit {
            Unit::Money(currency) => self.money(&max_field, &spec.max, currency)?.minor(),
            Unit::Count => match spec.max.parse::<i64>() {
                Ok(max) => max,
                Err(_) => {
                    let said = Said::from(format!(
                        "expected a whole count such as \"500\", found `{}`",
                        spec.max
                    ));
                    return self
                        .wrong(&max_field, said.help("for money give a currency as `unit`"));
                }
            },
        };
        let window = match (spec.window_seconds, spec.calendar) {
            (Some(seconds), None) => Window::Sliding { seconds },
            (None, Some(Calendar::Day)) => Window::Calendar(Period::Day),
            (None, Some(Calendar::Month)) => Window::Calendar(Period::Month),
            (Some(_), Some(_)) => {
                let said = Said::from("`windowSeconds` and `calendar` are both given");
                return self.wrong(field, said.help("keep one"));
            }
            (None, None) => {
                let said = Said::from("has no window of time");
                return self.wrong(
                    field,
                    said.help("add `windowSeconds: 86400`, or `calendar: Day` or `Month`"),
                );
            }
        };
        let on_exceed = match spec.on_exceed {
            passport::OnExceed::Deny => OnExceed::Deny,
            passport::OnExceed::RequireApproval => OnExceed::RequireApproval,
        };
        Some(Limit {
            meter: spec.meter.clone(),
            unit,
            max,
            window,
            on_exceed,
        })
    }
}

/// The schema bounds all of it. Groups are sorted, so that equal seats are equal.
pub(super) fn approval(spec: &passport::ApprovalSpec) -> ApprovalSpec {
    let mut groups = spec.groups.clone();
    groups.sort();
    ApprovalSpec {
        groups,
        quorum: spec.quorum,
        expires_after_seconds: spec.expires_after_seconds,
        hold_seconds: spec.hold_seconds,
    }
}
