//! An installation whose webhook is a process of the node's network.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use actpass_core::hash::{b64u_decode_array, b64u_encode, sha256};
use actpass_tests::authority::Authority;
use actpass_tests::cluster::{Cluster, eventually};
use actpass_tests::program;
use actpass_webhook::UidSecret;
use actpass_webhook::settings::{Images, Pins, Settings};
use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{SigningKey, VerifyingKey};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

/// Namespace of the installation.
pub(crate) const SYSTEM: &str = "actpass-system";

/// As the controller, under the rights that the chart gives it.
pub(crate) const CONTROLLER: &str = "--as=system:serviceaccount:actpass-system:actpass-controller";

/// The node's address, where the webhook listens.
const NODE: &str = "10.77.0.1";

/// One installation; it ends with this.
pub(crate) struct Installed<'a> {
    /// Where.
    pub(crate) cluster: &'a Cluster,
    webhook: Child,
    values: PathBuf,
    authority: Authority,
    keys: [[u8; 32]; 2],
    dir: tempfile::TempDir,
}

fn chart() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/actpass").to_owned()
}

fn image(name: &str) -> String {
    format!("actpass.test/{name}@sha256:{}", "1".repeat(64))
}

impl<'a> Installed<'a> {
    /// Installs the chart without a pod, gives it what the controller would, and starts the webhook.
    pub(crate) fn new(cluster: &'a Cluster) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let values = dir.path().join("values.json");
        let names = ["controller", "ledger", "webhook", "init", "proxy", "verify"];
        let images: serde_json::Map<String, Value> = names
            .iter()
            .map(|name| ((*name).to_owned(), json!(image(name))))
            .collect();
        let none = json!({"replicas": 0});
        fs::write(
            &values,
            json!({"images": images, "controller": none, "ledger": none, "webhook": none})
                .to_string(),
        )?;
        let authority = Authority::new()?;
        cluster.ask(&["create", "namespace", SYSTEM])?;
        helm(cluster, "install", &values, &["--dry-run=server"])?;
        helm(cluster, "install", &values, &[])?;
        let keys =
            [[3; 32], [4; 32]].map(|seed| SigningKey::from_bytes(&seed).verifying_key().to_bytes());
        let webhook = start(cluster, dir.path())?;
        let installed = Self {
            cluster,
            webhook,
            values,
            authority,
            keys,
            dir,
        };
        installed.write_what_the_controller_writes()?;
        eventually(Duration::from_secs(20), || {
            let output = cluster
                .kube("curl")
                .args(["--silent", "--fail", "http://10.77.0.1:8080/readyz"])
                .output()?;
            ensure!(output.status.success(), "not ready: {}", installed.log());
            Ok(())
        })?;
        eventually(Duration::from_secs(20), || {
            let keys = "https://actpass-webhook.actpass-system.svc/v1/keys";
            let address = cluster.ask(&[
                "get",
                "service",
                "actpass-webhook",
                "--namespace",
                SYSTEM,
                "--output",
                "jsonpath={.spec.clusterIP}",
            ])?;
            let resolve = format!("actpass-webhook.actpass-system.svc:443:{address}");
            let ca = installed.dir.path().join("ca.pem");
            fs::write(&ca, &installed.authority.pem)?;
            let output = cluster
                .kube("curl")
                .args(["--silent", "--fail", "--resolve", &resolve, "--cacert"])
                .arg(&ca)
                .arg(keys)
                .output()?;
            ensure!(
                output.status.success(),
                "the Service does not lead to the webhook"
            );
            Ok(())
        })?;
        Ok(installed)
    }

