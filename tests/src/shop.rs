//! A namespace under ActPass with an agent that pays bills, and the provider it pays.

use std::net::IpAddr;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::cluster::{Namespace, eventually};
use crate::front::{Front, answering};
use crate::home::text;
use crate::installed::{Installed, Person};

/// An upstream of the test's own, at `HOST` by the authority `CA`, an agent and what it may: small payments at once, large
/// ones after a yes.
pub const SHOP: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: pay}
spec:
  hosts: [HOST]
  addresses: Cluster
  tls:
    mode: Intercept
    caBundle: |
CA
  credentials: [{name: pay, effects: [Read, Write], header: Authorization, format: "Bearer {secret}"}]
  actions:
  - name: payments.create
    match: {http: {method: POST, path: /v1/payments}}
    effect: Write
    body: {format: JSON, maxBytes: 4096}
    params: {allow: [amount, note]}
    amount: {from: body.amount, unit: Minor, currency: {const: USD}}
    meters: [{name: payments, from: Amount}]
    attributes: [{name: note, from: body.note, type: String, sensitive: false}]
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  subject: {serviceAccountName: clerk}
  owner: owner@example.com
  purpose: Pay small bills
  scope: [{capability: pay.payments.create}]
  limits: [{meter: payments, unit: USD, max: "100000.00", windowSeconds: 86400}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: bills}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules:
  - {name: small, decision: Allow, capabilities: [pay.payments.create], amounts: [{currency: USD, lte: "50.00"}]}
  - name: large
    decision: RequireApproval
    capabilities: [pay.payments.create]
    amounts: [{currency: USD, gt: "50.00"}]
    approval: {groups: [finance], expiresAfterSeconds: 1800}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: clerk}
"#;

const AGENT: &str = r#"apiVersion: v1
kind: Pod
metadata: {name: agent}
spec:
  serviceAccountName: clerk
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: 'actpass.test/agent-curl:test', imagePullPolicy: Never, command: COMMAND, securityContext: {runAsUser: 1000}}
"#;

/// Pays small bills for ever, two at once, and writes down each answer's status, and what is said where it is not 200.
const PAYING: &str = r#"
pay() { i=0; while true; do i=$((i+1))
  said=$(curl -sS -m 20 -w ' %{http_code}' -H 'content-type: application/json' \
    -d "{\"amount\":100,\"note\":\"$1-$i\"}" https://PROVIDER/v1/payments 2>&1)
  case $said in *' 200') echo 200 ;; *) echo "$said" | tr '\n' ' '; echo ;; esac >>/tmp/codes
  sleep 0.05
done; }
for k in 1 2; do pay $k & done; wait
"#;

/// A namespace with a governed agent that pays.
pub struct Shop<'a> {
    /// The installation that governs it.
    pub installed: &'a Installed<'a>,
    /// Where its objects are; the agent's pod is `agent`.
    pub namespace: Namespace<'a>,
    /// Name of the provider.
    pub host: String,
    /// What reached the provider.
    pub front: Front,
    manifests: String,
    bindings: Value,
}

