//! Row 25: what a pod has of ports, places in conntrack and descriptors is its agents' to use up; then they have no way out, and
//! neither has anybody else.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use actpass_tests::cluster::eventually;
use actpass_tests::fenced::{Fenced, UPSTREAM};
use actpass_tests::home::text;
use actpass_tests::lab::{Agent, in_a_lab};
use actpass_tests::scaled;
use anyhow::ensure;

/// What is there again after a while is there by then.
const PATIENCE: Duration = Duration::from_secs(150);

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  ports: [8080]
  tls: {mode: None}
  actions: [{name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}]
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  owner: owner@example.com
  purpose: Read
  scope: [{capability: shop.read}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: all}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules: [{name: reads, decision: Allow, capabilities: [shop.read]}]
"#;

const SHOP: &str = "http://api.shop.example:8080/v1/items";

/// What is tried while there is nothing left.
const TRIES: [&str; 7] = [
    "tcp4",
    "udp4",
    "udp6",
    "dns4",
    "ping4",
    "device_tcp4",
    "unicast4",
];

/// A sidecar that was asked for something already.
fn fenced() -> Fenced {
    let fenced = Fenced::start(POLICY, Arc::new(|_, _| vec![UPSTREAM[0].parse().unwrap()]));
    assert_eq!(fenced.curl(&[SHOP]), "upstream");
    fenced
}

fn comes_back(fenced: &Fenced) {
    eventually(PATIENCE, || {
        let said = fenced.curl(&[SHOP]);
        ensure!(said == "upstream", "{said}");
        Ok(())
    })
    .unwrap();
}

/// Frames to anybody but the ledger, the name server and the upstream.
fn elsewhere(fenced: &Fenced) -> Vec<String> {
    let mut dialled = fenced.dialled();
    dialled.retain(|it| !it.contains(&format!("> {}", UPSTREAM[0])));
    dialled
}

/// A number that the kernel has for this network.
fn setting(name: &str) -> u32 {
    let said = fs::read_to_string(format!("/proc/sys/net/netfilter/{name}"));
    said.unwrap().trim().parse().unwrap()
}

#[test]
fn what_is_used_up_is_the_pods_own_way_out_and_comes_back() {
    in_a_lab(
        "what_is_used_up_is_the_pods_own_way_out_and_comes_back",
        || {
            let fenced = fenced();
            fenced.dialled();

            // More connections to the sidecar at once than it takes.
            let files = tempfile::tempdir().unwrap();
            fs::set_permissions(files.path(), fs::Permissions::from_mode(0o777)).unwrap();
            let go = files.path().join("go");
            let mut clutch = fenced.lab.kit(Agent::Confined);
            clutch
                .args(["clutch", "2500", "203.0.113.70", "443"])
                .arg(&go);
            let mut clutch = clutch.stdout(Stdio::piped()).spawn().unwrap();
            let mut held = String::new();
            BufReader::new(clutch.stdout.take().unwrap())
                .read_line(&mut held)
                .unwrap();
            let count: u32 = held.trim().parse().unwrap();
            assert!(count > 2_000, "{count} connections are no crowd");
            let tried = fenced
                .lab
                .kit(Agent::Confined)
                .args(TRIES)
                .output()
                .unwrap();
            assert!(text(&tried).contains("tcp4"), "{}", text(&tried));
            assert_eq!(
                fenced.dialled(),
                Vec::<String>::new(),
                "while {} are held",
                held.trim()
            );
            fs::write(&go, "").unwrap();
            clutch.wait().unwrap();
            comes_back(&fenced);
            fenced.dialled();

            // Places in conntrack: as many as the machine has for each network. From 95 % on the kernel makes room.
            let max = setting("nf_conntrack_max");
            let crowd = scaled(400_000);
            let mut most = 0;
            let mut child = fenced.lab.kit(Agent::Confined);
            let child = child
                .args(["crowd", &crowd.to_string()])
                .stdout(Stdio::piped());
            let mut child = child.spawn().unwrap();
            let mut denied = 0;
            while child.try_wait().unwrap().is_none() {
                most = most.max(setting("nf_conntrack_count"));
                fenced
                    .lab
                    .kit(Agent::Confined)
                    .args(TRIES)
                    .output()
                    .unwrap();
                denied += u32::from(fenced.curl(&["-m", "2", SHOP]) != "upstream");
            }
            let went = text(&child.wait_with_output().unwrap());
            assert_eq!(elsewhere(&fenced), Vec::<String>::new());
            println!(
                "{} connections held; {} of {crowd} made, {most} of {max} places taken; {denied} requests of the sidecar denied meanwhile",
                held.trim(),
                went.trim()
            );
            assert!(most > crowd.min(max) / 4, "{most} places of {max}");
            comes_back(&fenced);
            fenced.close().verified().unwrap();
        },
    );
}

