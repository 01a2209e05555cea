//! Says whether bytes are canonical JSON, in one pass and without building anything.
//!
//! This is the verifier's hot path: every leaf of a log goes through it before it is read.

use super::write::{escape_of, first_special};
use super::{CanonicalError, DEPTH_MAX, INTEGER_MAX, is_key_byte};

/// Checks that `bytes` are exactly one canonical value.
pub(super) fn check(bytes: &[u8]) -> Result<(), CanonicalError> {
    if let Err(cause) = std::str::from_utf8(bytes) {
        return Err(CanonicalError::Text {
            at: cause.valid_up_to(),
            why: "not UTF-8",
        });
    }
    let mut scan = Scan { bytes, at: 0 };
    scan.value(0)?;
    match scan.peek() {
        None => Ok(()),
        Some(_) => scan.wrong("more text after the value"),
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn wrong<T>(&self, why: &'static str) -> Result<T, CanonicalError> {
        Err(CanonicalError::Text { at: self.at, why })
    }

    fn expect(&mut self, byte: u8, why: &'static str) -> Result<(), CanonicalError> {
        if self.peek() != Some(byte) {
            return self.wrong(why);
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<(), CanonicalError> {
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.integer(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b' ' | b'\t' | b'\n' | b'\r') => self.wrong("white space"),
            _ => self.wrong("no value"),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), CanonicalError> {
        match self
            .bytes
            .get(self.at..)
            .is_some_and(|rest| rest.starts_with(word))
        {
            true => {
                self.at += word.len();
                Ok(())
            }
            false => self.wrong("no value"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), CanonicalError> {
        if depth == DEPTH_MAX {
            return Err(CanonicalError::Depth);
        }
        self.at += 1;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut before: Option<&[u8]> = None;
        loop {
            let start = self.at;
            let key = self.key()?;
            // INVARIANT: keys ascend strictly, so none appears twice.
            if before.is_some_and(|before| before >= key) {
                return Err(CanonicalError::Text {
                    at: start,
                    why: "key out of order or repeated",
                });
            }
            before = Some(key);
            self.expect(b':', "`:` expected")?;
            self.value(depth + 1)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.wrong("`,` or `}` expected"),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), CanonicalError> {
        if depth == DEPTH_MAX {
            return Err(CanonicalError::Depth);
        }
        self.at += 1;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.wrong("`,` or `]` expected"),
            }
        }
    }

    fn key(&mut self) -> Result<&'a [u8], CanonicalError> {
        self.expect(b'"', "key expected")?;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| !is_key_byte(*byte))
            .unwrap_or(rest.len());
        self.at += length;
        self.expect(b'"', "key is not plain printable ASCII")?;
        Ok(rest.get(..length).unwrap_or_default())
    }

    fn string(&mut self) -> Result<(), CanonicalError> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += first_special(rest).unwrap_or(rest.len());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return self.wrong("control character in a string"),
                None => return self.wrong("string does not end"),
            }
        }
    }

    /// Only the escapes that RFC 8785 makes, each in its one spelling.
    fn escape(&mut self) -> Result<(), CanonicalError> {
        const WHY: &str = "escape that canonical JSON does not make";
        let text = self.bytes.get(self.at..).unwrap_or_default();
        match text.get(1) {
            Some(b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r') => {
                self.at += 2;
                Ok(())
            }
            // Seeded: an escape that JSON has and the canonical form does not.
            Some(b'/') if crate::SEEDED_BUGS => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let made = (0..0x20).any(|byte| {
                    let escape = escape_of(byte);
                    escape.len() == 6 && text.starts_with(escape.as_bytes())
                });
                if !made {
                    return self.wrong(WHY);
                }
                self.at += 6;
                Ok(())
            }
            _ => self.wrong(WHY),
        }
    }

    fn integer(&mut self) -> Result<(), CanonicalError> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        if negative {
            self.at += 1;
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| !byte.is_ascii_digit())
            .unwrap_or(rest.len());
        let digits = rest.get(..length).unwrap_or_default();
        match digits {
            [] => return self.wrong("no digits"),
            [b'0'] if negative => {
                return Err(CanonicalError::Text {
                    at: start,
                    why: "minus zero",
                });
            }
            [b'0', _, ..] => return self.wrong("leading zero"),
            _ => {}
        }
        self.at += length;
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Err(CanonicalError::Float);
        }
        // 2^53 has 16 digits, so 16 digits cannot overflow an i64 (19 digits).
        let value = match digits.len() {
            0..=16 => digits
                .iter()
                .fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0')),
            _ => i64::MAX,
        };
        match value <= INTEGER_MAX {
            true => Ok(()),
            false => Err(CanonicalError::Text {
                at: start,
                why: "integer beyond 2^53-1",
            }),
        }
    }
}
