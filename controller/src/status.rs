//! What the controller says of a resource: its conditions, as a pure function of what was compiled.

use std::collections::{BTreeMap, BTreeSet};

use actpass_core::bundle::Bundle;
use actpass_core::policy::PolicyScope;
use actpass_crds::bundle::{Options, compile};
use actpass_crds::condition::{Condition, ConditionStatus, ConditionType, Reason, set};
use actpass_crds::passport::PassportSpec;
use actpass_crds::problem::Problem;
use actpass_crds::read::Located;
use actpass_crds::resource::{Kind, Resource};
use actpass_crds::status::{PassportStatus, PolicyStatus, UpstreamStatus};
use actpass_kubernetes::names::MODE_LABEL;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::object::{Id, Object};
use crate::session::Pods;
use crate::session::admit::not_after;

/// What became of one namespace.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Whether ActPass governs it.
    pub enrolled: bool,
    /// Whether its resources were accepted as they are written.
    pub accepted: bool,
    /// Whether the ledger has what was compiled.
    pub in_force: bool,
    /// What is wrong, by resource; only errors.
    pub errors: Vec<(Id, Problem)>,
    /// Upstreams that claim what a shared one has.
    pub shadowed: Vec<Id>,
    /// Actions that a guard of the cluster names and no Upstream there declares.
    pub absent: BTreeMap<Id, BTreeSet<String>>,
    /// Why the ledger does not have it.
    pub ledger: Option<String>,
    /// What is wrong with the bundle as a whole.
    pub whole: Option<String>,
}

/// A condition before it has a generation and a time.
struct Said {
    kind: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: String,
}

impl Outcome {
    fn errors_of(&self, id: &Id) -> Vec<&Problem> {
        let errors = self.errors.iter().filter(|(of, _)| of == id);
        errors.map(|(_, problem)| problem).collect()
    }

    /// Which resource keeps the bundle, for those that are not to blame.
    fn held_by(&self) -> String {
        if let Some(whole) = &self.whole {
            return format!("{whole}; the bundle accepted last stays in force");
        }
        let first = self.errors.first().map(|(id, _)| id.to_string());
        let first = first.unwrap_or_else(|| "another resource".to_owned());
        format!("{first} is rejected, so the bundle accepted last stays in force; mend it")
    }

    /// Whether sidecars decide by what is written.
    fn programmed(&self) -> Said {
        let (status, reason, message) = if !self.enrolled {
            let message = format!("the namespace has no label {MODE_LABEL}");
            (
                ConditionStatus::False,
                Reason::NamespaceNotEnrolled,
                message,
            )
        } else if !self.accepted {
            (ConditionStatus::False, Reason::BundleHeld, self.held_by())
        } else if let Some(why) = &self.ledger {
            (ConditionStatus::False, Reason::Pending, why.clone())
        } else if !self.in_force {
            let message = "the bundle with it is on its way".to_owned();
            (ConditionStatus::False, Reason::Pending, message)
        } else {
            let message = "sidecars decide by it".to_owned();
            (ConditionStatus::True, Reason::Programmed, message)
        };
        Said {
            kind: ConditionType::Programmed,
            status,
            reason,
            message,
        }
    }

    fn accepted(&self, id: &Id) -> Said {
        let errors = self.errors_of(id);
        let (status, reason, message) = match errors.is_empty() {
            true => {
                let message = "it is valid".to_owned();
                (ConditionStatus::True, Reason::Accepted, message)
            }
            false if self.shadowed.contains(id) => {
                (ConditionStatus::False, Reason::Shadowed, texts(&errors))
            }
            false => (ConditionStatus::False, Reason::Rejected, texts(&errors)),
        };
        Said {
            kind: ConditionType::Accepted,
            status,
            reason,
            message,
        }
    }

