//! V1, V15 to V18: where and as whom the pod runs.

use serde_json::Value;

use actpass_core::canonical::excerpt;

use super::{Surroundings, listed};
use crate::path::Path;
use crate::problem::{Findings, Reason};
use crate::read::{flag, list, some_text, text};
use crate::settings::Settings;

/// V1: namespaces of the node's, and one for the processes of all containers, in which an agent could reach into the
/// sidecar.
pub(super) fn host_namespaces(pod: &Value, findings: &mut Findings) {
    for key in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        if flag(pod, &["spec", key]) == Some(true) {
            findings.refuse(
                Reason::HostNamespace,
                &Path::of(["spec", key]),
                "an agent there is outside of its fence",
                "remove it",
            );
        }
    }
}

/// V15 to V17.
pub(super) fn placement(pod: &Value, settings: &Settings, findings: &mut Findings) {
    if let Some(class) = some_text(pod, &["spec", "runtimeClassName"])
        && !settings.runtime_classes.contains(class)
    {
        findings.refuse(
            Reason::RuntimeClass,
            &Path::of(["spec", "runtimeClassName"]),
            format!(
                "the fence was not tried under runtime class `{}`",
                excerpt(class)
            ),
            format!("leave it out; {}", listed(&settings.runtime_classes)),
        );
    }
    let annotations = Path::of(["metadata", "annotations"]);
    for key in ["kubernetes.io/config.mirror", "kubernetes.io/config.source"] {
        if text(pod, &["metadata", "annotations", key]).is_some() {
            findings.refuse(
                Reason::StaticPod,
                &annotations.key(key),
                "no admission sees the static pod behind this one",
                "make it a Deployment; keep static pods off nodes with agents",
            );
        }
    }
    if some_text(pod, &["spec", "nodeName"]).is_some() {
        findings.refuse(
            Reason::NodeName,
            &Path::of(["spec", "nodeName"]),
            "placed past the scheduler",
            "remove it; use nodeSelector or nodeAffinity",
        );
    }
    if !list(pod, &["spec", "ephemeralContainers"]).is_empty() {
        findings.refuse(
            Reason::EphemeralContainer,
            &Path::of(["spec", "ephemeralContainers"]),
            "a new pod has none",
            "remove them",
        );
    }
}

/// V18: told and not refused, since the fence lets no request to the API server pass that is not declared.
pub(super) fn account(surroundings: &Surroundings, findings: &mut Findings) {
    for right in &surroundings.account_rights {
        findings.warn(
            Reason::AccountRights,
            &Path::of(["spec", "serviceAccountName"]),
            format!("the account may `{}`", excerpt(right)),
            "give the agent an account without rights over pods",
        );
    }
}
