//! Names of hosts, in the one spelling in which they are compared.

use std::fmt;
use std::str::FromStr;

use crate::canonical::{excerpt, serde_as_text};

/// Longest host name without its trailing dot, in bytes (RFC 1035: 255 octets on the wire).
pub const HOST_BYTES_MAX: usize = 253;

/// Longest label, in bytes (RFC 1035 section 2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;

/// A DNS name: lower case, no trailing dot, labels of letters, digits and inner hyphens. Names in other
/// scripts come punycoded (`xn--…`); IP addresses are no names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

/// The names an Upstream covers: one exact name, or `*.` before a name, which stands for exactly one label, as
/// in TLS certificates (RFC 9525 section 6.3): `*.example.com` matches `api.example.com`, but neither
/// `example.com` nor `a.b.example.com`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern {
    wildcard: bool,
    /// The exact name, or the name behind `*.`.
    name: HostName,
}

/// Why a text is not a host name or a pattern of host names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing, or only a dot.
    #[error("host name is empty")]
    Empty,
    /// More than [`HOST_BYTES_MAX`] bytes.
    #[error("host name `{0}` is longer than {HOST_BYTES_MAX} bytes")]
    TooLong(String),
    /// An IPv4 or IPv6 address, in any of the spellings that resolvers take for one.
    #[error("`{0}` is an IP address; name the host")]
    IpAddress(String),
    /// Letters outside ASCII.
    #[error("host name `{0}` is not ASCII; write it in punycode (xn--...)")]
    NotAscii(String),
    /// Two dots in a row, a leading dot, or two trailing ones.
    #[error("host name `{0}` has an empty label")]
    EmptyLabel(String),
    /// A label over [`LABEL_BYTES_MAX`] bytes.
    #[error("host name `{0}` has a label longer than {LABEL_BYTES_MAX} bytes")]
    LabelTooLong(String),
    /// A character other than letters, digits and hyphens, or a hyphen at an end of a label.
    #[error(
        "label `{label}` of host name `{text}` may hold only letters, digits and inner hyphens"
    )]
    Label {
        /// The whole text.
        text: String,
        /// The label refused.
        label: String,
    },
    /// A `*` anywhere but as the whole first label of a pattern.
    #[error("`{0}`: a wildcard is only possible as the whole first label, as in `*.example.com`")]
    Wildcard(String),
}

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HostPattern {
    /// Whether the pattern covers `name`.
    pub fn matches(&self, name: &HostName) -> bool {
        match self.wildcard {
            false => self.name == *name,
            true => name
                .0
                .split_once('.')
                .is_some_and(|(_, parent)| parent == self.name.0),
        }
    }

    /// Whether some name is covered by both patterns.
    pub fn overlaps(&self, other: &HostPattern) -> bool {
        match (self.wildcard, other.wildcard) {
            (true, true) => self.name == other.name,
            (_, false) => self.matches(&other.name),
            (false, true) => other.matches(&self.name),
        }
    }

    /// Whether the pattern covers more than one name.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The one name of an exact pattern.
    pub fn as_exact(&self) -> Option<&HostName> {
        (!self.wildcard).then_some(&self.name)
    }

    /// The exact name, or the name behind `*.`.
    pub fn base(&self) -> &HostName {
        &self.name
    }
}

impl From<HostName> for HostPattern {
    fn from(name: HostName) -> Self {
        HostPattern {
            wildcard: false,
            name,
        }
    }
}

impl FromStr for HostName {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let shown = || excerpt(text);
        if text.starts_with('[') || text.contains(':') {
            return Err(HostError::IpAddress(shown()));
        }
        if !text.is_ascii() {
            return Err(HostError::NotAscii(shown()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        // Seeded: a second trailing dot is dropped as well.
        let name = match name.strip_suffix('.').filter(|_| crate::SEEDED_BUGS) {
            Some(bare) => bare.to_owned(),
            None => name,
        };
        if name.is_empty() {
            return Err(HostError::Empty);
        }
        if name.len() > HOST_BYTES_MAX {
            return Err(HostError::TooLong(shown()));
        }
        if name.contains('*') {
            return Err(HostError::Wildcard(shown()));
        }
        for label in name.split('.') {
            check_label(label, text)?;
        }
        // WHATWG URL section 3.5: a last label that is a number makes the whole an IPv4 address (`127.1`, `0x7f.1`).
        if name.split('.').next_back().is_some_and(is_number) {
            return Err(HostError::IpAddress(shown()));
        }
        Ok(HostName(name))
    }
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let name: HostName = name.parse()?;
        // The label that `*` stands for and its dot: at least 2 bytes more.
        if wildcard && name.0.len() + 2 > HOST_BYTES_MAX {
            return Err(HostError::TooLong(excerpt(text)));
        }
        Ok(HostPattern { wildcard, name })
    }
}

fn check_label(label: &str, text: &str) -> Result<(), HostError> {
    if label.is_empty() {
        return Err(HostError::EmptyLabel(excerpt(text)));
    }
    if label.len() > LABEL_BYTES_MAX {
        return Err(HostError::LabelTooLong(excerpt(text)));
    }
    let inner = label
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !inner || label.starts_with('-') || label.ends_with('-') {
        return Err(HostError::Label {
            text: excerpt(text),
            label: excerpt(label),
        });
    }
    Ok(())
}

/// Decimal, or hexadecimal as `0x…`.
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.wildcard { "*." } else { "" };
        f.pad(&format!("{star}{}", self.name))
    }
}

serde_as_text!(HostName, HostPattern);

#[cfg(test)]
mod tests;
