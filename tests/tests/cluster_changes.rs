//! What operators do to an installation while agents work: certificates made anew, upgrade, rollback, uninstall.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use actpass_tests::cluster::{Cluster, Own, eventually, possible_at_length};
use actpass_tests::home::text;
use actpass_tests::installed::{CHART, Installed, SYSTEM, shown};
use actpass_tests::shop::Shop;
use anyhow::ensure;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn agents_go_on_while_operators_change_what_is_under_them_and_nothing_is_left_behind() {
    if !possible_at_length() {
        return;
    }
    // One of its own: it ends without ActPass.
    let cluster = Own::up().unwrap();
    let installed = Installed::lasting(&cluster).unwrap();
    let shop = Shop::paying(&installed, "changes").unwrap();

    let before = shop.statuses().unwrap().len();
    certificates_are_made_anew(&cluster);
    shop.goes_on("new certificates").unwrap();
    let since: Vec<String> = shop.statuses().unwrap().split_off(before);
    let failed: Vec<&String> = since.iter().filter(|code| *code != "200").collect();
    assert!(
        failed.is_empty(),
        "{} of {} payments: {:#?}",
        failed.len(),
        since.len(),
        failed.first()
    );
    println!("new certificates: {} payments, none failed", since.len());

    let release = |name: &str| format!("{name}.env[0].name=RELEASE,{name}.env[0].value=next");
    let values = ["controller", "ledger", "webhook"].map(release).join(",");
    let upgrade = [
        "upgrade",
        "actpass",
        CHART,
        "--reuse-values",
        "--set",
        &values,
    ];
    for (name, args) in [
        ("upgrade", &upgrade[..]),
        ("rollback", &["rollback", "actpass", "1"]),
    ] {
        let before = shop.statuses().unwrap().len();
        installed.change(args).unwrap();
        shop.goes_on(name).unwrap();
        let since = shop.statuses().unwrap().split_off(before);
        let failed = since.iter().filter(|code| *code != "200").count();
        println!(
            "{name}: {} payments, {failed} refused meanwhile",
            since.len()
        );
    }
    assert_eq!(shop.restarts().unwrap(), 0, "the agent's pod was restarted");
    // What was refused reached nobody, what was not reached the provider once.
    let paid = shop.paid().unwrap();
    let once: BTreeSet<&String> = paid.iter().collect();
    assert_eq!(once.len(), paid.len(), "a payment arrived twice");

    uninstalled(&cluster, &shop);
}

/// Takes each part's certificate away, and waits for the next to be shown.
fn certificates_are_made_anew(cluster: &Cluster) {
    for part in ["controller", "ledger", "webhook"] {
        let secret = format!("actpass-{part}-tls");
        let of = |entry: &str| {
            let path = format!("-o=jsonpath={{.data.{entry}}}");
            cluster.ask(&["get", "secret", &secret, "-n", SYSTEM, &path])
        };
        let (kept, shown) = (of("tls\\.crt").unwrap(), shown(cluster, part).unwrap());
        let empty = r#"{"data":{"tls.crt":"","tls.key":""}}"#;
        cluster
            .ask(&[
                "patch",
                "secret",
                &secret,
                "-n",
                SYSTEM,
                "--type=merge",
                "-p",
                empty,
            ])
            .unwrap();
        eventually(PATIENCE, || {
            let now = of("tls\\.crt")?;
            ensure!(
                !now.is_empty() && now != kept,
                "the Secret of {part} is not made anew"
            );
            let now = self::shown(cluster, part)?;
            ensure!(now != shown, "{part} shows the certificate of before");
            Ok(())
        })
        .unwrap();
    }
}

/// As the documents say; then nothing of ours is there but what they name, and pods start as everywhere.
fn uninstalled(cluster: &Cluster, shop: &Shop<'_>) {
    cluster
        .ask(&["label", "namespace", "--all", "actpass.org/mode-"])
        .unwrap();
    eventually(PATIENCE, || {
        let ours = shop
            .namespace
            .ask(&["get", "networkpolicies,configmaps", "--output=name"])?;
        ensure!(!ours.contains("actpass"), "{ours}");
        Ok(())
    })
    .unwrap();
    let output = cluster
        .helm(&["uninstall", "actpass", "--namespace", SYSTEM, "--wait"])
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));

    let kinds = cluster
        .ask(&["api-resources", "--verbs=list", "--output=name"])
        .unwrap();
    let kinds = kinds.lines().filter(|kind| !kind.starts_with("events"));
    let kinds = kinds.collect::<Vec<_>>().join(",");
    let path =
        "-o=jsonpath={range .items[*]}{.kind} {.metadata.namespace} {.metadata.name}{\"\\n\"}{end}";
    let kept = |line: &&str| {
        let (kind, _) = line.split_once(' ').unwrap_or((line, ""));
        let at_home = line.contains(&format!(" {} ", shop.namespace.name));
        match kind {
            // Stays on purpose: kinds with what is declared, keys, evidence.
            "CustomResourceDefinition"
            | "Upstream"
            | "Passport"
            | "ActionPolicy"
            | "EvidenceLog" => true,
            // Kubernetes' own, of our kinds.
            "APIService" => true,
            // Of pods that still run.
            "Lease" => line.contains(" actpass-session-"),
            "PersistentVolumeClaim" => line.ends_with(" data-actpass-ledger-0"),
            "Secret" => ["controller", "ledger", "webhook"]
                .iter()
                .any(|part| line.ends_with(&format!("actpass-{part}"))),
            "Namespace" | "ServiceAccount" | "ConfigMap" => {
                !line.contains("actpass-")
                    || line.contains(" actpass-bundle-")
                    || line.ends_with(" tests-admin")
                    || line.ends_with(SYSTEM)
                    || line.ends_with("kube-root-ca.crt")
                    || line.ends_with(" default")
            }
            _ => at_home,
        }
    };
    // Pods take a moment to end.
    eventually(PATIENCE, || {
        let all = cluster.ask(&["get", &kinds, "--all-namespaces", path])?;
        let left = all.lines().filter(|line| line.contains("actpass"));
        let left: Vec<&str> = left.filter(|line| !kept(line)).collect();
        ensure!(left.is_empty(), "left behind: {left:#?}");
        Ok(())
    })
    .unwrap();

    let pod = actpass_tests::shop::agent(&["sleep", "inf"]).replace("name: agent", "name: plain");
    shop.namespace.start("plain", &pod).unwrap();
    let containers = [
        "get",
        "pod",
        "plain",
        "-o=jsonpath={.spec.initContainers[*].name}",
    ];
    assert_eq!(shop.namespace.ask(&containers).unwrap(), "");
}
