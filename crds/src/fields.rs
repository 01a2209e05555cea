//! The fields of each kind in words, from the schemas: what `docs/manifests.md` is made of.

use serde_json::Value;

use crate::resource::Kind;
use crate::schema::{allowed, schema, shape_of, size, type_of, whole, without_null};

/// One field, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As `spec.rules[].name`.
    pub path: String,
    /// What to write: `integer from 60 to 3600`, `one of Read, Write, Irreversible`.
    pub form: String,
    /// Whether what it stands in cannot be without it.
    pub required: bool,
    /// What it is where it is not written, as JSON.
    pub default: Option<String>,
    /// What it is for.
    pub meaning: String,
}

/// The fields of a kind's `spec`, each before those within it.
pub fn fields(kind: Kind) -> Vec<Field> {
    let mut found = Vec::new();
    let spec = schema(kind).get("properties").and_then(|it| it.get("spec"));
    if let Some(spec) = spec {
        within(spec, "spec", &mut found);
    }
    found
}

/// What a kind is for.
pub fn about(kind: Kind) -> String {
    let spec = schema(kind).get("properties").and_then(|it| it.get("spec"));
    spec.map(meaning).unwrap_or_default()
}

fn within(object: &Value, path: &str, found: &mut Vec<Field>) {
    let object = without_null(object);
    let required = object.get("required").and_then(Value::as_array);
    let properties = object.get("properties").and_then(Value::as_object);
    for (name, field) in properties.into_iter().flatten() {
        let path = format!("{path}.{name}");
        found.push(Field {
            form: form(field),
            required: required.is_some_and(|names| names.iter().any(|it| it == name)),
            default: field
                .get("default")
                .filter(|it| !it.is_null())
                .map(ToString::to_string),
            meaning: meaning(field),
            path: path.clone(),
        });
        let (path, inner) = match without_null(field).get("items") {
            Some(items) => (format!("{path}[]"), items),
            None => (path, field),
        };
        within(inner, &path, found);
    }
}

fn meaning(schema: &Value) -> String {
    let said = schema.get("description").and_then(Value::as_str);
    let said = said.or_else(|| without_null(schema).get("description")?.as_str());
    said.unwrap_or_default().replace('\n', " ")
}

fn form(schema: &Value) -> String {
    if let Some(texts) = allowed(schema).filter(|texts| !texts.is_empty()) {
        return format!("one of {}", texts.join(", "));
    }
    let schema = without_null(schema);
    if let Some(shape) = shape_of(schema) {
        return shape.says.to_owned();
    }
    match type_of(schema) {
        Some("integer") => bounds(schema, "integer"),
        Some("array") => {
            let items = schema.get("items").map(form).unwrap_or_default();
            let most = size(schema, "maxItems").map(|most| format!("at most {most}, "));
            format!("list, {}each {items}", most.unwrap_or_default())
        }
        Some("object") if schema.get("properties").is_some() => "object".to_owned(),
        Some("object") => "map".to_owned(),
        Some(name) => name.to_owned(),
        None => "any value".to_owned(),
    }
}

fn bounds(schema: &Value, name: &str) -> String {
    match (whole(schema, "minimum"), whole(schema, "maximum")) {
        (Some(least), Some(most)) => format!("{name} from {least} to {most}"),
        (Some(least), None) => format!("{name} from {least}"),
        (None, Some(most)) => format!("{name} to {most}"),
        (None, None) => name.to_owned(),
    }
}
