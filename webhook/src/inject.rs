//! Puts ActPass into a pod.
//!
//! *Flow*: labels and annotations; the three init containers before all others; volumes; then each container of the user
//! is tightened where it says nothing stricter, and told which authorities to trust.
//!
//! *Guarantees*: the patch is minimal, and empty for a pod that is injected. Whatever is named as ours among init
//! containers, volumes and mounts is removed and made anew when it differs. Of the user's nothing is removed or moved but
//! the token of the account, which the API server adds unless told not to. A value that an agent may rest on
//! (`privileged`, `capabilities.add`, `runAsUser`, a seccomp profile) is never changed behind its back: [`crate::checks`]
//! refuses it and says what to write.
//!
//! *Errors*: a pod with fields of wrong types, or for Windows.

use std::collections::BTreeSet;

use actpass_core::hash::{hex, sha256};
use serde_json::{Map, Value, json};

use crate::contract::*;
use crate::identity::{Identity, UidSecret};
use crate::ours;
use crate::patch::{Editor, Patch, Purpose};
use crate::path::Path;
use crate::problem::{Findings, Problem, Reason};
use crate::read::{
    agents, flag, handler_port, handlers, integer, is_ours, list, name, some_text, text,
};
use crate::ruleset::INBOUND_MAX;
use crate::settings::Settings;
use crate::shape;

mod agent;

/// What an injection depends on besides the pod.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The namespace of the request; the pod's own may still be empty.
    pub namespace: &'a str,
    /// What to inject.
    pub settings: &'a Settings,
    /// What uids are made from.
    pub secret: &'a UidSecret,
    /// The uid of the request: what tells a new pod from all others, which may have no name yet.
    pub request: &'a str,
}

/// An injected pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// What leads there.
    pub patch: Patch,
    /// The pod as it then is.
    pub pod: Value,
    /// Uid and marks of its sidecar.
    pub identity: Identity,
    /// What people should know: values of theirs that were tightened, variables that lead elsewhere.
    pub warned: Vec<Problem>,
}

/// Injects ActPass.
pub fn inject(pod: &Value, context: &Context<'_>) -> Result<Injection, Findings> {
    let uids = context.settings.sidecar_uids;
    let identity = Identity::derive(context.secret, context.namespace, pod, uids);
    inject_as(pod, context.settings, identity, Some(context.request))
}

/// As [`inject`], under an identity that is known. Without a `request` the pod is none that is made now, and may be of an earlier
/// release, without a label of its own.
pub(crate) fn inject_as(
    pod: &Value,
    settings: &Settings,
    identity: Identity,
    request: Option<&str>,
) -> Result<Injection, Findings> {
    let mut findings = Findings::default();
    shape::pod(pod, &mut findings);
    refuse_windows(pod, &mut findings);
    if !findings.passes() {
        return Err(findings);
    }
    let mut editor = Editor::new(pod);
    metadata(&mut editor, identity, request);
    init_containers(&mut editor, settings, identity);
    account_token(&mut editor);
    volumes(&mut editor);
    pod_level(&mut editor, settings);
    for at in agents(&editor.pod().clone()).map(|agent| agent.at) {
        agent::inject(&mut editor, &at, settings, &mut findings);
    }
    let (pod, patch) = editor.finish();
    Ok(Injection {
        patch,
        pod,
        identity,
        warned: findings.warned,
    })
}

/// The TCP ports on which agents may be reached: those they declare, and those at which the kubelet asks them.
/// Ours are left out: checks refuse them.
pub(crate) fn inbound(pod: &Value) -> Vec<u16> {
    let mut ports = BTreeSet::new();
    for agent in agents(pod) {
        let declared = list(agent.value, &["ports"]).iter();
        let tcp = declared.filter(|port| some_text(port, &["protocol"]).unwrap_or("TCP") == "TCP");
        ports.extend(tcp.filter_map(|port| integer(port, &["containerPort"])));
        let handlers = handlers(&agent).into_iter();
        ports.extend(handlers.filter_map(|handler| Some(handler_port(agent.value, &handler)?.1)));
    }
    let ports = ports
        .into_iter()
        .filter_map(|port| u16::try_from(port).ok());
    ports
        .filter(|port| *port != 0 && !OWN_PORTS.contains(port))
        .collect()
}

/// A Windows pod has no netfilter, and Kubernetes refuses it the fields that we would set.
pub(crate) fn refuse_windows(pod: &Value, findings: &mut Findings) {
    let places: [&[&str]; 2] = [
        &["spec", "os", "name"],
        &["spec", "nodeSelector", "kubernetes.io/os"],
    ];
    for keys in places {
        if text(pod, keys) == Some("windows") {
            findings.refuse(
                Reason::Confinement,
                &Path::of(keys.iter().copied()),
                "Windows has no packet filter that could hold the agent",
                "run it on Linux, or in a namespace without ActPass",
            );
        }
    }
}

fn metadata(editor: &mut Editor, identity: Identity, request: Option<&str>) {
    let metadata = Path::of(["metadata"]);
    let mut labels = Map::from_iter([(ENFORCED_LABEL.to_owned(), json!(ENFORCED_VALUE))]);
    if let Some(request) = request
        && !is_known(editor.pod())
    {
        labels.insert(POD_LABEL.to_owned(), json!(drawn(request)));
    }
    editor.merge(&metadata.key("labels"), labels, Purpose::Fence);
    let uid = Map::from_iter([(
        SIDECAR_UID_ANNOTATION.to_owned(),
        json!(identity.uid.to_string()),
    )]);
    let annotations = metadata.key("annotations");
    editor.merge(&annotations, uid, Purpose::Fence);
    // Else `kubectl logs` and `exec` would ask which container.
    let first = list(editor.pod(), &["spec", "containers"])
        .first()
        .map(|first| name(first).to_owned());
    let key = "kubectl.kubernetes.io/default-container";
    if let Some(first) = first
        && text(editor.pod(), &["metadata", "annotations", key]).is_none()
    {
        editor.set(&annotations.key(key), json!(first), Purpose::Comfort);
    }
}

