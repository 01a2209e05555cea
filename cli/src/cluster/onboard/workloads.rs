//! What runs pods in a namespace, and the pod that each would make.

use serde_json::{Value, json};

/// All kinds, for one question to the API server.
pub(super) const KINDS: &str = "deployments.apps,statefulsets.apps,daemonsets.apps,replicasets.apps,jobs.batch,cronjobs.batch,pods";

/// Something that runs pods.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Workload {
    kind: String,
    name: String,
    /// Where its pod's fields stand in it, as `spec.template.`; empty: it is a pod itself.
    at: &'static str,
    /// The pod that it makes.
    pub(super) pod: Value,
    /// Under which ServiceAccount.
    pub(super) account: String,
}

impl Workload {
    /// `deployment/refund-agent`.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.kind.to_ascii_lowercase(), self.name)
    }

    /// A sentence about a field of the pod, as one about a field of the workload.
    pub(super) fn placed(&self, sentence: &str) -> String {
        let of_pod = ["spec", "metadata"]
            .iter()
            .any(|it| sentence.starts_with(it));
        match of_pod {
            true => format!("{}{sentence}", self.at),
            false => sentence.to_owned(),
        }
    }
}

/// Whether an object is a pod.
pub(super) fn is_pod(object: &Value) -> bool {
    text(object, "/kind") == "Pod"
}

/// Whether a pod has our sidecar, by its name: what the webhook of a labelled namespace has just put in.
pub(in crate::cluster) fn is_injected(pod: &Value) -> bool {
    let containers = pod
        .pointer("/spec/initContainers")
        .and_then(Value::as_array);
    let mut containers = containers.into_iter().flatten();
    containers.any(|it| text(it, "/name") == actpass_core::pod::contract::PROXY)
}

/// The name of an object.
pub(super) fn name(object: &Value) -> String {
    text(object, "/metadata/name").to_owned()
}

/// The workloads among objects. What another one owns is that one's; pods that are over start no more.
pub(super) fn of(objects: &[Value]) -> Vec<Workload> {
    objects.iter().filter_map(workload).collect()
}

fn workload(object: &Value) -> Option<Workload> {
    let owned = object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let owned = owned.into_iter().flatten();
    let owned = owned
        .filter(|owner| owner.get("controller") == Some(&Value::Bool(true)))
        .count();
    let over = matches!(text(object, "/status/phase"), "Succeeded" | "Failed");
    if owned > 0 || over {
        return None;
    }
    let kind = text(object, "/kind").to_owned();
    let (at, pointer) = match kind.as_str() {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
            ("spec.template.", "/spec/template")
        }
        "CronJob" => (
            "spec.jobTemplate.spec.template.",
            "/spec/jobTemplate/spec/template",
        ),
        "Pod" => ("", ""),
        _ => return None,
    };
    let template = object.pointer(pointer)?;
    let name = name(object);
    let mut metadata = json!({"generateName": format!("{name}-")});
    for key in ["labels", "annotations"] {
        let path = format!("/metadata/{key}");
        if let (Some(value), Some(metadata)) = (template.pointer(&path), metadata.as_object_mut()) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    // What a Job's own controller puts on each of its pods stands in its template too, for itself alone.
    let mut spec = template.get("spec")?.clone();
    if kind == "Pod"
        && let Some(spec) = spec.as_object_mut()
    {
        // The scheduler's word, not the user's.
        spec.remove("nodeName");
    }
    let account = text(&spec, "/serviceAccountName");
    let account = if account.is_empty() {
        "default"
    } else {
        account
    }
    .to_owned();
    Some(Workload {
        kind,
        name,
        at,
        pod: json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}),
        account,
    })
}

pub(in crate::cluster) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
