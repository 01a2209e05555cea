//! What may be done to a pod that runs.

use actpass_core::canonical::excerpt;
use serde_json::Value;

use super::{container, network, security, volumes};
use crate::contract::{KEY_PREFIX, NAME_PREFIX};
use crate::inject::Context;
use crate::path::Path;
use crate::problem::{Findings, Reason};
use crate::read::{Container, is_ours, list, members, name, text};
use crate::shape;

/// A request that connects to a running pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// `pods/exec`.
    Exec,
    /// `pods/attach`.
    Attach,
    /// `pods/portforward`.
    PortForward,
}

/// Checks an update of `pods` or `pods/resize`. Kubernetes lets images, labels, annotations and resources change: with
/// another image in its place, the sidecar would let everything pass.
pub fn update(old: &Value, new: &Value) -> Findings {
    let mut findings = Findings::default();
    shape::pod(old, &mut findings);
    shape::pod(new, &mut findings);
    if !findings.passes() {
        return findings;
    }
    for key in ["initContainers", "containers", "volumes"] {
        let at = Path::of(["spec", key]);
        let (was, is) = (ours(old, key), ours(new, key));
        for ((index, is), (_, was)) in is.iter().zip(&was) {
            for field in changed_members(was, is) {
                changed(&at.index(*index).key(&field), &mut findings);
            }
        }
        if was.len() != is.len() || was.iter().zip(&is).any(|(was, is)| was.0 != is.0) {
            changed(&at, &mut findings);
        }
    }
    for key in ["labels", "annotations"] {
        let [was, is] = [old, new].map(|pod| pod.get("metadata").and_then(|data| data.get(key)));
        for field in changed_members(was.unwrap_or(&Value::Null), is.unwrap_or(&Value::Null)) {
            let at = Path::of(["metadata", key, &field]);
            if field.starts_with(KEY_PREFIX) {
                changed(&at, &mut findings);
            }
            // A mesh may take in a pod that runs already, and Multus add an interface to it.
            if let Some(value) = is.and_then(|is| is.get(&field)) {
                network::mesh_key(&at, &field, value, &mut findings);
            }
        }
    }
    findings
}

fn ours<'a>(pod: &'a Value, key: &str) -> Vec<(usize, &'a Value)> {
    let items = list(pod, &["spec", key]).iter().enumerate();
    items.filter(|(_, item)| is_ours(item)).collect()
}

/// The members that one of the two does not have, or has otherwise.
fn changed_members(was: &Value, is: &Value) -> Vec<String> {
    let mut fields: Vec<String> = members(was, &[])
        .filter(|(key, value)| is.get(key.as_str()) != Some(value))
        .map(|(key, _)| key.clone())
        .collect();
    let new = members(is, &[]).filter(|(key, _)| was.get(key.as_str()).is_none_or(Value::is_null));
    fields.extend(new.map(|(key, _)| key.clone()));
    fields
}

fn changed(field: &Path, findings: &mut Findings) {
    findings.refuse(
        Reason::InjectionChanged,
        field,
        "belongs to ActPass and does not change while the pod runs",
        "leave it; a new pod gets what is current",
    );
}

/// Checks new ephemeral containers: refused, or with `break_glass` held to what holds for agents (V2 to V5, V8).
pub fn ephemeral_containers(
    old: &Value,
    new: &Value,
    context: &Context<'_>,
    break_glass: bool,
) -> Findings {
    let mut findings = Findings::default();
    shape::pod(old, &mut findings);
    shape::pod(new, &mut findings);
    if !findings.passes() {
        return findings;
    }
    let keys = ["spec", "ephemeralContainers"];
    let known = list(old, &keys);
    for (index, value) in list(new, &keys).iter().enumerate() {
        // Kubernetes only adds at the end.
        if known.get(index) == Some(value) {
            continue;
        }
        let added = Container {
            at: Path::of(keys).index(index),
            value,
        };
        if !break_glass {
            findings.refuse(
                Reason::EphemeralContainer,
                &added.at,
                "a debug container could be given the sidecar's uid or NET_ADMIN",
                "debug a copy (`kubectl debug --copy-to`), or ask whoever holds the break-glass role",
            );
            continue;
        }
        let target = text(value, &["targetContainerName"]).unwrap_or_default();
        for (key, text) in [("name", name(value)), ("targetContainerName", target)] {
            if text.starts_with(NAME_PREFIX) {
                findings.refuse(
                    Reason::EphemeralContainer,
                    &added.at.key(key),
                    format!("`{}` belongs to ActPass", excerpt(text)),
                    "name another",
                );
            }
        }
        security::container(new, &added, context.settings, &mut findings);
        container::devices(&added, context.settings, &mut findings);
        volumes::mounts(&added, &mut findings);
    }
    findings
}

/// Checks exec, attach and port-forward by the options of the request.
pub fn connect(kind: Connect, options: &Value, break_glass: bool) -> Findings {
    let mut findings = Findings::default();
    shape::connect_options(options, &mut findings);
    if !findings.passes() {
        return findings;
    }
    let container = text(options, &["container"]).unwrap_or_default();
    match kind {
        Connect::Exec | Connect::Attach if container.starts_with(NAME_PREFIX) => findings.refuse(
            Reason::Connect,
            &Path::of(["container"]),
            format!(
                "`{}` has a way out that agents do not have",
                excerpt(container)
            ),
            "name a container of the agent; `kubectl actpass explain` says what the sidecar does",
        ),
        Connect::PortForward if !break_glass => findings.refuse(
            Reason::PortForward,
            &Path::of(["ports"]),
            "a tunnel through the kubelet passes every fence",
            "reach the agent by a Service, or ask whoever holds the break-glass role",
        ),
        Connect::Exec | Connect::Attach | Connect::PortForward => {}
    }
    findings
}
