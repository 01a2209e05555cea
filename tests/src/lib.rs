//! What the end-to-end tests share: the program under test, and an upstream that keeps books.

pub mod account;
pub mod agent;
pub mod attack;
pub mod authority;
pub mod bad_requests;
pub mod books;
pub mod chart;
pub mod cluster;
#[expect(
    missing_docs,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the disk that the ledger's own tests break, where each call is named as it is"
)]
#[path = "../../ledger/src/storage/segment/tests/disk.rs"]
pub mod disk;
pub mod exported;
pub mod fenced;
pub mod floods;
pub mod frames;
pub mod front;
pub mod growth;
pub mod hello;
pub mod home;
pub mod installed;
pub mod lab;
pub mod link;
pub mod logbook;
pub mod outside;
pub mod parts;
pub mod payments;
pub mod pod;
pub mod posing;
pub mod postgres;
pub mod provider;
pub mod proxied;
pub mod questions;
pub mod raw;
pub mod reader;
pub mod restless;
pub mod several;
pub mod shop;
pub mod stripe;
pub mod tenants;
pub mod tools;
pub mod torn;
pub mod ways;
pub mod wire;
pub mod workload;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use actpass_ledger::storage;

/// The `actpass` binary that was built beside the tests.
///
/// # Panics
/// Where it was not built: `make test` builds it first.
pub fn actpass() -> PathBuf {
    program("actpass")
}

/// A program of ours that was built beside the tests.
///
/// # Panics
/// Where it was not built: `make test` builds all of them first.
pub fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap_or_default();
    let binary = tests
        .ancestors()
        .nth(2)
        .map(|target| target.join(name))
        .unwrap_or_default();
    assert!(
        binary.is_file(),
        "`{}` is not built; run `make programs`",
        binary.display()
    );
    binary
}

/// How many rounds of a loop of `full` rounds to run: all of them where `ACTPASS_TEST_SCALE` is 1, at least one.
pub fn scaled(full: u32) -> u32 {
    let scale = std::env::var("ACTPASS_TEST_SCALE").unwrap_or_else(|_| "0.1".to_owned());
    // Thousandths, so that no fraction is rounded here.
    let (whole, fraction) = scale.split_once('.').unwrap_or((&scale, "0"));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let thousandths =
        whole.parse::<u32>().unwrap_or(0) * 1_000 + digits.parse::<u32>().unwrap_or(100);
    (full * thousandths / 1_000).max(1)
}

/// Runs a program with something on its standard input, to its end.
///
/// # Errors
/// Where it cannot be started, or does not read what it is given.
pub fn fed(command: &mut Command, input: &[u8]) -> anyhow::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input)?;
    }
    Ok(child.wait_with_output()?)
}
