//! Many requests at once: a limit holds to the cent, and `kill -9` at any moment leaves no effect without a permit.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use actpass_core::evidence::leaf::StreamEnd;
use actpass_tests::account::Account;
use actpass_tests::payments::Payments;
use actpass_tests::scaled;
use rustix::process::{Pid, Signal, kill_process_group};

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
    -d "{\"vendor\":\"v\",\"amount\":\"10.00\",\"currency\":\"USD\",\"note\":\"$ROUND-$1-$i$SUFFIX\"}" | grep -o '"code":"[a-z_]*"\|"ok":true' | head -1
done; }
for k in $(seq 1 "$LOOPS"); do pay "$k" "$CALLS" & done; wait
"#;

struct Load(Payments);

impl Load {
    fn new(limit: &str, delay: Duration) -> Self {
        let payments = Payments::start(&POLICY.replace("LIMIT", limit), delay, AGENT).unwrap();
        payments.store_key().unwrap();
        Self(payments)
    }

    fn agent(&self, round: &str, loops: u32, calls: u32) -> Command {
        let mut command = self.0.agent();
        command
            .env("ROUND", round)
            .env("LOOPS", loops.to_string())
            .env("CALLS", calls.to_string())
            .stdout(Stdio::piped());
        command
    }

    fn actpass(&self, args: &[&str]) -> Output {
        self.0.home.actpass(args).output().unwrap()
    }

    fn verified(&self) {
        let verified = self.actpass(&["verify"]);
        let text = String::from_utf8_lossy(&verified.stdout);
        // A kill may tear the last write, which was never answered.
        assert!(matches!(verified.status.code(), Some(0 | 2)), "{text}");
        assert!(!text.contains("INVALID"), "{text}");
    }

    /// What the log says of each payment.
    fn books(&self) -> Account {
        Account::of(&self.0.home.path().join("state/log"), "").unwrap()
    }
}

#[test]
fn many_at_once_never_exceed_a_limit_and_use_it_to_the_cent() {
    let calls = scaled(50);
    // A quarter of what eight processes ask for.
    let fits = 2 * calls;
    let load = Load::new(&format!("{fits}0.00"), Duration::ZERO);
    let output = load.agent("limit", 8, calls).output().unwrap();
    let answers = String::from_utf8_lossy(&output.stdout);
    let count = |code| u32::try_from(answers.matches(code).count()).unwrap();
    assert_eq!(count("\"ok\":true"), fits, "{answers}");
    assert_eq!(count("limit_exceeded"), 6 * calls, "{answers}");
    let paid = load.0.provider.paid();
    assert_eq!(paid.len(), usize::try_from(fits).unwrap());
    load.books().justify(&paid).unwrap();
    load.verified();
    let segment = fs::read(load.0.home.path().join("state/log/segments/00000001.seg")).unwrap();
    let key = b"the_real_key";
    assert!(
        !segment.windows(key.len()).any(|part| part == key),
        "the key is in the log"
    );
}

