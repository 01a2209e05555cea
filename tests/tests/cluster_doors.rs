//! What people with rights in an agent's namespace try with kubectl, beyond asking for more: to have a pod left out, made by
//! somebody else, changed behind our back or while it runs.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

use std::net::TcpListener;
use std::process::Output;

use actpass_tests::authority::Authority;
use actpass_tests::cluster::{Cluster, eventually};
use actpass_tests::fed;
use actpass_tests::front::{Front, Request, serving};
use actpass_tests::home::text;
use actpass_tests::installed::{Person, shared};
use actpass_tests::pod::Pod;
use actpass_tests::shop::Shop;
use actpass_tests::workload::*;
use anyhow::{bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Somebody with stock `edit` in the shop's namespace.
fn editor(shop: &Shop<'_>, name: &str) -> Person {
    let person = shop.installed.person(name, &[]).unwrap();
    shop.installed
        .allow(&shop.namespace, &person, "edit")
        .unwrap();
    person
}

/// What the API server would make of an object for that person; it keeps nothing.
fn tried(shop: &Shop<'_>, person: &Person, object: &Value) -> anyhow::Result<Value> {
    let args = [
        "create",
        "--dry-run=server",
        "--output=json",
        "--filename=-",
    ];
    let args = [&["--namespace", &shop.namespace.name], &args[..]].concat();
    let output = person.apply(shop.installed.cluster, &args, &object.to_string())?;
    ensure!(output.status.success(), "{}", text(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Whether a pod is as ours are: the three containers first, each of its image, and known to the NetworkPolicy.
fn fenced(pod: &Value) -> Result<(), String> {
    let first = |index: usize| {
        let at =
            |key: &str| text_of(pod, &format!("/spec/initContainers/{index}/{key}")).to_owned();
        let image = at("image");
        let image = image
            .split_once("@sha256:")
            .map(|(name, _)| name.to_owned());
        (at("name"), image.unwrap_or_default())
    };
    for (index, (name, image)) in [("init", "init"), ("proxy", "sidecar"), ("verify", "verify")]
        .into_iter()
        .enumerate()
    {
        let want = (format!("actpass-{name}"), format!("actpass.test/{image}"));
        if first(index) != want {
            return Err(format!("{:?} is not {want:?}", first(index)));
        }
    }
    match pod.pointer("/metadata/labels/actpass.org~1enforced") {
        Some(_) => Ok(()),
        None => Err("our NetworkPolicy does not select it".to_owned()),
    }
}

/// A refusal that says `why`.
fn refused(what: &str, output: &Output, why: &str) {
    let said = text(output);
    assert!(!output.status.success(), "{what}: {said}");
    assert!(said.contains(why), "{what}: {said}");
}

/// Says to whom a pod does not belong: a label or an annotation, and what is said of it where it is refused.
const LEFT_OUT: &[(&str, &str, &str, Option<&str>)] = &[
    ("labels", "sidecar.istio.io/inject", "false", None),
    ("annotations", "sidecar.istio.io/inject", "false", None),
    ("annotations", "linkerd.io/inject", "disabled", None),
    ("labels", "kuma.io/sidecar-injection", "disabled", None),
    (
        "annotations",
        "consul.hashicorp.com/connect-inject",
        "false",
        None,
    ),
    (
        "annotations",
        "vault.hashicorp.com/agent-inject",
        "false",
        None,
    ),
    ("labels", "admission.gatekeeper.sh/ignore", "yes", None),
    ("labels", "control-plane", "actpass", None),
    ("labels", "app.kubernetes.io/name", "actpass", None),
    ("labels", "app.kubernetes.io/component", "webhook", None),
    ("labels", "actpass.org/enforced", "false", None),
    ("annotations", "actpass.org/sidecar-uid", "1000", None),
    ("labels", "actpass.org/mode", "off", Some("metadata.labels")),
    (
        "labels",
        "actpass.org/inject",
        "false",
        Some("metadata.labels"),
    ),
    (
        "annotations",
        "actpass.org/inject",
        "false",
        Some("metadata.annotations"),
    ),
];

#[test]
fn no_label_leaves_a_pod_out() {
    let Some(installed) = shared() else { return };
    let shop = Shop::declared(installed, "labels").unwrap();
    let eve = editor(&shop, "eve-of-labels");
    for (kind, key, value, why) in LEFT_OUT {
        let mut pod = pod("agent", &spec(WAITS));
        pod["metadata"][kind] = json!({*key: value});
        match (tried(&shop, &eve, &pod), why) {
            (Ok(made), None) => assert_eq!(fenced(&made), Ok(()), "{kind} {key}"),
            (Err(error), Some(why)) => {
                assert!(error.to_string().contains(why), "{kind} {key}: {error}");
            }
            (found, _) => panic!("{kind} {key}: {found:?}, {why:?}"),
        }
    }
    // By hand, as kubectl makes one: without a user it is refused, with one it is injected.
    let run = |more: &[&str]| {
        let run = [
            "run",
            "bare",
            "--image=actpass.test/agent-curl:test",
            "--labels=sidecar.istio.io/inject=false",
        ];
        let dry = ["--dry-run=server", "--output=json"];
        shop.as_person(&eve, &[&run[..], &dry, more].concat())
            .unwrap()
    };
    refused("without a user", &run(&[]), "runAsUser");
    let user = "--overrides={\"spec\":{\"securityContext\":{\"runAsUser\":1000}}}";
    let bare = run(&[user]);
    assert!(bare.status.success(), "{}", text(&bare));
    assert_eq!(
        fenced(&serde_json::from_slice(&bare.stdout).unwrap()),
        Ok(())
    );

    // What chooses pods by their labels would be ours to write, and nobody's of a namespace to change.
    for kind in [
        "mutatingwebhookconfiguration",
        "validatingwebhookconfiguration",
    ] {
        let selectors = [
            "get",
            kind,
            "actpass",
            "-o=jsonpath={.webhooks[*].objectSelector}",
        ];
        let selectors = installed.cluster.ask(&selectors).unwrap();
        assert!(
            selectors.split(' ').all(|it| it == "{}"),
            "{kind}: {selectors}"
        );
        let patch = "[{\"op\":\"add\",\"path\":\"/webhooks/0/objectSelector\",\"value\":{\"matchLabels\":{\"a\":\"b\"}}}]";
        let patch = ["patch", kind, "actpass", "--type=json", "-p", patch];
        refused(kind, &shop.as_person(&eve, &patch).unwrap(), "forbidden");
    }
}

const CREWS: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crews.tests.example.com}
spec:
  group: tests.example.com
  names: {kind: Crew, plural: crews, singular: crew}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
";

/// Tries to reach the provider past the sidecar, and pays where that fails.
fn works(shop: &Shop<'_>, note: &str) -> Value {
    let address = shop.address().unwrap();
    let script = format!(
        "curl -sk -m 5 -o /dev/null https://{address}/past && exit 9; {}; {WAITS}",
        pays(shop, 100, note)
    );
    let mut spec = spec(&script);
    spec["restartPolicy"] = json!("Always");
    spec
}

#[test]
fn whoever_makes_a_pod_makes_one_with_a_sidecar() {
    let Some(installed) = shared() else { return };
    let cluster = installed.cluster;
    let shop = Shop::declared(installed, "makers").unwrap();
    let namespace = &shop.namespace;
    let mia = editor(&shop, "mia-of-makers");
    let of = |kind: &str| {
        let mut object = deployment(&kind.to_lowercase(), &works(&shop, kind));
        object["kind"] = json!(kind);
        object
    };
    let mut controller = of("ReplicationController");
    controller["apiVersion"] = json!("v1");
    controller["spec"]["selector"] = json!({"app": "replicationcontroller"});
    for object in [
        of("DaemonSet"),
        of("StatefulSet"),
        of("ReplicaSet"),
        controller,
    ] {
        let applied = shop.applies(&mia, &object.to_string()).unwrap();
        assert!(applied.status.success(), "{}", text(&applied));
    }

    // A controller of somebody's: it runs as a ServiceAccount, and makes pods for objects of its own kind.
    cluster.apply(CREWS).unwrap();
    let established = [
        "wait",
        "--for=condition=Established",
        "crd/crews.tests.example.com",
        "--timeout=30s",
    ];
    cluster.ask(&established).unwrap();
    let crew =
        json!({"apiVersion": "tests.example.com/v1", "kind": "Crew", "metadata": {"name": "one"}});
    eventually(PATIENCE, || namespace.apply(&crew.to_string())).unwrap();
    let uid = namespace
        .ask(&["get", "crew", "one", "-o=jsonpath={.metadata.uid}"])
        .unwrap();
    namespace
        .ask(&["create", "serviceaccount", "crews"])
        .unwrap();
    let account = format!("--serviceaccount={}:crews", namespace.name);
    namespace
        .ask(&[
            "create",
            "rolebinding",
            "crews",
            "--clusterrole=edit",
            &account,
        ])
        .unwrap();
    let mut made = pod("crew-1", &works(&shop, "Crew"));
    made["metadata"]["labels"] = json!({"app": "crew"});
    made["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "tests.example.com/v1", "kind": "Crew", "name": "one", "uid": uid, "controller": true}]);
    let mut create = cluster.kube("kubectl");
    let who = format!("--as=system:serviceaccount:{}:crews", namespace.name);
    create.args([
        "create",
        "--namespace",
        &namespace.name,
        "--filename=-",
        &who,
    ]);
    let created = fed(&mut create, made.to_string().as_bytes()).unwrap();
    assert!(created.status.success(), "{}", text(&created));

    let kinds = [
        "Crew",
        "DaemonSet",
        "ReplicaSet",
        "ReplicationController",
        "StatefulSet",
    ];
    eventually(PATIENCE, || {
        let mut paid = shop.paid()?;
        paid.sort();
        ensure!(
            paid == kinds,
            "{paid:?}: {}",
            text(&namespace.kubectl(&["describe", "pods"])?)
        );
        Ok(())
    })
    .unwrap();
    for kind in kinds {
        let selector = format!("--selector=app={}", kind.to_lowercase());
        let pod = one_pod(namespace, &[&selector]).unwrap();
        assert_eq!(text_of(&pod, "/metadata/ownerReferences/0/kind"), kind);
        assert_eq!(fenced(&pod), Ok(()), "{kind}");
    }
    let past = shop.front.seen();
    let past = past.iter().filter(|it| it.first_line.contains("/past"));
    assert_eq!(
        past.count(),
        0,
        "somebody reached the provider past its sidecar"
    );
    cluster
        .ask(&["delete", "crd", "crews.tests.example.com"])
        .unwrap();
}

/// Does to each pod what its annotation `patch.example.com` says, unless the container it adds is there already.
fn patched(request: &Request) -> String {
    let review: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let pod = review.pointer("/request/object").unwrap_or(&Value::Null);
    let patch = text_of(pod, "/metadata/annotations/patch.example.com");
    let is_there = agents_of(pod)
        .iter()
        .any(|it| text_of(it, "/name") == "helper");
    let patch = if is_there { "[]" } else { patch };
    let answer = json!({
        "uid": text_of(&review, "/request/uid"), "allowed": true,
        "patchType": "JSONPatch", "patch": STANDARD.encode(patch),
    });
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer})
        .to_string()
}

/// A webhook that is asked after ours, about the pods of that namespace, once or again whenever another changed the pod;
/// until this is dropped.
struct Another<'a> {
    cluster: &'a Cluster,
    name: String,
    front: Front,
}

impl<'a> Another<'a> {
    fn of(shop: &Shop<'a>, again: &str) -> anyhow::Result<Self> {
        let cluster = shop.installed.cluster;
        let authority = Authority::new()?;
        let listener = cluster.in_node(|| Ok(TcpListener::bind("10.77.0.1:0")?))?;
        let front = Front::on(listener, &authority, "10.77.0.1", serving(patched)?)?;
        let name = format!("zz-{}", shop.namespace.name);
        let webhook = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": "another.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "failurePolicy": "Fail", "reinvocationPolicy": again,
                "clientConfig": {
                    "url": format!("https://10.77.0.1:{}/", front.port),
                    "caBundle": STANDARD.encode(&authority.pem),
                },
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": shop.namespace.name}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            }],
        });
        cluster.apply(&webhook.to_string())?;
        Ok(Self {
            cluster,
            name,
            front,
        })
    }
}

