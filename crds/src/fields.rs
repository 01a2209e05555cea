//! Fields and words of the kinds, from the schemas: what `docs/manifests.md` is made of.

use schemars::JsonSchema;
use serde_json::Value;

use crate::schema::{allowed, of_type, shape_of, size, type_of, whole, without_null};

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

/// The fields of what a schema of ours describes, each before those within it; `path` is where that stands, `spec`.
pub fn fields(schema: &Value, path: &str) -> Vec<Field> {
    let mut found = Vec::new();
    within(schema, path, &mut found);
    found
}

/// The words of an enum and what each means, in their order.
pub fn words<T: JsonSchema>() -> Vec<(String, String)> {
    let schema = of_type::<T>();
    let variants = schema.get("oneOf").and_then(Value::as_array);
    let word =
        |variant: &Value| Some((variant.get("const")?.as_str()?.to_owned(), meaning(variant)));
    variants.into_iter().flatten().filter_map(word).collect()
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
        Some("string") if schema.get("format").is_some_and(|it| it == "date-time") => {
            "an instant of RFC 3339".to_owned()
        }
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
