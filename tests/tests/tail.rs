//! Leaves passed on as they come: each once, in order, whatever is killed, renamed or full, and no decision waits for it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use actpass_core::evidence::leaf::Leaf;
use actpass_core::evidence::merkle;
use actpass_ledger::storage::{Entry, SegmentReader};
use actpass_tests::home::text;
use actpass_tests::parts::{SHOP, compiled};
use actpass_tests::tenants::{Tenants, encoded};
use actpass_tests::{actpass, program, scaled};
use serde_json::Value;

/// A log that a process writes to, and a file that it is passed on to.
struct Passed {
    dir: tempfile::TempDir,
    writer: Child,
}

impl Passed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bundles: Vec<PathBuf> = (0..2)
            .map(|nth| {
                let policy = SHOP.replace("Read and pay", &format!("number {nth}"));
                let bundle = compiled(&policy, "local/default/1").unwrap();
                let file = dir.path().join(format!("{nth}.json"));
                fs::write(&file, bundle.bytes()).unwrap();
                file
            })
            .collect();
        let mut writer = Command::new(program("appender"));
        writer.arg(dir.path()).args(bundles);
        writer.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut writer = writer.spawn().unwrap();
        let mut out = BufReader::new(writer.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        // What it says must not fill the pipe.
        std::thread::spawn(move || out.lines().map_while(Result::ok).for_each(drop));
        Self { dir, writer }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("out.jsonl")
    }

    fn tail(&self, args: &[&str]) -> Command {
        let mut command = Command::new(actpass());
        command.arg("tail").arg(self.log()).args(args);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn to_file(&self, args: &[&str]) -> Command {
        let mut command = self.tail(args);
        command.arg("--to").arg(self.file());
        command
    }

    fn end_writer(&mut self) {
        self.writer.kill().unwrap();
        self.writer.wait().unwrap();
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.writer.kill());
        drop(self.writer.wait());
    }
}

/// The leaves of each line, held against the hash beside them.
fn leaves(lines: &str) -> Vec<String> {
    let leaf = |line: &str| {
        let hash: Value = serde_json::from_str(line).unwrap();
        let leaf = line.strip_prefix("{\"leaf\":").unwrap();
        let (leaf, _) = leaf.rsplit_once(",\"leaf_hash\":").unwrap();
        let want = merkle::leaf_hash(leaf.as_bytes()).to_string();
        assert_eq!(hash["leaf_hash"].as_str(), Some(want.as_str()));
        leaf.to_owned()
    };
    lines.lines().map(leaf).collect()
}

/// The leaves of a log directory.
fn logged(log: &Path) -> Vec<String> {
    let mut leaves = Vec::new();
    let mut reader = SegmentReader::open_read_only(log).unwrap();
    let read = reader.read_on(&mut |entry| {
        if let Entry::Leaf { bytes, .. } = entry {
            leaves.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
    });
    read.unwrap();
    leaves
}

fn done(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    output
}

#[test]
fn killed_at_any_moment_each_leaf_stands_in_the_file_once() {
    let mut passed = Passed::new();
    let kills = scaled(200);
    let (mut grew, mut before) = (0, 0);
    for nth in 0..kills {
        let mut tail = passed.to_file(&["--follow"]).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(u64::from(
            2_000 + nth * 7_919 % 60_000,
        )));
        assert_eq!(tail.try_wait().unwrap(), None, "it ended by itself");
        tail.kill().unwrap();
        tail.wait().unwrap();
        let length = fs::metadata(passed.file()).map_or(0, |file| file.len());
        grew += u32::from(length > before);
        before = length;
    }
    passed.end_writer();
    done(passed.to_file(&[]));
    let (found, want) = (
        leaves(&fs::read_to_string(passed.file()).unwrap()),
        logged(&passed.log()),
    );
    assert_eq!(found.len(), want.len());
    assert!(found == want, "other leaves, or in another order");
    println!(
        "{kills} kills, in {grew} of which the file had grown; {} leaves, each once",
        found.len()
    );
    assert!(grew > 0, "none was killed at work");
}

