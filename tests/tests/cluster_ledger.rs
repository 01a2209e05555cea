//! `actpass-ledger` against a real API server: whom it believes and what it lets them do, with the rights that it needs
//! itself and no more.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use actpass_core::hash::b64u_encode;
use actpass_tests::cluster::{Cluster, Namespace, Own, eventually, possible};
use actpass_tests::parts::{compiled, fresh_key};
use actpass_tests::tenants::encoded;
use actpass_transport::names;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const API: &str = "127.0.0.1:38443";
const METRICS: &str = "127.0.0.1:38080";

/// What the installation has: empty Secrets, an empty ConfigMap, and the ledger's own rights.
const INSTALLATION: &str = r#"
{apiVersion: v1, kind: Secret, metadata: {name: actpass-ledger}}
---
{apiVersion: v1, kind: Secret, metadata: {name: actpass-ledger-tls}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: actpass-trust}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: actpass-ledger}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: actpass-controller}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: actpass-ledger}
rules:
- {apiGroups: [""], resources: [secrets], resourceNames: [actpass-ledger], verbs: [get, update]}
- {apiGroups: [""], resources: [secrets], resourceNames: [actpass-ledger-tls], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [configmaps], resourceNames: [actpass-trust], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: actpass-ledger}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: actpass-ledger}
subjects: [{kind: ServiceAccount, name: actpass-ledger}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: INSTALLED-ledger}
rules:
- {apiGroups: [""], resources: [namespaces], verbs: [get]}
- {apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}
- {apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: INSTALLED-ledger}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: INSTALLED-ledger}
subjects: [{kind: ServiceAccount, name: actpass-ledger, namespace: INSTALLED}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: INSTALLED-controller}
rules:
- {apiGroups: [actpass.org], resources: [bundles, approvals], verbs: [update]}
- {apiGroups: [actpass.org], resources: [evidence], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: INSTALLED-controller}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: INSTALLED-controller}
subjects: [{kind: ServiceAccount, name: actpass-controller, namespace: INSTALLED}]
"#;

/// People of a namespace: one with no right, one who reads, one who edits the namespace, one who keeps credentials.
const PEOPLE: &str = r#"
{apiVersion: v1, kind: ServiceAccount, metadata: {name: clerk}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: reader}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: editor}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: keeper}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [actpass.org], resources: [evidence], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: keeper}
rules: [{apiGroups: [actpass.org], resources: [credentials], resourceNames: [pay], verbs: [update]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: keeper}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: keeper}
subjects: [{kind: ServiceAccount, name: keeper}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: editor}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{kind: ServiceAccount, name: editor}]
"#;

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  actions: [{name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}]
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec: {agentId: clerk, owner: owner@example.com, purpose: Read, scope: [{capability: shop.read}]}
"#;

const CREDENTIAL: &str = r#"{"secret": "s3cr3t", "bindings": {"hosts": ["api.shop.example"], "ports": [443],
    "header": "authorization", "format": null, "ca_digest": null, "effects": ["Read"]}}"#;

/// The program, killed when it is dropped.
struct Program(Child);

impl Program {
    fn start(cluster: &Cluster, kubeconfig: &Path, data: &Path, namespace: &str) -> Self {
        let child = cluster
            .kube("env")
            .arg(format!("KUBECONFIG={}", kubeconfig.display()))
            .arg(actpass_tests::program("actpass-ledger"))
            .args(["--listen", API, "--metrics-listen", METRICS])
            .args(["--namespace", namespace, "--log-format", "text", "--data"])
            .arg(data)
            .stderr(fs::File::create(data.with_extension("log")).unwrap())
            .spawn();
        Self(child.unwrap())
    }

