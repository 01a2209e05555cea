//! Questions to people as they meet them: shown all that goes out, and asked again where a limit is passed further than
//! they were shown.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use actpass_core::evidence::leaf::{Leaf, RulingVerdict};
use actpass_ledger::storage::{BlobKind, Entry, SegmentReader};
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
  credentials:
    - {name: pay, effects: [Write, Irreversible], header: Authorization, format: "Bearer {secret}"}
  actions:
    - name: payouts.create
      match: {http: {method: POST, path: /v1/payouts}}
      effect: Irreversible
      body: {format: JSON}
      params: {allow: [vendor, amount, currency, note, settle.iban, query.mode]}
      headers: {forward: [Pay-Account]}
      attributes: [{name: note, from: body.note, type: String, sensitive: false}]
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
  limits: [{meter: payouts, unit: USD, max: "5000.00", windowSeconds: 86400, onExceed: RequireApproval}]
  defaultApproval: {groups: [finance], quorum: 1, expiresAfterSeconds: 1800}
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: payouts}
spec:
  targetRefs: [{kind: Passport, name: treasury}]
  rules: [{name: all, decision: RequireApproval, capabilities: [payments.payouts.create]}]
"#;

/// Asks for three payouts, waits for people, repeats them, and stays until it is told to end.
const AGENT: &str = r#"
pay() { curl -s -m 10 'https://api.payments.example/v1/payouts?mode=now' -H 'content-type: application/json' \
  -H 'Pay-Account: acct_other' -H 'ActPass-Rationale: routine' -d "{\"vendor\":\"v\",\"amount\":\"4000.00\",\"currency\":\"USD\",\
\"note\":\"n-$1\",\"settle\":{\"iban\":\"IBAN-$1\"}}" | tr -d '\n'; echo; }
for i in 1 2 3; do pay "$i"; done; read -r _; for i in 1 2 3; do pay "$i"; done; read -r _
"#;

struct Asking(Payments);

impl Asking {
    fn new() -> Self {
        Self::of(POLICY, AGENT)
    }

    fn of(policy: &str, agent: &str) -> Self {
        let payments = Payments::start(policy, Duration::ZERO, agent).unwrap();
        payments.store_key().unwrap();
        Self(payments)
    }

    /// The agent, running, and the lines that it prints.
    fn agent(&self) -> (Child, Lines<BufReader<ChildStdout>>) {
        let mut command = self.0.agent();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    }

