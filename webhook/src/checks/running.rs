//! Whether a pod that runs is one that ActPass injected, for who holds no secret of the webhook's.

use serde_json::Value;

use super::{Surroundings, every};
use crate::contract::*;
use crate::identity::Identity;
use crate::inject::inject_as;
use crate::ours;
use crate::path::Path;
use crate::problem::{Findings, Reason};
use crate::read::{list, name, text};
use crate::ruleset::Marks;
use crate::settings::{Images, Settings};

/// Checks a pod that was admitted, as [`super::create`] does. Its sidecar's uid and marks are taken as the pod has them, and so
/// is what another release or a rotation would have set otherwise: our containers' resources, pins, addresses and time to
/// drain. `settings` name the images it must have: those of one release, this or an earlier one.
pub fn running(pod: &Value, settings: &Settings) -> Findings {
    let found = of_release(pod, settings);
    let earlier = |images: &Images| {
        let settings = Settings {
            images: images.clone(),
            ..settings.clone()
        };
        of_release(pod, &settings).passes()
    };
    match !found.passes() && settings.earlier_images.iter().any(earlier) {
        true => Findings::default(),
        false => found,
    }
}

fn of_release(pod: &Value, settings: &Settings) -> Findings {
    let Some(identity) = identity(pod).filter(|it| settings.sidecar_uids.contains(it.uid.into()))
    else {
        let mut findings = Findings::default();
        let at = Path::of(["metadata", "annotations", SIDECAR_UID_ANNOTATION]);
        let help = "make it anew in a namespace that ActPass governs";
        findings.refuse(
            Reason::Injection,
            &at,
            "the pod has no sidecar of ours",
            help,
        );
        return findings;
    };
    let pod = as_created(pod, settings, identity);
    every(&pod, settings, &Surroundings::default(), || {
        inject_as(&pod, settings, identity, None)
    })
}

/// The uid that the annotation says, and the marks that the first init container loads.
fn identity(pod: &Value) -> Option<Identity> {
    let uid = text(pod, &["metadata", "annotations", SIDECAR_UID_ANNOTATION])?;
    let init = list(pod, &["spec", "initContainers"]).first()?;
    let mark = |flag: &str| {
        let mut args = list(init, &["args"]).iter().filter_map(Value::as_str);
        let digits = args.find_map(|arg| arg.strip_prefix(flag)?.strip_prefix("=0x"))?;
        u32::from_str_radix(digits, 16).ok()
    };
    Some(Identity {
        uid: uid.parse().ok()?,
        marks: Marks {
            packet: mark(FLAG_PACKET_MARK)?,
            connection: mark(FLAG_CONNECTION_MARK)?,
        },
    })
}

/// The pod without what the scheduler set since, and with our values where another release has others.
fn as_created(pod: &Value, settings: &Settings, identity: Identity) -> Value {
    let mut pod = pod.clone();
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else {
        return pod;
    };
    spec.remove("nodeName");
    let found = spec.get_mut("initContainers").and_then(Value::as_array_mut);
    let wanted = ours::containers(settings, identity, &[]);
    for (found, wanted) in found.into_iter().flatten().zip(&wanted) {
        if name(found) != name(wanted) {
            continue;
        }
        if let (Some(found), Some(amounts)) = (found.get_mut("resources"), wanted.get("resources"))
        {
            *found = amounts.clone();
        }
        let variables = found.get_mut("env").and_then(Value::as_array_mut);
        for variable in variables.into_iter().flatten() {
            let ours = list(wanted, &["env"]).iter();
            let ours = ours.filter(|_| CHANGING.contains(&name(variable)));
            let mut ours = ours.filter(|it| name(it) == name(variable));
            // Only another text; where a value is taken from stays to be compared.
            if let Some(value) = ours.next().and_then(|it| it.get("value"))
                && let Some(found @ Value::String(_)) = variable.get_mut("value")
            {
                *found = value.clone();
            }
        }
    }
    pod
}

/// Variables of the sidecar that another release, or a rotation of keys, sets otherwise.
const CHANGING: [&str; 6] = [
    ENV_CONTROLLER,
    ENV_LEDGER,
    ENV_CA_SHA256,
    ENV_ISSUER_KEYS_SHA256,
    ENV_LEDGER_KEYS_SHA256,
    ENV_DRAIN_SECONDS,
];