/// Places in conntrack to the last one, each by a flow that the kernel makes no room of: see `fill` of the kit.
#[test]
fn a_table_of_connections_that_is_full_lets_nothing_out() {
    in_a_lab(
        "a_table_of_connections_that_is_full_lets_nothing_out",
        || {
            let max = setting("nf_conntrack_max");
            if max > PLACES_MAX {
                println!("LEFT OUT: {max} places in conntrack are more than a test should fill");
                return;
            }
            // For longer than a round takes on a busy machine; the test waits so long at its end.
            let timeout = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream";
            fs::write(timeout, "90").unwrap();
            let fenced = fenced();
            let files = tempfile::tempdir().unwrap();
            fs::set_permissions(files.path(), fs::Permissions::from_mode(0o777)).unwrap();
            let end = files.path().join("end");
            let mut fill = fenced.lab.kit(Agent::Confined);
            // More than there are places, so that one that gets free is taken at once.
            fill.args(["fill", &(max + max / 50).to_string()]).arg(&end);
            let mut fill = fill.stdout(Stdio::piped()).spawn().unwrap();
            let mut rounds = BufReader::new(fill.stdout.take().unwrap()).lines();
            let mut full = 0;
            for round in rounds.by_ref().take(ROUNDS_MAX) {
                let round = round.unwrap();
                let (_, refused) = round.split_once(' ').unwrap();
                full = if refused == "0" { 0 } else { full + 1 };
                if full == 3 {
                    break;
                }
            }
            assert_eq!(full, 3, "it never was full");
            let before = (setting("nf_conntrack_count"), refused());
            elsewhere(&fenced);

            let printed = fenced.lab.kit(Agent::Confined).arg("all").output().unwrap();
            let printed = text(&printed);
            assert!(printed.contains("tcp4\tclosed"), "{printed}");
            let denied = fenced.curl(&["-m", "2", SHOP]);
            assert_ne!(denied, "upstream", "there was room");
            assert_eq!(fenced.dialled(), Vec::<String>::new(), "{printed}");
            let after = (setting("nf_conntrack_count"), refused());
            println!(
                "{} and {} of {max} places taken, {} packets without one meanwhile",
                before.0,
                after.0,
                after.1 - before.1
            );
            for (count, _) in [before, after] {
                assert!(count >= max - max / 1_000, "{count} of {max}");
            }
            assert!(after.1 > before.1, "nothing was without a place");

            fs::write(&end, "").unwrap();
            fill.wait().unwrap();
            comes_back(&fenced);
            let sent = fenced.dialled();
            let to_upstream = |it: &&String| it.contains(&format!("> {}", UPSTREAM[0]));
            let count = sent.iter().filter(to_upstream).count();
            assert!(count > 0 && count == sent.len(), "{sent:?}");
            fenced.close().verified().unwrap();
        },
    );
}

/// As many as a test fills in seconds.
const PLACES_MAX: u32 = 1 << 19;

/// Rounds of filling; it is full after three.
const ROUNDS_MAX: usize = 40;

/// How many packets of this network found no place in conntrack: column `drop`, on each processor.
fn refused() -> u64 {
    let table = fs::read_to_string("/proc/net/stat/nf_conntrack").unwrap();
    let mut lines = table.lines();
    let heads = lines.next().unwrap_or_default().split_whitespace();
    let column = heads.into_iter().position(|it| it == "drop").unwrap();
    let of_line = |line: &str| u64::from_str_radix(line.split_whitespace().nth(column)?, 16).ok();
    lines.filter_map(of_line).sum()
}
