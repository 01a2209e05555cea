//! Does the kernel take the packet filter of an agent's pod, whole, and again over itself, and who reaches whom with it?

#![expect(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use actpass_core::pod::ruleset::{Marks, Ruleset};

/// Runs a script in network and user namespaces of its own, with two interfaces, and the rules as its `$1` and input.
fn in_a_pod(script: &str, rules: &str) -> (bool, String) {
    let script =
        format!("set -eu\nip link set lo up\nip link add eth0 type veth peer name net1\n{script}");
    let mut child = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "sh",
            "-c",
            &script,
            "sh",
            rules,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(rules.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn rules(inbound: &[u16], interfaces: &[&str]) -> String {
    let marks = Marks {
        packet: 0x5a17_c3e1,
        connection: 0xa97,
    };
    let interfaces = interfaces
        .iter()
        .map(|name| name.parse().unwrap())
        .collect();
    let inbound: BTreeSet<u16> = inbound.iter().copied().collect();
    Ruleset::new(41337, inbound, marks, interfaces)
        .unwrap()
        .text()
}

#[test]
fn the_kernel_takes_the_rules_and_takes_them_again() {
    for (inbound, interfaces) in [
        (&[][..], &["eth0"][..]),
        (&[8080], &["eth0"]),
        (&[80, 443, 65535], &["eth0", "net1"]),
    ] {
        let rules = rules(inbound, interfaces);
        let (ok, said) = in_a_pod("nft -c -f -", &rules);
        assert!(ok, "checking {inbound:?} {interfaces:?}: {said}");
        // Twice: a second load replaces the first and adds nothing to it.
        let twice = "printf %s \"$1\" | nft -f -\nnft list ruleset >/tmp/first.$$\nprintf %s \"$1\" | nft -f -\n\
                     nft list ruleset >/tmp/second.$$\ncat /tmp/second.$$\n\
                     cmp /tmp/first.$$ /tmp/second.$$\nrm /tmp/first.$$ /tmp/second.$$";
        let (ok, listed) = in_a_pod(twice, &rules);
        assert!(ok, "loading {inbound:?} {interfaces:?}: {listed}");
        for want in ["hook egress", "hook postrouting", "hook output", "41337"] {
            assert!(listed.contains(want), "{want} of {inbound:?}: {listed}");
        }
        assert_eq!(listed.matches("hook egress").count(), interfaces.len());
    }
}

#[test]
fn a_batch_that_fails_at_its_end_leaves_nothing_behind() {
    let rules = rules(&[8080], &["eth0"]) + "add rule inet actpass gone accept\n";
    let script = "printf %s \"$1\" | nft -f - && exit 1\nnft list ruleset";
    let (ok, said) = in_a_pod(script, &rules);
    assert!(ok, "{said}");
    assert!(!said.contains("chain out"), "half of it was loaded: {said}");
}

/// Needs root: only root has the uids of both the agent and the sidecar.
#[test]
fn only_the_sidecar_reaches_the_world_and_only_the_world_its_metrics() {
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout != b"0\n" {
        eprintln!("not root: who reaches whom is not tried");
        return;
    }
    let mut child = Command::new("unshare")
        .args(["--net", "python3", "-c", include_str!("ruleset.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let rules = rules(&[8080], &["eth0"]);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(rules.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let want = "\
        agent to the world, no sidecar: ECONNREFUSED\n\
        sidecar to the world: world\n\
        agent by UDP: EPERM\n\
        sidecar by UDP: EPERM\n\
        world to the metrics, squatted: timeout\n\
        agent to the world: proxy\n\
        agent to the listener itself: ECONNREFUSED\n\
        agent to the metrics by loopback: ECONNREFUSED\n\
        agent to the metrics by the pod's address: ECONNREFUSED\n\
        world to the metrics: metrics\n\
        world to the health port: health\n\
        world to the listener: timeout\n\
        world to a declared port: declared\n\
        world to another port: timeout\n\
        agent to an agent's port: undeclared\n\
        sidecar to an agent's port: EHOSTUNREACH\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), want);
}
