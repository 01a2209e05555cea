//! Prometheus on a real node reads what the chart tells it to, and what it says is what happened.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use actpass_tests::authority::Authority;
use actpass_tests::chart::{Chart, dashboard, metrics_of, panels};
use actpass_tests::cluster::{Cluster, Namespace, eventually, possible};
use actpass_tests::front::{Front, answering};
use actpass_tests::home::text;
use actpass_tests::installed::Installed;
use actpass_tests::shop::agent;
use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// An upstream, an agent and what it may: pay up to 50 USD.
const SHOP: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: pay}
spec:
  hosts: [HOST]
  addresses: Cluster
  tls:
    mode: Intercept
    caBundle: |
CA
  actions:
  - name: payments.create
    match: {http: {method: POST, path: /v1/payments}}
    effect: Write
    body: {format: JSON, maxBytes: 4096}
    params: {allow: [amount]}
    amount: {from: body.amount, unit: Minor, currency: {const: USD}}
    meters: [{name: payments, from: Amount}]
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
  - {name: large, decision: Deny, capabilities: [pay.payments.create], amounts: [{currency: USD, gt: "50.00"}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: clerk}
"#;

/// Where Prometheus listens, in the node's network.
const LISTEN: &str = "127.0.0.1:19090";

/// What the chart's monitors select, as the operator finds it: Debian's Prometheus itself cannot ask an API server.
fn configuration(cluster: &Cluster, chart: &Chart) -> Value {
    let mut jobs = Vec::new();
    for (kind, endpoints) in [
        ("ServiceMonitor", "endpoints"),
        ("PodMonitor", "podMetricsEndpoints"),
    ] {
        for monitor in chart.monitoring(kind).unwrap() {
            let spec = &monitor["spec"];
            let labels = spec["selector"]["matchLabels"].as_object().unwrap();
            let selector: Vec<String> = labels
                .iter()
                .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
                .collect();
            // A service's slices have its labels.
            let what = if kind == "PodMonitor" {
                "pods"
            } else {
                "endpointslices"
            };
            let mut args = vec!["get", what, "--output=json", "--selector"];
            let selector = selector.join(",");
            args.push(&selector);
            match spec["namespaceSelector"]["any"] == true {
                true => args.push("--all-namespaces"),
                false => args.extend([
                    "--namespace",
                    monitor["metadata"]["namespace"].as_str().unwrap(),
                ]),
            }
            let found: Value = serde_json::from_str(&cluster.ask(&args).unwrap()).unwrap();
            for endpoint in spec[endpoints].as_array().unwrap() {
                let targets =
                    found["items"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .flat_map(|item| match kind {
                            "PodMonitor" => of_pod(item, &endpoint["port"]),
                            _ => of_slice(item, &endpoint["port"]),
                        });
                jobs.push(json!({
                    "job_name": format!("{kind}-{}", jobs.len()),
                    "metrics_path": endpoint["path"],
                    "static_configs": targets.collect::<Vec<_>>(),
                }));
            }
        }
    }
    json!({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs})
}

fn of_slice(slice: &Value, port: &Value) -> Vec<Value> {
    let metadata = &slice["metadata"];
    let ports = slice["ports"].as_array().into_iter().flatten();
    let ports: Vec<&Value> = ports
        .filter(|it| it["name"] == *port)
        .map(|it| &it["port"])
        .collect();
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints
        .flat_map(|endpoint| {
            let address = endpoint["addresses"][0].as_str().unwrap();
            ports.iter().map(move |port| {
                json!({"targets": [format!("{address}:{port}")], "labels": {
                    "namespace": metadata["namespace"], "pod": endpoint["targetRef"]["name"],
                    "service": metadata["labels"]["kubernetes.io/service-name"]}})
            })
        })
        .collect()
}

fn of_pod(pod: &Value, port: &Value) -> Vec<Value> {
    let containers = ["initContainers", "containers"].into_iter();
    let containers = containers
        .filter_map(|of| pod["spec"][of].as_array())
        .flatten();
    let ports = containers.filter_map(|it| it["ports"].as_array()).flatten();
    let ports = ports.filter(|it| it["name"] == *port && pod["status"]["phase"] == "Running");
    ports
        .map(|it| {
            let address = pod["status"]["podIP"].as_str().unwrap();
            json!({"targets": [format!("{address}:{}", it["containerPort"])], "labels": {
                "namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]}})
        })
        .collect()
}

/// Prometheus in the node's network; it ends with this.
struct Prometheus<'a> {
    cluster: &'a Cluster,
    process: Child,
    dir: tempfile::TempDir,
}

impl<'a> Prometheus<'a> {
    fn start(cluster: &'a Cluster, chart: &Chart) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let configuration = configuration(cluster, chart);
        let file = dir.path().join("prometheus.json");
        fs::write(&file, configuration.to_string()).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let process = cluster
            .kube("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={LISTEN}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            cluster,
            process,
            dir,
        }
    }

    fn api(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut curl = self.cluster.kube("curl");
        curl.args(["-sS", "-m", "10", "-G"]);
        for (name, value) in query {
            curl.arg("--data-urlencode").arg(format!("{name}={value}"));
        }
        let output = curl
            .arg(format!("http://{LISTEN}/api/v1/{path}"))
            .output()?;
        let answer: Value = serde_json::from_slice(&output.stdout).with_context(|| {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            format!("{}\n{log}", text(&output))
        })?;
        ensure!(answer["status"] == "success", "{query:?}: {answer}");
        Ok(answer["data"].clone())
    }

    /// The instant value of a query, as labels and number.
    fn query(&self, query: &str) -> anyhow::Result<Vec<(Value, String)>> {
        let data = self.api("query", &[("query", query)])?;
        let found = data["result"].as_array().context("no vector")?.iter();
        let pair = |it: &Value| {
            let value = it["value"][1].as_str().unwrap_or_default();
            (it["metric"].clone(), value.to_owned())
        };
        Ok(found.map(pair).collect())
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A namespace with an agent that may pay small bills, and the host that it pays at.
fn opened<'a>(installed: &Installed<'a>) -> (Namespace<'a>, String) {
    let cluster = installed.cluster;
    let namespace = installed.namespace("counted").unwrap();
    let host = format!("pay.{}.example", namespace.name);
    let authority = Authority::new().unwrap();
    let listener = cluster.serve(&host, 443).unwrap();
    Front::on(listener, &authority, &host, answering("{}").unwrap()).unwrap();
    let manifests = SHOP
        .replace("HOST", &host)
        .replace("CA\n", &authority.block(6));
    namespace.apply(&manifests).unwrap();
    namespace
        .start("agent", &agent(&["sleep", "inf"]))
        .unwrap_or_else(|error| panic!("{error}\n{}", installed.standing()));
    (namespace, host)
}

#[test]
fn what_prometheus_reads_is_what_happened_and_every_query_is_answered() {
    if !possible() {
        return;
    }
    let Some(chart) = Chart::here() else {
        return;
    };
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let (namespace, host) = opened(&installed);
    let prometheus = Prometheus::start(&cluster, &chart);
    every_part_is_read(&prometheus, &namespace);

    let pay = |cents: u32, status: &str| {
        let curl = format!(
            "curl -sS -m 20 -o /dev/null -w '%{{http_code}}' -H 'content-type: application/json' -d '{{\"amount\":{cents}}}' https://{host}/v1/payments"
        );
        let output = namespace.exec("agent", &curl).unwrap();
        assert!(text(&output).starts_with(status), "{}", text(&output));
    };
    for cents in [100, 200, 300] {
        pay(cents, "200");
    }
    for cents in [6_000, 6_100, 6_200, 6_300, 6_400] {
        pay(cents, "403");
    }

    let wrong = "{apiVersion: actpass.org/v1alpha1, kind: ActionPolicy, metadata: {name: wrong}, spec: {targetRefs: \
                 [{kind: Passport, name: nobody}], rules: [{name: none, decision: Deny, capabilities: [pay.nothing]}]}}";
    namespace.tried(wrong).unwrap_err();

    // The query of the alert, without its threshold.
    let rules = chart.rules().unwrap();
    let alert = rules
        .iter()
        .find(|it| it["alert"] == "ActPassDenials")
        .unwrap();
    let denials = alert["expr"]
        .as_str()
        .unwrap()
        .rsplit_once(" > ")
        .unwrap()
        .0;
    let ours = |(labels, value): (Value, String)| {
        let tenant = labels["tenant"].as_str()?;
        tenant
            .contains(&format!("/{}/", namespace.name))
            .then_some((labels["agent"].clone(), value))
    };
    let by_verdict = format!(
        "sum by (verdict) (actpass_ledger_decisions_total{{tenant=~\".+/{}/.+\", agent=\"clerk\"}})",
        namespace.name
    );
    eventually(Duration::from_secs(30), || {
        let found: Vec<(Value, String)> = prometheus
            .query(denials)?
            .into_iter()
            .filter_map(ours)
            .collect();
        ensure!(found == [(json!("clerk"), "5".to_owned())], "{found:?}");
        let mut found: Vec<(Value, String)> = prometheus.query(&by_verdict)?;
        found.sort_by_key(|(labels, _)| labels.to_string());
        let found: Vec<&str> = found.iter().map(|(_, value)| value.as_str()).collect();
        ensure!(found == ["5", "3"], "{found:?}");
        Ok(())
    })
    .unwrap();
    let fires = prometheus.query(alert["expr"].as_str().unwrap()).unwrap();
    assert_eq!(fires.into_iter().filter_map(ours).count(), 1);

    every_query_is_answered(&prometheus, &chart, &rules);
}

/// Both replicas of controller and webhook, the ledger, and the sidecar of the namespace's agent.
fn every_part_is_read(prometheus: &Prometheus<'_>, namespace: &Namespace<'_>) {
    eventually(Duration::from_secs(60), || {
        let up = prometheus.query("up")?;
        let down: Vec<&Value> = up
            .iter()
            .filter(|(_, up)| up != "1")
            .map(|(labels, _)| labels)
            .collect();
        ensure!(down.is_empty(), "not read: {down:?}");
        let of = |label: &str, value: &str| {
            up.iter()
                .filter(|(labels, _)| labels[label] == value)
                .count()
        };
        for (service, want) in [
            ("actpass-controller", 2),
            ("actpass-webhook", 2),
            ("actpass-ledger", 1),
        ] {
            ensure!(of("service", service) == want, "{service}: {up:?}");
        }
        ensure!(of("namespace", &namespace.name) == 1, "no sidecar: {up:?}");
        Ok(())
    })
    .unwrap();
}

/// Alerts and panels: each query is taken, and asks for metrics that a part shows. Those of which nothing was counted yet are
/// known to `docs/metrics.md`, which other tests hold to the code.
fn every_query_is_answered(prometheus: &Prometheus<'_>, chart: &Chart, rules: &[Value]) {
    let mut queries: Vec<String> = Vec::new();
    for rule in rules {
        queries.push(rule["expr"].as_str().unwrap().to_owned());
    }
    for panel in panels(&dashboard(chart).unwrap()) {
        queries.extend(panel.queries);
    }
    for query in &queries {
        // Grafana puts a time here.
        prometheus
            .query(&query.replace("$__rate_interval", "1m"))
            .unwrap();
    }
    let named: BTreeSet<String> = queries.iter().flat_map(|it| metrics_of(it)).collect();
    let seldom = ["actpass_sidecar_credential_echoes_total"];
    eventually(Duration::from_secs(10), || {
        let names = prometheus.api("label/__name__/values", &[])?;
        let names = names.as_array().context("no names")?;
        let shown = |name: &String| names.iter().any(|it| it == name);
        let unseen = named
            .iter()
            .filter(|it| !shown(it) && !seldom.contains(&it.as_str()));
        let unseen: Vec<&String> = unseen.collect();
        ensure!(unseen.is_empty(), "no part shows {unseen:?}");
        Ok(())
    })
    .unwrap();
}
