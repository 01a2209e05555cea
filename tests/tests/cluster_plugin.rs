//! `kubectl actpass` on a real node, by real people: evidence, credentials, and a namespace before it is labelled.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::process::{Command, Output};
use std::time::Duration;

use actpass_tests::actpass;
use actpass_tests::cluster::{Cluster, Namespace, eventually, possible};
use actpass_tests::front::LOST;
use actpass_tests::home::text;
use actpass_tests::installed::{Installed, Person};
use actpass_tests::shop::Shop;
use anyhow::ensure;
use serde_json::Value;

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  credentials:
    - {name: shop-write, effects: [Write, Irreversible], header: Authorization, format: "Bearer {secret}"}
  actions:
    - name: pay
      match: {http: {method: POST, path: /v1/pay}}
      effect: Irreversible
      body: {format: JSON}
      params: {allow: [amount]}
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  subject: {serviceAccountName: clerk}
  owner: owner@example.com
  purpose: Pay
  scope: [{capability: shop.pay}]
"#;

/// Two Deployments nobody runs pods of: one as it should be, one as they often are.
const WORKLOADS: &str = r#"apiVersion: v1
kind: ServiceAccount
metadata: {name: clerk}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: good}
spec:
  replicas: 0
  selector: {matchLabels: {app: good}}
  template:
    metadata: {labels: {app: good}}
    spec:
      serviceAccountName: clerk
      containers:
      - {name: agent, image: a, securityContext: {runAsUser: 1000}, env: [{name: API, value: "https://api.shop.example/v1"}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  suspend: true
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          hostNetwork: true
          containers:
          - {name: agent, image: a, env: [{name: API, value: "https://else.example"}]}
"#;

/// A namespace under ActPass with a policy, so with a log.
fn shop<'a>(installed: &Installed<'a>, reader: &Person) -> Namespace<'a> {
    let namespace = installed.namespace("plugin").unwrap();
    namespace.apply(POLICY).unwrap();
    installed
        .allow(&namespace, reader, "actpass-auditor")
        .unwrap();
    eventually(Duration::from_secs(30), || {
        let events = reader.actpass(installed.cluster, &["events", &namespace.name])?;
        ensure!(events.status.success(), "{}", text(&events));
        Ok(())
    })
    .unwrap();
    namespace
}

/// A refusal, as what was said.
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    text(output)
}

#[test]
fn evidence_is_for_those_who_may_read_it_and_verifies_in_their_hands() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let bea = installed.token_person("bea").unwrap();
    installed.may_reach_the_ledger(&bea).unwrap();
    let namespace = shop(&installed, &bea);
    let name = namespace.name.as_str();

    let shown = text(&bea.actpass(&cluster, &["events", name]).unwrap());
    assert!(
        shown.contains("genesis") && shown.contains("bundle"),
        "{shown}"
    );
    let lines = bea.actpass(
        &cluster,
        &["events", "-n", name, "-o", "jsonl", "--limit=1"],
    );
    let leaf: Value = serde_json::from_slice(&lines.unwrap().stdout).unwrap();
    assert_eq!(leaf["v"], "actpass.leaf/1");
    let list = bea.actpass(&cluster, &["events", name, "-o", "json", "--since=1h"]);
    let list: Vec<Value> = serde_json::from_slice(&list.unwrap().stdout).unwrap();
    assert!(list.len() >= 2, "{list:?}");

    // A person with a client certificate has no token to show, and may have that of a ServiceAccount.
    let ada = installed.person("ada", &[]).unwrap();
    installed.may_reach_the_ledger(&ada).unwrap();
    let said = refused(&ada.actpass(&cluster, &["events", name]).unwrap());
    assert!(
        said.contains("client certificate") && said.contains("--service-account"),
        "{said}"
    );
    let account = installed
        .account_for(&namespace, &ada, "actpass-auditor")
        .unwrap();
    let shown = ada.actpass(&cluster, &["events", name, &account]).unwrap();
    assert!(
        shown.status.success() && text(&shown).contains("genesis"),
        "{}",
        text(&shown)
    );

    // Those who may not are told what is missing.
    let eve = installed.token_person("eve").unwrap();
    let said = refused(&eve.actpass(&cluster, &["events", name]).unwrap());
    assert!(said.contains("Role `actpass-ledger-client`"), "{said}");
    installed.may_reach_the_ledger(&eve).unwrap();
    for command in ["events", "verify", "export"] {
        let said = refused(&eve.actpass(&cluster, &[command, name]).unwrap());
        assert!(
            said.contains("may not get evidence of actpass.org")
                && said.contains("actpass-auditor"),
            "{command}: {said}"
        );
    }
    let said = refused(&bea.actpass(&cluster, &["events", "default"]).unwrap());
    assert!(said.contains("may not get evidence"), "{said}");

    // Who may read evidence may not hand out texts of it.
    let disclose = ["export", name, "--disclose", "all", "--to"];
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("disclosed.jsonl");
    let disclose = [&disclose[..], &[to.to_str().unwrap()]].concat();
    let said = refused(&bea.actpass(&cluster, &disclose).unwrap());
    assert!(
        said.contains("may not get evidence/texts of actpass.org")
            && said.contains("--clusterrole=actpass-disclosure"),
        "{said}"
    );
    assert!(!to.exists());
    let dan = installed.token_person("dan").unwrap();
    installed.may_reach_the_ledger(&dan).unwrap();
    installed
        .allow(&namespace, &dan, "actpass-disclosure")
        .unwrap();
    let said = dan.actpass(&cluster, &disclose).unwrap();
    assert!(
        said.status.success() && text(&said).contains("are in clear"),
        "{}",
        text(&said)
    );

    // The controller looks every half minute; what it saw is held against the log from then on.
    eventually(Duration::from_secs(60), || {
        let root = "-o=jsonpath={.status.root}";
        let root = namespace.ask(&["get", "evidencelog", "evidence", root])?;
        ensure!(root.len() == 64, "{root}");
        Ok(())
    })
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log.jsonl").display().to_string();
    let verified = bea
        .actpass(&cluster, &["verify", name, "--keep", &file])
        .unwrap();
    let said = text(&verified);
    assert_eq!(verified.status.code(), Some(0), "{said}");
    for word in [
        "VALID",
        "ConfigMap `actpass-trust`",
        "1 head kept outside",
        "EvidenceLog",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }

    // Elsewhere, without the cluster.
    let key = dir.path().join("key").display().to_string();
    let keys = ["get", "configmap", "actpass-trust", "-n", "actpass-system"];
    let keys = cluster.ask(&[&keys[..], &["-o=jsonpath={.data.ledger-keys}"]].concat());
    std::fs::write(&key, keys.unwrap()).unwrap();
    let elsewhere = || {
        let mut verify = Command::new(actpass());
        verify
            .args(["verify", &file, "--key", &key])
            .output()
            .unwrap()
    };
    assert_eq!(elsewhere().status.code(), Some(0), "{}", text(&elsewhere()));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x01;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(elsewhere().status.code(), Some(3), "{}", text(&elsewhere()));
}

