//! The controller of an installation on a real node: what it makes once, what it keeps in force, whom it refuses a passport.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use actpass_tests::cluster::{Cluster, Namespace, eventually, possible};
use actpass_tests::home::text;
use actpass_tests::installed::{Installed, SYSTEM};
use anyhow::{Context, ensure};
use serde_json::Value;

const UPSTREAM: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  actions: [{name: read, match: {http: {method: GET, path: "/**"}}, effect: Read}]
"#;

const PASSPORT: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  subject: {serviceAccountName: clerk}
  owner: owner@example.com
  purpose: Read
  scope: [{capability: shop.read}]
"#;

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: reads}
spec:
  passportSelector: {}
  rules: [{name: reads, decision: Allow, capabilities: [shop.read]}]
"#;

/// A pod that nobody injects, with the token that sidecars have.
const STRANGER: &str = r#"apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {actpass.org/enforced: v1}}
spec:
  serviceAccountName: clerk
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: 'actpass.test/agent-curl:test'
    imagePullPolicy: Never
    command: [sleep, inf]
    volumeMounts: [{name: token, mountPath: /token}, {name: client, mountPath: /client}]
  volumes:
  - name: token
    projected: {sources: [{serviceAccountToken: {audience: actpass, expirationSeconds: 900, path: token}}]}
  - {name: client, configMap: {name: client}}
"#;

const PATIENCE: Duration = Duration::from_secs(30);

fn json(cluster: &Cluster, args: &[&str]) -> anyhow::Result<Value> {
    let text = cluster.ask(&[args, &["-o", "json"]].concat())?;
    Ok(serde_json::from_str(&text)?)
}

