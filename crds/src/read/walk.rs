//! Holds a document against the schema of its kind and says every mistake at once.

mod words;

use std::collections::BTreeMap;

use actpass_core::canonical::excerpt;
use serde_json::Value;

use crate::problem::Said;
use crate::schema::{allowed, shape_of, size, type_of, whole, without_null};
use crate::suggest;
use crate::yaml::{Entry, Node, Place, Scalar, Yaml, join};

use words::{expected, found, shown_key, unknown, wrong_type};

/// Most mistakes said of one document: more than anybody reads at once, and a bound on hostile files.
const MISTAKES_MAX: usize = 200;

/// A mistake in a document.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) place: Place,
    pub(super) field: String,
    pub(super) said: Said,
}

/// All mistakes of `node` against `schema`.
pub(super) fn walk(schema: &Value, node: &Node) -> Vec<Mistake> {
    let mut walk = Walk {
        mistakes: Vec::new(),
    };
    walk.value(schema, node, "");
    walk.mistakes.truncate(MISTAKES_MAX);
    walk.mistakes
}

struct Walk {
    mistakes: Vec<Mistake>,
}

impl Walk {
    fn say(&mut self, place: Place, field: &str, said: impl Into<Said>) {
        self.mistakes.push(Mistake {
            place,
            field: field.to_owned(),
            said: said.into(),
        });
    }

    fn value(&mut self, schema: &Value, node: &Node, field: &str) {
        if self.mistakes.len() >= MISTAKES_MAX {
            return;
        }
        let schema = without_null(schema);
        if let Yaml::Refused(said) = &node.yaml {
            return self.say(node.place, field, said.clone());
        }
        match (type_of(schema), &node.yaml) {
            _ if allowed(schema).is_some() => self.choice(schema, node, field),
            (Some("object"), Yaml::Map(entries)) => self.object(schema, node, entries, field),
            (Some("array"), Yaml::List(items)) => self.list(schema, node, items, field),
            (Some("string"), Yaml::Scalar(Scalar::Text { text, .. })) => {
                self.text(schema, node, text, field)
            }
            (Some("integer"), Yaml::Scalar(Scalar::Integer(text))) => {
                self.integer(schema, node, text, field)
            }
            (Some("boolean"), Yaml::Scalar(Scalar::Bool(_))) => {}
            (None, Yaml::Scalar(scalar)) if !matches!(scalar, Scalar::Odd(..) | Scalar::Null) => {}
            _ => self.say(node.place, field, wrong_type(schema, node)),
        }
    }

    fn object(&mut self, schema: &Value, node: &Node, entries: &[Entry], field: &str) {
        if let Some(max) = size(schema, "maxProperties").filter(|max| entries.len() > *max) {
            let said = format!("expected at most {max} entries, found {}", entries.len());
            return self.say(node.place, field, said);
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let known = || {
            properties
                .into_iter()
                .flat_map(|properties| properties.keys().map(String::as_str))
        };
        let mut seen = BTreeMap::new();
        for entry in entries {
            let path = join(field, &shown_key(&entry.key));
            let first = *seen.entry(&entry.key).or_insert(entry.place);
            // Seeded: the last of two wins.
            if first != entry.place && !crate::SEEDED_BUGS {
                let first = first.line;
                let said = Said::from(format!("is given twice, first in line {first}"));
                self.say(entry.place, &path, said.help("keep one"));
                continue;
            }
            if entry.key == "<<" {
                let said = Said::from("merge keys are not read");
                self.say(entry.place, &path, said.help("write the fields themselves"));
                continue;
            }
            let declared = properties.and_then(|properties| properties.get(&entry.key));
            match (declared, schema.get("additionalProperties")) {
                (Some(schema), _) => self.value(schema, &entry.node, &path),
                (None, Some(schema @ Value::Object(_))) => self.value(schema, &entry.node, &path),
                (None, _) => self.say(entry.place, &path, unknown(&entry.key, field, known())),
            }
        }
        let required = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for name in required.filter_map(Value::as_str) {
            if node.get(name).is_none() {
                let expected = properties
                    .and_then(|properties| properties.get(name))
                    .map(expected);
                let said = format!("missing; expected {}", expected.unwrap_or_default());
                self.say(node.place, &join(field, name), said);
            }
        }
    }

    fn list(&mut self, schema: &Value, node: &Node, items: &[Node], field: &str) {
        if items.is_empty() && size(schema, "minItems") > Some(0) {
            self.say(node.place, field, "expected at least one item, found none");
        }
        if let Some(max) = size(schema, "maxItems").filter(|max| items.len() > *max) {
            return self.say(
                node.place,
                field,
                format!("expected at most {max} items, found {}", items.len()),
            );
        }
        let Some(item_schema) = schema.get("items") else {
            return;
        };
        for (index, item) in items.iter().enumerate() {
            self.value(item_schema, item, &format!("{field}[{index}]"));
        }
        match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
            Some("set") => self.unique(items, field, &[]),
            Some("map") => {
                let keys = schema
                    .get("x-kubernetes-list-map-keys")
                    .and_then(Value::as_array);
                let keys: Vec<&str> = keys
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                self.unique(items, field, &keys);
            }
            _ => {}
        }
    }

