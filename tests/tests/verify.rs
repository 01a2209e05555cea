//! `actpass verify` on the log of a real run: whatever is changed in its files, by accident or by someone who writes
//! checksums too, is found and its place named.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

#[path = "verify/beside.rs"]
mod beside;
#[path = "verify/rotation.rs"]
mod rotation;
#[path = "verify/saving.rs"]
mod saving;
#[path = "verify/state.rs"]
mod state;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use std::time::Duration;

use actpass_core::verify::Class;
use actpass_ledger::keys::Keys;
use actpass_ledger::offline::{Files, Known, Verified, verify_dir};
use actpass_ledger::storage::reader::{Checked, Tail};
use actpass_ledger::storage::segment::{SEGMENT_BYTES_MIN, SegmentOptions};
use actpass_ledger::storage::{
    Appended, Blob, Entry, LogGroup, SegmentReader, SegmentStorage, Storage,
};
use actpass_tests::growth::grow;
use actpass_tests::home::{Home, text};
use actpass_tests::payments::Payments;
use actpass_tests::scaled;
use serde_json::Value;

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: payments}
spec:
  hosts: [api.payments.example]
  tls:
    mode: Intercept
    caBundle: |
CA_BUNDLE
  actions:
    - name: payouts.create
      match: {http: {method: POST, path: /v1/payouts}}
      effect: Irreversible
      body: {format: JSON}
      params: {allow: [amount, currency, note]}
      amount: {from: body.amount, unit: Major, currency: {const: USD}}
      meters: [{name: payouts, from: Amount}]
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: treasury}
spec:
  agentId: treasury
  owner: owner@example.com
  purpose: Pay vendors
  scope: [{capability: payments.payouts.create}]
  limits: [{meter: payouts, unit: USD, max: "25.00", windowSeconds: 86400}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: payouts}
spec:
  targetRefs: [{kind: Passport, name: treasury}]
  rules: [{name: all, decision: Allow, allowIrreversible: true, capabilities: [payments.payouts.create]}]
"#;

/// Two payments that fit, one the provider declines, one beyond the limit and one without a sum.
const AGENT: &str = r#"
pay() { curl -sS -m 10 https://api.payments.example/v1/payouts -H 'content-type: application/json' -d "$1"; echo; }
pay '{"amount":"10.00","currency":"USD","note":"first"}'
pay '{"amount":"10.00","currency":"USD","note":"second"}'
pay '{"amount":"1.00","currency":"USD","note":"declined"}'
pay '{"amount":"10.00","currency":"USD","note":"third"}'
pay '{"amount":"ten","currency":"USD","note":"fourth"}'
"#;

/// A state directory in which `actpass run` has logged that.
fn ran() -> Home {
    let payments = Payments::start(POLICY, Duration::ZERO, AGENT).unwrap();
    let output = text(&payments.agent().output().unwrap());
    assert!(output.contains("limit_exceeded"), "{output}");
    assert_eq!(payments.provider.paid(), ["first", "second"], "{output}");
    payments.home
}

/// Two logs of two state directories, made once.
static LOGS: LazyLock<[Home; 2]> = LazyLock::new(|| [ran(), ran()]);

fn log_dir(home: &Home) -> PathBuf {
    home.path().join("state/log")
}

/// What a log directory holds, in the order written.
#[derive(Clone)]
struct Stored {
    log: String,
    blobs: Vec<Blob>,
    leaves: Vec<Vec<u8>>,
}

impl Stored {
    fn read(dir: &Path) -> Self {
        let mut stored = Self {
            log: String::new(),
            blobs: Vec::new(),
            leaves: Vec::new(),
        };
        let mut reader = SegmentReader::open_read_only(dir).unwrap();
        let visit = &mut |entry: Entry<'_>| {
            match entry {
                Entry::Leaf { log, bytes, .. } => {
                    log.clone_into(&mut stored.log);
                    stored.leaves.push(bytes.to_owned());
                }
                Entry::Blob {
                    kind, name, bytes, ..
                } => stored.blobs.push(Blob {
                    kind,
                    name: *name,
                    bytes: bytes.to_owned(),
                }),
            }
            ControlFlow::Continue(())
        };
        reader.replay(visit).unwrap();
        stored
    }

    /// Writes it as whoever has the program but not the keys could: files, checksums and chain all in order.
    fn write(&self, dir: &Path) {
        let segment_bytes = SEGMENT_BYTES_MIN * 2;
        let mut storage = SegmentStorage::open(dir, SegmentOptions { segment_bytes }).unwrap();
        let mut blobs = self.blobs.clone();
        for leaf in &self.leaves {
            let appended = storage.append(&[LogGroup {
                log: self.log.clone(),
                expected_head: storage.head(&self.log),
                leaves: vec![leaf.clone().into()],
                blobs: std::mem::take(&mut blobs),
            }]);
            assert!(matches!(appended.unwrap()[..], [Appended::Appended { .. }]));
        }
    }

    fn verified(&self, anchors: &[String]) -> Verified {
        let dir = tempfile::tempdir().unwrap();
        self.write(dir.path());
        let known = Known {
            anchors,
            ..Known::default()
        };
        verify_dir(dir.path(), &known).unwrap()
    }
}

