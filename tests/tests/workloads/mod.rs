//! Pods of the clerk's and Passports, until they are as they should be.

use std::time::Duration;

use actpass_tests::cluster::{Cluster, Namespace, eventually};
use actpass_tests::home::text;
use actpass_tests::shop::Shop;
use actpass_tests::workload::*;
use anyhow::ensure;
use serde_json::{Value, json};

/// Longest wait for a pod to start or to end; on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

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
