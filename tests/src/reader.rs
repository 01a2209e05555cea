//! An agent of the tests' node that may read what names of the test's own lead to, and the world's server that some of them are the
//! names of.

#![expect(
    clippy::unwrap_used,
    reason = "a test's world that cannot be made is a failed test"
)]

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::ensure;

use crate::cluster::{Cluster, Namespace, eventually};
use crate::fenced::{Lines, PORT, UPSTREAM, upstream_at};
use crate::home::text;
use crate::installed::{Installed, shared};
use crate::pod::Pod;
use crate::shop::agent;

/// Longest wait for a policy, for the world's name server and for the record.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names of the test's own, `DOMAIN`, that may be in the world or in the cluster, and one of a Service; also with the ports of
/// the sidecar.
const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: outer}
spec:
  hosts: [api.DOMAIN, "*.out.DOMAIN"]
  ports: [8080]
  tls: {mode: None}
  actions: [{name: read, match: {http: {method: GET, path: "/**"}}, effect: Read}]
---
apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: inner}
spec:
  hosts: ["*.in.DOMAIN", self.NAMESPACE.svc]
  ports: [8080, 15000, 15001, 15021, 15053, 15090]
  addresses: Cluster
  tls: {mode: None}
  actions: [{name: read, match: {http: {method: GET, path: "/**"}}, effect: Read}]
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  subject: {serviceAccountName: clerk}
  owner: owner@example.com
  purpose: Read
  scope: [{capability: outer.read}, {capability: inner.read}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: all}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules: [{name: reads, decision: Allow, capabilities: [outer.read, inner.read]}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: clerk}
---
apiVersion: v1
kind: Service
metadata: {name: self}
spec:
  selector: {app: agent}
  ports: [{port: 8080}]
"#;

/// An agent that may read what these names lead to.
pub struct Reader {
    /// What governs it.
    pub installed: &'static Installed<'static>,
    /// Where it is; its pod is `agent`.
    pub namespace: Namespace<'static>,
    /// What its names end in.
    pub domain: String,
}

impl Reader {
    /// One in a namespace of its own, once it reads; where there is a cluster.
    pub fn open(prefix: &str) -> Option<Self> {
        let installed = shared()?;
        let namespace = installed.namespace(prefix).unwrap();
        let domain = format!("{}.example", namespace.name);
        let policy = POLICY.replace("DOMAIN", &domain);
        let policy = policy.replace("NAMESPACE", &namespace.name);
        namespace.apply(&policy).unwrap();
        let labelled = "{name: agent, labels: {app: agent}}";
        let pod = agent(&["sleep", "inf"]).replace("{name: agent}", labelled);
        namespace.start("agent", &pod).unwrap();
        let reader = Self {
            installed,
            namespace,
            domain,
        };
        let api = format!("api.{}", reader.domain);
        reader.named(&[(api.clone(), vec![UPSTREAM[0].parse().unwrap()])]);
        reader.world();
        eventually(PATIENCE, || {
            let said = reader.gets(&api, PORT, "");
            ensure!(said == "200 upstream", "{said}");
            Ok(())
        })
        .unwrap();
        Some(reader)
    }

    /// Its pod, with the attack kit in the agent's container.
    pub fn pod(&self) -> Pod<'_> {
        let pod = Pod::of(&self.namespace, "agent").unwrap();
        assert_eq!(pod.addresses.len(), 2, "IPv4 and IPv6: {:?}", pod.addresses);
        pod.plant("main").unwrap();
        pod
    }

    /// What a shell script in the agent's container prints.
    pub fn runs(&self, script: &str) -> String {
        let output = self.namespace.exec("agent", script).unwrap();
        text(&output).trim().to_owned()
    }

    /// Status and answer of what a name leads to; with further words of curl's.
    pub fn gets(&self, name: &str, port: u16, words: &str) -> String {
        // Whoever asks is known by the path.
        let url = format!("http://{name}:{port}/{}", self.namespace.name);
        self.runs(&format!(
            "curl -s -m 10 -o /tmp/said -w '%{{http_code}} ' {words} {url}; cat /tmp/said; rm -f /tmp/said"
        ))
    }

    /// Addresses at which this agent's requests came to the world's server.
    pub fn reached(&self) -> Vec<String> {
        let path = format!("/{} ", self.namespace.name);
        let all = self.world().lock().unwrap().clone();
        let own = all.iter().filter(|it| it.contains(&path));
        own.filter_map(|it| it.split(' ').next())
            .map(str::to_owned)
            .collect()
    }

    /// What is sent to the world's server.
    fn world(&self) -> &'static Lines {
        static REACHED: OnceLock<Lines> = OnceLock::new();
        REACHED.get_or_init(|| listen(self.installed.cluster))
    }

    /// Gives names of the world these addresses, and returns when they are known: they all are with the last one.
    pub fn named(&self, names: &[(String, Vec<IpAddr>)]) {
        let cluster = self.installed.cluster;
        cluster.name(names).unwrap();
        let last = format!("last.{}", self.domain);
        let number = NAMED.fetch_add(1, Ordering::Relaxed);
        cluster.declare(&last, Ipv4Addr::from(number)).unwrap();
    }

    /// Returns once the log says all of that of this agent.
    pub fn recorded(&self, want: &[String]) {
        eventually(PATIENCE, || {
            let leaves = self.installed.leaves(&self.namespace)?;
            let leaves = serde_json::to_string(&leaves)?;
            for it in want {
                ensure!(leaves.contains(it), "not recorded: {it}");
            }
            Ok(())
        })
        .unwrap();
    }
}

/// How often names were given, so that each time is known from the one before.
static NAMED: AtomicU32 = AtomicU32::new(1);

/// A server at public addresses of the world's, and what it is sent.
fn listen(cluster: &Cluster) -> Lines {
    let reached = Lines::default();
    for address in UPSTREAM {
        let address: IpAddr = address.parse().unwrap();
        let mut own = Command::new("ip");
        let words = ["address", "replace", &address.to_string(), "dev", "lo"];
        let own = own.args(words);
        assert!(cluster.in_world(own).status().unwrap().success());
        let bind = || Ok(TcpListener::bind((address, PORT))?);
        upstream_at(cluster.world(bind).unwrap(), &reached);
    }
    reached
}
