//! What we put into a pod, and when what stands there is as good.
//!
//! Every default that the API server would fill in is written out, so that what comes back is what we sent.

use serde_json::{Map, Value, json};

use crate::contract::*;
use crate::identity::Identity;
use crate::read::{is_ours, list, text};
use crate::settings::{Amounts, Settings, joined};

/// Where the API server mounts the token of an agent's own account.
pub(crate) const ACCOUNT_TOKEN_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the names of volumes with that token begin with.
pub(crate) const ACCOUNT_TOKEN_VOLUME: &str = "kube-api-access-";

/// What the node may take to run the verifier's probe, besides what the probe waits itself.
const PROBE_MARGIN_SECONDS: u32 = 2;

/// After about this long without a first pass the verifier is started anew, which is only of use where it hangs: while the
/// controller is away it waits. By then the kubelet has forgotten earlier starts, and waits 10 s and not minutes.
const START_SECONDS: u32 = 600;

/// The three init containers in their order.
pub(crate) fn containers(settings: &Settings, identity: Identity, inbound: &[u16]) -> Vec<Value> {
    vec![
        init(settings, identity, inbound),
        proxy(settings, identity),
        verify(settings),
    ]
}

/// The volumes.
pub(crate) fn volumes() -> Vec<Value> {
    let memory = |name: &str, size: &str| json!({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size}});
    vec![
        memory(TRUST_VOLUME, "4Mi"),
        // The ring file of unacknowledged records takes 4 MiB and its header.
        memory(STATE_VOLUME, "8Mi"),
        memory(VERIFY_VOLUME, "1Mi"),
        json!({"name": TOKEN_VOLUME, "projected": {"defaultMode": 0o644, "sources": [{"serviceAccountToken":
            {"audience": TOKEN_AUDIENCE, "expirationSeconds": TOKEN_SECONDS, "path": TOKEN_FILE}}]}}),
        json!({"name": AUTHORITIES_VOLUME, "configMap": {"name": AUTHORITIES_CONFIG_MAP, "defaultMode": 0o644}}),
    ]
}

/// The only mount of ours that an agent has.
pub(crate) fn agent_mount() -> Value {
    json!({"name": TRUST_VOLUME, "mountPath": TRUST_DIR, "readOnly": true})
}

