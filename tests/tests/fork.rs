//! A log that is behind what was kept of it: no ledger starts on it until the log itself says what is lost, and then nobody takes it for
//! a log without a gap.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use actpass_core::evidence::checkpoint::{Checkpoint, NoteSigner};
use actpass_core::evidence::leaf::Leaf;
use actpass_core::hash::{TreeRoot, b64u_encode};
use actpass_core::verify::Class;
use actpass_ledger::offline::{Known, verify_dir};
use actpass_ledger::storage::segment::SegmentOptions;
use actpass_ledger::storage::{Entry, SegmentReader, SegmentStorage};
use actpass_tests::home::{Home, SHOP, User, text};
use actpass_tests::parts::compiled;
use actpass_tests::torn::tear;
use actpass_tests::{actpass, program, scaled};
use ed25519_dalek::SigningKey;
use serde_json::Value;

/// A state directory that `appender` writes and `actpass` knows.
struct State {
    dir: tempfile::TempDir,
    bundles: Vec<PathBuf>,
}

/// Two policies of a tenant, as files in a directory.
fn policies(dir: &Path, tenant: &str) -> Vec<PathBuf> {
    let policies = [SHOP.to_owned(), SHOP.replace("Read the shop", "Look")];
    let files = policies.iter().enumerate().map(|(nth, policy)| {
        let bundle = compiled(policy, tenant).unwrap();
        let file = dir.join(format!("{}-{nth}.json", tenant.replace('/', "-")));
        fs::write(&file, bundle.bytes()).unwrap();
        file
    });
    files.collect()
}

impl State {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bundles = policies(dir.path(), "local/default/1");
        let state = Self { dir, bundles };
        fs::create_dir_all(state.path("state/keys")).unwrap();
        fs::write(state.path("state/cluster-id"), "1").unwrap();
        state.log(20).unwrap();
        // The key that `appender` signs with.
        let key = SigningKey::from_bytes(&[7; 32]);
        let (seed, public) = (b64u_encode(&key.to_bytes()), key.verifying_key());
        let line = format!(
            "actpass.ed25519/1 {seed} {}\n",
            b64u_encode(public.as_bytes())
        );
        private(&state.path("state/keys/log.key"), line.as_bytes());
        fs::copy(state.path("state/kek"), state.path("state/keys/kek")).unwrap();
        state
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Has a ledger log that many leaves, or says why none starts.
    fn log(&self, leaves: usize) -> Result<(), String> {
        self.log_of(&self.bundles, leaves)
    }

    /// The same of these policies, whose tenants need not be the one.
    fn log_of(&self, policies: &[PathBuf], leaves: usize) -> Result<(), String> {
        let mut ledger = Command::new(program("appender"))
            .arg(self.path("state"))
            .args(policies)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(ledger.stdout.take().unwrap());
        let heard = said.lines().take(leaves).count();
        // The head that is kept beside the log is written at the start and then every five seconds.
        ledger.kill().unwrap();
        let ended = ledger.wait_with_output().unwrap();
        match heard == leaves {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&ended.stderr).into_owned()),
        }
    }

    fn actpass(&self, words: &[&str]) -> Output {
        let mut command = Command::new(actpass());
        command.arg("--state-dir").arg(self.path("state"));
        command.args(words).output().unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        let done = self.actpass(&[words, &["--output=json"]].concat());
        serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&done.stderr).into_owned()))
    }

    /// The log as it is now, to be put back later.
    fn copied(&self, name: &str) {
        copy(&self.path("state/log/segments"), &self.path(name));
    }

    /// Puts an older copy of the log in the place of the log, and leaves all beside it.
    fn put_back(&self, name: &str) {
        fs::remove_dir_all(self.path("state/log")).unwrap();
        copy(&self.path(name), &self.path("state/log/segments"));
    }

    /// A log of which the end is lost, though its head is kept: its leaves now, and those of the head.
    fn behind() -> (Self, u64, u64) {
        let state = Self::new();
        state.copied("old");
        let left = state.leaves();
        state.log(30).unwrap();
        // A start writes the head down.
        state.log(1).unwrap();
        let kept = fs::read_to_string(state.path("state/head")).unwrap();
        let kept: u64 = kept.lines().nth(1).unwrap().parse().unwrap();
        fs::copy(state.path("state/head"), state.path("anchor")).unwrap();
        state.put_back("old");
        assert!(left < kept, "{left} of {kept}");
        (state, left, kept)
    }

    /// The events in the log, or logs, from that leaf on.
    fn events(&self, log: &str, from: u64) -> Vec<String> {
        let mut reader = SegmentReader::open_read_only(&self.path("state/log")).unwrap();
        let mut events = Vec::new();
        let mut visit = |entry: Entry<'_>| {
            if let Entry::Leaf {
                log: of,
                seq,
                bytes,
            } = entry
                && of == log
                && seq >= from
            {
                let leaf = Leaf::parse(bytes).unwrap();
                // `Gap { size: 20, …`
                let event = format!("{:?}", leaf.event());
                let event = event.trim_start_matches("Some(");
                events.push(event.split([' ', '(']).next().unwrap().to_owned());
            }
            ControlFlow::Continue(())
        };
        reader.replay(&mut visit).unwrap();
        events
    }

    /// `actpass-ledger fork` of all logs.
    fn fork_all(&self, more: &[&str]) -> Output {
        let key = b64u_encode(&[7; 32]);
        private(&self.path("ledger.key"), key.as_bytes());
        self.fork_by(&self.path("ledger.key"), more)
    }

    fn fork_by(&self, key: &Path, more: &[&str]) -> Output {
        let mut command = Command::new(program("actpass-ledger"));
        command.args(["fork", "--all", "--by=ann", "--why=case 17"]);
        command.arg("--data").arg(self.path("state"));
        command.arg("--log-key").arg(key);
        command.arg("--kek").arg(self.path("state/keys/kek"));
        command.args(more).output().unwrap()
    }

    fn leaves(&self) -> u64 {
        let log = self.path("state/log");
        let found = self.json(&["verify", log.to_str().unwrap()]);
        let leaves = found.pointer("/logs/0/leaves");
        leaves.and_then(Value::as_u64).unwrap()
    }
}

