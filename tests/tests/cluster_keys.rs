//! Keys and the authority of an installation follow one another while agents work and people vote.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::process::Command;
use std::time::Duration;

use actpass_tests::actpass;
use actpass_tests::cluster::{Cluster, eventually, possible_at_length};
use actpass_tests::home::text;
use actpass_tests::installed::{CHART, Installed, Person, SYSTEM, shown};
use actpass_tests::shop::{Shop, agent};
use anyhow::{Context, ensure};
use serde_json::Value;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a container that waits for nothing does.
const IDLE: &[&str] = &["sleep", "inf"];

#[test]
fn keys_and_the_authority_follow_one_another_and_no_payment_is_refused() {
    if !possible_at_length() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    // Minutes in earnest.
    let short = "--set=keys.noticeSeconds=3,keys.overlapSeconds=20";
    let upgrade = ["upgrade", "actpass", CHART, "--reuse-values", short];
    installed.change(&upgrade).unwrap();
    let shop = Shop::paying(&installed, "keys").unwrap();
    let root = installed.person("root", &["system:masters"]).unwrap();
    let ann = installed.person("ann", &["finance"]).unwrap();
    let may = installed.allow(&shop.namespace, &ann, "actpass-approver");
    may.unwrap();

    let name = shop.namespace.name.as_str();
    let first = listed(&cluster).unwrap().swap_remove(0);
    let ledgers = ledgers(&cluster).unwrap();
    for what in ["passports", "votes", "checkpoints", "checkpoints"] {
        let before = in_use(&keys(&cluster, &root, what).unwrap()).unwrap();
        rotate(&cluster, &root, what);
        eventually(PATIENCE, || {
            let keys = keys(&cluster, &root, what)?;
            ensure!(in_use(&keys)? != before, "{keys:?}");
            let old = keys.iter().find(|(key, _)| *key == before);
            ensure!(old.is_some_and(|(_, state)| state == "ended"), "{keys:?}");
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{what}: {error:#}\n{}", installed.standing()));
        shop.goes_on(what).unwrap();
    }
    // Each key of the ledger signed for the next, so who knows the first alone is led through the log, and no ledger began anew.
    assert_eq!(listed(&cluster).unwrap().len(), 3);
    assert_eq!(self::ledgers(&cluster).unwrap(), ledgers);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log.jsonl").display().to_string();
    let bea = installed.token_person("bea").unwrap();
    installed.may_reach_the_ledger(&bea).unwrap();
    let may = installed.allow(&shop.namespace, &bea, "actpass-auditor");
    may.unwrap();
    let verified = bea.actpass(&cluster, &["verify", name, "--keep", &file]);
    let verified = verified.unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    let key = dir.path().join("key").display().to_string();
    std::fs::write(&key, first).unwrap();
    let mut verify = Command::new(actpass());
    let verified = verify.args(["verify", &file, "--key", &key]).output();
    let verified = verified.unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    let leaves = installed.leaves(&shop.namespace).unwrap();
    let kinds = leaves.iter().filter_map(|leaf| leaf.pointer("/r/kind"));
    assert_eq!(kinds.filter(|kind| *kind == "log_key").count(), 2);
    // The private half of what has ended is gone.
    eventually(PATIENCE, || {
        let secret = ["get", "secret", "actpass-ledger", "--namespace", SYSTEM];
        let seeds = "--output=go-template={{index .data \"log.key\" | base64decode}}";
        let count = cluster
            .ask(&[&secret[..], &[seeds]].concat())?
            .lines()
            .count();
        ensure!(count == 1, "{count} seeds");
        Ok(())
    })
    .unwrap();
    let before =
        ["controller", "ledger", "webhook"].map(|part| (part, shown(&cluster, part).unwrap()));
    rotate(&cluster, &root, "authority");
    for (part, before) in before {
        eventually(PATIENCE, || {
            let now = shown(&cluster, part)?;
            ensure!(now != before, "{part} shows the certificate of before");
            Ok(())
        })
        .unwrap();
    }
    shop.goes_on("another authority").unwrap();

    // Sessions, the vault and the webhook under the new ones; the API server asks the webhook about each pod.
    assert_eq!(shop.restarts().unwrap(), 0);
    let pod = agent(IDLE).replace("name: agent", "name: later");
    shop.namespace.start("later", &pod).unwrap();
    let approval = shop.asks("large").unwrap();
    let yes = ["approve", &approval, "--yes", "-n", &shop.namespace.name];
    let approved = ann.actpass(&cluster, &yes).unwrap();
    assert!(approved.status.success(), "{}", text(&approved));
    assert_eq!(shop.pay(9_900, "large").unwrap().0, "200");
    // A sidecar that begins anew believes by the files of its pod, which lists of then have reached.
    let statuses = shop.statuses().unwrap();
    let refused: Vec<&String> = statuses.iter().filter(|code| *code != "200").collect();
    assert!(
        refused.is_empty(),
        "{} of {}: {:?}",
        refused.len(),
        statuses.len(),
        refused.first()
    );
    println!(
        "{} payments while keys followed one another, none refused",
        statuses.len()
    );
}

/// The keys of checkpoints that are listed, oldest first.
fn listed(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let map = ["get", "configmap", "actpass-trust", "--namespace", SYSTEM];
    let list = "--output=jsonpath={.data.ledger-keys}";
    let list = cluster.ask(&[&map[..], &[list]].concat())?;
    let keys = list.lines().filter_map(|line| line.split(' ').next());
    Ok(keys.map(str::to_owned).collect())
}

/// The ledger's pods, and how often each was started.
fn ledgers(cluster: &Cluster) -> anyhow::Result<String> {
    let pods = [
        "get",
        "pods",
        "--namespace",
        SYSTEM,
        "--selector=app.kubernetes.io/component=ledger",
    ];
    let counts = "--output=jsonpath={range .items[*]}{.metadata.uid} {.status.containerStatuses[*].restartCount},{end}";
    let pods = cluster.ask(&[&pods[..], &[counts]].concat())?;
    ensure!(!pods.is_empty(), "no ledger");
    Ok(pods)
}

fn rotate(cluster: &Cluster, person: &Person, what: &str) {
    let asked = person.actpass(cluster, &["keys", "rotate", what]).unwrap();
    assert!(asked.status.success(), "{}", text(&asked));
}

/// Ids and states of the keys for `what`.
fn keys(cluster: &Cluster, person: &Person, what: &str) -> anyhow::Result<Vec<(String, String)>> {
    let listed = person.actpass(
        cluster,
        &[
            "keys",
            "--system-namespace",
            SYSTEM,
            "list",
            "--output=json",
        ],
    )?;
    ensure!(listed.status.success(), "{}", text(&listed));
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout)?;
    let ours = listed
        .iter()
        .filter(|key| key.get("signs").and_then(Value::as_str) == Some(what));
    ours.map(|key| {
        let of = |name: &str| key.get(name).and_then(Value::as_str).map(str::to_owned);
        of("key").zip(of("state")).context("a key")
    })
    .collect()
}

fn in_use(keys: &[(String, String)]) -> anyhow::Result<String> {
    let used: Vec<&String> = keys
        .iter()
        .filter(|(_, state)| state == "in use")
        .map(|(key, _)| key)
        .collect();
    match used[..] {
        [one] => Ok(one.clone()),
        _ => anyhow::bail!("{keys:?}"),
    }
}
