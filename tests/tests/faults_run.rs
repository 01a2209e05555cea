//! `actpass run` where its disk is full or its log is damaged: denied or refused, with a reason and an exit code.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use actpass_tests::actpass;
use actpass_tests::home::{Home, SHOP, User, text};

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

fn home() -> Home {
    let home = Home::new(User::own(), SHOP).unwrap();
    home.write("agent.sh", AGENT).unwrap();
    fs::create_dir(home.path().join("state")).unwrap();
    home
}

/// Changes one byte in the middle of what is written of the log.
fn damage(home: &Home) {
    let path = home.path().join("state/log/segments/00000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 1;
    // The file itself, not another in its place: a run may have it open.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes[used / 2..=used / 2], used as u64 / 2)
        .unwrap();
}

fn is_refused(home: &Home, when: &str) {
    let run = home.script("touch started").unwrap();
    let said = text(&run);
    assert_eq!(run.status.code(), Some(125), "{when}: {said}");
    assert!(said.contains("00000001.seg"), "{when}: {said}");
    assert!(
        !home.path().join("started").exists(),
        "{when}: the command ran"
    );
    let verify = home.actpass(&["verify"]).output().unwrap();
    let said = text(&verify);
    assert_eq!(verify.status.code(), Some(3), "{when}: {said}");
    assert!(said.contains("00000001.seg"), "{when}: {said}");
}

#[test]
fn a_disk_that_fills_up_denies_what_cannot_be_recorded_until_there_is_space() {
    let home = home();
    fs::write(home.path().join("full.sh"), FULL).unwrap();
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
    let home = home();
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
    let home = home();
    assert!(home.script("true").unwrap().status.success());
    damage(&home);
    is_refused(&home, "damaged between runs");
}

#[test]
fn a_log_damaged_under_a_run_is_found_at_the_next_start() {
    let home = home();
    let mut child = home
        .run(&["sh", "-c", "echo up; read line; exit 7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut up)
        .unwrap();
    damage(&home);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(7));
    is_refused(&home, "damaged under a run");
}
