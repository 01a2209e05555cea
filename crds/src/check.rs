//! What can only be seen by comparing resources: one function, for files and for admission alike.
//!
//! An error is what would decide otherwise than written, or not at all; a warning is what is probably not meant.

mod action;
mod headers;
mod overlap;
mod passport;
mod policy;
mod rule;
mod source;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};

use actpass_core::bundle::BundleSpec;
use actpass_core::capability::CapabilityPattern;
use actpass_core::policy::PolicyScope;
use actpass_core::upstream::ActionSpec;

use crate::bundle::{Options, convert};
use crate::problem::{Said, listed};
use crate::read::{Located, Manifests, Problem, Severity};
use crate::resource::{Kind, Resource};
use crate::suggest;

/// Resources that compiled and agree with each other.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The bundle's content.
    pub spec: BundleSpec,
    /// What is probably not meant, sorted by place.
    pub warnings: Vec<Problem>,
}

/// Compiles the resources of one namespace and compares them with each other, saying all mistakes together, also
/// those of form that were found before.
///
/// # Errors
/// Every problem, warnings too, sorted by place, where at least one is an error.
pub fn check(manifests: &Manifests, options: &Options) -> Result<Checked, Vec<Problem>> {
    let (spec, mut problems) = convert(&manifests.resources, options);
    problems.extend(manifests.problems.iter().cloned());
    problems.extend(cross_check(&manifests.resources, &spec, &manifests.unread));
    problems.sort();
    problems.dedup();
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    Ok(Checked {
        spec,
        warnings: problems,
    })
}

/// Compares a namespace's resources, which compiled to `spec`. What is said of a resource that is `unread` or did not
/// compile is not held against anyone.
fn cross_check(resources: &[Located], spec: &BundleSpec, unread: &BTreeSet<Kind>) -> Vec<Problem> {
    let mut check = Check::new(resources, spec, unread);
    let firsts = check.names();
    check.namespaces();
    for located in firsts {
        match &located.resource {
            Resource::Passport(metadata, written) => {
                check.passport(located, &metadata.name, written)
            }
            Resource::Upstream(metadata, written) => {
                check.upstream(located, &metadata.name, written)
            }
            Resource::ActionPolicy(metadata, written) => {
                check.policy(located, &metadata.name, written)
            }
            Resource::ClusterActionPolicy(metadata, written) => {
                check.cluster_policy(located, &metadata.name, written)
            }
        }
    }
    check.problems
}

