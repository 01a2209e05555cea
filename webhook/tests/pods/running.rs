//! A pod that runs, for who does not know what the webhook knows.

use actpass_webhook::checks::running;
use actpass_webhook::settings::{Amounts, Settings};
use serde_json::{Value, json};

use crate::support::{injected, injected_with, pod, set, settings, with};

/// The injected pod as it then runs.
fn run(mut pod: Value) -> Value {
    set(&mut pod, "/spec/nodeName", json!("node-1"));
    set(&mut pod, "/metadata/name", json!("agent-5d7-x1"));
    set(
        &mut pod,
        "/status",
        json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.7"}]}),
    );
    pod
}

#[test]
fn an_injected_pod_that_runs_passes_also_under_a_later_release() {
    let pod = run(injected(&pod()).pod);
    let found = running(&pod, &settings());
    assert!(found.passes(), "{:?}", found.refused);
    let mut later = settings();
    later.pins.issuer_keys.insert([9; 32]);
    later.controller = "other.svc:8443".to_owned();
    later.drain_seconds = 30;
    later.resources.proxy = Amounts {
        cpu_millis: 100,
        memory_mib: 128,
        memory_mib_max: 256,
    };
    let found = running(&pod, &later);
    assert!(found.passes(), "{:?}", found.refused);
}

#[test]
fn a_pod_that_nobody_injected_is_told_so() {
    let found = running(&run(pod()), &settings());
    assert_eq!(found.refused.len(), 1, "{:?}", found.refused);
    assert!(running(&json!({}), &settings()).refused.len() == 1);
    assert!(!running(&json!(3), &settings()).passes());
}

#[test]
fn what_an_agent_could_gain_by_is_seen_on_a_pod_that_runs() {
    let foreign = |mut settings: Settings| {
        let image = format!("registry.example/mine@sha256:{}", "9".repeat(64));
        settings.images.proxy = image.parse().unwrap();
        injected_with(&pod(), &settings).unwrap().pod
    };
    let injected = injected(&pod()).pod;
    let uid = injected
        .pointer("/spec/initContainers/1/securityContext/runAsUser")
        .unwrap()
        .clone();
    let at = |pointer: &str, value: Value| with(injected.clone(), pointer, value);
    let cases = [
        ("another image for the sidecar", foreign(settings())),
        (
            "an agent under the sidecar's uid",
            at("/spec/containers/0/securityContext/runAsUser", uid),
        ),
        (
            "an annotation with another uid than the containers",
            at(
                "/metadata/annotations/actpass.org~1sidecar-uid",
                json!("41000"),
            ),
        ),
        (
            "an annotation with root's uid",
            at("/metadata/annotations/actpass.org~1sidecar-uid", json!("0")),
        ),
        (
            "a container without end among the first",
            at("/spec/initContainers/0/name", json!("first")),
        ),
        (
            "a variable of the sidecar's from elsewhere",
            at(
                "/spec/initContainers/1/env/0",
                json!({"name": "ACTPASS_CONTROLLER", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}),
            ),
        ),
        (
            "the sidecar's token for an agent",
            at(
                "/spec/containers/0/volumeMounts/-",
                json!({"name": "actpass-token", "mountPath": "/t", "readOnly": true}),
            ),
        ),
        ("the node's network", at("/spec/hostNetwork", json!(true))),
        (
            "a container added later",
            at(
                "/spec/ephemeralContainers/-",
                json!({"name": "debug", "image": "x"}),
            ),
        ),
    ];
    for (name, pod) in cases {
        assert!(!running(&run(pod), &settings()).passes(), "{name}");
    }
}
