//! Patterns over resources: accounts, charges, repositories.

use std::fmt;
use std::str::FromStr;

use crate::canonical::{excerpt, serde_as_text};

/// Longest pattern, in bytes: four times a common resource id of 64.
pub const GLOB_BYTES_MAX: usize = 256;

/// A resource pattern: literal text in which `*` stands for any run of characters, the empty one too. Nothing
/// else is special, case counts, and the whole resource must match. For example `ch_*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(String);

/// Why a text is not a resource pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// An empty pattern would match only an empty resource, which does not exist.
    #[error("resource pattern is empty; `*` matches every resource")]
    Empty,
    /// More than [`GLOB_BYTES_MAX`] bytes.
    #[error("resource pattern `{0}` is longer than {GLOB_BYTES_MAX} bytes")]
    TooLong(String),
    /// A control character, which no resource may hold either.
    #[error("resource pattern `{0}` holds a control character")]
    Control(String),
}

impl Glob {
    /// Whether the whole of `resource` matches. Takes time linear in the two lengths: each literal piece is
    /// taken at its first place, which leaves the most text to the pieces behind it.
    pub fn matches(&self, resource: &str) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(last) = pieces.next_back() else {
            return resource == self.0;
        };
        let Some(middle) = resource
            .strip_prefix(first)
            .and_then(|rest| rest.strip_suffix(last))
        else {
            return false;
        };
        pieces
            .try_fold(middle, |rest, piece| {
                rest.split_once(piece).map(|(_, behind)| behind)
            })
            .is_some()
    }

    /// Whether the pattern names a single resource.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        if text.len() > GLOB_BYTES_MAX {
            return Err(GlobError::TooLong(excerpt(text)));
        }
        if text.chars().any(char::is_control) {
            return Err(GlobError::Control(excerpt(text)));
        }
        Ok(Glob(text.to_owned()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(Glob);
