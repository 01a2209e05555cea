//! Salted commitments: what a leaf says of a text that is kept beside it and can be erased.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::hash::{Commitment, b64u_decode_array, b64u_encode, sha256};

/// A text and the random salt that hides it in its commitment. On the wire `{"salt":<base64url>,"text":…}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// 32 random bytes, used for this text only: without them the text cannot be guessed from its commitment.
    pub salt: [u8; 32],
    /// The text committed to.
    pub text: String,
}

/// The openings that travel with one record, by the name of the field they open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Openings(pub BTreeMap<String, Opening>);

/// The commitment to an opening: SHA-256(salt ‖ text). The salt has a fixed length, so the two do not run together.
pub fn commit(opening: &Opening) -> Commitment {
    Commitment::from_bytes(sha256(&[&opening.salt, opening.text.as_bytes()]))
}

impl Openings {
    /// The opening of this field.
    pub fn get(&self, field: &str) -> Option<&Opening> {
        self.0.get(field)
    }

    /// Adds the opening of a field, and gives its commitment.
    pub fn insert(&mut self, field: impl Into<String>, opening: Opening) -> Commitment {
        let commitment = commit(&opening);
        self.0.insert(field.into(), opening);
        commitment
    }

    /// Whether no field is opened.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields and their openings, in order of the fields' names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Opening)> {
        self.0
            .iter()
            .map(|(field, opening)| (field.as_str(), opening))
    }
}

/// Hides both parts: the text is personal data, and the salt guards it.
impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opening([redacted])")
    }
}

impl Serialize for Opening {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Opening", 2)?;
        object.serialize_field("salt", &b64u_encode(&self.salt))?;
        object.serialize_field("text", &self.text)?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Opening {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            salt: String,
            text: String,
        }

        let Wire { salt, text } = Wire::deserialize(deserializer)?;
        let salt = b64u_decode_array(&salt).map_err(D::Error::custom)?;
        Ok(Opening { salt, text })
    }
}

impl<'de> Deserialize<'de> for Openings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OpeningsVisitor)
    }
}

/// Refuses a field opened twice, where a plain map would keep the last.
struct OpeningsVisitor;

impl<'de> Visitor<'de> for OpeningsVisitor {
    type Value = Openings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("openings by field")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Openings, A::Error> {
        let mut openings = BTreeMap::new();
        while let Some((field, opening)) = map.next_entry::<String, Opening>()? {
            if openings.insert(field, opening).is_some() {
                return Err(A::Error::custom("a field is opened twice"));
            }
        }
        Ok(Openings(openings))
    }
}

#[cfg(test)]
mod tests;