/// Whether the pod has a label of its own. A template may bring one: its pods are then told apart by nothing, and what befalls
/// one befalls them all.
fn is_known(pod: &Value) -> bool {
    let value = text(pod, &["metadata", "labels", POD_LABEL]).unwrap_or_default();
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    value.len() == POD_LABEL_DIGITS && value.bytes().all(is_digit)
}

/// What a pod is known by: of a request whose uid the API server has drawn.
fn drawn(request: &str) -> String {
    let digest = sha256(&[b"actpass.pod/1\0", request.as_bytes()]);
    hex(&digest).chars().take(POD_LABEL_DIGITS).collect()
}

/// First of all init containers, so that nothing of the user's ever runs without the fence.
fn init_containers(editor: &mut Editor, settings: &Settings, identity: Identity) {
    // More are refused by the checks, so that the argument stays bounded here.
    let mut inbound = inbound(editor.pod());
    inbound.truncate(INBOUND_MAX);
    let wanted = ours::containers(settings, identity, &inbound);
    let token = wants_account_token(editor.pod());
    if ours::containers_stand(editor.pod(), &wanted, token) {
        return;
    }
    let at = Path::of(["spec", "initContainers"]);
    editor.remove_where(&at, is_ours, Purpose::Fence);
    editor.prepend(&at, wanted, Purpose::Fence);
}

fn volumes(editor: &mut Editor) {
    let wanted = ours::volumes();
    if ours::volumes_stand(editor.pod(), &wanted) {
        return;
    }
    let at = Path::of(["spec", "volumes"]);
    editor.remove_where(&at, is_ours, Purpose::Fence);
    editor.append(&at, wanted, Purpose::Fence);
}

/// Whether the pod says by itself that its agents call the Kubernetes API.
fn wants_account_token(pod: &Value) -> bool {
    flag(pod, &["spec", "automountServiceAccountToken"]) == Some(true)
}

/// An agent holds no token unless its pod asks for one: the token is a credential for an upstream too. When we are asked,
/// the API server has added it already.
fn account_token(editor: &mut Editor) {
    if wants_account_token(editor.pod()) {
        return;
    }
    let spec = Path::of(["spec"]);
    editor.set(
        &spec.key("automountServiceAccountToken"),
        json!(false),
        Purpose::Fence,
    );
    let added = added_account_volumes(editor.pod());
    let names_one = |item: &Value| added.contains(name(item));
    for at in agents(&editor.pod().clone()).map(|agent| agent.at) {
        editor.remove_where(&at.key("volumeMounts"), names_one, Purpose::Fence);
    }
    editor.remove_where(&spec.key("volumes"), names_one, Purpose::Fence);
}

/// The volumes that the API server added for the account's token: named as it names them, and mounted nowhere but where
/// it mounts them.
fn added_account_volumes(pod: &Value) -> BTreeSet<String> {
    let volumes = list(pod, &["spec", "volumes"]).iter();
    let mut added: BTreeSet<String> = volumes
        .filter(|volume| name(volume).starts_with(ours::ACCOUNT_TOKEN_VOLUME))
        .filter(|volume| volume.get("projected").is_some())
        .map(|volume| name(volume).to_owned())
        .collect();
    for agent in agents(pod) {
        for mount in list(agent.value, &["volumeMounts"]) {
            if !ours::is_account_mount(mount) {
                added.remove(name(mount));
            }
        }
    }
    added
}

fn pod_level(editor: &mut Editor, settings: &Settings) {
    let spec = Path::of(["spec"]);
    // Addresses of services in variables: the fence lets none of them through.
    editor.set(
        &spec.key("enableServiceLinks"),
        json!(false),
        Purpose::Comfort,
    );
    if text(
        editor.pod(),
        &["spec", "securityContext", "seccompProfile", "type"],
    )
    .is_none()
    {
        let profile = Map::from_iter([(
            "seccompProfile".to_owned(),
            json!({"type": "RuntimeDefault"}),
        )]);
        editor.merge(&spec.key("securityContext"), profile, Purpose::Fence);
    }
    grace(editor, settings);
}

/// The sidecar ends after the agents, within the same grace period, so it gets time of its own. The annotation keeps what
/// was there before: it is how a second injection knows that it is one.
fn grace(editor: &mut Editor, settings: &Settings) {
    const DEFAULT_SECONDS: i64 = 30;
    let drain = i64::from(settings.drain_seconds);
    let at = Path::of(["spec", "terminationGracePeriodSeconds"]);
    let found = integer(editor.pod(), &["spec", "terminationGracePeriodSeconds"]);
    let before = text(editor.pod(), &["metadata", "annotations", GRACE_ANNOTATION])
        .and_then(|text| text.parse::<i64>().ok());
    if let (Some(found), Some(before)) = (found, before)
        && before.checked_add(drain) == Some(found)
    {
        return;
    }
    let before = found.unwrap_or(DEFAULT_SECONDS);
    let annotation = Path::of(["metadata", "annotations", GRACE_ANNOTATION]);
    editor.set(&annotation, json!(before.to_string()), Purpose::Comfort);
    editor.set(&at, json!(before.saturating_add(drain)), Purpose::Comfort);
}
