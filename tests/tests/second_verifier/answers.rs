//! What each of the two verifiers says of files.

use std::path::{Path, PathBuf};
use std::process::Command;

use actpass_core::verify::{Class, Finding, What};
use actpass_ledger::offline::{Files, Known, LogKey, verify_export};
use actpass_ledger::storage::StorageError;
use actpass_ledger::{heads, offline::Verified};
use actpass_tests::actpass;
use serde_json::Value;

/// What both say, in the same words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// `valid`, `incomplete` or `invalid`.
    pub(crate) class: String,
    /// The first leaf that is wrong.
    pub(crate) first_bad: Option<u64>,
    /// The first byte of the first line that is wrong.
    pub(crate) damaged: Option<u64>,
    /// Leaves of which texts are disclosed that fit; what is invalid is read up to different places.
    pub(crate) disclosed: Option<u64>,
}

/// What a file is held against: files of a key and of anchors.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Elsewhere {
    pub(crate) key: Option<PathBuf>,
    pub(crate) anchors: Vec<PathBuf>,
}

impl Elsewhere {
    fn args(&self) -> Vec<&Path> {
        let key = self.key.iter().flat_map(|key| [Path::new("--key"), key]);
        let anchors = self.anchors.iter();
        let anchors = anchors.flat_map(|anchor| [Path::new("--anchor"), anchor]);
        key.chain(anchors).collect()
    }
}

/// The answer of our program, with its exit code.
pub(crate) fn of_program(file: &Path, against: &Elsewhere) -> (Answer, i32) {
    let mut command = Command::new(actpass());
    command.args(["verify", "--output", "json"]);
    let output = command.args(against.args()).arg(file).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}: {output:?}", file.display()));
    let answer = Answer {
        class: said["class"].as_str().unwrap().to_owned(),
        first_bad: said
            .pointer("/logs/0/findings/0/leaf")
            .and_then(Value::as_u64),
        damaged: said["files"]
            .get("offset")
            .and_then(Value::as_u64)
            .filter(|_| said["files"]["state"] == "damaged"),
        disclosed: said
            .pointer("/logs/0/texts/disclosed")
            .and_then(Value::as_u64)
            .filter(|_| said["class"] != "invalid"),
    };
    (answer, output.status.code().unwrap())
}

/// The same by the library that the program calls, and whether what it found first is a claim of the ledger's, which the other
/// verifier follows only in part.
pub(crate) fn of_library(file: &Path, against: &Elsewhere) -> (Answer, bool) {
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
    let anchors: Vec<String> = against
        .anchors
        .iter()
        .flat_map(|path| heads::notes(&read(path)))
        .collect();
    let key = against
        .key
        .as_ref()
        .map(|path| LogKey::parse(&read(path)).unwrap());
    let known = Known {
        anchors: &anchors,
        keys: key.as_slice(),
        ..Known::default()
    };
    let verified = verify_export(file, &known).unwrap();
    let first = verified.logs.first().and_then(|log| log.report.first_bad());
    let claim = |finding: &Finding| {
        matches!(
            finding.what,
            What::State(_) | What::Ruling(_) | What::Bundle(_)
        )
    };
    let answer = Answer {
        class: word(verified.class()).to_owned(),
        first_bad: first.map(|finding| finding.seq),
        damaged: damaged(&verified),
        disclosed: (verified.logs.first())
            .filter(|_| verified.class() != Class::Invalid)
            .map(|log| log.report.disclosed),
    };
    (answer, first.is_some_and(claim))
}

fn damaged(verified: &Verified) -> Option<u64> {
    match &verified.files {
        Files::Damaged(StorageError::Damaged { offset, .. }) => Some(*offset),
        _ => None,
    }
}

fn word(class: Class) -> &'static str {
    match class {
        Class::Valid => "valid",
        Class::Incomplete => "incomplete",
        Class::Invalid => "invalid",
    }
}

/// The second verifier.
pub(crate) fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../verifiers/actpass_verify.py")
}

/// The answers of the second verifier, with the exit code of all of them.
pub(crate) fn of_script(files: &[&Path], against: &Elsewhere) -> (Vec<Answer>, i32) {
    of(&script(), files, against)
}

/// The answers of that script.
pub(crate) fn of(script: &Path, files: &[&Path], against: &Elsewhere) -> (Vec<Answer>, i32) {
    let mut command = Command::new("python3");
    command.arg("-I").arg(script).args(["--output", "json"]);
    let output = command
        .args(against.args())
        .arg("--")
        .args(files)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Answer> = said.lines().map(answer).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(answers.len(), files.len(), "{against:?}: {errors}");
    (answers, output.status.code().unwrap())
}

fn answer(line: &str) -> Answer {
    let said: Value = serde_json::from_str(line).unwrap();
    Answer {
        class: said["class"].as_str().unwrap().to_owned(),
        first_bad: said.pointer("/findings/0/leaf").and_then(Value::as_u64),
        damaged: said["damaged"].as_u64(),
        disclosed: said["disclosed"]
            .as_u64()
            .filter(|_| said["class"] != "invalid"),
    }
}