    /// Certificate, authorities and keys; in each case the objects of the chart get their content.
    fn write_what_the_controller_writes(&self) -> anyhow::Result<()> {
        let names = [
            "actpass-webhook.actpass-system.svc",
            actpass_transport::names::WEBHOOK,
        ];
        let (chain, key) = self.authority.certificate(&names)?;
        let data = json!({"tls.crt": STANDARD.encode(chain), "tls.key": STANDARD.encode(key), "ca.crt": STANDARD.encode(&self.authority.pem)});
        self.fill("secret/actpass-webhook-tls", data)?;
        let keys = self.keys.map(|key| b64u_encode(&key));
        let [issuer, ledger] = keys;
        let data =
            json!({"ca.pem": self.authority.pem, "issuer-keys": issuer, "ledger-keys": ledger});
        self.fill("configmap/actpass-trust", data)?;
        for kind in [
            "mutatingwebhookconfiguration/actpass",
            "validatingwebhookconfiguration/actpass",
        ] {
            let found = self.get(SYSTEM, kind);
            let count = found
                .get("webhooks")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            let add = |index| json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": STANDARD.encode(&self.authority.pem)});
            let operations: Vec<Value> = (0..count).map(add).collect();
            self.patch(
                kind,
                &["--type=json", CONTROLLER],
                &Value::Array(operations),
            )?;
        }
        // Where the Service leads to, as long as no pod of ours runs.
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {
            "name": "actpass-webhook-by-hand", "labels": {"kubernetes.io/service-name": "actpass-webhook"}},
            "addressType": "IPv4", "endpoints": [{"addresses": [NODE], "conditions": {"ready": true}}],
            "ports": [{"name": "api", "port": 8443, "protocol": "TCP"}]});
        self.create(SYSTEM, &slice, &[])?;
        Ok(())
    }

    /// What the controller makes in a namespace under ActPass.
    pub(crate) fn prepare(&self, namespace: &str) -> anyhow::Result<()> {
        let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "actpass-agents"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}});
        let trust = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "actpass-trust"}, "data": {"ca.pem": self.authority.pem}});
        for object in [policy, trust] {
            self.create(namespace, &object, &[CONTROLLER])?;
        }
        Ok(())
    }

    /// Makes an object by `kubectl create`.
    ///
    /// # Errors
    /// All that `kubectl` says, where it is refused.
    pub(crate) fn create(
        &self,
        namespace: &str,
        object: &Value,
        more: &[&str],
    ) -> anyhow::Result<Value> {
        self.send("create", namespace, object, more)
    }

    /// Gives an object of the chart its content, as the controller does: it may update these, and not patch them.
    fn fill(&self, object: &str, data: Value) -> anyhow::Result<()> {
        let mut found = self.get(SYSTEM, object);
        found
            .as_object_mut()
            .context("an object")?
            .insert("data".to_owned(), data);
        self.send("replace", SYSTEM, &found, &[CONTROLLER])?;
        Ok(())
    }

    fn send(
        &self,
        verb: &str,
        namespace: &str,
        object: &Value,
        more: &[&str],
    ) -> anyhow::Result<Value> {
        let mut command = self.cluster.kube("kubectl");
        command
            .args([
                verb,
                "--namespace",
                namespace,
                "--filename",
                "-",
                "--output",
                "json",
            ])
            .args(more);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child
            .stdin
            .take()
            .context("standard input")?
            .write_all(object.to_string().as_bytes())?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// An object as it stands.
    #[track_caller]
    pub(crate) fn get(&self, namespace: &str, object: &str) -> Value {
        let found = self
            .cluster
            .ask(&["get", object, "--namespace", namespace, "--output", "json"])
            .unwrap();
        serde_json::from_str(&found).unwrap()
    }

    fn patch(&self, object: &str, more: &[&str], patch: &Value) -> anyhow::Result<()> {
        let patch = patch.to_string();
        let args = [
            &["patch", object, "--namespace", SYSTEM, "--patch", &patch],
            more,
        ]
        .concat();
        self.cluster.ask(&args)?;
        Ok(())
    }

    /// `helm upgrade` with further arguments.
    pub(crate) fn upgrade(&self, more: &[&str]) -> anyhow::Result<()> {
        helm(self.cluster, "upgrade", &self.values, more)
    }

    /// All objects of the chart under further values.
    ///
    /// # Errors
    /// What `helm` says against them.
    pub(crate) fn rendered(&self, set: &str) -> anyhow::Result<String> {
        let mut command = self.cluster.kube("helm");
        command.args([
            "template",
            "actpass",
            &chart(),
            "--namespace",
            SYSTEM,
            "--kube-version=1.33.0",
        ]);
        let output = command
            .arg("--values")
            .arg(&self.values)
            .args(["--set", set])
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// What the webhook injects.
    pub(crate) fn settings(&self) -> Settings {
        let image = |name: &str| image(name).parse().unwrap();
        let images = Images {
            init: image("init"),
            proxy: image("proxy"),
            verify: image("verify"),
        };
        let ca = CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap();
        let [issuer, ledger] = self.keys;
        let pins = Pins {
            ca: [sha256(&[&ca])].into(),
            issuer_keys: [sha256(&[&issuer])].into(),
            ledger_keys: [sha256(&[&ledger])].into(),
        };
        let service = |part: &str| format!("actpass-{part}.{SYSTEM}.svc:8443");
        Settings::new(images, service("controller"), service("ledger"), pins)
    }

    /// What the webhook makes uids from.
    pub(crate) fn uid_secret(&self) -> anyhow::Result<UidSecret> {
        Ok(UidSecret::new(self.secret("uid.secret")?))
    }

    /// What the webhook stamps votes with.
    pub(crate) fn vote_key(&self) -> anyhow::Result<VerifyingKey> {
        Ok(SigningKey::from_bytes(&self.secret("vote.key")?).verifying_key())
    }

    fn secret(&self, key: &str) -> anyhow::Result<[u8; 32]> {
        let found = self.get(SYSTEM, "secret/actpass-webhook");
        let text = found
            .get("data")
            .and_then(|data| data.get(key)?.as_str())
            .context("no such key")?;
        let text = String::from_utf8(STANDARD.decode(text)?)?;
        b64u_decode_array(text.trim()).map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// Ends the webhook and leaves all else.
    pub(crate) fn stop(&mut self) {
        self.webhook.kill().ok();
        self.webhook.wait().ok();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("webhook:\n{}", self.log());
        }
        self.stop();
    }
}

fn helm(cluster: &Cluster, verb: &str, values: &Path, more: &[&str]) -> anyhow::Result<()> {
    let mut command = cluster.kube("helm");
    command
        .args([verb, "actpass", &chart(), "--namespace", SYSTEM, "--values"])
        .arg(values)
        .args(more);
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "helm {verb}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The webhook, as the ServiceAccount that its pods have.
fn start(cluster: &Cluster, dir: &Path) -> anyhow::Result<Child> {
    let token = cluster.ask(&["create", "token", "actpass-webhook", "--namespace", SYSTEM])?;
    let config = cluster.ask(&["config", "view", "--raw", "--minify", "--output", "json"])?;
    let mut config: Value = serde_json::from_str(&config)?;
    *config.pointer_mut("/users/0/user").context("no user")? = json!({"token": token});
    let kubeconfig = dir.join("kubeconfig");
    fs::write(&kubeconfig, config.to_string())?;
    let program = program("actpass-webhook");
    let mut command = cluster.kube("env");
    command
        .arg(format!("KUBECONFIG={}", kubeconfig.display()))
        .arg(program);
    command.args(["--log-format=text", "--shutdown-delay-seconds=0"]);
    command.args([
        format!("--listen={NODE}:8443"),
        format!("--health-listen={NODE}:8080"),
    ]);
    for name in ["init", "proxy", "verify"] {
        command.arg(format!("--{name}-image={}", image(name)));
    }
    Ok(command
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.join("log"))?)
        .spawn()?)
}
