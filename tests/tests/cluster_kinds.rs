//! The kinds on a real API server: it takes what is right and refuses what is wrong in our words.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

mod kinds;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use actpass_tests::cluster::{Cluster, Namespace, possible};
use actpass_tests::installed::Installed;
use kinds::{Case, GUARD, PASSPORT, POLICY, REFUSED, REFUSED_BY_WEBHOOK, UPSTREAM, VOTE};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn files(dir: &str) -> Vec<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join(dir))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect()
}

/// A cluster of this test's own, with the kinds and nothing of an installation: its webhook would take no vote made by hand.
struct Own {
    cluster: Cluster,
    // After the cluster that is in it.
    _dir: tempfile::TempDir,
}

impl Own {
    fn up() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster::up_in(dir.path()).unwrap();
        for definition in files("charts/actpass/files/crds") {
            cluster.apply(&definition).unwrap();
        }
        let all = [
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            "--timeout=30s",
        ];
        cluster.ask(&all).unwrap();
        Self { cluster, _dir: dir }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // What is left of it would be seen by the test of that.
        drop(self.cluster.down());
    }
}

#[test]
fn an_api_server_takes_what_is_right_and_says_what_to_write_of_what_is_wrong() {
    if !possible() {
        return;
    }
    let own = Own::up();
    let namespace = own.cluster.namespace("kinds").unwrap();
    the_catalogue_and_good_manifests_are_taken(&namespace);
    what_is_wrong_is_refused(&namespace, REFUSED);
}

fn the_catalogue_and_good_manifests_are_taken(namespace: &Namespace<'_>) {
    for upstream in files("catalog") {
        namespace.apply(&upstream).unwrap();
    }
    for manifest in [PASSPORT, UPSTREAM, POLICY, VOTE] {
        namespace.apply(manifest).unwrap();
    }
    namespace.cluster.apply(GUARD).unwrap();
    let listed = namespace
        .ask(&["get", "actpass", "--output", "name"])
        .unwrap();
    for name in [
        "passport.actpass.org/clerk",
        "upstream.actpass.org/stripe",
        "actionpolicy.actpass.org/refunds",
    ] {
        assert!(listed.contains(name), "{name}: {listed}");
    }
    let changed = VOTE.replace("Approve", "Deny");
    let error = namespace.apply(&changed).unwrap_err().to_string();
    assert!(error.contains("a vote cannot be changed"), "{error}");
    let renamed = PASSPORT.replace("agentId: clerk", "agentId: other");
    let error = namespace.apply(&renamed).unwrap_err().to_string();
    let want = "is the name in evidence and cannot be changed; make a new Passport";
    assert!(error.contains(want), "{error}");
}

/// Each with what it says, and all cases are different ones. Nothing is kept of what is taken by mistake.
fn what_is_wrong_is_refused(namespace: &Namespace<'_>, cases: &[Case]) {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (given, from, to, want) in cases {
        assert!(given.contains(from), "{from}");
        assert!(
            seen.insert((given, from, to)),
            "{from} -> {to} stands twice"
        );
        let manifest = given.replacen(from, to, 1);
        let refused = namespace.tried(&manifest);
        match refused {
            Ok(()) => wrong.push(format!("{from} -> {to}: taken")),
            Err(error) if !error.to_string().contains(want) => {
                wrong.push(format!("{from} -> {to}: want {want}, got {error}"));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_only_the_webhook_sees_is_refused_with_what_to_write() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let namespace = installed.namespace("checked").unwrap();
    let stripe = fs::read_to_string(root().join("catalog/stripe.yaml")).unwrap();
    for manifest in [stripe.as_str(), PASSPORT] {
        namespace.apply(manifest).unwrap();
    }
    for manifest in [UPSTREAM, POLICY] {
        namespace.tried(manifest).unwrap();
    }
    what_is_wrong_is_refused(&namespace, REFUSED_BY_WEBHOOK);
    assert!(REFUSED.len() + REFUSED_BY_WEBHOOK.len() >= 100);
}
