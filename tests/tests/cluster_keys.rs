//! Keys and the authority of an installation follow one another while agents work and people vote.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::time::Duration;

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

    for what in ["passports", "votes"] {
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
