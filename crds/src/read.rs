//! Manifests from files: each mistake with file, line, column, field and what would be right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::resource::{API_VERSION, Metadata, Resource};
use crate::yaml::{self, Document, Place};

/// One mistake, as one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The field, as `spec.rules[2].name`; empty where the mistake is the file's.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
    /// Whether nothing can start with it.
    pub severity: Severity,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing starts.
    Error,
    /// Probably not what is meant.
    Warning,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// A resource and where its fields stand.
#[derive(Clone, Debug)]
pub struct Located {
    /// The resource.
    pub resource: Resource,
    file: String,
    places: BTreeMap<String, Place>,
}

impl Located {
    /// A problem at a field of this resource, or at the nearest field above it that was written.
    pub(crate) fn problem(
        &self,
        field: &str,
        severity: Severity,
        message: impl Into<String>,
    ) -> Problem {
        let place = nearest(&self.places, field);
        Problem {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            field: field.to_owned(),
            message: message.into(),
            severity,
        }
    }
}

/// Reads all manifests of files and directories (`*.yaml`, `*.yml`, not below).
///
/// # Errors
/// Every mistake found, sorted by place.
pub fn read_paths(paths: &[PathBuf]) -> Result<Vec<Located>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut located = Vec::new();
    for path in paths {
        match files(path) {
            Ok(files) if files.is_empty() => {
                problems.push(of_file(path, "no *.yaml or *.yml file in this directory"))
            }
            Ok(files) => {
                for file in files {
                    match std::fs::read_to_string(&file) {
                        Ok(text) => {
                            let (found, wrong) =
                                parse_documents(&file.display().to_string(), &text);
                            located.extend(found);
                            problems.extend(wrong);
                        }
                        Err(error) => {
                            problems.push(of_file(&file, &format!("cannot be read: {error}")))
                        }
                    }
                }
            }
            Err(error) => problems.push(of_file(path, &format!("cannot be read: {error}"))),
        }
    }
    problems.sort();
    if problems.is_empty() {
        Ok(located)
    } else {
        Err(problems)
    }
}

/// Reads the documents of one file's text.
pub fn parse_documents(file: &str, text: &str) -> (Vec<Located>, Vec<Problem>) {
    let documents = match yaml::parse(text) {
        Ok(documents) => documents,
        Err(error) => {
            let Place { line, column } = error.place;
            let (field, severity) = (String::new(), Severity::Error);
            return (
                Vec::new(),
                vec![Problem {
                    file: file.to_owned(),
                    line,
                    column,
                    field,
                    message: error.what,
                    severity,
                }],
            );
        }
    };
    let (mut located, mut problems) = (Vec::new(), Vec::new());
    for document in documents {
        match resource(&document) {
            Ok(resource) => located.push(Located {
                resource,
                file: file.to_owned(),
                places: document.places,
            }),
            Err((field, message)) => {
                let Place { line, column } = nearest(&document.places, &field);
                let severity = Severity::Error;
                problems.push(Problem {
                    file: file.to_owned(),
                    line,
                    column,
                    field,
                    message,
                    severity,
                });
            }
        }
    }
    (located, problems)
}

fn resource(document: &Document) -> Result<Resource, (String, String)> {
    let field = |name: &str| {
        document
            .value
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (api_version, kind) = (field("apiVersion"), field("kind"));
    if api_version != API_VERSION {
        return Err((
            "apiVersion".to_owned(),
            format!("expected `{API_VERSION}`, found `{api_version}`"),
        ));
    }
    let resource = match kind.as_str() {
        "Passport" => {
            typed(document).map(|Typed { metadata, spec, .. }| Resource::Passport(metadata, spec))
        }
        "Upstream" => {
            typed(document).map(|Typed { metadata, spec, .. }| Resource::Upstream(metadata, spec))
        }
        "ActionPolicy" => typed(document)
            .map(|Typed { metadata, spec, .. }| Resource::ActionPolicy(metadata, spec)),
        other => {
            let message =
                format!("expected one of `Passport`, `Upstream`, `ActionPolicy`, found `{other}`");
            return Err(("kind".to_owned(), message));
        }
    }?;
    let name = &resource.metadata().name;
    let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty()
        || name.len() > 63
        || !name.bytes().all(label)
        || name.starts_with('-')
        || name.ends_with('-')
    {
        let message =
            format!("`{name}` is not a DNS label: lower-case letters, digits and `-`, at most 63");
        return Err(("metadata.name".to_owned(), message));
    }
    Ok(resource)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Typed<T> {
    #[expect(dead_code, reason = "read before, listed so that it is known")]
    api_version: String,
    #[expect(dead_code, reason = "read before, listed so that it is known")]
    kind: String,
    metadata: Metadata,
    spec: T,
}

fn typed<T: DeserializeOwned>(document: &Document) -> Result<Typed<T>, (String, String)> {
    serde_path_to_error::deserialize(&document.value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        let message = error.into_inner().to_string();
        // An unknown field is best shown where it stands.
        let unknown = message
            .strip_prefix("unknown field `")
            .and_then(|rest| rest.split_once('`'))
            .map(|(name, _)| name);
        match unknown {
            Some(name) if !path.ends_with(name) && path.is_empty() => (name.to_owned(), message),
            Some(name) if !path.ends_with(name) => (format!("{path}.{name}"), message),
            _ => (path, message),
        }
    })
}

fn nearest(places: &BTreeMap<String, Place>, field: &str) -> Place {
    let mut path = field;
    loop {
        if let Some(place) = places.get(path) {
            return *place;
        }
        match path.rfind(['.', '[']) {
            Some(cut) => path = path.get(..cut).unwrap_or_default(),
            None if path.is_empty() => return Place { line: 1, column: 1 },
            None => path = "",
        }
    }
}

fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let yaml = file
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml");
        if yaml && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn of_file(path: &Path, message: &str) -> Problem {
    Problem {
        file: path.display().to_string(),
        line: 1,
        column: 1,
        field: String::new(),
        message: message.to_owned(),
        severity: Severity::Error,
    }
}
