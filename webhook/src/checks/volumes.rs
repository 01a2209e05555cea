//! V5, V8 and V19: what is mounted, and where it comes from.

use actpass_core::canonical::excerpt;
use serde_json::Value;

use super::{Surroundings, listed};
use crate::contract::{MOUNT_ROOT, NAME_PREFIX, TOKEN_AUDIENCE};
use crate::ours;
use crate::path::Path;
use crate::problem::{Findings, Reason};
use crate::read::{Container, is_ours, list, members, name, some_text, text};
use crate::settings::Settings;

/// Kinds of volumes that stay in the pod or are the cluster's to give. What an agent writes to its own claim stays there.
const KINDS: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// V5 and V19, of the user's volumes.
pub(super) fn sources(
    pod: &Value,
    settings: &Settings,
    surroundings: &Surroundings,
    findings: &mut Findings,
) {
    if !list(pod, &["spec", "resourceClaims"]).is_empty() {
        let field = Path::of(["spec", "resourceClaims"]);
        findings.refuse(
            Reason::Device,
            &field,
            "a claimed device may be a network",
            "remove it",
        );
    }
    for (index, volume) in list(pod, &["spec", "volumes"]).iter().enumerate() {
        if is_ours(volume) {
            continue;
        }
        let at = Path::of(["spec", "volumes"]).index(index);
        for (kind, _) in members(volume, &[]).filter(|(key, _)| *key != "name") {
            if !KINDS.contains(&kind.as_str()) {
                findings.refuse(
                    Reason::Volume,
                    &at.key(kind),
                    "reaches past the pod",
                    "use a persistentVolumeClaim or an emptyDir",
                );
            }
        }
        if let Some(driver) = text(volume, &["csi", "driver"])
            && !settings.csi_drivers.contains(driver)
        {
            findings.refuse(
                Reason::Volume,
                &at.keys(["csi", "driver"]),
                format!("driver `{}` may open a way out", excerpt(driver)),
                format!(
                    "use a persistentVolumeClaim; {}",
                    listed(&settings.csi_drivers)
                ),
            );
        }
        claims(volume, &at, surroundings, findings);
        audiences(volume, &at, findings);
    }
}

fn claims(volume: &Value, at: &Path, surroundings: &Surroundings, findings: &mut Findings) {
    let mode = ["ephemeral", "volumeClaimTemplate", "spec", "volumeMode"];
    if text(volume, &mode) == Some("Block") {
        findings.refuse(
            Reason::Volume,
            &at.keys(mode),
            "a raw device",
            "write `Filesystem`",
        );
    }
    let claim = text(volume, &["persistentVolumeClaim", "claimName"]).unwrap_or_default();
    let read_only = volume
        .get("persistentVolumeClaim")
        .and_then(|claim| claim.get("readOnly"));
    if surroundings.claims_elsewhere.contains(claim) && read_only != Some(&Value::Bool(true)) {
        findings.refuse(
            Reason::Volume,
            &at.keys(["persistentVolumeClaim", "claimName"]),
            format!(
                "a pod without ActPass reads what is written to `{}`",
                excerpt(claim)
            ),
            "write `readOnly: true`, or use a claim of its own",
        );
    }
}

/// V19: a token with our audience opens a session.
fn audiences(volume: &Value, at: &Path, findings: &mut Findings) {
    for (index, source) in list(volume, &["projected", "sources"]).iter().enumerate() {
        if text(source, &["serviceAccountToken", "audience"]) == Some(TOKEN_AUDIENCE) {
            findings.refuse(
                Reason::TokenAudience,
                &at.keys(["projected", "sources"])
                    .index(index)
                    .keys(["serviceAccountToken", "audience"]),
                format!("`{TOKEN_AUDIENCE}` is the audience of sidecars"),
                "ask for another audience",
            );
        }
    }
}

/// V5 and V8, of one container.
pub(super) fn mounts(container: &Container<'_>, findings: &mut Findings) {
    let devices = list(container.value, &["volumeDevices"]);
    if !devices.is_empty() {
        findings.refuse(
            Reason::Volume,
            &container.at.key("volumeDevices"),
            "a raw device",
            "use a volume with a file system",
        );
    }
    for (index, variable) in list(container.value, &["env"]).iter().enumerate() {
        // Reads a file of a volume that is not mounted.
        let keys = ["valueFrom", "fileKeyRef", "volumeName"];
        let volume = some_text(variable, &keys).unwrap_or_default();
        if volume.starts_with(NAME_PREFIX) {
            findings.refuse(
                Reason::Mount,
                &container.at.key("env").index(index).keys(keys),
                format!("`{}` is the sidecar's", excerpt(volume)),
                "remove it",
            );
        }
    }
    let ours = ours::agent_mount();
    for (index, mount) in list(container.value, &["volumeMounts"]).iter().enumerate() {
        let at = container.at.key("volumeMounts").index(index);
        if *mount == ours {
            continue;
        }
        if is_ours(mount) {
            findings.refuse(
                Reason::Mount,
                &at,
                format!("`{}` is the sidecar's", excerpt(name(mount))),
                "remove it; agents get the trust files read-only by themselves",
            );
        } else if some_text(mount, &["mountPath"]).is_some_and(is_under_root) {
            findings.refuse(
                Reason::Mount,
                &at.key("mountPath"),
                format!("would cover {MOUNT_ROOT}"),
                "mount it elsewhere",
            );
        }
    }
}

/// Whether it is [`MOUNT_ROOT`] or in it.
fn is_under_root(path: &str) -> bool {
    path.strip_prefix(MOUNT_ROOT)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