fn private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// All below a directory, by path.
fn all(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut all, mut open) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                all.insert(path, bytes);
            }
        }
    }
    all
}

/// What has to go well.
fn went_well(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    text(output)
}

const WHY: &[&str] = &["fork", "--why=case 17"];
const DONE: &[&str] = &["fork", "--why=case 17", "--yes"];

#[test]
fn a_log_that_is_behind_its_kept_head_goes_on_only_by_saying_so() {
    let (state, left, kept) = State::behind();
    let why = state.log(1).unwrap_err();
    assert!(
        why.contains("was cut short") && why.contains("`fork`"),
        "{why}"
    );

    let plan = state.json(WHY);
    assert_eq!(plan["done"], false, "{plan}");
    assert_eq!(plan["logs"][0]["size"], left);
    assert_eq!(plan["logs"][0]["lost"][0]["size"], kept);
    assert_eq!(state.leaves(), left, "nothing was logged yet");
    assert!(state.log(1).is_err());

    let done = state.json(DONE);
    assert_eq!(done["done"], true, "{done}");
    assert_eq!(state.leaves(), left + 1);
    state.log(40).unwrap();
    let again = state.actpass(DONE);
    let said = String::from_utf8_lossy(&again.stderr);
    assert!(said.contains("nothing is known to be lost"), "{said}");
}

#[test]
fn a_log_with_a_gap_never_looks_like_one_without() {
    let (state, left, kept) = State::behind();
    assert_eq!(state.json(DONE)["done"], true);
    state.log(40).unwrap();
    let anchor = state.path("anchor");
    let verify = ["verify", "--anchor", anchor.to_str().unwrap()];
    let found = state.json(&verify);
    assert_eq!(found["class"], "incomplete", "{found}");
    let lost = &found["logs"][0]["lost"][0];
    assert_eq!((&lost["leaf"], &lost["anchors"]), (&left.into(), &1.into()));
    assert_eq!(lost["heads"][0]["size"], kept);
    assert_eq!(
        (&lost["why"], &lost["limits"]),
        (&"case 17".into(), &"used_up".into())
    );
    let text = state.actpass(&verify);
    assert_eq!(text.status.code(), Some(2));
    let text = String::from_utf8_lossy(&text.stdout);
    assert!(text.contains("  lost: what was logged after"), "{text}");
}

#[test]
fn a_head_that_no_gap_names_is_still_a_log_that_was_cut() {
    let (state, left, kept) = State::behind();
    assert_eq!(state.json(DONE)["done"], true);
    // Another log of the same key, as long as the lost one: the head of a second log, of which nobody said that it is lost.
    let other = State::new();
    other.log(usize::try_from(kept + left).unwrap()).unwrap();
    other.log(1).unwrap();
    let head = other.path("state/head");
    let found = state.json(&["verify", "--anchor", head.to_str().unwrap()]);
    assert_eq!(found["class"], "invalid", "{found}");
}

