//! From resources to a bundle: each text becomes a type that cannot be wrong, or a problem at its place.

use std::fmt::Display;
use std::str::FromStr;

use actpass_core::bundle::{BUNDLE_VERSION, BundleSpec};
use actpass_core::limits::{Limit, OnExceed, Period, Unit, Window};
use actpass_core::money::{Currency, Money};
use actpass_core::passport::{Passport, ScopeEntry};
use actpass_core::policy::{
    AmountBound, ApprovalSpec, Obligations, Policy, PolicyScope, Rule, Schedule,
};
use actpass_core::upstream::{
    ActionSpec, AmountSpec, AttributeSpec, BodyFormat, BodyMode, BodySpec, CompensationSpec,
    CredentialUse, CurrencySource, MeterSource, MeterSpec, Tls, Upstream,
};

use crate::read::{Located, Problem, Severity};
use crate::resource::{
    self, ActionPolicySpec, AmountBoundSpec, CalendarSpec, LimitSpec, MeterFrom, OnExceedSpec,
    PassportSpec, Resource, RuleSpec, ScheduleSpec, UpstreamSpec,
};

/// For whom a bundle is compiled.
#[derive(Clone, Debug)]
pub struct Options {
    /// `<cluster-id>/<namespace>/<namespace-uid>`.
    pub tenant: String,
    /// Label `actpass.org/environment` of the namespace.
    pub environment: Option<String>,
}

/// Compiles all resources of one namespace.
///
/// # Errors
/// Every text that is not what its field wants.
pub fn compile(resources: &[Located], options: &Options) -> Result<BundleSpec, Vec<Problem>> {
    let mut spec = BundleSpec {
        v: BUNDLE_VERSION.to_owned(),
        tenant: options.tenant.clone(),
        environment: options.environment.clone(),
        passports: Vec::new(),
        upstreams: Vec::new(),
        policies: Vec::new(),
    };
    let mut problems = Vec::new();
    for located in resources {
        let mut at = At {
            located,
            problems: &mut problems,
        };
        match &located.resource {
            Resource::Passport(metadata, passport) => {
                spec.passports.extend(at.passport(&metadata.name, passport))
            }
            Resource::Upstream(metadata, upstream) => {
                spec.upstreams.extend(at.upstream(&metadata.name, upstream))
            }
            Resource::ActionPolicy(metadata, policy) => {
                spec.policies.extend(at.policy(&metadata.name, policy))
            }
        }
    }
    spec.passports.sort_by(|a, b| a.name.cmp(&b.name));
    spec.upstreams.sort_by(|a, b| a.name.cmp(&b.name));
    spec.policies.sort_by(|a, b| a.name.cmp(&b.name));
    problems.sort();
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(problems)
    }
}

/// One resource being compiled. A field that is wrong gives `None` and a problem; the rest goes on, so that all
/// mistakes are found together.
struct At<'a> {
    located: &'a Located,
    problems: &'a mut Vec<Problem>,
}

