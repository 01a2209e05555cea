//! Agents in Deployments on a real node: injected, governed, approved by a person, and on the record.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::time::Duration;

use actpass_tests::cluster::{Cluster, Namespace, eventually, possible};
use actpass_tests::home::text;
use actpass_tests::installed::Installed;
use actpass_tests::stripe::{HOST, KEY, Steps, World};
use serde_json::json;

/// The ServiceAccount, and a Deployment of agents that wait for somebody to run something in them. `FILES` are those of
/// `tests/sdk`.
const AGENTS: &str = r#"apiVersion: v1
kind: ServiceAccount
metadata: {name: refund-agent}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      serviceAccountName: refund-agent
      terminationGracePeriodSeconds: 1
      containers:
      - name: agent
        image: actpass.test/IMAGE:test
        imagePullPolicy: Never
        command: [sleep, inf]
        securityContext: {runAsUser: 1000}
        volumeMounts: [{name: files, mountPath: /opt/sdk/agent}]
      volumes: [{name: files, configMap: {name: files}}]
"#;

/// The world's provider, declared and with its key in the namespace's vault.
fn declared(installed: &Installed<'_>, namespace: &Namespace<'_>, world: &World) {
    let manifests = world.manifests();
    // The world's addresses are those of documentation, so not public ones; and here a ServiceAccount is meant.
    let manifests = manifests
        .replace("addresses: Public", "addresses: Cluster")
        .replace(
            "  agentId: refund-agent\n",
            "  agentId: refund-agent\n  subject: {serviceAccountName: refund-agent}\n",
        );
    assert!(manifests.contains("addresses: Cluster") && manifests.contains("subject:"));
    namespace.apply(&manifests).unwrap();
    for (name, effects) in [
        ("stripe-read", &["Read"][..]),
        ("stripe-write", &["Write", "Irreversible"]),
    ] {
        let bindings = json!({
            "hosts": [HOST], "ports": [443], "header": "authorization", "format": "Bearer {secret}",
            "ca_digest": world.ca_digest(), "effects": effects,
        });
        installed.store(namespace, name, KEY, &bindings).unwrap();
    }
}

fn started(installed: &Installed<'_>, namespace: &Namespace<'_>, name: &str, image: &str) {
    let manifest = AGENTS.replace("NAME", name).replace("IMAGE", image);
    namespace.apply(&manifest).unwrap();
    let deployment = format!("deployment/{name}");
    let rolled = namespace.ask(&["rollout", "status", &deployment, "--timeout=90s"]);
    let described = || {
        let pods = namespace.ask(&["describe", "pods"]).unwrap();
        let logs = ["logs", &deployment, "-c", "actpass-proxy", "--tail=50"];
        let logs = text(&namespace.kubectl(&logs).unwrap());
        format!("{pods}\n{logs}\n{}", installed.standing())
    };
    rolled.unwrap_or_else(|error| panic!("{error}\n{}", described()));
}

#[test]
fn the_official_sdks_refund_from_inside_a_deployment_as_their_passport_says() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let namespace = installed.namespace("refunds").unwrap();
    let world = World::start_at(cluster.serve(HOST, 443).unwrap());
    let files = format!("--from-file={}/sdk", env!("CARGO_MANIFEST_DIR"));
    namespace
        .ask(&["create", "configmap", "files", &files])
        .unwrap();
    declared(&installed, &namespace, &world);
    let ann = installed.person("ann", &["finance"]).unwrap();
    installed
        .allow(&namespace, &ann, "actpass-approver")
        .unwrap();

    for (image, agent, env) in [
        (
            "agent-python",
            &["python3", "/opt/sdk/agent/stripe_sdk.py"],
            "API_BASE=http://stripe.actpass.internal",
        ),
        (
            "agent-node",
            &["node", "/opt/sdk/agent/stripe_sdk.mjs"],
            "NONE=1",
        ),
    ] {
        started(&installed, &namespace, image, image);
        let approve = |approval: &str| {
            let name = approval.replace('_', "-");
            // The controller makes the object within a second or two.
            eventually(Duration::from_secs(20), || {
                namespace.ask(&["get", "approval", &name])
            })
            .unwrap();
            let shown = ann.actpass(&cluster, &["show", &name, "-n", &namespace.name]);
            let shown = text(&shown.unwrap());
            assert!(shown.contains("2500.00 USD"), "{shown}");
            let args = ["approve", &name, "--yes", "-n", &namespace.name];
            let approved = ann.actpass(&cluster, &args).unwrap();
            assert!(approved.status.success(), "{}", text(&approved));
        };
        world.governs_agent(agent, |charge| {
            let deployment = format!("deployment/{image}");
            let charge = format!("CHARGE={charge}");
            let mut exec = cluster.kube("kubectl");
            exec.args([
                "exec",
                "-i",
                "-n",
                &namespace.name,
                &deployment,
                "-c",
                "agent",
                "--",
            ])
            .args(["env", &charge, env])
            .args(agent);
            Steps::of(&mut exec, approve)
        });
    }
    the_record_verifies(&installed, &namespace);
}

/// What was refunded, denied and approved is on the record, and the record verifies, here and as a file elsewhere.
fn the_record_verifies(installed: &Installed<'_>, namespace: &Namespace<'_>) {
    let cluster = installed.cluster;
    let auditor = installed.token_person("auditor-of-refunds").unwrap();
    installed
        .allow(namespace, &auditor, "actpass-auditor")
        .unwrap();
    installed.may_reach_the_ledger(&auditor).unwrap();
    let name = namespace.name.as_str();
    let events = text(&auditor.actpass(cluster, &["events", name]).unwrap());
    for word in [
        "permit",
        "deny",
        "escalate",
        "2500.00 USD",
        "POST api.stripe.com/v1/refunds",
    ] {
        assert!(events.contains(word), "{word}: {events}");
    }
    let denied = auditor.actpass(cluster, &["events", name, "--decision", "deny"]);
    let denied = text(&denied.unwrap());
    assert!(
        denied.lines().all(|line| line.contains("  deny  ")),
        "{denied}"
    );

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log.jsonl").display().to_string();
    // Outcomes are recorded after their answers.
    eventually(Duration::from_secs(20), || {
        let verified = auditor.actpass(cluster, &["verify", name, "--keep", &file])?;
        anyhow::ensure!(verified.status.success(), "{}", text(&verified));
        Ok(())
    })
    .unwrap();
    let verify = || {
        let mut verify = std::process::Command::new(actpass_tests::actpass());
        verify.args(["verify", &file]).output().unwrap()
    };
    assert_eq!(verify().status.code(), Some(0), "{}", text(&verify()));
    let whole = std::fs::read(&file).unwrap();
    for at in [whole.len() / 3, whole.len() / 2, whole.len() - 100] {
        let mut other = whole.clone();
        *other.get_mut(at).unwrap() ^= 0x01;
        std::fs::write(&file, other).unwrap();
        let found = verify();
        assert_eq!(found.status.code(), Some(3), "byte {at}: {}", text(&found));
    }
}