/// A directory verified with nothing but itself.
fn alone(dir: &Path) -> Verified {
    verify_dir(dir, &Known::default()).unwrap()
}

fn first_bad(verified: &Verified) -> Option<u64> {
    let [log] = &verified.logs[..] else {
        return None;
    };
    log.report.first_bad().map(|finding| finding.seq)
}

fn verify(home: &Home, args: &[&str]) -> (Option<i32>, Output) {
    let output = home
        .actpass(&[&["verify"], args].concat())
        .output()
        .unwrap();
    (output.status.code(), output)
}

#[test]
fn a_real_log_is_valid_and_says_what_was_checked() {
    let home = &LOGS[0];
    let (code, output) = verify(home, &["--output", "json"]);
    assert_eq!(code, Some(0), "{}", text(&output));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["class"], "valid");
    let log = &shown["logs"][0];
    assert_eq!(log["intents"], 4, "{log}");
    assert_eq!(log["redecided"], 4, "with the texts at hand: {log}");
    assert_eq!(log["texts"]["not_opened"], Value::Null, "{log}");
    assert_eq!(log["texts"]["opened"], log["texts"]["committed"], "{log}");
    assert_eq!(log["structure"], "holds");
    assert_eq!(log["state"], "holds");
    assert_eq!(log["leaves"], log["covered"], "all under the checkpoint");
    let rewritten = Stored::read(&log_dir(home)).verified(&[]);
    assert_eq!(rewritten.class(), Class::Valid, "{rewritten:?}");
}

#[test]
fn any_changed_byte_of_any_file_is_found_and_located() {
    let dir = tempfile::tempdir().unwrap();
    Stored::read(&log_dir(&LOGS[0])).write(dir.path());
    let segments = files(dir.path());
    assert!(segments.len() > 1, "more than one segment: {segments:?}");
    // A prime, so that the bytes looked at stand anywhere in their sectors.
    let stride = if scaled(10) == 10 { 1 } else { 31 };
    let mut changed = 0;
    for path in &segments {
        let bytes = fs::read(path).unwrap();
        for at in (0..bytes.len()).step_by(stride) {
            let mut other = bytes.clone();
            other[at] ^= if at % 2 == 0 { 0x01 } else { 0x80 };
            fs::write(path, &other).unwrap();
            let verified = alone(dir.path());
            let name = path.file_name().unwrap().to_string_lossy();
            let place = match &verified.files {
                Files::Damaged(error) => error.to_string(),
                // Behind the last group one byte may be what a crash left of a group.
                Files::Torn(Checked {
                    tail: tail @ Tail::Torn { offset, .. },
                    ..
                }) if *offset <= at as u64 => format!("{tail:?}"),
                found => panic!("{path:?} byte {at}: {found:?}"),
            };
            assert!(place.contains(&*name), "byte {at}: {place}");
            assert_ne!(verified.class(), Class::Valid, "{path:?} byte {at}");
            changed += 1;
        }
        fs::write(path, &bytes).unwrap();
    }
    println!(
        "{changed} bytes changed in {} files, each found",
        segments.len()
    );
    assert_eq!(
        alone(dir.path()).class(),
        Class::Valid,
        "as it was, it is valid"
    );
}

#[test]
fn a_missing_a_swapped_and_a_strange_file_are_found() {
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        Stored::read(&log_dir(&LOGS[0])).write(dir.path());
        let files = files(dir.path());
        (dir, files)
    };
    let class = |dir: &Path| alone(dir).class();

    let (dir, segments) = make();
    fs::remove_file(&segments[0]).unwrap();
    assert_eq!(class(dir.path()), Class::Invalid, "the first is gone");

    let (dir, segments) = make();
    let (first, second) = (fs::read(&segments[0]), fs::read(&segments[1]));
    fs::write(&segments[0], second.unwrap()).unwrap();
    fs::write(&segments[1], first.unwrap()).unwrap();
    assert_eq!(class(dir.path()), Class::Invalid, "two are swapped");

    let (dir, segments) = make();
    fs::copy(&segments[0], segments[0].with_file_name("00000099.seg")).unwrap();
    assert_eq!(class(dir.path()), Class::Invalid, "one is there twice");
}