#[test]
fn what_was_restored_from_a_backup_goes_on_only_by_saying_so() {
    let state = State::new();
    state.log(30).unwrap();
    let to = state.path("backup");
    let made = state.json(&["backup", "--to", to.to_str().unwrap()]);
    let leaves = made["logs"][0]["leaves"].as_u64().unwrap();
    state.log(30).unwrap();
    for beside in ["keys", "kek"] {
        fs::rename(state.path("state").join(beside), state.path(beside)).unwrap();
    }
    fs::remove_dir_all(state.path("state")).unwrap();
    let into = state.path("state");
    let mut restored = Command::new(actpass());
    restored.args(["restore", "--from"]).arg(&to);
    restored.arg("--to").arg(&into);
    assert!(restored.output().unwrap().status.success());
    for beside in ["keys", "kek"] {
        fs::rename(state.path(beside), state.path("state").join(beside)).unwrap();
    }
    let why = state.log(1).unwrap_err();
    assert!(
        why.contains("restored from a backup") && why.contains("`fork`"),
        "{why}"
    );
    let done = state.json(DONE);
    assert_eq!(done["logs"][0]["size"], leaves, "{done}");
    state.log(10).unwrap();
    let found = state.json(&["verify"]);
    assert_eq!(found["class"], "incomplete", "{found}");
    assert_eq!(found["logs"][0]["lost"][0]["leaf"], leaves);
}

#[test]
fn a_fork_that_is_killed_is_done_again_and_logs_one_gap() {
    let (state, left, _) = State::behind();
    state.copied("before");
    let begun = Instant::now();
    assert_eq!(state.json(WHY)["done"], false);
    let whole = begun.elapsed();
    let rounds = scaled(100);
    let mut undone = 0;
    for nth in 0..rounds {
        state.put_back("before");
        let mut child = Command::new(actpass())
            .arg("--state-dir")
            .arg(state.path("state"))
            .args(DONE)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // From before its beginning to behind its end.
        std::thread::sleep(whole * 2 * nth / rounds);
        child.kill().unwrap();
        child.wait().unwrap();
        let said = state.leaves() > left;
        undone += usize::from(!said);
        assert_eq!(state.log(1).is_ok(), said, "it starts where it is said");
        if !said {
            assert_eq!(state.json(DONE)["done"], true);
            state.log(1).unwrap();
        }
        let found = state.json(&["verify"]);
        assert_eq!(found["logs"][0]["lost"].as_array().unwrap().len(), 1);
        fs::copy(state.path("anchor"), state.path("state/head")).unwrap();
    }
    assert!(undone > 0, "each was done before it was killed");
}

#[test]
fn a_fork_that_is_only_planned_changes_no_byte_and_the_write_that_was_cut_short_is_in_the_log_later()
 {
    let (state, left, kept) = State::behind();
    tear(&state.path("state/log")).unwrap();
    let left = left - 1;
    let before = all(&state.path("state"));
    let plan = state.json(WHY);
    assert_eq!(plan["logs"][0]["size"], left, "{plan}");
    assert_eq!(plan["logs"][0]["lost"][0]["size"], kept, "{plan}");
    let said = went_well(&state.fork_all(&[]));
    assert!(said.contains("Nothing was logged"), "{said}");
    let after = all(&state.path("state"));
    for (path, bytes) in &after {
        assert_eq!(before.get(path), Some(bytes), "{}", path.display());
    }
    assert_eq!(before.len(), after.len());

    assert_eq!(state.json(DONE)["done"], true);
    let events = state.events("actpass/local/default/1", left);
    assert_eq!(events, ["Gap", "Recovery"]);
    state.log(1).unwrap();
}

