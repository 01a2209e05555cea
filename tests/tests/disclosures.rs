//! Whoever is handed an exported log with texts in it reads those that were meant for them, and sees that they are what was logged.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use actpass_core::hash::{hex, sha256};
use actpass_tests::home::text;
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
  limits: [{meter: payouts, unit: USD, max: "100.00", windowSeconds: 86400}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: payouts}
spec:
  targetRefs: [{kind: Passport, name: treasury}]
  rules: [{name: all, decision: Allow, allowIrreversible: true, capabilities: [payments.payouts.create]}]
"#;

/// Pays one vendor what is within the limit, and another what is not.
const AGENT: &str = r#"
pay() { curl -sS -m 10 https://api.payments.example/v1/payouts -H 'content-type: application/json' \
  -H "ActPass-Rationale: why-$1" -d "{\"vendor\":\"$1\",\"amount\":\"$2\",\"currency\":\"USD\",\"note\":\"n-$1\",\
\"iban\":\"IBAN-$1\"}" | tr -d '\n'; echo; }
pay vendor_paid 10.00; pay vendor_denied 400.00
"#;

/// A home in which that has run, and the leaves of the two.
struct Paid {
    payments: Payments,
    permitted: u64,
    denied: u64,
}

impl Paid {
    fn run() -> Self {
        let payments = Payments::start(POLICY, Duration::ZERO, AGENT).unwrap();
        let output = payments.agent().output().unwrap();
        let said = text(&output);
        assert!(said.contains("\"ok\":true"), "{said}");
        let mut paid = Self {
            payments,
            permitted: 0,
            denied: 0,
        };
        paid.json(&["export", "--to", "plain.jsonl"]);
        let leaves = paid.lines("plain.jsonl").into_iter();
        let leaves = leaves.filter(|line| line.contains("\"v\":\"actpass.leaf/1\""));
        for (seq, leaf) in (0..).zip(leaves) {
            let leaf: Value = serde_json::from_str(&leaf).unwrap();
            match (&leaf["r"]["kind"], &leaf["d"]["verdict"]) {
                (kind, verdict) if kind == "intent" && verdict == "permit" => paid.permitted = seq,
                (kind, verdict) if kind == "intent" && verdict == "deny" => paid.denied = seq,
                _ => {}
            }
        }
        assert!(paid.permitted > 0 && paid.denied > 0, "{said}");
        paid
    }

