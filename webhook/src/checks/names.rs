//! V6: names that are ours. What came in under such a name is never merged with what we put there.

use actpass_core::canonical::excerpt;
use serde_json::Value;

use crate::contract::{
    AUTHORITIES_VOLUME, ENFORCED_LABEL, GRACE_ANNOTATION, INIT, KEY_PREFIX, NAME_PREFIX, POD_LABEL,
    PROXY, SIDECAR_UID_ANNOTATION, STATE_VOLUME, TOKEN_VOLUME, TRUST_VOLUME, VERIFY, VERIFY_VOLUME,
};
use crate::path::Path;
use crate::problem::{Findings, Reason};
use crate::read::{is_ours, list, members, name};

/// Containers, volumes, labels and annotations named as ours that are not.
pub(super) fn reserved(pod: &Value, findings: &mut Findings) {
    let volumes = [
        TRUST_VOLUME,
        STATE_VOLUME,
        TOKEN_VOLUME,
        AUTHORITIES_VOLUME,
        VERIFY_VOLUME,
    ];
    for (key, ours) in [
        ("initContainers", &[INIT, PROXY, VERIFY][..]),
        ("containers", &[]),
        ("volumes", &volumes),
    ] {
        for (index, item) in list(pod, &["spec", key]).iter().enumerate() {
            if is_ours(item) && !ours.contains(&name(item)) {
                findings.refuse(
                    Reason::ReservedName,
                    &Path::of(["spec", key]).index(index).key("name"),
                    format!("`{}` is a name of ActPass", excerpt(name(item))),
                    format!("choose one that does not start with `{NAME_PREFIX}`"),
                );
            }
        }
    }
    for (key, ours) in [
        ("labels", &[ENFORCED_LABEL, POD_LABEL][..]),
        ("annotations", &[SIDECAR_UID_ANNOTATION, GRACE_ANNOTATION]),
    ] {
        for (name, _) in members(pod, &["metadata", key]) {
            if name.starts_with(KEY_PREFIX) && !ours.contains(&name.as_str()) {
                findings.refuse(
                    Reason::ReservedName,
                    &Path::of(["metadata", key, name]),
                    "a key of ActPass that ActPass did not write",
                    "remove it",
                );
            }
        }
    }
}