#[test]
fn a_fork_that_is_refused_changes_no_byte() {
    let (state, left, _) = State::behind();
    tear(&state.path("state/log")).unwrap();
    let segments = || all(&state.path("state/log/segments"));
    let before = segments();
    let origin = "actpass/local/default/1";
    let stranger = NoteSigner::new(origin, SigningKey::from_bytes(&[8; 32]));
    let forged = Checkpoint {
        origin: origin.to_owned(),
        size: 900,
        root: TreeRoot::from_bytes([3; 32]),
    };
    fs::write(state.path("forged"), forged.sign(&stranger)).unwrap();
    let forged = state.path("forged");
    let lost = ["--lost", forged.to_str().unwrap()];
    let refused = state.actpass(&[DONE, &lost].concat());
    assert!(
        text(&refused).contains("cannot be believed"),
        "{}",
        text(&refused)
    );
    assert!(segments() == before, "by actpass");
    let refused = state.fork_all(&["--yes", "--lost", forged.to_str().unwrap()]);
    assert!(
        text(&refused).contains("cannot be believed"),
        "{}",
        text(&refused)
    );
    assert!(segments() == before, "by actpass-ledger");
    assert_eq!(state.json(DONE)["done"], true);
    assert_eq!(state.events(origin, left - 1), ["Gap", "Recovery"]);
}

#[test]
fn a_fork_beside_a_ledger_that_serves_touches_nothing_of_its_vault() {
    let (state, _, _) = State::behind();
    let log = state.path("state/log");
    let serves = SegmentStorage::open(&log, SegmentOptions::default()).unwrap();
    assert!(state.path("state/vault").is_dir());
    // As a ledger has it before it gives it its name.
    let half = state.path("state/vault/.tenants.json.new");
    private(&half, b"written");
    for refused in [state.actpass(DONE), state.fork_all(&["--yes"])] {
        assert!(!refused.status.success(), "{}", text(&refused));
        assert!(text(&refused).contains("LOCK"), "{}", text(&refused));
        assert_eq!(fs::read(&half).unwrap(), b"written");
    }
    drop(serves);
    assert_eq!(state.json(DONE)["done"], true);
    assert!(!half.exists(), "the counter-proof");
}

#[test]
fn a_log_that_lost_nothing_says_what_a_crash_cut_short_when_another_goes_on_with_a_gap() {
    for one in [false, true] {
        let state = State::new();
        let second = "actpass/local/default/2";
        state
            .log_of(&policies(&state.path(""), "local/default/2"), 10)
            .unwrap();
        // What is cut short later is of the first.
        state.log(10).unwrap();
        state.copied("old");
        let before = state.events(second, 0).len();
        state.log(30).unwrap();
        state.log(1).unwrap();
        state.put_back("old");
        tear(&state.path("state/log")).unwrap();
        // `actpass` speaks for its own log only.
        match one {
            true => assert_eq!(state.json(DONE)["done"], true),
            false => drop(went_well(&state.fork_all(&["--yes"]))),
        }
        let events = state.events(second, u64::try_from(before).unwrap());
        assert_eq!(events, ["Recovery"], "of one only: {one}");
        state.log(1).unwrap();
    }
}

#[test]
fn a_crash_before_it_is_noted_that_the_gap_is_logged_leads_to_no_second_gap() {
    let state = State::new();
    let to = state.path("backup");
    state.json(&["backup", "--to", to.to_str().unwrap()]);
    for beside in ["keys", "kek"] {
        fs::rename(state.path("state").join(beside), state.path(beside)).unwrap();
    }
    fs::remove_dir_all(state.path("state")).unwrap();
    let mut restored = Command::new(actpass());
    restored.args(["restore", "--from"]).arg(&to);
    went_well(
        &restored
            .arg("--to")
            .arg(state.path("state"))
            .output()
            .unwrap(),
    );
    for beside in ["keys", "kek"] {
        fs::rename(state.path(beside), state.path("state").join(beside)).unwrap();
    }
    let marker = fs::read(state.path("state/restored")).unwrap();
    let (left, log) = (state.leaves(), "actpass/local/default/1");
    // As if it had been killed in the write of the gap.
    assert_eq!(state.json(DONE)["done"], true);
    tear(&state.path("state/log")).unwrap();
    private(&state.path("state/restored"), &marker);
    assert_eq!(state.json(DONE)["done"], true);
    assert_eq!(state.events(log, left), ["Gap", "Recovery"]);
    // As if it had been killed before its last step.
    private(&state.path("state/restored"), &marker);
    assert!(state.log(1).is_err());
    let again = state.json(DONE);
    assert_eq!(again["logs"][0]["said"], true, "{again}");
    assert_eq!(state.events(log, left), ["Gap", "Recovery"]);
    state.log(1).unwrap();
}

