//! What the chart renders to, judged by others: Kubernetes' own schemas through kubeconform, suites of helm-unittest, and the
//! file for who installs without Helm.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a chart that cannot be read is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use actpass_tests::chart::Chart;
use actpass_tests::fed;
use actpass_tests::home::text;
use actpass_tests::tools::built;
use serde_json::{Map, Value, json};

/// kubeconform with a schema of each kind in a directory: those of the API server, of the Prometheus operator, and ours.
struct Judge {
    program: PathBuf,
    schemas: tempfile::TempDir,
}

impl Judge {
    fn new() -> Option<Self> {
        let (program, swagger) = (
            built("helm", "kubeconform")?,
            built("schemas", "swagger.json")?,
        );
        let schemas = tempfile::tempdir().unwrap();
        let judge = Self { program, schemas };
        let all: Value = serde_json::from_str(&fs::read_to_string(&swagger).unwrap()).unwrap();
        judge.built_in(all);
        let operator = swagger.parent().unwrap().to_path_buf();
        for directory in [operator, Chart::directory().join("files/crds")] {
            for file in fs::read_dir(directory).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_some_and(|it| it == "yaml") {
                    let text = fs::read_to_string(path).unwrap();
                    judge.custom(&serde_saphyr::from_str(&text).unwrap());
                }
            }
        }
        Some(judge)
    }

    /// A schema of each kind of the API server's own document, with the definitions that it rests on.
    fn built_in(&self, mut all: Value) {
        let definitions = all["definitions"].as_object_mut().unwrap();
        definitions.values_mut().for_each(close);
        for definition in definitions.values() {
            let kinds = definition["x-kubernetes-group-version-kind"].as_array();
            for kind in kinds.into_iter().flatten() {
                let mut used = Map::new();
                gather(definition, definitions, &mut used);
                let mut schema = definition.clone();
                schema["definitions"] = Value::Object(used);
                self.write(&kind["group"], &kind["version"], &kind["kind"], &schema);
            }
        }
    }

    /// The schema of a CustomResourceDefinition.
    fn custom(&self, definition: &Value) {
        let names = &definition["spec"];
        for version in names["versions"].as_array().unwrap() {
            let mut schema = version["schema"]["openAPIV3Schema"].clone();
            close(&mut schema);
            for field in ["apiVersion", "kind"] {
                schema["properties"][field] = json!({"type": "string"});
            }
            schema["properties"]["metadata"] = json!({"type": "object"});
            let kind = &names["names"]["kind"];
            self.write(&names["group"], &version["name"], kind, &schema);
        }
    }

    fn write(&self, group: &Value, version: &Value, kind: &Value, schema: &Value) {
        let word = |it: &Value| it.as_str().unwrap().to_owned();
        // As kubeconform asks for it: the first word of the group, and the kind in small letters.
        let group = word(group).split('.').next().unwrap().to_owned();
        let parts = [word(kind).to_lowercase(), group, word(version)];
        let name: Vec<&str> = parts
            .iter()
            .map(String::as_str)
            .filter(|it| !it.is_empty())
            .collect();
        let file = format!("{}.json", name.join("-"));
        fs::write(self.schemas.path().join(file), schema.to_string()).unwrap();
    }

    /// What it says of manifests: every field has to be known, and every kind.
    fn judge(&self, manifests: &str) -> Output {
        let schemas = self
            .schemas
            .path()
            .join("{{.ResourceKind}}{{.KindSuffix}}.json");
        let mut command = Command::new(&self.program);
        command
            .args(["-strict", "-summary", "-schema-location"])
            .arg(schemas);
        fed(&mut command, manifests.as_bytes()).unwrap()
    }
}

/// No fields but those named; and what an API server takes as text or number is either.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(words) => {
            let either = words.get("format") == Some(&json!("int-or-string"))
                || words.get("x-kubernetes-int-or-string") == Some(&json!(true))
                || words
                    .get("description")
                    .and_then(Value::as_str)
                    .is_some_and(|it| it.starts_with("Quantity is"));
            if either {
                *words = json!({"type": ["string", "integer", "number"]})
                    .as_object()
                    .unwrap()
                    .clone();
                return;
            }
            let open = words.contains_key("additionalProperties")
                || words.contains_key("x-kubernetes-preserve-unknown-fields");
            if words.get("properties").is_some_and(Value::is_object) && !open {
                words.insert("additionalProperties".to_owned(), json!(false));
            }
            words.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// The definitions that a schema refers to, and those that these refer to.
fn gather(schema: &Value, all: &Map<String, Value>, used: &mut Map<String, Value>) {
    match schema {
        Value::Object(words) => {
            let name = words.get("$ref").and_then(Value::as_str);
            if let Some(name) = name.and_then(|it| it.strip_prefix("#/definitions/"))
                && !used.contains_key(name)
            {
                used.insert(name.to_owned(), all[name].clone());
                gather(&all[name], all, used);
            }
            words.values().for_each(|it| gather(it, all, used));
        }
        Value::Array(items) => items.iter().for_each(|it| gather(it, all, used)),
        _ => {}
    }
}

