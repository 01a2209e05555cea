//! ActPass on the tests' node, installed as its users install it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Namespace, eventually, possible};
use crate::home::text;
use crate::{actpass, fed};

/// Namespace of the installation.
pub const SYSTEM: &str = "actpass-system";

/// The chart.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/actpass");

/// How long it takes until everything runs.
const PATIENCE: Duration = Duration::from_secs(120);

/// An installation, shared by all tests of a cluster.
#[derive(Debug)]
pub struct Installed<'a> {
    /// Where.
    pub cluster: &'a Cluster,
}

/// One for all tests of a program, where a cluster is possible.
///
/// # Panics
/// Where it does not come to be.
#[expect(
    clippy::unwrap_used,
    reason = "a world that cannot be made is a failed test"
)]
pub fn shared() -> Option<&'static Installed<'static>> {
    static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| Cluster::up().unwrap());
    static INSTALLED: LazyLock<Installed<'static>> =
        LazyLock::new(|| Installed::on(&CLUSTER).unwrap());
    possible().then(|| &*INSTALLED)
}

/// Somebody with a client certificate of the cluster.
#[derive(Debug)]
pub struct Person {
    dir: tempfile::TempDir,
    name: String,
}

impl<'a> Installed<'a> {
    /// Builds the images of what stands beside the tests, and installs or upgrades to them.
    ///
    /// # Errors
    /// Where something does not build, install or start.
    pub fn on(cluster: &'a Cluster) -> anyhow::Result<Self> {
        Self::with(cluster, &["--set=ledger.storage.persistent=false"])
    }

