//! A state directory is copied while a process writes it, the copying and the way back are killed, and bytes of the copy change:
//! what is restored is what was copied, whole, or nothing.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actpass_core::verify::Class;
use actpass_ledger::offline::{Known, verify_dir};
use actpass_ledger::storage::{Entry, SegmentReader};
use actpass_tests::parts::compiled;
use actpass_tests::torn::tear;
use actpass_tests::{actpass, program, scaled};
use serde_json::Value;

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
metadata: {name: clerk}
spec:
  agentId: clerk
  owner: owner@example.com
  purpose: NTH
  scope: [{capability: shop.read}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: all}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules: [{name: reads, decision: Allow, capabilities: [shop.read]}]
"#;

/// A state directory that a ledger's sequencer can write to, and a directory for its copies.
struct State {
    dir: tempfile::TempDir,
    bundles: Vec<PathBuf>,
}

impl State {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bundles = (0..2).map(|nth| {
            let policy = POLICY.replace("NTH", &format!("number {nth}"));
            let bundle = compiled(&policy, "local/default/1").unwrap();
            let file = dir.path().join(format!("{nth}.json"));
            fs::write(&file, bundle.bytes()).unwrap();
            file
        });
        let bundles = bundles.collect();
        fs::create_dir(dir.path().join("state")).unwrap();
        Self { dir, bundles }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A process that logs, one leaf after the other, until it is killed.
    fn serve(&self) -> Child {
        Command::new(program("appender"))
            .arg(self.path("state"))
            .args(&self.bundles)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Logs that many leaves and ends.
    fn grow(&self, leaves: usize) {
        let mut ledger = self.serve();
        let said = BufReader::new(ledger.stdout.take().unwrap());
        said.lines().take(leaves).for_each(drop);
        end(ledger);
    }

    fn backup(&self) -> Command {
        let mut command = Command::new(actpass());
        command.arg("backup").arg(self.path("state"));
        command.arg("--to").arg(self.path("backup"));
        command.arg("--output=json");
        command
    }

    /// A copy of all that is there, by the name `older`.
    fn restore_point(&self) {
        let (from, to) = (self.path("state"), self.path("older"));
        for name in files(&from).into_keys() {
            fs::create_dir_all(to.join(&name).parent().unwrap()).unwrap();
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }

    fn restore(&self, to: &str) -> Command {
        let mut command = Command::new(actpass());
        command
            .arg("restore")
            .arg("--from")
            .arg(self.path("backup"));
        command.arg("--to").arg(self.path(to)).arg("--output=json");
        command
    }
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn json(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// All leaves, in order, by their bytes.
fn leaves(log: &Path) -> Vec<Vec<u8>> {
    let mut leaves = Vec::new();
    let mut reader = SegmentReader::open_read_only(log).unwrap();
    let mut visit = |entry: Entry<'_>| {
        if let Entry::Leaf { bytes, .. } = entry {
            leaves.push(bytes.to_vec());
        }
        ControlFlow::Continue(())
    };
    reader.replay(&mut visit).unwrap();
    leaves
}

/// All files below a directory, by path.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut all, mut open) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_owned();
                all.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    all
}

fn valid(log: &Path) -> bool {
    verify_dir(log, &Known::default()).unwrap().class() == Class::Valid
}

#[test]
fn what_is_restored_is_what_was_copied_to_the_byte_and_a_ledger_does_not_start_on_it_unasked() {
    let state = State::new();
    state.grow(300);
    let made = json(&state.backup().output().unwrap());
    let restored = json(&state.restore("again").output().unwrap());
    assert_eq!(made["logs"], restored["logs"]);
    let (before, after) = (files(&state.path("state")), files(&state.path("again")));
    for (name, bytes) in &before {
        let name_text = name.to_str().unwrap();
        let not_kept = name_text == "kek"
            || name_text == "log/LOCK"
            || name_text.starts_with("log/states")
            || bytes.iter().all(|byte| *byte == 0);
        if !not_kept && name_text != "head" {
            assert_eq!(after.get(name), Some(bytes), "{name_text}");
        }
    }
    assert!(!after.contains_key(Path::new("kek")), "no key is copied");
    assert_eq!(
        leaves(&state.path("state/log")),
        leaves(&state.path("again/log"))
    );

    fs::copy(state.path("state/kek"), state.path("again/kek")).unwrap();
    let ledger = Command::new(program("appender"))
        .arg(state.path("again"))
        .args(&state.bundles)
        .output()
        .unwrap();
    let why = String::from_utf8_lossy(&ledger.stderr);
    assert!(!ledger.status.success() && why.contains("fork"), "{why}");
}

#[test]
fn copied_beside_a_process_that_writes_it_is_a_whole_log_each_time_and_only_what_is_new_is_copied()
{
    let state = State::new();
    let mut ledger = state.serve();
    let mut said = BufReader::new(ledger.stdout.take().unwrap()).lines();
    let (mut least, mut kept) = (0, 0);
    for _ in 0..scaled(20) {
        said.by_ref().take(200).for_each(drop);
        // Somebody takes what it says on, so fast that it writes while it is copied and no faster: each copy is verified whole.
        let heard = std::thread::scope(|scope| {
            let copied = scope.spawn(|| state.backup().output().unwrap());
            let mut heard = 0;
            while !copied.is_finished() {
                heard += usize::from(said.next().is_some());
                std::thread::sleep(Duration::from_millis(20));
            }
            let made = json(&copied.join().unwrap());
            let leaves = made["logs"][0]["leaves"].as_u64().unwrap();
            assert!(leaves > least, "{leaves} after {least}");
            (least, kept) = (leaves, made["kept"].as_u64().unwrap());
            let copy = PathBuf::from(made["copy"].as_str().unwrap());
            assert!(valid(&copy.join("log")));
            heard
        });
        assert!(heard > 0, "nothing was written meanwhile");
    }
    end(ledger);
    assert!(kept > 0, "full segments are there already");
    let (all, copy) = (leaves(&state.path("state/log")), copy_of(&state));
    assert!(all.starts_with(&leaves(&copy.join("log"))));
}

/// The copy that counts.
fn copy_of(state: &State) -> PathBuf {
    let manifest = fs::read(state.path("backup/backup.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    state
        .path("backup")
        .join(manifest["copy"].as_str().unwrap())
}

#[test]
fn a_backup_that_is_killed_leaves_the_one_before_and_the_next_one_clears_up() {
    let state = State::new();
    state.grow(200);
    json(&state.backup().output().unwrap());
    let mut last = leaves(&copy_of(&state).join("log"));
    let mut killed = 0;
    for nth in 0..scaled(200) {
        state.grow(20);
        let child = state.backup().stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(nth as u64 * 7 % 60));
        let before = copy_of(&state);
        end(child);
        killed += usize::from(copy_of(&state) == before);
        let to = format!("restored-{nth}");
        json(&state.restore(&to).output().unwrap());
        let found = leaves(&state.path(&to).join("log"));
        assert!(found.starts_with(&last), "a backup that was there is gone");
        last = found;
        fs::remove_dir_all(state.path(&to)).unwrap();
    }
    assert!(killed > 0, "each was done before it was killed");
    json(&state.backup().output().unwrap());
    let there = fs::read_dir(state.path("backup")).unwrap();
    let there = there.filter(|it| it.as_ref().unwrap().path().is_dir());
    assert_eq!(there.count(), 1, "what the killed ones left is gone");
}

#[test]
fn a_restore_that_is_killed_leaves_no_log_or_all_of_it_and_is_done_again() {
    let state = State::new();
    state.grow(600);
    json(&state.backup().output().unwrap());
    let all = leaves(&copy_of(&state).join("log"));
    let mut cut_short = 0;
    for nth in 0..scaled(200) {
        let to = format!("again-{nth}");
        let child = state.restore(&to).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(nth as u64 * 11 % 70));
        end(child);
        if !state.path(&to).join("log").exists() {
            cut_short += 1;
            json(&state.restore(&to).output().unwrap());
        }
        assert_eq!(leaves(&state.path(&to).join("log")), all);
        assert!(
            !state.path(&to).join("restoring").exists()
                || state.path(&to).join("restored").exists()
        );
        fs::remove_dir_all(state.path(&to)).unwrap();
    }
    assert!(cut_short > 0, "each was done before it was killed");
}

#[test]
fn beside_a_log_a_restore_takes_nothing_away_and_does_its_last_step_only() {
    let state = State::new();
    state.grow(50);
    json(&state.backup().output().unwrap());
    json(&state.restore("again").output().unwrap());
    let to = state.path("again");
    fs::write(to.join("restoring"), "").unwrap();
    json(&state.restore("again").output().unwrap());
    assert!(!to.join("restoring").exists() && to.join("restored").exists());
    // A ledger that somebody started before it was done has a log of its own there.
    fs::write(to.join("restoring"), "").unwrap();
    fs::remove_file(to.join("restored")).unwrap();
    assert!(!state.restore("again").output().unwrap().status.success());
    assert!(to.join("head").exists() && to.join("log").exists());
}

#[test]
fn a_key_that_was_put_into_a_backup_is_not_restored() {
    let state = State::new();
    state.grow(50);
    json(&state.backup().output().unwrap());
    let copy = copy_of(&state);
    let manifest = copy.parent().unwrap().join("backup.json");
    let whole: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    for name in ["keys/log-2.key", "rings/a.ring", "vault/../keys/log.key"] {
        let mut planted = whole.clone();
        let files = planted["files"].as_object_mut().unwrap();
        let known = files["head"].clone();
        files.insert(name.to_owned(), known);
        fs::write(&manifest, serde_json::to_vec(&planted).unwrap()).unwrap();
        let refused = state.restore("again").output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(name), "{said}");
    }
}

#[test]
fn a_byte_that_changed_in_a_backup_is_found_and_copied_anew() {
    let state = State::new();
    state.grow(300);
    json(&state.backup().output().unwrap());
    let names: Vec<PathBuf> = files(&copy_of(&state)).into_keys().collect();
    for (nth, name) in names.iter().enumerate() {
        let path = copy_of(&state).join(name);
        let bytes = fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        let at = changed.len() * (nth + 1) / (names.len() + 1);
        changed[at] ^= 4;
        fs::write(&path, &changed).unwrap();
        let to = format!("again-{nth}");
        let why = refused(&state.restore(&to).output().unwrap());
        assert!(why.contains("is not what was written"), "{why}");
        assert!(!state.path(&to).join("log").exists());
    }
    // The heads of before are what a new copy is held against: without them it is not made unseen.
    let head = copy_of(&state).join("head");
    let why = refused(&state.backup().output().unwrap());
    assert!(why.contains("not valid"), "{why}");
    fs::copy(state.path("state/head"), head).unwrap();
    state.grow(10);
    json(&state.backup().output().unwrap());
    json(&state.restore("again").output().unwrap());
    assert_eq!(
        leaves(&state.path("state/log")),
        leaves(&state.path("again/log"))
    );
}

#[test]
fn a_log_is_restored_up_to_a_leaf_or_an_instant_and_no_further() {
    let state = State::new();
    state.grow(300);
    json(&state.backup().output().unwrap());
    let all = leaves(&state.path("state/log"));
    for until in [2, 150, all.len() - 1] {
        let to = format!("until-{until}");
        let restored = state.restore(&to).arg(format!("--until={until}")).output();
        assert_eq!(json(&restored.unwrap())["logs"][0]["leaves"], until);
        assert!(valid(&state.path(&to).join("log")));
        assert_eq!(leaves(&state.path(&to).join("log")), all[..until]);
        let leaf: Value = serde_json::from_slice(&all[until]).unwrap();
        let before: Value = serde_json::from_slice(&all[until - 1]).unwrap();
        assert!(before["h"]["time"].as_str() < leaf["h"]["time"].as_str());
        let to = format!("before-{until}");
        let instant = format!("--until={}", before["h"]["time"].as_str().unwrap());
        json(&state.restore(&to).arg(instant).output().unwrap());
        assert_eq!(leaves(&state.path(&to).join("log")), all[..until]);
    }
    let why = refused(&state.restore("none").arg("--until=0").output().unwrap());
    assert!(why.contains("nothing of the log is left"), "{why}");
}

#[test]
fn a_place_that_would_be_lost_with_it_or_holds_something_else_is_refused() {
    let state = State::new();
    state.grow(20);
    let inside = |to: &str| {
        let mut command = Command::new(actpass());
        command.arg("backup").arg(state.path("state"));
        command.arg("--to").arg(state.path(to)).output().unwrap()
    };
    for to in ["state/backup", "state", ".", "state/log/x"] {
        let why = refused(&inside(to));
        assert!(why.contains("is not apart from"), "{to}: {why}");
    }
    assert!(!state.path("state/backup").exists());
    fs::create_dir(state.path("home")).unwrap();
    fs::write(state.path("home/letter"), "dear").unwrap();
    assert!(refused(&inside("home")).contains("`letter`"));
    json(&state.backup().output().unwrap());
    let why = refused(&state.restore("home").output().unwrap());
    assert!(why.contains("`letter`"), "{why}");
}

#[test]
fn a_backup_is_not_replaced_by_a_log_that_is_behind_it_or_another() {
    let state = State::new();
    state.grow(100);
    json(&state.backup().output().unwrap());
    state.grow(50);
    json(&state.backup().output().unwrap());
    let whole = leaves(&copy_of(&state).join("log"));
    json(&state.restore("until").arg("--until=50").output().unwrap());
    fs::rename(state.path("state"), state.path("lost")).unwrap();
    fs::rename(state.path("until"), state.path("state")).unwrap();
    let why = refused(&state.backup().output().unwrap());
    assert!(why.contains("name another directory"), "{why}");
    assert_eq!(leaves(&copy_of(&state).join("log")), whole);
}

#[test]
fn the_vault_of_a_copy_that_is_replaced_is_written_over() {
    let state = State::new();
    state.grow(20);
    json(&state.backup().output().unwrap());
    let vault = copy_of(&state).join("vault");
    let names: Vec<PathBuf> = files(&vault).into_keys().collect();
    assert!(
        names.iter().any(|name| name.starts_with("texts")),
        "{names:?}"
    );
    // Another name for each file, under which what becomes of its bytes can be seen.
    let seen = |nth: usize| state.path(&format!("seen-{nth}"));
    for (nth, name) in names.iter().enumerate() {
        fs::hard_link(vault.join(name), seen(nth)).unwrap();
        assert!(fs::read(seen(nth)).unwrap().iter().any(|byte| *byte != 0));
    }
    json(&state.backup().output().unwrap());
    assert!(!vault.exists());
    for (nth, name) in names.iter().enumerate() {
        let left = fs::read(seen(nth)).unwrap();
        assert!(left.iter().all(|byte| *byte == 0), "{name:?}");
    }
}

#[test]
fn a_backup_whose_manifest_is_lost_keeps_its_copy_until_there_is_a_new_one() {
    let state = State::new();
    state.grow(100);
    state.restore_point();
    state.grow(50);
    json(&state.backup().output().unwrap());
    let (copy, manifest) = (copy_of(&state), state.path("backup/backup.json"));
    let whole = leaves(&copy.join("log"));
    fs::remove_file(&manifest).unwrap();

    // No new copy comes of a log that is damaged, nor of one that is behind.
    let segment = state.path("state/log/segments/00000001.seg");
    let sound = fs::read(&segment).unwrap();
    let mut damaged = sound.clone();
    damaged[5_000] ^= 1;
    fs::write(&segment, damaged).unwrap();
    refused(&state.backup().output().unwrap());
    assert_eq!(leaves(&copy.join("log")), whole);
    fs::write(&segment, sound).unwrap();
    fs::rename(state.path("state"), state.path("newer")).unwrap();
    fs::rename(state.path("older"), state.path("state")).unwrap();
    let why = refused(&state.backup().output().unwrap());
    assert!(why.contains("name another directory"), "{why}");
    assert_eq!(leaves(&copy.join("log")), whole);

    // What was never finished goes all the same.
    let half_made = state.path("backup/copy-00000000/log");
    fs::create_dir_all(&half_made).unwrap();
    fs::rename(state.path("state"), state.path("older")).unwrap();
    fs::rename(state.path("newer"), state.path("state")).unwrap();
    json(&state.backup().output().unwrap());
    assert!(!copy.exists() && !half_made.exists());
    assert_eq!(leaves(&copy_of(&state).join("log")), whole);
}

/// Names of the copies that are there.
fn copies(state: &State) -> Vec<String> {
    let there = fs::read_dir(state.path("backup")).unwrap();
    let names = there.map(|it| it.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("copy-")).collect();
    names.sort();
    names
}

/// Makes a second whole copy that nothing names, as a backup left it whose manifest could not be written.
fn unnamed(state: &State, name: &str) -> PathBuf {
    let unnamed = state.path("backup").join(name);
    let mut copy = Command::new("cp");
    let copied = copy.arg("-a").arg(copy_of(state)).arg(&unnamed).status();
    assert!(copied.unwrap().success());
    unnamed
}

#[test]
fn a_backup_whose_manifest_cannot_be_written_leaves_the_copy_before_and_no_other() {
    let state = State::new();
    state.grow(100);
    json(&state.backup().output().unwrap());
    let before = copies(&state);
    // Neither root nor anybody else puts a file in its place.
    let in_the_way = state.path("backup/.backup.json.new/here");
    fs::create_dir_all(&in_the_way).unwrap();
    for _ in 0..3 {
        state.grow(10);
        refused(&state.backup().output().unwrap());
        assert_eq!(copies(&state), before);
    }
    json(&state.restore("again").output().unwrap());
    fs::remove_dir_all(in_the_way.parent().unwrap()).unwrap();
    json(&state.backup().output().unwrap());
    assert_eq!(copies(&state).len(), 1);
    assert_ne!(copies(&state), before);
}

#[test]
fn a_copy_that_nothing_names_goes_first_unless_it_may_be_the_only_whole_one() {
    let state = State::new();
    state.grow(100);
    state.restore_point();
    state.grow(50);
    json(&state.backup().output().unwrap());
    let (named, whole) = (copy_of(&state), leaves(&copy_of(&state).join("log")));
    // From here on no backup succeeds: the log is behind the copies.
    fs::rename(state.path("state"), state.path("newer")).unwrap();
    fs::rename(state.path("older"), state.path("state")).unwrap();
    let left = unnamed(&state, "copy-00000007");
    refused(&state.backup().output().unwrap());
    assert!(!left.exists(), "the keys in it go");
    assert!(named.exists());

    let left = unnamed(&state, "copy-00000008");
    fs::remove_file(named.join("head")).unwrap();
    let why = refused(&state.backup().output().unwrap());
    assert!(why.contains("name another directory"), "{why}");
    assert_eq!(
        leaves(&left.join("log")),
        whole,
        "the only whole copy stays"
    );
    fs::rename(state.path("state"), state.path("older")).unwrap();
    fs::rename(state.path("newer"), state.path("state")).unwrap();
    json(&state.backup().output().unwrap());
    assert_eq!(copies(&state), ["copy-00000009"]);
}

#[test]
fn a_copy_that_was_done_and_not_named_is_what_a_later_one_is_held_against() {
    let state = State::new();
    state.grow(100);
    json(&state.backup().output().unwrap());
    let aside = state.path("aside");
    let moved = |from: &Path, to: &Path| {
        let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(copied.unwrap().success());
    };
    moved(&state.path("backup"), &aside);
    state.grow(50);
    state.restore_point();
    state.grow(50);
    json(&state.backup().output().unwrap());
    // As where the machine died before the manifest named it.
    for name in ["backup.json", "copy-00000001"] {
        moved(&aside.join(name), &state.path("backup"));
    }
    assert_eq!(copies(&state), ["copy-00000001", "copy-00000002"]);
    fs::rename(state.path("state"), state.path("newer")).unwrap();
    fs::rename(state.path("older"), state.path("state")).unwrap();
    let why = refused(&state.backup().output().unwrap());
    assert!(why.contains("name another directory"), "{why}");
    assert_eq!(copies(&state), ["copy-00000001", "copy-00000002"]);
    fs::rename(state.path("state"), state.path("older")).unwrap();
    fs::rename(state.path("newer"), state.path("state")).unwrap();
    json(&state.backup().output().unwrap());
    assert_eq!(copies(&state), ["copy-00000003"]);
}

#[test]
fn a_write_that_a_crash_cut_short_is_in_no_copy() {
    let state = State::new();
    state.grow(100);
    let log = state.path("state/log");
    let all = leaves(&log);
    tear(&log).unwrap();
    let torn = files(&log);
    let whole = leaves(&log);
    assert!(whole.len() < all.len() && all.starts_with(&whole));
    let made = json(&state.backup().output().unwrap());
    assert_eq!(made["logs"][0]["leaves"], whole.len());
    assert_eq!(files(&log), torn, "it is only read where it comes from");
    let copy = copy_of(&state).join("log");
    assert!(valid(&copy));
    assert_eq!(leaves(&copy), whole);
    json(&state.restore("again").output().unwrap());
    assert_eq!(leaves(&state.path("again/log")), whole);

    // The ledger goes on, and the next copy has what it wrote in that place.
    state.grow(20);
    json(&state.backup().output().unwrap());
    let later = leaves(&copy_of(&state).join("log"));
    assert!(later.len() > whole.len() && later.starts_with(&whole));
}

#[test]
fn a_vault_that_changes_while_it_is_copied_is_copied_anew_or_not_at_all() {
    let state = State::new();
    state.grow(100);
    json(&state.backup().output().unwrap());
    state.grow(50);
    let vault = state.path("state/vault/credentials.json");
    let (stop, next) = (AtomicBool::new(false), state.path("next"));
    let change = || {
        let mut nth = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            nth += 1;
            fs::write(&next, nth.to_string()).unwrap();
            fs::rename(&next, &vault).unwrap();
        }
        nth
    };
    let (why, before, last) = std::thread::scope(|scope| {
        let changing = scope.spawn(change);
        // On a busy machine whoever changes it may rest while it is copied, and then there is a copy.
        let tries = (0..20).map(|_| {
            let before = files(&copy_of(&state));
            (state.backup().output().unwrap(), before)
        });
        let done = { tries }.find(|(done, _)| !done.status.success());
        stop.store(true, Ordering::Relaxed);
        let (done, before) = done.expect("each is copied");
        (refused(&done), before, changing.join().unwrap())
    });
    assert!(why.contains("changed each time it was copied"), "{why}");
    assert_eq!(files(&copy_of(&state)), before, "the copy of before stays");
    json(&state.backup().output().unwrap());
    let copied = fs::read(copy_of(&state).join("vault/credentials.json")).unwrap();
    assert_eq!(copied, last.to_string().into_bytes());
}