#[test]
fn kubernetes_knows_every_field_with_any_values() {
    let (Some(chart), Some(judge)) = (Chart::here(), Judge::new()) else {
        return;
    };
    let everything = json!({
        "imagePullSecrets": [{"name": "registry"}],
        "imagePullPolicy": "Always",
        "controller": {"replicas": 3, "env": [{"name": "RUST_BACKTRACE", "value": "1"}]},
        "ledger": {"storage": {"className": "fast", "size": "1Ti"}},
        "webhook": {"replicas": 3, "timeoutSeconds": 10},
        "sidecar": {"defaultAgentUid": 1000, "runtimeClasses": ["gvisor"]},
        "networkPolicy": {"apiServerCidrs": ["192.0.2.10/32"], "ledgerClients": [{"podSelector": {"matchLabels": {"app": "console"}}}]},
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists", "effect": "NoSchedule"}],
        "monitoring": {"enabled": true, "labels": {"release": "prometheus"}},
    });
    let nothing = json!({
        "crds": {"enabled": false},
        "admissionPolicies": {"enabled": false},
        "networkPolicy": {"enabled": false},
        "podDisruptionBudgets": {"enabled": false},
        "ledger": {"storage": {"persistent": false}},
        "priorityClassName": "",
    });
    let postgres = json!({
        "ledger": {"replicas": 3, "postgres": {"url": "postgresql://ledger@db/actpass", "passwordSecret": "db", "caSecret": "ca"}},
    });
    for (name, values) in [
        ("defaults", json!({})),
        ("everything", everything),
        ("PostgreSQL", postgres),
        ("little", nothing),
    ] {
        let output = judge.judge(&chart.text(&values).unwrap());
        assert!(output.status.success(), "{name}: {}", text(&output));
        let said = text(&output);
        assert!(
            said.contains("Invalid: 0, Errors: 0, Skipped: 0"),
            "{name}: {said}"
        );
    }
}

#[test]
fn kubernetes_knows_every_field_of_the_catalogue() {
    let Some(judge) = Judge::new() else {
        return;
    };
    for file in fs::read_dir(Chart::directory().join("../../catalog")).unwrap() {
        let path = file.unwrap().path();
        let output = judge.judge(&fs::read_to_string(&path).unwrap());
        assert!(
            output.status.success(),
            "{}: {}",
            path.display(),
            text(&output)
        );
    }
}

#[test]
fn a_mistake_in_a_template_would_be_seen() {
    let (Some(chart), Some(judge)) = (Chart::here(), Judge::new()) else {
        return;
    };
    let good = chart
        .text(&json!({"monitoring": {"enabled": true}}))
        .unwrap();
    for (from, to) in [
        (
            "terminationGracePeriodSeconds: 30",
            "terminationGracePeriod: 30",
        ),
        ("  replicas: 2", "  replicas: two"),
        (
            "readOnlyRootFilesystem: true",
            "readOnlyRootFilesystem: \"yes\"",
        ),
        ("podMetricsEndpoints:", "podEndpoints:"),
        ("kind: StatefulSet", "kind: StatefulSets"),
        (
            "serviceName: actpass-ledger\n",
            "serviceName: actpass-ledger\n  serviceName: actpass-ledger\n",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let output = judge.judge(&good.replacen(from, to, 1));
        assert!(!output.status.success(), "{to}: {}", text(&output));
    }
}

#[test]
fn the_suites_of_the_chart_pass_and_stay_out_of_its_package() {
    let (Some(unittest), Some(helm)) = (built("helm", "helm-unittest"), built("helm", "helm"))
    else {
        return;
    };
    let run = |program: &Path, args: &[&str]| {
        let output = Command::new(program).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        text(&output)
    };
    let chart = Chart::directory().to_str().unwrap();
    let said = run(&unittest, &["--strict", chart]);
    let suites = fs::read_dir(Chart::directory().join("tests")).unwrap();
    let suites = suites
        .filter(|it| it.as_ref().unwrap().path().is_file())
        .count();
    assert!(
        said.contains(&format!("{suites} passed, {suites} total")),
        "{said}"
    );

    let dir = tempfile::tempdir().unwrap();
    run(
        &helm,
        &[
            "package",
            chart,
            "--destination",
            dir.path().to_str().unwrap(),
        ],
    );
    let package = fs::read_dir(dir.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let files = run(
        Path::new("tar"),
        &["--list", "--gzip", "--file", package.to_str().unwrap()],
    );
    assert!(files.contains("actpass/templates/ledger.yaml"), "{files}");
    assert!(!files.contains("actpass/tests"), "{files}");
}

#[test]
fn the_file_for_who_has_no_helm_is_the_chart_with_its_defaults() {
    let Some(chart) = Chart::here() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(Chart::directory().join("../plain"))
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let file = fs::read_to_string(dir.path().join("actpass.yaml")).unwrap();
    let (namespace, rest) = file.split_once("---\n").unwrap();
    let namespace: Value = serde_saphyr::from_str(namespace).unwrap();
    assert_eq!(
        (&namespace["kind"], &namespace["metadata"]["name"]),
        (&json!("Namespace"), &json!("actpass-system"))
    );
    // The same but for the images, which nobody has under these names.
    let zeros = "0".repeat(64);
    let image = |name: &str| format!("actpass.invalid/{name}@sha256:{zeros}");
    let images: BTreeSet<String> = rest
        .split(|it: char| it.is_whitespace() || "\"'})".contains(it))
        .filter(|word| word.contains("@sha256:"))
        .map(str::to_owned)
        .collect();
    let parts = [
        "controller",
        "ledger",
        "webhook",
        "init",
        "sidecar",
        "verify",
    ];
    assert_eq!(images, parts.map(image).into());
    let values = json!({"images": {
        "controller": image("controller"), "ledger": image("ledger"), "webhook": image("webhook"),
        "init": image("init"), "proxy": image("sidecar"), "verify": image("verify")}});
    assert_eq!(format!("---\n{rest}"), chart.text(&values).unwrap());
    let crds: Vec<Value> =
        serde_saphyr::from_multiple(&fs::read_to_string(dir.path().join("crds.yaml")).unwrap())
            .unwrap();
    assert_eq!(crds.len(), 7);
}
