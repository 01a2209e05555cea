//! Installed without Helm, as docs/install.md says: the plain file, with images in it, applied to a node of this test's own.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use actpass_tests::actpass;
use actpass_tests::chart::Chart;
use actpass_tests::cluster::{Cluster, possible_at_length};
use actpass_tests::home::text;

/// A volume for the ledger: the node has no class of them.
const VOLUME: &str = r"apiVersion: v1
kind: PersistentVolume
metadata: {name: evidence}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  hostPath: {path: /run/actpass/evidence}
";

/// What a script on the machine says, which must succeed.
fn ran(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_plain_file_with_images_in_it_is_an_installation() {
    if !possible_at_length() || Chart::here().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::up_in(&dir.path().join("cluster")).unwrap();
    let installed = std::panic::catch_unwind(|| installs(&cluster, dir.path()));
    cluster.down().unwrap();
    installed.unwrap();
}

fn installs(cluster: &Cluster, dir: &std::path::Path) {
    ran(Command::new(Chart::directory().join("../plain")).arg(dir));
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/ours");
    let images = ran(Command::new(ours)
        .arg(actpass().parent().unwrap())
        .env("ACTPASS_CLUSTER_DIR", cluster.state()));
    let mut script = String::new();
    for line in images.lines() {
        let (name, image) = line.split_once(' ').unwrap();
        writeln!(script, "s#actpass.invalid/{name}@sha256:0*#{image}#").unwrap();
    }
    let file = dir.join("images.sed");
    fs::write(&file, script).unwrap();
    let plain = dir.join("actpass.yaml");
    let manifests = ran(Command::new("sed").arg("--file").arg(&file).arg(&plain));
    assert!(!manifests.contains("actpass.invalid"));
    fs::write(&plain, manifests).unwrap();

    // Its class gives a volume to who the pod says; this one has none.
    let evidence = ["--mode=0777", "--directory", "/run/actpass/evidence"];
    ran(cluster.node("install").args(evidence));
    cluster.apply(VOLUME).unwrap();
    let apply = [
        "apply",
        "--server-side",
        "--filename",
        plain.to_str().unwrap(),
    ];
    cluster.ask(&apply).unwrap();
    for part in [
        "deployment/actpass-controller",
        "deployment/actpass-webhook",
        "statefulset/actpass-ledger",
    ] {
        let status = [
            "rollout",
            "status",
            part,
            "--namespace=actpass-system",
            "--timeout=120s",
        ];
        cluster.ask(&status).unwrap_or_else(|error| {
            let pods = ["describe", "pods", "--namespace=actpass-system"];
            panic!("{error}\n{}", text(&cluster.kubectl(&pods).unwrap()))
        });
    }
    // What the parts wrote is not taken back by applying it again.
    let keys = [
        "get",
        "configmap",
        "actpass-trust",
        "--namespace=actpass-system",
        "--output=jsonpath={.data}",
    ];
    let before = cluster.ask(&keys).unwrap();
    assert!(before.contains("ca.pem"), "{before}");
    cluster.ask(&apply).unwrap();
    assert_eq!(cluster.ask(&keys).unwrap(), before);
}
