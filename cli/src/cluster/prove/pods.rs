//! The pods that try the ways out: agents like any other, of the verifier's own image.

use std::time::{Duration, Instant};

use actpass_core::pod::contract::{SIDECAR_UID_ANNOTATION, VERIFY, VERIFY_COMMAND};
use actpass_sidecar::pod::prove::{PROOF_VERSION, Proof};
use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::kubectl::{Kubectl, plain};
use super::super::objects::{List, Meta};
use super::super::onboard::workloads::text;

/// Uid of the agent: of nobody, and of no sidecar.
const AGENT_UID: u32 = 10_001;

/// How long a pod may take, from its making to its end: its images may have to be pulled.
const PATIENCE: Duration = Duration::from_secs(180);

/// Between two looks at it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Name of the agent's container.
const CONTAINER: &str = "agent";

/// What all these pods have in common.
pub(super) struct Agent {
    /// The image of the verifier that is installed.
    pub(super) image: String,
    /// Name of the ServiceAccount.
    pub(super) account: String,
    /// A uid that only sidecars have.
    pub(super) sidecar_uid: u32,
}

#[derive(Deserialize)]
struct Node {
    metadata: Meta,
    #[serde(default)]
    spec: NodeSpec,
}

#[derive(Default, Deserialize)]
struct NodeSpec {
    #[serde(default)]
    unschedulable: bool,
    #[serde(default)]
    taints: Vec<Value>,
}

/// Where pods are made: wherever the scheduler likes, or on each node that takes pods without being asked twice.
pub(super) fn nodes(kubectl: &Kubectl, every: bool) -> anyhow::Result<Vec<Option<String>>> {
    if !every {
        return Ok(vec![None]);
    }
    let nodes: List<Node> = kubectl.get(&["nodes"])?;
    let refuses =
        |taint: &Value| taint.get("effect").and_then(Value::as_str) != Some("PreferNoSchedule");
    let taking = nodes
        .items
        .into_iter()
        .filter(|node| !node.spec.unschedulable && !node.spec.taints.iter().any(refuses));
    let names: Vec<_> = taking.map(|node| Some(node.metadata.name)).collect();
    match names.as_slice() {
        [] => bail!("no node takes pods without a toleration"),
        _ => Ok(names),
    }
}

impl Agent {
    /// As the installation would have it: what it puts into a pod says which images it has.
    pub(super) fn of(kubectl: &Kubectl, account: String) -> anyhow::Result<Self> {
        let unknown = Self {
            image: "actpass.invalid/unknown".to_owned(),
            account,
            sidecar_uid: 0,
        };
        let pod = serde_json::to_vec(&unknown.pod(&[], None))?;
        let args = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let pod = kubectl.run(&args, Some(&pod));
        let pod = pod.context("the API server does not take a pod that would try the ways out")?;
        let pod: Value = serde_json::from_slice(&pod)?;
        let ours = pod
            .pointer("/spec/initContainers")
            .and_then(Value::as_array);
        let mut ours = ours.into_iter().flatten();
        let verifier = ours.find(|it| text(it, "/name") == VERIFY);
        let annotations = pod.pointer("/metadata/annotations");
        let uid = annotations.and_then(|it| it.get(SIDECAR_UID_ANNOTATION)?.as_str()?.parse().ok());
        let (Some(verifier), Some(sidecar_uid)) = (verifier, uid) else {
            bail!(
                "a pod of this namespace would get no sidecar: is it under ActPass? `kubectl actpass onboard` says what it takes"
            );
        };
        Ok(Self {
            image: text(verifier, "/image").to_owned(),
            sidecar_uid,
            ..unknown
        })
    }

    /// A pod that would be taken, with these arguments.
    pub(super) fn pod(&self, args: &[&str], node: Option<&str>) -> Value {
        let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"generateName": "prove-", "labels": {"app.kubernetes.io/name": "actpass-prove"}},
            "spec": {
                "restartPolicy": "Never",
                "activeDeadlineSeconds": PATIENCE.as_secs(),
                "terminationGracePeriodSeconds": 1,
                "serviceAccountName": self.account,
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": CONTAINER, "image": self.image, "imagePullPolicy": "IfNotPresent",
                    "command": [VERIFY_COMMAND], "args": args,
                    "env": [
                        field("POD_NAME", "metadata.name"), field("NODE_NAME", "spec.nodeName"),
                        field("POD_IPS", "status.podIPs"), field("HOST_IPS", "status.hostIPs"),
                    ],
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                    "securityContext": {
                        "runAsUser": AGENT_UID, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                }],
            },
        });
        if let (Some(node), Some(spec)) = (node, pod.get_mut("spec").and_then(Value::as_object_mut))
        {
            let named = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
            let terms = json!({"nodeSelectorTerms": [{"matchFields": named}]});
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": terms});
            spec.insert("affinity".to_owned(), json!({"nodeAffinity": required}));
        }
        pod
    }

    /// Makes a pod that tries the ways out, and gives what it found. `with` goes on the record with it.
    pub(super) fn prove(
        &self,
        kubectl: &Kubectl,
        with: &str,
        node: Option<&str>,
    ) -> anyhow::Result<Proof> {
        let pod = self.pod(&["--prove", with], node);
        let made = kubectl.run(
            &["create", "-o", "json", "-f", "-"],
            Some(&serde_json::to_vec(&pod)?),
        );
        let made: Value = serde_json::from_slice(&made.context("make a pod")?)?;
        let made = Made {
            kubectl,
            name: text(&made, "/metadata/name").to_owned(),
        };
        made.ended()?;
        let said = kubectl.run(&["logs", &made.name, "--container", CONTAINER], None)?;
        let said = String::from_utf8(said).context("what the pod says is not understood")?;
        let proof = said.lines().rev().find(|line| line.starts_with('{'));
        let proof = proof.with_context(|| format!("the pod says: {}", plain(said.trim())))?;
        let proof: Proof =
            serde_json::from_str(proof).context("what the pod says is not understood")?;
        if proof.v != PROOF_VERSION {
            bail!(
                "the installation's verifier is of another version than this program; use the one of the release that is installed"
            );
        }
        Ok(proof)
    }
}

/// A pod that is deleted in the end.
struct Made<'a> {
    kubectl: &'a Kubectl,
    name: String,
}

impl Made<'_> {
    /// Waits until its agent has ended.
    fn ended(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let pod: Value = self.kubectl.get(&["pod", &self.name])?;
            let phase = text(&pod, "/status/phase");
            if matches!(phase, "Succeeded" | "Failed") {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("pod `{}` is still {phase}: {}", self.name, waiting(&pod));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let delete = ["delete", "pod", &self.name, "--wait=false"];
        if let Err(error) = self.kubectl.run(&delete, None) {
            eprintln!("pod `{}` is left over: {error:#}", self.name);
        }
    }
}

/// Why a pod does not go on, as far as it says so.
fn waiting(pod: &Value) -> String {
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let statuses = statuses.iter().filter_map(|at| pod.pointer(at)?.as_array());
    let waiting = statuses.flatten().filter_map(|status| {
        let reason = status.pointer("/state/waiting/reason")?.as_str()?;
        Some(format!("{}: {reason}", text(status, "/name")))
    });
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let conditions = conditions.into_iter().flatten();
    let conditions = conditions.filter(|it| text(it, "/status") == "False");
    let unmet = conditions.map(|it| text(it, "/message").to_owned());
    let all: Vec<String> = waiting.chain(unmet).filter(|it| !it.is_empty()).collect();
    plain(&all.join("; ")).to_owned()
}