impl Drop for Another<'_> {
    fn drop(&mut self) {
        let what = ["delete", "mutatingwebhookconfiguration", &self.name];
        self.cluster.kubectl(&what).ok();
    }
}

/// What another webhook does to a pod, and why it is refused; nothing: what is ours is as it was all the same.
fn mischief() -> Vec<(&'static str, Value, Option<&'static str>)> {
    let add = |at: &str, value: Value| json!([{"op": "add", "path": at, "value": value}]);
    let first = "/spec/initContainers/0";
    let mut helper = container("helper", WAITS);
    helper["securityContext"] = json!({"runAsUser": 1000});
    let with = |key: &str, value: Value| {
        let mut helper = helper.clone();
        helper["securityContext"][key] = value;
        helper
    };
    let own = "/spec/containers/0/securityContext";
    vec![
        (
            "a container",
            add("/spec/containers/-", helper.clone()),
            None,
        ),
        (
            "a container as root",
            add("/spec/containers/-", with("runAsUser", json!(0))),
            Some("runAsUser"),
        ),
        (
            "a privileged container",
            add("/spec/containers/-", with("privileged", json!(true))),
            Some("privileged"),
        ),
        (
            "a container with a capability",
            add(
                "/spec/containers/-",
                with("capabilities", json!({"add": ["NET_ADMIN"]})),
            ),
            Some("capabilit"),
        ),
        (
            "an init container before ours",
            add(first, helper.clone()),
            None,
        ),
        (
            "a privileged init container before ours",
            add(first, with("privileged", json!(true))),
            Some("privileged"),
        ),
        (
            "a capability for the agent",
            add(&format!("{own}/capabilities"), json!({"add": ["NET_RAW"]})),
            Some("capabilit"),
        ),
        (
            "privileges for the agent",
            add(&format!("{own}/allowPrivilegeEscalation"), json!(true)),
            None,
        ),
        (
            "root for the agent",
            add(&format!("{own}/runAsUser"), json!(0)),
            Some("runAsUser"),
        ),
        (
            "no seccomp",
            add(
                "/spec/securityContext",
                json!({"seccompProfile": {"type": "Unconfined"}}),
            ),
            Some("seccomp"),
        ),
        (
            "the node's network",
            add("/spec/hostNetwork", json!(true)),
            Some("hostNetwork"),
        ),
        (
            "the sidecar's token for the agent",
            add(
                "/spec/containers/0/volumeMounts/-",
                json!({"name": "actpass-token", "mountPath": "/t"}),
            ),
            None,
        ),
    ]
}

