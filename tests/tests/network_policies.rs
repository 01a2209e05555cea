//! What the controller's NetworkPolicies let through, as Cyclonus reads them: somebody else's reading than ours. It knows
//! policies and nothing of the fence in each pod, which decides what is left.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use actpass_controller::bundle::Place;
use actpass_controller::network_policies::{NetworkSettings, agents, quarantine};
use actpass_controller::object::{Id, Namespace, Object};
use actpass_crds::read::parse_documents;
use actpass_crds::resource::Kind;
use actpass_tests::home::text;
use actpass_tests::tools::built;
use serde_json::{Value, json};

const UPSTREAMS: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: pay}
spec:
  hosts: [api.pay.example]
  ports: [443]
  actions: [{name: read, match: {http: {method: GET, path: "/**"}}, effect: Read}]
---
apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: depot}
spec:
  hosts: [depot.internal.example]
  ports: [8080]
  addresses: Cluster
  actions: [{name: read, match: {http: {method: GET, path: "/**"}}, effect: Read}]
"#;

/// Everything of a pod or an address that a policy can ask for.
#[derive(Clone, Copy)]
enum Peer {
    /// An injected agent of namespace `shop`, which is governed.
    Agent,
    /// One that is cut off.
    CutOff,
    /// A pod of `shop` that was not injected.
    Plain,
    /// A pod of the install namespace.
    Installation,
    /// A pod of the namespace of name servers.
    Names,
    /// A pod of the namespace of Prometheus.
    Prometheus,
    /// A pod of a namespace that ActPass does not know.
    Stranger,
    /// An address outside of the cluster.
    At(&'static str),
}

impl Peer {
    fn traffic(self) -> Value {
        let pod = |namespace: &str, labels: Value, ip: &str| {
            json!({"IP": ip, "Internal": {"Namespace": namespace, "PodLabels": labels,
                "NamespaceLabels": {"kubernetes.io/metadata.name": namespace}}})
        };
        let injected = |id: &str| json!({"actpass.org/enforced": "v1", "actpass.org/pod": id});
        match self {
            Self::Agent => pod("shop", injected("0123456789abcdef"), "10.88.0.10"),
            Self::CutOff => pod("shop", injected(CUT_OFF), "10.88.0.12"),
            Self::Plain => pod("shop", json!({"app": "plain"}), "10.88.0.11"),
            Self::Installation => pod("actpass-system", json!({}), "10.88.0.2"),
            Self::Names => pod("kube-system", json!({}), "10.88.0.3"),
            Self::Prometheus => pod("monitoring", json!({}), "10.88.0.4"),
            Self::Stranger => pod("other", json!({}), "10.88.0.5"),
            Self::At(ip) => json!({"IP": ip}),
        }
    }
}

/// The policy that the controller writes into `shop`.
fn policy(mode: &str) -> Value {
    policies(mode, &BTreeSet::new()).remove(0)
}

/// The policies that it writes while these pods are cut off: of the others, and of them.
fn policies(mode: &str, cut_off: &BTreeSet<String>) -> Vec<Value> {
    let (found, problems) = parse_documents("t.yaml", UPSTREAMS);
    assert!(problems.is_empty(), "{problems:?}");
    let objects: Vec<Object> = found
        .into_iter()
        .map(|located| Object {
            id: Id {
                kind: Kind::Upstream,
                namespace: Some("shop".to_owned()),
                name: located.resource.metadata().name.clone(),
            },
            uid: "u".to_owned(),
            generation: Some(1),
            resource: Ok(located.resource),
            status: Value::Null,
        })
        .collect();
    let namespace = Namespace {
        name: "shop".to_owned(),
        uid: "n-1".to_owned(),
        labels: [("actpass.org/mode".to_owned(), mode.to_owned())].into(),
        ends: false,
    };
    let place = Place {
        cluster: "c-1",
        install: "actpass-system",
        namespace: &namespace,
    };
    let settings = NetworkSettings {
        metrics_namespace: Some("monitoring".to_owned()),
        ..NetworkSettings::default()
    };
    let both = [
        agents(place, &objects, cut_off, &settings),
        quarantine(place, cut_off, &settings),
    ];
    let applicable = both.iter().map(|policy| {
        let mut policy = serde_json::to_value(policy).unwrap();
        policy["apiVersion"] = json!("networking.k8s.io/v1");
        policy["kind"] = json!("NetworkPolicy");
        policy
    });
    applicable.collect()
}

/// From where to where, on which port.
type Way = (Peer, Peer, u16, &'static str);

/// Whether each way is open under some policies; none where Cyclonus is not built.
fn judged(policies: &[Value], ways: &[Way]) -> Option<Vec<bool>> {
    let cyclonus = built("cyclonus", "cyclonus")?;
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("policies");
    fs::create_dir(&directory).unwrap();
    for (index, policy) in policies.iter().enumerate() {
        fs::write(directory.join(format!("{index}.yaml")), policy.to_string()).unwrap();
    }
    let traffic: Vec<Value> = ways
        .iter()
        .map(|(from, to, port, protocol)| {
            json!({"Source": from.traffic(), "Destination": to.traffic(), "ResolvedPort": port, "Protocol": protocol})
        })
        .collect();
    let file = dir.path().join("traffic.json");
    fs::write(&file, Value::from(traffic).to_string()).unwrap();
    let output = Command::new(cyclonus)
        .args(["analyze", "--mode", "query-traffic", "--policy-path"])
        .arg(&directory)
        .arg("--traffic-path")
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&output);
    let answers = said.lines().filter(|line| line.contains("IS ALLOWED?"));
    let answers: Vec<bool> = answers.map(|line| line.contains("TRUE")).collect();
    assert_eq!(answers.len(), ways.len(), "{said}");
    Some(answers)
}

fn holds(policies: &[Value], cases: &[(&str, Way, bool)]) {
    let ways: Vec<Way> = cases.iter().map(|(_, way, _)| *way).collect();
    let Some(answers) = judged(policies, &ways) else {
        return;
    };
    let wrong: Vec<&str> = cases
        .iter()
        .zip(answers)
        .filter(|((_, _, want), found)| want != found)
        .map(|((name, ..), _)| *name)
        .collect();
    assert!(wrong.is_empty(), "Cyclonus says the opposite of: {wrong:?}");
}

use Peer::{Agent, At, Installation, Names, Plain, Prometheus, Stranger};

/// What [`Peer::CutOff`] is known by.
const CUT_OFF: &str = "00000000000000ff";

const WORLD: Peer = At("198.41.0.4");

#[test]
fn what_governed_pods_reach_and_who_reaches_them() {
    let out = |to, port| (Agent, to, port, "TCP");
    let into = |from, port| (from, Agent, port, "TCP");
    holds(
        &[policy("enforce")],
        &[
            ("names are asked by UDP", (Agent, Names, 53, "UDP"), true),
            ("and by TCP", out(Names, 53), true),
            ("of no other namespace", (Agent, Stranger, 53, "UDP"), false),
            ("nor of the world", (Agent, WORLD, 53, "UDP"), false),
            (
                "the control plane is reached",
                out(Installation, 8443),
                true,
            ),
            ("and no other port there", out(Installation, 9999), false),
            (
                "but for those of Upstreams of the cluster, which are open to all of it",
                out(Installation, 8080),
                true,
            ),
            (
                "the world is reached on a port that an Upstream declares",
                out(WORLD, 443),
                true,
            ),
            (
                "also on one that is declared for the cluster",
                out(WORLD, 8080),
                true,
            ),
            ("on no other", out(WORLD, 80), false),
            ("and not by UDP", (Agent, WORLD, 443, "UDP"), false),
            ("by IPv6 too", out(At("2001:500:9f::42"), 443), true),
            (
                "on no other port either",
                out(At("2001:500:9f::42"), 22),
                false,
            ),
            (
                "private networks only on the port of an Upstream of the cluster",
                out(At("10.1.2.3"), 8080),
                true,
            ),
            (
                "not on that of a public one",
                out(At("10.1.2.3"), 443),
                false,
            ),
            ("private IPv6 neither", out(At("fd00::1"), 443), false),
            (
                "metadata servers are not reached",
                out(At("169.254.169.254"), 8080),
                false,
            ),
            ("nor on 443", out(At("169.254.169.254"), 443), false),
            (
                "agents do not reach each other on a port of nobody",
                (Agent, Plain, 9999, "TCP"),
                false,
            ),
            (
                "the sidecar's capture is reached from nowhere",
                into(Stranger, 15_001),
                false,
            ),
            (
                "also not from the same namespace",
                into(Plain, 15_001),
                false,
            ),
            ("nor its administration", into(Stranger, 15_000), false),
            ("nor its name server", into(Stranger, 15_053), false),
            (
                "nor from the installation",
                into(Installation, 15_001),
                false,
            ),
            (
                "its metrics are read by Prometheus",
                into(Prometheus, 15_090),
                true,
            ),
            ("by nobody else", into(Stranger, 15_090), false),
            (
                "its probes are asked from anywhere, since a kubelet has no label",
                into(Stranger, 15_021),
                true,
            ),
            (
                "the agent's own ports are open to all: the pod's fence knows which it has",
                into(Stranger, 8080),
                true,
            ),
            ("not by UDP", (Stranger, Agent, 8080, "UDP"), false),
            (
                "a pod that was not injected is held too",
                (Plain, WORLD, 80, "TCP"),
                false,
            ),
        ],
    );
}

#[test]
fn an_audit_closes_nothing_but_metadata_and_only_to_injected_pods() {
    let metadata = At("169.254.169.254");
    holds(
        &[policy("audit")],
        &[
            (
                "an injected pod reaches what is not declared",
                (Agent, WORLD, 80, "TCP"),
                true,
            ),
            (
                "but no metadata server",
                (Agent, metadata, 80, "TCP"),
                false,
            ),
            (
                "nor is the sidecar's capture reached from elsewhere",
                (Stranger, Agent, 15_001, "TCP"),
                false,
            ),
            (
                "a pod that was there before is not held",
                (Plain, metadata, 80, "TCP"),
                true,
            ),
        ],
    );
}

#[test]
fn policies_add_up_so_another_one_opens_what_ours_does_not() {
    let more = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "allow-all", "namespace": "shop"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
    });
    let way = (Agent, At("169.254.169.254"), 80, "TCP");
    holds(
        &[policy("enforce")],
        &[("metadata servers are out of reach", way, false)],
    );
    holds(
        &[policy("enforce"), more],
        &[
            (
                "and in reach once somebody allows everything: hence such policies are refused",
                way,
                true,
            ),
            (
                "which lets nobody in",
                (Stranger, Agent, 15_001, "TCP"),
                false,
            ),
        ],
    );
}

