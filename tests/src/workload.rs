//! Manifests of workloads of the clerk's, what became of them, and what the log has of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cluster::Namespace;
use crate::shop::Shop;

/// A container that runs a script as a user.
pub fn container(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": "actpass.test/agent-curl:test", "imagePullPolicy": "Never",
        "command": ["sh", "-c", script], "securityContext": {"runAsUser": 1000},
    })
}

/// Waits until it is told to end.
pub const WAITS: &str = "trap exit TERM; sleep inf & wait";

/// A pod of the clerk's that runs a script once.
pub fn spec(script: &str) -> Value {
    json!({
        "serviceAccountName": "clerk", "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "containers": [container("main", script)],
    })
}

/// An object with these fields as well, or instead.
pub fn with<const N: usize>(mut object: Value, fields: [(&str, Value); N]) -> Value {
    if let Some(all) = object.as_object_mut() {
        all.extend(fields.map(|(key, value)| (key.to_owned(), value)));
    }
    object
}

/// A pod of that name.
pub fn pod(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

/// A Job that tries once.
pub fn job(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": spec}},
    })
}

/// A Deployment of one pod.
pub fn deployment(name: &str, spec: &Value) -> Value {
    let labels = json!({"app": name});
    let spec = with(spec.clone(), [("restartPolicy", json!("Always"))]);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
}

/// Pays so many cents; fails where it is denied.
pub fn pays(shop: &Shop<'_>, cents: u32, note: &str) -> String {
    let body = json!({"amount": cents, "note": note});
    posts(shop, "/v1/payments", &body.to_string())
}

/// Asks for what no Upstream declares; fails where it is denied.
pub fn takes_what_is_not_declared(shop: &Shop<'_>) -> String {
    posts(shop, "/v1/everything", "{}")
}

/// Posts a body to a path of the provider's; fails where it is denied.
pub fn posts(shop: &Shop<'_>, path: &str, body: &str) -> String {
    format!(
        "curl -sS --fail-with-body -m 20 -H 'content-type: application/json' -d '{body}' https://{}{path}",
        shop.host
    )
}

/// One object, as the API server has it.
///
/// # Errors
/// Where there is none.
pub fn object(namespace: &Namespace<'_>, what: &[&str]) -> anyhow::Result<Value> {
    let found = namespace.ask(&[&["get"], what, &["--output=json"]].concat())?;
    Ok(serde_json::from_str(&found)?)
}

/// A text at a JSON pointer, empty where there is none.
pub fn text_of<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let said = value.pointer(pointer).and_then(Value::as_str);
    said.unwrap_or_default()
}

/// The one pod that these words select.
///
/// # Errors
/// Where there is not one.
pub fn one_pod(namespace: &Namespace<'_>, selector: &[&str]) -> anyhow::Result<Value> {
    let mut pods = object(namespace, &[&["pods"], selector].concat())?;
    match pods.get_mut("items").map(Value::take) {
        None => Ok(pods),
        Some(Value::Array(mut items)) if items.len() == 1 => Ok(items.remove(0)),
        Some(several) => anyhow::bail!("{selector:?} selects not one: {several}"),
    }
}

/// Exit codes of a pod's containers that ran and ended.
pub fn exit_codes(pod: &Value) -> Vec<(&str, i64)> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let lists = lists.map(|list| pod.pointer(list).and_then(Value::as_array));
    let statuses = lists.into_iter().flatten().flatten();
    let ended = statuses.filter_map(|status| {
        let code = status.pointer("/state/terminated/exitCode")?.as_i64()?;
        Some((text_of(status, "/name"), code))
    });
    ended.collect()
}

/// What the log has of one pod.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Verdicts, with the reasons of refusals.
    pub verdicts: Vec<String>,
    /// Results of what was permitted.
    pub outcomes: Vec<String>,
    /// How its stream ended.
    pub ended: Option<String>,
    /// Streams of the pod.
    pub streams: BTreeSet<String>,
}

/// What these leaves say of a pod.
pub fn recorded(leaves: &[Value], pod: &Value) -> Recorded {
    let uid = text_of(pod, "/metadata/uid");
    let mut found = Recorded::default();
    for leaf in leaves {
        let said = |pointer| text_of(leaf, pointer);
        if said("/r/kind") == "stream_opened" && said("/r/body/pod_uid") == uid {
            found.streams.insert(said("/r/body/stream").to_owned());
        }
    }
    for leaf in leaves {
        let said = |pointer| text_of(leaf, pointer).to_owned();
        let stream = [said("/r/stream"), said("/r/body/stream")];
        if !stream.iter().any(|it| found.streams.contains(it)) {
            continue;
        }
        match said("/r/kind").as_str() {
            "intent" => found.verdicts.push(said("/d/verdict")),
            "decision" => {
                let reason = said("/r/body/reason");
                found.verdicts.push(said("/r/body/verdict") + " " + &reason);
            }
            "outcome" => found.outcomes.push(said("/r/body/result")),
            "stream_ended" => found.ended = Some(said("/r/body/how")),
            _ => {}
        }
    }
    found
}
