//! Writes any `Serialize` value straight into its canonical text.
//!
//! Members are written in the order they come and put in key order when their object ends, by moving bytes:
//! a struct whose fields are already in order, the common case, costs nothing extra.

use std::borrow::Cow;
use std::ops::Range;

use serde::ser::{self, Serialize};

use super::{CanonicalError, DEPTH_MAX, INTEGER_MAX, excerpt, is_key_byte};

/// Collects the text of one value.
pub(super) struct Writer {
    out: String,
    depth: usize,
    /// Of the objects that are open, outermost first: one stack for all, so that an object costs no allocation.
    members: Vec<Member>,
    /// A member of the outermost object, and where its value came to stand.
    sought: &'static str,
    found: Option<Range<usize>>,
}

impl Writer {
    /// `capacity`: bytes of text expected.
    pub(super) fn new(capacity: usize) -> Self {
        Self::looking_for("", capacity)
    }

    /// One that takes note of where the value of this member of the outermost object stands.
    pub(super) fn looking_for(sought: &'static str, capacity: usize) -> Self {
        Writer {
            out: String::with_capacity(capacity),
            depth: 0,
            members: Vec::with_capacity(MEMBERS),
            sought,
            found: None,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.out
    }

    pub(super) fn text(&self) -> &str {
        &self.out
    }

    /// Where the value of the member looked for stands.
    pub(super) fn found(&self) -> Option<Range<usize>> {
        self.found.clone()
    }

    fn open(&mut self, bracket: char) -> Result<(), CanonicalError> {
        if self.depth == DEPTH_MAX {
            return Err(CanonicalError::Depth);
        }
        self.depth += 1;
        self.out.push(bracket);
        Ok(())
    }

    fn close(&mut self, bracket: char) {
        self.depth -= 1;
        self.out.push(bracket);
    }

    fn integer<N: Into<i128>>(&mut self, number: N) -> Result<(), CanonicalError> {
        let number = number.into();
        match i64::try_from(number) {
            Ok(small) if small.unsigned_abs() <= INTEGER_MAX.unsigned_abs() => {
                self.out.push_str(itoa::Buffer::new().format(small));
                Ok(())
            }
            _ => Err(CanonicalError::Integer(number)),
        }
    }

    fn object(&mut self) -> Result<Object<'_>, CanonicalError> {
        self.open('{')?;
        let (start, first) = (self.out.len(), self.members.len());
        Ok(Object {
            writer: self,
            start,
            first,
            variant: false,
        })
    }

    fn array(&mut self) -> Result<Array<'_>, CanonicalError> {
        self.open('[')?;
        Ok(Array {
            writer: self,
            empty: true,
            variant: false,
        })
    }

    /// `"key":`, where the key is a string or an integer, which becomes its decimal text as in serde_json. Gives
    /// the place of the text between the quotes. A key never needs escapes, so keys compare as their texts.
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<Range<usize>, CanonicalError> {
        let start = self.out.len();
        key.serialize(&mut *self)?;
        let written = self.out.get(start..).unwrap_or_default();
        if !written.starts_with('"') {
            if !written
                .bytes()
                .all(|byte| byte == b'-' || byte.is_ascii_digit())
            {
                return Err(CanonicalError::KeyType);
            }
            self.out.insert(start, '"');
            self.out.push('"');
        }
        let inner = start + 1..self.out.len() - 1;
        let text = self.out.get(inner.clone()).unwrap_or_default();
        if !text.bytes().all(is_key_byte) {
            return Err(CanonicalError::Key(excerpt(text)));
        }
        self.out.push(':');
        Ok(inner)
    }

    /// As [`Writer::key`], of a name in our own code.
    fn name(&mut self, name: &'static str) -> Result<Range<usize>, CanonicalError> {
        if !name.bytes().all(is_key_byte) {
            return Err(CanonicalError::Key(excerpt(name)));
        }
        let start = self.out.len() + 1;
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
        Ok(start..start + name.len())
    }

    /// `{"variant":` of an enum with data; the caller writes the value and closes the brace.
    fn variant(&mut self, name: &'static str) -> Result<(), CanonicalError> {
        self.open('{')?;
        self.name(name).map(drop)
    }
}

/// Writes `text` quoted, with the escapes of RFC 8785 section 3.2.2.2.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut rest = text;
    while let Some(at) = first_special(rest.as_bytes()) {
        // The byte found is ASCII, so both cuts fall on character boundaries.
        let Some((plain, tail)) = rest.split_at_checked(at) else {
            break;
        };
        out.push_str(plain);
        out.push_str(&tail.bytes().next().map(escape_of).unwrap_or_default());
        rest = tail.split_at_checked(1).map_or("", |(_, behind)| behind);
    }
    out.push_str(rest);
    out.push('"');
}

