//! Every committed input through its target, without libFuzzer.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::path::{Path, PathBuf};

use actpass_fuzz::TARGETS;

/// Most bytes of one target's inputs: what `fuzz/run merge` keeps is far below.
const CORPUS_BYTES_MAX: u64 = 64 * 1024;

fn here(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(part)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn committed_inputs_keep_every_promise() {
    for target in TARGETS {
        let inputs = files(&here("corpus").join(target.name));
        assert!(!inputs.is_empty(), "corpus/{} is empty", target.name);
        for input in inputs {
            // The name of the input, should the target panic.
            println!("{}", input.display());
            (target.run)(&fs::read(&input).unwrap());
        }
    }
}

#[test]
fn corpora_are_small_and_each_belongs_to_a_target() {
    for dir in files(&here("corpus")) {
        let name = dir.file_name().unwrap().to_str().unwrap();
        assert!(
            actpass_fuzz::find(name).is_some(),
            "corpus/{name} has no target"
        );
        let bytes: u64 = files(&dir)
            .iter()
            .map(|file| file.metadata().unwrap().len())
            .sum();
        assert!(bytes <= CORPUS_BYTES_MAX, "corpus/{name} has {bytes} bytes");
    }
    for dict in files(&here("dict")) {
        let name = dict.file_stem().unwrap().to_str().unwrap();
        assert!(
            actpass_fuzz::find(name).is_some(),
            "dict/{name}.dict has no target"
        );
    }
}