#[test]
fn standard_output_goes_on_where_its_cursor_is_and_a_changed_log_is_told() {
    let mut passed = Passed::new();
    passed.end_writer();
    let whole = logged(&passed.log());
    let first = done(passed.tail(&[]));
    assert_eq!(leaves(&String::from_utf8(first.stdout).unwrap()), whole);
    let cursor = passed.dir.path().join("cursor");
    let on = |passed: &Passed| {
        let mut command = passed.tail(&["--cursor"]);
        command.arg(&cursor);
        command.output().unwrap()
    };
    assert_eq!(leaves(&text_of(&on(&passed))), whole);
    assert_eq!(text_of(&on(&passed)), "", "nothing new");
    // Another log in its place has other leaves from the first on.
    let mut other = Passed::new();
    other.end_writer();
    fs::remove_dir_all(passed.log()).unwrap();
    fs::rename(other.log(), passed.log()).unwrap();
    let refused = on(&passed);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("the log was rewritten or is another one") || said.contains("cut short"),
        "{said}"
    );
}

fn text_of(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

const TENANT: &str = "0c1d/shop/aaaa";

/// Waits until that many leaves were passed on, and none waits.
async fn until(tenants: &Tenants, leaves: usize) {
    let want = format!("actpass_ledger_passed_on_leaves_total {leaves}\n");
    for _ in 0..600 {
        let metrics = tenants.metrics();
        if metrics.contains(&want) && metrics.contains("actpass_ledger_waiting_leaves 0\n") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not passed on: {}", tenants.metrics());
}

#[tokio::test]
async fn a_ledger_passes_on_what_is_logged_and_decides_on_while_nothing_is_taken() {
    let tenants = Tenants::start().unwrap();
    tenants.know(
        "controller",
        "controller",
        [format!("update bundles {TENANT}")],
    );
    let bundle = tenants.bundle(SHOP, TENANT).unwrap();
    let path = format!("/v1/bundles?tenant={}", encoded(TENANT));
    let put = tenants.call(Some("controller"), "PUT", &path, bundle.bytes());
    assert_eq!(put.await.unwrap().0, 200);
    let agent = tenants.agent(&bundle, "pod-1").await.unwrap();
    let pay = async || {
        agent
            .verdict("POST", "/v1/pay", r#"{"amount":"1.00"}"#)
            .await
            .unwrap()
    };
    assert_eq!(pay().await, "permit");
    let logged = tenants.leaves(TENANT).unwrap().len();
    until(&tenants, logged).await;

    // A disk without room in the place of the file: decisions go on, and leaves wait.
    let kept = tenants.evidence().with_extension("1");
    fs::rename(tenants.evidence(), &kept).unwrap();
    std::os::unix::fs::symlink("/dev/full", tenants.evidence()).unwrap();
    for _ in 0..5 {
        assert_eq!(pay().await, "permit");
    }
    let waiting = async || {
        let metrics = tenants.metrics();
        let waiting = metrics
            .lines()
            .find_map(|line| line.strip_prefix("actpass_ledger_waiting_leaves "));
        waiting.unwrap().parse::<u32>().unwrap()
    };
    for nth in 0.. {
        if waiting().await >= 5 {
            break;
        }
        assert!(nth < 600, "none waits: {}", tenants.metrics());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    fs::remove_file(tenants.evidence()).unwrap();
    let logged = tenants.leaves(TENANT).unwrap();
    assert!(logged.len() >= 8);
    until(&tenants, logged.len()).await;
    agent.close().await.unwrap();
    let (log, evidence) = (tenants.leaves(TENANT).unwrap(), tenants.evidence());
    // What was logged at the end is passed on before it ends.
    let text = async |tenants: Tenants| {
        let dir = tenants.end().await;
        let text = fs::read_to_string(&kept).unwrap() + &fs::read_to_string(&evidence).unwrap();
        drop(dir);
        text
    };
    let text = text(tenants).await;
    let found = leaves(&text);
    let found: Vec<Leaf> = found
        .iter()
        .map(|leaf| Leaf::parse(leaf.as_bytes()).unwrap())
        .collect();
    assert!(found.len() >= log.len());
    assert_eq!(found[..log.len()], log[..]);
}