/// A condition of a resource, as `STATUS REASON: MESSAGE`.
fn condition(namespace: &Namespace<'_>, resource: &str, kind: &str) -> anyhow::Result<String> {
    let found = json(namespace.cluster, &["get", resource, "-n", &namespace.name])?;
    let generation = &found["metadata"]["generation"];
    let conditions = found["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions
        .find(|it| it["type"] == kind && it["observedGeneration"] == *generation)
        .with_context(|| {
            format!("{resource} has no condition {kind} of its generation: {found}")
        })?;
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    Ok(format!(
        "{} {}: {}",
        text("status"),
        text("reason"),
        text("message")
    ))
}

/// Waits until a condition begins like this, and says all of it.
fn becomes(namespace: &Namespace<'_>, resource: &str, kind: &str, want: &str) -> String {
    eventually(PATIENCE, || {
        let found = condition(namespace, resource, kind)?;
        ensure!(found.starts_with(want), "{resource}: {found}, not {want}");
        Ok(found)
    })
    .unwrap()
}

/// The bundle that sessions of a namespace get.
fn published(namespace: &Namespace<'_>) -> anyhow::Result<Value> {
    let uid = json(namespace.cluster, &["get", "namespace", &namespace.name])?;
    let uid = uid["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let name = format!("configmap/actpass-bundle-{uid}");
    let map = json(namespace.cluster, &["get", &name, "-n", SYSTEM])?;
    Ok(serde_json::from_str(
        map["data"]["bundle"].as_str().unwrap_or_default(),
    )?)
}

fn secrets(cluster: &Cluster) -> Vec<(String, Value)> {
    let names = [
        "actpass-controller",
        "actpass-controller-tls",
        "actpass-ledger-tls",
        "actpass-webhook-tls",
    ];
    let data = |name: &str| {
        let found = json(cluster, &["get", "secret", name, "-n", SYSTEM]).unwrap();
        (name.to_owned(), found["data"].clone())
    };
    names.into_iter().map(data).collect()
}

fn leader(cluster: &Cluster) -> anyhow::Result<String> {
    let lease = json(cluster, &["get", "lease/actpass-controller", "-n", SYSTEM])?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    ensure!(!holder.is_empty(), "nobody leads");
    Ok(holder.to_owned())
}

#[test]
fn two_replicas_make_keys_certificates_and_trust_once() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let before = secrets(&cluster);
    for (name, data) in &before {
        let keys: BTreeSet<&str> = data
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let want = match name.as_str() {
            "actpass-controller" => ["ca.crt", "ca.key", "issuer.key"],
            _ => ["ca.crt", "tls.crt", "tls.key"],
        };
        assert_eq!(keys, BTreeSet::from(want), "{name}");
    }
    let trust = json(&cluster, &["get", "configmap/actpass-trust", "-n", SYSTEM]).unwrap();
    for entry in ["issuer-keys", "ledger-keys", "vote-keys"] {
        let lines = trust["data"][entry].as_str().unwrap_or_default();
        assert_eq!(lines.lines().count(), 1, "{entry}: {lines}");
    }
    for kind in [
        "mutatingwebhookconfiguration",
        "validatingwebhookconfiguration",
    ] {
        let found = json(&cluster, &["get", kind, "actpass"]).unwrap();
        for hook in found["webhooks"].as_array().unwrap() {
            assert!(hook["clientConfig"]["caBundle"].is_string(), "{kind}");
        }
    }
    // Another replica goes on with the same.
    let first = leader(&cluster).unwrap();
    let (pod, _) = first.rsplit_once('-').unwrap();
    cluster
        .ask(&["delete", "pod", pod, "-n", SYSTEM, "--wait=false"])
        .unwrap();
    eventually(PATIENCE, || {
        let now = leader(&cluster)?;
        ensure!(now != first, "{first} leads still");
        Ok(())
    })
    .with_context(|| installed.standing())
    .unwrap();
    let namespace = installed.namespace("made").unwrap();
    let copy = json(
        &cluster,
        &["get", "configmap/actpass-trust", "-n", &namespace.name],
    )
    .unwrap();
    let copied: BTreeSet<&String> = copy["data"].as_object().unwrap().keys().collect();
    assert_eq!(
        copied,
        BTreeSet::from([
            &"ca.pem".to_owned(),
            &"issuer-keys".to_owned(),
            &"ledger-keys".to_owned()
        ])
    );
    assert_eq!(secrets(&cluster), before);
    cluster
        .ask(&["label", "namespace", &namespace.name, "actpass.org/mode-"])
        .unwrap();
    eventually(PATIENCE, || {
        let left = namespace.ask(&["get", "networkpolicy,configmap", "-o", "name"])?;
        ensure!(!left.contains("actpass-"), "{left}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_broken_policy_keeps_the_bundle_accepted_last_but_no_suspension_out() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let namespace = installed.namespace("held").unwrap();
    for manifest in [UPSTREAM, PASSPORT, POLICY] {
        namespace.apply(manifest).unwrap();
    }
    becomes(&namespace, "passport/clerk", "Ready", "True InForce");
    becomes(
        &namespace,
        "actionpolicy/reads",
        "Programmed",
        "True Programmed",
    );
    becomes(&namespace, "upstream/shop", "Accepted", "True Accepted");
    let accepted = published(&namespace).unwrap();
    assert_eq!(accepted["passports"][0]["name"], "clerk");

    // The webhook takes no mistake, but what was right may become one.
    cluster
        .ask(&["delete", "upstream", "shop", "-n", &namespace.name])
        .unwrap();
    becomes(
        &namespace,
        "actionpolicy/reads",
        "Programmed",
        "False BundleHeld",
    );
    let said = becomes(
        &namespace,
        "actionpolicy/reads",
        "Accepted",
        "False Rejected",
    );
    assert!(said.contains("`shop.read`"), "{said}");
    becomes(
        &namespace,
        "passport/clerk",
        "ResolvedRefs",
        "False DanglingReference",
    );
    let held = eventually(PATIENCE, || {
        let held = published(&namespace)?;
        ensure!(
            held["upstreams"].as_array().is_some_and(Vec::is_empty),
            "{held}"
        );
        Ok(held)
    })
    .unwrap();
    assert_eq!(
        held["policies"], accepted["policies"],
        "nothing else changed"
    );
    let events = namespace
        .ask(&["get", "events", "-o", "jsonpath={.items[*].reason}"])
        .unwrap();
    assert!(events.contains("BundleRefused"), "{events}");

    let suspended = "{\"spec\":{\"suspended\":true}}";
    namespace
        .ask(&[
            "patch",
            "passport",
            "clerk",
            "--type=merge",
            "-p",
            suspended,
        ])
        .unwrap();
    eventually(PATIENCE, || {
        let held = published(&namespace)?;
        ensure!(held["passports"][0]["suspended"] == true, "{held}");
        Ok(())
    })
    .unwrap();
    namespace.apply(UPSTREAM).unwrap();
    becomes(
        &namespace,
        "actionpolicy/reads",
        "Programmed",
        "True Programmed",
    );
}

#[test]
fn a_pod_is_refused_a_passport_with_what_to_do_about_it() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    // Not governed yet, so that pods of it are not injected.
    let namespace = cluster.namespace("session").unwrap();
    namespace
        .ask(&["create", "serviceaccount", "clerk"])
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (key, certificate) = (dir.path().join("key.pem"), dir.path().join("cert.pem"));
    let mut openssl = Command::new("openssl");
    openssl
        .args(["req", "-x509", "-newkey", "ed25519", "-noenc"])
        .args(["-subj", "/CN=sidecar", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    let output = openssl.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let files = format!("--from-file={}", dir.path().display());
    namespace
        .ask(&["create", "configmap", "client", &files])
        .unwrap();
    for name in ["one", "two"] {
        namespace
            .start(name, &STRANGER.replace("NAME", name))
            .unwrap();
    }
    // They run without ActPass, which enforcement is told to put up with.
    let force = ["annotate", "namespace", &namespace.name];
    cluster
        .ask(&[&force[..], &["actpass.org/force=true"]].concat())
        .unwrap();
    cluster
        .ask(&[
            "label",
            "namespace",
            &namespace.name,
            "actpass.org/mode=enforce",
            "actpass.org/environment=test",
        ])
        .unwrap();
    let service = [
        "get",
        "service",
        "actpass-controller",
        "-n",
        SYSTEM,
        "-o=jsonpath={.spec.clusterIP}",
    ];
    let ip = cluster.ask(&service).unwrap();
    let token = namespace.exec("two", "cat /token/token").unwrap().stdout;
    let theirs = String::from_utf8(token).unwrap();
    let with_key = "--cert /client/cert.pem --key /client/key.pem";
    let own = "-H \"authorization: Bearer $(cat /token/token)\"";
    // Status and code of the answer.
    let asked = |key: &str, token: &str| -> anyhow::Result<String> {
        let script = format!(
            "curl -sk -m 10 --http1.1 {key} {token} -w '\\n%{{http_code}}' https://{ip}:8443/v1/session"
        );
        let output = namespace.exec("one", &script)?;
        let text = String::from_utf8(output.stdout)?;
        let (body, status) = text.rsplit_once('\n').unwrap_or_default();
        let body: Value = serde_json::from_str(body).with_context(|| text.clone())?;
        Ok(format!(
            "{status} {}",
            body["code"].as_str().unwrap_or_default()
        ))
    };
    let refused = |key: &str, token: &str, want: &str| {
        eventually(PATIENCE, || {
            let found = asked(key, token)?;
            ensure!(found == want, "{found}, not {want}");
            Ok(())
        })
        .with_context(|| installed.standing())
        .unwrap();
    };
    refused("", own, "401 no_key");
    refused(with_key, "", "401 unauthorized");
    refused(
        with_key,
        "-H 'authorization: Bearer nonsense'",
        "401 unauthorized",
    );
    refused(
        with_key,
        &format!("-H 'authorization: Bearer {theirs}'"),
        "403 wrong_address",
    );
    refused(with_key, own, "403 no_passport");
    namespace.apply(UPSTREAM).unwrap();
    namespace.apply(PASSPORT).unwrap();
    becomes(&namespace, "passport/clerk", "Ready", "True InForce");
    refused(with_key, own, "403 not_injected");
    let edited = |line: &str| namespace.apply(&format!("{PASSPORT}  {line}\n")).unwrap();
    edited("suspended: true");
    refused(with_key, own, "403 suspended");
    becomes(&namespace, "passport/clerk", "Ready", "False Suspended");
    edited("notAfter: 2026-01-01T00:00:00Z");
    refused(with_key, own, "403 expired");
    becomes(&namespace, "passport/clerk", "Ready", "False Expired");
    namespace.apply(PASSPORT).unwrap();
    becomes(&namespace, "passport/clerk", "Ready", "True InForce");
    namespace.ask(&["delete", "pod", "two", "--now"]).unwrap();
    refused(
        with_key,
        &format!("-H 'authorization: Bearer {theirs}'"),
        "401 unauthorized",
    );
    let events = namespace
        .ask(&["get", "events", "-o", "jsonpath={.items[*].reason}"])
        .unwrap();
    assert!(events.contains("SessionRefused"), "{events}");
}
