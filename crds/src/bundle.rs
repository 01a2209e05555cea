//! From resources to a bundle: each spec becomes a core type that cannot be wrong, or a problem at its place.

mod action;
mod passport;
mod policy;
mod upstream;

use std::fmt::Display;
use std::str::FromStr;

use actpass_core::bundle::{BUNDLE_VERSION, BundleSpec};
use actpass_core::mode::Mode;
use actpass_core::money::{Currency, Money};

pub(crate) use policy::selected;

use crate::problem::Said;
use crate::read::{Located, Problem, Severity};
use crate::resource::Resource;

/// For whom a bundle is compiled.
#[derive(Clone, Debug)]
pub struct Options {
    /// `<cluster-id>/<namespace>/<namespace-uid>`.
    pub tenant: String,
    /// Label `actpass.org/environment` of the namespace.
    pub environment: Option<String>,
}

/// Compiles all resources of one namespace: its Passports and ActionPolicies, the Upstreams it may use and the
/// ClusterActionPolicies. Targets of policies become names of passports. What several resources say together is
/// checked by [`crate::check`], not here.
///
/// # Errors
/// Every text that is not what its field wants.
pub fn compile(resources: &[Located], options: &Options) -> Result<BundleSpec, Vec<Problem>> {
    let (spec, problems) = convert(resources, options);
    if problems.is_empty() {
        Ok(spec)
    } else {
        Err(problems)
    }
}

/// As [`compile`], leaving out what is wrong.
pub(crate) fn convert(resources: &[Located], options: &Options) -> (BundleSpec, Vec<Problem>) {
    let mut spec = BundleSpec {
        v: BUNDLE_VERSION.to_owned(),
        tenant: options.tenant.clone(),
        environment: options.environment.clone(),
        mode: Mode::Enforce,
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
                spec.policies
                    .extend(at.policy(&metadata.name, policy, resources));
            }
            Resource::ClusterActionPolicy(metadata, policy) => {
                spec.policies
                    .extend(at.cluster_policy(&metadata.name, policy, resources));
            }
        }
    }
    spec.passports.sort_by(|a, b| a.name.cmp(&b.name));
    spec.upstreams.sort_by(|a, b| a.name.cmp(&b.name));
    spec.policies
        .sort_by(|a, b| (a.scope as u8, &a.name).cmp(&(b.scope as u8, &b.name)));
    problems.sort();
    (spec, problems)
}

/// One resource being compiled. A field that is wrong gives `None` and a problem; the rest goes on, so that all
/// mistakes are found together.
struct At<'a> {
    located: &'a Located,
    problems: &'a mut Vec<Problem>,
}

impl At<'_> {
    fn wrong<T>(&mut self, field: &str, said: impl Into<Said>) -> Option<T> {
        self.problems
            .push(self.located.problem(field, Severity::Error, said));
        None
    }

    fn text<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => self.wrong(field, error.to_string()),
        }
    }

    fn texts<T: FromStr<Err: Display>>(&mut self, field: &str, texts: &[String]) -> Vec<T> {
        let each = texts.iter().enumerate();
        each.filter_map(|(index, text)| self.text(&format!("{field}[{index}]"), text))
            .collect()
    }

    fn money(&mut self, field: &str, text: &str, currency: Currency) -> Option<Money> {
        match Money::parse_major(text, currency) {
            Ok(money) => Some(money),
            Err(error) => self.wrong(field, error.to_string()),
        }
    }
}
