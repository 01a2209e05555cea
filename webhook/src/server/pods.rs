//! Pods: what is injected at `/mutate-pods`, and what `/validate-pods` lets pass.

use serde_json::Value;

use crate::checks::{self, Connect, Surroundings};
use crate::inject::{Context, inject};
use crate::read::{list, text};

use super::review::{Answer, Operation, Request, Status};

/// What only a reader of the cluster knows of a request on a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What its namespace lacks to hold an agent, as the controller makes it: what kind of object, and its name.
    pub lacking: Vec<&'static str>,
    /// What else is around a new pod.
    pub surroundings: Surroundings,
    /// Whether who asks holds the break-glass role.
    pub break_glass: bool,
}

/// Which facts a request needs, so that nothing is asked for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// What is around a new pod.
    Surroundings,
    /// Whether who asks holds the break-glass role.
    BreakGlass,
    /// None.
    Nothing,
}

/// What [`validate`] needs to know.
pub fn needed(request: &Request) -> Needed {
    match (request.operation, request.sub_resource.as_str()) {
        (Operation::Create, "") => Needed::Surroundings,
        (Operation::Update, "ephemeralcontainers") | (Operation::Connect, "portforward") => {
            Needed::BreakGlass
        }
        _ => Needed::Nothing,
    }
}

/// Puts ActPass into a new pod. What would refuse it then is told already: another webhook may still mend it.
pub fn mutate(request: &Request, context: &Context<'_>) -> Answer {
    if !is_pods(request)
        || (request.operation, request.sub_resource.as_str()) != (Operation::Create, "")
    {
        return Answer::unexpected(request);
    }
    match inject(&request.object, context) {
        Err(findings) => Answer::found(findings, Answer::allowed()),
        Ok(injection) => {
            let mut answer = Answer::patched(injection.patch.to_json());
            let mut told = injection.warned;
            // A ValidatingAdmissionPolicy may refuse the pod before we are asked again, and says one reason at a time.
            told.extend(checks::create(&injection.pod, context, &Surroundings::default()).refused);
            answer.warnings = told.iter().map(ToString::to_string).collect();
            answer
        }
    }
}

/// Checks a new pod after every mutation, and what is done to one that runs. The latter mostly needs no settings, so that
/// what runs goes on while nothing new can.
pub fn validate(request: &Request, context: Option<&Context<'_>>, facts: &Facts) -> Answer {
    if !is_pods(request) {
        return Answer::unexpected(request);
    }
    let (old, new) = (&request.old_object, &request.object);
    let operation = (request.operation, request.sub_resource.as_str());
    let findings = match (operation, context) {
        ((Operation::Create, "") | (Operation::Update, "ephemeralcontainers"), None) => {
            return not_ready();
        }
        ((Operation::Create, ""), Some(context)) => return create(new, context, facts),
        ((Operation::Update, "ephemeralcontainers"), Some(context)) => {
            checks::ephemeral_containers(old, new, context, facts.break_glass)
        }
        ((Operation::Update, "" | "resize"), _) => checks::update(old, new),
        ((Operation::Connect, "exec"), _) => checks::connect(Connect::Exec, new, facts.break_glass),
        ((Operation::Connect, "attach"), _) => {
            checks::connect(Connect::Attach, new, facts.break_glass)
        }
        ((Operation::Connect, "portforward"), _) => {
            checks::connect(Connect::PortForward, new, facts.break_glass)
        }
        _ => return Answer::unexpected(request),
    };
    Answer::found(findings, Answer::allowed())
}

/// The answer while it is not known what sidecars may trust.
pub fn not_ready() -> Answer {
    let said = "the controller has not said yet what sidecars may trust; try again, and see `kubectl get pods` of the \
                installation where it stays so";
    Answer::refused(Status::Unavailable, "not_ready", "", said)
}

/// What is wrong with the pod comes first: waiting would not mend it.
fn create(pod: &Value, context: &Context<'_>, facts: &Facts) -> Answer {
    let findings = checks::create(pod, context, &facts.surroundings);
    let passing = match facts.lacking.as_slice() {
        [] => Answer::allowed(),
        lacking => {
            let message = format!(
                "namespace `{}` has no {} yet; the controller makes it within seconds, then the pod is taken; \
                 see its logs where it does not",
                context.namespace,
                lacking.join(" and no ")
            );
            Answer::refused(Status::Unavailable, "namespace_not_ready", "", message)
        }
    };
    Answer::found(findings, passing)
}

fn is_pods(request: &Request) -> bool {
    let resource = &request.resource;
    (
        resource.group.as_str(),
        resource.version.as_str(),
        resource.resource.as_str(),
    ) == ("", "v1", "pods")
}

/// Claims that a pod writes to: whether a pod without ActPass uses one has to be looked up.
pub fn written_claims(pod: &Value) -> Vec<&str> {
    let written = claims(pod).filter(|claim| claim.get("readOnly") != Some(&Value::Bool(true)));
    written.filter_map(claim_name).collect()
}

/// All claims that a pod uses.
pub fn used_claims(pod: &Value) -> Vec<&str> {
    claims(pod).filter_map(claim_name).collect()
}

fn claims(pod: &Value) -> impl Iterator<Item = &Value> {
    let volumes = list(pod, &["spec", "volumes"]).iter();
    volumes.filter_map(|volume| volume.get("persistentVolumeClaim"))
}

fn claim_name(claim: &Value) -> Option<&str> {
    text(claim, &["claimName"])
}
