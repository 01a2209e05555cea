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

/// Every field below a schema whose explanation is no sentence of at least four words.
fn unexplained(schema: &Value, path: &str, found: &mut Vec<String>) -> usize {
    let mut fields = 0;
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, field) in properties.into_iter().flatten() {
        let path = format!("{path}.{name}");
        // Those that every kind has, which the API server explains.
        if ["apiVersion", "kind", "metadata"].contains(&name.as_str())
            && path.matches('.').count() == 1
        {
            continue;
        }
        let said = field
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let begins = said
            .chars()
            .next()
            .is_some_and(|first| !first.is_lowercase());
        if !begins || !said.ends_with('.') || said.split_whitespace().count() < 4 {
            found.push(format!("{path}: `{said}`"));
        }
        fields += 1 + unexplained(field, &path, found);
    }
    for (word, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(word).filter(|it| it.is_object()) {
            fields += unexplained(inner, &format!("{path}{mark}"), found);
        }
    }
    fields
}

#[test]
fn kubectl_explain_says_a_sentence_about_every_kind_and_field() {
    let (mut found, mut fields) = (Vec::new(), 0);
    for definition in &ALL {
        let resource = definition.resource();
        let schema = &resource["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let said = schema["description"].as_str().unwrap_or_default();
        assert!(
            said.len() > 40 && said.ends_with('.'),
            "{}: `{said}`",
            definition.kind
        );
        fields += unexplained(schema, definition.kind, &mut found);
    }
    assert!(fields > 250, "{fields} fields are few");
    assert!(found.is_empty(), "no sentence:\n{}", found.join("\n"));
}
