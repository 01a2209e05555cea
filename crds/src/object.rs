//! Resources as an API server hands them out: with metadata and status that nothing here reads.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::read::Located;
use crate::resource::{API_VERSION, Kind, Metadata, Resource};

/// An object that is none of ours, or was stored by another version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ObjectError {
    /// The field, as `spec.rules[2].name`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// The resource that an object is, named by where it stands, as `Passport support/refund-agent`.
///
/// # Errors
/// Where it is of another kind, or its `spec` does not have the form of its kind.
pub fn read(object: &Value) -> Result<Located, ObjectError> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| Some(kind.name()) == text("kind"));
    let Some(kind) = kind.filter(|_| text("apiVersion") == Some(API_VERSION)) else {
        return Err(wrong("kind", "not a resource of this version of ActPass"));
    };
    let metadata = metadata(object)?;
    let origin = origin(kind, &metadata);
    let resource = match kind {
        Kind::Passport => Resource::Passport(metadata, spec(object)?),
        Kind::Upstream => Resource::Upstream(metadata, spec(object)?),
        Kind::ActionPolicy => Resource::ActionPolicy(metadata, spec(object)?),
        Kind::ClusterActionPolicy => Resource::ClusterActionPolicy(metadata, spec(object)?),
    };
    Ok(Located::new(resource, origin))
}

/// How a resource of a cluster is called: `Passport support/refund-agent`, `ClusterActionPolicy guard`.
pub fn origin(kind: Kind, metadata: &Metadata) -> String {
    match &metadata.namespace {
        Some(namespace) => format!("{kind} {namespace}/{}", metadata.name),
        None => format!("{kind} {}", metadata.name),
    }
}

/// As much of the metadata as is read: the API server adds more with every version.
fn metadata(object: &Value) -> Result<Metadata, ObjectError> {
    let found = object.get("metadata").unwrap_or(&Value::Null);
    let text = |key: &str| found.get(key).and_then(Value::as_str).map(str::to_owned);
    let labels: Option<BTreeMap<String, String>> = match found.get("labels") {
        None | Some(Value::Null) => None,
        Some(labels) => Some(
            serde_json::from_value(labels.clone())
                .map_err(|error| wrong("metadata.labels", error.to_string()))?,
        ),
    };
    Ok(Metadata {
        name: text("name").ok_or_else(|| wrong("metadata.name", "missing"))?,
        namespace: text("namespace"),
        labels: labels.unwrap_or_default(),
        annotations: BTreeMap::new(),
    })
}

fn spec<T: DeserializeOwned>(object: &Value) -> Result<T, ObjectError> {
    let found = object.get("spec").cloned().unwrap_or_default();
    serde_path_to_error::deserialize(found).map_err(|error| {
        let path = error.path().to_string();
        let field = match path.as_str() {
            "." | "?" => "spec".to_owned(),
            path => format!("spec.{path}"),
        };
        wrong(&field, error.into_inner().to_string())
    })
}

fn wrong(field: &str, message: impl Into<String>) -> ObjectError {
    ObjectError {
        field: field.to_owned(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn passport() -> Value {
        json!({"apiVersion": API_VERSION, "kind": "Passport",
            "metadata": {"name": "clerk", "namespace": "shop", "uid": "u", "labels": {"team": "a"},
                "managedFields": [{"manager": "kubectl"}]},
            "spec": {"agentId": "clerk", "owner": "o", "purpose": "p", "scope": [{"capability": "a.b"}]},
            "status": {"sessions": 1}})
    }

    #[test]
    fn an_object_is_read_without_what_the_api_server_added() {
        let located = read(&passport()).unwrap();
        let metadata = located.resource.metadata();
        assert_eq!(metadata.labels.get("team").map(String::as_str), Some("a"));
        assert_eq!(
            origin(located.resource.kind(), metadata),
            "Passport shop/clerk"
        );
    }

    #[test]
    fn what_is_no_resource_of_ours_is_named_by_its_field() {
        struct Case {
            name: &'static str,
            at: &'static str,
            value: Value,
            want: &'static str,
        }
        let cases = [
            Case {
                name: "another kind",
                at: "/kind",
                value: json!("Pod"),
                want: "kind",
            },
            Case {
                name: "another version",
                at: "/apiVersion",
                value: json!("actpass.org/v9"),
                want: "kind",
            },
            Case {
                name: "no name",
                at: "/metadata/name",
                value: json!(null),
                want: "metadata.name",
            },
            Case {
                name: "labels that are none",
                at: "/metadata/labels",
                value: json!([1]),
                want: "metadata.labels",
            },
            Case {
                name: "a wrong type",
                at: "/spec/scope/0/capability",
                value: json!(1),
                want: "spec.scope[0].capability",
            },
            Case {
                name: "no spec",
                at: "/spec",
                value: json!(null),
                want: "spec",
            },
        ];
        for Case {
            name,
            at,
            value,
            want,
        } in cases
        {
            let mut object = passport();
            *object.pointer_mut(at).unwrap() = value;
            assert_eq!(read(&object).unwrap_err().field, want, "{name}");
        }
    }
}
