//! What an API server says of manifests by the CustomResourceDefinitions alone: fields, types, bounds, lists and rules.
//!
//! A small reading of structural schemas, enough for ours: it stops at a word that it does not know. A real API server
//! judges the same definitions in the end to end tests; this one judges each bad manifest in a blink.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use actpass_crds::definition::ALL;
use actpass_crds::resource::API_VERSION;
use cel::{Context, Env, Program, Value as CelValue};
use regex_lite::Regex;
use serde_json::{Map, Value, json};

/// Every refusal of the documents of a file, none where `kubectl apply` would take it.
pub(crate) fn refusals(text: &str) -> Vec<String> {
    let documents: Vec<Value> = match serde_saphyr::from_multiple(text) {
        Ok(documents) => documents,
        Err(error) => return vec![error.to_string()],
    };
    documents.into_iter().flat_map(of_document).collect()
}

fn of_document(mut document: Value) -> Vec<String> {
    let kind = document["kind"].as_str().unwrap_or_default();
    let Some(schema) = SCHEMAS
        .get(kind)
        .filter(|_| document["apiVersion"] == API_VERSION)
    else {
        return vec!["no such kind".to_owned()];
    };
    let mut refusals = Vec::new();
    value(schema, &mut document, "", &mut refusals);
    // As an API server does, which reads the rules only of what has the right form.
    if refusals.is_empty() {
        rules(schema, &document, "", &mut refusals);
    }
    refusals
}

/// The schema of each kind, with what an API server knows of metadata besides.
static SCHEMAS: LazyLock<BTreeMap<&str, Value>> = LazyLock::new(|| {
    let text = || json!({"type": "string"});
    let texts = || json!({"type": "object", "additionalProperties": {"type": "string"}});
    let schemas = ALL.iter().map(|definition| {
        let resource = definition.resource();
        let mut schema = resource["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
        schema["required"] = json!(["metadata", "spec"]);
        let metadata = &mut schema["properties"]["metadata"];
        metadata["required"] = json!(["name"]);
        for name in ["namespace", "uid"] {
            metadata["properties"][name] = text();
        }
        for name in ["labels", "annotations"] {
            metadata["properties"][name] = texts();
        }
        (definition.kind, schema)
    });
    schemas.collect()
});

fn value(schema: &Value, given: &mut Value, path: &str, out: &mut Vec<String>) {
    let mut say = |what: String| out.push(format!("{path}: {what}"));
    let number = |word: &str| schema.get(word).and_then(Value::as_i64);
    let size = |word: &str| schema.get(word).and_then(Value::as_u64);
    let (least, most) = (
        |word: &str| size(word).unwrap_or(0),
        |word: &str| size(word).unwrap_or(u64::MAX),
    );
    for word in schema.as_object().unwrap().keys() {
        assert!(WORDS.contains(&word.as_str()), "`{word}` at {path}");
    }
    match (schema.get("type").and_then(Value::as_str), &mut *given) {
        (None, _) => assert_eq!(schema["x-kubernetes-preserve-unknown-fields"], true),
        (Some("object"), Value::Object(fields)) => {
            if fields.len() as u64 > most("maxProperties") {
                say("too many properties".to_owned());
            }
            object(schema, fields, path, out);
        }
        (Some("array"), Value::Array(items)) => {
            let length = items.len() as u64;
            if length > most("maxItems") || length < least("minItems") {
                say(format!("{length} items"));
            }
            for (index, item) in items.iter_mut().enumerate() {
                value(&schema["items"], item, &format!("{path}[{index}]"), out);
            }
            unique(schema, items, path, out);
        }
        (Some("string"), Value::String(text)) => {
            let length = text.chars().count() as u64;
            if length > most("maxLength") || length < least("minLength") {
                say(format!("{length} characters"));
            }
            let pattern = schema.get("pattern").and_then(Value::as_str);
            if pattern.is_some_and(|it| !PATTERNS[it].is_match(text)) {
                say(format!("`{text}` does not match"));
            }
            let words = schema.get("enum").and_then(Value::as_array);
            if words.is_some_and(|words| words.iter().all(|it| it != text.as_str())) {
                say(format!("`{text}` is not supported"));
            }
        }
        (Some("integer"), Value::Number(given)) => match given.as_i64() {
            Some(given)
                if number("minimum").is_none_or(|least| given >= least)
                    && number("maximum").is_none_or(|most| given <= most) => {}
            _ => say(format!("{given}")),
        },
        (Some("boolean"), Value::Bool(_)) => {}
        (Some(name), given) => say(format!("{given} is no {name}")),
    }
}

fn object(schema: &Value, fields: &mut Map<String, Value>, path: &str, out: &mut Vec<String>) {
    let none = Map::new();
    let known = schema.get("properties").and_then(Value::as_object);
    let known = known.unwrap_or(&none);
    for (name, schema) in known {
        if let Some(default) = schema.get("default") {
            fields
                .entry(name.as_str())
                .or_insert_with(|| default.clone());
        }
    }
    // A null stands for a field that is not there.
    fields.retain(|_, value| !value.is_null());
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            out.push(format!("{path}.{name}: required"));
        }
    }
    for (name, given) in fields {
        let path = format!("{path}.{name}");
        match known
            .get(name)
            .or_else(|| schema.get("additionalProperties"))
        {
            Some(schema) => value(schema, given, &path, out),
            None => out.push(format!("{path}: unknown field")),
        }
    }
}