/// Where the first byte stands that may not stand raw in a string.
pub(crate) fn first_special(bytes: &[u8]) -> Option<usize> {
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    // Whole blocks are looked at without a branch per byte, which the compiler turns into vector instructions.
    let clean = |block: &&[u8; BLOCK]| {
        !block
            .iter()
            .fold(false, |found, byte| found | special(byte))
    };
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let skipped = blocks.iter().take_while(clean).count() * BLOCK;
    let rest = bytes.get(skipped..).unwrap_or_default();
    rest.iter().position(special).map(|at| skipped + at)
}

/// Bytes looked at in one step.
const BLOCK: usize = 16;

/// First room for members of open objects: a leaf has 12 of its own, its record 7, and the objects in that fewer than 20.
const MEMBERS: usize = 40;

/// The one escape of a byte that may not stand raw in a string.
pub(super) fn escape_of(byte: u8) -> Cow<'static, str> {
    Cow::Borrowed(match byte {
        b'"' => "\\\"",
        b'\\' => "\\\\",
        0x08 => "\\b",
        b'\t' => "\\t",
        b'\n' => "\\n",
        0x0c => "\\f",
        b'\r' => "\\r",
        control => return Cow::Owned(format!("\\u{control:04x}")),
    })
}

impl ser::Error for CanonicalError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        CanonicalError::Type(message.to_string())
    }
}

impl<'a> ser::Serializer for &'a mut Writer {
    type Ok = ();
    type Error = CanonicalError;
    type SerializeSeq = Array<'a>;
    type SerializeTuple = Array<'a>;
    type SerializeTupleStruct = Array<'a>;
    type SerializeTupleVariant = Array<'a>;
    type SerializeMap = Object<'a>;
    type SerializeStruct = Object<'a>;
    type SerializeStructVariant = Object<'a>;

    fn serialize_bool(self, value: bool) -> Result<(), CanonicalError> {
        self.out.push_str(if value { "true" } else { "false" });
        Ok(())
    }
    fn serialize_i8(self, value: i8) -> Result<(), CanonicalError> {
        self.integer(value)
    }
    fn serialize_i16(self, value: i16) -> Result<(), CanonicalError> {
        self.integer(value)
    }
    fn serialize_i32(self, value: i32) -> Result<(), CanonicalError> {
        self.integer(value)
    }
    fn serialize_i64(self, value: i64) -> Result<(), CanonicalError> {
        self.integer(value)
    }
    fn serialize_i128(self, value: i128) -> Result<(), CanonicalError> {
        self.integer(value)
    }
    fn serialize_u8(self, value: u8) -> Result<(), CanonicalError> {
        self.integer(value)
    }
    fn serialize_u16(self, value: u16) -> Result<(), CanonicalError> {
        self.integer(value)
    }
    fn serialize_u32(self, value: u32) -> Result<(), CanonicalError> {
        self.integer(value)
    }
    fn serialize_u64(self, value: u64) -> Result<(), CanonicalError> {
        self.integer(value)
    }
    fn serialize_u128(self, value: u128) -> Result<(), CanonicalError> {
        self.integer(i128::try_from(value).unwrap_or(i128::MAX))
    }
    fn serialize_f32(self, _: f32) -> Result<(), CanonicalError> {
        Err(CanonicalError::Float)
    }
    fn serialize_f64(self, _: f64) -> Result<(), CanonicalError> {
        Err(CanonicalError::Float)
    }
    fn serialize_char(self, value: char) -> Result<(), CanonicalError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }
    fn serialize_str(self, value: &str) -> Result<(), CanonicalError> {
        write_string(&mut self.out, value);
        Ok(())
    }
    fn serialize_bytes(self, value: &[u8]) -> Result<(), CanonicalError> {
        value.serialize(self)
    }
    fn serialize_none(self) -> Result<(), CanonicalError> {
        self.serialize_unit()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CanonicalError> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), CanonicalError> {
        self.out.push_str("null");
        Ok(())
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CanonicalError> {
        self.serialize_unit()
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), CanonicalError> {
        self.serialize_str(variant)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.close('}');
        Ok(())
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Array<'a>, CanonicalError> {
        self.array()
    }
    fn serialize_tuple(self, _: usize) -> Result<Array<'a>, CanonicalError> {
        self.array()
    }
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Array<'a>, CanonicalError> {
        self.array()
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Array<'a>, CanonicalError> {
        self.variant(variant)?;
        Ok(Array {
            variant: true,
            ..self.array()?
        })
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Object<'a>, CanonicalError> {
        self.object()
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Object<'a>, CanonicalError> {
        self.object()
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object<'a>, CanonicalError> {
        self.variant(variant)?;
        Ok(Object {
            variant: true,
            ..self.object()?
        })
    }
}

/// An array being written. `variant`: it is the value inside a one-member object that closes with it.
pub(super) struct Array<'a> {
    writer: &'a mut Writer,
    empty: bool,
    variant: bool,
}

impl Array<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        if !self.empty {
            self.writer.out.push(',');
        }
        self.empty = false;
        value.serialize(&mut *self.writer)
    }

    fn finish(self) -> Result<(), CanonicalError> {
        self.writer.close(']');
        if self.variant {
            self.writer.close('}');
        }
        Ok(())
    }
}

