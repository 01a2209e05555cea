//! The JSON schemas of the kinds, made from their Rust types, and how their words are read.

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action_policy::{ActionPolicySpec, ClusterActionPolicySpec};
use crate::passport::PassportSpec;
use crate::resource::{Kind, Metadata};
use crate::shape::{self, Shape};
use crate::upstream::UpstreamSpec;

/// A resource as it stands in a file.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Document<T> {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) metadata: Metadata,
    pub(crate) spec: T,
}

/// The JSON schema of a kind, without references: what an API server is given is made from the same types.
pub fn schema(kind: Kind) -> &'static Value {
    match kind {
        Kind::Passport => &PASSPORT,
        Kind::Upstream => &UPSTREAM,
        Kind::ActionPolicy => &ACTION_POLICY,
        Kind::ClusterActionPolicy => &CLUSTER_ACTION_POLICY,
    }
}

static PASSPORT: LazyLock<Value> = LazyLock::new(of_type::<Document<PassportSpec>>);
static UPSTREAM: LazyLock<Value> = LazyLock::new(of_type::<Document<UpstreamSpec>>);
static ACTION_POLICY: LazyLock<Value> = LazyLock::new(of_type::<Document<ActionPolicySpec>>);
static CLUSTER_ACTION_POLICY: LazyLock<Value> =
    LazyLock::new(of_type::<Document<ClusterActionPolicySpec>>);

/// The JSON schema of a type, without references.
pub(crate) fn of_type<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// Without the alternative `null` that optional fields have: a field that is there has a value.
pub(crate) fn without_null(schema: &Value) -> &Value {
    let alternatives = schema.get("anyOf").and_then(Value::as_array);
    let real = alternatives
        .into_iter()
        .flatten()
        .find(|schema| type_of(schema) != Some("null"));
    real.unwrap_or(schema)
}

/// The type of a value, without `null`.
pub(crate) fn type_of(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null"),
        _ => None,
    }
}

/// The texts of an enum: written as `enum`, or as one `const` each.
pub(crate) fn allowed(schema: &Value) -> Option<Vec<&str>> {
    let schema = without_null(schema);
    if let Some(texts) = schema.get("enum").and_then(Value::as_array) {
        return Some(texts.iter().filter_map(Value::as_str).collect());
    }
    let variants = schema.get("oneOf").and_then(Value::as_array)?;
    Some(
        variants
            .iter()
            .filter_map(|variant| variant.get("const").and_then(Value::as_str))
            .collect(),
    )
}

/// The shape of a text.
pub(crate) fn shape_of(schema: &Value) -> Option<&'static Shape> {
    shape::by_pattern(schema.get("pattern").and_then(Value::as_str)?)
}

/// A bound of sizes.
pub(crate) fn size(schema: &Value, bound: &str) -> Option<usize> {
    schema.get(bound)?.as_u64()?.try_into().ok()
}

/// A bound of whole numbers.
pub(crate) fn whole(schema: &Value, bound: &str) -> Option<i128> {
    let bound = schema.get(bound)?;
    bound
        .as_i64()
        .map(i128::from)
        .or_else(|| bound.as_u64().map(i128::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition;

    /// The schemas of all kinds that are read, and every schema within them.
    fn schemas() -> Vec<&'static Value> {
        with_inner(Kind::ALL.map(schema).into())
    }

    /// These schemas, and every schema within them.
    fn with_inner(mut found: Vec<&Value>) -> Vec<&Value> {
        let mut next = 0;
        while let Some(schema) = found.get(next).copied() {
            next += 1;
            let properties = schema.get("properties").and_then(Value::as_object);
            found.extend(properties.into_iter().flat_map(|it| it.values()));
            let parts = ["items", "additionalProperties"].map(|name| schema.get(name));
            found.extend(parts.into_iter().flatten().filter(|it| it.is_object()));
            let alternatives = ["anyOf", "oneOf"].map(|name| schema.get(name)?.as_array());
            found.extend(alternatives.into_iter().flatten().flatten());
        }
        found
    }

    #[test]
    fn the_walker_knows_every_pattern() {
        let patterns = schemas()
            .into_iter()
            .filter_map(|it| it.get("pattern")?.as_str());
        let mut count = 0;
        for pattern in patterns {
            assert!(shape::by_pattern(pattern).is_some(), "{pattern}");
            count += 1;
        }
        assert!(count > 40, "only {count} patterns were looked at");
    }

    #[test]
    fn the_walker_knows_every_word_of_the_schemas() {
        let checked = [
            "additionalProperties",
            "anyOf",
            "const",
            "enum",
            "items",
            "maxItems",
            "maxLength",
            "maxProperties",
            "maximum",
            "minItems",
            "minLength",
            "minimum",
            "oneOf",
            "pattern",
            "properties",
            "required",
            "type",
            "x-kubernetes-list-map-keys",
            "x-kubernetes-list-type",
            "x-kubernetes-preserve-unknown-fields",
        ];
        let said = [
            "default",
            "description",
            "format",
            "title",
            "x-kubernetes-validations",
        ];
        let cluster: Vec<Value> = definition::ALL
            .iter()
            .flat_map(|it| [it.spec(), it.status()])
            .flatten()
            .collect();
        let cluster = with_inner(cluster.iter().collect());
        for schema in schemas().into_iter().chain(cluster) {
            for word in schema.as_object().unwrap().keys() {
                let known = checked.iter().chain(&said).any(|known| known == word);
                assert!(known, "`{word}` in {schema}");
            }
        }
    }
}
