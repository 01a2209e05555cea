//! `actpass-init` where it does not come to its end: killed, on a kernel that lacks a part of what the rules need, without its
//! capability. Nothing leaves, or nothing is loaded and the next run does it.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use actpass_tests::cluster::eventually;
use actpass_tests::home::text;
use actpass_tests::lab::{Agent, Lab, SIDECAR, in_a_lab, left};
use actpass_tests::{program, scaled};
use anyhow::ensure;

fn init(nft: &Path) -> Command {
    let mut command = Command::new(program("actpass-init"));
    command
        .args(["--sidecar-uid", &SIDECAR.to_string(), "--inbound", "8080"])
        .args(["--packet-mark", "0x5a17c3e1"])
        .args(["--connection-mark", "0x00000a97"])
        .arg("--nft")
        .arg(nft);
    command
}

/// A program in the place of `nft`.
fn stand_in(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("nft");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Whether the whole fence is there; a part of it is a failed test.
fn stands() -> bool {
    let listed = Command::new("nft").args(["list", "ruleset"]).output();
    let listed = text(&listed.unwrap());
    let locks = ["chain out {", "chain fence {", "hook egress"];
    let there = locks.iter().filter(|it| listed.contains(**it)).count();
    assert!(there == 0 || there == locks.len(), "a part of it: {listed}");
    there > 0
}

const NFT: &str = "/usr/sbin/nft";

#[test]
fn killed_at_any_moment_it_leaves_the_whole_fence_or_none() {
    in_a_lab(
        "killed_at_any_moment_it_leaves_the_whole_fence_or_none",
        || {
            let lab = Lab::new().with_sidecar();
            let files = tempfile::tempdir().unwrap();
            let (begun, ended) = (files.path().join("begun"), files.path().join("ended"));
            let watched = format!(
                "touch {}; {NFT} \"$@\"; touch {}",
                begun.display(),
                ended.display()
            );
            let watched = stand_in(files.path(), &watched);
            let (mut whole, mut none) = (0, 0);
            let rounds = scaled(200);
            // How long it takes here: killed before, in between and after.
            let run = Instant::now();
            assert!(init(&watched).output().unwrap().status.success());
            let run = run.elapsed();
            for round in 0..rounds {
                // Every other time over a fence that stands: that one must not fall.
                let stood = round % 2 == 1;
                match stood {
                    true => assert!(init(Path::new(NFT)).output().unwrap().status.success()),
                    false => lab.load(""),
                }
                let mut child = init(&watched).stderr(Stdio::null()).spawn().unwrap();
                std::thread::sleep(run * (round * 7_919 % 1_500) / 1_000);
                child.kill().unwrap();
                child.wait().unwrap();
                // What it had started goes on, as it would not in a container.
                eventually(Duration::from_secs(10), || {
                    ensure!(!begun.exists() || ended.exists(), "nft goes on");
                    Ok(())
                })
                .unwrap();
                let stands = stands();
                assert!(
                    stands || !stood,
                    "round {round}: a fence that stood is gone"
                );
                match (stood, stands) {
                    (true, _) => {}
                    (false, true) => whole += 1,
                    (false, false) => none += 1,
                }
                fs::remove_file(&begun).ok();
                fs::remove_file(&ended).ok();
            }
            assert!(whole > 0 && none > 0, "{whole} whole, {none} none");
            println!("{rounds} kills: {whole} times the whole fence, {none} times none");
            lab.load("");
            lab.seen();
            let again = init(Path::new(NFT)).output().unwrap();
            assert!(again.status.success(), "{}", text(&again));
            let frames = left(&lab.some(Agent::Confined, &["tcp4", "udp4", "udp6", "ping4"]));
            assert_eq!(frames, Vec::<String>::new());
        },
    );
}

#[test]
fn what_the_kernel_lacks_is_said_by_name() {
    in_a_lab("what_the_kernel_lacks_is_said_by_name", || {
        let _lab = Lab::new();
        let files = tempfile::tempdir().unwrap();
        for (what, words) in [
            ("nf_tables with the inet family", "*inet*"),
            ("NAT of nf_tables", "*redirect*|*'type nat'*"),
            ("conntrack of nf_tables", "*' ct '*"),
            ("fib of nf_tables", "*fib*"),
            ("reject of nf_tables", "*reject*"),
            ("the egress hook of the netdev family", "*netdev*"),
        ] {
            // In the words of the kernel for a module that is not there.
            let script = format!(
                "rules=$(cat); case $rules in {words}) \
                 echo 'Error: Could not process rule: No such file or directory' >&2; exit 1;; esac; \
                 printf '%s\\n' \"$rules\" | {NFT} \"$@\""
            );
            let lacking = stand_in(files.path(), &script);
            let output = init(&lacking).output().unwrap();
            let said = text(&output);
            assert!(!output.status.success(), "{what}");
            assert!(said.contains(&format!("it lacks {what}")), "{what}: {said}");
            assert_eq!(said.matches("lacks").count(), 1, "{said}");
            assert!(!stands(), "{what}");
        }
        // One that says no without a look at the rules.
        let silent = stand_in(files.path(), "echo busy >&2; exit 1");
        let said = text(&init(&silent).output().unwrap());
        assert!(said.contains("the kernel took no rules: busy"), "{said}");
        let said = text(&init(Path::new("/nowhere/nft")).output().unwrap());
        assert!(said.contains("run `/nowhere/nft`: No such file"), "{said}");

        let mut powerless = Command::new("setpriv");
        powerless
            .args([
                "--bounding-set=-all",
                "--inh-caps=-all",
                "--reuid=65534",
                "--",
            ])
            .arg(program("actpass-init"))
            .args(init(Path::new(NFT)).get_args());
        let said = text(&powerless.output().unwrap());
        assert!(said.contains("it takes the capability NET_ADMIN"), "{said}");
        assert!(!stands());
        assert!(init(Path::new(NFT)).output().unwrap().status.success());
        assert!(stands());
    });
}