#[test]
fn credentials_are_stored_replaced_and_forgotten_by_those_who_may_and_never_shown() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let pat = installed.token_person("pat").unwrap();
    installed.may_reach_the_ledger(&pat).unwrap();
    let namespace = shop(&installed, &pat);
    let name = namespace.name.as_str();
    let credentials = |args: &[&str], input: &str| {
        let args = [&["credentials", "-n", name], args].concat();
        let output = pat.actpass_fed(&cluster, &args, input).unwrap();
        assert!(!text(&output).contains("s3cr3t"), "{}", text(&output));
        output
    };
    let said = refused(&credentials(&["set", "shop-write", "--yes"], "s3cr3t-1\n"));
    assert!(
        said.contains("may not") && said.contains("actpass-platform"),
        "{said}"
    );
    installed
        .allow(&namespace, &pat, "actpass-platform")
        .unwrap();
    // The ledger believes a no for ten seconds.
    eventually(Duration::from_secs(20), || {
        let listed = credentials(&["list"], "");
        ensure!(listed.status.success(), "{}", text(&listed));
        Ok(())
    })
    .unwrap();
    let said = refused(&credentials(&["set", "shop-write"], "s3cr3t-1\n"));
    assert!(said.contains("no terminal to ask on"), "{said}");
    let said = refused(&credentials(&["set", "other", "--yes"], "s3cr3t-1\n"));
    assert!(
        said.contains("no Upstream names a credential `other`"),
        "{said}"
    );

    let stored = credentials(&["set", "shop-write", "--yes"], "s3cr3t-1\n");
    let said = text(&stored);
    assert!(stored.status.success(), "{said}");
    for word in [
        "api.shop.example",
        "Bearer {secret}",
        "Write,Irreversible",
        " stored",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    // Versions are counted over all namespaces of the vault.
    let version = said
        .split("version ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let before = format!("in place of version {}", version.unwrap());
    let rotated = text(&credentials(&["rotate", "shop-write"], "s3cr3t-2"));
    assert!(
        rotated.contains(" stored") && rotated.contains(&before),
        "{rotated}"
    );
    let listed = credentials(&["list", "-o", "json"], "");
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed[0]["bindings"]["hosts"][0], "api.shop.example");
    // Who did it is on the record.
    let events = pat.actpass(&cluster, &["events", name]).unwrap();
    assert!(
        text(&events).contains("by=system:serviceaccount:actpass-system:pat"),
        "{}",
        text(&events)
    );
    let deleted = credentials(&["delete", "shop-write", "--yes"], "");
    assert!(deleted.status.success(), "{}", text(&deleted));
    let said = refused(&credentials(&["rotate", "shop-write"], "s3cr3t-3"));
    assert!(said.contains("has no credential `shop-write`"), "{said}");
}

