//! Everything about a pod, or about a request on one, that would let an agent past ActPass.
//!
//! All of it together, so that nobody mends one field per try. *Guarantees*: total for any JSON, with work bounded by its
//! size and answers by [`PROBLEMS_MAX`](crate::problem::PROBLEMS_MAX); what cannot be read is refused.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::inject::{Context, Injection, inject, refuse_windows};
use crate::path::{Path, Step};
use crate::problem::{Findings, Reason};
use crate::read::agents;
use crate::settings::Settings;
use crate::shape;

mod container;
mod later;
mod names;
mod network;
mod pod;
mod running;
mod security;
mod volumes;

pub use later::{Connect, connect, ephemeral_containers, update};
pub use running::running;

/// What only a reader of the cluster knows of a pod. Default: nothing to say against it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Persistent volume claims that a pod without ActPass uses: what an agent writes there leaves with that pod.
    pub claims_elsewhere: BTreeSet<String>,
    /// What the pod's ServiceAccount may do that reaches around a fence, as `create pods/exec`.
    pub account_rights: Vec<String>,
}

/// Checks a pod at its creation, after every mutation (V1 to V19).
pub fn create(pod: &Value, context: &Context<'_>, surroundings: &Surroundings) -> Findings {
    every(pod, context.settings, surroundings, || inject(pod, context))
}

/// Every check; `injected` injects the pod once more.
fn every(
    pod: &Value,
    settings: &Settings,
    surroundings: &Surroundings,
    injected: impl FnOnce() -> Result<Injection, Findings>,
) -> Findings {
    let mut findings = Findings::default();
    shape::pod(pod, &mut findings);
    if !findings.passes() {
        return findings;
    }
    pod::host_namespaces(pod, &mut findings);
    pod::placement(pod, settings, &mut findings);
    pod::account(surroundings, &mut findings);
    network::resolver(pod, &mut findings);
    network::sysctls(pod, &mut findings);
    network::other_meshes(pod, &mut findings);
    names::reserved(pod, &mut findings);
    security::pod(pod, settings, &mut findings);
    volumes::sources(pod, settings, surroundings, &mut findings);
    refuse_windows(pod, &mut findings);
    for agent in agents(pod) {
        security::container(pod, &agent, settings, &mut findings);
        container::handlers_stay(&agent, &mut findings);
        container::ports(&agent, &mut findings);
        container::devices(&agent, settings, &mut findings);
        volumes::mounts(&agent, &mut findings);
    }
    container::inbound_ports(pod, &mut findings);
    unchanged(injected(), &mut findings);
    findings
}

/// V7: injecting the pod once more would change nothing that the fence rests on.
fn unchanged(injected: Result<Injection, Findings>, findings: &mut Findings) {
    // What is refused there is refused here already.
    let Ok(injection) = injected else {
        return;
    };
    let at: BTreeSet<Path> = injection.patch.fence().filter_map(field).collect();
    for at in at {
        findings.refuse(
            Reason::Injection,
            &at,
            "is not what ActPass puts here",
            "leave it to ActPass; another webhook may have changed it afterwards",
        );
    }
}

/// The field to name for an operation: no end of a list, and nothing that the checks of security contexts name better.
fn field(path: &Path) -> Option<Path> {
    let security = Step::Key("securityContext".to_owned());
    if path
        .steps()
        .iter()
        .any(|step| matches!(step, Step::Index(_)))
        && path.steps().contains(&security)
    {
        return None;
    }
    match path.split() {
        Some((parent, Step::End)) => Some(parent),
        _ => Some(path.clone()),
    }
}

/// What is on a list of the settings, for people.
fn listed(list: &BTreeSet<String>) -> String {
    match list.is_empty() {
        true => "none is allowed here".to_owned(),
        false => {
            let names: Vec<String> = list.iter().map(|name| format!("`{name}`")).collect();
            format!("allowed here: {}", names.join(", "))
        }
    }
}

/// Whether a uid or gid is one that only sidecars have.
fn is_reserved(settings: &Settings, id: Option<i64>) -> bool {
    id.is_some_and(|id| settings.sidecar_uids.contains(id))
}