#[test]
fn a_leaf_dropped_swapped_repeated_or_foreign_is_found_where_it_is() {
    let stored = Stored::read(&log_dir(&LOGS[0]));
    let foreign = Stored::read(&log_dir(&LOGS[1]));
    let count = stored.leaves.len();
    for at in 0..count {
        let mut dropped = stored.clone();
        dropped.leaves.remove(at);
        // What lies before the last is missed by the one behind; the last by the checkpoint.
        let verified = dropped.verified(&[]);
        assert_eq!(verified.class(), Class::Invalid, "dropped {at}");
        let place = first_bad(&verified);
        assert!(
            place == Some(at as u64) || at == count - 1,
            "{at}: {place:?}"
        );

        let mut repeated = stored.clone();
        repeated.leaves.insert(at, stored.leaves[at].clone());
        let verified = repeated.verified(&[]);
        assert_eq!(verified.class(), Class::Invalid, "repeated {at}");
        assert_eq!(first_bad(&verified), Some(at as u64 + 1), "repeated {at}");

        let mut strange = stored.clone();
        strange.leaves[at].clone_from(&foreign.leaves[at]);
        let verified = strange.verified(&[]);
        assert_eq!(verified.class(), Class::Invalid, "foreign {at}");
        // The first leaf says which log it is, so it is the second that is of another.
        let place = at.max(1) as u64;
        assert_eq!(first_bad(&verified), Some(place), "foreign {at}");
    }
    for at in 1..count {
        let mut swapped = stored.clone();
        swapped.leaves.swap(at - 1, at);
        let verified = swapped.verified(&[]);
        assert_eq!(verified.class(), Class::Invalid, "swapped {at}");
        assert_eq!(first_bad(&verified), Some(at as u64 - 1), "swapped {at}");
    }
}

#[test]
fn a_log_cut_short_is_found_against_an_anchor_kept_elsewhere() {
    let home = &LOGS[1];
    let (code, output) = verify(home, &["--save-anchor", "anchor.txt"]);
    assert_eq!(code, Some(0), "{}", text(&output));
    let anchor = fs::read_to_string(home.path().join("anchor.txt")).unwrap();
    let (code, output) = verify(home, &["--anchor", "anchor.txt"]);
    assert_eq!(code, Some(0), "{}", text(&output));

    let stored = Stored::read(&log_dir(home));
    for kept in 1..stored.leaves.len() {
        let mut cut = stored.clone();
        cut.leaves.truncate(kept);
        let verified = cut.verified(std::slice::from_ref(&anchor));
        assert_eq!(verified.class(), Class::Invalid, "cut to {kept} leaves");
    }
    // All of it put away and begun anew, as by someone who has even the keys: another log, where the anchor's was.
    let (code, output) = verify(
        &LOGS[0],
        &[
            "--anchor",
            &home.path().join("anchor.txt").to_string_lossy(),
        ],
    );
    assert_eq!(code, Some(3), "{}", text(&output));
    let (code, output) = verify(home, &["no-such-directory"]);
    assert_eq!(code, Some(1), "{}", text(&output));
}

/// The segments of a log directory, in order.
#[test]
fn whoever_watches_is_told_how_far_it_is() {
    let home = state::copied(&LOGS[0]);
    let keys = home.path().join("state/keys");
    let key = Keys::load(&keys, "log").unwrap().unwrap();
    let log = Stored::read(&log_dir(&home)).log;
    grow(&log_dir(&home), &key, &log, 50_000).unwrap();
    let ours = format!("--reference={}", keys.display());
    let given = Command::new("chown")
        .args(["-R", &ours])
        .arg(log_dir(&home))
        .status();
    assert!(given.unwrap().success());
    let verify = "exec ./actpass verify --state-dir state state/log";
    let mut terminal = home.command("script");
    let shown = text(
        &terminal
            .args(["-qefc", verify, "/dev/null"])
            .output()
            .unwrap(),
    );
    assert!(shown.contains(" of 50000 leaves, "), "{shown}");
    assert!(shown.contains("VALID"), "{shown}");
    let mut pipe = home.command("sh");
    let piped = text(&pipe.args(["-c", verify]).output().unwrap());
    assert!(!piped.contains(" of 50000 leaves, "), "{piped}");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("segments")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
