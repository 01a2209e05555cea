//! The one byte form of everything that is hashed or signed.
//!
//! Canonical JSON here is RFC 8785 narrowed: keys are printable ASCII that needs no escape, sorted by byte;
//! strings carry the escapes of RFC 8785 and otherwise raw UTF-8; there are no floats, and integers stay
//! within ±(2^53 − 1). In this subset every value has exactly one text, in every language.

mod check;
mod instant;
mod write;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use instant::{InstantError, instant, parse_instant, serde_instant, serde_instant_opt};
pub(crate) use write::{first_special, write_string};

/// Largest integer written as a number, 2^53 − 1: beyond it JavaScript and jq round.
pub const INTEGER_MAX: i64 = (1 << 53) - 1;

/// Deepest nesting of arrays and objects. Our records and bundles nest fewer than 16 levels; 64 bounds the
/// stack of the check and of the parser behind it (serde_json stops at 128).
pub const DEPTH_MAX: usize = 64;

/// Why a value has no canonical form, or a text is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A floating-point number; amounts and measures are integers or decimal text.
    #[error("a float has no canonical form; use an integer or decimal text")]
    Float,
    /// An integer that some readers would round.
    #[error("integer {0} is beyond 2^53-1; write it as text")]
    Integer(i128),
    /// A key outside ASCII sorts differently by byte and by UTF-16 unit; one with escapes, by text and by value.
    #[error("object key `{0}` is not plain printable ASCII")]
    Key(String),
    /// A map key that is not a string.
    #[error("object keys must be strings")]
    KeyType,
    /// The same key twice in one object.
    #[error("object key `{0}` appears twice")]
    DuplicateKey(String),
    /// More nesting than [`DEPTH_MAX`].
    #[error("nested deeper than {DEPTH_MAX} levels")]
    Depth,
    /// The type's own `Serialize` or `Deserialize` refused.
    #[error("{0}")]
    Type(String),
    /// Canonical JSON, of which the type reads more than one spelling: an array of its fields, for one.
    #[error("it is not spelled as it is written back")]
    Spelling,
    /// Bytes that are not canonical JSON.
    #[error("byte {at}: {why}")]
    Text {
        /// Offset of the first byte that is wrong.
        at: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The canonical bytes of `value`.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    to_string(value).map(String::into_bytes)
}

/// The canonical text of `value`.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> Result<String, CanonicalError> {
    let mut writer = write::Writer::new(TEXT_BYTES);
    value.serialize(&mut writer)?;
    Ok(writer.into_text())
}

/// Says where `bytes` stop being canonical JSON, without building the value.
pub fn check(bytes: &[u8]) -> Result<(), CanonicalError> {
    check::check(bytes)
}

/// Whether `bytes` are the canonical form of some value.
pub fn is_canonical(bytes: &[u8]) -> bool {
    check(bytes).is_ok()
}

/// Reads a `T` from canonical bytes; refuses any other spelling of the same JSON, and duplicate keys.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CanonicalError> {
    check(bytes)?;
    serde_json::from_slice(bytes).map_err(|cause| CanonicalError::Type(cause.to_string()))
}

/// As [`from_slice`], for what is signed, hashed or kept: the value is also written back as these very bytes. Serde reads
/// more than it writes, an object as the array of its fields, and two spellings would have two hashes.
pub fn from_slice_exact<T: DeserializeOwned + Serialize>(
    bytes: &[u8],
) -> Result<T, CanonicalError> {
    from_slice_exact_with(bytes, "").map(|(value, _)| value)
}

/// As [`from_slice_exact`], of an object: also the text of its member `key`, where it has one.
pub(crate) fn from_slice_exact_with<'a, T: DeserializeOwned + Serialize>(
    bytes: &'a [u8],
    key: &'static str,
) -> Result<(T, Option<&'a [u8]>), CanonicalError> {
    // What is written back as it was read is canonical; only where it is not do we look for the place.
    if let Ok(value) = serde_json::from_slice::<T>(bytes) {
        let mut writer = write::Writer::looking_for(key, bytes.len());
        if value.serialize(&mut writer).is_ok() && writer.text().as_bytes() == bytes {
            let member = writer.found().and_then(|place| bytes.get(place));
            return Ok((value, member));
        }
    }
    from_slice::<T>(bytes)?;
    Err(CanonicalError::Spelling)
}

/// As [`from_slice`], for a value whose shape is not known.
pub fn parse_canonical(bytes: &[u8]) -> Result<serde_json::Value, CanonicalError> {
    from_slice(bytes)
}

/// The start of a foreign text, fit to stand between backticks in an error message: at most
/// [`EXCERPT_CHARS`] characters, anything but printable ASCII escaped.
pub fn excerpt(text: &str) -> String {
    let mut shown = String::new();
    for (index, char) in text.chars().enumerate() {
        if index == EXCERPT_CHARS {
            shown.push_str("...");
            break;
        }
        match char {
            '`' => shown.push('\''),
            ' '..='~' => shown.push(char),
            other => shown.extend(other.escape_default()),
        }
    }
    shown
}

/// Serde for a type whose form is its text: `Display` writes it, `FromStr` reads it. Only what `Display` would write is
/// read, so that evidence has one spelling, also where people may write two (`API.Example.` is `api.example`).
macro_rules! serde_as_text {
    ($($name:ty),* $(,)?) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                let value = text.parse::<Self>().map_err(serde::de::Error::custom)?;
                let written = value.to_string();
                if written != text {
                    return Err(serde::de::Error::custom(format_args!(
                        "`{}` has to be written `{written}`",
                        $crate::canonical::excerpt(&text)
                    )));
                }
                Ok(value)
            }
        }
    )*};
}
pub(crate) use serde_as_text;

/// Bytes a key may consist of: printable ASCII without the two characters JSON escapes.
fn is_key_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// First capacity of a text: most records take 0.5 to 2 KiB, so at most one growth copies them.
const TEXT_BYTES: usize = 1024;

/// Enough to recognise the text by, short enough for one log line.
pub const EXCERPT_CHARS: usize = 48;

#[cfg(test)]
mod tests;
