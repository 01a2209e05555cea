//! What the walker says: what belongs at a place, what stands there, and what was probably meant.

use actpass_core::canonical::excerpt;
use serde_json::Value;

use crate::problem::{Said, listed};
use crate::schema::{allowed, shape_of, type_of, without_null};
use crate::suggest;
use crate::yaml::{Node, Odd, Scalar, Yaml};

/// What belongs here, to follow the word "expected".
pub(super) fn expected(schema: &Value) -> String {
    let schema = without_null(schema);
    if let Some(allowed) = allowed(schema) {
        let listed = listed(allowed.iter().copied(), "or");
        return if allowed.len() > 1 {
            format!("one of {listed}")
        } else {
            listed
        };
    }
    if let Some(shape) = shape_of(schema) {
        return shape.says.to_owned();
    }
    let names = schema.get("properties").and_then(Value::as_object);
    match type_of(schema) {
        Some("object") => match names {
            Some(names) => format!(
                "a mapping with {}",
                listed(names.keys().take(FIELDS_SHOWN).map(String::as_str), "and")
            ),
            None => "a mapping of names to text".to_owned(),
        },
        Some("array") => match schema.get("items") {
            Some(items) => format!("a list, each item {}", expected(items)),
            None => "a list".to_owned(),
        },
        Some("integer") => "a whole number".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("string") => "text".to_owned(),
        _ => "text, a whole number, `true` or `false`".to_owned(),
    }
}

/// Enough field names to recognise a mapping by.
const FIELDS_SHOWN: usize = 4;

pub(super) fn found(node: &Node) -> String {
    match &node.yaml {
        Yaml::Scalar(scalar) => scalar.found(),
        Yaml::List(_) => "a list".to_owned(),
        Yaml::Map(_) => "a mapping".to_owned(),
        Yaml::Refused(said) => said.message.clone(),
    }
}

pub(super) fn wrong_type(schema: &Value, node: &Node) -> Said {
    let said = Said::from(format!(
        "expected {}, found {}",
        expected(schema),
        found(node)
    ));
    let Yaml::Scalar(scalar) = &node.yaml else {
        return said;
    };
    let source = excerpt(scalar.source());
    match (type_of(schema), scalar) {
        (_, Scalar::Null) => said.help("give it a value, or leave the field out"),
        (Some("string"), _) => said.help(format!("put it in quotes: \"{source}\"")),
        (Some("boolean"), Scalar::Odd(text, Odd::Boolean)) => {
            let truth = ["y", "yes", "on"].iter().any(|word| text.eq_ignore_ascii_case(word));
            said.help(format!("write `{truth}`"))
        }
        (Some("boolean"), Scalar::Text { text, quoted: true }) if matches!(text.as_str(), "true" | "false") => {
            said.help(format!("write it without quotes: {source}"))
        }
        (Some("integer"), Scalar::Text { text, quoted: true }) if text.parse::<i64>().is_ok() => {
            said.help(format!("write it without quotes: {source}"))
        }
        (Some("integer"), Scalar::Odd(_, Odd::Integer)) => {
            said.help("write plain decimal digits; readers disagree on leading zeros, signs, prefixes and `_`")
        }
        (Some("array"), Scalar::Text { .. }) => said.help(format!("write a list: [{source}]")),
        (None, Scalar::Odd(..)) => said.help(format!("put text in quotes: \"{source}\"")),
        _ => said,
    }
}

pub(super) fn unknown<'a>(
    key: &str,
    parent: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Said {
    let said = Said::from("unknown field");
    if let Some(near) = suggest::nearest(key, known.clone()) {
        return said.meant(Some(near));
    }
    match (parent, key) {
        ("", "status") => said.help("ActPass writes the status; leave it out"),
        ("metadata", _) => said.help("of metadata only `name`, `namespace`, `labels` and `annotations` are read; leave it out"),
        _ => said.help(format!("known here: {}", listed(known, "and"))),
    }
}

/// A key as part of a path; one that is no name is shown in quotes.
pub(super) fn shown_key(key: &str) -> String {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/' | b'.');
    if !key.is_empty() && key.len() <= 128 && key.bytes().all(word) {
        key.to_owned()
    } else {
        format!("\"{}\"", excerpt(key))
    }
}
