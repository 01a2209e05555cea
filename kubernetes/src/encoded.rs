//! Texts as parts of a path or a query.

/// Percent-encoded (RFC 3986 section 2.1), so that it stays one segment of a path or one value of a query.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    // A segment of dots alone would be taken for a way up.
    match text {
        "." | ".." => text.replace('.', "%2E"),
        _ => encoded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_one_part() {
        for (given, want) in [
            ("a-7f", "a-7f"),
            ("../x", "..%2Fx"),
            ("..", "%2E%2E"),
            ("a?b&c", "a%3Fb%26c"),
            ("ä", "%C3%A4"),
            (
                "c-1/shop/u_1.~ %&=+é",
                "c-1%2Fshop%2Fu_1.~%20%25%26%3D%2B%C3%A9",
            ),
        ] {
            assert_eq!(encoded(given), want);
        }
    }
}
