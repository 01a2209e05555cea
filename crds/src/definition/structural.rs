//! Structural schemas: what an API server takes of a JSON schema, and how `kubectl explain` reads best.

use serde_json::{Map, Value};

use crate::schema::{allowed, type_of, whole, without_null};

/// The structural schema of a schema of ours: no `null`, no alternatives, no closed objects (the API server prunes or
/// refuses unknown fields itself), every list with its kind of merging, every number with its width.
pub(super) fn structural(schema: &Value) -> Value {
    let real = without_null(schema);
    let mut made = Map::new();
    if let Some(text) = description(schema) {
        made.insert("description".to_owned(), text.into());
    }
    // What stands beside the alternatives belongs to the field, what stands in them to its type.
    for (name, value) in [real, schema]
        .into_iter()
        .filter_map(Value::as_object)
        .flatten()
    {
        if KEPT.contains(&name.as_str()) && !value.is_null() {
            made.insert(name.clone(), value.clone());
        }
    }
    if let Some(texts) = allowed(schema) {
        made.insert("type".to_owned(), "string".into());
        made.insert("enum".to_owned(), texts.into());
        return Value::Object(made);
    }
    if let Some(name) = type_of(real) {
        made.insert("type".to_owned(), name.into());
        match name {
            "object" => object(real, &mut made),
            "array" => array(real, &mut made),
            "integer" => {
                made.insert("format".to_owned(), width(real).into());
            }
            "string" => {
                let format = real.get("format").cloned();
                made.extend(format.map(|format| ("format".to_owned(), format)));
            }
            _ => {}
        }
    }
    Value::Object(made)
}

/// As [`structural`], with other words in front than those of the type.
pub(super) fn described(schema: &Value, description: String) -> Value {
    let mut made = structural(schema);
    if let Some(schema) = made.as_object_mut() {
        schema.insert("description".to_owned(), description.into());
    }
    made
}

fn object(schema: &Value, made: &mut Map<String, Value>) {
    if let Some(values) = schema
        .get("additionalProperties")
        .filter(|it| it.is_object())
    {
        made.insert("additionalProperties".to_owned(), structural(values));
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let properties = properties
            .iter()
            .map(|(name, schema)| (name.clone(), structural(schema)));
        made.insert("properties".to_owned(), properties.collect());
    }
}

fn array(schema: &Value, made: &mut Map<String, Value>) {
    let items = schema.get("items").map(structural);
    made.extend(items.map(|items| ("items".to_owned(), items)));
    made.entry("x-kubernetes-list-type")
        .or_insert("atomic".into());
}

/// The smallest width that Kubernetes has for these numbers.
fn width(schema: &Value) -> &'static str {
    let most = whole(schema, "maximum").unwrap_or(i128::MAX);
    let least = whole(schema, "minimum").unwrap_or(i128::MIN);
    match least >= i128::from(i32::MIN) && most <= i128::from(i32::MAX) {
        true => "int32",
        false => "int64",
    }
}

/// What a field is for, and below it what each of its words means.
fn description(schema: &Value) -> Option<String> {
    let real = without_null(schema);
    let said = |schema: &Value| Some(schema.get("description")?.as_str()?.replace('\n', " "));
    let mut text = said(schema).or_else(|| said(real))?;
    let variants = real.get("oneOf").and_then(Value::as_array);
    for variant in variants.into_iter().flatten() {
        if let (Some(word), Some(meaning)) = (variant.get("const"), said(variant)) {
            let word = word.as_str().unwrap_or_default();
            text.push_str(&format!("\n{word}: {meaning}"));
        }
    }
    Some(text)
}

/// Words that mean the same in a structural schema, and go over as they are.
const KEPT: [&str; 14] = [
    "default",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "required",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_become_structural() {
        struct Case {
            name: &'static str,
            given: Value,
            want: Value,
        }
        let cases = [
            Case {
                name: "an optional field is no union",
                given: json!({"type": ["string", "null"], "maxLength": 5, "description": "One\ntwo."}),
                want: json!({"type": "string", "maxLength": 5, "description": "One two."}),
            },
            Case {
                name: "an optional object keeps the rules of its type and the words of its field",
                given: json!({"description": "Of the field.", "anyOf": [
                    {"type": "object", "description": "Of the type.", "additionalProperties": false,
                        "properties": {"a": {"type": "boolean", "default": false}}, "required": ["a"],
                        "x-kubernetes-validations": [{"rule": "self.a", "message": "a"}]},
                    {"type": "null"}]}),
                want: json!({"type": "object", "description": "Of the field.",
                    "properties": {"a": {"type": "boolean", "default": false}}, "required": ["a"],
                    "x-kubernetes-validations": [{"rule": "self.a", "message": "a"}]}),
            },
            Case {
                name: "an enum explains its words",
                given: json!({"description": "The mode.", "default": "On", "oneOf": [
                    {"const": "On", "type": "string", "description": "It\nis on."},
                    {"const": "Off", "type": "string", "description": "It is off."}]}),
                want: json!({"type": "string", "enum": ["On", "Off"], "default": "On",
                    "description": "The mode.\nOn: It is on.\nOff: It is off."}),
            },
            Case {
                name: "numbers have a width",
                given: json!({"type": "array", "maxItems": 2, "items": {"type": "integer", "format": "uint16",
                    "minimum": 1, "maximum": 65535}}),
                want: json!({"type": "array", "maxItems": 2, "x-kubernetes-list-type": "atomic", "items":
                    {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535}}),
            },
            Case {
                name: "a number without a bound is wide",
                given: json!({"type": ["integer", "null"], "format": "int64", "minimum": 0, "default": null}),
                want: json!({"type": "integer", "format": "int64", "minimum": 0}),
            },
            Case {
                name: "a map keeps its values",
                given: json!({"type": "object", "maxProperties": 3, "additionalProperties": {"type": "string", "maxLength": 63}}),
                want: json!({"type": "object", "maxProperties": 3, "additionalProperties": {"type": "string", "maxLength": 63}}),
            },
        ];
        for Case { name, given, want } in cases {
            assert_eq!(structural(&given), want, "{name}");
        }
    }
}
