//! The chart as Helm renders it, without a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::fed;
use crate::home::text;
use crate::installed::SYSTEM;
use crate::tools::built;

/// Helm, and the chart it renders.
#[derive(Clone, Debug)]
pub struct Chart {
    helm: PathBuf,
}

impl Chart {
    /// The chart of this tree; none, and that is printed, where Helm is not built.
    pub fn here() -> Option<Self> {
        let helm = built("helm", "helm")?;
        Some(Self { helm })
    }

    /// Its directory.
    pub fn directory() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/actpass"))
    }

    /// What `helm template` makes of some values and images, as text.
    ///
    /// # Errors
    /// Where it refuses them.
    pub fn text(&self, values: &Value) -> anyhow::Result<String> {
        let mut all = json!({"images": images()});
        merge(&mut all, values);
        let mut helm = Command::new(&self.helm);
        helm.args(["template", "actpass"])
            .arg(Self::directory())
            .args(["--namespace", SYSTEM, "--values", "-"]);
        let output = fed(&mut helm, all.to_string().as_bytes())?;
        ensure!(output.status.success(), "helm: {}", text(&output));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same as objects.
    ///
    /// # Errors
    /// Where it refuses the values, or what it makes is not YAML.
    pub fn objects(&self, values: &Value) -> anyhow::Result<Vec<Value>> {
        let objects: Vec<Value> = serde_saphyr::from_multiple(&self.text(values)?)?;
        Ok(objects.into_iter().filter(|it| !it.is_null()).collect())
    }

    /// The objects of one kind, with monitoring on and everything else as it is.
    ///
    /// # Errors
    /// Where there is none.
    pub fn monitoring(&self, kind: &str) -> anyhow::Result<Vec<Value>> {
        let mut objects = self.objects(&json!({"monitoring": {"enabled": true}}))?;
        objects.retain(|object| object.get("kind") == Some(&json!(kind)));
        ensure!(!objects.is_empty(), "the chart makes no {kind}");
        Ok(objects)
    }

    /// All rules of its PrometheusRule, as `alert` or `record`.
    ///
    /// # Errors
    /// Where there are none.
    pub fn rules(&self) -> anyhow::Result<Vec<Value>> {
        let mut rules = Vec::new();
        for object in self.monitoring("PrometheusRule")? {
            let groups = object.pointer("/spec/groups").and_then(Value::as_array);
            for group in groups.context("groups")? {
                let of = group.get("rules").and_then(Value::as_array);
                rules.extend(of.context("rules")?.clone());
            }
        }
        Ok(rules)
    }
}

/// An image of each part, by a digest that no image has.
pub fn images() -> BTreeMap<&'static str, String> {
    let parts = ["controller", "ledger", "webhook", "init", "proxy", "verify"];
    let digest = "0".repeat(64);
    let image = |part| (part, format!("registry.example/{part}@sha256:{digest}"));
    parts.map(image).into()
}

/// Puts `more` over `values`, objects key by key, as Helm does.
fn merge(values: &mut Value, more: &Value) {
    match (values, more) {
        (Value::Object(values), Value::Object(more)) => {
            for (key, more) in more {
                merge(values.entry(key).or_insert(Value::Null), more);
            }
        }
        (values, more) => *values = more.clone(),
    }
}

/// One panel of the dashboard.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What is written above it.
    pub title: String,
    /// What it shows.
    pub description: String,
    /// Grafana's name of its unit.
    pub unit: String,
    /// What it asks Prometheus.
    pub queries: Vec<String>,
}

/// The dashboard of the chart.
///
/// # Errors
/// Where there is none, or it is not JSON.
pub fn dashboard(chart: &Chart) -> anyhow::Result<Value> {
    let maps = chart.monitoring("ConfigMap")?;
    let text = maps
        .iter()
        .find_map(|it| it.pointer("/data/actpass.json")?.as_str());
    Ok(serde_json::from_str(
        text.context("the chart makes no dashboard")?,
    )?)
}

/// Its panels, without the rows between them.
pub fn panels(dashboard: &Value) -> Vec<Panel> {
    let word = |panel: &Value, path: &str| {
        let found = panel.pointer(path).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    let panels = dashboard.get("panels").and_then(Value::as_array);
    let panels = panels.into_iter().flatten();
    let shown = panels.filter(|panel| panel.get("type") != Some(&json!("row")));
    shown
        .map(|panel| Panel {
            title: word(panel, "/title"),
            description: word(panel, "/description"),
            unit: word(panel, "/fieldConfig/defaults/unit"),
            queries: panel
                .get("targets")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .map(|target| word(target, "/expr"))
                .collect(),
        })
        .collect()
}

/// The metrics of ours that a query names.
pub fn metrics_of(query: &str) -> Vec<String> {
    let words = query.split(|it: char| !it.is_ascii_alphanumeric() && it != '_');
    let ours = words.filter(|word| word.starts_with("actpass_"));
    ours.map(str::to_owned).collect()
}
