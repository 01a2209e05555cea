//! Passports, Upstreams and policies: held against what is in their namespace, as `actpass check` holds files against
//! each other.
//!
//! A mistake refuses where it stands in what is written, or where the write brings it to another resource of the same
//! kind: two Upstreams of one host, two Passports of one account. What it breaks in others is a warning: they can only be
//! mended one after the other. So is what was wrong before: a Passport whose Upstream is gone can still be suspended.

use std::collections::{BTreeMap, BTreeSet};

use actpass_crds::bundle::Options;
use actpass_crds::check::check;
use actpass_crds::object;
use actpass_crds::read::{Located, Manifests, Problem};
use actpass_crds::resource::{API_VERSION, Kind, Resource};
use serde_json::Value;

use super::review::{Answer, Cause, Operation, Request, Status};

/// What only a reader of the cluster knows of a write.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Passports, Upstreams and ActionPolicies of its namespace, and all ClusterActionPolicies.
    pub objects: Vec<Value>,
    /// Upstreams of the install namespace, where that is another one.
    pub catalogue: Vec<Value>,
    /// Labels of its namespace.
    pub labels: BTreeMap<String, String>,
}

/// Most reasons said at a time.
const CAUSES_MAX: usize = 32;

/// Checks a new resource, or a change to one.
pub fn validate(request: &Request, facts: &Facts) -> Answer {
    let written = matches!(request.operation, Operation::Create | Operation::Update);
    let group = format!("{}/{}", request.resource.group, request.resource.version);
    if !written || !request.sub_resource.is_empty() || group != API_VERSION {
        return Answer::unexpected(request);
    }
    let own = match object::read(&request.object) {
        Ok(own) => own,
        Err(error) => {
            return Answer::refused(Status::Forbidden, "form", &error.field, error.message);
        }
    };
    let origin = object::origin(own.resource.kind(), own.resource.metadata());
    let others = others(facts, &own);
    let with = |one: Option<Located>| {
        let mut manifests = others.clone();
        manifests.resources.extend(one);
        manifests
    };
    let before = with(object::read(&request.old_object).ok());
    let after = with(Some(own.clone()));
    let options = Options {
        tenant: format!("cluster/{}/uid", request.namespace),
        environment: facts
            .labels
            .get(actpass_kubernetes::names::ENVIRONMENT_LABEL)
            .cloned(),
    };
    let known: BTreeSet<Problem> = problems(&before, &options).into_iter().collect();
    let prefix = format!("{}/", own.resource.kind());
    let (mut causes, mut warnings) = (Vec::new(), Vec::new());
    for problem in problems(&after, &options) {
        let (here, new) = (problem.file == origin, !known.contains(&problem));
        let alike = here || problem.resource.starts_with(&prefix);
        match (problem.is_error(), new) {
            (true, true) if alike => causes.push(cause(&problem, here)),
            _ if new || here => warnings.push(said(&problem, here)),
            _ => {}
        }
    }
    if causes.is_empty() {
        let mut answer = Answer::allowed();
        answer.warnings = warnings;
        return answer;
    }
    causes.truncate(CAUSES_MAX);
    Answer::refused_for(Status::Forbidden, causes)
}

fn problems(manifests: &Manifests, options: &Options) -> Vec<Problem> {
    match check(manifests, options) {
        Ok(checked) => checked.warnings,
        Err(problems) => problems,
    }
}

/// What a write is held against: all others of its namespace, and the Upstreams that the catalogue shares with it.
fn others(facts: &Facts, own: &Located) -> Manifests {
    let mut manifests = Manifests::default();
    let same = |other: &Located| {
        let (is, mine) = (other.resource.metadata(), own.resource.metadata());
        other.resource.kind() == own.resource.kind()
            && is.name == mine.name
            && is.namespace == mine.namespace
    };
    for found in &facts.objects {
        match object::read(found) {
            Ok(other) if same(&other) => {}
            Ok(other) => manifests.resources.push(other),
            Err(_) => unread(found, &mut manifests),
        }
    }
    for found in &facts.catalogue {
        match object::read(found) {
            Ok(other) if is_shared(&other, &facts.labels) => manifests.resources.push(other),
            Ok(_) => {}
            Err(_) => unread(found, &mut manifests),
        }
    }
    if own.resource.kind() == Kind::ClusterActionPolicy {
        // It speaks of all namespaces, and nobody compares it with all of them.
        manifests.unread.extend([Kind::Passport, Kind::Upstream]);
    }
    manifests
}

/// What is said of a resource that cannot be read is not held against anyone.
fn unread(object: &Value, manifests: &mut Manifests) {
    let kind = object.get("kind").and_then(Value::as_str);
    manifests.unread.extend(
        Kind::ALL
            .into_iter()
            .filter(|known| Some(known.name()) == kind),
    );
}

fn is_shared(located: &Located, labels: &BTreeMap<String, String>) -> bool {
    match &located.resource {
        Resource::Upstream(_, spec) => spec.is_shared_with(labels),
        _ => false,
    }
}

fn cause(problem: &Problem, here: bool) -> Cause {
    Cause {
        reason: "check",
        field: if here {
            problem.field.clone()
        } else {
            String::new()
        },
        message: if here {
            problem.text()
        } else {
            said(problem, here)
        },
    }
}

fn said(problem: &Problem, here: bool) -> String {
    match (here, problem.field.as_str()) {
        (true, "") => problem.text(),
        (true, field) => format!("{field}: {}", problem.text()),
        (false, field) => format!("{}: {field}: {}", problem.file, problem.text()),
    }
}