/// An object being written: the members so far stand in `writer.out` from `start`, each with a comma behind it, and are
/// those of `writer.members` from `first`.
pub(super) struct Object<'a> {
    writer: &'a mut Writer,
    start: usize,
    first: usize,
    variant: bool,
}

/// Where one member's text `"key":value,` lies in the output, and in it the key between its quotes.
struct Member {
    key: Range<usize>,
    end: usize,
}

impl Member {
    /// Where its value stands: behind the key's quote and the colon, before the comma.
    fn value(&self) -> Range<usize> {
        self.key.end + 2..self.end - 1
    }

    /// Its text stands from there on now.
    fn move_to(&mut self, start: usize) {
        let (key, length) = (self.key.len(), self.end + 1 - self.key.start);
        self.key = start + 1..start + 1 + key;
        self.end = start + length;
    }
}

impl Object<'_> {
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CanonicalError> {
        let key = self.writer.key(key)?;
        self.writer.members.push(Member { end: key.end, key });
        Ok(())
    }

    fn name(&mut self, name: &'static str) -> Result<(), CanonicalError> {
        let key = self.writer.name(name)?;
        self.writer.members.push(Member { end: key.end, key });
        Ok(())
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        value.serialize(&mut *self.writer)?;
        self.writer.out.push(',');
        // The objects inside have taken theirs away.
        if let Some(member) = self.writer.members.last_mut() {
            member.end = self.writer.out.len();
        }
        Ok(())
    }

    fn finish(self) -> Result<(), CanonicalError> {
        let Writer {
            out,
            depth,
            members: all,
            sought,
            found,
        } = &mut *self.writer;
        let members = all.get_mut(self.first..).unwrap_or_default();
        let text = |place: Range<usize>| out.get(place).unwrap_or_default();
        let key = |member: &Member| text(member.key.clone());
        if !members.is_sorted_by(|a, b| key(a) < key(b)) {
            members.sort_by(|a, b| key(a).cmp(key(b)));
            let twice = members.windows(2).find_map(|pair| match pair {
                [a, b] if key(a) == key(b) => Some(excerpt(key(a))),
                _ => None,
            });
            if let Some(key) = twice {
                return Err(CanonicalError::DuplicateKey(key));
            }
            let texts = members
                .iter()
                .map(|member| text(member.key.start - 1..member.end));
            let sorted: String = texts.collect();
            out.truncate(self.start);
            out.push_str(&sorted);
            let mut start = self.start;
            for member in &mut *members {
                member.move_to(start);
                start = member.end;
            }
        }
        if *depth == 1 && !sought.is_empty() {
            let is_sought = |member: &&Member| out.get(member.key.clone()) == Some(*sought);
            *found = members.iter().find(is_sought).map(Member::value);
        }
        if !members.is_empty() {
            out.pop(); // the comma after the last member
        }
        all.truncate(self.first);
        self.writer.close('}');
        if self.variant {
            self.writer.close('}');
        }
        Ok(())
    }
}

impl ser::SerializeSeq for Array<'_> {
    type Ok = ();
    type Error = CanonicalError;
    fn serialize_element<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
    ) -> Result<(), CanonicalError> {
        self.item(value)
    }
    fn end(self) -> Result<(), CanonicalError> {
        self.finish()
    }
}

impl ser::SerializeTuple for Array<'_> {
    type Ok = ();
    type Error = CanonicalError;
    fn serialize_element<T: Serialize + ?Sized>(
        &mut self,
        value: &T,
    ) -> Result<(), CanonicalError> {
        self.item(value)
    }
    fn end(self) -> Result<(), CanonicalError> {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Array<'_> {
    type Ok = ();
    type Error = CanonicalError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        self.item(value)
    }
    fn end(self) -> Result<(), CanonicalError> {
        self.finish()
    }
}

impl ser::SerializeTupleVariant for Array<'_> {
    type Ok = ();
    type Error = CanonicalError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        self.item(value)
    }
    fn end(self) -> Result<(), CanonicalError> {
        self.finish()
    }
}

impl ser::SerializeMap for Object<'_> {
    type Ok = ();
    type Error = CanonicalError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CanonicalError> {
        self.key(key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        self.value(value)
    }
    fn end(self) -> Result<(), CanonicalError> {
        self.finish()
    }
}

impl ser::SerializeStruct for Object<'_> {
    type Ok = ();
    type Error = CanonicalError;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        self.name(key)?;
        self.value(value)
    }
    fn end(self) -> Result<(), CanonicalError> {
        self.finish()
    }
}

impl ser::SerializeStructVariant for Object<'_> {
    type Ok = ();
    type Error = CanonicalError;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        self.name(key)?;
        self.value(value)
    }
    fn end(self) -> Result<(), CanonicalError> {
        self.finish()
    }
}