    /// The same, with a ledger that keeps its log when its pod is made anew.
    ///
    /// # Errors
    /// As there.
    pub fn lasting(cluster: &'a Cluster) -> anyhow::Result<Self> {
        let volume = cluster.state().join("ledger-volume");
        fs::create_dir_all(&volume)?;
        // No driver gives a directory of the node to the ledger's user.
        fs::set_permissions(&volume, fs::Permissions::from_mode(0o777))?;
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "ledger"},
            "spec": {
                "capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/run/actpass/ledger-volume"},
            },
        });
        cluster.apply(&volume.to_string())?;
        Self::with(cluster, &["--set=ledger.storage.persistent=true"])
    }

    /// The same, with the values of that file beside those of the tests.
    ///
    /// # Errors
    /// As there.
    pub fn valued(cluster: &'a Cluster, values: &Path) -> anyhow::Result<Self> {
        let values = values.to_str().context("a path that is no text")?;
        Self::with(cluster, &[&format!("--values={values}")])
    }

    fn with(cluster: &'a Cluster, more: &[&str]) -> anyhow::Result<Self> {
        let installed = Self { cluster };
        // Tests of several programs begin at once.
        let lock = fs::File::create(cluster.state().join("install.lock"))?;
        lock.lock()?;
        let images = installed.images()?;
        let mut args = vec![
            "upgrade".to_owned(),
            "--install".to_owned(),
            "actpass".to_owned(),
            CHART.to_owned(),
            format!("--namespace={SYSTEM}"),
            "--create-namespace".to_owned(),
            "--set=networkPolicy.quarantine=true".to_owned(),
        ];
        args.extend(more.iter().map(|argument| (*argument).to_owned()));
        for (name, image) in &images {
            let value = if name == "sidecar" { "proxy" } else { name };
            args.push(format!("--set=images.{value}={image}"));
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = cluster.helm(&args)?;
        ensure!(output.status.success(), "helm: {}", text(&output));
        installed.rolled_out()?;
        lock.unlock()?;
        Ok(installed)
    }

    /// `helm` on the release, until everything runs that it changed.
    ///
    /// # Errors
    /// Where it refuses, or something does not start.
    pub fn change(&self, args: &[&str]) -> anyhow::Result<()> {
        let namespace = format!("--namespace={SYSTEM}");
        let output = self.cluster.helm(&[args, &[&namespace]].concat())?;
        ensure!(output.status.success(), "helm: {}", text(&output));
        self.rolled_out()
    }

    /// Waits until all parts run.
    ///
    /// # Errors
    /// Where one does not.
    pub fn rolled_out(&self) -> anyhow::Result<()> {
        // Over PostgreSQL it is a Deployment.
        let ledger = ["get", "deployment,statefulset", "-n", SYSTEM, "-o=name"];
        let ledger = self.cluster.ask(&ledger)?;
        let ledger = ledger
            .lines()
            .find(|name| name.ends_with("/actpass-ledger"));
        for part in [
            "deployment/actpass-controller",
            "deployment/actpass-webhook",
            ledger.context("there is no ledger")?,
        ] {
            let timeout = format!("--timeout={}s", PATIENCE.as_secs());
            let rolled = ["rollout", "status", part, "-n", SYSTEM, &timeout];
            let rolled = self.cluster.ask(&rolled);
            rolled.with_context(|| self.standing())?;
        }
        Ok(())
    }

    /// What is wrong, for the message of a failed test.
    pub fn standing(&self) -> String {
        let mut said = String::new();
        for args in [
            &["get", "pods", "-n", SYSTEM, "-o", "wide"][..],
            &["get", "events", "-n", SYSTEM, "--sort-by=.lastTimestamp"],
            &[
                "logs",
                "-n",
                SYSTEM,
                "-l",
                "app.kubernetes.io/name=actpass",
                "--tail=30",
                "--prefix",
            ],
        ] {
            if let Ok(output) = self.cluster.kubectl(args) {
                said += &text(&output);
            }
        }
        said
    }

    fn images(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let programs = actpass();
        let programs = programs.parent().context("the directory of the programs")?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/ours");
        let output = Command::new(script)
            .arg(programs)
            .env("ACTPASS_CLUSTER_DIR", self.cluster.state())
            .output()?;
        ensure!(output.status.success(), "{}", text(&output));
        let lines = String::from_utf8(output.stdout)?;
        let pairs = lines.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs
            .map(|(name, image)| (name.to_owned(), image.to_owned()))
            .collect())
    }

    /// A namespace under ActPass, ready for agents.
    ///
    /// # Errors
    /// Where it does not become ready.
    pub fn namespace(&self, prefix: &str) -> anyhow::Result<Namespace<'a>> {
        self.namespace_under("enforce", prefix)
    }

    /// The same, in another mode.
    ///
    /// # Errors
    /// As there.
    pub fn namespace_under(&self, mode: &str, prefix: &str) -> anyhow::Result<Namespace<'a>> {
        let namespace = self.cluster.namespace(prefix)?;
        self.govern(&namespace, mode)?;
        Ok(namespace)
    }

    /// Puts a namespace under ActPass, and returns when agents may start there.
    ///
    /// # Errors
    /// Where the label is refused, or it does not become ready.
    pub fn govern(&self, namespace: &Namespace<'_>, mode: &str) -> anyhow::Result<()> {
        let label = format!("actpass.org/mode={mode}");
        let label = ["label", "namespace", &namespace.name, &label, "--overwrite"];
        self.cluster.ask(&label)?;
        eventually(Duration::from_secs(20), || {
            namespace.ask(&[
                "get",
                "configmap/actpass-trust",
                "networkpolicy/actpass-agents",
            ])
        })
        .with_context(|| self.standing())?;
        Ok(())
    }

    /// All leaves of a namespace's log, as JSON, by a copy of the ledger's files.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn leaves(&self, namespace: &Namespace<'_>) -> anyhow::Result<Vec<Value>> {
        let dir = self.copy_of_log()?;
        let output = Command::new(actpass())
            .args(["events", "--output", "json"])
            .arg(dir.path())
            .output()?;
        ensure!(output.status.success(), "{}", text(&output));
        let marked = format!("/{}/", namespace.name);
        let mut leaves = Vec::new();
        for line in String::from_utf8(output.stdout)?.lines() {
            let leaf: Value = serde_json::from_str(line)?;
            let log = leaf.pointer("/h/log").and_then(Value::as_str);
            if log.is_some_and(|log| log.contains(&marked)) {
                leaves.push(leaf);
            }
        }
        Ok(leaves)
    }

    /// A copy of the ledger's log, as an auditor takes one.
    ///
    /// # Errors
    /// Where it cannot be copied.
    pub fn copy_of_log(&self) -> anyhow::Result<tempfile::TempDir> {
        let uid = ["get", "pod", "actpass-ledger-0", "-n", SYSTEM];
        let uid = self
            .cluster
            .ask(&[&uid[..], &["-o=jsonpath={.metadata.uid}"]].concat())?;
        let volume =
            format!("/run/actpass/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/data/log");
        let mut tries = 0;
        let packed = loop {
            let mut tar = self.cluster.node("tar");
            let packed = tar.args(["-C", &volume, "-cf", "-", "."]).output()?;
            // 1: something came, went or changed meanwhile, as beside segments that are full.
            if packed.status.code() != Some(1) || tries == 20 {
                break packed;
            }
            tries += 1;
            std::thread::sleep(Duration::from_millis(100));
        };
        let complaint = String::from_utf8_lossy(&packed.stderr);
        ensure!(packed.status.success(), "{complaint}");
        let dir = tempfile::tempdir()?;
        let mut unpack = Command::new("tar");
        unpack.arg("-C").arg(dir.path()).args(["-xf", "-"]);
        let unpacked = fed(&mut unpack, &packed.stdout)?;
        ensure!(unpacked.status.success(), "{}", text(&unpacked));
        Ok(dir)
    }

    /// Stores a secret in the vault of a namespace.
    ///
    /// # Errors
    /// Where the ledger does not take it.
    pub fn store(
        &self,
        namespace: &Namespace<'_>,
        name: &str,
        secret: &str,
        bindings: &Value,
    ) -> anyhow::Result<()> {
        let body = json!({"secret": secret, "bindings": bindings});
        let path = format!("/v1/credentials/{name}");
        // The tenant's log is made with its first policy.
        eventually(Duration::from_secs(20), || {
            let output = self.ledger(namespace, "PUT", &path, Some(&body))?;
            ensure!(output.status.success(), "{}", text(&output));
            Ok(())
        })
    }

    /// Asks the ledger about a namespace, as somebody who may everything there.
    ///
    /// # Errors
    /// Where it cannot be asked.
    pub fn ledger(
        &self,
        namespace: &Namespace<'_>,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Output> {
        let uid = |name: &str| {
            self.cluster
                .ask(&["get", "namespace", name, "-o=jsonpath={.metadata.uid}"])
        };
        let tenant = format!(
            "{}%2F{}%2F{}",
            uid("kube-system")?,
            namespace.name,
            uid(&namespace.name)?
        );
        self.ask_as_admin(method, &format!("{path}?tenant={tenant}"), body)
    }

    fn ask_as_admin(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Output> {
        let admin = "tests-admin";
        let cluster = self.cluster;
        // Both may be there from an earlier test.
        drop(cluster.kubectl(&["create", "serviceaccount", admin, "-n", SYSTEM])?);
        drop(cluster.kubectl(&[
            "create",
            "clusterrolebinding",
            admin,
            "--clusterrole=cluster-admin",
            &format!("--serviceaccount={SYSTEM}:{admin}"),
        ])?);
        let token = cluster.ask(&[
            "create",
            "token",
            admin,
            "-n",
            SYSTEM,
            "--audience=actpass-ledger",
        ])?;
        let service = ["get", "service", "actpass-ledger", "-n", SYSTEM];
        let ip = cluster.ask(&[&service[..], &["-o=jsonpath={.spec.clusterIP}"]].concat())?;
        let trust = ["get", "configmap", "actpass-trust", "-n", SYSTEM];
        let ca = cluster.ask(&[&trust[..], &["-o=jsonpath={.data.ca\\.pem}"]].concat())?;
        let ca_file = cluster.state().join("ledger-ca.pem");
        fs::write(&ca_file, ca)?;
        let mut curl = cluster.kube("curl");
        curl.args([
            "-sS",
            "--fail-with-body",
            "-m",
            "10",
            "-X",
            method,
            "--cacert",
        ])
        .arg(&ca_file)
        .arg("--resolve")
        .arg(format!("ledger.actpass.internal:8443:{ip}"))
        .args(["-H", "content-type: application/json", "-H"])
        .arg(format!("authorization: Bearer {}", token.trim()));
        if let Some(body) = body {
            curl.arg("-d").arg(body.to_string());
        }
        curl.arg(format!("https://ledger.actpass.internal:8443{path}"));
        Ok(curl.output()?)
    }

    /// Somebody whom the cluster knows by a client certificate.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn person(&self, name: &str, groups: &[&str]) -> anyhow::Result<Person> {
        let dir = tempfile::tempdir()?;
        let pki = self.cluster.state().join("pki");
        let organisations: String = groups.iter().map(|group| format!("/O={group}")).collect();
        let (key, certificate) = (dir.path().join("key.pem"), dir.path().join("cert.pem"));
        let mut openssl = Command::new("openssl");
        openssl
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args([
                "-noenc",
                "-days",
                "2",
                "-addext",
                "extendedKeyUsage=clientAuth",
            ])
            .args(["-subj", &format!("{organisations}/CN={name}"), "-CA"])
            .arg(pki.join("ca.crt"))
            .arg("-CAkey")
            .arg(pki.join("ca.key"))
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate);
        let output = openssl.output()?;
        ensure!(output.status.success(), "openssl: {}", text(&output));
        let login = json!({"client-certificate": certificate, "client-key": key});
        self.known_by(dir, name, &login)
    }

    /// Somebody whose kubectl logs in with a token that a program gives it, as those of identity providers do. To the API
    /// server it is a ServiceAccount of the installation's namespace.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn token_person(&self, name: &str) -> anyhow::Result<Person> {
        let dir = tempfile::tempdir()?;
        self.account(name)?;
        let token = ["create", "token", name, "-n", SYSTEM, "--duration=1h"];
        let token = self.cluster.ask(&token)?;
        let credential = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": {"token": token.trim()},
        });
        let file = dir.path().join("credential");
        fs::write(&file, credential.to_string())?;
        let login = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": [file],
            "interactiveMode": "Never",
        }});
        self.known_by(dir, &account(name), &login)
    }

    fn known_by(
        &self,
        dir: tempfile::TempDir,
        name: &str,
        login: &Value,
    ) -> anyhow::Result<Person> {
        let pki = self.cluster.state().join("pki");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {
                "server": "https://10.77.0.1:6443", "certificate-authority": pki.join("ca.crt")}}],
            "users": [{"name": "test", "user": login}],
        });
        fs::write(dir.path().join("config"), config.to_string())?;
        Ok(Person {
            dir,
            name: name.to_owned(),
        })
    }

    fn account(&self, name: &str) -> anyhow::Result<()> {
        // It may be there from an earlier test.
        drop(
            self.cluster
                .kubectl(&["create", "serviceaccount", name, "-n", SYSTEM])?,
        );
        self.cluster
            .ask(&["get", "serviceaccount", name, "-n", SYSTEM])?;
        Ok(())
    }

    /// Lets somebody reach the ledger, as far as the installation is asked.
    ///
    /// # Errors
    /// Where the binding is not made.
    pub fn may_reach_the_ledger(&self, person: &Person) -> anyhow::Result<()> {
        let user = format!("--user={}", person.name);
        let binding = format!("{}-reaches-the-ledger", person.name);
        let role = "--role=actpass-ledger-client";
        let system = ["create", "rolebinding", &binding, role, &user, "-n", SYSTEM];
        // As above.
        drop(self.cluster.kubectl(&system)?);
        Ok(())
    }

    /// A ServiceAccount with a ClusterRole in a namespace, whose token somebody with a client certificate may have made: the
    /// flag that names it.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn account_for(
        &self,
        namespace: &Namespace<'_>,
        person: &Person,
        role: &str,
    ) -> anyhow::Result<String> {
        let name = format!("tool-of-{}", person.name);
        self.account(&name)?;
        let (cluster, resource) = (self.cluster, format!("--resource-name={name}"));
        let make = ["create", "role", &name, "--verb=create", "-n", SYSTEM];
        let what = ["--resource=serviceaccounts/token", &resource];
        drop(cluster.kubectl(&[&make[..], &what].concat())?);
        let (of_role, user) = (format!("--role={name}"), format!("--user={}", person.name));
        drop(cluster.kubectl(&[
            "create",
            "rolebinding",
            &name,
            &of_role,
            &user,
            "-n",
            SYSTEM,
        ])?);
        let role = format!("--clusterrole={role}");
        let user = format!("--user={}", account(&name));
        namespace.ask(&["create", "rolebinding", &name, &role, &user])?;
        Ok(format!("--service-account={SYSTEM}/{name}"))
    }

    /// Gives somebody a ClusterRole in a namespace.
    ///
    /// # Errors
    /// Where the binding is not made.
    pub fn allow(
        &self,
        namespace: &Namespace<'_>,
        person: &Person,
        role: &str,
    ) -> anyhow::Result<()> {
        let binding = format!("{}-{role}", person.name);
        let (role, user) = (
            format!("--clusterrole={role}"),
            format!("--user={}", person.name),
        );
        namespace.ask(&["create", "rolebinding", &binding, &role, &user])?;
        Ok(())
    }
}

