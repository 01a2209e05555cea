//! The CustomResourceDefinitions in `charts/actpass/files/crds` are those of the types.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use actpass_crds::definition::{ALL, Definition};
use serde_json::Value;

const BEFORE: &str = "# Made from the Rust types: `ACTPASS_WRITE_DOCS=1 cargo test -p actpass-crds --test definitions`.\n";

#[test]
fn definitions_are_committed_as_they_are() {
    let directory = directory();
    if std::env::var_os("ACTPASS_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(&directory).unwrap();
        for definition in &ALL {
            std::fs::write(directory.join(file_name(definition)), text(definition)).unwrap();
        }
    }
    for definition in &ALL {
        let file = file_name(definition);
        let written = std::fs::read_to_string(directory.join(&file)).unwrap_or_default();
        let made = text(definition);
        let stale = made.lines().zip(written.lines()).find(|(a, b)| a != b);
        assert_eq!(stale, None, "{file}: run it with ACTPASS_WRITE_DOCS=1");
        assert_eq!(made, written, "{file}: run it with ACTPASS_WRITE_DOCS=1");
    }
    let found = std::fs::read_dir(&directory).unwrap();
    let found: BTreeSet<String> = found
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let made: BTreeSet<String> = ALL.iter().map(file_name).collect();
    assert_eq!(found, made, "a definition of no kind");
}

#[test]
fn the_text_is_what_the_definition_says() {
    for definition in &ALL {
        let read: Value = serde_saphyr::from_str(&text(definition)).unwrap();
        assert_eq!(read, definition.resource(), "{}", definition.kind);
    }
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/actpass/files/crds")
}

fn file_name(definition: &Definition) -> String {
    format!("{}.yaml", definition.name())
}

fn text(definition: &Definition) -> String {
    let yaml = serde_saphyr::to_string(&definition.resource()).unwrap();
    format!("{BEFORE}{yaml}")
}
