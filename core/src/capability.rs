//! Names of kinds of actions, and the patterns that scopes and rules are written in.

use std::fmt;
use std::str::FromStr;

use crate::canonical::{excerpt, serde_as_text};

mod glob;

pub use glob::{GLOB_BYTES_MAX, Glob, GlobError};

/// Longest capability or pattern, in bytes: an upstream's name (63) and an action's (64), and the dot between.
pub const CAPABILITY_BYTES_MAX: usize = 128;

/// The name of a kind of action, `<upstream>.<action>`: two or more segments of `[a-z0-9_-]`, joined by dots,
/// at most [`CAPABILITY_BYTES_MAX`] bytes. For example `stripe.refunds.create`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(String);

/// A pattern over capabilities: a segment is literal, `*` stands for exactly one segment, and `**`, last only,
/// for one or more. `zendesk.*` matches `zendesk.read` but not `zendesk.tickets.read`; `zendesk.**` matches both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CapabilityPattern(String);

/// Why a text is not a capability or a pattern of capabilities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// More than [`CAPABILITY_BYTES_MAX`] bytes.
    #[error("capability `{0}` is longer than {CAPABILITY_BYTES_MAX} bytes")]
    TooLong(String),
    /// Fewer than two segments.
    #[error("capability `{0}` needs an upstream and an action, as in `stripe.read`")]
    OneSegment(String),
    /// `a..b`, or a dot at an end.
    #[error("capability `{0}` has an empty segment")]
    EmptySegment(String),
    /// Anything but `a-z`, `0-9`, `_`, `-`, and in a pattern `*` and `**` as whole segments.
    #[error("segment `{segment}` of capability `{text}` may hold only a-z, 0-9, _ and -")]
    Character {
        /// The whole text.
        text: String,
        /// The segment refused.
        segment: String,
    },
    /// `**` before the end.
    #[error("`**` may only be the last segment of `{0}`")]
    RestNotLast(String),
}

impl Capability {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first segment: the upstream's name.
    pub fn upstream(&self) -> &str {
        self.0
            .split_once('.')
            .map_or(self.0.as_str(), |(upstream, _)| upstream)
    }

    /// What follows the upstream's name: the action's name.
    pub fn action(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, action)| action)
    }
}

impl CapabilityPattern {
    /// Whether the pattern covers `capability`.
    pub fn matches(&self, capability: &Capability) -> bool {
        let mut names = capability.0.split('.');
        for segment in self.0.split('.') {
            match (segment, names.next()) {
                (_, None) => return false,
                ("**", Some(_)) => return true,
                ("*", Some(_)) => {}
                (literal, Some(name)) if literal == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// Whether the pattern names a single capability.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// The capability that an exact pattern names.
    pub fn as_exact(&self) -> Option<Capability> {
        self.is_exact().then(|| Capability(self.0.clone()))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Capability> for CapabilityPattern {
    fn from(capability: Capability) -> Self {
        CapabilityPattern(capability.0)
    }
}

impl FromStr for Capability {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        check(text, is_name)?;
        if !text.contains('.') {
            return Err(CapabilityError::OneSegment(excerpt(text)));
        }
        Ok(Capability(text.to_owned()))
    }
}

impl FromStr for CapabilityPattern {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        check(text, |segment| {
            is_name(segment) || segment == "*" || segment == "**"
        })?;
        if text.strip_suffix("**").unwrap_or(text).contains("**") {
            return Err(CapabilityError::RestNotLast(excerpt(text)));
        }
        if !text.contains('.') && text != "**" {
            return Err(CapabilityError::OneSegment(excerpt(text)));
        }
        Ok(CapabilityPattern(text.to_owned()))
    }
}

fn check(text: &str, allowed: impl Fn(&str) -> bool) -> Result<(), CapabilityError> {
    if text.len() > CAPABILITY_BYTES_MAX {
        return Err(CapabilityError::TooLong(excerpt(text)));
    }
    for segment in text.split('.') {
        if segment.is_empty() {
            return Err(CapabilityError::EmptySegment(excerpt(text)));
        }
        if !allowed(segment) {
            return Err(CapabilityError::Character {
                text: excerpt(text),
                segment: excerpt(segment),
            });
        }
    }
    Ok(())
}

fn is_name(segment: &str) -> bool {
    segment
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for CapabilityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(Capability, CapabilityPattern);

#[cfg(test)]
mod tests;
