//! Does the kernel take the packet filter of an agent's pod, whole, and again over itself?

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
