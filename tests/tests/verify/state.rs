//! Evidence held against what the state directory knows beside it: a log that is whole in itself is still not this
//! state's log.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use actpass_core::evidence::leaf::{EventBody, Leaf};
use actpass_tests::home::{Home, text};

use super::{LOGS, Stored, log_dir};

/// Another home with a copy of the state of this one, and its policy.
pub(super) fn copied(home: &Home) -> Home {
    let policy = fs::read_to_string(home.path().join("policy.yaml")).unwrap();
    let copy = Home::new(home.user, &policy).unwrap();
    copy_tree(&home.path().join("state"), &copy.path().join("state"));
    copy
}

pub(super) fn copy_tree(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

/// A home whose state has the tenant of another's, and a log of its own.
fn twin(home: &Home) -> Home {
    let policy = fs::read_to_string(home.path().join("policy.yaml")).unwrap();
    let twin = Home::new(home.user, &policy).unwrap();
    fs::create_dir(twin.path().join("state")).unwrap();
    let id = "state/cluster-id";
    fs::copy(home.path().join(id), twin.path().join(id)).unwrap();
    let run = twin.script("true").unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    twin
}

pub(super) fn replace_log(home: &Home, with: &Path) {
    fs::remove_dir_all(log_dir(home)).unwrap();
    copy_tree(with, &log_dir(home));
}

/// `actpass` with no state of its own.
pub(super) fn elsewhere(home: &Home, args: &[&str]) -> Output {
    let none = home.path().join("no-state");
    let mut command = home.actpass(args);
    command.env("ACTPASS_STATE_DIR", none).output().unwrap()
}

/// The verifier key that the first leaf of a log names.
fn vkey(home: &Home) -> String {
    let stored = Stored::read(&log_dir(home));
    let first = Leaf::parse(stored.leaves.first().unwrap()).unwrap();
    let named = first.event().and_then(|event| match event {
        EventBody::Genesis { log_key, .. } => Some(log_key.clone()),
        _ => None,
    });
    named.unwrap()
}

#[track_caller]
fn refused_to_run(home: &Home, why: &str) {
    let run = home.script("echo ran").unwrap();
    let said = text(&run);
    assert_eq!(run.status.code(), Some(125), "{said}");
    assert!(said.contains(why) && !said.contains("ran\n"), "{said}");
}

#[track_caller]
pub(super) fn says(output: &Output, code: i32, what: &str) {
    let said = text(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(what), "{said}");
}

#[test]
fn a_log_of_the_same_name_under_another_key_is_invalid_and_no_run_takes_it_up() {
    let home = copied(&LOGS[0]);
    let own = vkey(&home);
    let other = twin(&home);
    replace_log(&home, &log_dir(&other));

    let verified = home.actpass(&["verify"]).output().unwrap();
    says(&verified, 3, "names another log key");
    refused_to_run(&home, "is signed with key");

    let copy = home.path().join("copy");
    copy_tree(&log_dir(&home), &copy);
    let own_state = home.actpass(&["verify", "copy"]).output().unwrap();
    says(&own_state, 3, "names another log key");

    let id = vkey(&other).split('+').nth(1).unwrap().to_owned();
    let believed = format!("{id}, believed because the log names it");
    says(&elsewhere(&home, &["verify", "copy"]), 0, &believed);

    home.write("own.vkey", &own).unwrap();
    home.write("other.vkey", &vkey(&other)).unwrap();
    let with = |key| elsewhere(&home, &["verify", "copy", "--key", key]);
    says(&with("own.vkey"), 3, "names another log key");
    says(&with("other.vkey"), 0, "known from `other.vkey`");

    let key_file = fs::read_to_string(other.path().join("state/keys/log.key")).unwrap();
    let public = key_file.split_whitespace().last().unwrap();
    home.write("other.pub", public).unwrap();
    says(&with("other.pub"), 0, "known from `other.pub`");
    home.write("other.key", &key_file).unwrap();
    says(&with("other.key"), 1, "private key");

    fs::remove_file(home.path().join("state/keys/log.key")).unwrap();
    let without = home.actpass(&["verify"]).output().unwrap();
    says(&without, 1, "log.key` is not there");
}

/// The size that the head kept outside the log says.
fn head_size(home: &Home) -> u64 {
    let head = fs::read_to_string(home.path().join("state/head")).unwrap();
    head.lines().nth(1).unwrap().parse().unwrap()
}

#[test]
fn the_head_kept_outside_the_log_is_that_of_its_end() {
    let home = copied(&LOGS[0]);
    let leaves = || Stored::read(&log_dir(&home)).leaves.len() as u64;
    let before = leaves();
    assert_eq!(head_size(&home), before);
    let run = home.script("true").unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    assert!(leaves() > before);
    assert_eq!(head_size(&home), leaves(), "after the second run");
    says(&home.actpass(&["verify"]).output().unwrap(), 0, "VALID");
    let doctor = text(&home.actpass(&["doctor"]).output().unwrap());
    assert!(doctor.contains("keeps the head of"), "{doctor}");
    // It is an anchor like another.
    let held = elsewhere(&home, &["verify", "state/log", "--anchor", "state/head"]);
    says(&held, 0, "held against 1 head");
    says(
        &elsewhere(&home, &["verify", "state/log"]),
        0,
        "anchors     none",
    );
    home.write("empty", "").unwrap();
    let held = elsewhere(&home, &["verify", "state/log", "--anchor", "empty"]);
    says(&held, 1, "no signed checkpoint");
}

#[test]
fn a_log_that_is_gone_cut_short_or_anew_under_another_name_is_not_begun_again() {
    let home = copied(&LOGS[0]);
    let state = home.path().join("state");
    let whole = home.path().join("whole");
    copy_tree(&log_dir(&home), &whole);
    let verified = || home.actpass(&["verify"]).output().unwrap();

    fs::remove_dir_all(log_dir(&home)).unwrap();
    says(&verified(), 3, "is not here");
    refused_to_run(&home, "is gone");
    assert!(!log_dir(&home).exists(), "nothing was made in its place");
    let doctor = home.actpass(&["doctor"]).output().unwrap();
    says(&doctor, 1, "is gone");

    // An older state of the log, as a copy of it has it: whole in itself.
    copy_tree(&whole, &log_dir(&home));
    let run = home.script("true").unwrap();
    assert_eq!(run.status.code(), Some(0), "{}", text(&run));
    replace_log(&home, &whole);
    says(&verified(), 3, "the log was seen with");
    refused_to_run(&home, "was cut short");

    let id = fs::read(state.join("cluster-id")).unwrap();
    fs::remove_file(state.join("cluster-id")).unwrap();
    refused_to_run(&home, "put back the file `cluster-id`");
    fs::write(state.join("cluster-id"), id).unwrap();

    // Another log of the same size, from the same keys.
    let head = state.join("head");
    let kept = fs::read_to_string(&head).unwrap();
    fs::remove_dir_all(log_dir(&home)).unwrap();
    fs::remove_file(&head).unwrap();
    let run = home.script(AGENTS_LEAVES).unwrap();
    assert_eq!(run.status.code(), Some(0), "begun anew: {}", text(&run));
    says(&verified(), 0, "VALID");
    let size = kept.lines().nth(1).unwrap().parse::<u64>().unwrap();
    assert!(head_size(&home) >= size, "{} of {size}", head_size(&home));
    fs::write(&head, kept).unwrap();
    says(&verified(), 3, "the root over the first");
    refused_to_run(&home, "was rewritten");
}

/// Names that no Upstream declares, each a record: more leaves than the other log has.
const AGENTS_LEAVES: &str = "for i in $(seq 40); do getent ahosts x$i.example; done; true";

#[test]
fn a_log_that_does_not_end_as_it_was_signed_is_not_taken_up() {
    let home = copied(&LOGS[0]);
    let mut stored = Stored::read(&log_dir(&home));
    stored.leaves.pop();
    fs::remove_dir_all(log_dir(&home)).unwrap();
    stored.write(&log_dir(&home));
    refused_to_run(&home, "ends otherwise than it was signed");
}