#[test]
fn what_an_earlier_build_restored_goes_on_by_saying_so() {
    let state = State::new();
    let (left, log) = (state.leaves(), "actpass/local/default/1");
    let marker = state.path("state/restored");
    let earlier = format!("2026-01-02T03:04:05Z\n{log}\n");
    private(&marker, earlier.as_bytes());
    let why = state.log(1).unwrap_err();
    assert!(
        why.contains("2026-01-02") && why.contains("`fork`"),
        "{why}"
    );
    assert_eq!(state.json(DONE)["logs"][0]["size"], left);
    assert_eq!(state.events(log, left), ["Gap"]);
    assert!(!marker.exists());
    state.log(1).unwrap();
}

#[test]
fn what_does_not_say_which_logs_were_restored_names_the_way_out() {
    let state = State::new();
    for marker in ["", "2026-01-02T03:04:05Z\n", "2026-01-02T03:04:05Z\n12"] {
        private(&state.path("state/restored"), marker.as_bytes());
        for why in [state.log(1).unwrap_err(), text(&state.actpass(DONE))] {
            assert!(why.contains("`restore --from BACKUP --to DIR`"), "{why}");
        }
    }
}

#[test]
fn a_log_that_is_gone_begins_anew_with_a_gap() {
    let (state, _, kept) = State::behind();
    fs::remove_dir_all(state.path("state/log")).unwrap();
    assert!(state.log(1).unwrap_err().contains("is gone"));
    fs::remove_dir_all(state.path("state/log")).unwrap();
    // The head is lost with the log, and one is kept elsewhere.
    fs::remove_file(state.path("state/head")).unwrap();
    let (anchor, before) = (state.path("anchor"), all(&state.path("state")));
    let lost = ["--lost", anchor.to_str().unwrap()];
    let plan = state.json(&[WHY, &lost].concat());
    let log = &plan["logs"][0];
    assert_eq!((&log["gone"], &log["size"]), (&true.into(), &0.into()));
    assert_eq!(log["lost"][0]["size"], kept);
    assert_eq!(before, all(&state.path("state")), "nothing is made");

    let done = state.json(&[DONE, &lost].concat());
    assert_eq!(done["done"], true, "{done}");
    let events = state.events("actpass/local/default/1", 0);
    assert_eq!(events, ["Genesis", "Gap"]);
    state.log(40).unwrap();
    let found = state.json(&["verify", "--anchor", anchor.to_str().unwrap()]);
    assert_eq!(found["class"], "incomplete", "{found}");
    assert_eq!(found["logs"][0]["lost"][0]["anchors"], 1);
}

#[test]
fn logs_that_were_begun_after_what_was_restored_begin_anew_with_all_others() {
    let state = State::new();
    state.copied("old");
    let second = policies(&state.path(""), "local/default/2");
    state.log(20).unwrap();
    state.log_of(&second, 10).unwrap();
    // A start writes the heads of both down. Of a third log there is nothing but its first leaf.
    state.log(1).unwrap();
    let third = "actpass/local/default/3".to_owned();
    let root = TreeRoot::from_bytes([3; 32]);
    let signer = NoteSigner::new(&third, SigningKey::from_bytes(&[7; 32]));
    let note = Checkpoint {
        origin: third.clone(),
        size: 1,
        root,
    }
    .sign(&signer);
    let heads = fs::read_to_string(state.path("state/head")).unwrap() + &note;
    private(&state.path("state/head"), heads.as_bytes());
    fs::write(state.path("anchors"), &heads).unwrap();
    state.put_back("old");

    let why = state.log(1).unwrap_err();
    assert!(why.contains("`fork`"), "{why}");
    let plan = went_well(&state.fork_all(&[]));
    assert_eq!(
        plan.matches("is gone, and begins anew").count(),
        2,
        "{plan}"
    );
    assert_eq!(plan.matches("goes on after").count(), 1, "{plan}");
    assert_eq!(plan.matches("lost: it had").count(), 2, "{plan}");
    went_well(&state.fork_all(&["--yes"]));
    for log in ["actpass/local/default/2", &third] {
        assert_eq!(state.events(log, 0), ["Genesis", "Gap"], "{log}");
    }
    let again = state.fork_all(&["--yes"]);
    assert!(text(&again).contains("nothing is known to be lost"));
    state.log(20).unwrap();
    state.log_of(&second, 5).unwrap();
    let anchors = actpass_ledger::heads::notes(&heads);
    let known = Known {
        anchors: anchors.get(..2).unwrap(),
        ..Known::default()
    };
    let verified = verify_dir(&state.path("state/log"), &known).unwrap();
    assert_eq!(verified.class(), Class::Incomplete);
    for log in &verified.logs {
        assert_eq!(log.report.lost.len(), 1, "{}", log.origin);
    }
    // Only what the key signed makes a log.
    let other = NoteSigner::new(&third, SigningKey::from_bytes(&[8; 32]));
    let forged = Checkpoint {
        origin: "actpass/local/default/4".to_owned(),
        size: 9,
        root,
    };
    fs::write(state.path("forged"), forged.sign(&other)).unwrap();
    let forged = state.fork_all(&["--yes", "--lost", state.path("forged").to_str().unwrap()]);
    assert!(
        text(&forged).contains("cannot be believed"),
        "{}",
        text(&forged)
    );
}

