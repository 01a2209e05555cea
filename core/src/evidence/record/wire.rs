//! The JSON of a record, written without an intermediate tree and read in one pass: this is the hot path of
//! sidecar, ledger and verifier.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, SerializeStruct as _, Serializer};
use serde_json::value::RawValue;

use super::{Body, RECORD_VERSION, Record};
use crate::canonical::excerpt;
use crate::hash::{RecordHash, StreamId};

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Record", 7)?;
        match &self.body {
            Body::Decision(judged) | Body::Intent(judged) => {
                object.serialize_field("body", judged)?
            }
            Body::Outcome(outcome) => object.serialize_field("body", outcome)?,
            Body::Note(note) => object.serialize_field("body", note)?,
        }
        object.serialize_field("kind", self.body.kind())?;
        object.serialize_field("prev", &self.prev)?;
        object.serialize_field("seq", &self.seq)?;
        object.serialize_field("stream", &self.stream)?;
        object.serialize_field("time", &Instant(self.time))?;
        object.serialize_field("v", RECORD_VERSION)?;
        object.end()
    }
}

/// A time as evidence has it.
#[derive(serde::Serialize)]
struct Instant(#[serde(with = "crate::canonical::serde_instant")] Timestamp);

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        AnyBody::deserialize(deserializer)?
            .into_record()
            .map_err(D::Error::custom)
    }
}

/// A record or an event before its kind is known: `body` comes first in canonical order, so it is kept as
/// text until `kind` and `v` have been read. Texts are borrowed, so that reading one costs no allocation.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnyBody<'a> {
    #[serde(borrow)]
    pub(crate) body: &'a RawValue,
    #[serde(borrow)]
    pub(crate) kind: Cow<'a, str>,
    pub(crate) prev: Option<RecordHash>,
    pub(crate) seq: Option<u64>,
    pub(crate) stream: Option<StreamId>,
    #[serde(with = "crate::canonical::serde_instant_opt", default)]
    pub(crate) time: Option<Timestamp>,
    #[serde(borrow)]
    pub(crate) v: Cow<'a, str>,
}

impl AnyBody<'_> {
    pub(crate) fn into_record(self) -> Result<Record, String> {
        if self.v != RECORD_VERSION {
            return Err(format!(
                "version `{}` where this build reads {RECORD_VERSION}",
                excerpt(&self.v)
            ));
        }
        let (Some(prev), Some(seq), Some(stream), Some(time)) =
            (self.prev, self.seq, self.stream, self.time)
        else {
            return Err("a record needs prev, seq, stream and time".to_owned());
        };
        let text = self.body.get();
        let body = match self.kind.as_ref() {
            "decision" => serde_json::from_str(text).map(Body::Decision),
            "intent" => serde_json::from_str(text).map(Body::Intent),
            "outcome" => serde_json::from_str(text).map(Body::Outcome),
            "note" => serde_json::from_str(text).map(Body::Note),
            other => return Err(format!("`{}` is no kind of record", excerpt(other))),
        };
        let body =
            body.map_err(|cause| format!("body of a record of kind `{}`: {cause}", self.kind))?;
        Ok(Record {
            stream,
            seq,
            prev,
            time,
            body,
        })
    }
}
