//! Local mode as a user meets it: exit codes, mistakes in manifests, what a contained command can reach.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use actpass_tests::actpass;

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
metadata: {name: reader}
spec:
  agentId: reader
  owner: owner@example.com
  purpose: Read the shop
  scope: [{capability: shop.read}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: reads}
spec:
  targetRefs: [{kind: Passport, name: reader}]
  rules: [{name: reads, decision: Allow, capabilities: [shop.read]}]
"#;

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new(policy: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("policy.yaml"), policy).unwrap();
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn actpass(&self, args: &[&str]) -> Output {
        Command::new(actpass())
            .args(args)
            .current_dir(self.path())
            .env("ACTPASS_STATE_DIR", self.path().join("state"))
            .env("ACTPASS_LOG", "error")
            .output()
            .unwrap()
    }

    fn run(&self, script: &str) -> Output {
        self.actpass(&["run", "-f", "policy.yaml", "--", "sh", "-c", script])
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_exit_code_of_the_command_is_passed_on() {
    let home = Home::new(POLICY);
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143)] {
        let output = home.run(script);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{script}: {}",
            text(&output)
        );
    }
    let missing = home.actpass(&["run", "-f", "policy.yaml", "--", "no-such-program"]);
    assert_eq!(missing.status.code(), Some(127), "{}", text(&missing));
}

#[test]
fn a_mistake_in_a_manifest_starts_nothing_and_names_its_place() {
    let home = Home::new(&POLICY.replace("capabilities: [shop.read]", "capabilities: [shop.raed]"));
    let output = home.run("touch started");
    assert_eq!(output.status.code(), Some(125));
    let line = "policy.yaml:23:57: spec.rules[0].capabilities[0]: no Upstream declares this capability; did you mean `shop.read`?";
    assert!(text(&output).contains(line), "{}", text(&output));
    assert!(!home.path().join("started").exists());
}

#[test]
fn the_state_directory_cannot_be_looked_into_from_inside() {
    let home = Home::new(POLICY);
    let output = home.run("ls state; cat state/keys/kek state/control.token; echo end");
    let shown = text(&output);
    assert!(shown.contains("end"), "{shown}");
    assert_eq!(
        shown.matches("Permission denied").count() + shown.matches("No such file").count(),
        3,
        "{shown}"
    );
}

#[test]
fn undeclared_names_and_addresses_lead_nowhere_and_names_are_on_the_record() {
    let home = Home::new(POLICY);
    let script = "curl -sS -m 5 https://leak.example/; curl -sS -m 5 http://192.0.2.1/; curl -sS -m 5 'http://[2001:db8::1]/'; true";
    let shown = text(&home.run(script));
    assert!(
        shown.contains("Could not resolve host: leak.example"),
        "{shown}"
    );
    assert_eq!(shown.matches("Failed to connect").count(), 2, "{shown}");
    let segment = fs::read(home.path().join("state/log/segments/00000001.seg")).unwrap();
    let log = String::from_utf8_lossy(&segment);
    assert!(
        log.contains("leak.example"),
        "the name asked for is on the record"
    );
    assert!(log.contains("undeclared_name"));
}

#[test]
fn a_log_cannot_be_opened_twice() {
    let home = Home::new(POLICY);
    let mut first = Command::new(actpass())
        .args([
            "run",
            "-f",
            "policy.yaml",
            "--",
            "sh",
            "-c",
            "echo up; read line; true",
        ])
        .current_dir(home.path())
        .env("ACTPASS_STATE_DIR", home.path().join("state"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = String::new();
    let mut stdout = std::io::BufReader::new(first.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut up).unwrap();
    let second = home.run("true");
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    assert_eq!(second.status.code(), Some(125));
    assert!(text(&second).contains("LOCK"), "{}", text(&second));
}

#[test]
fn verify_holds_and_names_the_first_changed_byte() {
    let home = Home::new(POLICY);
    assert!(home.run("true").status.success());
    let verified = home.actpass(&["verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified));
    let segment = home.path().join("state/log/segments/00000001.seg");
    let bytes = fs::read(&segment).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let step = 1 + used / 40;
    for at in (0..used)
        .step_by(step)
        .chain([used, used + 100, bytes.len() - 1])
    {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&segment, &changed).unwrap();
        let verified = home.actpass(&["verify"]);
        // What looks like a write that a crash cut short is no proof of a change: 2, incomplete.
        let code = verified.status.code();
        assert!(
            code == Some(3) || code == Some(2),
            "byte {at}: {}",
            text(&verified)
        );
        assert!(
            text(&verified).contains("00000001.seg"),
            "byte {at}: {}",
            text(&verified)
        );
    }
}
