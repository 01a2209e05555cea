//! A namespace under audit on a real node: what runs there goes on as before, the log says what would have become of it, and a
//! label makes it hold in the same pod.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::time::{Duration, Instant};

use actpass_tests::authority::Authority;
use actpass_tests::cluster::{Cluster, Namespace, eventually, possible};
use actpass_tests::front::{Front, answering};
use actpass_tests::home::text;
use actpass_tests::installed::Installed;
use serde_json::Value;

/// What the agent itself shows.
const MINE: &str = "Bearer my_own_key";

const AGENT: &str = r#"apiVersion: v1
kind: ServiceAccount
metadata: {name: clerk}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      serviceAccountName: clerk
      terminationGracePeriodSeconds: 1
      containers:
      - name: agent
        image: actpass.test/agent-curl:test
        imagePullPolicy: Never
        command: [sleep, inf]
        securityContext: {runAsUser: 1000}
"#;

/// `HOST` is the declared one; reads are allowed, deletions denied, payments asked about.
const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [HOST]
  addresses: Cluster
  tls:
    caBundle: |
CA
  credentials:
    - {name: shop, effects: [Read, Write, Irreversible], header: Authorization, format: "Bearer {secret}"}
  actions:
    - {name: read, match: {http: {method: GET, path: "/**"}}, effect: Read}
    - {name: delete, match: {http: {method: DELETE, path: "/**"}}, effect: Write}
    - {name: pay, match: {http: {method: POST, path: /pay}}, effect: Irreversible}
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  subject: {serviceAccountName: clerk}
  owner: owner@example.com
  purpose: Work in the shop
  scope: [{capability: "shop.*"}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: all}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules:
    - {name: reads, decision: Allow, capabilities: [shop.read]}
    - {name: deletes, decision: Deny, capabilities: [shop.delete]}
    - name: pays
      decision: RequireApproval
      capabilities: [shop.pay]
      approval: {groups: [finance], expiresAfterSeconds: 1800}
"#;

/// What a script in the agent says: its exit code and its output.
fn says(namespace: &Namespace<'_>, script: &str) -> (Option<i32>, String) {
    let exec = [
        "exec",
        "deployment/agent",
        "-c",
        "agent",
        "--",
        "sh",
        "-c",
        script,
    ];
    let output = namespace.kubectl(&exec).unwrap();
    (output.status.code(), text(&output).trim().to_owned())
}

/// A request with the agent's own key; what it says ends with the status.
fn curl(method: &str, url: &str, more: &str) -> String {
    format!(
        "curl -sS -m 15 -X {method} -H 'authorization: {MINE}' {more} -w ' %{{http_code}}' {url}"
    )
}

