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
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use actpass_core::evidence::leaf::{Leaf, RulingVerdict};
use actpass_ledger::storage::{BlobKind, Entry, SegmentReader};
use actpass_tests::actpass;
use actpass_tests::provider::{HOST, Provider};
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

struct Home {
    dir: tempfile::TempDir,
    provider: Provider,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let provider = Provider::start(Duration::ZERO).unwrap();
        let ca: Vec<String> = provider
            .ca_pem
            .trim()
            .lines()
            .map(|line| format!("      {line}"))
            .collect();
        let file = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        file("policy.yaml", &POLICY.replace("CA_BUNDLE", &ca.join("\n")));
        file("ca.pem", &format!("{}\n", provider.ca_pem.trim()));
        file("agent.sh", AGENT);
        let home = Self { dir, provider };
        let store = "credentials put pay --host api.payments.example --ca-file ca.pem --effect Irreversible";
        let mut child = home
            .command(&store.split(' ').collect::<Vec<_>>())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"the_real_key").unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success());
        home
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(actpass());
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("ACTPASS_LOG", "error")
            .env("ACTPASS_STATE_DIR", self.dir.path().join("state"));
        command
    }

    /// The agent, running, and the lines that it prints.
    fn agent(&self) -> (Child, Lines<BufReader<ChildStdout>>) {
        let connect_to = format!("{HOST}:443:127.0.0.1:{}", self.provider.port);
        let run = [
            "run",
            "-f",
            "policy.yaml",
            "--connect-to",
            &connect_to,
            "--",
            "bash",
            "agent.sh",
        ];
        let mut child = self
            .command(&run)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, lines)
    }

    fn said(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let args = [args, &["--output", "json"]].concat();
        serde_json::from_str(&self.said(&args)).unwrap()
    }
}

/// Flips a byte in the middle of the texts behind the first question.
fn damage_first_question(home: &Home) {
    let log = home.dir.path().join("state/log");
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
    let home = Home::new();
    let (mut child, mut lines) = home.agent();
    let ids: Vec<String> = three(&mut lines).iter().map(asked).collect();

    let shown = home.said(&["approvals", "show", &ids[0]]);
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
    let whole = home.json(&["approvals", "show", &ids[0]]);
    assert_eq!(whole["sent"].as_array().unwrap().len(), 7, "{whole}");
    let list = home.json(&["approvals", "list"]);
    let sent = list[0]["sent"].as_array().unwrap().iter();
    let names: Vec<&str> = sent.map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["pay-account", "mode", "currency", "settle.iban"],
        "a list carries what no fact shows"
    );

    for id in &ids {
        home.said(&["approvals", "approve", id]);
    }
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"go on\n").unwrap();
    let answers = three(&mut lines);
    assert_eq!(answers[0]["ok"], true, "{}", answers[0]);
    for answer in &answers[1..] {
        let anew = asked(answer);
        assert!(!ids.contains(&anew), "another question: {answer}");
        let shown = home.said(&["approvals", "show", &anew]);
        assert!(
            shown.contains("goes over  payouts: reaches 8000.00 of 5000.00 USD"),
            "{shown}"
        );
    }
    drop(stdin);
    child.wait().unwrap();
    assert_eq!(home.provider.paid(), ["n-1"], "one of the three ran");
    assert!(home.said(&["verify"]).contains("VALID"));
}

#[test]
fn a_question_that_cannot_be_shown_hides_no_other_and_takes_no_yes() {
    let home = Home::new();
    let (mut child, mut lines) = home.agent();
    let ids: Vec<String> = three(&mut lines).iter().map(asked).collect();
    damage_first_question(&home);

    let list = home.said(&["approvals", "list"]);
    let why = format!("{} cannot be shown whole: ", ids[0]);
    assert!(list.lines().any(|line| line.starts_with(&why)), "{list}");
    let list = home.json(&["approvals", "list"]);
    let unseen = list.as_array().unwrap().iter();
    let unseen: Vec<bool> = unseen.map(|one| one["unseen"].is_string()).collect();
    assert_eq!(unseen, [true, false, false], "{list}");
    let shown = home.said(&["approvals", "show", &ids[0]]);
    for line in [
        "how much   4000.00 USD",
        "also sent  not all of it can be shown: ",
    ] {
        assert!(shown.contains(line), "`{line}` in\n{shown}");
    }
    let yes = home
        .command(&["approvals", "approve", &ids[0]])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&yes.stderr);
    assert_eq!(yes.status.code(), Some(1), "{said}");
    assert!(
        said.contains("nobody can agree to what cannot be shown"),
        "{said}"
    );
    assert!(
        home.said(&["approvals", "deny", &ids[0]])
            .contains(", denied"),
        "a no needs no more"
    );
    home.said(&["approvals", "approve", &ids[1]]);
    drop(child.stdin.take());
    child.wait().unwrap();
}