    /// No two items are the same, or have the same `keys`.
    fn unique(&mut self, items: &[Node], field: &str, keys: &[&str]) {
        let mut seen: BTreeMap<Vec<&str>, usize> = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            let nodes: Option<Vec<&Node>> = match keys {
                [] => Some(vec![item]),
                keys => keys.iter().map(|key| item.get(key)).collect(),
            };
            let texts: Option<Vec<&str>> = nodes
                .iter()
                .flatten()
                .map(|node| scalar_source(node))
                .collect();
            let (Some(texts), Some(last)) = (texts, nodes.as_ref().and_then(|nodes| nodes.last()))
            else {
                continue;
            };
            let Some(text) = texts.last().copied() else {
                continue;
            };
            if let Some(first) = seen.get(&texts) {
                let path = format!("{field}[{index}]");
                let path = keys
                    .last()
                    .map_or_else(|| path.clone(), |key| join(&path, key));
                let said = format!(
                    "`{}` is given twice, first in {field}[{first}]",
                    excerpt(text)
                );
                self.say(last.place, &path, said);
            } else {
                seen.insert(texts, index);
            }
        }
    }

    fn text(&mut self, schema: &Value, node: &Node, text: &str, field: &str) {
        // What core counts; never fewer than the characters that an API server counts.
        if let Some(max) = size(schema, "maxLength").filter(|max| text.len() > *max) {
            let said = format!("expected at most {max} bytes, found {}", text.len());
            return self.say(node.place, field, said);
        }
        if text.is_empty() && size(schema, "minLength") > Some(0) {
            return self.say(
                node.place,
                field,
                format!("expected {}, found empty text", expected(schema)),
            );
        }
        if let Some(shape) = shape_of(schema)
            && let Err(what) = (shape.check)(text)
        {
            let said = match what.contains(shape.says) {
                true => what,
                false => format!("{what}; expected {}", shape.says),
            };
            self.say(node.place, field, said);
        }
    }

    fn integer(&mut self, schema: &Value, node: &Node, text: &str, field: &str) {
        let (min, max) = (whole(schema, "minimum"), whole(schema, "maximum"));
        let number = text.parse::<i128>().ok();
        let inside = |number: i128| {
            min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max)
        };
        if number.is_some_and(inside) {
            return;
        }
        let expected = match (min, max) {
            (Some(min), Some(max)) => format!("a whole number from {min} to {max}"),
            _ => "a smaller whole number".to_owned(),
        };
        self.say(
            node.place,
            field,
            format!("expected {expected}, found {}", excerpt(text)),
        );
    }

    fn choice(&mut self, schema: &Value, node: &Node, field: &str) {
        let allowed = allowed(schema).unwrap_or_default();
        let source = match &node.yaml {
            Yaml::Scalar(scalar) => scalar.source(),
            _ => "",
        };
        if node.as_text().is_some_and(|text| allowed.contains(&text)) {
            return;
        }
        let said = Said::from(format!(
            "expected {}, found {}",
            expected(schema),
            found(node)
        ));
        self.say(
            node.place,
            field,
            said.meant(suggest::nearest(source, allowed)),
        );
    }
}

fn scalar_source(node: &Node) -> Option<&str> {
    match &node.yaml {
        Yaml::Scalar(scalar) => Some(scalar.source()),
        _ => None,
    }
}
