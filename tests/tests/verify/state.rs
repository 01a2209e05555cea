//! Evidence held against what the state directory knows beside it: a log that is whole in itself is still not this
//! state's log.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use actpass_core::evidence::leaf::{EventBody, Leaf};
use actpass_tests::home::{Home, text};

use super::{LOGS, Stored, log_dir};

/// Another home with a copy of the state of this one, and its policy.
fn copied(home: &Home) -> Home {
    let policy = fs::read_to_string(home.path().join("policy.yaml")).unwrap();
    let copy = Home::new(home.user, &policy).unwrap();
    copy_tree(&home.path().join("state"), &copy.path().join("state"));
    copy
}

fn copy_tree(from: &Path, to: &Path) {
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

fn replace_log(home: &Home, with: &Path) {
    fs::remove_dir_all(log_dir(home)).unwrap();
    copy_tree(with, &log_dir(home));
}

/// `actpass` with no state of its own.
fn elsewhere(home: &Home, args: &[&str]) -> Output {
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
fn says(output: &Output, code: i32, what: &str) {
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
    refused_to_run(&home, "was begun under key");

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

#[test]
fn a_log_that_does_not_end_as_it_was_signed_is_not_taken_up() {
    let home = copied(&LOGS[0]);
    let mut stored = Stored::read(&log_dir(&home));
    stored.leaves.pop();
    fs::remove_dir_all(log_dir(&home)).unwrap();
    stored.write(&log_dir(&home));
    refused_to_run(&home, "ends otherwise than it was signed");
}
