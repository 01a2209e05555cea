//! Everything that is kept of one vendor is erased: no key that is left opens it, in the log or in copies of it, while all else
//! stays, and the log verifies as before.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use actpass_core::evidence::leaf::{EventBody, Leaf, MacKey};
use actpass_core::hash::DigestMac;
use actpass_ledger::offline::{Known, TextKeys, verify_export};
use actpass_ledger::storage::{BlobKind, Entry, SegmentReader};
use actpass_ledger::vault::{Doomed, Kek, Vault, VaultError};
use actpass_tests::home::{Home, text};
use actpass_tests::payments::Payments;
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
      params: {allow: [vendor, amount, currency, note, iban]}
      amount: {from: body.amount, unit: Major, currency: {const: USD}}
      resource: {from: body.vendor}
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
  limits: [{meter: payouts, unit: USD, max: "100.00", windowSeconds: 86400, onExceed: RequireApproval}]
  defaultApproval: {groups: [finance], quorum: 1, expiresAfterSeconds: 1800}
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: payouts}
spec:
  targetRefs: [{kind: Passport, name: treasury}]
  rules: [{name: all, decision: Allow, allowIrreversible: true, capabilities: [payments.payouts.create]}]
"#;

/// Pays two vendors, asks people for more for each, and stays until it is told to end.
const AGENT: &str = r#"
pay() { curl -sS -m 10 https://api.payments.example/v1/payouts -H 'content-type: application/json' \
  -H "ActPass-Rationale: why-$1" -d "{\"vendor\":\"$1\",\"amount\":\"$2\",\"currency\":\"USD\",\"note\":\"n-$1-$2\",\
\"iban\":\"IBAN-$1\"}" | tr -d '\n'; echo; }
for amount in 10.00 400.00; do pay vendor_gone $amount; pay vendor_kept $amount; done; read -r _
"#;

const GONE: &str = "vendor_gone";
const KEPT: &str = "vendor_kept";

/// A home where that has run, its log and state as they were while it ran.
struct Paid {
    payments: Payments,
    /// Of the whole state, from before anything was erased.
    before: PathBuf,
}

impl Paid {
    /// `then` is done while the agent runs, on a copy of all that was there before.
    fn run(then: impl FnOnce(&Self)) -> Self {
        let payments = Payments::start(POLICY, Duration::ZERO, AGENT).unwrap();
        let paid = Self {
            before: payments.home.path().join("before"),
            payments,
        };
        let mut agent = paid.payments.agent();
        let mut agent = agent
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(agent.stdout.take().unwrap()).lines();
        let answers: Vec<String> = lines.take(4).map(Result::unwrap).collect();
        assert!(answers[0].contains("\"ok\":true"), "{answers:?}");
        assert!(answers[3].contains("approval_required"), "{answers:?}");
        copy(&paid.state(), &paid.before);
        then(&paid);
        drop(agent.stdin.take());
        agent.wait().unwrap();
        paid
    }

    fn home(&self) -> &Home {
        &self.payments.home
    }

    fn state(&self) -> PathBuf {
        self.home().path().join("state")
    }

    fn json(&self, args: &[&str]) -> Value {
        let args = [args, &["--output", "json"]].concat();
        let output = self.home().actpass(&args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn erase(&self, subject: &str, more: &[&str]) -> Value {
        let erase = ["erase", "--subject", subject, "--why", "request 4711"];
        self.json(&[&erase, more].concat())
    }

    /// The question about a vendor, as people are shown it.
    fn question(&self, vendor: &str) -> Option<Value> {
        let all = self.json(&["approvals", "list"]);
        let all = all.as_array().unwrap().iter();
        let mut found = all.filter(|one| one.to_string().contains(vendor));
        found.next().cloned()
    }
}

fn copy(from: &Path, to: &Path) {
    let mut cp = Command::new("cp");
    let done = cp.arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

fn vault(state: &Path) -> Vault {
    let kek = Kek::from_file(&state.join("keys/kek")).unwrap();
    Vault::open(&state.join("vault"), kek).unwrap()
}

/// What lies encrypted in a log: the name that it is sealed with, and its bytes.
fn sealed(log: &Path) -> (String, Vec<(String, Vec<u8>)>) {
    let (mut origin, mut found) = (String::new(), Vec::new());
    let mut questions: BTreeMap<[u8; 32], String> = BTreeMap::new();
    let mut reader = SegmentReader::open_read_only(log).unwrap();
    let mut requests = Vec::new();
    let visit = &mut |entry: Entry<'_>| {
        match entry {
            Entry::Leaf { log, bytes, .. } => {
                log.clone_into(&mut origin);
                if let Some(EventBody::Sealed { approval, .. }) =
                    Leaf::parse(bytes).unwrap().event()
                {
                    let name = format!("actpass.sealed/1\n{approval}");
                    let hash = actpass_core::hash::sha256(&[name.as_bytes()]);
                    questions.insert(hash, name);
                }
            }
            Entry::Blob {
                log,
                kind: BlobKind::SideFrame { seq },
                bytes,
                ..
            } => found.push((format!("actpass.side/1\n{log}\n{seq}"), bytes.to_vec())),
            Entry::Blob {
                kind: BlobKind::Sealed,
                name,
                bytes,
                ..
            } => requests.push((*name, bytes.to_vec())),
            Entry::Blob { .. } => {}
        }
        ControlFlow::Continue(())
    };
    reader.replay(visit).unwrap();
    for (name, bytes) in requests {
        found.push((questions[&name].clone(), bytes));
    }
    let tenant = origin.strip_prefix("actpass/").unwrap().to_owned();
    (tenant, found)
}

/// How many of the encrypted texts of a log open with that vault, how many are erased, and all that opens.
fn opened(log: &Path, vault: &Vault) -> (usize, usize, String) {
    let (tenant, sealed) = sealed(log);
    let (mut opens, mut erased, mut all) = (0, 0, String::new());
    for (name, bytes) in sealed {
        match vault.open_sealed(&tenant, name.as_bytes(), &bytes) {
            Ok(text) => {
                opens += 1;
                all.push_str(&plain(&text));
            }
            Err(VaultError::Erased { .. }) => erased += 1,
            Err(error) => panic!("{name}: {error}"),
        }
    }
    (opens, erased, all)
}

/// A text, and behind it the body of a kept request as it was sent.
fn plain(text: &[u8]) -> String {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let body = value["body"].as_str().map(|body| {
        let body = actpass_core::hash::b64u_decode(body).unwrap();
        String::from_utf8(body).unwrap()
    });
    format!("{text}{}", body.unwrap_or_default())
}

/// Every file under a directory whose bytes hold the text.
fn files_with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if let Ok(bytes) = fs::read(&path)
            && bytes.windows(text.len()).any(|it| it == text.as_bytes())
        {
            found.push(path);
        }
    }
    found
}