#[test]
fn what_nobody_knows_the_outcome_of_is_settled_by_who_may() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let pat = installed.token_person("pat").unwrap();
    installed.may_reach_the_ledger(&pat).unwrap();
    let shop = Shop::open(&installed, "unknown").unwrap();
    let name = shop.namespace.name.as_str();
    let intents = |args: &[&str]| {
        let args = [&["intents"], args, &["-n", name]].concat();
        pat.actpass(&cluster, &args).unwrap()
    };
    let said = refused(&intents(&["list"]));
    assert!(said.contains("actpass-auditor"), "{said}");
    installed
        .allow(&shop.namespace, &pat, "actpass-auditor")
        .unwrap();
    // The ledger believes a no for ten seconds.
    eventually(Duration::from_secs(20), || {
        let listed = text(&intents(&["list"]));
        ensure!(listed.contains("has its outcome"), "{listed}");
        Ok(())
    })
    .unwrap();

    let lost = std::str::from_utf8(LOST).unwrap();
    for note in ["one", "two"] {
        let (status, said) = shop.pay(100, &format!("{note}: {lost}")).unwrap();
        assert!(status.starts_with('5'), "{status} {said}");
    }
    let open = || -> Vec<Value> {
        let listed = intents(&["list", "-o", "json"]);
        serde_json::from_slice(&listed.stdout).unwrap()
    };
    let found = open();
    let ids: Vec<&str> = found.iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!(ids.len(), 2, "{found:?}");
    assert!(found.iter().all(|it| it["state"] == "ambiguous"));
    let listed = text(&intents(&["list"]));
    assert!(
        listed.contains(ids[0]) && listed.contains("1.00 USD"),
        "{listed}"
    );
    let said = refused(&intents(&["resolve", ids[0], "--happened"]));
    assert!(said.contains("actpass-platform"), "{said}");
    installed
        .allow(&shop.namespace, &pat, "actpass-platform")
        .unwrap();
    eventually(Duration::from_secs(20), || {
        let settled = intents(&["resolve", ids[0], "--happened"]);
        ensure!(settled.status.success(), "{}", text(&settled));
        Ok(())
    })
    .unwrap();
    let said = text(&intents(&["resolve", ids[1], "--not-happened"]));
    assert!(said.contains("its budget is free again"), "{said}");
    assert!(open().is_empty());
    let said = refused(&intents(&["resolve", ids[1], "--happened"]));
    assert!(said.contains("no action of that id waits"), "{said}");
    let said = refused(&intents(&["resolve", "one", "--happened"]));
    assert!(said.contains("is not STREAM/SEQ"), "{said}");
    let events = text(&pat.actpass(&cluster, &["events", name]).unwrap());
    assert!(
        events.contains("by=system:serviceaccount:actpass-system:pat"),
        "{events}"
    );
}

#[test]
fn a_namespace_is_tried_before_it_is_labelled_and_nothing_of_it_changes() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let admin = installed
        .person("root-of-all", &["system:masters"])
        .unwrap();
    let namespace = cluster.namespace("onboard").unwrap();
    let name = namespace.name.as_str();
    namespace.apply(WORKLOADS).unwrap();
    let tried = || admin.actpass(&cluster, &["onboard", name]).unwrap();

    let first = tried();
    let said = text(&first);
    assert_eq!(first.status.code(), Some(2), "{said}");
    for word in [
        "not under ActPass yet",
        "deployment/good",
        "would start",
        "cronjob/nightly",
        "spec.jobTemplate.spec.template.spec.hostNetwork",
        "runAsUser",
        "ServiceAccount clerk",
        "cronjob/nightly: else.example",
        "actpass.org/mode=audit",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("Not looked at"), "{said}");
    let pods = namespace.ask(&["get", "pods", "-o", "name"]).unwrap();
    assert_eq!(pods, "", "a dry run made a pod");

    namespace.ask(&["delete", "cronjob", "nightly"]).unwrap();
    namespace.apply(POLICY).unwrap();
    let mended = tried();
    let said = text(&mended);
    assert_eq!(mended.status.code(), Some(0), "{said}");
    assert!(
        !said.contains("Without a Passport") && !said.contains("no Upstream declares"),
        "{said}"
    );

    // Labelled, the webhook itself answers, and agrees.
    namespace
        .ask(&["label", "namespace", name, "actpass.org/mode=audit"])
        .unwrap();
    namespace.apply(WORKLOADS).unwrap();
    eventually(Duration::from_secs(30), || {
        let labelled = tried();
        ensure!(labelled.status.code() == Some(2), "{}", text(&labelled));
        let said = text(&labelled);
        ensure!(
            said.contains("spec.jobTemplate.spec.template.spec.hostNetwork"),
            "{said}"
        );
        let good = said.lines().find(|line| line.contains("deployment/good"));
        ensure!(
            good.is_some_and(|line| line.ends_with("would start")),
            "{said}"
        );
        Ok(())
    })
    .unwrap();
}