    fn actpass(&self, args: &[&str]) -> Output {
        self.payments.home.actpass(args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.actpass(&[args, &["--output", "json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Exports with the texts of these leaves; what is said of them.
    fn disclose(&self, leaves: &str, to: &str) -> Value {
        let said = self.json(&["export", "--disclose", leaves, "--to", to, "--force"]);
        said["disclosed"].clone()
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.payments.home.path().join(name)
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.file(file)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// What both verifiers say of a file: class, exit code, and of how many leaves texts are disclosed.
    fn verified(&self, file: &str) -> [(String, Option<i32>, Option<u64>); 2] {
        let ours = self.actpass(&["verify", file, "--output", "json"]);
        let said: Value = serde_json::from_slice(&ours.stdout).unwrap();
        let disclosed = said.pointer("/logs/0/texts/disclosed");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifiers/actpass_verify.py");
        let mut command = Command::new("python3");
        command.arg("-I").arg(script).args(["--output", "json"]);
        let theirs = command.arg(self.file(file)).output().unwrap();
        let answer: Value = serde_json::from_slice(&theirs.stdout).unwrap();
        let of = |said: &Value, output: &Output, disclosed: Option<u64>| {
            let class = said["class"].as_str().unwrap().to_owned();
            (class, output.status.code(), disclosed)
        };
        [
            of(&said, &ours, disclosed.and_then(Value::as_u64)),
            of(&answer, &theirs, answer["disclosed"].as_u64()),
        ]
    }
}

fn valid(disclosed: u64) -> [(String, Option<i32>, Option<u64>); 2] {
    [0; 2].map(|exit| ("valid".to_owned(), Some(exit), Some(disclosed)))
}

/// The file with one text in it changed, and its sum made anew.
fn tampered(lines: &[String], from: &str, to: &str) -> String {
    let mut lines = lines.to_vec();
    let last = lines.pop().unwrap();
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let body = body.replacen(from, to, 1);
    let mut last: Value = serde_json::from_str(&last).unwrap();
    last["sha256"] = hex(&sha256(&[body.as_bytes()])).into();
    format!("{body}{last}\n")
}

#[test]
fn a_text_is_where_it_was_asked_for_and_nowhere_else_and_both_verifiers_hold_it_to_its_leaf() {
    let paid = Paid::run();
    let plain = paid.lines("plain.jsonl");
    assert!(!plain.concat().contains("vendor_"), "texts in clear");
    let leaf = paid.permitted.to_string();
    let said = paid.disclose(&leaf, "one.jsonl");
    assert_eq!(
        said,
        serde_json::json!({"leaves": 1, "gone": null, "without": null})
    );
    let one = paid.lines("one.jsonl");
    let holding: Vec<usize> = (0..one.len())
        .filter(|at| one[*at].contains("vendor_paid"))
        .collect();
    let [at] = holding[..] else {
        panic!("in the lines {holding:?}")
    };
    let begin = "{\"disclosed\":{\"openings\":{";
    assert!(one[at].starts_with(begin), "{}", one[at]);
    for want in ["\"text\":\"vendor_paid\"", "why-vendor_paid", "\"salt\":"] {
        assert!(one[at].contains(want), "no {want} in {}", one[at]);
    }
    assert!(!one.concat().contains("vendor_denied"), "of another leaf");
    assert!(one[at + 1].contains(&format!("\"seq\":{leaf},\"time\"")));
    // All else is as without it, up to the sum.
    let mut rest = one.clone();
    rest.remove(at);
    assert_eq!(rest[..rest.len() - 1], plain[..plain.len() - 1]);
    assert_eq!(paid.verified("plain.jsonl"), valid(0));
    assert_eq!(paid.verified("one.jsonl"), valid(1));
    let shown = text(&paid.actpass(&["verify", "one.jsonl"]));
    assert!(shown.contains("1 disclosed and as committed to"), "{shown}");
    let mut stream = paid.payments.home.actpass(&["verify", "-"]);
    let stream = stream.stdin(Stdio::from(fs::File::open(paid.file("one.jsonl")).unwrap()));
    assert!(stream.output().unwrap().status.success());

    assert_eq!(paid.disclose("all", "all.jsonl")["leaves"], 2);
    let all = paid.lines("all.jsonl").concat();
    assert!(all.contains("why-vendor_paid") && all.contains("why-vendor_denied"));
    assert_eq!(paid.verified("all.jsonl"), valid(2));
    paid.disclose("all", "again.jsonl");
    let bytes = |name: &str| fs::read(paid.file(name)).unwrap();
    assert_eq!(bytes("all.jsonl"), bytes("again.jsonl"), "the same bytes");

    // Also where the leaves themselves were verified before.
    let state = ["--resume", "one.state"];
    let before = paid.actpass(&[&["verify", "plain.jsonl"], &state[..]].concat());
    assert!(before.status.success(), "{}", text(&before));
    let resumed = paid.actpass(&[&["verify", "one.jsonl"], &state[..]].concat());
    assert!(resumed.status.success(), "{}", text(&resumed));
    assert!(text(&resumed).contains("resumed"), "{}", text(&resumed));
    let other = tampered(&one, "why-vendor_paid", "why-vendor_else");
    fs::write(paid.file("other.jsonl"), other).unwrap();
    for args in [
        &["verify", "other.jsonl"][..],
        &["verify", "other.jsonl", "--resume", "one.state"],
    ] {
        let found = paid.actpass(args);
        assert_eq!(found.status.code(), Some(3), "{}", text(&found));
        let want = format!("leaf {leaf}: the texts disclosed of it are not those it commits to");
        assert!(text(&found).contains(&want), "{}", text(&found));
    }
    assert_eq!(paid.verified("other.jsonl")[1].1, Some(3));
}

#[test]
fn what_was_erased_is_not_disclosed_and_that_is_said() {
    let paid = Paid::run();
    paid.disclose("all", "early.jsonl");
    let erase = ["erase", "--subject", "vendor_paid", "--why", "request 4711"];
    paid.json(&[&erase[..], &["--yes"]].concat());
    let said = paid.disclose("all", "late.jsonl");
    let want =
        serde_json::json!({"leaves": 1, "gone": paid.permitted.to_string(), "without": null});
    assert_eq!(said, want);
    let late = paid.lines("late.jsonl").concat();
    assert!(!late.contains("vendor_paid") && late.contains("why-vendor_denied"));
    assert_eq!(paid.verified("late.jsonl"), valid(1));
    let args = [
        "export",
        "--disclose",
        "all",
        "--to",
        "late.jsonl",
        "--force",
    ];
    let said = text(&paid.actpass(&args));
    let want = format!("nothing is left of their texts: leaves {} ", paid.permitted);
    assert!(said.contains(&want), "{said}");
    // Whoever was given them before still has them.
    assert!(
        paid.lines("early.jsonl")
            .concat()
            .contains("why-vendor_paid")
    );
    assert_eq!(paid.verified("early.jsonl"), valid(2));
}

#[test]
fn what_the_log_says_is_erased_is_not_disclosed_by_a_vault_from_before() {
    let paid = Paid::run();
    let copy = |from: &str, to: &str| {
        let mut cp = Command::new("cp");
        let copied = cp.arg("-a").args([paid.file(from), paid.file(to)]).status();
        assert!(copied.unwrap().success());
    };
    copy("state/vault", "vault-of-before");
    let erase = ["erase", "--subject", "vendor_paid", "--why", "request 4711"];
    paid.json(&[&erase[..], &["--yes"]].concat());
    fs::remove_dir_all(paid.file("state/vault")).unwrap();
    copy("vault-of-before", "state/vault");
    let said = paid.disclose("all", "late.jsonl");
    let gone = paid.permitted.to_string();
    let want = serde_json::json!({"leaves": 1, "gone": gone, "without": null});
    assert_eq!(said, want);
    let late = paid.lines("late.jsonl").concat();
    assert!(!late.contains("vendor_paid"), "{late}");
    assert!(late.contains("why-vendor_denied"));
    assert_eq!(paid.verified("late.jsonl"), valid(1));
}

#[test]
fn what_cannot_be_disclosed_is_refused_with_a_reason_and_leaves_no_file() {
    let paid = Paid::run();
    let leaves = paid.json(&["export", "--to", "other.jsonl"])["leaves"].clone();
    assert_eq!(paid.disclose("0", "none.jsonl")["without"], "0");
    let beyond = format!("the log has {leaves} leaves, and leaf {leaves} is none of them");
    let end = leaves.to_string();
    let many: Vec<String> = (0..129).map(|seq| (2 * seq).to_string()).collect();
    let many = many.join(",");
    let copied = ["state/log", "--state-dir", "nowhere"];
    for (leaves, more, want) in [
        ("x", &[][..], "names no leaves"),
        ("5-3", &[], "ends before it begins"),
        (&end, &[], &beyond),
        (&many, &[], "more than 128 numbers and ranges"),
        ("all", &copied, "is no state directory yet"),
    ] {
        let args = ["export", "--disclose", leaves, "--to", "refused.jsonl"];
        let output = paid.actpass(&[&args[..], more].concat());
        assert_eq!(output.status.code(), Some(1), "{leaves}: {}", text(&output));
        assert!(text(&output).contains(want), "{leaves}: {}", text(&output));
        assert!(!paid.file("refused.jsonl").exists(), "{leaves}");
    }
    // Keys of another log open nothing, nor do other keys of the same log.
    fs::create_dir(paid.file("same")).unwrap();
    fs::copy(paid.file("state/cluster-id"), paid.file("same/cluster-id")).unwrap();
    let unfit = format!("the texts of leaf {} cannot be opened", paid.permitted);
    for (state, want) in [("other", "the vault holds no keys of it"), ("same", &unfit)] {
        let put = [
            "--host",
            "a.example",
            "--effect",
            "Write",
            "--state-dir",
            state,
        ];
        paid.payments.home.store("pay", &put, "key").unwrap();
        let args = ["export", "state/log", "--disclose", "all", "--state-dir"];
        let output = paid.actpass(&[&args[..], &[state, "--to", "refused.jsonl"]].concat());
        assert_eq!(output.status.code(), Some(1), "{state}: {}", text(&output));
        assert!(text(&output).contains(want), "{state}: {}", text(&output));
        assert!(!paid.file("refused.jsonl").exists(), "{state}");
    }
}
