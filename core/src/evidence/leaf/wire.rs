//! The JSON of what a leaf is about: `v` and `kind` say how to read `body`.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, SerializeStruct as _, Serializer};
use serde_json::Value;

use super::{EVENT_VERSION, Entry, Event, EventBody};
use crate::canonical::excerpt;
use crate::evidence::record::{AnyBody, RECORD_VERSION};

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Record(record) => record.serialize(serializer),
            Self::Event(event) => event.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let any = AnyBody::deserialize(deserializer)?;
        match any.v.as_ref() {
            RECORD_VERSION => any.into_record().map(Box::new).map(Self::Record),
            EVENT_VERSION => event_of(any).map(Box::new).map(Self::Event),
            other => Err(format!(
                "`{}` is no version of a record or an event",
                excerpt(other)
            )),
        }
        .map_err(D::Error::custom)
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tagged = serde_json::to_value(&self.what).map_err(S::Error::custom)?;
        let mut object = serializer.serialize_struct("Event", 3)?;
        object.serialize_field("body", &tagged.get("body"))?;
        object.serialize_field("kind", &tagged.get("kind"))?;
        object.serialize_field("v", EVENT_VERSION)?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        event_of(AnyBody::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn event_of(any: AnyBody<'_>) -> Result<Event, String> {
    let AnyBody {
        body,
        kind,
        prev,
        seq,
        stream,
        time,
        v,
    } = any;
    if v != EVENT_VERSION {
        return Err(format!(
            "version `{}` where this build reads {EVENT_VERSION}",
            excerpt(&v)
        ));
    }
    if prev.is_some() || seq.is_some() || stream.is_some() || time.is_some() {
        return Err("an event holds only body, kind and v".to_owned());
    }
    let wrong = |cause: serde_json::Error| format!("event of kind `{}`: {cause}", excerpt(&kind));
    let body: Value = serde_json::from_str(body.get()).map_err(wrong)?;
    let tagged = serde_json::json!({ "kind": kind, "body": body });
    let what: EventBody = serde_json::from_value(tagged).map_err(wrong)?;
    Ok(Event { what })
}