impl At<'_> {
    fn wrong<T>(&mut self, field: &str, message: impl Display) -> Option<T> {
        self.problems.push(
            self.located
                .problem(field, Severity::Error, message.to_string()),
        );
        None
    }

    fn text<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => self.wrong(field, error),
        }
    }

    fn texts<T: FromStr<Err: Display>>(&mut self, field: &str, texts: &[String]) -> Vec<T> {
        let each = texts.iter().enumerate();
        each.filter_map(|(index, text)| self.text(&format!("{field}[{index}]"), text))
            .collect()
    }

    fn passport(&mut self, name: &str, spec: &PassportSpec) -> Option<Passport> {
        let scope = spec.scope.iter().enumerate().filter_map(|(index, entry)| {
            let field = format!("spec.scope[{index}]");
            let resources = entry
                .resources
                .as_ref()
                .map(|it| self.texts(&format!("{field}.resources"), it));
            let capability = self.text(&format!("{field}.capability"), &entry.capability)?;
            Some(ScopeEntry {
                capability,
                resources,
            })
        });
        let scope = scope.collect();
        let limits = spec.limits.iter().enumerate();
        let limits = limits
            .filter_map(|(index, it)| self.limit(&format!("spec.limits[{index}]"), it))
            .collect();
        let default_approval = match &spec.default_approval {
            Some(approval) => Some(self.approval("spec.defaultApproval", approval)?),
            None => None,
        };
        let not_after = match &spec.not_after {
            Some(text) => Some(self.text::<jiff::Timestamp>("spec.notAfter", text)?),
            None => None,
        };
        if !(60..=3_600).contains(&spec.ttl_seconds) {
            return self.wrong("spec.ttlSeconds", "must be between 60 and 3600");
        }
        if spec.reads_without_ledger_seconds > 300 {
            return self.wrong(
                "spec.readsWithoutLedgerSeconds",
                "must be between 0 and 300",
            );
        }
        if spec.agent_id.is_empty() || spec.agent_id.len() > 128 {
            return self.wrong("spec.agentId", "must have 1 to 128 characters");
        }
        Some(Passport {
            name: name.to_owned(),
            agent_id: spec.agent_id.clone(),
            owner: spec.owner.clone(),
            purpose: spec.purpose.clone(),
            scope,
            limits,
            default_approval,
            ttl_seconds: spec.ttl_seconds,
            reads_without_ledger_seconds: spec.reads_without_ledger_seconds,
            suspended: spec.suspended,
            not_after,
        })
    }

    fn limit(&mut self, field: &str, spec: &LimitSpec) -> Option<Limit> {
        let unit = match Unit::try_from(spec.unit.clone()) {
            Ok(unit) => unit,
            Err(error) => {
                return self.wrong(
                    &format!("{field}.unit"),
                    format!("{error}; or write `Count`"),
                );
            }
        };
        let max_field = format!("{field}.max");
        let max = match unit {
            Unit::Money(currency) => self.money(&max_field, &spec.max, currency)?.minor(),
            Unit::Count => match spec.max.parse::<i64>() {
                Ok(max) if max >= 0 => max,
                _ => {
                    return self.wrong(
                        &max_field,
                        format!("expected a count such as \"500\", found `{}`", spec.max),
                    );
                }
            },
        };
        let window = match (spec.window_seconds, spec.calendar) {
            (Some(seconds), None) if (60..=2_678_400).contains(&seconds) => {
                Window::Sliding { seconds }
            }
            (Some(_), None) => {
                return self.wrong(
                    &format!("{field}.windowSeconds"),
                    "must be between 60 and 2678400",
                );
            }
            (None, Some(CalendarSpec::Day)) => Window::Calendar(Period::Day),
            (None, Some(CalendarSpec::Month)) => Window::Calendar(Period::Month),
            _ => return self.wrong(field, "needs exactly one of `windowSeconds` and `calendar`"),
        };
        let on_exceed = match spec.on_exceed {
            OnExceedSpec::Deny => OnExceed::Deny,
            OnExceedSpec::RequireApproval => OnExceed::RequireApproval,
        };
        Some(Limit {
            meter: spec.meter.clone(),
            unit,
            max,
            window,
            on_exceed,
        })
    }

    fn approval(&mut self, field: &str, spec: &resource::ApprovalSpec) -> Option<ApprovalSpec> {
        if spec.groups.is_empty() || spec.quorum == 0 {
            return self.wrong(field, "needs at least one group and a quorum of at least 1");
        }
        if spec.hold_seconds > 55 {
            return self.wrong(&format!("{field}.holdSeconds"), "must be between 0 and 55");
        }
        if !(60..=604_800).contains(&spec.expires_after_seconds) {
            return self.wrong(
                &format!("{field}.expiresAfterSeconds"),
                "must be between 60 and 604800",
            );
        }
        let mut groups = spec.groups.clone();
        groups.sort();
        groups.dedup();
        let (quorum, expires_after_seconds) = (spec.quorum, spec.expires_after_seconds);
        Some(ApprovalSpec {
            groups,
            quorum,
            expires_after_seconds,
            hold_seconds: spec.hold_seconds,
        })
    }

    fn upstream(&mut self, name: &str, spec: &UpstreamSpec) -> Option<Upstream> {
        let actions = spec.actions.iter().enumerate();
        let actions = actions
            .filter_map(|(index, it)| self.action(name, &format!("spec.actions[{index}]"), it))
            .collect();
        let hosts = self.texts("spec.hosts", &spec.hosts);
        if hosts.is_empty() {
            return self.wrong("spec.hosts", "needs at least one host");
        }
        let credentials = spec
            .credentials
            .iter()
            .enumerate()
            .filter_map(|(index, it)| {
                let field = format!("spec.credentials[{index}].format");
                if it.format.matches("{secret}").count() != 1 {
                    return self.wrong(
                        &field,
                        "needs exactly one `{secret}`, as in \"Bearer {secret}\"",
                    );
                }
                let (name, effects, format) =
                    (it.name.clone(), it.effects.clone(), it.format.clone());
                Some(CredentialUse {
                    name,
                    effects,
                    header: it.header.to_ascii_lowercase(),
                    format,
                })
            });
        let credentials = credentials.collect();
        Some(Upstream {
            name: name.to_owned(),
            hosts,
            ports: spec.ports.clone(),
            addresses: spec.addresses,
            protocol: spec.protocol,
            tls: Tls {
                mode: spec.tls.mode,
                ca_bundle: spec.tls.ca_bundle.clone(),
            },
            credentials,
            actions,
            error_style: spec.error_style,
            failed_statuses: spec.failed_statuses.clone(),
        })
    }

    fn action(
        &mut self,
        upstream: &str,
        field: &str,
        spec: &resource::ActionSpec,
    ) -> Option<ActionSpec> {
        let capability = self.text(
            &format!("{field}.name"),
            &format!("{upstream}.{}", spec.name),
        )?;
        let path = self.text(&format!("{field}.match.http.path"), &spec.matches.http.path)?;
        let method = spec.matches.http.method.clone();
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return self.wrong(
                &format!("{field}.match.http.method"),
                "expected a method in upper case, such as POST",
            );
        }
        let params = self.texts(&format!("{field}.params.allow"), &spec.params.allow);
        let attributes = spec
            .attributes
            .iter()
            .enumerate()
            .filter_map(|(index, it)| {
                let from = self.text(&format!("{field}.attributes[{index}].from"), &it.from)?;
                let (name, kind, required) = (it.name.clone(), it.kind, it.required);
                Some(AttributeSpec {
                    name,
                    from,
                    kind,
                    required,
                    default: it.default.clone(),
                    sensitive: it.sensitive,
                })
            });
        let attributes = attributes.collect();
        let amount = match &spec.amount {
            Some(amount) => Some(self.amount(&format!("{field}.amount"), amount)?),
            None => None,
        };
        let resource = match &spec.resource {
            Some(resource) => Some(self.text(&format!("{field}.resource.from"), &resource.from)?),
            None => None,
        };
        let meters = spec.meters.iter().enumerate();
        let meters = meters
            .filter_map(|(index, it)| self.meter(&format!("{field}.meters[{index}]"), it))
            .collect();
        let compensation = match &spec.compensation {
            Some(it) => Some(CompensationSpec {
                capability: self
                    .text(&format!("{field}.compensation.capability"), &it.capability)?,
                method: it.method.clone(),
                path: it.path.clone(),
            }),
            None => None,
        };
        let body = match &spec.body {
            Some(body) => BodySpec {
                format: body.format,
                max_bytes: body.max_bytes,
                mode: body.mode,
            },
            None => BodySpec {
                format: BodyFormat::None,
                max_bytes: 0,
                mode: BodyMode::Buffered,
            },
        };
        if body.max_bytes > 16 << 20 {
            return self.wrong(
                &format!("{field}.body.maxBytes"),
                "must be at most 16777216",
            );
        }
        Some(ActionSpec {
            capability,
            method,
            path,
            effect: spec.effect,
            body,
            params,
            headers: spec
                .headers
                .forward
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
            attributes,
            amount,
            resource,
            meters,
            idempotency_header: spec
                .idempotency_header
                .as_ref()
                .map(|name| name.to_ascii_lowercase()),
            compensation,
        })
    }

    fn amount(&mut self, field: &str, spec: &resource::AmountSpec) -> Option<AmountSpec> {
        let from = self.text(&format!("{field}.from"), &spec.from)?;
        let currency = match (&spec.currency.constant, &spec.currency.from) {
            (Some(code), None) => {
                CurrencySource::Const(self.currency(&format!("{field}.currency.const"), code)?)
            }
            (None, Some(from)) => {
                CurrencySource::From(self.text(&format!("{field}.currency.from"), from)?)
            }
            _ => {
                return self.wrong(
                    &format!("{field}.currency"),
                    "needs exactly one of `const` and `from`",
                );
            }
        };
        Some(AmountSpec {
            from,
            unit: spec.unit,
            currency,
        })
    }

    fn meter(&mut self, field: &str, spec: &resource::MeterSpec) -> Option<MeterSpec> {
        let from = match (spec.from, &spec.attribute, spec.value) {
            (MeterFrom::Amount, None, None) => MeterSource::Amount,
            (MeterFrom::Attribute, Some(name), None) => MeterSource::Attribute(name.clone()),
            (MeterFrom::Constant, None, Some(value)) if value > 0 => MeterSource::Constant(value),
            _ => {
                let message = "`from: Attribute` needs `attribute`, `from: Constant` needs a `value` above 0, and \
                               `from: Amount` needs neither";
                return self.wrong(field, message);
            }
        };
        Some(MeterSpec {
            name: spec.name.clone(),
            from,
        })
    }

    fn policy(&mut self, name: &str, spec: &ActionPolicySpec) -> Option<Policy> {
        let rules = spec.rules.iter().enumerate();
        let rules = rules
            .filter_map(|(index, it)| self.rule(&format!("spec.rules[{index}]"), it))
            .collect();
        let mut passports: Vec<String> = spec
            .target_refs
            .iter()
            .map(|target| target.name.clone())
            .collect();
        passports.sort();
        passports.dedup();
        Some(Policy {
            name: name.to_owned(),
            scope: PolicyScope::Namespace,
            mode: spec.mode,
            passports,
            rules,
        })
    }

    fn rule(&mut self, field: &str, spec: &RuleSpec) -> Option<Rule> {
        let capabilities = self.texts(&format!("{field}.capabilities"), &spec.capabilities);
        if spec.capabilities.is_empty() {
            return self.wrong(
                &format!("{field}.capabilities"),
                "needs at least one capability or pattern",
            );
        }
        let resources = self.texts(&format!("{field}.resources"), &spec.resources);
        let amounts = spec.amounts.iter().enumerate();
        let amounts = amounts
            .filter_map(|(index, it)| self.bound(&format!("{field}.amounts[{index}]"), it))
            .collect();
        let schedule = match &spec.schedule {
            Some(schedule) => Some(self.schedule(&format!("{field}.schedule"), schedule)?),
            None => None,
        };
        let approval = match &spec.approval {
            Some(approval) => Some(self.approval(&format!("{field}.approval"), approval)?),
            None => None,
        };
        Some(Rule {
            name: spec.name.clone(),
            decision: spec.decision,
            capabilities,
            amounts,
            schedule,
            environments: spec.environments.clone(),
            resources,
            when: spec.when.clone(),
            obligations: Obligations {
                max_response_bytes: spec.obligations.max_response_bytes,
            },
            approval,
            allow_irreversible: spec.allow_irreversible,
        })
    }

    fn bound(&mut self, field: &str, spec: &AmountBoundSpec) -> Option<AmountBound> {
        let currency = self.currency(&format!("{field}.currency"), &spec.currency)?;
        let mut side = |name: &str, text: &Option<String>| match text {
            Some(text) => self
                .money(&format!("{field}.{name}"), text, currency)
                .map(Some),
            None => Some(None),
        };
        let (gt, gte) = (side("gt", &spec.gt)?, side("gte", &spec.gte)?);
        let (lt, lte) = (side("lt", &spec.lt)?, side("lte", &spec.lte)?);
        if [gt, gte, lt, lte].iter().all(Option::is_none) {
            return self.wrong(field, "needs at least one of `gt`, `gte`, `lt`, `lte`");
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
        let mut minute = |name: &str, text: &str| {
            let parsed = text.split_once(':').and_then(|(hours, minutes)| {
                let two = |part: &str| {
                    (part.len() == 2)
                        .then(|| part.parse::<u16>().ok())
                        .flatten()
                };
                Some((two(hours)?, two(minutes)?))
                    .filter(|(hours, minutes)| *hours <= 24 && *minutes < 60)
            });
            match parsed
                .map(|(hours, minutes)| hours * 60 + minutes)
                .filter(|minute| *minute <= 1_440)
            {
                Some(minute) => Some(minute),
                None => self.wrong(
                    &format!("{field}.{name}"),
                    format!("expected a time such as \"09:00\", found `{text}`"),
                ),
            }
        };
        let (from_minute, to_minute) = (minute("from", &spec.from)?, minute("to", &spec.to)?);
        if jiff::tz::TimeZone::get(&spec.time_zone).is_err() {
            let message = format!(
                "`{}` is no IANA time zone; write for example `UTC` or `Europe/Berlin`",
                spec.time_zone
            );
            return self.wrong(&format!("{field}.timeZone"), message);
        }
        Some(Schedule {
            days: spec.days.clone(),
            from_minute,
            to_minute,
            time_zone: spec.time_zone.clone(),
        })
    }

    fn currency(&mut self, field: &str, code: &str) -> Option<Currency> {
        match Currency::parse(code) {
            Ok(currency) => Some(currency),
            Err(error) => self.wrong(field, error),
        }
    }

    fn money(&mut self, field: &str, text: &str, currency: Currency) -> Option<Money> {
        match Money::parse_major(text, currency) {
            Ok(money) => Some(money),
            Err(error) => self.wrong(
                field,
                format!("expected decimal text such as \"500.00\": {error}"),
            ),
        }
    }
}
