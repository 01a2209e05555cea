//! `actpass run` where its disk is full or its log is damaged: denied or refused, with a reason and an exit code.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

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

/// Reads ten times at a time, each time it is told to, and prints the codes. Nobody listens at the upstream, so a read
/// that ActPass permits ends as `upstream_failed`.
const AGENT: &str = r#"while read -r round; do
  for i in 1 2 3 4 5 6 7 8 9 10; do
    curl -s -m 10 "https://api.shop.example/v1/$round/$i" | grep -o '"code":"[a-z_]*"' | head -1
  done
  echo "end $round"
done
"#;

/// A run whose state is on a volume of 5 MiB, of which the log's first segment takes 4; then the rest is filled, then freed.
/// `$1` is actpass.
const FULL: &str = r#"set -e
mount -t tmpfs -o size=5m tmpfs state
mkfifo go said
"$1" run -f policy.yaml --connect-to api.shop.example:443:127.0.0.1:1 -- sh agent.sh <go >said &
exec 3>go 4<said
round() { echo "$1" >&3; while read -r line <&4; do echo "$1 $line"; [ "$line" = "end $1" ] && break; done; }
round before
dd if=/dev/zero of=state/filler bs=4k 2>dd.log || true
round full
rm state/filler
round after
exec 3>&-
wait $! && echo "run ended with 0"
"$1" verify >/dev/null && echo "log verified"
"#;

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("policy.yaml", POLICY), ("agent.sh", AGENT)] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        fs::create_dir(dir.path().join("state")).unwrap();
        Self(dir)
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .current_dir(self.0.path())
            .env("ACTPASS_STATE_DIR", self.0.path().join("state"))
            .env("ACTPASS_LOG", "error")
            .stdin(Stdio::null());
        command
    }

    fn actpass(&self, args: &[&str]) -> Output {
        self.command(actpass()).args(args).output().unwrap()
    }

    fn run(&self, script: &str) -> Output {
        self.actpass(&["run", "-f", "policy.yaml", "--", "sh", "-c", script])
    }

    /// Changes one byte in the middle of what is written of the log.
    fn damage(&self) {
        let path = self.0.path().join("state/log/segments/00000001.seg");
        let mut bytes = fs::read(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[used / 2] ^= 1;
        // The file itself, not another in its place: a run may have it open.
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(
            &file,
            &bytes[used / 2..=used / 2],
            used as u64 / 2,
        )
        .unwrap();
    }

    fn is_refused(&self, when: &str) {
        let run = self.run("touch started");
        let said = text(&run);
        assert_eq!(run.status.code(), Some(125), "{when}: {said}");
        assert!(said.contains("00000001.seg"), "{when}: {said}");
        assert!(
            !self.0.path().join("started").exists(),
            "{when}: the command ran"
        );
        let verify = self.actpass(&["verify"]);
        let said = text(&verify);
        assert_eq!(verify.status.code(), Some(3), "{when}: {said}");
        assert!(said.contains("00000001.seg"), "{when}: {said}");
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
fn a_disk_that_fills_up_denies_what_cannot_be_recorded_until_there_is_space() {
    let home = Home::new();
    fs::write(home.0.path().join("full.sh"), FULL).unwrap();
    let args = ["--user", "--map-root-user", "--mount", "bash", "full.sh"];
    let mut command = home.command("unshare");
    let output = command.args(args).arg(actpass()).output().unwrap();
    let said = text(&output);
    let count = |line: &str| said.lines().filter(|it| *it == line).count();
    assert_eq!(count("before \"code\":\"upstream_failed\""), 10, "{said}");
    let denied = count("full \"code\":\"not_recorded\"");
    let permitted = count("full \"code\":\"upstream_failed\"");
    // What was left of the page at hand takes two records.
    assert_eq!(denied + permitted, 10, "{said}");
    assert!(denied >= 7, "{said}");
    assert_eq!(count("after \"code\":\"upstream_failed\""), 10, "{said}");
    assert_eq!(count("run ended with 0"), 1, "{said}");
    assert_eq!(count("log verified"), 1, "{said}");
}

#[test]
fn without_room_for_the_log_nothing_starts_and_with_room_it_does() {
    let home = Home::new();
    let script = r#"mount -t tmpfs -o size=1m tmpfs state
        "$1" run -f policy.yaml -- touch started; echo "first $?"
        mount -o remount,size=16m state
        "$1" run -f policy.yaml -- touch started; echo "second $?""#;
    let mut command = home.command("unshare");
    let args = [
        "--user",
        "--map-root-user",
        "--mount",
        "bash",
        "-c",
        script,
        "-",
    ];
    let output = command.args(args).arg(actpass()).output().unwrap();
    let said = text(&output);
    assert!(said.contains("no space left on the volume"), "{said}");
    assert!(said.contains("first 125"), "{said}");
    assert!(said.contains("second 0"), "{said}");
}

#[test]
fn a_damaged_log_is_refused_at_the_start_and_found_by_verify() {
    let home = Home::new();
    assert!(home.run("true").status.success());
    home.damage();
    home.is_refused("damaged between runs");
}

#[test]
fn a_log_damaged_under_a_run_is_found_at_the_next_start() {
    let home = Home::new();
    let mut child = home
        .command(actpass())
        .args(["run", "-f", "policy.yaml", "--"])
        .args(["sh", "-c", "echo up; read line; exit 7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut up)
        .unwrap();
    home.damage();
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(7));
    home.is_refused("damaged under a run");
}
