//! Namespaces: who may put one under ActPass, take it out, or change what its rules see of it.

use actpass_core::canonical::excerpt;
use actpass_kubernetes::names::MODE_LABEL;
use serde_json::Value;

use crate::checks;
use crate::contract::KEY_PREFIX;
use crate::read::{members, text};
use crate::settings::Settings;

use super::review::{Answer, Operation, Request, Status};

/// Annotation on a namespace: `true` puts it under `enforce` while pods without ActPass run there.
pub const FORCE_ANNOTATION: &str = "actpass.org/force";

/// The virtual resource that whoever changes these labels must be allowed to `update`, in the whole cluster.
pub const MODE_RESOURCE: &str = "namespaces/mode";

/// What only a reader of the cluster knows of a change to a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether who asks may `update` [`MODE_RESOURCE`].
    pub may: bool,
    /// Names of pods that run there without ActPass, some of them.
    pub without: Vec<String>,
    /// How many those are.
    pub without_count: usize,
}

/// The labels under our prefix that a request changes.
pub fn changed(request: &Request) -> Vec<String> {
    let (old, new) = (&request.old_object, &request.object);
    let labels = ["metadata", "labels"];
    let value = |object: &'_ Value, key: &str| {
        text(object, &["metadata", "labels", key]).map(str::to_owned)
    };
    let keys = members(old, &labels)
        .chain(members(new, &labels))
        .map(|(key, _)| key);
    let mut keys: Vec<String> = keys
        .filter(|key| key.starts_with(KEY_PREFIX) && value(old, key) != value(new, key))
        .cloned()
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

/// Whether the namespace comes under `enforce` and nobody forces it: then its pods have to be looked at.
pub fn enforces(request: &Request) -> bool {
    let mode = |object| text(object, &["metadata", "labels", MODE_LABEL]);
    let forced = text(
        &request.object,
        &["metadata", "annotations", FORCE_ANNOTATION],
    ) == Some("true");
    mode(&request.object) == Some("enforce")
        && mode(&request.old_object) != Some("enforce")
        && !forced
}

/// Checks a new namespace, or a change to one.
pub fn validate(request: &Request, facts: &Facts) -> Answer {
    let resource = &request.resource;
    let namespaces = (
        resource.group.as_str(),
        resource.version.as_str(),
        resource.resource.as_str(),
    ) == ("", "v1", "namespaces");
    let written = matches!(request.operation, Operation::Create | Operation::Update);
    // Labels change by each of these.
    let part = matches!(request.sub_resource.as_str(), "" | "status" | "finalize");
    if !namespaces || !written || !part {
        return Answer::unexpected(request);
    }
    let changed = changed(request);
    let Some(first) = changed.first() else {
        return Answer::allowed();
    };
    let field = format!("metadata.labels[{}]", excerpt(first));
    if !facts.may {
        let said = format!(
            "`{}` may not change it; who may `update` `{MODE_RESOURCE}` of group `actpass.org` decides what runs under ActPass",
            excerpt(&request.user_info.username)
        );
        return Answer::refused(Status::Forbidden, "mode_right", &field, said);
    }
    let mode = text(&request.object, &["metadata", "labels", MODE_LABEL]);
    if let Some(other) = mode.filter(|mode| !matches!(*mode, "audit" | "enforce")) {
        let said = format!(
            "`{}` is no mode; write `audit` or `enforce`",
            excerpt(other)
        );
        return Answer::refused(
            Status::Forbidden,
            "mode",
            &format!("metadata.labels[{MODE_LABEL}]"),
            said,
        );
    }
    if enforces(request) && facts.without_count > 0 {
        let named: Vec<String> = facts
            .without
            .iter()
            .map(|pod| format!("`{}`", excerpt(pod)))
            .collect();
        let said = format!(
            "{} of its pods run without ActPass ({}), or not as it injects them now; restart them under `audit` first, or annotate the namespace \
             `{FORCE_ANNOTATION}: \"true\"`",
            facts.without_count,
            named.join(", ")
        );
        return Answer::refused(
            Status::Forbidden,
            "not_injected",
            &format!("metadata.labels[{MODE_LABEL}]"),
            said,
        );
    }
    Answer::allowed()
}

/// Whether a pod runs, or will, without what the webhook injects: by the comparison that sessions are opened on, with the
/// images of this installation, since anybody can name a container as ours are.
pub fn is_without(pod: &Value, settings: &Settings) -> bool {
    let over = matches!(
        text(pod, &["status", "phase"]),
        Some("Succeeded" | "Failed")
    );
    !over && !checks::running(pod, settings).passes()
}
