//! Pods of the clerk's, what became of them, and what the log has of them.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use actpass_tests::cluster::{Cluster, Namespace, eventually, possible};
use actpass_tests::home::text;
use actpass_tests::installed::Installed;
use actpass_tests::shop::Shop;
use anyhow::ensure;
use serde_json::{Value, json};

/// One installation for all of these tests.
pub(crate) fn installed() -> Option<&'static Installed<'static>> {
    static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::up().unwrap());
    static INSTALLED: LazyLock<Installed<'static>> =
        LazyLock::new(|| Installed::on(&CLUSTER).unwrap());
    possible().then(|| &*INSTALLED)
}

/// Longest wait for a pod to start or to end; on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A container that runs a script as a user.
pub(crate) fn container(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": "actpass.test/agent-curl:test", "imagePullPolicy": "Never",
        "command": ["sh", "-c", script], "securityContext": {"runAsUser": 1000},
    })
}

/// Waits until it is told to end.
pub(crate) const WAITS: &str = "trap exit TERM; sleep inf & wait";

/// A pod of the clerk's that runs a script once.
pub(crate) fn spec(script: &str) -> Value {
    json!({
        "serviceAccountName": "clerk", "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "containers": [container("main", script)],
    })
}

pub(crate) fn pod(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

pub(crate) fn job(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": spec}},
    })
}

pub(crate) fn deployment(name: &str, spec: &Value) -> Value {
    let labels = json!({"app": name});
    let mut spec = spec.clone();
    spec["restartPolicy"] = json!("Always");
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
}

/// Pays so many cents; fails where it is denied.
pub(crate) fn pays(shop: &Shop<'_>, cents: u32, note: &str) -> String {
    let body = json!({"amount": cents, "note": note});
    posts(shop, "/v1/payments", &body.to_string())
}

/// Asks for what no Upstream declares; fails where it is denied.
pub(crate) fn takes_what_is_not_declared(shop: &Shop<'_>) -> String {
    posts(shop, "/v1/everything", "{}")
}

pub(crate) fn posts(shop: &Shop<'_>, path: &str, body: &str) -> String {
    format!(
        "curl -sS --fail-with-body -m 20 -H 'content-type: application/json' -d '{body}' https://{}{path}",
        shop.host
    )
}

pub(crate) fn object(namespace: &Namespace<'_>, what: &[&str]) -> anyhow::Result<Value> {
    let found = namespace.ask(&[&["get"], what, &["--output=json"]].concat())?;
    Ok(serde_json::from_str(&found)?)
}

/// A text at a JSON pointer, empty where there is none.
pub(crate) fn text_of<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let said = value.pointer(pointer).and_then(Value::as_str);
    said.unwrap_or_default()
}

/// The one pod that these words select.
pub(crate) fn one_pod(namespace: &Namespace<'_>, selector: &[&str]) -> anyhow::Result<Value> {
    let mut pods = object(namespace, &[&["pods"], selector].concat())?;
    match pods.get_mut("items").map(Value::take) {
        None => Ok(pods),
        Some(Value::Array(mut items)) if items.len() == 1 => Ok(items.remove(0)),
        Some(several) => anyhow::bail!("{selector:?} selects not one: {several}"),
    }
}

/// What is wrong in a namespace, for the message of a failed test.
pub(crate) fn standing(namespace: &Namespace<'_>) -> String {
    let pods = namespace.kubectl(&["describe", "pods"]).unwrap();
    let logs = ["logs", "-c", "actpass-proxy", "--prefix", "--tail=40"];
    let logs = [&logs[..], &["-l", "actpass.org/enforced"]].concat();
    format!(
        "{}\n{}",
        text(&pods),
        text(&namespace.kubectl(&logs).unwrap())
    )
}

pub(crate) fn within<T>(
    namespace: &Namespace<'_>,
    attempt: impl FnMut() -> anyhow::Result<T>,
) -> T {
    eventually(PATIENCE, attempt)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", standing(namespace)))
}

/// A pod as it is at its end: all containers have ended.
pub(crate) fn at_its_end(namespace: &Namespace<'_>, selector: &[&str]) -> Value {
    within(namespace, || {
        let pod = one_pod(namespace, selector)?;
        let phase = text_of(&pod, "/status/phase");
        ensure!(
            ["Succeeded", "Failed"].contains(&phase),
            "{selector:?} is {phase}"
        );
        Ok(pod)
    })
}

/// Exit codes of a pod's containers that ran and ended.
pub(crate) fn exit_codes(pod: &Value) -> Vec<(&str, i64)> {
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
pub(crate) struct Recorded {
    /// Verdicts, with the reasons of refusals.
    pub(crate) verdicts: Vec<String>,
    /// Results of what was permitted.
    pub(crate) outcomes: Vec<String>,
    /// How its stream ended.
    pub(crate) ended: Option<String>,
    /// Streams of the pod.
    pub(crate) streams: BTreeSet<String>,
}

pub(crate) fn recorded(leaves: &[Value], pod: &Value) -> Recorded {
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

/// What the log has of a pod, once the last of it is there: that its stream ended, in order.
pub(crate) fn to_the_last(shop: &Shop<'_>, pod: &Value) -> Recorded {
    within(&shop.namespace, || {
        let leaves = shop.installed.leaves(&shop.namespace)?;
        let found = recorded(&leaves, pod);
        let name = text_of(pod, "/metadata/name");
        ensure!(
            found.ended.as_deref() == Some("closed"),
            "{name}: {found:?}"
        );
        Ok(found)
    })
}

/// A condition of a Passport, as `STATUS REASON MESSAGE`.
pub(crate) fn ready(namespace: &Namespace<'_>, passport: &str) -> anyhow::Result<String> {
    let path = "-o=jsonpath={range .status.conditions[?(@.type==\"Ready\")]}{.status} {.reason} {.message}{end}";
    namespace.ask(&["get", "passport", passport, path])
}

pub(crate) fn becomes(namespace: &Namespace<'_>, passport: &str, want: &str) -> String {
    within(namespace, || {
        let found = ready(namespace, passport)?;
        ensure!(found.starts_with(want), "{passport}: {found}, not {want}");
        Ok(found)
    })
}

/// A namespace whose resources the webhook is not asked about, until this is dropped.
pub(crate) struct Unchecked<'a> {
    cluster: &'a Cluster,
    at: String,
}

impl<'a> Unchecked<'a> {
    const HOOKS: &'static str = "validatingwebhookconfiguration/actpass";

    pub(crate) fn of(namespace: &'a Namespace<'a>) -> Self {
        let cluster = namespace.cluster;
        let names = cluster.ask(&["get", Self::HOOKS, "-o=jsonpath={.webhooks[*].name}"]);
        let names = names.unwrap();
        let index = names
            .split(' ')
            .position(|it| it == "resources.actpass.org");
        let at = format!("/webhooks/{}/namespaceSelector", index.unwrap());
        let others = json!({"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [namespace.name]}]});
        let unchecked = Self { cluster, at };
        unchecked.select(&others).unwrap();
        unchecked
    }

    fn select(&self, namespaces: &Value) -> anyhow::Result<()> {
        let patch = json!([{"op": "replace", "path": self.at, "value": namespaces}]).to_string();
        let patch = ["patch", Self::HOOKS, "--type=json", "--patch", &patch];
        self.cluster.ask(&patch).map(drop)
    }
}

impl Drop for Unchecked<'_> {
    fn drop(&mut self) {
        // As the API server fills it in where the chart says nothing.
        self.select(&json!({})).unwrap();
    }
}