    /// Its exit code after SIGTERM.
    fn end(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Status and body of a request in the node's network.
fn call(
    cluster: &Cluster,
    url: &str,
    method: &str,
    token: &str,
    body: &Path,
) -> anyhow::Result<(String, String)> {
    let output = cluster
        .kube("curl")
        .args([
            "-sk",
            "--http1.1",
            "-m",
            "10",
            "-X",
            method,
            "-w",
            "\n%{http_code}",
        ])
        .args(["-H", &format!("authorization: Bearer {token}")])
        .args(["-H", "content-type: application/json"])
        .args(["--data-binary", &format!("@{}", body.display()), url])
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    Ok((status.trim().to_owned(), body.to_owned()))
}

fn token(namespace: &Namespace<'_>, account: &str, more: &[&str]) -> String {
    let args = [&["create", "token", account], more].concat();
    namespace.ask(&args).unwrap().trim().to_owned()
}

fn uid(cluster: &Cluster, namespace: &str) -> String {
    let uid = "-o=jsonpath={.metadata.uid}";
    cluster.ask(&["get", "namespace", namespace, uid]).unwrap()
}

/// A kubeconfig of the ledger's own ServiceAccount.
fn kubeconfig(cluster: &Cluster, installed: &Namespace<'_>, dir: &Path) -> PathBuf {
    let path = dir.join("kubeconfig");
    fs::copy(cluster.kubeconfig(), &path).unwrap();
    let own = format!("--kubeconfig={}", path.display());
    let token = format!("--token={}", token(installed, "actpass-ledger", &[]));
    cluster
        .ask(&["config", &own, "set-credentials", "ledger", &token])
        .unwrap();
    cluster
        .ask(&["config", &own, "set-context", "--current", "--user=ledger"])
        .unwrap();
    path
}

#[test]
fn people_are_those_of_the_api_server_with_the_rights_they_have_there() {
    if !possible() {
        return;
    }
    // One of its own: where ActPass is installed, nobody else writes objects of its names.
    let cluster = Own::up().unwrap();
    let installed = cluster.namespace("installed").unwrap();
    let (shop, bank) = (
        cluster.namespace("shop").unwrap(),
        cluster.namespace("bank").unwrap(),
    );
    installed
        .apply(&INSTALLATION.replace("INSTALLED", &installed.name))
        .unwrap();
    shop.apply(PEOPLE).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let kubeconfig = kubeconfig(&cluster, &installed, dir.path());
    let file = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let nothing = file("nothing", b"{}");
    let log = || fs::read_to_string(data.with_extension("log")).unwrap_or_default();

    // Not ready until there is somebody to believe and a certificate to show.
    let program = Program::start(&cluster, &kubeconfig, &data, &installed.name);
    let ready = |wanted: (&str, &str)| {
        let url = format!("http://{METRICS}/readyz");
        eventually(Duration::from_secs(20), || {
            let (status, said) = call(&cluster, &url, "GET", "", &nothing)?;
            let fits = status == wanted.0 && said.contains(wanted.1);
            anyhow::ensure!(fits, "{status} {said}\n{}", log());
            Ok(())
        })
        .unwrap();
    };
    ready(("503", "issuer keys"));
    let issuer = fresh_key().unwrap().verifying_key();
    let trust = format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: actpass-trust}}, data: {{issuer-keys: \"{}\\n\"}}}}",
        b64u_encode(issuer.as_bytes())
    );
    installed.apply(&trust).unwrap();
    ready(("503", "certificate"));
    let made = rcgen::generate_simple_self_signed([names::LEDGER.to_owned()]).unwrap();
    let certificate = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "actpass-ledger-tls"},
        "stringData": {"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()},
    });
    installed.apply(&certificate.to_string()).unwrap();
    ready(("200", "ok"));

    let cluster_id = uid(&cluster, "kube-system");
    let tenant = |name: &str, uid: &str| format!("{cluster_id}/{name}/{uid}");
    let (shop_uid, bank_uid) = (uid(&cluster, &shop.name), uid(&cluster, &bank.name));
    let of_shop: &str = &tenant(&shop.name, &shop_uid);
    let of_bank: &str = &tenant(&bank.name, &bank_uid);
    let of_older_shop: &str = &tenant(&shop.name, "5f0c0000-0000-4000-8000-000000000000");
    let bundle = |name, tenant: &str| file(name, compiled(POLICY, tenant).unwrap().bytes());
    let (bundle_of_shop, bundle_of_bank) =
        (bundle("shop.json", of_shop), bundle("bank.json", of_bank));
    let credential = file("credential", CREDENTIAL.as_bytes());
    let audience = ["--audience", "actpass-ledger"];
    let controller = token(&installed, "actpass-controller", &audience);
    let [clerk, reader, editor, keeper] =
        ["clerk", "reader", "editor", "keeper"].map(|account| token(&shop, account, &[]));
    let other_audience = token(&shop, "reader", &["--audience", "somebody-else"]);

    struct Case<'a> {
        name: &'static str,
        token: &'a str,
        given: (&'static str, &'static str, &'a str, &'a Path),
        want: &'static str,
    }
    let put_shop = ("PUT", "/v1/bundles", of_shop, &*bundle_of_shop);
    let put_bank = ("PUT", "/v1/bundles", of_bank, &*bundle_of_bank);
    let list = |tenant| ("GET", "/v1/approvals", tenant, nothing.as_path());
    let vote = ("POST", "/v1/approvals/apr_0/votes", of_shop, &*nothing);
    let store = |path| ("PUT", path, of_shop, credential.as_path());
    let cases = [
        Case {
            name: "no token",
            token: "",
            given: list(of_shop),
            want: "401",
        },
        Case {
            name: "a guessed token",
            token: "guessed",
            given: list(of_shop),
            want: "401",
        },
        Case {
            name: "a token for somebody else",
            token: &other_audience,
            given: list(of_shop),
            want: "401",
        },
        Case {
            name: "the editor makes policy",
            token: &editor,
            given: put_shop,
            want: "403",
        },
        Case {
            name: "the controller's audience",
            token: &controller,
            given: put_shop,
            want: "200",
        },
        Case {
            name: "the other namespace",
            token: &controller,
            given: put_bank,
            want: "200",
        },
        Case {
            name: "no right",
            token: &clerk,
            given: list(of_shop),
            want: "403",
        },
        Case {
            name: "the right",
            token: &reader,
            given: list(of_shop),
            want: "200",
        },
        Case {
            name: "no tenant",
            token: &reader,
            given: list(""),
            want: "400",
        },
        Case {
            name: "a right elsewhere",
            token: &reader,
            given: list(of_bank),
            want: "403",
        },
        Case {
            name: "a namespace that was",
            token: &reader,
            given: list(of_older_shop),
            want: "403",
        },
        Case {
            name: "a namespace that was, by whom all are open to",
            token: &controller,
            given: list(of_older_shop),
            want: "404",
        },
        Case {
            name: "the editor votes",
            token: &editor,
            given: vote,
            want: "403",
        },
        Case {
            name: "the reader votes",
            token: &reader,
            given: vote,
            want: "403",
        },
        Case {
            name: "the controller passes on nothing",
            token: &controller,
            given: vote,
            want: "400",
        },
        Case {
            name: "the controller stores a credential",
            token: &controller,
            given: store("/v1/credentials/pay"),
            want: "403",
        },
        Case {
            name: "the editor stores a credential",
            token: &editor,
            given: store("/v1/credentials/pay"),
            want: "403",
        },
        Case {
            name: "a right on another name",
            token: &keeper,
            given: store("/v1/credentials/other"),
            want: "403",
        },
        Case {
            name: "a right on that name",
            token: &keeper,
            given: store("/v1/credentials/pay"),
            want: "200",
        },
    ];
    for Case {
        name,
        token,
        given: (method, path, tenant, body),
        want,
    } in cases
    {
        let url = match tenant {
            "" => format!("https://{API}{path}"),
            tenant => format!("https://{API}{path}?tenant={}", encoded(tenant)),
        };
        let (status, said) = call(&cluster, &url, method, token, body).unwrap();
        assert_eq!(status, want, "{name}: {said}\n{}", log());
    }
    let (_, keys) = call(
        &cluster,
        &format!("https://{API}/v1/keys"),
        "GET",
        "",
        &nothing,
    )
    .unwrap();
    assert!(keys.starts_with(r#"{"keys":[""#), "{keys}");
    let (_, metrics) = call(
        &cluster,
        &format!("http://{METRICS}/metrics"),
        "GET",
        "",
        &nothing,
    )
    .unwrap();
    assert!(
        metrics.contains("actpass_ledger_leaves_total 5"),
        "{metrics}"
    );

    // It ends in order, finds its keys again, and makes no others in the place of lost ones.
    assert_eq!(program.end(), Some(0), "{}", log());
    for file in ["vault/credentials.json", "vault/tenants.json", "head"] {
        // As the kubelet leaves the files of a volume for an `fsGroup`.
        fs::set_permissions(data.join(file), Permissions::from_mode(0o660)).unwrap();
    }
    let again = Program::start(&cluster, &kubeconfig, &data, &installed.name);
    ready(("200", "ok"));
    let (_, same) = call(
        &cluster,
        &format!("https://{API}/v1/keys"),
        "GET",
        "",
        &nothing,
    )
    .unwrap();
    assert_eq!(same, keys);
    assert_eq!(again.end(), Some(0), "{}", log());
    for (key, file) in [("kek", "vault/credentials.json"), ("log.key", "/log`")] {
        let secret = installed
            .ask(&["get", "secret", "actpass-ledger", "-o", "json"])
            .unwrap();
        let mut without: serde_json::Value = serde_json::from_str(&secret).unwrap();
        without["data"]
            .as_object_mut()
            .unwrap()
            .remove(key)
            .unwrap();
        without["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("resourceVersion")
            .unwrap();
        installed
            .ask(&["delete", "secret", "actpass-ledger"])
            .unwrap();
        installed.apply(&without.to_string()).unwrap();
        let mut lost = Program::start(&cluster, &kubeconfig, &data, &installed.name);
        assert_eq!(lost.0.wait().unwrap().code(), Some(1));
        let log = log();
        let want = format!("its key `{key}` in Secret `actpass-ledger` is not");
        assert!(log.contains(&want) && log.contains(file), "{log}");
        installed
            .ask(&["delete", "secret", "actpass-ledger"])
            .unwrap();
        let mut with: serde_json::Value = serde_json::from_str(&secret).unwrap();
        with["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("resourceVersion")
            .unwrap();
        installed.apply(&with.to_string()).unwrap();
    }
    for kind in ["clusterrole", "clusterrolebinding"] {
        for part in ["ledger", "controller"] {
            let name = format!("{}-{part}", installed.name);
            cluster.ask(&["delete", kind, &name]).unwrap();
        }
    }
}
