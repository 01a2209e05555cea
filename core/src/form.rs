//! Form bodies (`application/x-www-form-urlencoded`), and the patterns that declare which parameters an
//! action may carry.
//!
//! Two readers must not read two things. So a text is refused wherever common form parsers differ: duplicate
//! keys, `;` as a separator, a key without `=`, percent signs that encode nothing.

use std::collections::BTreeSet;

use crate::canonical::excerpt;
use crate::path::percent;

mod pattern;

pub use pattern::{PARAM_BYTES_MAX, ParamPattern, ParamPatternError, form_key_matches};

/// Most pairs of a form: SDKs send nested objects as one pair per leaf, and 1024 leaves of 64 bytes are a
/// 64 KiB body.
pub const FORM_PAIRS_MAX: usize = 1024;

/// Why a form or a query string is refused. Offsets are in bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// `%` without two hex digits behind it.
    #[error("byte {at}: `%` is not followed by two hex digits")]
    BadPercent {
        /// Where the percent sign stands.
        at: usize,
    },
    /// Decoded bytes of a key or value that are not UTF-8.
    #[error("byte {at}: key or value is not UTF-8 when decoded")]
    NotUtf8 {
        /// Where its pair starts.
        at: usize,
    },
    /// A byte that must be percent-encoded here.
    #[error("byte {at}: 0x{byte:02x} must be percent-encoded")]
    RawByte {
        /// Where it stands.
        at: usize,
        /// The byte.
        byte: u8,
    },
    /// Some servers split pairs at `;` and would see other parameters than we do.
    #[error("byte {at}: `;` must be written %3B, since some servers take it for `&`")]
    Semicolon {
        /// Where it stands.
        at: usize,
    },
    /// `&&`, or `&` at an end.
    #[error("byte {at}: empty pair")]
    EmptyPair {
        /// Where the pair should start.
        at: usize,
    },
    /// A pair that starts with `=`.
    #[error("byte {at}: pair without a key")]
    EmptyKey {
        /// Where the pair starts.
        at: usize,
    },
    /// In a form body every pair has its `=`; without one this is hardly a form.
    #[error("byte {at}: no `=` in this pair; is the body really a form?")]
    NoEquals {
        /// Where the pair starts.
        at: usize,
    },
    /// A control character in a key, or NUL in a value, written with percent signs.
    #[error("byte {at}: encoded control character")]
    Control {
        /// Where its pair starts.
        at: usize,
    },
    /// The same key twice: parsers take the first, the last or both. Only keys that end in `[]` may repeat.
    #[error("key `{0}` appears twice")]
    DuplicateKey(String),
    /// More pairs than allowed.
    #[error("more than {max} pairs")]
    TooManyPairs {
        /// Pairs allowed.
        max: usize,
    },
    /// A query string longer than allowed.
    #[error("query string is {found} bytes long, over {max}")]
    TooLong {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        max: usize,
    },
}

/// The decoded pairs of a form body, in its order. An empty body has none.
pub fn parse_form(body: &[u8]) -> Result<Vec<(String, String)>, FormError> {
    pairs(
        body,
        &Rules {
            pairs_max: FORM_PAIRS_MAX,
            bare_keys: false,
            is_raw: |byte| byte >= 0x20 && byte != 0x7f,
        },
    )
}

/// What a form body and a query string differ in.
pub(crate) struct Rules {
    /// Most pairs.
    pub(crate) pairs_max: usize,
    /// Whether `key` without `=` stands for `key=`.
    pub(crate) bare_keys: bool,
    /// Which bytes may stand unencoded, besides `&`, `=`, `+` and `%`; never `;`.
    pub(crate) is_raw: fn(u8) -> bool,
}

/// Splits and decodes `text`.
pub(crate) fn pairs(text: &[u8], rules: &Rules) -> Result<Vec<(String, String)>, FormError> {
    check_raw(text, rules)?;
    let mut found = Vec::new();
    if text.is_empty() {
        return Ok(found);
    }
    let mut at = 0;
    for pair in text.split(|byte| *byte == b'&') {
        if found.len() == rules.pairs_max {
            return Err(FormError::TooManyPairs {
                max: rules.pairs_max,
            });
        }
        found.push(decode_pair(pair, at, rules)?);
        at += pair.len() + 1;
    }
    let mut seen = BTreeSet::new();
    for (key, _) in &found {
        // Seeded: brackets anywhere make a list.
        let repeats = key.ends_with("[]") || (crate::SEEDED_BUGS && key.contains("[]"));
        if !repeats && !seen.insert(key.as_str()) {
            return Err(FormError::DuplicateKey(excerpt(key)));
        }
    }
    Ok(found)
}

fn check_raw(text: &[u8], rules: &Rules) -> Result<(), FormError> {
    match text
        .iter()
        .enumerate()
        .find(|(_, byte)| **byte == b';' || !(rules.is_raw)(**byte))
    {
        None => Ok(()),
        Some((at, b';')) => Err(FormError::Semicolon { at }),
        Some((at, byte)) => Err(FormError::RawByte { at, byte: *byte }),
    }
}

/// Decodes one `key=value`, which starts at byte `at` of the whole.
fn decode_pair(pair: &[u8], at: usize, rules: &Rules) -> Result<(String, String), FormError> {
    if pair.is_empty() {
        return Err(FormError::EmptyPair { at });
    }
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    let raw_key = halves.next().unwrap_or_default();
    let raw_value = match halves.next() {
        Some(value) => value,
        None if rules.bare_keys => &[],
        None => return Err(FormError::NoEquals { at }),
    };
    if raw_key.is_empty() {
        return Err(FormError::EmptyKey { at });
    }
    let key = decode(raw_key, at, at)?;
    let value = decode(raw_value, at + raw_key.len() + 1, at)?;
    if key.chars().any(char::is_control) || value.contains('\0') {
        return Err(FormError::Control { at });
    }
    Ok((key, value))
}

/// `start`: offset of `raw` in the whole; `pair_at`: that of its pair.
fn decode(raw: &[u8], start: usize, pair_at: usize) -> Result<String, FormError> {
    let bytes = percent::decode(raw, percent::Plus::Space)
        .map_err(|percent::BadPercent { at }| FormError::BadPercent { at: start + at })?;
    String::from_utf8(bytes).map_err(|_| FormError::NotUtf8 { at: pair_at })
}

#[cfg(test)]
mod tests;
