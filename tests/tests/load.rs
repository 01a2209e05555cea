//! Many requests at once: a limit holds to the cent, and `kill -9` at any moment leaves no effect without a permit.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use actpass_tests::provider::{HOST, Provider};
use actpass_tests::{actpass, scaled};

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
      params: {allow: [vendor, amount, currency, note]}
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
  limits: [{meter: payouts, unit: USD, max: "LIMIT", windowSeconds: 86400}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: payouts}
spec:
  targetRefs: [{kind: Passport, name: treasury}]
  rules: [{name: all, decision: Allow, allowIrreversible: true, capabilities: [payments.payouts.create]}]
"#;

/// Pays in a loop, several loops at once, and prints the code of each answer.
const AGENT: &str = r#"
pay() { for i in $(seq 1 "$2"); do
  curl -s -m 10 https://api.payments.example/v1/payouts -H 'content-type: application/json' \
    -d "{\"vendor\":\"v\",\"amount\":\"10.00\",\"currency\":\"USD\",\"note\":\"$ROUND-$1-$i\"}" | grep -o '"code":"[a-z_]*"\|"ok":true' | head -1
done; }
for k in $(seq 1 "$LOOPS"); do pay "$k" "$CALLS" & done; wait
"#;

struct Home {
    dir: tempfile::TempDir,
    provider: Provider,
}

impl Home {
    fn new(limit: &str, delay: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let provider = Provider::start(delay).unwrap();
        let ca: Vec<String> = provider
            .ca_pem
            .trim()
            .lines()
            .map(|line| format!("      {line}"))
            .collect();
        let policy = POLICY
            .replace("CA_BUNDLE", &ca.join("\n"))
            .replace("LIMIT", limit);
        fs::write(dir.path().join("policy.yaml"), policy).unwrap();
        // The digest of a declared bundle is over its text, which ends in one line feed here.
        fs::write(
            dir.path().join("ca.pem"),
            format!("{}\n", provider.ca_pem.trim()),
        )
        .unwrap();
        fs::write(dir.path().join("agent.sh"), AGENT).unwrap();
        let home = Self { dir, provider };
        home.store();
        home
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(actpass());
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("ACTPASS_LOG", "error");
        command.env("ACTPASS_STATE_DIR", self.dir.path().join("state"));
        command
    }

    fn actpass(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn store(&self) {
        let args = [
            "credentials",
            "put",
            "pay",
            "--host",
            HOST,
            "--ca-file",
            "ca.pem",
            "--effect",
            "Irreversible",
        ];
        let mut child = self
            .command(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(b"the_real_key")
            .unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn agent(&self, round: &str, loops: u32, calls: u32) -> Command {
        let connect_to = format!("{HOST}:443:127.0.0.1:{}", self.provider.port);
        let mut command = self.command(&[
            "run",
            "-f",
            "policy.yaml",
            "--connect-to",
            &connect_to,
            "--",
            "bash",
            "agent.sh",
        ]);
        command
            .env("ROUND", round)
            .env("LOOPS", loops.to_string())
            .env("CALLS", calls.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    fn verified(&self) {
        let verified = self.actpass(&["verify"]);
        let text = String::from_utf8_lossy(&verified.stdout);
        // A kill may tear the last write, which was never answered.
        assert!(matches!(verified.status.code(), Some(0 | 2)), "{text}");
        assert!(!text.contains("INVALID"), "{text}");
    }

    fn log(&self) -> String {
        let segment = fs::read(self.dir.path().join("state/log/segments/00000001.seg")).unwrap();
        String::from_utf8_lossy(&segment).into_owned()
    }
}

#[test]
fn many_at_once_never_exceed_a_limit_and_use_it_to_the_cent() {
    let home = Home::new("200.00", Duration::ZERO);
    let output = home.agent("limit", 8, 10).output().unwrap();
    let answers = String::from_utf8_lossy(&output.stdout);
    assert_eq!(answers.matches("\"ok\":true").count(), 20, "{answers}");
    assert_eq!(answers.matches("limit_exceeded").count(), 60, "{answers}");
    assert_eq!(home.provider.paid().len(), 20);
    home.verified();
    assert!(
        !home.log().contains("the_real_key"),
        "the key is in the log"
    );
}

#[test]
fn killed_at_any_moment_nothing_happens_without_a_permit_nor_twice() {
    let home = Home::new("1000000.00", Duration::from_millis(5));
    let rounds = scaled(60);
    for round in 0..rounds {
        let mut child = home
            .agent(&format!("r{round}"), 3, 200)
            .process_group(0)
            .spawn()
            .unwrap();
        let before = home.provider.paid().len();
        // Once requests flow, a little later in each round.
        while home.provider.paid().len() < before + 3 {
            assert!(
                child.try_wait().unwrap().is_none(),
                "the run ended by itself"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(u64::from(round * 37 % 150)));
        child.kill().unwrap();
        child.wait().unwrap();
        home.verified();
    }
    let paid = home.provider.paid();
    let different: BTreeSet<&String> = paid.iter().collect();
    assert_eq!(different.len(), paid.len(), "an effect happened twice");
    // The next start ends what was open; then every effect has its permit, and what is unknown is said to be.
    assert!(
        home.actpass(&["run", "-f", "policy.yaml", "--", "true"])
            .status
            .success()
    );
    home.verified();
    let permits = home.log().matches("\"verdict\":\"permit\"").count();
    assert!(
        permits >= paid.len(),
        "{permits} permits for {} effects",
        paid.len()
    );
    let intents = String::from_utf8_lossy(
        &home
            .actpass(&["intents", "list", "--output", "json"])
            .stdout,
    )
    .into_owned();
    assert!(!intents.contains("\"state\": \"open\""), "{intents}");
    assert!(
        intents.contains("\"state\": \"ambiguous\""),
        "{rounds} kills under load left nothing unknown: {intents}"
    );
}