/// The user that a ServiceAccount of the installation's namespace is.
fn account(name: &str) -> String {
    format!("system:serviceaccount:{SYSTEM}:{name}")
}

impl Person {
    /// `kubectl` as this person.
    pub fn kubectl(&self, cluster: &Cluster, args: &[&str]) -> anyhow::Result<Output> {
        let mut kubectl = cluster.kube("kubectl");
        kubectl.arg("--kubeconfig").arg(self.config()).args(args);
        Ok(kubectl.output()?)
    }

    /// `kubectl apply` of manifests as this person.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn apply(&self, cluster: &Cluster, args: &[&str], yaml: &str) -> anyhow::Result<Output> {
        let mut kubectl = cluster.kube("kubectl");
        kubectl.arg("--kubeconfig").arg(self.config()).args(args);
        fed(&mut kubectl, yaml.as_bytes())
    }

    /// `kubectl actpass` as this person.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn actpass(&self, cluster: &Cluster, args: &[&str]) -> anyhow::Result<Output> {
        Ok(self.plugin(cluster, args)?.stdin(Stdio::null()).output()?)
    }

    /// `kubectl actpass` as this person, with something on its standard input.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn actpass_fed(
        &self,
        cluster: &Cluster,
        args: &[&str],
        input: &str,
    ) -> anyhow::Result<Output> {
        fed(&mut self.plugin(cluster, args)?, input.as_bytes())
    }

    fn plugin(&self, cluster: &Cluster, args: &[&str]) -> anyhow::Result<Command> {
        let plugin = self.dir.path().join("kubectl-actpass");
        if !plugin.exists() {
            std::os::unix::fs::symlink(actpass(), &plugin)?;
        }
        // As kubectl finds it: in the path.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(
            [self.dir.path().to_owned()]
                .into_iter()
                .chain(std::env::split_paths(&path)),
        )?;
        let mut kubectl = cluster.kube("kubectl");
        kubectl
            .env("PATH", path)
            .args(["actpass", "--kubeconfig"])
            .arg(self.config())
            .args(args);
        Ok(kubectl)
    }

    fn config(&self) -> PathBuf {
        Path::new(self.dir.path()).join("config")
    }
}

/// Serial number of the certificate that a part shows.
///
/// # Errors
/// Where it shows none.
pub fn shown(cluster: &Cluster, part: &str) -> anyhow::Result<String> {
    let service = format!("actpass-{part}");
    let of = "-o=jsonpath={.spec.clusterIP}:{.spec.ports[0].port}";
    let address = cluster.ask(&["get", "service", &service, "-n", SYSTEM, of])?;
    let script = format!(
        "openssl s_client -connect {address} -servername {part}.actpass.internal </dev/null 2>/dev/null | openssl x509 -noout -serial"
    );
    let output = cluster.kube("sh").args(["-c", &script]).output()?;
    ensure!(output.status.success(), "{}", text(&output));
    Ok(text(&output))
}
