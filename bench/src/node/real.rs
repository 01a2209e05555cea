//! Pods that really run: the same one in a namespace without ActPass and in one with it, by turns.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::api::Cluster;
use crate::sample::Sample;

/// How long an injected pod is left alone before its sidecar's memory is read.
const IDLE: Duration = Duration::from_secs(10);

const PLAIN: &str = "crowd-real-plain";
const INJECTED: &str = "crowd-real-injected";

pub(super) struct Real {
    /// Median time from a pod's creation until its container is ready.
    pub(super) plain: Duration,
    /// The same where it is injected.
    pub(super) injected: Duration,
}

pub(super) async fn started(cluster: &Cluster, image: &str, pods: usize) -> anyhow::Result<Real> {
    for (name, labels) in [
        (PLAIN, json!({})),
        (INJECTED, json!({"actpass.org/mode": "enforce"})),
    ] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        cluster.post("/api/v1/namespaces", &namespace).await?;
    }
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{INJECTED}/networkpolicies");
    cluster
        .until("NetworkPolicies", async || {
            let items = cluster.get(&path).await?;
            let items = items.get("items").and_then(Value::as_array).map(Vec::len);
            Ok(items.unwrap_or_default() > 0)
        })
        .await?;
    let (mut plain, mut injected) = (Sample::default(), Sample::default());
    for index in 0..pods {
        plain.push(start(cluster, PLAIN, index, image).await?);
        injected.push(start(cluster, INJECTED, index, image).await?);
    }
    tokio::time::sleep(IDLE).await;
    let median = |sample: &Sample| {
        let nanos = u64::try_from(sample.percentile(50));
        nanos.map(Duration::from_nanos).context("a median")
    };
    Ok(Real {
        plain: median(&plain)?,
        injected: median(&injected)?,
    })
}

async fn start(
    cluster: &Cluster,
    namespace: &str,
    index: usize,
    image: &str,
) -> anyhow::Result<Duration> {
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    let name = format!("agent-{index}");
    let started = Instant::now();
    cluster.post(&pods, &pod(&name, image)).await?;
    let path = format!("{pods}/{name}");
    let ready = async || {
        let pod = cluster.get(&path).await?;
        let state = pod.pointer("/status/containerStatuses/0/state/running");
        anyhow::Ok(state.is_some())
    };
    let waiting = async {
        while !ready().await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    let waited = tokio::time::timeout(super::PATIENCE, waiting).await;
    waited.with_context(|| format!("pod {namespace}/{name} did not start"))??;
    Ok(started.elapsed())
}

impl Real {
    pub(super) async fn removed(self, cluster: &Cluster) -> anyhow::Result<()> {
        for namespace in [PLAIN, INJECTED] {
            cluster
                .delete(&format!("/api/v1/namespaces/{namespace}"))
                .await?;
        }
        Ok(())
    }
}

fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": image, "imagePullPolicy": "Never", "command": ["sleep", "inf"],
                "securityContext": {"runAsUser": 1000},
            }],
        },
    })
}
