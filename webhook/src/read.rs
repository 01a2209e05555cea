//! Reading a pod whose shape was checked. `null` is as good as absent, as for Kubernetes.

use serde_json::{Map, Value};

use crate::contract::NAME_PREFIX;
use crate::path::Path;

/// The member of a member, unless it is absent or null on the way.
pub(crate) fn at<'a>(value: &'a Value, keys: &[&str]) -> Option<&'a Value> {
    keys.iter()
        .try_fold(value, |value, key| value.get(key))
        .filter(|value| !value.is_null())
}

pub(crate) fn text<'a>(value: &'a Value, keys: &[&str]) -> Option<&'a str> {
    at(value, keys)?.as_str()
}

/// A text that says something: Kubernetes takes an empty one for absent.
pub(crate) fn some_text<'a>(value: &'a Value, keys: &[&str]) -> Option<&'a str> {
    text(value, keys).filter(|text| !text.is_empty())
}

pub(crate) fn flag(value: &Value, keys: &[&str]) -> Option<bool> {
    at(value, keys)?.as_bool()
}

pub(crate) fn integer(value: &Value, keys: &[&str]) -> Option<i64> {
    at(value, keys)?.as_i64()
}

/// The elements; none where there is no list.
pub(crate) fn list<'a>(value: &'a Value, keys: &[&str]) -> &'a [Value] {
    at(value, keys)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The members that are not null.
pub(crate) fn members<'a>(
    value: &'a Value,
    keys: &[&str],
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    at(value, keys)
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter)
        .filter(|(_, value)| !value.is_null())
}

/// The name of a container, volume, mount or variable; empty where it has none.
pub(crate) fn name(value: &Value) -> &str {
    text(value, &["name"]).unwrap_or_default()
}

/// Whether its name is one of ours.
pub(crate) fn is_ours(value: &Value) -> bool {
    name(value).starts_with(NAME_PREFIX)
}

/// One container and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Container<'a> {
    pub(crate) at: Path,
    pub(crate) value: &'a Value,
}

/// The init containers and the containers, in the order in which they start.
pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = Container<'_>> {
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|key| {
            let list = list(pod, &["spec", key]).iter().enumerate();
            list.map(move |(index, value)| Container {
                at: Path::of(["spec", key]).index(index),
                value,
            })
        })
}

/// The containers of the user: all but those of ours, which are init containers.
pub(crate) fn agents(pod: &Value) -> impl Iterator<Item = Container<'_>> {
    let init = Path::of(["spec", "initContainers"]);
    containers(pod).filter(move |container| {
        let is_init = container.at.split().is_some_and(|(list, _)| list == init);
        !(is_init && is_ours(container.value))
    })
}

/// The handlers of a container that the kubelet runs, and where they stand.
pub(crate) fn handlers<'a>(container: &Container<'a>) -> Vec<Container<'a>> {
    let places: [&[&str]; 5] = [
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let handler = |keys: &&[&str]| {
        at(container.value, keys).map(|value| Container {
            at: keys
                .iter()
                .fold(container.at.clone(), |at, key| at.key(key)),
            value,
        })
    };
    places.iter().filter_map(handler).collect()
}

/// The port at which a probe or hook asks, and its field; a name is looked up among the container's ports.
pub(crate) fn handler_port(container: &Value, handler: &Container<'_>) -> Option<(Path, i64)> {
    let kind = ["httpGet", "tcpSocket", "grpc"]
        .into_iter()
        .find(|kind| at(handler.value, &[kind, "port"]).is_some())?;
    let port = at(handler.value, &[kind, "port"])?;
    let number = match port.as_str() {
        // A number may also come as a text.
        Some(wanted) => match wanted.parse() {
            Ok(number) => number,
            Err(_) => list(container, &["ports"])
                .iter()
                .find(|port| name(port) == wanted)
                .and_then(|port| integer(port, &["containerPort"]))?,
        },
        None => port.as_i64()?,
    };
    Some((handler.at.keys([kind, "port"]), number))
}