    fn resolved(&self, id: &Id) -> Said {
        let errors = self.errors_of(id).into_iter();
        let dangling: Vec<&Problem> = errors.filter(|it| is_reference(&it.field)).collect();
        let nowhere = self.absent.get(id).filter(|names| !names.is_empty());
        let (status, reason, message) = if !dangling.is_empty() {
            let message = texts(&dangling);
            (ConditionStatus::False, Reason::DanglingReference, message)
        } else if let Some(names) = nowhere {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let message = format!(
                "no Upstream of any namespace declares {}; correct the name",
                names.join(", ")
            );
            (ConditionStatus::False, Reason::DanglingReference, message)
        } else {
            let message = "everything it names exists".to_owned();
            (ConditionStatus::True, Reason::ResolvedRefs, message)
        };
        Said {
            kind: ConditionType::ResolvedRefs,
            status,
            reason,
            message,
        }
    }
}

/// Fields that name other resources.
fn is_reference(field: &str) -> bool {
    field.starts_with("spec.targetRefs[")
        || (field.starts_with("spec.scope[") && field.ends_with(".capability"))
        || (field.starts_with("spec.rules[") && field.contains(".capabilities["))
}

fn texts(problems: &[&Problem]) -> String {
    let texts = problems.iter().map(|problem| match problem.field.as_str() {
        "" => problem.text(),
        field => format!("{field}: {}", problem.text()),
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// What else stands in the namespace of a resource.
#[derive(Clone, Copy, Default)]
pub struct Around<'a> {
    /// What is in force.
    pub bundle: Option<&'a Bundle>,
    /// All its Passports.
    pub passports: &'a [&'a PassportSpec],
    /// The pods of each ServiceAccount that run and have begun a session, where that is known.
    pub running: Option<&'a BTreeMap<String, Pods>>,
}

/// The status of a resource of the namespace; `None` where it stands so already.
pub fn of(object: &Object, outcome: &Outcome, around: Around<'_>, now: Timestamp) -> Option<Value> {
    let Around {
        bundle,
        passports,
        running,
    } = around;
    let id = &object.id;
    let conditions = |ready: Option<Said>| -> Vec<Said> {
        match ready {
            Some(ready) => vec![ready, outcome.resolved(id)],
            None => vec![
                outcome.accepted(id),
                outcome.resolved(id),
                outcome.programmed(),
            ],
        }
    };
    match (&object.resource, id.kind) {
        (Ok(Resource::Passport(_, spec)), _) => {
            let ready = ready(object, spec, outcome, bundle, passports, now);
            changed::<PassportStatus>(object, |status| {
                status.observed_generation = object.generation;
                let has = bundle.filter(|bundle| bundle.passport(&id.name).is_some());
                if let Some(running) = running {
                    let subject = spec.subject.as_ref();
                    let pods = subject.and_then(|it| running.get(&it.service_account_name));
                    let pods = pods.cloned().unwrap_or_default();
                    status.sessions = Some(pods.count);
                    let said = vec![fenced(&pods)];
                    put(&mut status.conditions, said, object, now);
                }
                status.bundle_digest = has.map(|bundle| bundle.digest().to_string());
                put(&mut status.conditions, conditions(Some(ready)), object, now);
            })
        }
        (resource, Kind::Upstream) => changed::<UpstreamStatus>(object, |status| {
            status.observed_generation = object.generation;
            status.actions = match resource {
                Ok(Resource::Upstream(_, spec)) => u32::try_from(spec.actions.len()).ok(),
                _ => None,
            };
            put(&mut status.conditions, conditions(None), object, now);
        }),
        (resource, Kind::ActionPolicy | Kind::ClusterActionPolicy) => {
            changed::<PolicyStatus>(object, |status| {
                status.observed_generation = object.generation;
                let rules = match resource {
                    Ok(Resource::ActionPolicy(_, spec)) => Some(spec.rules.len()),
                    Ok(Resource::ClusterActionPolicy(_, spec)) => Some(spec.rules.len()),
                    _ => None,
                };
                status.rules = rules.and_then(|count| u32::try_from(count).ok());
                let held = bundle.and_then(|bundle| {
                    let policies = bundle.spec().policies.iter();
                    let mut policies = policies.filter(|it| it.scope == PolicyScope::Namespace);
                    policies.find(|policy| policy.name == id.name)
                });
                status.passports = held.and_then(|it| u32::try_from(it.passports.len()).ok());
                put(&mut status.conditions, conditions(None), object, now);
            })
        }
        (_, Kind::Passport) => changed::<PassportStatus>(object, |status| {
            status.observed_generation = object.generation;
            let ready = rejected(outcome.errors_of(id));
            put(&mut status.conditions, conditions(Some(ready)), object, now);
        }),
    }
}

fn ready(
    object: &Object,
    spec: &PassportSpec,
    outcome: &Outcome,
    bundle: Option<&Bundle>,
    passports: &[&PassportSpec],
    now: Timestamp,
) -> Said {
    let no = |reason, message: String| Said {
        kind: ConditionType::Ready,
        status: ConditionStatus::False,
        reason,
        message,
    };
    if !outcome.enrolled {
        let message =
            format!("the namespace has no label {MODE_LABEL}; set it to `audit` or `enforce`");
        return no(Reason::NamespaceNotEnrolled, message);
    }
    let Some(subject) = &spec.subject else {
        let message = "it has no `subject`, so no pod gets a passport by it".to_owned();
        return no(Reason::NoSubject, message);
    };
    let same = passports.iter();
    if same
        .filter(|it| it.subject.as_ref() == Some(subject))
        .count()
        > 1
    {
        let account = &subject.service_account_name;
        let message = format!(
            "another Passport is for ServiceAccount `{account}` too, so both deny; keep one, or give each its ServiceAccount"
        );
        return no(Reason::Conflicted, message);
    }
    let errors = outcome.errors_of(&object.id);
    if !errors.is_empty() {
        return rejected(errors);
    }
    if spec.suspended {
        let message = "`suspended` is true, so everything is denied".to_owned();
        return no(Reason::Suspended, message);
    }
    if not_after(spec).is_some_and(|end| end.is_none_or(|end| now >= end)) {
        let message = "`notAfter` has passed, so everything is denied".to_owned();
        return no(Reason::Expired, message);
    }
    if is_in(object, bundle) {
        return Said {
            kind: ConditionType::Ready,
            status: ConditionStatus::True,
            reason: Reason::InForce,
            message: "pods of its subject get passports by it".to_owned(),
        };
    }
    match (&outcome.ledger, outcome.accepted) {
        (_, false) => no(Reason::BundleHeld, outcome.held_by()),
        (Some(why), true) => no(Reason::LedgerUnavailable, why.clone()),
        (None, true) => no(
            Reason::Pending,
            "the bundle with it is on its way".to_owned(),
        ),
    }
}

/// What the pods that act by a Passport found when they tried their own ways out.
fn fenced(pods: &Pods) -> Said {
    let (status, reason, message) = match (pods.count, &*pods.open, &*pods.unverified) {
        (0, ..) => {
            let message = "no pod acts by it now".to_owned();
            (ConditionStatus::Unknown, Reason::NoPods, message)
        }
        (_, [], _) if !pods.broken.is_empty() => {
            let names: Vec<String> = pods.broken.values().cloned().collect();
            let message = format!(
                "these pods had a way out beside the sidecar; what left by it is not known: delete them\n{}",
                some_of(&names)
            );
            (ConditionStatus::False, Reason::WayOut, message)
        }
        (_, [], []) => {
            let message =
                "no pod that acts by it has reported a way out beside its sidecar".to_owned();
            (ConditionStatus::True, Reason::Fenced, message)
        }
        (_, [], unverified) => {
            let message = format!(
                "these pods have not tried their ways out for minutes; see the runbook of ActPassFenceUnverified:\n{}",
                some_of(unverified)
            );
            (ConditionStatus::Unknown, Reason::Unverified, message)
        }
        (_, open, _) => {
            let message = format!(
                "a way out beside the sidecar is open; delete these pods, and see the runbook of ActPassFenceBroken:\n{}",
                some_of(open)
            );
            (ConditionStatus::False, Reason::WayOut, message)
        }
    };
    Said {
        kind: ConditionType::Fenced,
        status,
        reason,
        message,
    }
}

/// Enough of them to see where to look, each on a line.
fn some_of(pods: &[String]) -> String {
    let shown = pods.iter().take(PODS_SHOWN).cloned().collect::<Vec<_>>();
    let more = match pods.len().saturating_sub(PODS_SHOWN) {
        0 => String::new(),
        more => format!("\nand {more} more"),
    };
    shown.join("\n") + &more
}

/// How many pods are named.
const PODS_SHOWN: usize = 5;

/// Whether the Passport stands in the bundle as it is written.
fn is_in(object: &Object, bundle: Option<&Bundle>) -> bool {
    let Ok(resource) = &object.resource else {
        return false;
    };
    let options = Options {
        tenant: String::new(),
        environment: None,
    };
    let alone = [Located::new(resource.clone(), String::new())];
    let written = compile(&alone, &options).ok();
    let written = written.and_then(|spec| spec.passports.into_iter().next());
    let held = bundle.and_then(|bundle| bundle.passport(&object.id.name));
    written.is_some() && written.as_ref() == held
}

fn rejected(errors: Vec<&Problem>) -> Said {
    Said {
        kind: ConditionType::Ready,
        status: ConditionStatus::False,
        reason: Reason::Rejected,
        message: texts(&errors),
    }
}

/// A shared Upstream or a guard of the cluster: what becomes of it in each namespace it counts in, and by itself.
pub fn of_many(id: &Id, alone: &Outcome, namespaces: &[(&str, &Outcome)]) -> Outcome {
    let mut all = Outcome {
        enrolled: true,
        accepted: true,
        in_force: true,
        ..Outcome::default()
    };
    all.errors.extend(
        alone
            .errors_of(id)
            .into_iter()
            .map(|it| (id.clone(), it.clone())),
    );
    // What is missing in one place may be in another.
    let places = namespaces
        .iter()
        .map(|(_, outcome)| *outcome)
        .chain([alone]);
    let mut absent = places.map(|place| place.absent.get(id).cloned().unwrap_or_default());
    let nowhere = absent.next().unwrap_or_default();
    let nowhere = absent.fold(nowhere, |nowhere, absent| &nowhere & &absent);
    all.absent.insert(id.clone(), nowhere);
    let mut held = Vec::new();
    for (namespace, outcome) in namespaces {
        for problem in outcome.errors_of(id) {
            let mut problem = problem.clone();
            problem.message = format!("in namespace `{namespace}`: {}", problem.message);
            all.errors.push((id.clone(), problem));
        }
        all.in_force &= outcome.in_force;
        if !outcome.accepted {
            held.push(format!("`{namespace}`"));
        }
        if let Some(why) = &outcome.ledger {
            all.ledger = Some(why.clone());
        }
    }
    if !held.is_empty() {
        all.accepted = false;
        held.truncate(NAMESPACES_SHOWN);
        all.whole = Some(format!("not all is accepted in {}", held.join(", ")));
    }
    all
}

/// Enough namespaces to see where to look.
const NAMESPACES_SHOWN: usize = 5;

fn put(conditions: &mut Vec<Condition>, said: Vec<Said>, object: &Object, now: Timestamp) {
    for Said {
        kind,
        status,
        reason,
        message,
    } in said
    {
        let generation = object.generation;
        set(
            conditions,
            Condition::new(kind, status, reason, message, generation, now),
        );
    }
}

/// The status with what is said put into the one there is.
fn changed<T: Serialize + DeserializeOwned + Default + Clone + PartialEq>(
    object: &Object,
    change: impl FnOnce(&mut T),
) -> Option<Value> {
    let before: T = serde_json::from_value(object.status.clone()).unwrap_or_default();
    let mut status = before.clone();
    change(&mut status);
    if status == before && !object.status.is_null() {
        return None;
    }
    serde_json::to_value(status).ok()
}

#[cfg(test)]
mod tests;
