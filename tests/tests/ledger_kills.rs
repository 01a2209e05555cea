//! A real process that writes the log is killed again and again: what it had said to be durable is there, byte for byte,
//! and nothing else but what it was at. One that is stopped keeps its log to itself.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use actpass_core::evidence::leaf::{EventBody, Leaf};
use actpass_core::hash::sha256;
use actpass_core::verify::Class;
use actpass_ledger::offline::{Known, verify_dir};
use actpass_ledger::storage::{Entry, SegmentReader};
use actpass_tests::parts::compiled;
use actpass_tests::{program, scaled};
use rustix::process::{Pid, Signal, kill_process};

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  actions:
    - {name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  owner: owner@example.com
  purpose: NTH
  scope: [{capability: shop.read}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: all}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules: [{name: reads, decision: Allow, capabilities: [shop.read]}]
"#;

/// Kills of one log: reading it again each time costs more the longer it is.
const KILLS_OF_ONE_LOG: u32 = 25;

/// A state directory, and what was heard from outside of what is in its log.
struct Log {
    dir: tempfile::TempDir,
    bundles: Vec<PathBuf>,
    /// Digests of the bundles in the log, as it was found after the last kill.
    held: Vec<String>,
    /// Digest of all leaves then.
    leaves: Vec<[u8; 32]>,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bundles = (0..2).map(|nth| {
            let policy = POLICY.replace("NTH", &format!("number {nth}"));
            let bundle = compiled(&policy, "local/default/1").unwrap();
            let file = dir.path().join(format!("{nth}.json"));
            fs::write(&file, bundle.bytes()).unwrap();
            file
        });
        Self {
            bundles: bundles.collect(),
            dir,
            held: Vec::new(),
            leaves: Vec::new(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn appender(&self) -> Command {
        let mut command = Command::new(program("appender"));
        command
            .arg(self.dir.path())
            .args(&self.bundles)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Holds what is in the log now against what was there before and what was said since; the answer is whether there
    /// is one more.
    fn compare(&mut self, said: &[String]) -> bool {
        let (held, leaves) = read(&self.dir());
        assert!(leaves.starts_with(&self.leaves), "leaves of before changed");
        let new = &held[self.held.len()..];
        // Where the bundle is active already nothing is written: the first that a new process gives may be.
        let said = match said.first() {
            Some(first) if Some(first) == self.held.last() => &said[1..],
            _ => said,
        };
        assert!(new.starts_with(said), "said {said:?}, found {new:?}");
        assert!(new.len() <= said.len() + 1, "said {said:?}, found {new:?}");
        let more = new.len() > said.len();
        (self.held, self.leaves) = (held, leaves);
        more
    }
}

/// Bundles and leaves of a log.
fn read(dir: &Path) -> (Vec<String>, Vec<[u8; 32]>) {
    let (mut bundles, mut leaves) = (Vec::new(), Vec::new());
    let mut visit = |entry: Entry<'_>| {
        if let Entry::Leaf { bytes, .. } = entry {
            leaves.push(sha256(&[bytes]));
            if let Some(EventBody::Bundle { digest, .. }) = Leaf::parse(bytes).unwrap().event() {
                bundles.push(digest.to_string());
            }
        }
        ControlFlow::Continue(())
    };
    if dir.join("segments").is_dir() {
        let mut reader = SegmentReader::open_read_only(dir).unwrap();
        reader.replay(&mut visit).unwrap();
    }
    (bundles, leaves)
}

fn lines(child: &mut Child) -> BufReader<ChildStdout> {
    BufReader::new(child.stdout.take().unwrap())
}

#[test]
fn killed_at_any_moment_it_loses_nothing_that_it_said_was_kept() {
    let kills = scaled(1_000);
    let mut log = Log::new();
    let (mut acknowledged, mut unanswered, mut early, mut torn) = (0, 0, 0, 0);
    for nth in 0..kills {
        if nth % KILLS_OF_ONE_LOG == 0 {
            log = Log::new();
        }
        let mut child = log.appender().spawn().unwrap();
        let mut out = lines(&mut child);
        let mut heard = String::new();
        // One in eight is killed while it starts, and so while it mends what the kill before left.
        let wait_for = if nth % 8 == 7 { 0 } else { 1 + nth % 13 };
        for _ in 0..wait_for {
            out.read_line(&mut heard).unwrap();
        }
        std::thread::sleep(Duration::from_micros(u64::from(nth * 7_919 % 20_000)));
        child.kill().unwrap();
        out.read_to_string(&mut heard).unwrap();
        let status = child.wait_with_output().unwrap();
        let failed = String::from_utf8_lossy(&status.stderr).into_owned();
        assert_eq!(status.status.code(), None, "it ended by itself: {failed}");
        // A line cut short was not said.
        let whole = heard
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let said: Vec<String> = whole.map(|line| line.trim().to_owned()).collect();
        early += u32::from(said.is_empty());
        acknowledged += said.len();
        unanswered += u32::from(log.compare(&said));
        if nth % KILLS_OF_ONE_LOG == KILLS_OF_ONE_LOG - 1 || nth + 1 == kills {
            let verified = verify_dir(&log.dir(), &Known::default()).unwrap();
            torn += u32::from(verified.class() == Class::Incomplete);
            assert_ne!(verified.class(), Class::Invalid, "{verified:?}");
        }
    }
    println!(
        "{kills} kills, {acknowledged} acknowledgements, none lost: {unanswered} groups found that nobody was told of, {early} kills \
         before the first answer, {torn} logs verified that end in half a write"
    );
    assert!(acknowledged as u32 > kills * 3, "{acknowledged}");
    assert!(early > 0);
}

#[test]
fn an_acknowledgement_that_is_not_in_the_log_would_be_found() {
    let mut log = Log::new();
    let mut child = log.appender().spawn().unwrap();
    let mut heard = String::new();
    lines(&mut child).read_line(&mut heard).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let (held, _) = read(&log.dir());
    let mut said = held.clone();
    said.push(held[0].clone());
    said.push(held[0].clone());
    let compared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| log.compare(&said)));
    assert!(compared.is_err());
}

#[test]
fn a_log_whose_owner_is_stopped_is_nobody_elses_and_goes_on_with_it() {
    let mut log = Log::new();
    let mut owner = log.appender().spawn().unwrap();
    let mut out = lines(&mut owner);
    let mut heard = String::new();
    out.read_line(&mut heard).unwrap();
    kill_process(Pid::from_child(&owner), Signal::STOP).unwrap();
    let second = log.appender().output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    let pid = format!("in use by process {}", owner.id());
    assert!(said.contains(&pid), "{said}");
    assert!(second.stdout.is_empty(), "nothing was said to be kept");
    kill_process(Pid::from_child(&owner), Signal::CONT).unwrap();
    for _ in 0..20 {
        assert!(out.read_line(&mut heard).unwrap() > 0, "it goes on");
    }
    owner.kill().unwrap();
    out.read_to_string(&mut heard).unwrap();
    owner.wait().unwrap();
    let whole = heard
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let said: Vec<String> = whole.map(|line| line.trim().to_owned()).collect();
    log.compare(&said);
    // Then the log is free.
    let mut next = log.appender().spawn().unwrap();
    let mut heard = String::new();
    lines(&mut next).read_line(&mut heard).unwrap();
    assert!(!heard.is_empty());
    next.kill().unwrap();
    next.wait().unwrap();
}