impl<'a> Shop<'a> {
    /// Makes one whose agent waits for what it is told.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn open(installed: &'a Installed<'a>, prefix: &str) -> anyhow::Result<Self> {
        Self::working(installed, prefix, &["sleep", "inf"])
    }

    /// Makes one whose agent pays small bills for ever, once it has begun.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn paying(installed: &'a Installed<'a>, prefix: &str) -> anyhow::Result<Self> {
        let shop = Self::working(installed, prefix, &["sh", "-c", PAYING])?;
        shop.goes_on("the start")?;
        Ok(shop)
    }

    /// Waits until an agent that pays for ever has paid another twenty.
    ///
    /// # Errors
    /// Where it does not.
    pub fn goes_on(&self, after: &str) -> anyhow::Result<()> {
        let before = self.front.seen().len();
        let paid = eventually(Duration::from_secs(120), || {
            let paid = self.front.seen().len();
            ensure!(paid >= before + 20, "{paid} payments, {before} before");
            Ok(())
        });
        paid.with_context(|| format!("after {after}:\n{}", self.installed.standing()))
    }

    /// What became of all payments of an agent that pays for ever: statuses, and what was said where it is not 200.
    ///
    /// # Errors
    /// Where that cannot be read.
    pub fn statuses(&self) -> anyhow::Result<Vec<String>> {
        let read = self.namespace.exec("agent", "cat /tmp/codes")?;
        ensure!(read.status.success(), "{}", text(&read));
        Ok(text(&read).lines().map(str::to_owned).collect())
    }

    /// How many containers of the agent's pod were started anew.
    ///
    /// # Errors
    /// Where that cannot be read.
    pub fn restarts(&self) -> anyhow::Result<usize> {
        let path = "-o=jsonpath={.status.containerStatuses[*].restartCount} {.status.initContainerStatuses[*].restartCount}";
        let restarts = self.namespace.ask(&["get", "pod", "agent", path])?;
        Ok(restarts
            .split_whitespace()
            .filter(|count| *count != "0")
            .count())
    }

    /// Makes one whose agent does that; in it `PROVIDER` stands for the provider's name.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn working(
        installed: &'a Installed<'a>,
        prefix: &str,
        command: &[&str],
    ) -> anyhow::Result<Self> {
        let shop = Self::declared(installed, prefix)?;
        let pod = agent(command).replace("PROVIDER", &shop.host);
        let started = shop.namespace.start("agent", &pod);
        started.with_context(|| installed.standing())?;
        Ok(shop)
    }

    /// Makes one that has everything but an agent.
    ///
    /// # Errors
    /// Where something of it is not taken.
    pub fn declared(installed: &'a Installed<'a>, prefix: &str) -> anyhow::Result<Self> {
        Self::before(installed, prefix, answering("{\"paid\":true}")?)
    }

    /// The same with a provider that answers as the server at that port of 127.0.0.1.
    ///
    /// # Errors
    /// As there.
    pub fn before(
        installed: &'a Installed<'a>,
        prefix: &str,
        answers: u16,
    ) -> anyhow::Result<Self> {
        let cluster = installed.cluster;
        let namespace = installed.namespace(prefix)?;
        let host = format!("pay.{}.example", namespace.name);
        let authority = Authority::new()?;
        let listener = cluster.serve(&host, 443)?;
        let front = Front::on(listener, &authority, &host, answers)?;
        let manifests = SHOP
            .replace("HOST", &host)
            .replace("CA\n", &authority.block(6));
        let declared = format!("{}\n", authority.pem.trim());
        let digest = actpass_core::hash::sha256(&[declared.as_bytes()]);
        let bindings = json!({
            "hosts": [host], "ports": [443], "header": "authorization", "format": "Bearer {secret}",
            "ca_digest": actpass_core::hash::hex(&digest), "effects": ["Read", "Write"],
        });
        let shop = Self {
            installed,
            namespace,
            host,
            front,
            manifests,
            bindings,
        };
        shop.declare()?;
        shop.lend()?;
        Ok(shop)
    }

    /// Says who the agent is, where it goes and what it may: [`SHOP`].
    ///
    /// # Errors
    /// Where that is not taken.
    pub fn declare(&self) -> anyhow::Result<()> {
        self.namespace.apply(&self.manifests)
    }

    /// Stores what the provider knows it by.
    ///
    /// # Errors
    /// Where the ledger does not take it.
    pub fn lend(&self) -> anyhow::Result<()> {
        let Self { installed, .. } = self;
        installed.store(&self.namespace, "pay", "the-real-key", &self.bindings)
    }

    /// The agent pays so many cents: status and answer.
    ///
    /// # Errors
    /// Where it cannot be told.
    pub fn pay(&self, cents: u32, note: &str) -> anyhow::Result<(String, String)> {
        let body = format!("{{\\\"amount\\\":{cents},\\\"note\\\":\\\"{note}\\\"}}");
        let curl = format!(
            "curl -sS -m 20 -w '\\n%{{http_code}}' -H 'content-type: application/json' -d \"{body}\" https://{}/v1/payments",
            self.host
        );
        let said = text(&self.namespace.exec("agent", &curl)?);
        let (answer, status) = said.rsplit_once('\n').unwrap_or(("", &said));
        Ok((status.trim().to_owned(), answer.to_owned()))
    }

    /// The provider's address.
    ///
    /// # Errors
    /// Where its name has none.
    pub fn address(&self) -> anyhow::Result<IpAddr> {
        let found = self.installed.cluster.resolve(&self.host)?;
        let first = found.first().context("no address")?;
        Ok((*first).into())
    }

    /// Notes of all payments that reached the provider.
    ///
    /// # Errors
    /// Where one is not as the agent makes them.
    pub fn paid(&self) -> anyhow::Result<Vec<String>> {
        let paid = self.front.seen();
        let notes = paid.iter().map(|request| {
            let body: Value = serde_json::from_slice(&request.body)?;
            let note = body.get("note").and_then(Value::as_str);
            note.map(str::to_owned).context("a note")
        });
        notes.collect()
    }

    /// The Approval that a large payment asks for.
    ///
    /// # Errors
    /// Where none comes to be.
    pub fn asks(&self, note: &str) -> anyhow::Result<String> {
        let (status, answer) = self.pay(9_900, note)?;
        ensure!(status == "403", "{status} {answer}");
        let answer: Value = serde_json::from_str(&answer)?;
        let id = answer.pointer("/approval/id").or(answer.get("approval"));
        let id = id.and_then(Value::as_str);
        let name = id.with_context(|| answer.to_string())?.replace('_', "-");
        eventually(Duration::from_secs(20), || {
            self.namespace.ask(&["get", "approval", &name])
        })?;
        Ok(name)
    }

    /// `kubectl` in it, as a person.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn as_person(&self, person: &Person, args: &[&str]) -> anyhow::Result<Output> {
        let all = [&["--namespace", &self.namespace.name], args].concat();
        person.kubectl(self.installed.cluster, &all)
    }

    /// `kubectl apply` in it, as a person.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn applies(&self, person: &Person, yaml: &str) -> anyhow::Result<Output> {
        let args = ["apply", "--namespace", &self.namespace.name, "-f", "-"];
        person.apply(self.installed.cluster, &args, yaml)
    }
}

/// The agent's pod, with that command.
pub fn agent(command: &[&str]) -> String {
    AGENT.replace("COMMAND", &json!(command).to_string())
}
