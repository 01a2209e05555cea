//! The simulated pods and what is declared for them.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use actpass_core::pod::contract::INIT;
use anyhow::Context;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::api::Cluster;
use crate::sample::Sample;

/// The node that the pods are bound to; no kubelet speaks for it.
const NODE: &str = "crowd";

/// Requests under way at once, where their pace is not what is measured.
const AT_ONCE: usize = 16;

/// One of the simulated pods, and its Passport, ServiceAccount and policy of the same name.
#[derive(Clone)]
pub(super) struct Member {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
}

pub(super) struct Crowd {
    members: Vec<Member>,
    namespaces: Vec<String>,
    admissions: Mutex<Sample>,
}

impl Crowd {
    pub(super) fn new(passports: usize, per_namespace: usize, first: Ipv4Addr) -> Self {
        let first = u32::from(first);
        let members: Vec<Member> = (0..passports)
            .map(|index| Member {
                namespace: format!("crowd-{}", index / per_namespace),
                name: format!("agent-{index}"),
                address: u32::try_from(index)
                    .map_or(first, |it| first.wrapping_add(it))
                    .into(),
            })
            .collect();
        let mut namespaces: Vec<String> = members.iter().map(|it| it.namespace.clone()).collect();
        namespaces.dedup();
        Self {
            members,
            namespaces,
            admissions: Mutex::default(),
        }
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn namespaces(&self) -> &[String] {
        &self.namespaces
    }

    /// Writes everything but the pods.
    pub(super) async fn declared(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"unschedulable": true}});
        cluster.post("/api/v1/nodes", &node).await?;
        each(self.namespaces.iter(), |namespace| async move {
            let labels = json!({"actpass.org/mode": "enforce"});
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}});
            cluster.post("/api/v1/namespaces", &body).await?;
            let path = ours(namespace, "upstreams");
            cluster.post(&path, &upstream()).await.map(drop)
        })
        .await?;
        each(self.members.iter(), |member| async move {
            let name = &member.name;
            let accounts = core(&member.namespace, "serviceaccounts");
            let account =
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
            cluster.post(&accounts, &account).await?;
            cluster
                .post(&ours(&member.namespace, "passports"), &passport(name))
                .await?;
            cluster
                .post(&ours(&member.namespace, "actionpolicies"), &policy(name))
                .await
                .map(drop)
        })
        .await
    }

    /// Waits until every Passport is in force and every namespace takes pods.
    pub(super) async fn in_force(&self, cluster: &Cluster) -> anyhow::Result<()> {
        cluster
            .until("all Passports to be in force", async || {
                let list = cluster.get("/apis/actpass.org/v1alpha1/passports").await?;
                let items = list.get("items").and_then(Value::as_array);
                let in_force = items.into_iter().flatten().filter(|it| is_ready(it));
                Ok(in_force.count() >= self.members.len())
            })
            .await?;
        cluster
            .until("all namespaces to have their NetworkPolicies", async || {
                let list = cluster
                    .get("/apis/networking.k8s.io/v1/networkpolicies")
                    .await?;
                let items = list.get("items").and_then(Value::as_array);
                let names = items.into_iter().flatten();
                let names = names.filter_map(|it| it.pointer("/metadata/namespace")?.as_str());
                let mut theirs: Vec<&str> = names.filter(|it| it.starts_with("crowd-")).collect();
                theirs.dedup();
                Ok(theirs.len() >= self.namespaces.len())
            })
            .await
    }

    /// Creates the pods at that pace, then binds them to the node that is not there and says that they run. Returns the
    /// pace that was kept, per second.
    pub(super) async fn admitted(&self, cluster: &Cluster, rate: u32) -> anyhow::Result<u64> {
        let started = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        let mut creating = JoinSet::new();
        let client = cluster.clone();
        for member in &self.members {
            ticks.tick().await;
            let (client, member) = (client.clone(), member.clone());
            creating.spawn(async move {
                let asked = Instant::now();
                let path = core(&member.namespace, "pods");
                client.post(&path, &pod(&member.name)).await?;
                anyhow::Ok(asked.elapsed())
            });
        }
        while let Some(created) = creating.join_next().await {
            let took = created??;
            self.samples().push(took);
        }
        let took = started.elapsed().as_millis().max(1);
        let pace = u128::try_from(self.members.len())? * 1_000 / took;
        each(self.members.iter(), |member| async move {
            let path = format!("{}/{}", core(&member.namespace, "pods"), member.name);
            let binding = json!({
                "apiVersion": "v1", "kind": "Binding", "metadata": {"name": member.name},
                "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
            });
            cluster.post(&format!("{path}/binding"), &binding).await?;
            let ip = member.address.to_string();
            let id = format!("crowd://{}", member.name);
            let loaded = json!({
                "name": INIT, "containerID": id, "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"terminated": {"exitCode": 0}},
            });
            let status = json!({"status": {
                "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "initContainerStatuses": [loaded],
            }});
            cluster
                .patch(&format!("{path}/status"), &status)
                .await
                .map(drop)
        })
        .await?;
        Ok(u64::try_from(pace)?)
    }

    /// How long so many of a hundred creations took at most.
    pub(super) fn latency(&self, percent: usize) -> Duration {
        let nanos = self.samples().percentile(percent);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn samples(&self) -> std::sync::MutexGuard<'_, Sample> {
        self.admissions
            .lock()
            .unwrap_or_else(|lock| lock.into_inner())
    }

    /// The token that the kubelet would have put into the pod.
    pub(super) async fn token(cluster: &Cluster, member: &Member) -> anyhow::Result<String> {
        let path = format!("{}/{}", core(&member.namespace, "pods"), member.name);
        let pod = cluster.get(&path).await?;
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {
                "audiences": ["actpass"], "expirationSeconds": 3600,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": member.name, "uid": pod.pointer("/metadata/uid")},
            },
        });
        let path = format!(
            "{}/{}/token",
            core(&member.namespace, "serviceaccounts"),
            member.name
        );
        let answer = cluster.as_node(NODE, &path, &request).await?;
        let token = answer.pointer("/status/token").and_then(Value::as_str);
        token.map(str::to_owned).context("a token")
    }

    /// Deletes all of it, whether or not it came to be.
    pub(super) async fn removed(&self, cluster: &Cluster) -> anyhow::Result<()> {
        for namespace in &self.namespaces {
            // No kubelet would say that they ended.
            let pods = format!("{}?gracePeriodSeconds=0", core(namespace, "pods"));
            for path in [&pods, &format!("/api/v1/namespaces/{namespace}")] {
                if let Err(error) = cluster.delete(path).await {
                    eprintln!("{error:#}");
                }
            }
        }
        cluster
            .delete(&format!("/api/v1/nodes/{NODE}"))
            .await
            .map(drop)
    }
}