fn unique(schema: &Value, items: &[Value], path: &str, out: &mut Vec<String>) {
    let keys = match schema["x-kubernetes-list-type"].as_str().unwrap() {
        "atomic" => return,
        "set" => None,
        "map" => schema["x-kubernetes-list-map-keys"].as_array(),
        other => panic!("list type {other}"),
    };
    let key = |item: &Value| match keys {
        None => item.to_string(),
        Some(keys) => {
            let values = keys
                .iter()
                .map(|it| item.get(it.as_str().unwrap()).cloned());
            format!("{:?}", values.collect::<Vec<_>>())
        }
    };
    let seen: BTreeSet<String> = items.iter().map(key).collect();
    if seen.len() < items.len() {
        out.push(format!("{path}: duplicate"));
    }
}

/// The rules of a value and of all within it.
fn rules(schema: &Value, given: &Value, path: &str, out: &mut Vec<String>) {
    let rules = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    for rule in rules.into_iter().flatten() {
        let text = rule["rule"].as_str().unwrap();
        // A rule about a change says nothing of what is new.
        if !text.contains("oldSelf") && !holds(text, given) {
            out.push(format!("{path}: {}", rule["message"].as_str().unwrap()));
        }
    }
    match given {
        Value::Object(fields) => {
            for (name, given) in fields {
                let known = schema.get("properties").and_then(|it| it.get(name));
                if let Some(schema) = known.or_else(|| schema.get("additionalProperties")) {
                    self::rules(schema, given, &format!("{path}.{name}"), out);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                self::rules(&schema["items"], item, &format!("{path}[{index}]"), out);
            }
        }
        _ => {}
    }
}

fn holds(rule: &str, given: &Value) -> bool {
    let mut context = Context::with_env(ENV.clone());
    context.add_variable_from_value("self", cel_value(given));
    match RULES[rule].execute(&context) {
        Ok(CelValue::Bool(holds)) => holds,
        other => panic!("{rule} of {given}: {other:?}"),
    }
}

/// Every pattern and every rule, compiled once.
static PATTERNS: LazyLock<BTreeMap<&str, Regex>> = LazyLock::new(|| {
    let patterns = texts("pattern").into_iter();
    patterns.map(|it| (it, Regex::new(it).unwrap())).collect()
});
static RULES: LazyLock<BTreeMap<&str, Program>> = LazyLock::new(|| {
    let rules = texts("rule").into_iter();
    rules
        .map(|it| (it, Program::compile(it).unwrap()))
        .collect()
});

/// The texts under this word anywhere in the schemas.
fn texts(word: &str) -> Vec<&'static str> {
    let mut texts = Vec::new();
    let mut open: Vec<&Value> = SCHEMAS.values().collect();
    while let Some(value) = open.pop() {
        texts.extend(value.get(word).and_then(Value::as_str));
        match value {
            Value::Object(fields) => open.extend(fields.values()),
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    texts
}

/// CEL with the strings library, as Kubernetes has it.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    cel::extensions::strings(&mut env).unwrap();
    Arc::new(env)
});

/// As an API server gives it to rules: words of CEL among the names are written `__const__`.
fn cel_value(given: &Value) -> CelValue {
    match given {
        Value::Null => CelValue::Null,
        Value::Bool(given) => CelValue::Bool(*given),
        // A fraction can only stand in a field that no rule can read.
        Value::Number(given) => given.as_i64().map_or(CelValue::Null, CelValue::Int),
        Value::String(given) => given.as_str().into(),
        Value::Array(items) => items.iter().map(cel_value).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            let field = |(name, given): (&String, &Value)| {
                let name = match name.as_str() {
                    "const" => "__const__".to_owned(),
                    _ => name.clone(),
                };
                (name, cel_value(given))
            };
            let fields: std::collections::HashMap<_, _> = fields.iter().map(field).collect();
            fields.into()
        }
    }
}

/// What is read here of a schema, or says nothing of what is valid.
const WORDS: [&str; 21] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];