#[test]
fn a_pod_that_is_cut_off_reaches_the_record_and_is_reached_for_its_metrics_alone() {
    let cut_off = BTreeSet::from([CUT_OFF.to_owned()]);
    for mode in ["enforce", "audit"] {
        let policies = policies(mode, &cut_off);
        let out = |to, port| (Peer::CutOff, to, port, "TCP");
        holds(
            &policies,
            &[
                ("the record is kept", out(Installation, 8443), true),
                ("by nothing else of it", out(Installation, 8080), false),
                ("the world is gone", out(WORLD, 443), false),
                ("names too", (Peer::CutOff, Names, 53, "UDP"), false),
                ("and the cluster", out(Plain, 8080), false),
                (
                    "nobody reaches it",
                    (Plain, Peer::CutOff, 8080, "TCP"),
                    false,
                ),
                (
                    "but Prometheus its metrics",
                    (Prometheus, Peer::CutOff, 15_090, "TCP"),
                    true,
                ),
                ("others go on", (Agent, WORLD, 443, "TCP"), true),
                ("and are reached", (Plain, Agent, 8080, "TCP"), true),
            ],
        );
        // Without the second one nothing would hold it.
        let open = ("it is open", out(WORLD, 22), true);
        holds(&policies[..1], &[open]);
    }
}