/// What another webhook does to what is ours. Asked again it does that after we mended it, and the pod is refused.
fn meddling() -> Vec<(&'static str, Value)> {
    let one = |op: &str, at: &str, value: Value| json!([{"op": op, "path": at, "value": value}]);
    let ours = |index: u8, at: &str| format!("/spec/initContainers/{index}{at}");
    vec![
        (
            "another image for the sidecar",
            one(
                "replace",
                &ours(1, "/image"),
                json!("actpass.test/agent-curl:test"),
            ),
        ),
        (
            "another command for the sidecar",
            one("add", &ours(1, "/command"), json!(["sleep", "inf"])),
        ),
        (
            "another uid for the sidecar",
            one(
                "replace",
                &ours(1, "/securityContext/runAsUser"),
                json!(1000),
            ),
        ),
        (
            "a variable for the sidecar",
            one(
                "add",
                &ours(1, "/env/-"),
                json!({"name": "RUST_LOG", "value": "trace"}),
            ),
        ),
        (
            "another packet filter",
            one("add", &ours(0, "/args/-"), json!("--print")),
        ),
        (
            "no packet filter",
            json!([{"op": "remove", "path": ours(0, "")}]),
        ),
        (
            "no check of the fence",
            json!([{"op": "remove", "path": ours(2, "")}]),
        ),
        (
            "nothing of ours",
            json!([{"op": "remove", "path": "/spec/initContainers"}]),
        ),
        (
            "no label",
            json!([{"op": "remove", "path": "/metadata/labels/actpass.org~1enforced"}]),
        ),
    ]
}

