//! `docs/security-model.md` names tests for each way out, `docs/failures.md` for each failure: they exist, and each attempt of
//! the kit stands in its row.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a repository that cannot be read is a failed test"
)]

use std::fs;
use std::path::Path;

use actpass_tests::attack::ATTEMPTS;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join("docs").join(name)).unwrap()
}

/// All that is written in Rust here.
fn sources(dir: &Path, all: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["target", ".cache", ".git", "corpus"].contains(&name) {
            sources(&path, all);
        } else if path.extension().is_some_and(|it| it == "rs") {
            all.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let mut all = String::new();
    sources(Path::new(ROOT), &mut all);
    for (name, least) in [("security-model.md", 100), ("failures.md", 40)] {
        let document = document(name);
        let named = document
            .split('`')
            .skip(1)
            .step_by(2)
            .filter_map(|it| it.split_once("::"));
        let mut count = 0;
        for (file, test) in named {
            count += 1;
            assert!(
                all.contains(&format!("fn {test}(")),
                "{name}: {file}::{test}"
            );
        }
        assert!(count >= least, "{name}: {count}");
    }
}

#[test]
fn every_attempt_of_the_kit_stands_in_its_row() {
    let document = document("security-model.md");
    for attempt in ATTEMPTS {
        let row = format!("| {} |", attempt.number);
        let row = document.lines().find(|line| line.starts_with(&row));
        let name = format!("*{}*", attempt.name);
        assert!(row.unwrap().contains(&name), "{name}: {row:?}");
    }
    for number in 1..=77 {
        let row = format!("\n| {number} |");
        assert_eq!(document.matches(&row).count(), 1, "row {number}");
    }
}
