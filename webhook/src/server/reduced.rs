//! Objects of a list, as far as anything is read of them: a manager of fields or an annotation may be many times as long as
//! the object itself, and people write what they like there.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Longest value of an annotation that is kept whole: ours are numbers, and of others only that they are there counts.
const ANNOTATION_CHARS_MAX: usize = 64;

/// One answer to a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    pub(super) metadata: PageMetadata,
    #[serde(default)]
    pub(super) items: Vec<Reduced>,
}

/// Where the list goes on.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PageMetadata {
    #[serde(rename = "continue")]
    pub(super) next: Option<String>,
}

/// An object without what nothing is read of.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reduced {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize, Serialize)]
struct Metadata {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "short")]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<String>,
}

impl Reduced {
    pub(super) fn into_json(self) -> Value {
        // Of texts and JSON alone, so it has a form.
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// Annotations with the first characters of their values.
fn short<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    let all = Option::<BTreeMap<String, Short>>::deserialize(from)?.unwrap_or_default();
    Ok(all
        .into_iter()
        .map(|(key, Short(text))| (key, text))
        .collect())
}

struct Short(String);

impl<'de> Deserialize<'de> for Short {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Ok(Self(text.chars().take(ANNOTATION_CHARS_MAX).collect()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nothing_is_read_of_is_dropped_as_it_is_read() {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "a", "namespace": "shop", "uid": "u", "labels": {"app": "a"},
                "annotations": {"actpass.org/sidecar-uid": "40001", "big": "x".repeat(250 << 10)},
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
            },
            "spec": {"containers": [{"name": "agent"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready"}]},
        });
        let page = json!({"metadata": {"continue": "next"}, "items": [object, {"metadata": {"name": "b"}}]});
        // As it comes: from text.
        let page: Page = serde_json::from_str(&page.to_string()).unwrap();
        assert_eq!(page.metadata.next.as_deref(), Some("next"));
        let items: Vec<Value> = page.items.into_iter().map(Reduced::into_json).collect();
        assert_eq!(
            items[0],
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": "a", "namespace": "shop", "labels": {"app": "a"},
                    "annotations": {"actpass.org/sidecar-uid": "40001", "big": "x".repeat(64)},
                },
                "spec": {"containers": [{"name": "agent"}]},
                "status": {"phase": "Running"},
            })
        );
        assert_eq!(items[1]["metadata"]["name"], "b");
    }
}