/// All resources, and the problems found so far.
struct Check<'a> {
    resources: &'a [Located],
    spec: &'a BundleSpec,
    /// Every action of every upstream.
    actions: Vec<&'a ActionSpec>,
    /// Kinds of which a resource is written whose name is not known.
    unread: &'a BTreeSet<Kind>,
    /// Kinds of which not all that is written can be compared with.
    partial: BTreeSet<Kind>,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn new(resources: &'a [Located], spec: &'a BundleSpec, unread: &'a BTreeSet<Kind>) -> Self {
        let written = |kind: Kind| {
            let kinds = resources.iter().map(|located| located.resource.kind());
            kinds.filter(|it| *it == kind).count()
        };
        let compiled = |scope: PolicyScope| {
            let scopes = spec.policies.iter().map(|policy| policy.scope);
            scopes.filter(|it| *it == scope).count()
        };
        let mut partial = unread.clone();
        for (kind, compiled) in [
            (Kind::Passport, spec.passports.len()),
            (Kind::Upstream, spec.upstreams.len()),
            (Kind::ActionPolicy, compiled(PolicyScope::Namespace)),
            (Kind::ClusterActionPolicy, compiled(PolicyScope::Cluster)),
        ] {
            if compiled < written(kind) {
                partial.insert(kind);
            }
        }
        let actions = spec.upstreams.iter().flat_map(|upstream| &upstream.actions);
        Self {
            resources,
            spec,
            actions: actions.collect(),
            unread,
            partial,
            problems: Vec::new(),
        }
    }

    /// Whether all resources of a kind that are written are there to compare with.
    fn all(&self, kind: Kind) -> bool {
        !self.partial.contains(&kind)
    }

    /// Whether the names and labels of all resources of a kind that are written are known.
    fn all_named(&self, kind: Kind) -> bool {
        !self.unread.contains(&kind)
    }

    fn error(&mut self, at: &Located, field: &str, said: impl Into<Said>) {
        self.problems.push(at.problem(field, Severity::Error, said));
    }

    fn warning(&mut self, at: &Located, field: &str, said: impl Into<Said>) {
        self.problems
            .push(at.problem(field, Severity::Warning, said));
    }

    /// All resources of a kind.
    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &'a Located> + use<'a> {
        self.resources
            .iter()
            .filter(move |located| located.resource.kind() == kind)
    }

    /// No two resources of a kind have one name. Gives those that came first.
    fn names(&mut self) -> Vec<&'a Located> {
        let mut seen: BTreeMap<(Kind, &str), &Located> = BTreeMap::new();
        let mut firsts = Vec::with_capacity(self.resources.len());
        for located in self.resources {
            let (kind, name) = (
                located.resource.kind(),
                located.resource.metadata().name.as_str(),
            );
            if let Some(first) = seen.get(&(kind, name)) {
                let whence = first.whence("metadata.name");
                let said = Said::from(format!("is given twice, first at {whence}"));
                let said = said.help(format!("each {kind} has a name of its own"));
                self.error(located, "metadata.name", said);
            } else {
                seen.insert((kind, name), located);
                firsts.push(located);
            }
        }
        firsts
    }

    /// A bundle is one namespace's: its Passports and policies are of one, its Upstreams of that or shared with it.
    fn namespaces(&mut self) {
        let mut own: Option<(&str, &Located)> = None;
        for kind in [Kind::Passport, Kind::ActionPolicy] {
            for located in self.of_kind(kind) {
                let Some(namespace) = located.resource.metadata().namespace.as_deref() else {
                    continue;
                };
                match own {
                    None => own = Some((namespace, located)),
                    Some((first, at)) if first != namespace => {
                        let whence = at.whence("metadata.namespace");
                        let said = Said::from(format!(
                            "namespace `{namespace}` is not `{first}`, which {whence} names"
                        ));
                        let said = said.help("Passports and ActionPolicies that are read together belong to one namespace");
                        self.error(located, "metadata.namespace", said);
                    }
                    Some(_) => {}
                }
            }
        }
        for located in self.of_kind(Kind::ClusterActionPolicy) {
            if located.resource.metadata().namespace.is_some() {
                self.error(
                    located,
                    "metadata.namespace",
                    "a ClusterActionPolicy belongs to no namespace; leave it out",
                );
            }
        }
        if let Some((namespace, _)) = own {
            self.shared_upstreams(namespace);
        }
    }

    /// An exact capability must exist; a pattern should match something.
    fn known(&mut self, at: &Located, field: &str, pattern: &CapabilityPattern) {
        let mut actions = self.actions.iter();
        if actions.any(|action| pattern.matches(&action.capability)) {
            return;
        }
        let text = pattern.as_str();
        let (upstream, _) = text.split_once('.').unwrap_or((text, ""));
        let there = self.spec.upstreams.iter().any(|it| it.name == upstream);
        if !there && !self.all(Kind::Upstream) {
            return;
        }
        if !pattern.is_exact() {
            let said = Said::from(format!(
                "pattern `{text}` matches no action of any Upstream"
            ));
            let near = suggest::nearest(upstream, self.spec.upstreams.iter().map(|it| &*it.name));
            let near = near.filter(|_| !there).map(|near| format!("{near}."));
            let near = near.map(|near| text.replacen(&format!("{upstream}."), &near, 1));
            return self.warning(at, field, said.meant(near.as_deref()));
        }
        let names = || self.actions.iter().map(|action| action.capability.as_str());
        let said = if let Some(near) = suggest::nearest(text, names()) {
            Said::from(format!("no Upstream declares `{text}`")).meant(Some(near))
        } else if there {
            let own = names().filter(|name| name.split('.').next() == Some(upstream));
            let known = listed(own.take(NAMES_SHOWN), "and");
            Said::from(format!("Upstream `{upstream}` declares no `{text}`")).help(
                match known.is_empty() {
                    true => "it declares no action".to_owned(),
                    false => format!("it declares {known}"),
                },
            )
        } else {
            Said::from(format!("there is no Upstream `{upstream}` for `{text}`"))
                .help("add its manifest, or the shipped ones by `--catalog`")
        };
        self.error(at, field, said);
    }
}

/// Enough capabilities to see what an Upstream offers.
const NAMES_SHOWN: usize = 8;
