//! Resources as the API server has them, reduced to what decisions and their status need.

use std::collections::BTreeMap;
use std::fmt;

use actpass_crds::definition::{self, Definition};
use actpass_crds::resource::{API_VERSION, Kind, Metadata, Resource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Which resource. Its text, `Passport shop/agent`, is how problems name what they are of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, unless it is of the cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// A resource that people write.
#[derive(Clone, Debug)]
pub struct Object {
    /// Which.
    pub id: Id,
    /// Its uid: a namesake made later is another.
    pub uid: String,
    /// Counts the changes of its `spec`.
    pub generation: Option<i64>,
    /// What it says, or why this build does not understand it: the kinds of the API server are then of another release.
    pub resource: Result<Resource, String>,
    /// Its `status` as it stands.
    pub status: Value,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its uid: a namespace made anew is another tenant.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is being deleted, so that nothing new can stand in it.
    pub ends: bool,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

impl Object {
    /// What is needed of an object of `kind`. Of its metadata only name, namespace and labels can decide anything.
    pub fn of(kind: Kind, object: DynamicObject) -> Self {
        let DynamicObject {
            metadata, mut data, ..
        } = object;
        let ObjectMeta {
            name,
            namespace,
            labels,
            uid,
            generation,
            ..
        } = metadata;
        let mut taken = |key| data.get_mut(key).map(Value::take).unwrap_or_default();
        let (spec, status) = (taken("spec"), taken("status"));
        let id = Id {
            kind,
            namespace,
            name: name.unwrap_or_default(),
        };
        let metadata = Metadata {
            name: id.name.clone(),
            namespace: id.namespace.clone(),
            labels: labels.unwrap_or_default(),
            annotations: BTreeMap::new(),
        };
        let resource = match kind {
            Kind::Passport => typed(spec).map(|spec| Resource::Passport(metadata, spec)),
            Kind::Upstream => typed(spec).map(|spec| Resource::Upstream(metadata, spec)),
            Kind::ActionPolicy => typed(spec).map(|spec| Resource::ActionPolicy(metadata, spec)),
            Kind::ClusterActionPolicy => {
                typed(spec).map(|spec| Resource::ClusterActionPolicy(metadata, spec))
            }
        };
        Self {
            id,
            uid: uid.unwrap_or_default(),
            generation,
            resource,
            status,
        }
    }
}

fn typed<T: DeserializeOwned>(spec: Value) -> Result<T, String> {
    serde_json::from_value(spec).map_err(|error| {
        format!("spec is not understood ({error}); install the kinds of this release")
    })
}

/// How the API server knows a kind of ours; `None` where there is none of that name.
pub fn api_resource(kind: &str) -> Option<ApiResource> {
    let found = definition::ALL.iter().find(|it| it.kind == kind)?;
    Some(of_definition(found))
}

fn of_definition(definition: &Definition) -> ApiResource {
    let (group, version) = API_VERSION.split_once('/').unwrap_or_default();
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: API_VERSION.to_owned(),
        kind: definition.kind.to_owned(),
        plural: definition.plural.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// An object from the YAML of its manifest, in `namespace` unless it is of the cluster.
    pub(crate) fn object(namespace: &str, yaml: &str) -> Object {
        let (found, problems) = actpass_crds::read::parse_documents("t.yaml", yaml);
        assert!(problems.is_empty(), "{problems:?}");
        let [located] = found.as_slice() else {
            panic!("one resource is wanted: {yaml}");
        };
        let mut resource = located.resource.clone();
        let kind = resource.kind();
        let namespace = (kind != Kind::ClusterActionPolicy).then(|| namespace.to_owned());
        match &mut resource {
            Resource::Passport(metadata, _)
            | Resource::Upstream(metadata, _)
            | Resource::ActionPolicy(metadata, _)
            | Resource::ClusterActionPolicy(metadata, _) => metadata.namespace = namespace.clone(),
        }
        Object {
            id: Id {
                kind,
                namespace,
                name: resource.metadata().name.clone(),
            },
            uid: "u".to_owned(),
            generation: Some(1),
            resource: Ok(resource),
            status: Value::Null,
        }
    }

    #[test]
    fn whatever_else_the_api_server_keeps_of_an_object_is_left_aside() {
        let given = json!({
            "apiVersion": API_VERSION, "kind": "Passport",
            "metadata": {
                "name": "clerk", "namespace": "shop", "uid": "u-1", "generation": 3, "resourceVersion": "9",
                "creationTimestamp": "2026-05-04T10:00:00Z", "labels": {"team": "a"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
                "managedFields": [{"manager": "kubectl"}], "finalizers": ["x/y"],
            },
            "spec": {"agentId": "clerk", "owner": "o", "purpose": "p", "scope": [{"capability": "a.b"}]},
            "status": {"sessions": 1},
        });
        let object = Object::of(Kind::Passport, serde_json::from_value(given).unwrap());
        assert_eq!(object.id.to_string(), "Passport shop/clerk");
        assert_eq!((object.uid.as_str(), object.generation), ("u-1", Some(3)));
        assert_eq!(object.status, json!({"sessions": 1}));
        let Ok(Resource::Passport(metadata, spec)) = object.resource else {
            panic!("a Passport");
        };
        assert_eq!(
            metadata.labels,
            BTreeMap::from([("team".to_owned(), "a".to_owned())])
        );
        assert_eq!((spec.ttl_seconds, spec.agent_id.as_str()), (900, "clerk"));
    }

    #[test]
    fn what_a_newer_kind_says_is_not_guessed() {
        let given = json!({"metadata": {"name": "a"}, "spec": {"owner": 1}});
        let object = Object::of(Kind::Passport, serde_json::from_value(given).unwrap());
        assert!(
            object
                .resource
                .unwrap_err()
                .contains("install the kinds of this release")
        );
    }

    #[test]
    fn every_kind_has_its_path() {
        for definition in &definition::ALL {
            assert_eq!(
                api_resource(definition.kind).unwrap().plural,
                definition.plural
            );
        }
        assert!(api_resource("Pod").is_none());
    }
}