fn says(output: &Output, exit: i32, want: &str) {
    let said = text(output);
    assert_eq!(output.status.code(), Some(exit), "{said}");
    assert!(said.contains(want), "no `{want}` in {said}");
}

#[test]
fn nothing_opens_what_was_erased_and_everything_else_stays_as_it_was() {
    let paid = Paid::run(|paid| {
        let limits = paid.json(&["limits"]);
        let asked = paid.question(GONE).unwrap();
        assert_eq!(asked["state"], "pending");
        assert!(asked.to_string().contains("IBAN-vendor_gone"), "{asked}");

        let would = paid.erase(GONE, &["--dry-run"]);
        let counts = |found: &Value| {
            let count = |what: &str| found[what].as_u64().unwrap();
            [count("texts"), count("requests"), count("questions")]
        };
        assert_eq!(counts(&would), [2, 1, 1], "{would}");
        assert_eq!(would["id"], Value::Null);
        assert!(paid.question(GONE).is_some(), "looking changes nothing");

        paid.json(&["export", "--to", "early.jsonl"]);
        let done = paid.erase(GONE, &["--yes"]);
        assert_eq!(counts(&done), [2, 1, 1], "{done}");
        let again = paid.erase(GONE, &["--yes"]);
        assert_eq!((counts(&again), &again["id"]), ([0; 3], &Value::Null));

        // Who asks the ledger that ran all along is shown nothing of it, and nobody can say yes.
        assert_eq!(paid.question(GONE), None);
        let id = asked["id"].as_str().unwrap();
        let closed = paid.json(&["approvals", "show", id]);
        assert_eq!(closed["state"], "denied", "{closed}");
        let erasure = done["id"].as_str().unwrap();
        assert!(closed["unseen"].as_str().unwrap().contains(erasure));
        assert_eq!(paid.question(KEPT).unwrap()["state"], "pending");
        assert_eq!(paid.json(&["limits"]), limits, "an erasure frees no limit");
        let listed = paid.json(&["erase", "--list"]);
        assert_eq!(listed[0]["why"], "request 4711", "{listed}");
        assert_eq!(listed.as_array().unwrap().len(), 1);
    });

    let (state, before) = (paid.state(), &paid.before);
    // What a sidecar has handed on is not in its ring file either, while it runs.
    for plain in ["IBAN-", "why-vendor", "vendor_gone", "vendor_kept"] {
        assert_eq!(files_with(&state, plain), Vec::<PathBuf>::new());
        assert_eq!(files_with(before, plain), Vec::<PathBuf>::new());
    }
    // The log as it is, and as it was kept before, with the keys that are left.
    let left = vault(&state);
    for log in [state.join("log"), before.join("log")] {
        let (opens, erased, all) = opened(&log, &left);
        assert_eq!((opens, erased), (3, 3), "{}", log.display());
        assert!(!all.contains(GONE) && all.contains("IBAN-vendor_kept"));
    }
    // What shows that this looked at the right thing: a copy of the keys from before opens all of it.
    for log in [state.join("log"), before.join("log")] {
        let (opens, erased, all) = opened(&log, &vault(before));
        assert_eq!((opens, erased), (6, 0));
        assert!(all.contains("IBAN-vendor_gone") && all.contains("why-vendor_gone"));
    }

    // Exports hold what the log does, so they say no more.
    paid.json(&["export", "--to", "late.jsonl"]);
    for file in ["early.jsonl", "late.jsonl"] {
        let exported = paid.home().path().join(file);
        let all = fs::read_to_string(&exported).unwrap();
        assert!(!all.contains("vendor_") && !all.contains("IBAN-"), "{file}");
        let known = Known {
            texts: TextKeys::Vault(&left),
            ..Known::default()
        };
        let verified = verify_export(&exported, &known).unwrap();
        let report = &verified.logs[0].report;
        assert_eq!((report.texts.opened, report.texts.erased), (2, 2), "{file}");
        let verified = paid.home().actpass(&["verify", file]).output().unwrap();
        says(&verified, 0, "encrypted, not looked into");
    }

    let verified = paid.home().actpass(&["verify"]).output().unwrap();
    says(&verified, 0, "2 of 4 opened and as committed to, 2 erased");
    says(&verified, 0, "2 of 4 intents, 2 without their erased texts");
    let copied = ["verify", "state/log", "--state-dir", "nowhere"];
    let copied = paid.home().actpass(&copied).output().unwrap();
    says(&copied, 0, "encrypted, not looked into");
    let early = ["verify", "--state-dir", "before"];
    let early = paid.home().actpass(&early).output().unwrap();
    says(&early, 0, "4 of 4 opened and as committed to");
}

