//! Percent-encoding, RFC 3986 section 2.1: strict, and decoded exactly once.

/// A `%` without two hex digits behind it, at this offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPercent {
    pub(crate) at: usize,
}

/// What `+` means: itself in paths, a space in forms and queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plus {
    Itself,
    Space,
}

/// The bytes that `raw` encodes.
pub(crate) fn decode(raw: &[u8], plus: Plus) -> Result<Vec<u8>, BadPercent> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            b'%' => {
                let bad = BadPercent {
                    at: raw.len() - behind.len() - 1,
                };
                let ([high, low], behind) = behind.split_first_chunk::<2>().ok_or(bad)?;
                decoded.push(hex_pair(*high, *low).ok_or(bad)?);
                rest = behind;
            }
            b'+' if plus == Plus::Space => decoded.push(b' '),
            other => decoded.push(*other),
        }
    }
    Ok(decoded)
}

/// Writes `text` with everything percent-encoded that may not stand raw in a path segment.
pub(crate) fn encode_segment(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match is_segment_byte(byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// Whether `byte` may stand raw in a path segment: `pchar` of RFC 3986 without `%`.
pub(crate) fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte)
}

/// Whether `text` still holds a `%` with two hex digits behind it.
pub(crate) fn holds_escape(text: &str) -> bool {
    text.as_bytes().windows(3).any(|three| match three {
        [b'%', high, low] => hex_pair(*high, *low).is_some(),
        _ => false,
    })
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    Some((value(high)? << 4) | value(low)?)
}
