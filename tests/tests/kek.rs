//! The key encryption key of a state directory is exchanged: what lay under the one before is lent, shown and erased as ever, and the
//! one before opens nothing.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

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
  credentials: [{name: pay, effects: [Irreversible], header: Authorization, format: "Bearer {secret}"}]
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
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: payouts}
spec:
  targetRefs: [{kind: Passport, name: treasury}]
  rules: [{name: all, decision: Allow, allowIrreversible: true, capabilities: [payments.payouts.create]}]
"#;

/// Pays once, says what came of it, and stays until it is told to end.
const AGENT: &str = r#"
curl -sS -m 10 https://api.payments.example/v1/payouts -H 'content-type: application/json' \
  -d '{"vendor":"vendor_one","amount":"10.00","currency":"USD","note":"n"}' | tr -d '\n'; echo; read -r _
"#;

struct Paying(Payments);

impl Paying {
    fn new() -> Self {
        let payments = Payments::start(POLICY, Duration::ZERO, AGENT).unwrap();
        payments.store_key().unwrap();
        Self(payments)
    }

    fn kek(&self) -> PathBuf {
        self.0.home.path().join("state/keys/kek")
    }

    fn says(&self, args: &[&str]) -> Output {
        self.0.home.actpass(args).output().unwrap()
    }

    fn done(&self, args: &[&str]) -> String {
        let output = self.says(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        text(&output)
    }

    /// Names of the keys in the file, the one in use first.
    fn keks(&self) -> Vec<String> {
        let listed = self.says(&["keys", "list", "--output", "json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let all = listed.pointer("/kek").and_then(Value::as_array).unwrap();
        all.iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect()
    }

    /// An agent pays with the credential that the vault holds; `then` is done while it stays.
    fn pays(&self, then: impl FnOnce()) {
        let mut agent = self.0.agent();
        let agent = agent.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut agent = agent.stderr(Stdio::piped()).spawn().unwrap();
        let mut answer = String::new();
        BufReader::new(agent.stdout.take().unwrap())
            .read_line(&mut answer)
            .unwrap();
        then();
        drop(agent.stdin.take());
        let ended = agent.wait_with_output().unwrap();
        assert!(answer.contains("\"ok\":true"), "{answer}{}", text(&ended));
        let shown = self.0.provider.authorizations();
        assert_eq!(shown.last().unwrap(), "Bearer the_real_key");
    }
}

fn copied(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.unwrap().success());
}

#[test]
fn under_the_next_key_all_goes_on_and_the_one_before_opens_nothing() {
    let paying = Paying::new();
    paying.pays(|| ());
    let first = paying.keks();
    assert_eq!(first.len(), 1, "{first:?}");
    let old = paying.kek().with_extension("old");
    copied(&paying.kek(), &old);

    paying.done(&["keys", "rotate", "--kek"]);
    let both = paying.keks();
    assert_eq!((both.len(), both.get(1)), (2, first.first()), "{both:?}");
    paying.pays(|| ());
    // Everything is decided again, which takes every text.
    paying.done(&["verify"]);
    let shown = paying.done(&["keys", "list"]);
    assert!(
        shown.contains("encrypts the vault") && shown.contains("encrypted it before"),
        "{shown}"
    );

    paying.done(&["keys", "forget"]);
    assert_eq!(paying.keks(), both.get(..1).unwrap());
    paying.pays(|| ());
    let new = paying.kek().with_extension("new");
    fs::rename(paying.kek(), &new).unwrap();
    copied(&old, &paying.kek());
    let refused = paying.0.agent().output().unwrap();
    let said = text(&refused);
    let (under, given) = (both.first().unwrap(), both.get(1).unwrap());
    assert!(
        !refused.status.success()
            && said.contains(&format!("lies under key encryption key `{under}`"))
            && said.contains(&format!("those given are `{given}`")),
        "{said}"
    );

    fs::rename(&new, paying.kek()).unwrap();
    let why = ["--why", "request 4711", "--yes"];
    paying.done(&[&["erase", "--subject", "vendor_one"][..], &why].concat());
    let verified = paying.says(&["verify"]);
    assert!(
        matches!(verified.status.code(), Some(0 | 2)),
        "{}",
        text(&verified)
    );
    paying.pays(|| ());
}

#[test]
fn a_key_that_is_asked_for_beside_a_run_is_in_use_with_the_next_one() {
    let paying = Paying::new();
    paying.pays(|| {
        let said = paying.says(&["keys", "rotate", "--kek"]);
        assert_eq!(said.status.code(), Some(1), "{}", text(&said));
        let said = text(&said);
        assert!(said.contains("goes under it at the next start"), "{said}");
        // Whoever only looks leaves the vault to the one who serves.
        let vault = paying.kek().with_file_name("../vault/credentials.json");
        let before = fs::read(&vault).unwrap();
        paying.says(&["verify"]);
        paying.says(&["export", "--disclose", "all", "--to", "log.jsonl"]);
        paying.says(&["check", "policy.yaml"]);
        assert_eq!(fs::read(&vault).unwrap(), before);
        let refused = paying.says(&["keys", "forget"]);
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    });
    let both = paying.keks();
    assert_eq!(both.len(), 2, "{both:?}");
    paying.pays(|| ());
    paying.done(&["keys", "forget"]);
    assert_eq!(paying.keks(), both.get(..1).unwrap());
    paying.pays(|| ());
    paying.done(&["verify"]);
}
