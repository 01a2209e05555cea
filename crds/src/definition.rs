//! CustomResourceDefinitions of all kinds, made from their Rust types.
//!
//! kube's derive is not used. It would bring the types of Kubernetes' whole API into `actpass run` and the fuzz targets,
//! which read the same specs and never meet an API server; and our schemas would need a step of their own behind it
//! all the same, for bounds of maps, formats of numbers, atomic lists and the words of enums. So one schema per type
//! serves files and clusters, and [`structural`] turns it into what an API server takes.

mod kinds;
mod structural;

use serde_json::{Map, Value, json};

use crate::resource::API_VERSION;

pub use kinds::ALL;

/// One kind of the API group.
#[derive(Debug)]
pub struct Definition {
    /// As it stands in `kind`.
    pub kind: &'static str,
    /// As it stands in paths, `passports`.
    pub plural: &'static str,
    /// What `kubectl` takes for it too.
    pub short_name: &'static str,
    /// Whether its resources belong to a namespace.
    pub namespaced: bool,
    /// Who writes its `spec`, to follow "written by".
    pub written_by: &'static str,
    /// Pattern of its names besides that of a label.
    name_pattern: &'static str,
    about: &'static str,
    spec: Option<fn() -> Value>,
    status: Option<fn() -> Value>,
    columns: &'static [Column],
}

/// A column of `kubectl get`.
#[derive(Debug)]
struct Column {
    name: &'static str,
    kind: &'static str,
    path: &'static str,
    about: &'static str,
    /// Whether only `-o wide` shows it.
    wide: bool,
}

impl Definition {
    /// The name of the definition, `passports.actpass.org`.
    pub fn name(&self) -> String {
        format!("{}.{GROUP}", self.plural)
    }

    /// What the kind is for.
    pub fn about(&self) -> String {
        let spec = self.spec.map(|spec| spec());
        let said = spec.as_ref().and_then(|spec| spec.get("description"));
        let said = said.and_then(Value::as_str).unwrap_or(self.about);
        said.replace('\n', " ")
    }

    /// The schema of its `spec`, if it has one, as [`crate::schema()`] has it.
    pub fn spec(&self) -> Option<Value> {
        self.spec.map(|spec| spec())
    }

    /// The schema of its `status`, if it has one.
    pub fn status(&self) -> Option<Value> {
        self.status.map(|status| status())
    }

    /// The CustomResourceDefinition.
    pub fn resource(&self) -> Value {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": self.name(),
                // Uninstalling a chart must not take every Passport with it.
                "annotations": {"helm.sh/resource-policy": "keep"},
            },
            "spec": {
                "group": GROUP,
                "names": {
                    "kind": self.kind,
                    "listKind": format!("{}List", self.kind),
                    "plural": self.plural,
                    "singular": self.kind.to_ascii_lowercase(),
                    "shortNames": [self.short_name],
                    "categories": ["actpass"],
                },
                "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
                "versions": [self.version()],
            },
        })
    }

    fn version(&self) -> Value {
        let (_, version) = API_VERSION.split_once('/').unwrap_or_default();
        let columns = self.columns.iter().chain([&AGE]).map(Column::shown);
        let mut subresources = Map::new();
        if self.status.is_some() {
            subresources.insert("status".to_owned(), json!({}));
        }
        json!({
            "name": version,
            "served": true,
            "storage": true,
            "subresources": subresources,
            "schema": {"openAPIV3Schema": self.schema()},
            "additionalPrinterColumns": columns.collect::<Vec<_>>(),
        })
    }

    /// The structural schema of the whole object.
    fn schema(&self) -> Value {
        let fixed =
            |always: &str| json!({"type": "string", "description": format!("Always {always}.")});
        let name = json!({"type": "string", "maxLength": 63, "pattern": self.name_pattern});
        let mut properties = Map::from_iter([
            ("apiVersion".to_owned(), fixed(API_VERSION)),
            ("kind".to_owned(), fixed(self.kind)),
            (
                "metadata".to_owned(),
                json!({"type": "object", "properties": {"name": name}}),
            ),
        ]);
        let mut schema = Map::new();
        if let Some(spec) = self.spec() {
            let said = format!("What it says. Written by {}.", self.written_by);
            let spec = structural::described(&spec, said);
            properties.insert("spec".to_owned(), spec);
            schema.insert("required".to_owned(), json!(["spec"]));
        }
        if let Some(status) = self.status() {
            properties.insert("status".to_owned(), structural::structural(&status));
        }
        schema.extend([
            ("type".to_owned(), "object".into()),
            ("description".to_owned(), self.about().into()),
            ("properties".to_owned(), properties.into()),
        ]);
        Value::Object(schema)
    }
}

impl Column {
    fn shown(&self) -> Value {
        let texts = [
            ("name", self.name),
            ("type", self.kind),
            ("jsonPath", self.path),
            ("description", self.about),
        ];
        let texts = texts.map(|(name, text)| (name.to_owned(), text.into()));
        let mut shown = Map::from_iter(texts);
        if self.wide {
            shown.insert("priority".to_owned(), 1.into());
        }
        Value::Object(shown)
    }
}

/// How old a resource is. It stands last, as everywhere in Kubernetes.
const AGE: Column = Column {
    name: "Age",
    kind: "date",
    path: ".metadata.creationTimestamp",
    about: "Time since it was made.",
    wide: false,
};

/// The API group of every kind here.
pub const GROUP: &str = "actpass.org";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind;
    use crate::shape;

    #[test]
    fn the_group_is_that_of_the_api_version() {
        assert_eq!(API_VERSION.split_once('/'), Some((GROUP, "v1alpha1")));
    }

    #[test]
    fn every_kind_that_is_read_is_defined() {
        for kind in Kind::ALL {
            assert!(ALL.iter().any(|it| it.kind == kind.name()), "{kind}");
        }
    }

    #[test]
    fn names_of_cluster_resources_are_those_of_files() {
        let label = shape::LABEL.pattern;
        let other: Vec<&str> = ALL
            .iter()
            .filter(|it| it.name_pattern != label)
            .map(|it| it.kind)
            .collect();
        assert_eq!(other, ["ApprovalVote"]);
    }
}