/// `actpass` in this home, which has to do what it is told.
fn done(home: &Home, words: &[&str]) -> String {
    let output = home.actpass(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", text(&output));
    text(&output)
}

#[test]
fn an_agent_runs_on_what_was_restored_once_the_log_says_what_is_lost() {
    let home = Home::new(User::own(), SHOP).unwrap();
    assert!(home.script("true").unwrap().status.success());
    done(&home, &["backup", "--to", "backup"]);
    // A sidecar that sees heads which the backup has not, and is killed.
    let mut run = home.run(&["sleep", "60"]);
    let mut run = run.stdout(Stdio::null()).spawn().unwrap();
    let rings = home.path().join("state/rings");
    let ring = || fs::read_dir(&rings).unwrap().next();
    for _ in 0..200 {
        if ring().is_some() && home.log().unwrap().matches("stream_opened").count() > 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(500));
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(ring().is_some(), "a killed run leaves its ring");

    let at = |name: &str| home.path().join(name);
    fs::rename(at("state"), at("lost")).unwrap();
    done(&home, &["restore", "--from", "backup", "--to", "state"]);
    copy(&at("lost/keys"), &at("state/keys"));
    copy(&at("lost/rings"), &at("state/rings"));
    let refused = home.script("true").unwrap();
    assert!(text(&refused).contains("`fork`"), "{}", text(&refused));

    let fork = ["fork", "--why=case 17", "--lost", "lost/head", "--yes"];
    let said = done(&home, &fork);
    assert!(said.contains("lost: it had"), "{said}");
    let again = home.script("true").unwrap();
    assert!(again.status.success(), "{}", text(&again));
    let mut left = fs::read_dir(at("state/rings")).unwrap();
    let ring = |path: PathBuf| path.extension().is_some_and(|it| it == "ring");
    assert!(
        left.all(|entry| !ring(entry.unwrap().path())),
        "the stream of before is over"
    );
    let verify = ["verify", "--anchor", "lost/head", "--output=json"];
    let found = home.actpass(&verify).output().unwrap();
    assert_eq!(found.status.code(), Some(2), "{}", text(&found));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found.pointer("/logs/0/lost/0/anchors"), Some(&1.into()));
}

#[test]
fn a_log_key_that_others_may_read_is_refused() {
    let (state, ..) = State::behind();
    went_well(&state.fork_all(&[]));
    let key = state.path("open.key");
    fs::write(&key, b64u_encode(&[7; 32])).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = state.fork_by(&key, &[]);
    assert!(!refused.status.success());
    assert!(text(&refused).contains("chmod 600"), "{}", text(&refused));
}

#[test]
fn an_anchor_of_what_is_lost_stays_beside_the_one_that_is_saved() {
    let (state, ..) = State::behind();
    assert_eq!(state.json(DONE)["done"], true);
    state.log(40).unwrap();
    let (path, before) = (state.path("anchor"), state.path("before"));
    fs::copy(&path, &before).unwrap();
    let anchor = path.to_str().unwrap();
    let verify = ["verify", "--anchor", anchor, "--save-anchor", anchor];
    for nth in 0..3 {
        let saved = state.actpass(&verify);
        assert_eq!(saved.status.code(), Some(2), "{}", text(&saved));
        assert!(text(&saved).contains("stays in it"), "{}", text(&saved));
        let notes = actpass_ledger::heads::notes(&fs::read_to_string(&path).unwrap());
        assert_eq!(notes.len(), 2, "{nth}: {notes:?}");
        assert_eq!(notes[1], fs::read_to_string(&before).unwrap());
        state.log(5).unwrap();
    }
    // Both of them are what a later log has to have.
    let found = state.json(&["verify", "--anchor", anchor]);
    assert_eq!(found["logs"][0]["lost"][0]["anchors"], 1, "{found}");
    let other = State::new();
    let found = other.json(&["verify", "--anchor", anchor]);
    assert_eq!(found["class"], "invalid", "{found}");
}
