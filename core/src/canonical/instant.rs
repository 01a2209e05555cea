//! Instants as text: RFC 3339 in UTC with exactly six decimals.

use jiff::Timestamp;

use super::excerpt;

/// A text that is not an instant in the canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an instant like `2026-11-21T09:00:00.123456Z`")]
pub struct InstantError(String);

/// `t` as RFC 3339 in UTC with exactly six decimals, for example `2026-11-21T09:00:00.123456Z`.
/// Nanoseconds are cut, not rounded, so the text never lies in the future of `t`.
pub fn instant(t: Timestamp) -> String {
    // jiff drops trailing zeros unless a precision is given, and cuts at the given one.
    format!("{t:.6}")
}

/// The instant whose canonical text this is; any other spelling of it is refused.
pub fn parse_instant(text: &str) -> Result<Timestamp, InstantError> {
    let refused = || InstantError(excerpt(text));
    // Not every reader's calendar has a year 0.
    let shaped = text.len() == SHAPE.len()
        && !text.starts_with("0000")
        && text
            .bytes()
            .zip(SHAPE)
            .all(|(byte, shape)| fits(byte, *shape));
    if !shaped {
        return Err(refused());
    }
    let parsed: Timestamp = text.parse().map_err(|_| refused())?;
    // A leap second parses as the second before it.
    if instant(parsed) == text {
        Ok(parsed)
    } else {
        Err(refused())
    }
}

/// `0` stands for any digit.
const SHAPE: &[u8] = b"0000-00-00T00:00:00.000000Z";

fn fits(byte: u8, shape: u8) -> bool {
    if shape == b'0' {
        byte.is_ascii_digit()
    } else {
        byte == shape
    }
}

/// `#[serde(with = "actpass_core::canonical::serde_instant")]` for a `Timestamp`.
pub mod serde_instant {
    use std::fmt;

    use jiff::Timestamp;
    use serde::de::Visitor;
    use serde::{Deserializer, Serializer};

    /// Writes the canonical text.
    pub fn serialize<S: Serializer>(t: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::instant(*t))
    }

    /// Reads the canonical text only.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        deserializer.deserialize_str(InstantVisitor)
    }

    struct InstantVisitor;

    impl Visitor<'_> for InstantVisitor {
        type Value = Timestamp;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an instant like 2026-11-21T09:00:00.123456Z")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
            super::parse_instant(text).map_err(E::custom)
        }
    }
}

/// As [`serde_instant`], for an `Option<Timestamp>`; pair it with `#[serde(default)]` where the field may be absent.
pub mod serde_instant_opt {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the canonical text, or null.
    pub fn serialize<S: Serializer>(
        t: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match t {
            Some(t) => super::serde_instant::serialize(t, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the canonical text, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        #[derive(Deserialize)]
        struct Instant(#[serde(with = "super::serde_instant")] Timestamp);

        let read: Option<Instant> = Option::deserialize(deserializer)?;
        Ok(read.map(|Instant(t)| t))
    }
}
