//! A controller that the API server does not answer: it gives up its part, and takes it up again.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::time::Duration;

use actpass_tests::cluster::{Cluster, eventually, possible_at_length};
use actpass_tests::fed;
use actpass_tests::home::text;
use actpass_tests::installed::{Installed, SYSTEM};
use anyhow::ensure;

/// 30 seconds without an answer, a probe, and what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// The rules of the node that keep one pod from the API server, which is in the node's own network.
const TABLE: &str = "actpass-cut-off";

fn nft(cluster: &Cluster, rules: &str) {
    let output = fed(cluster.node("nft").args(["-f", "-"]), rules.as_bytes()).unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

/// The first replica of the controller: its name, its address and whether it is ready.
fn replica(cluster: &Cluster) -> anyhow::Result<(String, String, bool)> {
    let said = cluster.ask(&[
        "get",
        "pods",
        "-n",
        SYSTEM,
        "-l",
        "app.kubernetes.io/component=controller",
        "--sort-by=.metadata.name",
        "-o",
        "jsonpath={.items[0].metadata.name} {.items[0].status.podIP} \
         {.items[0].status.conditions[?(@.type==\"Ready\")].status}",
    ])?;
    let parts: Vec<&str> = said.split_whitespace().collect();
    let [name, address, ready] = parts.as_slice() else {
        anyhow::bail!("no replica: {said}");
    };
    Ok(((*name).to_owned(), (*address).to_owned(), *ready == "True"))
}

#[test]
fn a_replica_that_is_not_answered_is_not_ready_until_it_is() {
    if !possible_at_length() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let (name, address, ready) = replica(&cluster).unwrap();
    assert!(ready, "{}", installed.standing());
    // What comes from its port 8080 answers the kubelet's probes.
    nft(
        &cluster,
        &format!(
            "table ip {TABLE} {{\nchain in {{\ntype filter hook input priority -300\n\
             ip saddr {address} tcp sport != 8080 drop\n}}\n}}\n"
        ),
    );
    let becomes = |want: bool| {
        eventually(PATIENCE, || {
            let (now, _, ready) = replica(&cluster)?;
            ensure!(now == name && ready == want, "{now}: ready {ready}");
            Ok(())
        })
    };
    let cut = becomes(false);
    nft(&cluster, &format!("delete table ip {TABLE}"));
    cut.unwrap();
    becomes(true).unwrap();
    let log = cluster.ask(&["logs", &name, "-n", SYSTEM]).unwrap();
    for line in [
        "The API server does not answer, or does not show that kind: sessions end, and no passport is made until it does",
        "The API server shows everything again",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    let restarts = cluster
        .ask(&[
            "get",
            "pod",
            &name,
            "-n",
            SYSTEM,
            "-o",
            "jsonpath={.status.containerStatuses[0].restartCount}",
        ])
        .unwrap();
    assert_eq!(restarts.trim(), "0", "by itself");
}