#[test]
fn a_webhook_behind_ours_undoes_nothing() {
    let Some(installed) = shared() else { return };
    let shop = Shop::declared(installed, "behind").unwrap();
    let eve = editor(&shop, "eve-of-behind");
    let patched = |patch: &Value| {
        let mut pod = pod("agent", &spec(WAITS));
        pod["metadata"]["annotations"] = json!({"patch.example.com": patch.to_string()});
        tried(&shop, &eve, &pod)
    };
    let plain = tried(&shop, &eve, &pod("agent", &spec(WAITS))).unwrap();
    let mut wrong = Vec::new();
    for again in ["Never", "IfNeeded"] {
        let another = Another::of(&shop, again).unwrap();
        // The API server takes a moment to know of it.
        eventually(PATIENCE, || {
            patched(&json!([]))?;
            ensure!(!another.front.seen().is_empty(), "it is not asked yet");
            Ok(())
        })
        .unwrap();
        for (what, patch, why) in mischief() {
            match (patched(&patch), why) {
                (Ok(made), None) if ours(&made) == ours(&plain) => {
                    let agents = agents_of(&made);
                    let added = what.contains("container");
                    assert_eq!(agents.len() == 2, added, "{what}: {agents:?}");
                    assert!(agents.iter().all(is_confined), "{what}: {agents:?}");
                }
                (Err(error), Some(why)) if error.to_string().contains(why) => {}
                // It undoes again what we mended.
                (Err(error), None) if again == "IfNeeded" && is_of_ours(&error) => {}
                (Ok(_), _) => wrong.push(format!("{again}, {what}: taken")),
                (Err(error), _) => wrong.push(format!("{again}, {what}: {error}")),
            }
        }
        for (what, patch) in meddling() {
            match patched(&patch) {
                Ok(made) if again == "Never" && ours(&made) == ours(&plain) => {}
                Err(error) if again == "IfNeeded" && is_of_ours(&error) => {}
                Ok(_) => wrong.push(format!("{again}, {what}: taken")),
                Err(error) => wrong.push(format!("{again}, {what}: {error}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether it was our webhook or our policy that refused.
fn is_of_ours(refusal: &anyhow::Error) -> bool {
    let said = refusal.to_string();
    said.contains("\"pods.actpass.org\" denied") || said.contains("'actpass-pods' denied")
}

/// What is ours in a pod, but for the numbers that differ from pod to pod.
fn ours(pod: &Value) -> String {
    let all = pod
        .pointer("/spec/initContainers")
        .and_then(Value::as_array);
    let mut first: Vec<Value> = all.into_iter().flatten().take(3).cloned().collect();
    for arg in first.iter_mut().filter_map(|it| it["args"].as_array_mut()) {
        for mark in arg.iter_mut() {
            *mark = json!(mark.as_str().and_then(|it| it.split("=0x").next()));
        }
    }
    let uid = text_of(pod, "/metadata/annotations/actpass.org~1sidecar-uid");
    let label = text_of(pod, "/metadata/labels/actpass.org~1enforced");
    format!("{label} {}", json!(first)).replace(uid, "UID")
}

/// All others.
fn agents_of(pod: &Value) -> Vec<Value> {
    let lists = ["/spec/initContainers", "/spec/containers"];
    let lists = lists.map(|list| pod.pointer(list).and_then(Value::as_array));
    let all = lists.into_iter().flatten().flatten();
    let agents = all.filter(|it| !text_of(it, "/name").starts_with("actpass-"));
    agents.cloned().collect()
}

fn is_confined(container: &Value) -> bool {
    let at = |pointer: &str| container.pointer(&format!("/securityContext/{pointer}"));
    let mounts = container.pointer("/volumeMounts").and_then(Value::as_array);
    let mut mounts = mounts.into_iter().flatten();
    at("allowPrivilegeEscalation") == Some(&json!(false))
        && at("capabilities") == Some(&json!({"drop": ["ALL"]}))
        && !mounts.any(|it| text_of(it, "/name") == "actpass-token")
}

#[test]
fn a_pod_that_runs_is_resized_and_debugged_only_where_that_opens_nothing() {
    let Some(installed) = shared() else { return };
    let shop = Shop::open(installed, "runs").unwrap();
    let namespace = &shop.namespace;
    assert_eq!(shop.pay(100, "before").unwrap().0, "200");
    let resize = |list: &str, name: &str, resources: Value| {
        let patch = json!({"spec": {list: [{"name": name, "resources": resources}]}}).to_string();
        let resize = [
            "patch",
            "pod",
            "agent",
            "--subresource=resize",
            "--patch",
            &patch,
        ];
        namespace.kubectl(&resize).unwrap()
    };
    for name in ["actpass-proxy", "actpass-verify"] {
        for resources in [
            json!({"limits": {"memory": "1Gi"}}),
            json!({"requests": {"cpu": "500m"}}),
        ] {
            let resized = resize("initContainers", name, resources);
            refused(
                name,
                &resized,
                "belongs to ActPass and does not change while the pod runs",
            );
        }
    }
    let resized = resize("containers", "main", json!({"requests": {"cpu": "20m"}}));
    assert!(resized.status.success(), "{}", text(&resized));
    assert_eq!(shop.pay(100, "resized").unwrap().0, "200");

    let dana = editor(&shop, "dana-of-runs");
    let rights = [
        "create",
        "role",
        "debugs",
        "--verb=get,patch",
        "--resource=pods,pods/ephemeralcontainers",
    ];
    namespace.ask(&rights).unwrap();
    let bound = [
        "create",
        "rolebinding",
        "debugs",
        "--role=debugs",
        "--user=dana-of-runs",
    ];
    namespace.ask(&bound).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let custom = |uid: Option<u32>| {
        let path = dir.path().join(format!("{uid:?}"));
        let container = json!({"imagePullPolicy": "Never", "securityContext": {"runAsUser": uid}});
        std::fs::write(&path, container.to_string()).unwrap();
        format!("--custom={}", path.display())
    };
    let debug = |profile: &str, target: &str, uid: Option<u32>, name: &str| {
        let profile = format!("--profile={profile}");
        let (target, name) = (format!("--target={target}"), format!("--container={name}"));
        let image = "--image=actpass.test/agent-curl:test";
        let all = [
            "debug",
            "agent",
            image,
            &profile,
            &target,
            &name,
            &custom(uid),
            "--",
            "sleep",
            "inf",
        ];
        shop.as_person(&dana, &all).unwrap()
    };
    let profiles = ["general", "baseline", "restricted", "netadmin", "sysadmin"];
    for profile in profiles {
        for target in ["main", "actpass-proxy"] {
            let refusal = debug(profile, target, Some(1000), "looks");
            refused(
                &format!("{profile} of {target}"),
                &refusal,
                "a debug container could",
            );
        }
    }

    // With the role it is held to what holds for agents.
    let sidecar = Pod::of(namespace, "agent").unwrap().sidecar_uid;
    installed
        .allow(namespace, &dana, "actpass-break-glass")
        .unwrap();
    for profile in ["general", "baseline", "netadmin", "sysadmin"] {
        let refusal = debug(profile, "main", Some(1000), "looks");
        refused(
            profile,
            &refusal,
            "a debug container could take the sidecar's place",
        );
    }
    for (what, target, uid, name, why) in [
        ("no user", "main", None, "looks", "a uid of its own"),
        ("root", "main", Some(0), "looks", "a uid of its own"),
        (
            "the sidecar's user",
            "main",
            sidecar,
            "looks",
            "a uid of its own",
        ),
        (
            "another sidecar's user",
            "main",
            sidecar.map(|it| it ^ 1),
            "looks",
            "runAsUser",
        ),
        (
            "the sidecar's processes",
            "actpass-proxy",
            Some(1000),
            "looks",
            "`actpass-proxy` belongs to ActPass",
        ),
        (
            "a name of ours",
            "main",
            Some(1000),
            "actpass-looks",
            "`actpass-looks` belongs to ActPass",
        ),
    ] {
        refused(what, &debug("restricted", target, uid, name), why);
    }
    let taken = debug("restricted", "main", Some(1000), "looks");
    assert!(taken.status.success(), "{}", text(&taken));
    let past = format!(
        "curl -sk -m 5 https://{}/past; echo ended $?",
        shop.address().unwrap()
    );
    let past = ["exec", "agent", "-c", "looks", "--", "sh", "-c", &past];
    let ended = eventually(PATIENCE, || {
        let said = text(&namespace.kubectl(&past)?);
        ensure!(said.contains("ended "), "{said}");
        Ok(said)
    })
    .unwrap();
    assert!(
        !ended.contains("ended 0"),
        "it reached the provider past the sidecar: {ended}"
    );
    assert_eq!(shop.front.seen().len(), 2, "no request but two payments");

    // A copy is a new pod, in which the shell that comes along sees no process of another container.
    let copy = |share: &str| {
        let (image, uid) = ("--image=actpass.test/agent-curl:test", custom(Some(1000)));
        let copy = [
            "debug",
            "agent",
            "--copy-to=copy",
            "--profile=restricted",
            "--container=looks",
        ];
        let with = [image, &uid, share, "--", "sleep", "inf"];
        shop.as_person(&dana, &[&copy[..], &with].concat()).unwrap()
    };
    let shared = copy("--share-processes=true");
    refused(
        "a copy that shares processes",
        &shared,
        "a namespace of the node or of the sidecar",
    );
    let copied = copy("--share-processes=false");
    assert!(copied.status.success(), "{}", text(&copied));
    assert_eq!(fenced(&one_pod(namespace, &["copy"]).unwrap()), Ok(()));
}

#[test]
fn nobody_is_let_into_a_sidecar() {
    let Some(installed) = shared() else { return };
    let shop = Shop::open(installed, "into").unwrap();
    let admin = installed.person("adam-of-into", &[]).unwrap();
    installed.allow(&shop.namespace, &admin, "admin").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().join("copied").display().to_string();
    std::fs::write(dir.path().join("mine"), "mine").unwrap();
    let mine = dir.path().join("mine").display().to_string();
    let why = "have a way out that agents do not have";
    for container in ["actpass-init", "actpass-proxy", "actpass-verify"] {
        let of = format!("--container={container}");
        for args in [
            &["attach", "agent", &of][..],
            &["exec", "agent", &of, "--", "/actpass-sidecar", "--version"],
            &["cp", "agent:/run/actpass/state", &here, &of],
            &["cp", &mine, "agent:/run/actpass/state/mine", &of],
        ] {
            let refusal = shop.as_person(&admin, args).unwrap();
            refused(&format!("{args:?}"), &refusal, why);
        }
    }
    // Where nobody names a container, kubectl takes the one that an annotation names.
    let annotate = [
        "annotate",
        "pod",
        "agent",
        "kubectl.kubernetes.io/default-container=actpass-proxy",
        "--overwrite",
    ];
    let annotated = shop.as_person(&admin, &annotate).unwrap();
    assert!(annotated.status.success(), "{}", text(&annotated));
    for args in [&["attach", "agent"][..], &["exec", "agent", "--", "id"]] {
        refused(
            &format!("{args:?}"),
            &shop.as_person(&admin, args).unwrap(),
            why,
        );
    }
    let agent = ["cp", &mine, "agent:/tmp/mine", "--container=main"];
    let agent = shop.as_person(&admin, &agent).unwrap();
    assert!(agent.status.success(), "into the agent's: {}", text(&agent));
}

#[test]
fn no_port_of_the_node_leads_to_an_agent() {
    let Some(installed) = shared() else { return };
    let shop = Shop::declared(installed, "ports").unwrap();
    let eve = editor(&shop, "eve-of-ports");
    let with = |port: Value, list: &str| {
        let mut container = container("listens", "exec httpd -f -p 8080");
        container["ports"] = json!([port]);
        let mut spec = spec(WAITS);
        match list {
            "containers" => spec[list] = json!([container]),
            _ => {
                container["restartPolicy"] = json!("Always");
                spec[list] = json!([container]);
            }
        }
        tried(&shop, &eve, &pod("agent", &spec))
    };
    for list in ["containers", "initContainers"] {
        let made = with(json!({"containerPort": 8080}), list).unwrap();
        assert_eq!(fenced(&made), Ok(()), "{list}");
        for protocol in ["TCP", "UDP"] {
            let port = json!({"containerPort": 8080, "hostPort": 18080, "hostIP": "10.77.0.1", "protocol": protocol});
            let said = with(port, list).unwrap_err().to_string();
            assert!(
                said.contains(".ports[0].hostPort"),
                "{list} {protocol}: {said}"
            );
        }
    }
}

/// Where the node's runtime has user namespaces for pods, the whole kit; elsewhere such a pod runs nothing.
#[test]
fn an_agent_with_a_user_namespace_of_its_own_is_as_fenced_as_others() {
    let Some(installed) = shared() else { return };
    let shop = Shop::declared(installed, "users").unwrap();
    let namespace = &shop.namespace;
    let mut spec = spec(WAITS);
    spec["hostUsers"] = json!(false);
    namespace.apply(&pod("agent", &spec).to_string()).unwrap();
    let runs = eventually(PATIENCE, || {
        let ready = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        let ready = namespace.ask(&["get", "pod", "agent", ready])?;
        let events = namespace.ask(&[
            "get",
            "events",
            "--field-selector=involvedObject.name=agent",
        ])?;
        match (
            ready.as_str(),
            events.contains("does not support user namespaces"),
        ) {
            ("True", _) => Ok(true),
            (_, true) => Ok(false),
            _ => bail!("{ready}: {events}"),
        }
    })
    .unwrap();
    if !runs {
        let pod = one_pod(namespace, &["agent"]).unwrap();
        let statuses = pod.pointer("/status/initContainerStatuses/0/state/waiting");
        assert!(statuses.is_some(), "{pod}");
        println!("LEFT OUT: a fence in a user namespace, which this node's runtime does not have");
        return;
    }
    assert_eq!(shop.pay(100, "before").unwrap().0, "200");
    let pod = Pod::of(namespace, "agent").unwrap();
    pod.plant("main").unwrap();
    let sniffer = pod.sniffer().unwrap();
    let printed = pod.attack("main", "all").unwrap();
    let frames = sniffer.seen().unwrap();
    assert_eq!(
        pod.undecided(&frames, &[], &[]),
        Vec::<String>::new(),
        "{printed}"
    );
    assert_eq!(shop.pay(100, "after").unwrap().0, "200");
}

/// Longest wait for a pod to start; on a busy machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(90);