/// Loads the rules and ends. The one capability in the pod, without a way to hand it on.
fn init(settings: &Settings, identity: Identity, inbound: &[u16]) -> Value {
    let marks = identity.marks;
    let mut args = vec![
        format!("{FLAG_SIDECAR_UID}={}", identity.uid),
        format!("{FLAG_PACKET_MARK}={:#010x}", marks.packet),
        format!("{FLAG_CONNECTION_MARK}={:#010x}", marks.connection),
    ];
    if !inbound.is_empty() {
        let ports: Vec<String> = inbound.iter().map(u16::to_string).collect();
        args.push(format!("{FLAG_INBOUND}={}", ports.join(",")));
    }
    let image = settings.images.init.to_string();
    let mut container = common(INIT, &image, INIT_COMMAND, settings.resources.init);
    container.insert("args".to_owned(), json!(args));
    container.insert(
        "securityContext".to_owned(),
        json!({"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false, "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"}}),
    );
    Value::Object(container)
}

/// The sidecar. Ready also when its policy or the ledger is away: requests are then denied with a reason, which a
/// restart would not make better.
///
/// It has no startup probe: that would hold back the verifier for one more of the kubelet's seconds, and the verifier waits
/// for the started sidecar by itself.
fn proxy(settings: &Settings, identity: Identity) -> Value {
    let image = settings.images.proxy.to_string();
    let mut container = common(PROXY, &image, PROXY_COMMAND, settings.resources.proxy);
    let members = json!({
        "restartPolicy": "Always",
        "securityContext": unprivileged(identity.uid),
        "env": proxy_env(settings),
        "ports": [{"name": METRICS_PORT_NAME, "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": READY_PATH, "port": HEALTH_PORT, "scheme": "HTTP"}, "timeoutSeconds": 1,
            "periodSeconds": 5, "successThreshold": 1, "failureThreshold": 3},
        "lifecycle": {"preStop": {"httpGet": {"path": ENDING_PATH, "port": HEALTH_PORT, "scheme": "HTTP"}}},
        "volumeMounts": [
            {"name": TRUST_VOLUME, "mountPath": TRUST_DIR},
            {"name": STATE_VOLUME, "mountPath": STATE_DIR},
            {"name": VERIFY_VOLUME, "mountPath": VERIFY_DIR, "readOnly": true},
            {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIR, "readOnly": true},
            {"name": AUTHORITIES_VOLUME, "mountPath": AUTHORITIES_DIR, "readOnly": true},
        ],
    });
    extend(&mut container, members);
    Value::Object(container)
}

/// Waits for the sidecar, then tries the ways out. Later containers wait until its startup probe succeeds, which is after a
/// whole first pass.
///
/// A probe and not a hook after its start, which would be a second faster: a kubelet that is started anew takes a hook that
/// it did not see end for done, and a probe for open.
fn verify(settings: &Settings) -> Value {
    let image = settings.images.verify.to_string();
    let mut container = common(VERIFY, &image, VERIFY_COMMAND, settings.resources.verify);
    let members = json!({
        "restartPolicy": "Always",
        "securityContext": unprivileged(VERIFY_UID),
        "startupProbe": {"exec": {"command": [VERIFY_COMMAND, VERIFY_PASSED]},
            "timeoutSeconds": VERIFY_PASSED_SECONDS + PROBE_MARGIN_SECONDS, "periodSeconds": 1, "successThreshold": 1,
            "failureThreshold": START_SECONDS / VERIFY_PASSED_SECONDS},
        "volumeMounts": [{"name": VERIFY_VOLUME, "mountPath": VERIFY_DIR}],
    });
    extend(&mut container, members);
    Value::Object(container)
}

fn common(name: &str, image: &str, command: &str, amounts: Amounts) -> Map<String, Value> {
    let mut container = Map::new();
    let members = json!({
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [command],
        "resources": {
            "requests": {"cpu": amounts.cpu(), "memory": amounts.memory()},
            "limits": {"memory": amounts.memory_max()},
        },
        "terminationMessagePath": "/dev/termination-log",
        // Why it ended shows in `kubectl describe pod`.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    });
    extend(&mut container, members);
    container
}

fn extend(container: &mut Map<String, Value>, members: Value) {
    if let Value::Object(members) = members {
        container.extend(members);
    }
}

fn unprivileged(uid: u32) -> Value {
    json!({"runAsUser": uid, "runAsGroup": uid, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"}})
}

fn proxy_env(settings: &Settings) -> Value {
    let value = |name: &str, value: &str| json!({"name": name, "value": value});
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}});
    let pins = &settings.pins;
    json!([
        value(ENV_CONTROLLER, &settings.controller),
        value(ENV_LEDGER, &settings.ledger),
        value(ENV_CA_SHA256, &joined(&pins.ca)),
        value(ENV_ISSUER_KEYS_SHA256, &joined(&pins.issuer_keys)),
        value(ENV_LEDGER_KEYS_SHA256, &joined(&pins.ledger_keys)),
        value(ENV_DRAIN_SECONDS, &settings.drain_seconds.to_string()),
        field(
            ENV_GRACE_SECONDS,
            &format!("metadata.annotations['{GRACE_ANNOTATION}']")
        ),
        field(ENV_POD_NAME, "metadata.name"),
        field(ENV_POD_NAMESPACE, "metadata.namespace"),
        field(ENV_POD_UID, "metadata.uid"),
        field(ENV_POD_IPS, "status.podIPs"),
    ])
}

/// Whether the pod's first init containers are these and no other is named as ours.
///
/// What the API server's own plugins add to every container is no difference: more kinds of resources (`LimitRanger`),
/// pulling anew what is named by digest (`AlwaysPullImages`), and the agent account's token where the pod asks for it.
pub(crate) fn containers_stand(pod: &Value, wanted: &[Value], account_token: bool) -> bool {
    let found = list(pod, &["spec", "initContainers"]);
    found.iter().filter(|item| is_ours(item)).count() == wanted.len()
        && found.len() >= wanted.len()
        && found
            .iter()
            .zip(wanted)
            .all(|(found, wanted)| found == wanted || same(found, wanted, account_token))
}

fn same(found: &Value, wanted: &Value, account_token: bool) -> bool {
    let mut found = found.clone();
    if text(&found, &["imagePullPolicy"]) == Some("Always")
        && let Some(policy) = found.get_mut("imagePullPolicy")
    {
        *policy = json!("IfNotPresent");
    }
    for kind in ["requests", "limits"] {
        let named = wanted.get("resources").and_then(|all| all.get(kind));
        let amounts = found.get_mut("resources").and_then(|all| all.get_mut(kind));
        if let Some(amounts) = amounts.and_then(Value::as_object_mut) {
            amounts.retain(|name, _| named.is_some_and(|named| named.get(name).is_some()));
        }
    }
    let none_wanted = wanted.get("volumeMounts").is_none();
    if account_token
        && let Some(mounts) = found.get_mut("volumeMounts").and_then(Value::as_array_mut)
    {
        mounts.retain(|mount| !is_account_mount(mount));
        if mounts.is_empty()
            && none_wanted
            && let Some(found) = found.as_object_mut()
        {
            found.remove("volumeMounts");
        }
    }
    found == *wanted
}

/// A mount as the API server's `ServiceAccount` plugin makes it.
pub(crate) fn is_account_mount(mount: &Value) -> bool {
    text(mount, &["name"]).is_some_and(|name| name.starts_with(ACCOUNT_TOKEN_VOLUME))
        && text(mount, &["mountPath"]) == Some(ACCOUNT_TOKEN_DIR)
        && mount.get("readOnly") == Some(&Value::Bool(true))
        && mount.as_object().is_some_and(|mount| mount.len() == 3)
}

/// Whether exactly these are the pod's volumes of ours, in any order.
pub(crate) fn volumes_stand(pod: &Value, wanted: &[Value]) -> bool {
    let found: Vec<&Value> = list(pod, &["spec", "volumes"])
        .iter()
        .filter(|volume| is_ours(volume))
        .collect();
    found.len() == wanted.len() && wanted.iter().all(|wanted| found.contains(&wanted))
}
