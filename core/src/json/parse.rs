//! The strict parser: RFC 8259 grammar, and none of its freedoms.

use super::{Json, NumberText};

/// Longest number, in bytes. Seventeen digits, sign, point and exponent of a double take 25.
pub const NUMBER_BYTES_MAX: usize = 128;

/// Bounds of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonLimits {
    /// Deepest nesting of arrays and objects.
    pub depth: usize,
    /// Longest string or key, in bytes when unescaped.
    pub string_bytes: usize,
    /// Most values in all, containers included.
    pub items: usize,
}

impl Default for JsonLimits {
    /// 64 levels bound the stack (about 200 bytes each); strings as long as a whole 64 KiB body; 10,000 values
    /// of 72 bytes are 720 KiB of memory.
    fn default() -> Self {
        JsonLimits {
            depth: 64,
            string_bytes: 64 * 1024,
            items: 10_000,
        }
    }
}

/// Where and why a text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {why}")]
pub struct JsonError {
    /// Offset in bytes.
    pub at: usize,
    /// What is wrong there.
    pub why: JsonFault,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Bytes that are not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A byte order mark before the value.
    #[error("byte order mark")]
    ByteOrderMark,
    /// The text ends inside a value.
    #[error("text ends early")]
    EndsEarly,
    /// Something other than the grammar allows.
    #[error("{0} expected")]
    Expected(&'static str),
    /// Text behind the value.
    #[error("more text after the value")]
    Trailing,
    /// A number not in JSON's grammar: `01`, `+1`, `.5`, `1.`, `1e`.
    #[error("not a JSON number")]
    Number,
    /// A number longer than [`NUMBER_BYTES_MAX`].
    #[error("number is longer than {NUMBER_BYTES_MAX} bytes")]
    LongNumber,
    /// A control character that must be escaped.
    #[error("raw control character in a string")]
    Control,
    /// An escape that JSON does not know.
    #[error("unknown escape")]
    Escape,
    /// Half of a surrogate pair, which is no character.
    #[error("lone surrogate")]
    LoneSurrogate,
    /// A string over [`JsonLimits::string_bytes`].
    #[error("string is too long")]
    LongString,
    /// More nesting than [`JsonLimits::depth`].
    #[error("nested too deep")]
    Depth,
    /// More values than [`JsonLimits::items`].
    #[error("too many values")]
    TooMany,
    /// The same key twice in one object, after unescaping.
    #[error("key appears twice in one object")]
    DuplicateKey,
}

/// Reads exactly one JSON value, with white space around it and nothing else.
pub fn parse(bytes: &[u8], limits: &JsonLimits) -> Result<Json, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|cause| JsonError {
        at: cause.valid_up_to(),
        why: JsonFault::NotUtf8,
    })?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError {
            at: 0,
            why: JsonFault::ByteOrderMark,
        });
    }
    let mut parser = Parser {
        text,
        at: 0,
        items: 0,
        limits,
    };
    parser.white_space();
    let value = parser.value(0)?;
    parser.white_space();
    match parser.peek() {
        None => Ok(value),
        Some(_) => parser.fail(JsonFault::Trailing),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// INVARIANT: always on a character boundary, since it only ever moves past ASCII or to it.
    at: usize,
    items: usize,
    limits: &'a JsonLimits,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fail<T>(&self, why: JsonFault) -> Result<T, JsonError> {
        Err(JsonError { at: self.at, why })
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, name: &'static str) -> Result<(), JsonError> {
        match self.peek() {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            Some(_) => self.fail(JsonFault::Expected(name)),
            None => self.fail(JsonFault::EndsEarly),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.items += 1;
        if self.items > self.limits.items {
            return self.fail(JsonFault::TooMany);
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => self.fail(JsonFault::Expected("a value")),
            None => self.fail(JsonFault::EndsEarly),
        }
    }

    fn word(&mut self, word: &'static str, value: Json) -> Result<Json, JsonError> {
        if !self.rest().starts_with(word) {
            return self.fail(JsonFault::Expected("a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn enter(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth >= self.limits.depth {
            return self.fail(JsonFault::Depth);
        }
        self.at += 1;
        self.white_space();
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.enter(depth)?;
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.white_space();
            if self.peek() == Some(b',') {
                self.at += 1;
                self.white_space();
                continue;
            }
            self.expect(b']', "`,` or `]`")?;
            return Ok(Json::Array(items));
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonError> {
        self.enter(depth)?;
        let mut members = Vec::new();
        let mut key_places = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            key_places.push(self.at);
            if self.peek().is_some_and(|byte| byte != b'"') {
                return self.fail(JsonFault::Expected("a key"));
            }
            let key = self.string()?;
            self.white_space();
            self.expect(b':', "`:`")?;
            self.white_space();
            members.push((key, self.value(depth + 1)?));
            self.white_space();
            if self.peek() == Some(b',') {
                self.at += 1;
                self.white_space();
                continue;
            }
            self.expect(b'}', "`,` or `}`")?;
            break;
        }
        // Seeded: below the first level nobody looks.
        match duplicate(&members, &key_places).filter(|_| !crate::SEEDED_BUGS || depth == 0) {
            Some(at) => Err(JsonError {
                at,
                why: JsonFault::DuplicateKey,
            }),
            None => Ok(Json::Object(members)),
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.expect(b'"', "a string")?;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
            let plain = rest.bytes().position(special).unwrap_or(rest.len());
            if text.len() + plain > self.limits.string_bytes {
                return self.fail(JsonFault::LongString);
            }
            text.push_str(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    let char = self.escape()?;
                    text.push(char);
                }
                Some(_) => return self.fail(JsonFault::Control),
                None => return self.fail(JsonFault::EndsEarly),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        self.at += 1;
        let char = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(start),
            Some(_) => {
                return Err(JsonError {
                    at: start,
                    why: JsonFault::Escape,
                });
            }
            None => return self.fail(JsonFault::EndsEarly),
        };
        self.at += 1;
        Ok(char)
    }

    /// Reads from the `u` on. A character beyond U+FFFF takes two escapes, RFC 8259 section 7.
    fn unicode_escape(&mut self, start: usize) -> Result<char, JsonError> {
        let lone = JsonError {
            at: start,
            why: JsonFault::LoneSurrogate,
        };
        let first = self.hex4(start)?;
        let code = match first {
            0xd800..=0xdbff => {
                if !self.rest().starts_with("\\u") {
                    return Err(lone);
                }
                self.at += 1;
                let second = self.hex4(start)?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(lone);
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or(lone)
    }

    /// `u` and four hex digits.
    fn hex4(&mut self, start: usize) -> Result<u32, JsonError> {
        let digits = self
            .text
            .as_bytes()
            .get(self.at + 1..self.at + 5)
            .unwrap_or_default();
        let value = digits.iter().try_fold(0, |sum, digit| {
            Some((sum << 4) | char::from(*digit).to_digit(16)?)
        });
        match value {
            Some(value) if digits.len() == 4 => {
                self.at += 5;
                Ok(value)
            }
            _ => Err(JsonError {
                at: start,
                why: JsonFault::Escape,
            }),
        }
    }

    fn number(&mut self) -> Result<NumberText, JsonError> {
        let rest = self.rest();
        let is_part =
            |byte: u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        let length = rest
            .bytes()
            .position(|byte| !is_part(byte))
            .unwrap_or(rest.len());
        let text = rest.get(..length).unwrap_or_default();
        if !is_number(text) {
            return self.fail(JsonFault::Number);
        }
        if length > NUMBER_BYTES_MAX {
            return self.fail(JsonFault::LongNumber);
        }
        self.at += length;
        Ok(NumberText(text.to_owned()))
    }
}

/// RFC 8259 section 6: `[-] int [frac] [exp]`.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)),
        ),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

/// Where a key stands that has stood before.
fn duplicate(members: &[(String, Json)], places: &[usize]) -> Option<usize> {
    let mut keys: Vec<_> = members
        .iter()
        .map(|(key, _)| key.as_str())
        .zip(places)
        .collect();
    keys.sort_unstable();
    let twice = keys.windows(2).filter_map(|pair| match pair {
        [(a, _), (b, at)] if a == b => Some(**at),
        _ => None,
    });
    twice.min()
}
