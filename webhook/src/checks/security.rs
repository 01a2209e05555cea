//! V2 to V4: privileges, uids and confinement.

use actpass_core::canonical::excerpt;
use serde_json::Value;

use super::{is_reserved, listed};
use crate::path::Path;
use crate::problem::{Findings, Reason};
use crate::read::{Container, at, flag, integer, list, members, some_text, text};
use crate::settings::Settings;

/// What the pod says for all of its containers.
pub(super) fn pod(pod: &Value, settings: &Settings, findings: &mut Findings) {
    let place = Path::of(["spec", "securityContext"]);
    let keys = ["spec", "securityContext"];
    let groups = list(pod, &["spec", "securityContext", "supplementalGroups"]);
    for (index, group) in groups.iter().enumerate() {
        if is_reserved(settings, group.as_i64()) {
            let field = place.key("supplementalGroups").index(index);
            reserved(&field, settings, findings);
        }
    }
    if is_reserved(
        settings,
        integer(pod, &["spec", "securityContext", "fsGroup"]),
    ) {
        reserved(&place.key("fsGroup"), settings, findings);
    }
    if let Some(context) = at(pod, &keys) {
        confinement(context, &place, settings, findings);
    }
    for (key, value) in members(pod, &["metadata", "annotations"]) {
        let app_armor = key.starts_with("container.apparmor.security.beta.kubernetes.io/");
        if app_armor && value.as_str() == Some("unconfined") {
            unconfined(
                &Path::of(["metadata", "annotations", key]),
                "AppArmor",
                findings,
            );
        }
    }
}

/// One container of the user.
pub(super) fn container(
    pod: &Value,
    container: &Container<'_>,
    settings: &Settings,
    findings: &mut Findings,
) {
    let place = container.at.key("securityContext");
    let value = container.value;
    privileges(value, &place, findings);
    uids(pod, value, &place, settings, findings);
    if let Some(context) = at(value, &["securityContext"]) {
        confinement(context, &place, settings, findings);
    }
    let keys = ["securityContext", "seccompProfile", "type"];
    let pods = ["spec", "securityContext", "seccompProfile", "type"];
    if some_text(value, &keys)
        .or_else(|| some_text(pod, &pods))
        .is_none()
    {
        findings.refuse(
            Reason::Confinement,
            &place.key("seccompProfile"),
            "no seccomp profile",
            "write `type: RuntimeDefault`",
        );
    }
}

/// V2. Each of these has walked out of the fence when it was tried.
fn privileges(container: &Value, place: &Path, findings: &mut Findings) {
    if flag(container, &["securityContext", "privileged"]) == Some(true) {
        let help = "remove it";
        findings.refuse(
            Reason::Privilege,
            &place.key("privileged"),
            "has every capability",
            help,
        );
    }
    let key = "allowPrivilegeEscalation";
    if flag(container, &["securityContext", key]) != Some(false) {
        findings.refuse(
            Reason::Privilege,
            &place.key(key),
            "a setuid program could become the sidecar",
            "write `false`",
        );
    }
    let capabilities = place.key("capabilities");
    let added = list(container, &["securityContext", "capabilities", "add"]);
    if !added.is_empty() {
        let names: Vec<String> = added
            .iter()
            .take(8)
            .filter_map(Value::as_str)
            .map(excerpt)
            .collect();
        findings.refuse(
            Reason::Privilege,
            &capabilities.key("add"),
            format!("adds `{}`", names.join(", ")),
            "remove it; to listen below port 1024 needs no capability in a pod",
        );
    }
    let dropped = list(container, &["securityContext", "capabilities", "drop"]);
    if !dropped.iter().any(|name| name == "ALL") {
        findings.refuse(
            Reason::Privilege,
            &capabilities.key("drop"),
            "keeps capabilities of the runtime",
            "write `drop: [\"ALL\"]`",
        );
    }
}

/// V3. What an image says of its user, no admission can see.
fn uids(
    pod: &Value,
    container: &Value,
    place: &Path,
    settings: &Settings,
    findings: &mut Findings,
) {
    let effective = |key: &str| {
        integer(container, &["securityContext", key])
            .or_else(|| integer(pod, &["spec", "securityContext", key]))
    };
    let field = place.key("runAsUser");
    match effective("runAsUser") {
        None => findings.refuse(
            Reason::Uid,
            &field,
            "missing, and the image's own user is not seen here",
            "write the uid that the image runs as, such as 1000",
        ),
        Some(0) => findings.refuse(
            Reason::Uid,
            &field,
            "agents do not run as root",
            "write another uid, such as 1000, and give it the files it needs",
        ),
        uid if is_reserved(settings, uid) => reserved(&field, settings, findings),
        Some(_) => {}
    }
    if is_reserved(settings, effective("runAsGroup")) {
        reserved(&place.key("runAsGroup"), settings, findings);
    }
}

fn reserved(field: &Path, settings: &Settings, findings: &mut Findings) {
    findings.refuse(
        Reason::Uid,
        field,
        "one of the ids that only sidecars have",
        format!("write one outside of {}", settings.sidecar_uids),
    );
}

/// V4, of a pod's or a container's security context.
fn confinement(context: &Value, place: &Path, settings: &Settings, findings: &mut Findings) {
    let field = place.keys(["seccompProfile", "type"]);
    match some_text(context, &["seccompProfile", "type"]) {
        None | Some("RuntimeDefault") => {}
        Some("Localhost") => {
            let profile =
                text(context, &["seccompProfile", "localhostProfile"]).unwrap_or_default();
            if !settings.seccomp_profiles.contains(profile) {
                findings.refuse(
                    Reason::Confinement,
                    &place.keys(["seccompProfile", "localhostProfile"]),
                    format!(
                        "`{}` is not known to refuse what must be refused",
                        excerpt(profile)
                    ),
                    format!(
                        "write `type: RuntimeDefault`; {}",
                        listed(&settings.seccomp_profiles)
                    ),
                );
            }
        }
        Some(_) => unconfined(&field, "seccomp", findings),
    }
    if text(context, &["appArmorProfile", "type"]) == Some("Unconfined") {
        unconfined(
            &place.keys(["appArmorProfile", "type"]),
            "AppArmor",
            findings,
        );
    }
    if some_text(context, &["procMount"]).is_some_and(|mount| mount != "Default") {
        findings.refuse(
            Reason::Confinement,
            &place.key("procMount"),
            "shows the kernel's settings",
            "remove it",
        );
    }
    for (key, value) in members(context, &["seLinuxOptions"]) {
        let plain = key == "level"
            || key == "type"
                && value
                    .as_str()
                    .is_some_and(|kind| SE_LINUX_TYPES.contains(&kind))
            || value.as_str() == Some("");
        if !plain {
            findings.refuse(
                Reason::Confinement,
                &place.keys(["seLinuxOptions", key]),
                "another SELinux context than a container's",
                "remove it",
            );
        }
    }
    if at(context, &["windowsOptions"]).is_some() {
        let help = "remove it";
        findings.refuse(
            Reason::Confinement,
            &place.key("windowsOptions"),
            "is for Windows",
            help,
        );
    }
}

fn unconfined(field: &Path, what: &str, findings: &mut Findings) {
    findings.refuse(
        Reason::Confinement,
        field,
        format!("{what} refuses nothing, also not sockets that no packet filter sees"),
        "write `RuntimeDefault`",
    );
}

/// What the restricted Pod Security Standard allows.
const SE_LINUX_TYPES: [&str; 4] = [
    "container_t",
    "container_init_t",
    "container_kvm_t",
    "container_engine_t",
];
