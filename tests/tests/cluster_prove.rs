//! `kubectl actpass prove`: the fence of a namespace tried in its own cluster, and a report that anybody can check.
#![expect(
    clippy::unwrap_used,
    reason = "a world that cannot be made is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use actpass_tests::actpass;
use actpass_tests::cluster::{Cluster, eventually, possible};
use actpass_tests::home::text;
use actpass_tests::installed::{Installed, SYSTEM};
use actpass_tests::shop::Shop;
use anyhow::{Context, ensure};
use serde_json::Value;

/// What holds without a fence, too: what is not in the pod cannot be had there, and no cluster has a name for what nobody has.
const HELD_ANYWHERE: [&str; 7] = [
    "the sidecar's key and token",
    "the files that say whom to trust",
    "the sidecar's process",
    "abstract sockets",
    "the sidecar's ports",
    "orders at the port of probes",
    "data in a name that is asked for",
];

fn verified(report: &Path, key: &Path) -> Output {
    let mut verify = Command::new(actpass());
    verify.arg("verify").arg(report).arg("--key").arg(key);
    verify.output().unwrap()
}

fn attempts(proof: &Value, verdict: &str) -> BTreeSet<String> {
    let attempts = proof["attempts"].as_array().unwrap().iter();
    let those = attempts.filter(|it| it["verdict"] == verdict);
    those
        .map(|it| it["attempt"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_namespace_proves_its_fence_and_nothing_of_the_report_can_be_changed() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let shop = Shop::open(&installed, "proves").unwrap();
    let platform = installed.token_person("pat").unwrap();
    installed.may_reach_the_ledger(&platform).unwrap();
    for role in ["edit", "actpass-auditor"] {
        installed.allow(&shop.namespace, &platform, role).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let report = dir.path().join("report.json");
    let namespace = shop.namespace.name.as_str();
    let prove = |more: &[&str]| {
        let args = ["prove", "-n", namespace, "--to", report.to_str().unwrap()];
        platform
            .actpass(&cluster, &[&args[..], more].concat())
            .unwrap()
    };
    let said = prove(&[]);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
    assert!(text(&said).contains(" 0 were not"), "{}", text(&said));

    let found: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    let proof = &found["pods"][0]["proof"];
    assert!(attempts(proof, "held").len() >= 40, "{}", text(&said));
    assert_eq!(attempts(&found["around"], "unknown"), BTreeSet::new());
    assert_eq!(attempts(&found["around"], "held").len(), 13);
    let unknown = attempts(proof, "unknown");
    assert!(
        unknown.iter().all(|it| it.starts_with("AF_")),
        "{unknown:?}"
    );

    // Anybody, with the key alone.
    let key = dir.path().join("ledger.key");
    let keys = [
        "get",
        "configmap",
        "actpass-trust",
        "-n",
        SYSTEM,
        "-o=jsonpath={.data.ledger-keys}",
    ];
    fs::write(&key, cluster.ask(&keys).unwrap()).unwrap();
    let checked = verified(&report, &key);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    assert!(text(&checked).starts_with("VALID"), "{}", text(&checked));

    let changed = dir.path().join("changed.json");
    for (at, value) in [
        ("/pods/0/proof/attempts/0/verdict", "open"),
        ("/pods/0/proof/node", "another"),
        ("/around/attempts/0/said", "nothing"),
        ("/around/namespace", "other"),
        ("/pods/0/evidence/leaf", "{}"),
    ] {
        let mut report = found.clone();
        *report.pointer_mut(at).unwrap() = value.into();
        fs::write(&changed, serde_json::to_string_pretty(&report).unwrap()).unwrap();
        let checked = verified(&changed, &key);
        let said = text(&checked);
        assert_eq!(checked.status.code(), Some(3), "{at}: {said}");
        assert!(said.starts_with("INVALID"), "{at}: {said}");
    }
    let mut unsigned = found.clone();
    unsigned["pods"][0]["evidence"] = Value::Null;
    fs::write(&changed, serde_json::to_string_pretty(&unsigned).unwrap()).unwrap();
    assert_eq!(verified(&changed, &key).status.code(), Some(2));

    // A file that is there stays, and no pod does.
    assert_eq!(prove(&[]).status.code(), Some(1));
    eventually(Duration::from_secs(30), || {
        let left = shop.namespace.ask(&[
            "get",
            "pods",
            "-l",
            "app.kubernetes.io/name=actpass-prove",
            "-o",
            "name",
        ])?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })
    .unwrap();

    // Where nothing holds it, the same program says so, but for what this kernel does not have.
    let free = without_a_fence(&cluster, &shop);
    let mut held = attempts(&free, "held");
    held.retain(|it| !it.starts_with("AF_") && !HELD_ANYWHERE.contains(&it.as_str()));
    assert_eq!(held, BTreeSet::new());
}

/// What the same program finds in a container that nobody holds.
fn without_a_fence(cluster: &Cluster, shop: &Shop<'_>) -> Value {
    let image = "-o=jsonpath={.spec.initContainers[?(@.name==\"actpass-verify\")].image}";
    let image = shop.namespace.ask(&["get", "pod", "agent", image]).unwrap();
    let free = cluster.namespace("unproved").unwrap();
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "free"},
        "spec": {"restartPolicy": "Never", "containers": [{
            "name": "agent", "image": image, "imagePullPolicy": "Never",
            "command": ["/actpass-verify", "--prove", "0"],
            "securityContext": {"runAsUser": 0, "privileged": true, "seccompProfile": {"type": "Unconfined"}},
        }]},
    });
    free.apply(&pod.to_string()).unwrap();
    let logs = eventually(Duration::from_secs(120), || {
        let phase = free.ask(&["get", "pod", "free", "-o=jsonpath={.status.phase}"])?;
        ensure!(matches!(phase.as_str(), "Failed" | "Succeeded"), "{phase}");
        free.ask(&["logs", "free"])
    });
    let logs = logs.unwrap();
    let line = logs.lines().find(|line| line.starts_with('{'));
    let line = line.with_context(|| logs.clone()).unwrap();
    serde_json::from_str(line).unwrap()
}
