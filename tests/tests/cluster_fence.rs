//! An agent's container on a real node, in the hands of somebody who wants out: the whole attack kit, with the node's end of the
//! pod's link as the only judge.

use std::process::Command;
use std::time::Duration;

use actpass_tests::attack::{self, Attempt};
use actpass_tests::cluster::{Cluster, eventually, possible};
use actpass_tests::home::text;
use actpass_tests::installed::Installed;
use actpass_tests::pod::{FREE, Pod};
use actpass_tests::restless::went_to;
use actpass_tests::shop::Shop;
use anyhow::{bail, ensure};

/// The controller looks at its pods every half minute.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn a_container_without_a_fence_leaves_by_every_way_of_the_kit() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    Installed::on(&cluster).unwrap();
    let namespace = cluster.namespace("free").unwrap();
    namespace.start("free", FREE).unwrap();
    let pod = Pod::of(&namespace, "free").unwrap();
    pod.plant("main").unwrap();
    let sniffer = pod.sniffer().unwrap();
    let said = attack::said(&pod.attack("main", "all").unwrap()).unwrap();
    let frames = sniffer.seen().unwrap();
    // There is no sidecar to be reached.
    let own = |it: &Attempt| matches!(it.number, 20..=22 | 26 | 27);
    let closed = attack::closed_without_a_fence(&said, &frames, own);
    assert!(closed.is_empty(), "closed without a fence: {closed:#?}");
}

#[test]
fn an_agents_container_leaves_by_no_way_of_the_kit() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let shop = Shop::open(&installed, "fence").unwrap();
    assert_eq!(shop.pay(100, "before").unwrap().0, "200");
    let pod = Pod::of(&shop.namespace, "agent").unwrap();
    assert_eq!(pod.addresses.len(), 2, "IPv4 and IPv6: {:?}", pod.addresses);
    pod.plant("main").unwrap();
    let sniffer = pod.sniffer().unwrap();
    let printed = pod.attack("main", "all").unwrap();
    let said = attack::said(&printed).unwrap();
    // Who sees nothing of the others sees this.
    assert_eq!(shop.pay(100, "meanwhile").unwrap().0, "200");
    let frames = sniffer.seen().unwrap();
    let provider = shop.address().unwrap();
    assert!(went_to(&frames, &provider.to_string()), "what is decided");
    let left = pod.undecided(&frames, &[provider], &[&shop.host]);
    assert_eq!(left, Vec::<String>::new(), "{printed}");
    let open: Vec<&str> = said
        .iter()
        .filter(|it| it.open && it.attempt.refused)
        .map(|it| it.attempt.name)
        .collect();
    assert_eq!(open, Vec::<&str>::new(), "open, though nothing left");
    // The fence stands, and the sidecar goes on as if nothing had been.
    assert_eq!(shop.pay(100, "after").unwrap().0, "200");
}

/// The kernel's rules are gone, as by a fault of the node or by whoever has its root.
#[test]
fn a_fence_that_falls_is_told_to_everybody() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let shop = Shop::open(&installed, "falls").unwrap();
    let ask = |args: &[&str]| shop.namespace.ask(args);
    let fenced = |want: &str| {
        let path = "-o=jsonpath={range .status.conditions[?(@.type==\"Fenced\")]}{.status} {.reason} {.message}{end}";
        eventually(PATIENCE, || {
            let said = ask(&["get", "passport", "clerk", path])?;
            ensure!(said.starts_with(want), "{said}");
            Ok(said)
        })
    };
    fenced("True Fenced ").unwrap();
    let pod = Pod::of(&shop.namespace, "agent").unwrap();
    let verifier = pod.process("actpass-verify").unwrap();
    let network = format!("--net=/proc/{verifier}/ns/net");
    let flushed = Command::new("nsenter")
        .args([&network, "nft", "flush", "ruleset"])
        .status();
    assert!(flushed.unwrap().success());
    // It looks every minute; one that starts anew looks at once.
    let killed = Command::new("kill")
        .args(["-9", &verifier.to_string()])
        .status();
    assert!(killed.unwrap().success());

    let said = fenced("False WayOut ").unwrap();
    assert!(said.contains("agent: ") && said.contains("udp: "), "{said}");
    let events = eventually(PATIENCE, || {
        let events = ask(&["get", "events", "--field-selector=reason=FenceBroken"])?;
        ensure!(events.contains("pod/agent"), "{events}");
        Ok(events)
    });
    assert!(events.unwrap().contains("delete the pod"));
    let metrics = format!("http://{}:15090/metrics", pod.addresses.first().unwrap());
    let metrics = cluster
        .node("curl")
        .args(["-s", &metrics])
        .output()
        .unwrap();
    assert!(text(&metrics).contains("actpass_sidecar_fence_stands 0"));
    eventually(PATIENCE, || {
        let leaves = installed.leaves(&shop.namespace)?;
        let notes = leaves.iter().filter_map(|leaf| {
            let body = leaf.pointer("/r/body")?;
            (body["note"] == "fence").then(|| body["text"].to_string())
        });
        let notes: Vec<String> = notes.collect();
        let [stood, open] = notes.as_slice() else {
            bail!("{notes:?}");
        };
        ensure!(
            stood.contains("none is open") && open.contains("udp"),
            "{notes:?}"
        );
        Ok(())
    })
    .unwrap();

    // It alone is cut off, until it is gone.
    let label = ask(&[
        "get",
        "pod",
        "agent",
        r"-o=jsonpath={.metadata.labels.actpass\.org/pod}",
    ])
    .unwrap();
    assert_eq!(label.len(), 16, "{label}");
    let selected = |policy: &str| {
        let path = "-o=jsonpath={.spec.podSelector.matchExpressions[*]['operator','values']}";
        ask(&["get", "networkpolicy", policy, path])
    };
    let until = |policy: &str, want: String| {
        eventually(PATIENCE, || {
            let said = selected(policy)?;
            ensure!(said == want, "{policy}: {said}");
            Ok(())
        })
    };
    until("actpass-quarantine", format!("In [\"{label}\"]")).unwrap();
    until("actpass-agents", format!("NotIn [\"{label}\"]")).unwrap();
    ask(&["delete", "pod", "agent", "--wait=true"]).unwrap();
    fenced("Unknown NoPods ").unwrap();
    until("actpass-agents", String::new()).unwrap();
    assert!(
        selected("actpass-quarantine").is_err(),
        "nobody is left in it"
    );
}