/// Destroys the keys of a vendor as the ledger does, and dies before the log tells of it.
fn die_in_between(state: &Path, vendor: &str) {
    let vault = vault(state);
    let (tenant, _) = sealed(&state.join("log"));
    let subject = subject(&vault, &tenant, vendor);
    let doomed = Doomed::Subject(subject);
    vault
        .destroy(&tenant, &doomed, |generation| EventBody::Erasure {
            id: "ers_between".to_owned(),
            subject: Some(subject),
            generation,
            before: None,
            by: "ann".to_owned(),
            why: "request 4711".to_owned(),
        })
        .unwrap();
}

fn subject(vault: &Vault, tenant: &str, vendor: &str) -> DigestMac {
    let key = vault.digest_key_made(tenant).unwrap().unwrap();
    MacKey::new(*key).subject(vendor)
}

#[test]
fn what_a_crash_left_unsaid_is_said_at_the_next_start() {
    let paid = Paid::run(|_| ());
    die_in_between(&paid.state(), GONE);
    let gap = paid.home().actpass(&["verify"]).output().unwrap();
    says(&gap, 2, "no leaf says that they were erased");

    for start in ["the first", "the second"] {
        let listed = paid.json(&["erase", "--list"]);
        assert_eq!(listed[0]["id"], "ers_between", "{start}: {listed}");
        assert_eq!(listed.as_array().unwrap().len(), 1, "{start}: {listed}");
        let verified = paid.home().actpass(&["verify"]).output().unwrap();
        says(&verified, 0, "2 erased");
    }
}

#[test]
fn keys_that_come_back_with_an_older_vault_are_destroyed_again() {
    let paid = Paid::run(|paid| {
        paid.erase(GONE, &["--yes"]);
    });
    let vault_dir = paid.state().join("vault");
    fs::remove_dir_all(&vault_dir).unwrap();
    copy(&paid.before.join("vault"), &vault_dir);
    let log = paid.state().join("log");
    assert_eq!(opened(&log, &vault(&paid.state())).1, 0, "they are back");
    paid.json(&["limits"]);
    assert_eq!(opened(&log, &vault(&paid.state())).1, 3);
    let verified = paid.home().actpass(&["verify"]).output().unwrap();
    says(&verified, 0, "2 erased");
}

#[test]
fn an_erasure_needs_one_subject_or_a_month_that_began_and_a_ground() {
    let paid = Paid::run(|_| ());
    for (name, args, want) in [
        ("no ground", vec!["--subject", "x"], "--why"),
        ("nothing", vec!["--why", "y"], "--subject"),
        (
            "both",
            vec!["--subject", "x", "--before", "2026-01-01", "--why", "y"],
            "cannot be used with",
        ),
        (
            "a day to come",
            vec!["--before", "2999-01-01", "--why", "y"],
            "of a day that has come",
        ),
        (
            "no day",
            vec!["--before", "November", "--why", "y"],
            "is no day",
        ),
        (
            "nobody to ask",
            vec!["--subject", GONE, "--why", "y"],
            "no terminal",
        ),
    ] {
        let args = [&["erase"], args.as_slice()].concat();
        let output = paid.home().actpass(&args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {}", text(&output));
        assert!(text(&output).contains(want), "{name}: {}", text(&output));
    }
    let early = ["erase", "--before", "2026-02-14", "--why", "y", "--yes"];
    let early = paid.home().actpass(&early).output().unwrap();
    says(&early, 0, "There is nothing from before 2026-02-01");
    assert_eq!(paid.json(&["erase", "--list"]), serde_json::json!([]));
}
