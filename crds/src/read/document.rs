//! One document: its kind, its form, and the resource it becomes.

use actpass_core::canonical::excerpt;
use serde::de::DeserializeOwned;

use super::{nearest, walk};
use crate::definition;
use crate::problem::{Said, listed};
use crate::resource::{API_VERSION, Kind, Resource};
use crate::schema::{self, Document};
use crate::suggest;
use crate::yaml::{Node, Place, Yaml};

/// What is wrong, and where.
type Mistakes = Vec<(Place, String, Said)>;

/// A document as the resource it is.
pub(super) fn resource(document: &Node) -> Result<Resource, Mistakes> {
    let kind = kind_of(document)?;
    let mistakes = walk::walk(schema::schema(kind), document);
    if !mistakes.is_empty() {
        let mistakes = mistakes.into_iter();
        return Err(mistakes.map(|it| (it.place, it.field, it.said)).collect());
    }
    match kind {
        Kind::Passport => typed(document).map(|it| Resource::Passport(it.metadata, it.spec)),
        Kind::Upstream => typed(document).map(|it| Resource::Upstream(it.metadata, it.spec)),
        Kind::ActionPolicy => {
            typed(document).map(|it| Resource::ActionPolicy(it.metadata, it.spec))
        }
        Kind::ClusterActionPolicy => {
            typed(document).map(|it| Resource::ClusterActionPolicy(it.metadata, it.spec))
        }
    }
}

/// `KIND/NAME`, as far as they are written.
pub(super) fn name_of(document: &Node) -> String {
    let text = |node: Option<&Node>| node.and_then(Node::as_text).map(excerpt);
    let kind = text(document.get("kind"));
    let name = text(document.get("metadata").and_then(|it| it.get("name")));
    match (kind, name) {
        (Some(kind), Some(name)) => format!("{kind}/{name}"),
        (kind, name) => kind.or(name).unwrap_or_default(),
    }
}

/// The kind of a document. Without it nothing more can be said of the document.
fn kind_of(document: &Node) -> Result<Kind, Mistakes> {
    if !matches!(document.yaml, Yaml::Map(_)) {
        let said = Said::from("is no resource");
        let said = said.help("expected a mapping with `apiVersion`, `kind`, `metadata` and `spec`");
        return Err(vec![(document.place, String::new(), said)]);
    }
    let kinds = listed(Kind::ALL.map(Kind::name), "or");
    let mut mistakes = Mistakes::new();
    let mut say = |field: &str, said: Said| {
        let place = document
            .get(field)
            .map_or(document.place, |node| node.place);
        mistakes.push((place, field.to_owned(), said));
    };
    let name = document.get("kind").and_then(Node::as_text);
    let version = document.get("apiVersion").and_then(Node::as_text);
    match version {
        // A list of resources, as `kubectl get -o yaml` writes it.
        Some("v1") if name == Some("List") => {
            let said = Said::from("a `List` is not read");
            say(
                "kind",
                said.help("write each item as a document of its own, with `---` between"),
            );
        }
        Some(API_VERSION) => {}
        None => say(
            "apiVersion",
            format!("missing; expected `{API_VERSION}`").into(),
        ),
        Some(version) => {
            let said = Said::from(format!(
                "expected `{API_VERSION}`, found `{}`",
                excerpt(version)
            ));
            say(
                "apiVersion",
                match version.starts_with("actpass.org/") {
                    true => said.help("this build reads only that version"),
                    false => said.help("move what is not for ActPass into another directory"),
                },
            );
        }
    }
    let ours = version.is_none_or(|version| version.starts_with("actpass.org/"));
    let kind = Kind::ALL.into_iter().find(|kind| Some(kind.name()) == name);
    match name {
        None => say("kind", format!("missing; expected one of {kinds}").into()),
        // Under another group the kind is another's.
        Some(name) if kind.is_none() && ours => {
            let said = Said::from(format!(
                "expected one of {kinds}, found `{}`",
                excerpt(name)
            ));
            say(
                "kind",
                match definition::ALL.iter().find(|it| it.kind == name) {
                    Some(it) => said.help(format!(
                        "that kind lives in a cluster only, written by {}; leave it out",
                        it.written_by
                    )),
                    None => said.meant(suggest::nearest(name, Kind::ALL.map(Kind::name))),
                },
            );
        }
        Some(_) => {}
    }
    match kind {
        Some(kind) if mistakes.is_empty() => Ok(kind),
        _ => Err(mistakes),
    }
}

/// What the walker found right. Where serde still disagrees, its words are said at the place it names.
fn typed<T: DeserializeOwned>(document: &Node) -> Result<Document<T>, Mistakes> {
    serde_path_to_error::deserialize(document.to_json()).map_err(|error| {
        let field = error.path().to_string();
        let place = nearest(&document.places(), &field);
        vec![(place, field, error.into_inner().to_string().into())]
    })
}
