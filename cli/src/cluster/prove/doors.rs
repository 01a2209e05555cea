//! What whoever may make pods in the namespace could ask of the API server: dry runs, each of which has to be refused by ActPass.

use actpass_sidecar::pod::prove::{Tried, Verdict};
use anyhow::bail;
use serde_json::{Value, json};

use super::super::kubectl::Kubectl;
use super::super::objects::List;
use super::super::onboard::workloads::is_injected;
use super::pods::Agent;

/// Characters kept of a refusal.
const SAID_CHARACTERS: usize = 300;

/// A change of a pod that would be taken.
type Door = (u8, &'static str, &'static str, fn(&Agent) -> Value);

/// Row, what it is, where, and what is put there.
const DOORS: [Door; 11] = [
    (
        13,
        "the uid of a sidecar",
        "/spec/containers/0/securityContext/runAsUser",
        |agent| json!(agent.sidecar_uid),
    ),
    (
        13,
        "root",
        "/spec/containers/0/securityContext/runAsUser",
        |_| json!(0),
    ),
    (
        15,
        "NET_ADMIN",
        "/spec/containers/0/securityContext/capabilities",
        |_| json!({"add": ["NET_ADMIN"]}),
    ),
    (
        16,
        "no seccomp profile",
        "/spec/containers/0/securityContext/seccompProfile",
        |_| json!({"type": "Unconfined"}),
    ),
    (
        26,
        "one process namespace for all",
        "/spec/shareProcessNamespace",
        |_| json!(true),
    ),
    (55, "the node's network", "/spec/hostNetwork", |_| {
        json!(true)
    }),
    (55, "the node's processes", "/spec/hostPID", |_| json!(true)),
    (
        55,
        "files of the node",
        "/spec/volumes",
        |_| json!([{"name": "node", "hostPath": {"path": "/"}}]),
    ),
    (
        56,
        "a container of our name",
        "/spec/containers/0/name",
        |_| json!("actpass-agent"),
    ),
    (
        57,
        "an annotation to be left out",
        "/metadata/annotations",
        |_| json!({"actpass.org/inject": "false"}),
    ),
    (
        58,
        "a probe that asks elsewhere",
        "/spec/containers/0/livenessProbe",
        |_| json!({"httpGet": {"host": "192.0.2.1", "port": 80, "path": "/"}}),
    ),
];

/// Tries all of them, and looks at what runs.
///
/// # Errors
/// Where the API server does not answer, or takes not even the pod that all others differ from.
pub(super) fn attempts(kubectl: &Kubectl, agent: &Agent) -> anyhow::Result<Vec<Tried>> {
    let good = agent.pod(&["--once"], None);
    if let Answer::Refused(said) = asked(kubectl, &good)? {
        bail!("the API server does not take the pod that would try the ways out: {said}");
    }
    let mut tried = Vec::new();
    for (row, attempt, at, value) in DOORS {
        let mut bad = good.clone();
        put(&mut bad, at, value(agent));
        tried.push(judged(row, attempt, asked(kubectl, &bad)?));
    }
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"generateName": "prove-"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
    });
    tried.push(judged(
        66,
        "a NetworkPolicy that lets everything out",
        asked(kubectl, &policy)?,
    ));
    tried.push(running(kubectl)?);
    Ok(tried)
}

enum Answer {
    Taken,
    /// By ActPass or others: what was said.
    Refused(String),
}

fn asked(kubectl: &Kubectl, object: &Value) -> anyhow::Result<Answer> {
    let args = ["create", "--dry-run=server", "-o", "name", "-f", "-"];
    let output = kubectl.output(&args, Some(&serde_json::to_vec(object)?))?;
    Ok(match output.status.success() {
        true => Answer::Taken,
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            let words: Vec<&str> = said.split_whitespace().collect();
            let said = words.join(" ");
            Answer::Refused(said.chars().take(SAID_CHARACTERS).collect())
        }
    })
}

fn judged(row: u8, attempt: &str, answer: Answer) -> Tried {
    let (verdict, said) = match answer {
        Answer::Taken => (Verdict::Open, "the API server takes it".to_owned()),
        Answer::Refused(said) if is_ours(&said) => (Verdict::Held, said),
        // Others may refuse it today and not tomorrow.
        Answer::Refused(said) => (
            Verdict::Unknown,
            format!("refused, but not by ActPass: {said}"),
        ),
    };
    Tried {
        row,
        attempt: attempt.to_owned(),
        verdict,
        said,
    }
}

/// Whether it was ActPass: its webhook, or one of its policies.
fn is_ours(said: &str) -> bool {
    said.contains("admission webhook \"pods.actpass.org\" denied")
        || said.contains("ValidatingAdmissionPolicy 'actpass-")
}

/// Puts a value at a place whose parents are there.
fn put(object: &mut Value, at: &str, value: Value) {
    let Some((parent, key)) = at.rsplit_once('/') else {
        return;
    };
    if let Some(Value::Object(parent)) = object.pointer_mut(parent) {
        parent.insert(key.to_owned(), value);
    }
}

/// Whether all pods that run have a sidecar.
fn running(kubectl: &Kubectl) -> anyhow::Result<Tried> {
    let running = "--field-selector=status.phase=Running";
    let pods: List<Value> = kubectl.get(&["pods", running])?;
    let without = pods.items.iter().filter(|pod| !is_injected(pod));
    let name = |pod: &Value| Some(pod.pointer("/metadata/name")?.as_str()?.to_owned());
    let without: Vec<String> = without.filter_map(name).collect();
    let (verdict, said) = match without.as_slice() {
        [] => (
            Verdict::Held,
            format!("all {} that run have a sidecar", pods.items.len()),
        ),
        names => (
            Verdict::Open,
            format!("without a sidecar: {}", names.join(", ")),
        ),
    };
    Ok(Tried {
        row: 64,
        attempt: "pods that were there before".to_owned(),
        verdict,
        said,
    })
}

#[cfg(test)]
mod tests {
    use actpass_webhook::UidSecret;
    use actpass_webhook::checks::{self, Surroundings};
    use actpass_webhook::inject::{Context, inject};

    use super::super::super::onboard::settings::defaults;
    use super::*;

    /// The doors differ from what is taken in what they say alone, so that each refusal is of that.
    #[test]
    fn the_pod_is_taken_and_each_door_is_shut() {
        let settings = defaults();
        let agent = Agent {
            image: settings.images.verify.to_string(),
            account: "clerk".to_owned(),
            sidecar_uid: settings.sidecar_uids.first(),
        };
        let good = agent.pod(&["--once"], None);
        let secret = UidSecret::new([0; 32]);
        let context = Context {
            namespace: "shop",
            settings: &settings,
            secret: &secret,
            request: "",
        };
        let refused = |pod: &Value| match inject(pod, &context) {
            Err(findings) => findings,
            Ok(injection) => checks::create(&injection.pod, &context, &Surroundings::default()),
        };
        assert!(refused(&good).passes(), "{:?}", refused(&good));
        for (_, attempt, at, value) in DOORS {
            let mut bad = good.clone();
            put(&mut bad, at, value(&agent));
            assert_ne!(bad, good, "{attempt}");
            assert!(!refused(&bad).passes(), "{attempt}");
        }
    }
}