    fn said(&self, args: &[&str]) -> String {
        let output = self.0.home.actpass(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let args = [args, &["--output", "json"]].concat();
        serde_json::from_str(&self.said(&args)).unwrap()
    }
}

/// Flips a byte in the middle of the texts behind the first question.
fn damage_first_question(asking: &Asking) {
    let log = asking.0.home.path().join("state/log");
    let (mut asked, mut texts) = (None, Vec::new());
    SegmentReader::open_read_only(&log)
        .unwrap()
        .replay(&mut |entry| {
            match entry {
                Entry::Leaf { seq, bytes, .. } => {
                    let leaf = Leaf::parse(bytes).unwrap();
                    let escalated = leaf
                        .d
                        .is_some_and(|ruling| ruling.verdict == RulingVerdict::Escalate);
                    asked = asked.or(escalated.then_some(seq));
                }
                Entry::Blob {
                    kind: BlobKind::SideFrame { seq },
                    bytes,
                    ..
                } => texts.push((seq, bytes.to_vec())),
                Entry::Blob { .. } => {}
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    let (_, text) = texts
        .into_iter()
        .find(|(seq, _)| Some(*seq) == asked)
        .unwrap();
    for file in fs::read_dir(log.join("segments")).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let Some(at) = bytes.windows(text.len()).position(|found| found == text) else {
            continue;
        };
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        let at = at + text.len() / 2;
        file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
        return;
    }
    panic!("the texts of the first question are not on disk");
}

/// The next answers that the agent prints.
fn three(lines: &mut Lines<BufReader<ChildStdout>>) -> Vec<Value> {
    let lines = lines.by_ref().take(3).map(Result::unwrap);
    let answers =
        lines.map(|line| serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}")));
    answers.collect()
}

fn asked(answer: &Value) -> String {
    assert_eq!(answer["code"], "approval_required", "{answer}");
    answer["approval"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn people_see_all_that_goes_out_and_are_asked_again_where_more_of_a_limit_is_passed() {
    let asking = Asking::new();
    let (mut child, mut lines) = asking.agent();
    let ids: Vec<String> = three(&mut lines).iter().map(asked).collect();

    let shown = asking.said(&["approvals", "show", &ids[0]]);
    for line in [
        "how much   4000.00 USD",
        "where      POST https://api.payments.example:443/v1/payouts",
        "also sent  header pay-account = acct_other",
        "also sent  query mode = now",
        "also sent  body vendor = v",
        "also sent  body amount = 4000.00",
        "also sent  body settle.iban = IBAN-1",
    ] {
        assert!(
            shown.lines().any(|found| found == line),
            "`{line}` in\n{shown}"
        );
    }
    let whole = asking.json(&["approvals", "show", &ids[0]]);
    assert_eq!(whole["sent"].as_array().unwrap().len(), 7, "{whole}");
    let list = asking.json(&["approvals", "list"]);
    let sent = list[0]["sent"].as_array().unwrap().iter();
    let names: Vec<&str> = sent.map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["pay-account", "mode", "currency", "settle.iban"],
        "a list carries what no fact shows"
    );

    for id in &ids {
        asking.said(&["approvals", "approve", id]);
    }
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"go on\n").unwrap();
    let answers = three(&mut lines);
    assert_eq!(answers[0]["ok"], true, "{}", answers[0]);
    for answer in &answers[1..] {
        let anew = asked(answer);
        assert!(!ids.contains(&anew), "another question: {answer}");
        let shown = asking.said(&["approvals", "show", &anew]);
        assert!(
            shown.contains("goes over  payouts: reaches 8000.00 of 5000.00 USD"),
            "{shown}"
        );
    }
    drop(stdin);
    child.wait().unwrap();
    assert_eq!(asking.0.provider.paid(), ["n-1"], "one of the three ran");
    assert!(asking.said(&["verify"]).contains("VALID"));
}

#[test]
fn a_question_that_cannot_be_shown_hides_no_other_and_takes_no_yes() {
    let asking = Asking::new();
    let (mut child, mut lines) = asking.agent();
    let ids: Vec<String> = three(&mut lines).iter().map(asked).collect();
    damage_first_question(&asking);

    let list = asking.said(&["approvals", "list"]);
    let why = format!("{} cannot be shown whole: ", ids[0]);
    assert!(list.lines().any(|line| line.starts_with(&why)), "{list}");
    let list = asking.json(&["approvals", "list"]);
    let unseen = list.as_array().unwrap().iter();
    let unseen: Vec<bool> = unseen.map(|one| one["unseen"].is_string()).collect();
    assert_eq!(unseen, [true, false, false], "{list}");
    let shown = asking.said(&["approvals", "show", &ids[0]]);
    for line in [
        "how much   4000.00 USD",
        "also sent  not all of it can be shown: ",
    ] {
        assert!(shown.contains(line), "`{line}` in\n{shown}");
    }
    let yes = asking
        .0
        .home
        .actpass(&["approvals", "approve", &ids[0]])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&yes.stderr);
    assert_eq!(yes.status.code(), Some(1), "{said}");
    assert!(
        said.contains("nobody can agree to what cannot be shown"),
        "{said}"
    );
    assert!(
        asking
            .said(&["approvals", "deny", &ids[0]])
            .contains(", denied"),
        "a no needs no more"
    );
    asking.said(&["approvals", "approve", &ids[1]]);
    drop(child.stdin.take());
    child.wait().unwrap();
}

/// Asks, hangs up before anyone answers, and asks the same once more.
const PATIENT: &str = r#"
pay() { curl -s -m "$1" https://api.payments.example/v1/payouts -H 'content-type: application/json' \
  -d '{"vendor":"v","amount":"40.00","currency":"USD","note":"n-1"}' | tr -d '\n'; echo; }
pay 1; read -r _; pay 20
"#;

#[test]
fn an_equal_request_is_held_open_as_long_as_the_first() {
    let held = POLICY.replace(
        "[payments.payouts.create]}]\n",
        "[payments.payouts.create], \
         approval: {groups: [finance], quorum: 1, expiresAfterSeconds: 1800, holdSeconds: 15}}]\n",
    );
    assert_ne!(held, POLICY);
    let asking = Asking::of(&held, PATIENT);
    let (mut child, mut lines) = asking.agent();
    assert_eq!(lines.next().unwrap().unwrap(), "", "nobody answers in time");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"go on\n").unwrap();
    let asked = || {
        let events = asking.said(&["events", "--output", "json", "--verdict", "escalate"]);
        events.lines().count()
    };
    let mut waits = 0..200;
    while asked() < 2 {
        assert!(waits.next().is_some(), "the second request does not arrive");
        std::thread::sleep(Duration::from_millis(50));
    }
    let list = asking.json(&["approvals", "list"]);
    let [question] = list.as_array().unwrap().as_slice() else {
        panic!("one question for both: {list}");
    };
    let id = question["id"].as_str().unwrap();
    asking.said(&["approvals", "approve", id]);
    let answer = lines.next().unwrap().unwrap();
    assert!(answer.contains("\"ok\":true"), "{answer}");
    child.wait().unwrap();
    assert_eq!(asking.0.provider.paid(), ["n-1"]);
}
