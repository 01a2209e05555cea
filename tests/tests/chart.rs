//! The chart's files against each other: every value is explained, and no other is taken.
//!
//! `charts/actpass/README.md` is made from the `# --` comments of `values.yaml`: `ACTPASS_WRITE_DOCS=1 cargo test -p
//! actpass-tests --test chart`.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a chart that cannot be read is a failed test"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One value: its path, its default as it is written, and what it is for.
struct Explained {
    path: String,
    default: String,
    about: String,
}

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/actpass")
}

fn file(name: &str) -> String {
    fs::read_to_string(chart().join(name)).unwrap()
}

/// The values of `values.yaml`, which is written with two blanks per step, a value on one line, and its comment above.
fn values() -> Vec<Explained> {
    let mut found = Vec::new();
    let mut above: Vec<String> = Vec::new();
    let mut about = String::new();
    for line in file("values.yaml").lines() {
        let text = line.trim_start();
        let depth = (line.len() - text.len()) / 2;
        if let Some(comment) = text.strip_prefix("# -- ") {
            about = comment.to_owned();
            continue;
        }
        let Some((key, default)) = text.split_once(':').filter(|_| !text.starts_with('#')) else {
            continue;
        };
        above.truncate(depth);
        above.push(key.to_owned());
        let (path, default) = (above.join("."), default.trim().to_owned());
        if !default.is_empty() {
            let about = std::mem::take(&mut about);
            found.push(Explained {
                path,
                default,
                about,
            });
        }
    }
    found
}

fn readme() -> String {
    let mut text = "# Chart actpass\n\n\
        How to install it, and what to do then: [docs/install.md](../../docs/install.md). A key that is not listed is refused.\n\n\
        This page is made from the comments of `values.yaml`: `ACTPASS_WRITE_DOCS=1 cargo test -p actpass-tests --test chart`.\n\n\
        | value | default | what it is for |\n|---|---|---|\n"
        .to_owned();
    for Explained {
        path,
        default,
        about,
    } in values()
    {
        writeln!(text, "| `{path}` | `{default}` | {about} |").unwrap();
    }
    text
}

/// The paths of a schema that stand for a value, and the objects on the way that take other keys too.
fn of_schema(schema: &Value, path: &str, leaves: &mut BTreeSet<String>, open: &mut Vec<String>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    if schema.get("type") == Some(&Value::from("object"))
        && properties.is_some()
        && schema.get("additionalProperties") != Some(&Value::Bool(false))
    {
        open.push(path.to_owned());
    }
    let Some(properties) = properties else {
        leaves.insert(path.to_owned());
        return;
    };
    for (key, schema) in properties {
        let path = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        of_schema(schema, &path, leaves, open);
    }
}

#[test]
fn the_page_of_values_is_what_the_comments_say() {
    let path = chart().join("README.md");
    if std::env::var_os("ACTPASS_WRITE_DOCS").is_some() {
        fs::write(&path, readme()).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), readme());
}

#[test]
fn every_value_is_explained_and_in_the_schema() {
    let schema: Value = serde_json::from_str(&file("values.schema.json")).unwrap();
    let (mut leaves, mut open) = (BTreeSet::new(), Vec::new());
    of_schema(&schema, "", &mut leaves, &mut open);
    assert!(open.is_empty(), "these take unknown keys: {open:?}");
    let values = values();
    assert!(values.len() > 40, "{}", values.len());
    for Explained { path, about, .. } in &values {
        assert!(!about.is_empty(), "`{path}` has no `# --` comment");
        let known = leaves
            .iter()
            .any(|leaf| leaf == path || leaf.starts_with(&format!("{path}.")));
        assert!(known, "`{path}` is not in the schema");
    }
    for leaf in leaves.iter().filter(|leaf| *leaf != "global") {
        let known = values
            .iter()
            .any(|value| value.path == *leaf || leaf.starts_with(&format!("{}.", value.path)));
        assert!(known, "`{leaf}` of the schema is no value");
    }
}
