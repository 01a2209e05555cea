//! Places inside a JSON body.

use std::fmt;
use std::str::FromStr;

use crate::canonical::{excerpt, serde_as_text};

/// Longest field path, in bytes: eight levels of 32 bytes.
pub const FIELD_BYTES_MAX: usize = 256;

/// One step from a value to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JsonStep {
    /// Into an object.
    Key(String),
    /// Into an array, from 0.
    Index(usize),
}

impl JsonStep {
    /// Whether this step is the one that `text` names: a key, or an index in decimal.
    pub fn is(&self, text: &str) -> bool {
        match self {
            JsonStep::Key(key) => key == text,
            JsonStep::Index(found) => index(text) == Some(*found),
        }
    }
}

/// Where a declared value stands in a body: names joined by dots, with array indexes from 0 as names (`lines.0.sku`).
/// A name may carry brackets (`metadata[order]`): in JSON one more level, in a form the key as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath {
    text: String,
    steps: Vec<String>,
}

/// Why a text is not a field path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {
    /// Nothing between dots or brackets, or at an end.
    #[error("field `{0}` has an empty name")]
    EmptyName(String),
    /// More than [`FIELD_BYTES_MAX`] bytes.
    #[error("field `{0}` is longer than {FIELD_BYTES_MAX} bytes")]
    TooLong(String),
    /// An unpaired bracket, or text between a bracket and the next dot.
    #[error("field `{0}` has an unpaired bracket")]
    Bracket(String),
    /// `*`, white space or a control character.
    #[error("field `{0}` holds `*`, white space or a control character")]
    Character(String),
}

impl FieldPath {
    /// The names from the outermost value inwards.
    pub fn steps(&self) -> &[String] {
        &self.steps
    }

    /// The path as text, which is also the key it names in a form.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(text: &str) -> Result<Self, FieldPathError> {
        if text.len() > FIELD_BYTES_MAX {
            return Err(FieldPathError::TooLong(excerpt(text)));
        }
        if text
            .chars()
            .any(|char| char == '*' || char.is_control() || char.is_whitespace())
        {
            return Err(FieldPathError::Character(excerpt(text)));
        }
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (name, brackets) = match part.split_once('[') {
                None => (part, Vec::new()),
                Some((name, rest)) => {
                    let inner = rest
                        .strip_suffix(']')
                        .ok_or_else(|| FieldPathError::Bracket(excerpt(text)))?;
                    (name, inner.split("][").collect())
                }
            };
            for step in std::iter::once(name).chain(brackets) {
                if step.contains(['[', ']']) {
                    return Err(FieldPathError::Bracket(excerpt(text)));
                }
                if step.is_empty() {
                    return Err(FieldPathError::EmptyName(excerpt(text)));
                }
                steps.push(step.to_owned());
            }
        }
        Ok(FieldPath {
            text: text.to_owned(),
            steps,
        })
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

serde_as_text!(FieldPath);

/// The index that `text` spells in its one way: `0`, `12`, not `012` or `+1`.
pub(super) fn index(text: &str) -> Option<usize> {
    let index: usize = text.parse().ok()?;
    (index.to_string() == text).then_some(index)
}
