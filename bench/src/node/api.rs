//! The API server, asked for plain JSON by path.

use std::time::Duration;

use actpass_kubernetes::Client;
use anyhow::{Context, bail};
use http::{Method, Request};
use serde_json::{Value, json};

use super::PATIENCE;

/// The cluster that is measured.
#[derive(Clone)]
pub(super) struct Cluster {
    client: Client,
    install: String,
}

/// Media type of a merge patch (RFC 7396).
const MERGE_PATCH: &str = "application/merge-patch+json";

impl Cluster {
    /// The one of the kubeconfig.
    pub(super) async fn new(install: &str) -> anyhow::Result<Self> {
        let client = actpass_kubernetes::client().await;
        let client = client.context("the cluster: set KUBECONFIG")?;
        Ok(Self {
            client,
            install: install.to_owned(),
        })
    }

    /// The namespace of the installation.
    pub(super) fn install(&self) -> &str {
        &self.install
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.asked(Method::GET, path, "application/json", &Value::Null)
            .await
    }

    pub(super) async fn text(&self, path: &str) -> anyhow::Result<String> {
        let request = Request::get(path).body(Vec::new())?;
        let answer = self.client.request_text(request).await;
        answer.with_context(|| format!("GET {path}"))
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.asked(Method::POST, path, "application/json", body)
            .await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.asked(Method::PATCH, path, MERGE_PATCH, body).await
    }

    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.asked(Method::DELETE, path, "application/json", &Value::Null)
            .await
    }

    /// What only a node may ask for, as the simulated node.
    pub(super) async fn as_node(
        &self,
        node: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("impersonate-user", format!("system:node:{node}"))
            .header("impersonate-group", "system:nodes")
            .body(serde_json::to_vec(body)?)?;
        let answer = self.client.request(request).await;
        answer.with_context(|| format!("POST {path} as node `{node}`"))
    }

    async fn asked(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let what = format!("{method} {path}");
        let bytes = match body {
            Value::Null => Vec::new(),
            body => serde_json::to_vec(body)?,
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media)
            .body(bytes)?;
        self.client.request(request).await.context(what)
    }

    /// Runs so many replicas of the controller, and waits until none is left, or all are ready.
    pub(super) async fn controllers(&self, replicas: u64) -> anyhow::Result<()> {
        let path = format!(
            "/apis/apps/v1/namespaces/{}/deployments/actpass-controller",
            self.install
        );
        self.patch(&path, &json!({"spec": {"replicas": replicas}}))
            .await?;
        if replicas > 0 {
            return Ok(());
        }
        self.until("the controller's pods to end", async || {
            Ok(self.pods("controller").await?.is_empty())
        })
        .await
    }

    /// Addresses of the ready pods of a part of ActPass.
    pub(super) async fn pods(&self, part: &str) -> anyhow::Result<Vec<(String, String)>> {
        let path = format!(
            "/api/v1/namespaces/{}/pods?labelSelector=app.kubernetes.io/component%3D{part}",
            self.install
        );
        let list = self.get(&path).await?;
        let items = list.get("items").and_then(Value::as_array);
        let text = |pod: &Value, pointer| pod.pointer(pointer)?.as_str().map(str::to_owned);
        let pods = items.into_iter().flatten().map(|pod| {
            let ip = text(pod, "/status/podIP").unwrap_or_default();
            (text(pod, "/metadata/name").unwrap_or_default(), ip)
        });
        Ok(pods.collect())
    }

    /// Waits for something.
    pub(super) async fn until(
        &self,
        what: &str,
        is: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let waiting = async {
            while !is().await? {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(ended) => ended,
            Err(_) => bail!("waited {} s for {what}", PATIENCE.as_secs()),
        }
    }
}
