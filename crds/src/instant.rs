//! Instants in resources.

use std::borrow::Cow;

use actpass_core::canonical::instant;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant of a status or of a fact: written in the canonical form, `2026-11-21T09:00:00.123456Z`, read in any of
/// RFC 3339, because a status may be written by other hands than ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub Timestamp);

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&instant(self.0))
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Cow<'de, str> = Deserialize::deserialize(deserializer)?;
        let parsed = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(parsed))
    }
}

impl JsonSchema for Instant {
    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "maxLength": 40 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_kubernetes_writes_them_and_written_canonically() {
        let read: Instant = serde_json::from_str("\"2026-11-21T10:00:00+01:00\"").unwrap();
        let written = serde_json::to_string(&read).unwrap();
        assert_eq!(written, "\"2026-11-21T09:00:00.000000Z\"");
        serde_json::from_str::<Instant>("\"yesterday\"").unwrap_err();
    }
}
