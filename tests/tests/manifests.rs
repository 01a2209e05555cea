//! Bad manifests and the program: every mistake is shown, the exit code says so, and nothing starts.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::process::Output;

use actpass_tests::home::{Home, User, text};

const GOOD: &str = include_str!("../../crds/tests/bad_manifests/good.yaml");

fn home(policy: &str) -> Home {
    let uid = rustix::process::geteuid().as_raw();
    Home::new(User { uid }, policy).unwrap()
}

/// Two mistakes, in two documents.
fn bad() -> String {
    let bad = GOOD
        .replace("ttlSeconds: 900", "ttlSeconds: 9")
        .replace("decision: Deny", "decision: Refuse");
    assert_ne!(bad, GOOD);
    bad
}

const MISTAKES: [&str; 2] = [
    "policy.yaml:61: Passport/agent: spec.ttlSeconds: expected a whole number from 60 to 3600, found 9",
    "policy.yaml:90: ClusterActionPolicy/guard: spec.rules[0].decision: expected one of `Deny`, `RequireApproval` or \
     `Allow`, found text `Refuse`",
];

fn check(policy: &str, more: &[&str]) -> Output {
    let args = [&["check", "policy.yaml"], more].concat();
    home(policy).actpass(&args).output().unwrap()
}

#[test]
fn check_ends_with_zero_for_good_manifests_also_with_warnings() {
    let output = check(GOOD, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let warned = GOOD.replace("\"pay.notes.*\"}", "\"pay.memos.*\"}");
    let output = check(&warned, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(
        text(&output).contains("policy.yaml:55: warning: Passport/agent: spec.scope[1].capability")
    );
}

#[test]
fn check_shows_every_mistake_and_ends_with_one() {
    let output = check(&bad(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output);
    let lines: Vec<&str> = shown.lines().collect();
    let end = "mistakes: 2, warnings: 0; nothing can start with these manifests";
    assert_eq!(lines, [MISTAKES[0], MISTAKES[1], end]);
}

#[test]
fn check_gives_programs_a_list() {
    let output = check(&bad(), &["--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        list[0],
        serde_json::json!({
            "file": "policy.yaml", "line": 61, "resource": "Passport/agent", "field": "spec.ttlSeconds",
            "severity": "error", "message": "expected a whole number from 60 to 3600, found 9",
        })
    );
    assert_eq!(list.as_array().map(Vec::len), Some(2));
}

#[test]
fn run_starts_nothing_with_a_bad_manifest() {
    for (policy, starts) in [(bad(), false), (GOOD.to_owned(), true)] {
        let home = home(&policy);
        let output = home.run(&["touch", "started"]).output().unwrap();
        let shown = text(&output);
        assert_eq!(home.path().join("started").exists(), starts, "{shown}");
        if starts {
            assert_eq!(output.status.code(), Some(0), "{shown}");
        } else {
            assert_eq!(output.status.code(), Some(125), "{shown}");
            assert!(MISTAKES.iter().all(|line| shown.contains(line)), "{shown}");
            for made in ["state/log", "state/keys", "state/vault"] {
                assert!(!home.path().join(made).exists(), "{made}");
            }
        }
    }
}
