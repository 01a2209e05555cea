//! What a pod's agent waits for, also where the kubelet forgets that it waits.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::time::Duration;

use actpass_tests::cluster::{Cluster, Namespace, eventually, possible};
use actpass_tests::home::text;
use actpass_tests::installed::{Installed, SYSTEM};
use anyhow::ensure;

const PATIENCE: Duration = Duration::from_secs(60);

const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: agent}, spec: {terminationGracePeriodSeconds: 1, \
    containers: [{name: main, image: 'actpass.test/agent-curl:test', imagePullPolicy: Never, command: [sleep, inf], \
    securityContext: {runAsUser: 1000}}]}}";

/// What became of a pod's agent.
fn state(namespace: &Namespace<'_>) -> anyhow::Result<String> {
    let path = "-o=jsonpath={.status.containerStatuses[0].state}";
    namespace.ask(&["get", "pod", "agent", path])
}

fn replicas(cluster: &Cluster, count: u32) {
    let (count, part) = (
        format!("--replicas={count}"),
        "deployment/actpass-controller",
    );
    cluster.ask(&["scale", part, "-n", SYSTEM, &count]).unwrap();
}

fn node(cluster: &Cluster, args: &[&str]) {
    let output = cluster.node("/run/actpass/part").args(args).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{args:?}: {}", text(&output));
}

#[test]
fn no_agent_starts_before_its_sidecar_was_heard_though_the_kubelet_starts_anew() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let namespace = installed.namespace("start").unwrap();
    let plain = cluster.namespace("plain").unwrap();
    replicas(&cluster, 0);
    let gone = "app.kubernetes.io/component=controller";
    let gone = [
        "wait",
        "--for=delete",
        "pod",
        "-n",
        SYSTEM,
        "-l",
        gone,
        "--timeout=60s",
    ];
    cluster.ask(&gone).unwrap();

    namespace.apply(POD).unwrap();
    let logs = ["logs", "agent", "-c", "actpass-verify"];
    let waits = || {
        let said = namespace.ask(&logs)?;
        ensure!(said.contains("the sidecar has not started: "), "{said}");
        Ok(())
    };
    eventually(PATIENCE, waits).unwrap();
    for verb in ["kill", "start"] {
        node(&cluster, &[verb, "kubelet"]);
    }
    // By then it has looked after all pods.
    plain.start("agent", POD).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let waiting = state(&namespace).unwrap();
    assert!(waiting.contains("PodInitializing"), "{waiting}");

    replicas(&cluster, 2);
    eventually(PATIENCE, || {
        let state = state(&namespace)?;
        ensure!(state.contains("running"), "{state}");
        Ok(())
    })
    .unwrap();
    let said = namespace.ask(&logs).unwrap();
    assert!(
        said.ends_with("no way out but through the sidecar\n"),
        "{said}"
    );
    installed.rolled_out().unwrap();
}
