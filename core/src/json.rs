//! Strict JSON for foreign bodies: what policy judges must be what the upstream will read.
//!
//! Parsers differ on duplicate keys, big numbers and lone surrogates (RFC 8259 sections 4, 6 and 8.2). Here
//! duplicates and lone surrogates are refused, and a number keeps its text.

use std::collections::BTreeMap;

use crate::canonical::write_string;

mod field;
mod parse;

pub use field::{FIELD_BYTES_MAX, FieldPath, FieldPathError, JsonStep};
pub use parse::{JsonError, JsonFault, JsonLimits, NUMBER_BYTES_MAX, parse};

/// A JSON value. Members keep their order; no object holds a key twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(NumberText),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object's members in the order written.
    Object(Vec<(String, Json)>),
}

/// The text of a JSON number, exactly as it was written: `1`, `1.0` and `1e0` stay three different texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NumberText(String);

impl NumberText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number, if it is written as an integer and fits. `1.0`, `1e2` and `-0` are not exact: readers differ on them.
    pub fn to_i64_exact(&self) -> Option<i64> {
        let number: i64 = self.0.parse().ok()?;
        (number.to_string() == self.0).then_some(number)
    }
}

impl Json {
    /// The value at `path`, if every step of it exists.
    pub fn get(&self, path: &FieldPath) -> Option<&Json> {
        path.steps()
            .iter()
            .try_fold(self, |value, step| value.child(step))
    }

    /// A member by key, or an item by decimal index.
    fn child(&self, step: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members
                .iter()
                .find(|(key, _)| key == step)
                .map(|(_, value)| value),
            Json::Array(items) => items.get(field::index(step)?),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    /// The form that enters digests: keys sorted by byte, escapes as RFC 8785, numbers as they were written.
    /// Two bodies share it exactly if they differ in white space, order of members or escapes only.
    pub fn canonical_digest_form(&self) -> Vec<u8> {
        let mut text = String::new();
        self.write_sorted(&mut text);
        text.into_bytes()
    }

    fn write_sorted(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(true) => out.push_str("true"),
            Json::Bool(false) => out.push_str("false"),
            Json::Number(number) => out.push_str(&number.0),
            Json::String(text) => write_string(out, text),
            Json::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_sorted(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                let sorted: BTreeMap<_, _> =
                    members.iter().map(|(key, value)| (key, value)).collect();
                out.push('{');
                for (index, (key, value)) in sorted.into_iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(out, key);
                    out.push(':');
                    value.write_sorted(out);
                }
                out.push('}');
            }
        }
    }

    /// Every leaf with its place, in order. An empty object or array is a leaf, since it too is something sent.
    pub fn leaves(&self) -> Vec<(Vec<JsonStep>, &Json)> {
        let mut found = Vec::new();
        self.collect_leaves(&mut Vec::new(), &mut found);
        found
    }

    fn collect_leaves<'a>(
        &'a self,
        place: &mut Vec<JsonStep>,
        found: &mut Vec<(Vec<JsonStep>, &'a Json)>,
    ) {
        match self {
            Json::Array(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    place.push(JsonStep::Index(index));
                    item.collect_leaves(place, found);
                    place.pop();
                }
            }
            Json::Object(members) if !members.is_empty() => {
                for (key, value) in members {
                    place.push(JsonStep::Key(key.clone()));
                    value.collect_leaves(place, found);
                    place.pop();
                }
            }
            leaf => found.push((place.clone(), leaf)),
        }
    }
}

#[cfg(test)]
mod tests;