#[test]
fn budget_freed_by_a_failed_effect_can_be_used() {
    let load = Load::new("30.00", Duration::ZERO);
    let run = |round: &str, calls: u32, suffix: &str| {
        let mut agent = load.agent(round, 1, calls);
        let output = agent.env("SUFFIX", suffix).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    struct Case {
        name: &'static str,
        given: (u32, &'static str),
        want: (usize, usize, usize),
    }
    let cases = [
        Case {
            name: "one effect",
            given: (1, ""),
            want: (1, 0, 0),
        },
        Case {
            name: "more failures than would fit at once",
            given: (5, "-declined"),
            want: (0, 5, 0),
        },
        Case {
            name: "what they held is free, and no more than that",
            given: (4, ""),
            want: (2, 0, 2),
        },
    ];
    for Case { name, given, want } in cases {
        let answers = run(&name.replace(' ', "-"), given.0, given.1);
        let count = |code| answers.matches(code).count();
        let got = (
            count("\"ok\":true"),
            count("\"code\":\"declined\""),
            count("limit_exceeded"),
        );
        assert_eq!(got, want, "{name}: {answers}");
    }
    assert_eq!(load.0.provider.paid().len(), 3);
    load.books().justify(&load.0.provider.paid()).unwrap();
    load.verified();
}

/// Four loops, answers after 20 ms: of a request's time most is spent at the provider, and some request is anywhere else.
#[test]
fn killed_at_any_moment_nothing_happens_without_a_permit_nor_twice() {
    let load = Load::new("1000000.00", Duration::from_millis(20));
    let rounds = scaled(200);
    let (mut struck, mut between, mut still_unknown) = (0, 0, 0);
    let mut earlier = Account::default();
    for round in 0..rounds {
        let mut child = load
            .agent(&format!("r{round}"), 4, 200)
            .process_group(0)
            .spawn()
            .unwrap();
        let before = load.0.provider.paid().len();
        // Once requests flow, a little later in each round, and while at least one is at the provider.
        let mut waits = 0..6_000;
        while load.0.provider.paid().len() < before + 6 {
            assert!(waits.next().is_some(), "no requests in round {round}");
            assert!(
                child.try_wait().unwrap().is_none(),
                "the run ended by itself"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_micros(u64::from(round * 7_919 % 60_000)));
        while load.0.provider.in_flight() == 0 {
            assert!(waits.next().is_some(), "no requests in round {round}");
            std::thread::sleep(Duration::from_micros(100));
        }
        child.kill().unwrap();
        let in_flight = load.0.provider.in_flight();
        child.wait().unwrap();
        // On a busy machine it may have been answered just before.
        struck += u32::from(in_flight > 0);

        let books = load.books();
        // Of the runs before, what the ring held has come by now: what is open there stays unknown.
        let unknown = earlier
            .permits
            .keys()
            .filter(|id| !books.outcomes.contains_key(id));
        still_unknown = unknown.count();
        between += u32::from(books.open() > still_unknown);
        books.justify(&load.0.provider.paid()).unwrap();
        earlier = books;
        // The agent went on until here, and for some hundred requests more to nobody.
        let group = Pid::from_child(&child);
        kill_process_group(group, Signal::KILL).unwrap();
        if round % 20 == 0 {
            load.verified();
        }
    }
    assert!(
        struck * 4 >= rounds * 3,
        "{struck} of {rounds} kills while something was in flight"
    );
    // The next start ends what was open; then every effect has its permit, and what is unknown is said to be.
    let last = load.actpass(&["run", "-f", "policy.yaml", "--", "true"]);
    assert!(last.status.success());
    load.verified();
    let (books, paid) = (load.books(), load.0.provider.paid());
    books.justify(&paid).unwrap();
    assert!(!books.ended.is_empty());
    let known = |how: &&StreamEnd| **how == StreamEnd::ExpiredTailKnown;
    let tails = books.ended.values().filter(known).count();
    assert_eq!(
        tails,
        usize::try_from(rounds).unwrap(),
        "every ring was found"
    );
    let rings = fs::read_dir(load.0.home.path().join("state/rings")).unwrap();
    assert_eq!(rings.count(), 0, "and nothing is left of them");

    let listed = load.actpass(&["intents", "list", "--output", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), books.open(), "what has no outcome is listed");
    assert!(listed.iter().all(|intent| intent["state"] == "ambiguous"));

    let effects = paid.len();
    let permits = books.permits.len();
    println!(
        "{rounds} kills: {effects} effects of {permits} permits, {between} kills between permit and outcome, \
         {} ambiguous, {} records late, {still_unknown} unknown before the last",
        listed.len(),
        books.late
    );
    assert!(
        effects >= usize::try_from(rounds * 5).unwrap(),
        "{effects} effects"
    );
    assert!(
        between >= rounds / 4,
        "{between} kills between permit and outcome"
    );
    assert!(!listed.is_empty(), "{rounds} kills left nothing unknown");
}