/// Does `work` for each, a few at once.
pub(super) async fn each<T, F: Future<Output = anyhow::Result<()>>>(
    items: impl Iterator<Item = T>,
    work: impl Fn(T) -> F,
) -> anyhow::Result<()> {
    let working = stream::iter(items.map(work)).buffer_unordered(AT_ONCE);
    working.try_collect().await
}

fn core(namespace: &str, resource: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{resource}")
}

/// Path of our resources in a namespace.
pub(super) fn ours(namespace: &str, resource: &str) -> String {
    format!("/apis/actpass.org/v1alpha1/namespaces/{namespace}/{resource}")
}

fn is_ready(passport: &Value) -> bool {
    let conditions = passport.pointer("/status/conditions");
    let mut conditions = conditions.and_then(Value::as_array).into_iter().flatten();
    conditions.any(|it| {
        it.get("type").and_then(Value::as_str) == Some("Ready")
            && it.get("status").and_then(Value::as_str) == Some("True")
    })
}

fn upstream() -> Value {
    json!({
        "apiVersion": "actpass.org/v1alpha1", "kind": "Upstream", "metadata": {"name": "pay"},
        "spec": {
            "hosts": ["pay.example.com"],
            "tls": {"mode": "Intercept"},
            "actions": [
                {
                    "name": "payments.create", "match": {"http": {"method": "POST", "path": "/v1/payments"}}, "effect": "Write",
                    "body": {"format": "JSON", "maxBytes": 4096}, "params": {"allow": ["amount", "note"]},
                    "amount": {"from": "body.amount", "unit": "Minor", "currency": {"const": "USD"}},
                    "meters": [{"name": "payments", "from": "Amount"}],
                },
                {"name": "payments.read", "match": {"http": {"method": "GET", "path": "/v1/payments/{id}"}}, "effect": "Read"},
            ],
        },
    })
}

fn passport(name: &str) -> Value {
    json!({
        "apiVersion": "actpass.org/v1alpha1", "kind": "Passport", "metadata": {"name": name},
        "spec": {
            "agentId": name, "subject": {"serviceAccountName": name}, "owner": "owner@example.com", "purpose": "Pay small bills",
            "scope": [{"capability": "pay.payments.create"}, {"capability": "pay.payments.read"}],
            "limits": [{"meter": "payments", "unit": "USD", "max": "100000.00", "windowSeconds": 86_400}],
        },
    })
}

/// What an agent may: small payments at once, large ones after a yes.
fn policy(name: &str) -> Value {
    json!({
        "apiVersion": "actpass.org/v1alpha1", "kind": "ActionPolicy", "metadata": {"name": name},
        "spec": {
            "targetRefs": [{"kind": "Passport", "name": name}],
            "rules": [
                {"name": "read", "decision": "Allow", "capabilities": ["pay.payments.read"]},
                {
                    "name": "small", "decision": "Allow", "capabilities": ["pay.payments.create"],
                    "amounts": [{"currency": "USD", "lte": "50.00"}],
                },
                {
                    "name": "large", "decision": "RequireApproval", "capabilities": ["pay.payments.create"],
                    "amounts": [{"currency": "USD", "gt": "50.00"}],
                    "approval": {"groups": ["finance"], "expiresAfterSeconds": 1800},
                },
            ],
        },
    })
}

/// An agent's pod that no scheduler takes, and that nothing evicts.
fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "serviceAccountName": name, "schedulerName": "crowd", "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "agent", "image": "registry.example/agent:1", "command": ["agent"], "env": [{"name": "MODE", "value": "work"}],
                "securityContext": {"runAsUser": 1000}, "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
            }],
        },
    })
}