/// What was passed on: agent, what it was about, what would have been answered, and why.
fn unenforced(leaves: &[Value]) -> Vec<[String; 4]> {
    let mut agents = std::collections::BTreeMap::new();
    let mut found = Vec::new();
    for leaf in leaves {
        let said = |pointer: &str| {
            let value = leaf.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        if said("/r/kind") == "stream_opened" {
            agents.insert(said("/r/body/stream"), said("/r/body/agent"));
        }
        if leaf.pointer("/r/body/enforced") != Some(&Value::Bool(false)) {
            continue;
        }
        let first = |pointers: [&str; 2]| {
            let [one, other] = pointers.map(said);
            if one.is_empty() { other } else { one }
        };
        found.push([
            agents.get(&said("/r/stream")).cloned().unwrap_or_default(),
            first(["/r/body/action/capability", "/r/body/refusal/target"]),
            first(["/d/would", "/r/body/verdict"]),
            first(["/d/reason", "/r/body/reason"]),
        ]);
    }
    found
}

/// The ledger has all of `wanted` in this namespace's log.
fn recorded(installed: &Installed<'_>, namespace: &Namespace<'_>, wanted: &[[&str; 4]]) {
    eventually(Duration::from_secs(15), || {
        let found = unenforced(&installed.leaves(namespace)?);
        for want in wanted {
            let is = |it: &[String; 4]| it.iter().zip(want).all(|(it, want)| it == want);
            anyhow::ensure!(found.iter().any(is), "{want:?} is not among {found:#?}");
        }
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", installed.standing()));
}

#[test]
fn an_audit_breaks_nothing_says_what_would_have_been_and_becomes_enforcement_in_the_same_pod() {
    if !possible() {
        return;
    }
    let cluster = Cluster::up().unwrap();
    let installed = Installed::on(&cluster).unwrap();
    let namespace = installed.namespace_under("audit", "audit").unwrap();
    let (shop, other) = (
        format!("shop-{}.example", namespace.name),
        format!("other-{}.example", namespace.name),
    );
    let authority = Authority::new().unwrap();
    let front = |host: &str, body: &'static str| {
        let listener = cluster.serve(host, 443).unwrap();
        Front::on(listener, &authority, host, answering(body).unwrap()).unwrap()
    };
    let (shop_front, other_front) = (front(&shop, "shop"), front(&other, "other"));
    let own_key = |front: &Front, count: usize| {
        let seen = front.seen();
        assert_eq!(seen.len(), count, "{seen:?}");
        let all = seen
            .iter()
            .all(|it| it.header("authorization") == Some(MINE));
        assert!(all, "{seen:?}");
    };

    // Onboarding begins without anything: no Passport, no Upstream.
    namespace.apply(AGENT).unwrap();
    let rolled = ["rollout", "status", "deployment/agent", "--timeout=90s"];
    namespace.ask(&rolled).unwrap_or_else(|error| {
        let pods = namespace.ask(&["describe", "pods"]).unwrap();
        let logs = [
            "logs",
            "deployment/agent",
            "-c",
            "actpass-proxy",
            "--tail=50",
        ];
        let logs = text(&namespace.kubectl(&logs).unwrap());
        panic!("{error}\n{pods}\n{logs}\n{}", installed.standing())
    });
    let pod = ["get", "pods", "-o=jsonpath={.items[*].metadata.uid}"];
    let uid = namespace.ask(&pod).unwrap();
    let trust = format!("echo '{}' > /tmp/ca.pem", authority.pem);
    assert_eq!(says(&namespace, &trust).0, Some(0));
    // What nobody declares is passed on unread, so that the agent trusts whom it trusted before.
    let with_own_trust = "--cacert /tmp/ca.pem";
    let (shop_url, other_url) = (format!("https://{shop}/a"), format!("https://{other}/b"));
    let reached = |url: &str, method: &str, more: &str, want: &str| {
        let (_, said) = says(&namespace, &curl(method, url, more));
        assert_eq!(said, want, "{method} {url}");
    };
    reached(&shop_url, "GET", with_own_trust, "shop 200");
    reached(&other_url, "GET", with_own_trust, "other 200");
    own_key(&shop_front, 1);
    own_key(&other_front, 1);
    // A Service of the cluster, plain addresses, and what is never reached.
    let (_, version) = says(
        &namespace,
        "curl -sSk -m 10 https://kubernetes.default/version",
    );
    assert!(version.contains("gitVersion"), "{version}");
    let (code, said) = says(&namespace, "curl -sS -m 5 http://169.254.169.254/latest/");
    assert_ne!(code, Some(0), "{said}");
    let (code, said) = says(&namespace, "curl -sS -m 5 https://nobody.example/");
    assert_eq!(code, Some(6), "a name that is not there: {said}");
    let target = format!("TCP to {other}:443");
    let agent = "serviceaccount:clerk";
    recorded(
        &installed,
        &namespace,
        &[[agent, &target, "deny", "undeclared"]],
    );

    // The Upstream is declared before anybody has a Passport: it is read from here on, by the trust that ActPass gives.
    let manifests = POLICY
        .replace("HOST", &shop)
        .replace("CA", authority.block(6).trim_end());
    namespace.apply(&manifests).unwrap();
    eventually(Duration::from_secs(20), || {
        let (_, said) = says(&namespace, &curl("GET", &shop_url, ""));
        anyhow::ensure!(said == "shop 200", "{said}");
        let found = unenforced(&installed.leaves(&namespace)?);
        let permitted =
            |it: &[String; 4]| it[0] == "clerk" && it[1] == "shop.read" && it[2] == "permit";
        anyhow::ensure!(found.iter().any(permitted), "{found:#?}");
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", installed.standing()));
    let before = shop_front.seen().len();
    reached(&shop_url, "DELETE", "", "shop 200");
    reached(&format!("https://{shop}/pay"), "POST", "", "shop 200");
    reached(&shop_url, "PUT", "-d new=1", "shop 200");
    reached(&other_url, "GET", with_own_trust, "other 200");
    own_key(&shop_front, before + 3);
    own_key(&other_front, 2);
    let put = format!("PUT {shop}:443");
    recorded(
        &installed,
        &namespace,
        &[
            ["clerk", "shop.delete", "deny", "rule_denies"],
            ["clerk", "shop.pay", "escalate", "approval_required"],
            ["clerk", &put, "deny", "undeclared"],
            ["clerk", &target, "deny", "undeclared"],
        ],
    );
    let approvals = namespace.ask(&["get", "approvals", "-o", "name"]).unwrap();
    assert_eq!(approvals, "", "nobody is asked");

    // A tunnel that is open when the mode changes.
    let hold =
        format!("sh -c 'sleep 300 | curl -sS telnet://{other}:443' < /dev/null > /dev/null 2>&1 &");
    assert_eq!(says(&namespace, &hold).0, Some(0));
    // Established, to port 443, by the agent's uid.
    let open = |want: char, patience| {
        let own = "grep -cE ':01BB 01 [^ ]+ [^ ]+ [^ ]+ +1000 ' /proc/net/tcp";
        eventually(patience, || {
            let (_, said) = says(&namespace, own);
            anyhow::ensure!(said.starts_with(want), "{said}, not {want} connections");
            Ok(())
        })
        .unwrap();
    };
    open('1', Duration::from_secs(10));

    let mode = "actpass.org/mode=enforce";
    let label = ["label", "namespace", &namespace.name, mode, "--overwrite"];
    cluster.ask(&label).unwrap();
    let labelled = Instant::now();
    let denied = |method: &str, url: &str| {
        eventually(Duration::from_secs(2), || {
            let (_, said) = says(&namespace, &curl(method, url, ""));
            anyhow::ensure!(said.ends_with(" 403"), "{said}");
            Ok(said)
        })
        .unwrap_or_else(|error| panic!("{method} {url} after {:?}: {error}", labelled.elapsed()))
    };
    let said = denied("DELETE", &shop_url);
    assert!(said.contains("rule_denies"), "{said}");
    let said = denied("POST", &format!("https://{shop}/pay"));
    assert!(said.contains("approval_required"), "{said}");
    let (code, said) = says(&namespace, &curl("GET", &other_url, with_own_trust));
    assert_ne!(code, Some(0), "{said}");
    open('0', Duration::from_secs(3));
    own_key(&other_front, 2);
    assert_eq!(namespace.ask(&pod).unwrap(), uid, "no pod was made anew");
    let dir = installed.copy_of_log().unwrap();
    let verify = std::process::Command::new(actpass_tests::actpass())
        .arg("verify")
        .arg(dir.path())
        .output()
        .unwrap();
    let said = text(&verify);
    assert!(!said.contains("INVALID"), "{said}");
    assert!(said.contains("actions passed on under audit"), "{said}");
}
