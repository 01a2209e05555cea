//! Query strings.

use crate::form::{FormError, Rules, pairs};

/// Longest query string, in bytes: as long as the path may be.
pub const QUERY_BYTES_MAX: usize = 8 * 1024;

/// Most pairs of a query: 8 KiB at 32 bytes each.
pub const QUERY_PAIRS_MAX: usize = 256;

/// The decoded pairs of a query string (without `?`), sorted by key, then value. `+` is a space, `key` alone
/// is `key=`, and only keys that end in `[]` may repeat.
pub fn parse_query(raw: &str) -> Result<Vec<(String, String)>, FormError> {
    if raw.len() > QUERY_BYTES_MAX {
        return Err(FormError::TooLong {
            found: raw.len(),
            max: QUERY_BYTES_MAX,
        });
    }
    let rules = Rules {
        pairs_max: QUERY_PAIRS_MAX,
        bare_keys: true,
        is_raw: is_query_byte,
    };
    let mut found = pairs(raw.as_bytes(), &rules)?;
    found.sort();
    Ok(found)
}

/// Printable ASCII that HTTP clients leave raw: RFC 3986 `query`, and the brackets and bars that SDKs do not
/// encode although they should. Not `#`, which would start a fragment.
fn is_query_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"#<>\\^`".contains(&byte)
}
