//! Manifests from files: each mistake with file, line, column, field and what would be right.
//!
//! *Flow*: [`crate::yaml`] makes nodes with places, the walker holds them against the schema of their kind and says
//! every mistake at once, and only what has none becomes a [`Resource`].

mod document;
mod files;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use crate::problem::{Problem, Severity};

use crate::problem::Said;
use crate::resource::{Kind, Resource};
use crate::yaml::{self, Node, Place, YamlError};

/// A resource and where its fields stand.
#[derive(Clone, Debug)]
pub struct Located {
    /// The resource.
    pub resource: Resource,
    file: String,
    places: BTreeMap<String, Place>,
}

impl Located {
    /// A resource that came without a file, named by what it came from, for example `ActionPolicy support/refunds`.
    pub fn new(resource: Resource, origin: impl Into<String>) -> Self {
        Self {
            resource,
            file: origin.into(),
            places: BTreeMap::new(),
        }
    }

    /// A problem at a field of this resource, or at the nearest field above it that was written.
    pub(crate) fn problem(
        &self,
        field: &str,
        severity: Severity,
        said: impl Into<Said>,
    ) -> Problem {
        let place = nearest(&self.places, field);
        let (kind, name) = (self.resource.kind(), &self.resource.metadata().name);
        let resource = format!("{kind}/{name}");
        problem(&self.file, place, &resource, field, severity, said.into())
    }

    /// `FILE:LINE` of a field, to point at from elsewhere.
    pub(crate) fn whence(&self, field: &str) -> String {
        match nearest(&self.places, field) {
            Place { line: 0, .. } => self.file.clone(),
            Place { line, .. } => format!("{}:{line}", self.file),
        }
    }
}

/// Manifests as they were read, for [`crate::check::check`].
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// The resources that have the form of their kind.
    pub resources: Vec<Located>,
    /// Every mistake of form.
    pub problems: Vec<Problem>,
    /// Kinds of which a resource is written that could not be read: what others say of such a one is not held
    /// against them.
    pub unread: BTreeSet<Kind>,
}

impl Manifests {
    /// Resources that came otherwise, for example from an API server.
    pub fn of(resources: Vec<Located>) -> Self {
        Self {
            resources,
            ..Self::default()
        }
    }

    /// Reads all manifests of files and of directories (`*.yaml`, `*.yml`, not below).
    pub fn read(paths: &[PathBuf]) -> Self {
        let mut manifests = Self::default();
        for file in files::files_of(paths, &mut manifests.problems) {
            match files::text_of(&file) {
                Ok(text) => {
                    let found = manifests.add(&file.display().to_string(), &text);
                    if !found && paths.contains(&file) {
                        manifests.problems.push(of_file(
                            &file,
                            files::START,
                            "holds no resource; expected Passports, Upstreams or policies",
                        ));
                    }
                }
                Err((place, what)) => manifests.problems.push(of_file(&file, place, what)),
            }
        }
        if manifests.problems.iter().any(|it| it.resource.is_empty()) {
            manifests.unread.extend(Kind::ALL);
        }
        manifests
    }

    /// Reads the documents of one text, `---` between them, and says whether there were any. Resources without a
    /// mistake are read even where others have some. Total: any text gives resources or problems.
    pub fn add(&mut self, file: &str, text: &str) -> bool {
        let (documents, errors) = yaml::parse(text);
        let any = !documents.is_empty() || !errors.is_empty();
        for document in &documents {
            match document::resource(document) {
                Ok(resource) => self.resources.push(Located {
                    resource,
                    file: file.to_owned(),
                    places: document.places(),
                }),
                Err(mistakes) => {
                    let name = document::name_of(document);
                    let kind = document.get("kind").and_then(Node::as_text);
                    let kinds = Kind::ALL.into_iter();
                    match kinds.clone().find(|known| Some(known.name()) == kind) {
                        Some(kind) => self.unread.extend([kind]),
                        None => self.unread.extend(kinds),
                    }
                    let error = Severity::Error;
                    self.problems
                        .extend(mistakes.into_iter().map(|(place, field, said)| {
                            problem(file, place, &name, &field, error, said)
                        }));
                }
            }
        }
        for YamlError { place, said } in errors {
            self.unread.extend(Kind::ALL);
            self.problems
                .push(problem(file, place, "", "", Severity::Error, said));
        }
        self.problems.sort();
        any
    }
}

/// Reads the documents of one text: the resources, and every mistake of form, sorted by place.
pub fn parse_documents(file: &str, text: &str) -> (Vec<Located>, Vec<Problem>) {
    let mut manifests = Manifests::default();
    manifests.add(file, text);
    (manifests.resources, manifests.problems)
}

/// The place of a field, or of the nearest one above it.
fn nearest(places: &BTreeMap<String, Place>, field: &str) -> Place {
    let mut path = field;
    loop {
        if let Some(place) = places.get(path) {
            return *place;
        }
        match path.rfind(['.', '[']) {
            Some(cut) => path = path.get(..cut).unwrap_or_default(),
            None if path.is_empty() => return Place::default(),
            None => path = "",
        }
    }
}

/// A mistake of a file.
fn of_file(path: &Path, place: Place, said: impl Into<Said>) -> Problem {
    let file = path.display().to_string();
    problem(&file, place, "", "", Severity::Error, said.into())
}

fn problem(
    file: &str,
    place: Place,
    resource: &str,
    field: &str,
    severity: Severity,
    said: Said,
) -> Problem {
    let Said { message, help } = said;
    let Place { line, column } = place;
    Problem {
        file: file.to_owned(),
        line,
        column,
        resource: resource.to_owned(),
        field: field.to_owned(),
        message,
        help,
        severity,
    }
}
