//! Patterns that declare which parameters an action may carry (`params.allow` of an Upstream).

use std::fmt;
use std::str::FromStr;

use crate::canonical::{excerpt, serde_as_text};
use crate::json::JsonStep;

/// Longest pattern, in bytes: a nested key of eight levels of 32 bytes.
pub const PARAM_BYTES_MAX: usize = 256;

/// The name of parameters a body or query may carry. Forms: the decoded key, in which `[*]` stands for exactly
/// one non-empty bracket, so `metadata[*]` covers `metadata[order]` but not `metadata[a][b]`. JSON: the path
/// of a leaf, in which `.` goes one level down and `[*]` stands for any one key or index: `lines[*].sku`.
/// `query.NAME` names a parameter of the query instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamPattern {
    text: String,
    query: bool,
    steps: Vec<Step>,
}

/// One level of a pattern, and how it was joined to the level before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    /// A name behind a dot, or the first.
    Name(String),
    /// `[text]`, also `[]`.
    Bracket(String),
    /// `[*]`.
    Any,
}

/// Why a text is not a pattern of parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamPatternError {
    /// Nothing before the first dot or bracket, or between two dots.
    #[error("parameter `{0}` has an empty name")]
    EmptyName(String),
    /// More than [`PARAM_BYTES_MAX`] bytes.
    #[error("parameter `{0}` is longer than {PARAM_BYTES_MAX} bytes")]
    TooLong(String),
    /// An unpaired bracket, or text between a bracket and the next dot.
    #[error("parameter `{0}` has an unpaired bracket")]
    Bracket(String),
    /// A `*` that is not `[*]`.
    #[error("parameter `{0}`: a wildcard is only possible as `[*]`")]
    Wildcard(String),
    /// White space or a control character.
    #[error("parameter `{0}` holds white space or a control character")]
    Character(String),
}

impl ParamPattern {
    /// Whether the pattern covers this decoded key of a form. A pattern for the query covers none.
    pub fn matches_form_key(&self, key: &str) -> bool {
        !self.query && self.matches_key(key)
    }

    /// Whether the pattern covers this decoded key of the query.
    pub fn matches_query_key(&self, key: &str) -> bool {
        self.query && self.matches_key(key)
    }

    /// Whether the pattern covers the leaf at this place of a JSON body. A pattern for the query covers none.
    pub fn matches_json_path(&self, path: &[JsonStep]) -> bool {
        !self.query
            && self.steps.len() == path.len()
            && self.steps.iter().zip(path).all(|(step, found)| match step {
                Step::Any => true,
                Step::Name(name) | Step::Bracket(name) => found.is(name),
            })
    }

    /// The name behind `query.`, if this is a parameter of the query.
    pub fn is_query(&self) -> Option<&str> {
        self.text.strip_prefix(QUERY_PREFIX).filter(|_| self.query)
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn matches_key(&self, key: &str) -> bool {
        let pattern = self.is_query().unwrap_or(&self.text);
        // In a form's key a dot is a character like any other.
        let Some((name, brackets)) = split_key(pattern) else {
            return false;
        };
        let Some((found_name, found)) = split_key(key) else {
            return false;
        };
        name == found_name
            && brackets.len() == found.len()
            && brackets
                .iter()
                .zip(found)
                .all(|(pattern, found)| match *pattern {
                    "*" => !found.is_empty(),
                    literal => literal == found,
                })
    }
}

/// Whether `allow` covers this decoded key of a form.
pub fn form_key_matches(allow: &ParamPattern, key: &str) -> bool {
    allow.matches_form_key(key)
}

const QUERY_PREFIX: &str = "query.";

/// `a[b][c]` as `a` and `[b, c]`; `None` where the brackets do not pair up to the end.
fn split_key(key: &str) -> Option<(&str, Vec<&str>)> {
    let Some((name, rest)) = key.split_once('[') else {
        return (!key.contains(']')).then_some((key, Vec::new()));
    };
    let brackets: Vec<_> = rest.strip_suffix(']')?.split("][").collect();
    let paired = !name.contains(']') && brackets.iter().all(|inner| !inner.contains(['[', ']']));
    paired.then_some((name, brackets))
}

/// The levels of `name`, `a.b[c].d`; `text` is the whole pattern, for errors.
fn parse_steps(name: &str, text: &str) -> Result<Vec<Step>, ParamPatternError> {
    let mut steps = Vec::new();
    for part in name.split('.') {
        let (name, brackets) =
            split_key(part).ok_or_else(|| ParamPatternError::Bracket(excerpt(text)))?;
        if name.is_empty() {
            return Err(ParamPatternError::EmptyName(excerpt(text)));
        }
        steps.push(Step::Name(name.to_owned()));
        steps.extend(brackets.into_iter().map(|inner| match inner {
            "*" => Step::Any,
            literal => Step::Bracket(literal.to_owned()),
        }));
    }
    let holds_star = |step: &Step| match step {
        Step::Name(text) | Step::Bracket(text) => text.contains('*'),
        Step::Any => false,
    };
    match steps.iter().any(holds_star) {
        true => Err(ParamPatternError::Wildcard(excerpt(text))),
        false => Ok(steps),
    }
}

impl FromStr for ParamPattern {
    type Err = ParamPatternError;

    fn from_str(text: &str) -> Result<Self, ParamPatternError> {
        if text.len() > PARAM_BYTES_MAX {
            return Err(ParamPatternError::TooLong(excerpt(text)));
        }
        if text
            .chars()
            .any(|char| char.is_control() || char.is_whitespace())
        {
            return Err(ParamPatternError::Character(excerpt(text)));
        }
        let (query, name) = match text.strip_prefix(QUERY_PREFIX) {
            Some(name) => (true, name),
            None => (false, text),
        };
        Ok(ParamPattern {
            text: text.to_owned(),
            query,
            steps: parse_steps(name, text)?,
        })
    }
}

impl fmt::Display for ParamPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

serde_as_text!(ParamPattern);
