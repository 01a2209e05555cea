//! YAML with the place of every value. What makes two readers disagree is kept apart, to be refused where it stands:
//! anchors, aliases, tags, merge keys, duplicate keys, and scalars that YAML 1.1 and 1.2 read differently.

mod parse;
mod scalar;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::problem::Said;

pub(crate) use parse::parse;
pub(crate) use scalar::{Odd, Scalar};

/// Longest file, in bytes: a bundle has at most as many.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting; resources use about ten levels.
pub(crate) const DEPTH_MAX: usize = 64;

/// A line and column, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A value and where it stands: a list or mapping below a key stands where its key does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) yaml: Yaml,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Yaml {
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order written; a key that is given twice stands twice.
    Map(Vec<Entry>),
    /// An anchor, alias or tag, with what to say of it.
    Refused(Said),
}

/// One field of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

/// A document that is not YAML. The others of its file are still read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub(crate) place: Place,
    pub(crate) said: Said,
}

impl Node {
    /// The value of a field of a mapping, the first of that name.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.yaml {
            Yaml::Map(entries) => entries
                .iter()
                .find(|entry| entry.key == key)
                .map(|entry| &entry.node),
            _ => None,
        }
    }

    /// The text of a scalar that is text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.yaml {
            Yaml::Scalar(Scalar::Text { text, .. }) => Some(text),
            _ => None,
        }
    }

    /// Whether nothing stands here.
    pub(crate) fn is_null(&self) -> bool {
        self.yaml == Yaml::Scalar(Scalar::Null)
    }

    /// As JSON. Numbers that are no plain integers become their text; the schema refused them before.
    pub(crate) fn to_json(&self) -> Value {
        match &self.yaml {
            Yaml::Scalar(scalar) => scalar.to_json(),
            Yaml::Refused(_) => Value::Null,
            Yaml::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Yaml::Map(entries) => {
                let fields = entries
                    .iter()
                    .map(|entry| (entry.key.clone(), entry.node.to_json()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    /// Where each field stands, by its path as `spec.rules[2].name`.
    pub(crate) fn places(&self) -> BTreeMap<String, Place> {
        let mut places = BTreeMap::new();
        self.collect_places(String::new(), &mut places);
        places
    }

    fn collect_places(&self, path: String, places: &mut BTreeMap<String, Place>) {
        match &self.yaml {
            Yaml::Scalar(_) | Yaml::Refused(_) => {}
            Yaml::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.collect_places(format!("{path}[{index}]"), places);
                }
            }
            Yaml::Map(entries) => {
                for entry in entries {
                    entry.node.collect_places(join(&path, &entry.key), places);
                }
            }
        }
        places.insert(path, self.place);
    }
}

/// The path of a field below `path`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
