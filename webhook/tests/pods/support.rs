//! What the tests of this crate share: settings, a plain pod, and an API server's part in between.

use std::collections::BTreeSet;

use actpass_webhook::UidSecret;
use actpass_webhook::checks::{Surroundings, create};
use actpass_webhook::inject::{Context, Injection, inject};
use actpass_webhook::problem::Findings;
use actpass_webhook::settings::{Images, Pins, Settings};
use serde_json::{Value, json};

/// Settings with every required field set and the defaults for the rest.
pub(crate) fn settings() -> Settings {
    let image = |name: &str, digit: &str| {
        let digest = digit.repeat(64);
        format!("registry.example/actpass/{name}@sha256:{digest}")
            .parse()
            .unwrap()
    };
    let images = Images {
        init: image("init", "1"),
        proxy: image("sidecar", "2"),
        verify: image("verify", "3"),
    };
    let pins = Pins {
        ca: BTreeSet::from([[0xca; 32], [0xcb; 32]]),
        issuer_keys: BTreeSet::from([[0x15; 32]]),
        ledger_keys: BTreeSet::from([[0x1e; 32]]),
    };
    let controller = "actpass-controller.actpass-system.svc:8443".to_owned();
    let ledger = "actpass-ledger.actpass-system.svc:8443".to_owned();
    Settings::new(images, controller, ledger, pins)
}

/// The secret of all tests.
pub(crate) fn secret() -> UidSecret {
    UidSecret::new([7; 32])
}

/// The uid of all requests.
const REQUEST: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

/// Injects with these settings.
pub(crate) fn injected_with(pod: &Value, settings: &Settings) -> Result<Injection, Findings> {
    let secret = secret();
    let context = Context {
        namespace: "shop",
        settings,
        secret: &secret,
        request: REQUEST,
    };
    inject(pod, &context)
}

/// Injects with the default settings a pod that can be.
#[track_caller]
pub(crate) fn injected(pod: &Value) -> Injection {
    injected_with(pod, &settings()).unwrap()
}

/// Checks a pod at its creation.
pub(crate) fn created(pod: &Value, settings: &Settings, surroundings: &Surroundings) -> Findings {
    let secret = secret();
    let context = Context {
        namespace: "shop",
        settings,
        secret: &secret,
        request: REQUEST,
    };
    create(pod, &context, surroundings)
}

/// A pod as a Deployment makes it and the API server hands it on, with the account's token added.
pub(crate) fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "agent-5d7-", "labels": {"app": "agent"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "agent-5d7", "uid": "u",
                "controller": true, "blockOwnerDeletion": true}]},
        "spec": {
            "containers": [{"name": "agent", "image": "registry.example/agent:1", "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "resources": {}, "securityContext": {"runAsUser": 1000},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "volumeMounts": [{"name": "kube-api-access-x7f2k", "readOnly": true,
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "serviceAccountName": "agent",
            "terminationGracePeriodSeconds": 30,
            "volumes": [{"name": "kube-api-access-x7f2k", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}}],
        },
    })
}

/// The pod with `value` at a JSON pointer; objects on the way are made, `-` adds to a list.
pub(crate) fn with(mut pod: Value, pointer: &str, value: Value) -> Value {
    set(&mut pod, pointer, value);
    pod
}

/// As [`with`], in place.
pub(crate) fn set(pod: &mut Value, pointer: &str, value: Value) {
    let mut place = pod;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if step == "-" || place.is_array() {
            if !place.is_array() {
                *place = json!([]);
            }
            let items = place.as_array_mut().unwrap();
            let index = step.parse().unwrap_or(items.len());
            if index == items.len() {
                items.push(Value::Null);
            }
            place = items.get_mut(index).unwrap();
        } else {
            if !place.is_object() {
                *place = json!({});
            }
            place = place
                .as_object_mut()
                .unwrap()
                .entry(step)
                .or_insert(Value::Null);
        }
    }
    *place = value;
}

/// The patch, applied by a library that knows nothing of us.
pub(crate) fn applied(pod: &Value, patch: &Value) -> Value {
    let mut pod = pod.clone();
    let patch: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}
