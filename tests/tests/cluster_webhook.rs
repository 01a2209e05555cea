//! The chart and the admission webhook on a real API server.
//!
//! The webhook runs as a process of the node's network, under the rights that the chart gives it; what the controller
//! would write is written here in its name.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a world that cannot be made is a failed test"
)]

mod webhook;

use std::time::Duration;

use actpass_core::vote::{SignedVote, Vote};
use actpass_crds::approval_vote::{ApprovalVoteSpec, vote_name};
use actpass_tests::cluster::{Own, eventually, possible};
use actpass_webhook::checks::{self, Surroundings};
use actpass_webhook::inject::{Context, inject};
use anyhow::ensure;
use serde_json::{Value, json};

use webhook::{CONTROLLER, Installed, SYSTEM};

/// A pod that no scheduler takes, so that it stays as the API server made it.
fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "agent-", "labels": {"app": "agent"}},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "agent", "image": "registry.example/agent:1",
            "ports": [{"containerPort": 8080}], "livenessProbe": {"httpGet": {"path": "/", "port": 8080}},
            "securityContext": {"runAsUser": 1000}}],
            "initContainers": [{"name": "own", "image": "registry.example/own:1", "securityContext": {"runAsUser": 1000}}]}})
}

/// The pod with a value at a JSON pointer; the object that it is in is made where it is missing.
fn with(mut pod: Value, at: &str, value: Value) -> Value {
    let (parent, key) = at.rsplit_once('/').unwrap();
    let mut place = &mut pod;
    for step in parent.split('/').skip(1) {
        place = match step.parse::<usize>() {
            Ok(index) => place.get_mut(index).unwrap(),
            Err(_) => place
                .as_object_mut()
                .unwrap()
                .entry(step)
                .or_insert_with(|| json!({})),
        };
    }
    let key = key.replace("~1", "/");
    place.as_object_mut().unwrap().insert(key, value);
    pod
}

#[test]
fn the_chart_and_the_webhook_hold_on_a_real_api_server() {
    if !possible() {
        return;
    }
    // One of its own: what is installed here would judge the objects of other tests.
    let cluster = Own::up().unwrap();
    let installed = Installed::new(&cluster).unwrap();
    println!("the_chart_refuses_what_is_not_safe_or_not_known");
    the_chart_refuses_what_is_not_safe_or_not_known(&installed);
    println!("a_pod_is_injected_as_the_library_says_and_once");
    a_pod_is_injected_as_the_library_says_and_once(&installed);
    println!("bad_pods_are_refused_and_each_reason_is_told");
    bad_pods_are_refused_and_each_reason_is_told(&installed);
    println!("a_vote_is_stamped_with_who_the_api_server_knows");
    a_vote_is_stamped_with_who_the_api_server_knows(&installed);
    println!("resources_and_namespaces_are_checked_when_they_are_written");
    resources_and_namespaces_are_checked_when_they_are_written(&installed);
    println!("an_upgrade_takes_nothing_back_and_the_second_lock_holds");
    an_upgrade_takes_nothing_back_and_the_second_lock_holds(&installed);
    println!("without_the_webhook_what_runs_goes_on_and_nothing_new_starts");
    without_the_webhook_what_runs_goes_on_and_nothing_new_starts(installed);
}

fn the_chart_refuses_what_is_not_safe_or_not_known(installed: &Installed<'_>) {
    struct Case {
        name: &'static str,
        set: &'static str,
        want: Result<&'static str, &'static str>,
    }
    let case = |name, set, want| Case { name, set, want };
    for Case { name, set, want } in [
        case(
            "the values of these tests",
            "webhook.timeoutSeconds=5",
            Ok("kind: MutatingWebhookConfiguration"),
        ),
        case(
            "an unknown value",
            "webhok.replicas=3",
            Err("additional properties 'webhok' not allowed"),
        ),
        case(
            "an unknown value further in",
            "sidecar.uid=40000",
            Err("additional properties 'uid' not allowed"),
        ),
        case(
            "an image by tag",
            "images.proxy=r/proxy:1",
            Err("images.proxy: `r/proxy:1` is not named by digest"),
        ),
        case(
            "no image",
            "images.proxy=",
            Err("images.proxy: missing; write NAME@sha256:DIGEST"),
        ),
        case(
            "two ledgers over one volume",
            "ledger.replicas=2",
            Err("several ledgers share one log in PostgreSQL only"),
        ),
        case(
            "less time than the webhook takes",
            "webhook.timeoutSeconds=3",
            Err("minimum: got 3, want 5"),
        ),
        case(
            "a tag for development",
            "images.proxy=r/proxy:1,allowTags=true",
            Ok("value: \"r/proxy:1\""),
        ),
        case(
            "monitoring",
            "monitoring.enabled=true",
            Ok("kind: PrometheusRule"),
        ),
        case(
            "no volume",
            "ledger.storage.persistent=false",
            Ok("{name: data, emptyDir: {}}"),
        ),
        case(
            "definitions that go",
            "crds.keep=false,crds.enabled=true",
            Ok("kind: CustomResourceDefinition"),
        ),
    ] {
        match (installed.rendered(set), want) {
            (Ok(rendered), Ok(want)) => assert!(rendered.contains(want), "{name}"),
            (Err(error), Err(want)) => {
                let said = error.to_string();
                assert!(said.contains(want), "{name}: {said}");
            }
            (found, _) => panic!(
                "{name}: {}",
                found.map_or_else(|it| it.to_string(), |_| "taken".to_owned())
            ),
        }
    }
    let gone = installed.rendered("crds.keep=false").unwrap();
    let kept = gone.matches("helm.sh/resource-policy").count();
    assert_eq!(
        kept, 3,
        "the Secrets with keys stay whatever becomes of the definitions"
    );
}

fn a_pod_is_injected_as_the_library_says_and_once(installed: &Installed<'_>) {
    let cluster = installed.cluster;
    let namespace = cluster.namespace("injected").unwrap();
    cluster
        .ask(&[
            "label",
            "namespace",
            &namespace.name,
            "actpass.org/mode=audit",
        ])
        .unwrap();
    let made = installed.create(&namespace.name, &pod(), &[]);
    let said = made.unwrap_err().to_string();
    assert!(
        said.contains("has no NetworkPolicy `actpass-agents` and no ConfigMap `actpass-trust` yet"),
        "{said}"
    );

    installed.prepare(&namespace.name).unwrap();
    // The webhook sees what the controller wrote with a delay.
    let made = eventually(Duration::from_secs(10), || {
        installed.create(&namespace.name, &pod(), &[])
    })
    .unwrap();
    let (settings, secret) = (installed.settings(), installed.uid_secret().unwrap());
    let context = Context {
        namespace: &namespace.name,
        settings: &settings,
        secret: &secret,
        request: "",
    };
    let findings = checks::create(&made, &context, &Surroundings::default());
    assert!(
        findings.passes(),
        "as it comes back from the API server: {findings:?}"
    );
    assert!(inject(&made, &context).unwrap().patch.is_empty());
    let names: Vec<&Value> = made
        .pointer("/spec/initContainers")
        .and_then(Value::as_array)
        .unwrap()
        .iter()
        .filter_map(|it| it.get("name"))
        .collect();
    assert_eq!(
        names,
        ["actpass-init", "actpass-proxy", "actpass-verify", "own"]
    );

    let mut again = made.clone();
    let metadata = again
        .pointer_mut("/metadata")
        .and_then(Value::as_object_mut)
        .unwrap();
    for key in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
        "generation",
    ] {
        metadata.remove(key);
    }
    metadata.insert("name".to_owned(), json!("agent-again"));
    let seen = installed
        .create(&namespace.name, &again, &["--dry-run=server"])
        .unwrap();
    assert_eq!(seen.get("spec"), made.get("spec"));
    assert_eq!(
        seen.pointer("/metadata/annotations"),
        made.pointer("/metadata/annotations")
    );

    let name = made
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap();
    let swap = r#"[{"op": "replace", "path": "/spec/initContainers/1/image", "value": "registry.example/mine:1"}]"#;
    let unlabel = r#"{"metadata": {"labels": {"actpass.org/enforced": null}}}"#;
    let other_uid = r#"{"metadata": {"annotations": {"actpass.org/sidecar-uid": "1000"}}}"#;
    let of_status = |patch| {
        let what = ["patch", "pod", name, "--subresource=status"];
        [&what[..], &["--type=merge", "--patch", patch]].concat()
    };
    for (args, want) in [
        (
            vec!["patch", "pod", name, "--type=json", "--patch", swap],
            "do not change while a pod runs",
        ),
        (
            vec!["label", "pod", name, "actpass.org/enforced-"],
            "belong to ActPass",
        ),
        (of_status(unlabel), "belong to ActPass"),
        (of_status(other_uid), "belong to ActPass"),
        (
            vec!["exec", name, "--container=actpass-proxy", "--", "sh"],
            "have a way out that agents do not have",
        ),
    ] {
        let output = namespace.kubectl(&args).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(want),
            "{args:?}: {said}"
        );
    }
    namespace.ask(&["label", "pod", name, "team=a"]).unwrap();
    let enforce = cluster
        .kubectl(&[
            "label",
            "namespace",
            &namespace.name,
            "actpass.org/mode=enforce",
            "--overwrite",
        ])
        .unwrap();
    assert!(enforce.status.success(), "{enforce:?}");
}

fn bad_pods_are_refused_and_each_reason_is_told(installed: &Installed<'_>) {
    let cluster = installed.cluster;
    let namespace = cluster.namespace("refused").unwrap();
    cluster
        .ask(&[
            "label",
            "namespace",
            &namespace.name,
            "actpass.org/mode=enforce",
        ])
        .unwrap();
    installed.prepare(&namespace.name).unwrap();
    eventually(Duration::from_secs(10), || {
        installed.create(&namespace.name, &pod(), &["--dry-run=server"])
    })
    .unwrap();
    struct Case {
        name: &'static str,
        at: &'static str,
        value: Value,
        want: &'static str,
    }
    for Case {
        name,
        at,
        value,
        want,
    } in [
        Case {
            name: "privileged",
            at: "/spec/containers/0/securityContext/privileged",
            value: json!(true),
            want: "spec.containers[0].securityContext.privileged: ",
        },
        Case {
            name: "no uid",
            at: "/spec/containers/0/securityContext",
            value: json!({}),
            want: "spec.containers[0].securityContext.runAsUser: ",
        },
        Case {
            name: "a sidecar's uid",
            at: "/spec/containers/0/securityContext/runAsUser",
            value: json!(40_000),
            want: "spec.containers[0].securityContext.runAsUser: ",
        },
        Case {
            name: "a capability",
            at: "/spec/containers/0/securityContext/capabilities",
            value: json!({"add": ["NET_ADMIN"]}),
            want: "spec.containers[0].securityContext.capabilities.add",
        },
        Case {
            name: "no seccomp",
            at: "/spec/securityContext/seccompProfile",
            value: json!({"type": "Unconfined"}),
            want: "spec.securityContext.seccompProfile",
        },
        Case {
            name: "the node's network",
            at: "/spec/hostNetwork",
            value: json!(true),
            want: "spec.hostNetwork: an agent there is outside of its fence; remove it",
        },
        Case {
            name: "a path of the node",
            at: "/spec/volumes",
            value: json!([{"name": "h", "hostPath": {"path": "/"}}]),
            want: "spec.volumes[0].hostPath: reaches past the pod",
        },
        Case {
            name: "a container named as ours",
            at: "/spec/containers/0/name",
            value: json!("actpass-mine"),
            want: "`actpass-mine` is a name of ActPass",
        },
        Case {
            name: "a probe elsewhere",
            at: "/spec/containers/0/livenessProbe",
            value: json!({"httpGet": {"host": "198.51.100.7", "port": 80, "path": "/"}}),
            want: "spec.containers[0].livenessProbe.httpGet.host: ",
        },
        Case {
            name: "another resolver",
            at: "/spec/dnsPolicy",
            value: json!("Default"),
            want: "spec.dnsPolicy: `Default` is not `ClusterFirst`",
        },
        Case {
            name: "a token of sidecars",
            at: "/spec/volumes",
            value: json!([{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "actpass"}}]}}]),
            want: "`actpass` is the audience of sidecars",
        },
        Case {
            name: "another mesh",
            at: "/metadata/annotations",
            value: json!({"k8s.v1.cni.cncf.io/networks": "a"}),
            want: "asks for another mesh or network interface",
        },
        Case {
            name: "a node of its choice",
            at: "/spec/nodeName",
            value: json!("node"),
            want: "spec.nodeName: placed past the scheduler",
        },
    ] {
        let given = with(pod(), at, value);
        let said = installed
            .create(&namespace.name, &given, &[])
            .err()
            .unwrap_or_else(|| panic!("{name}: taken"))
            .to_string();
        assert!(said.contains(want), "{name}: {said}");
    }
    let output = cluster
        .kubectl(&[
            "get",
            "pods",
            "--namespace",
            &namespace.name,
            "--output",
            "name",
        ])
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}

fn a_vote_is_stamped_with_who_the_api_server_knows(installed: &Installed<'_>) {
    let cluster = installed.cluster;
    let namespace = cluster.namespace("votes").unwrap();
    let approval = json!({"apiVersion": "actpass.org/v1alpha1", "kind": "Approval", "metadata": {"name": "apr-1"}, "spec": {
        "approvalId": "apr_1", "digest": "ab".repeat(32), "capability": "stripe.refunds.create", "effect": "Irreversible",
        "target": "POST api.stripe.com /v1/refunds", "agent": "clerk", "passport": "clerk", "owner": "owner@example.com",
        "purpose": "Refund", "because": "RequiredByRule", "seats": [{"groups": ["finance"], "quorum": 1}],
        "askedAt": "2026-05-04T09:59:00Z", "expiresAt": "2126-05-04T10:30:00Z"}});
    let forged = installed
        .create(&namespace.name, &approval, &[])
        .unwrap_err()
        .to_string();
    assert!(
        forged.contains("only the controller of ActPass writes approvals"),
        "{forged}"
    );
    let asked = installed
        .create(&namespace.name, &approval, &[CONTROLLER])
        .unwrap();
    let uid = asked
        .pointer("/metadata/uid")
        .and_then(Value::as_str)
        .unwrap();
    namespace
        .ask(&[
            "create",
            "rolebinding",
            "finance",
            "--clusterrole=actpass-approver",
            "--group=finance",
        ])
        .unwrap();
    let vote = json!({"apiVersion": "actpass.org/v1alpha1", "kind": "ApprovalVote", "metadata": {"generateName": "vote-"}, "spec": {
        "approvalName": "apr-1", "approvalUid": uid, "digest": "ab".repeat(32), "decision": "Approve", "stamp": {
            "user": "boss@example.com", "time": "2026-05-04T10:00:00Z", "keyId": "k", "signature": "A".repeat(86)}}});
    for (who, want) in [
        (
            "--as=system:serviceaccount:default:default",
            "only people vote",
        ),
        ("--as=owner@example.com", "owners do not vote"),
    ] {
        let said = installed
            .create(&namespace.name, &vote, &[who, "--as-group=finance"])
            .unwrap_err()
            .to_string();
        assert!(said.contains(want), "{who}: {said}");
    }
    let cast = installed
        .create(
            &namespace.name,
            &vote,
            &["--as=ada@example.com", "--as-group=finance"],
        )
        .unwrap();
    assert_eq!(
        cast.pointer("/metadata/name").and_then(Value::as_str),
        Some(&*vote_name(uid, "ada@example.com"))
    );
    let spec: ApprovalVoteSpec =
        serde_json::from_value(cast.get("spec").cloned().unwrap()).unwrap();
    let signed = SignedVote {
        key_id: spec.stamp.key_id,
        signature: spec.stamp.signature,
        vote: Vote {
            approval_uid: uid.to_owned(),
            digest: spec.digest,
            grant: true,
            groups: spec.stamp.groups,
            time: spec.stamp.time.0,
            user: spec.stamp.user,
        },
    };
    let vote = signed.verified(&installed.vote_key().unwrap()).unwrap();
    assert_eq!(
        (
            vote.user.as_str(),
            vote.groups.iter().any(|group| group == "finance")
        ),
        ("ada@example.com", true)
    );
    let twice = installed.create(&namespace.name, &json!({"apiVersion": "actpass.org/v1alpha1", "kind": "ApprovalVote",
        "metadata": {"generateName": "vote-"}, "spec": {"approvalName": "apr-1", "approvalUid": uid, "digest": "ab".repeat(32),
        "decision": "Deny"}}), &["--as=ada@example.com", "--as-group=finance"]);
    assert!(twice.unwrap_err().to_string().contains("already exists"));
}

fn resources_and_namespaces_are_checked_when_they_are_written(installed: &Installed<'_>) {
    let cluster = installed.cluster;
    let namespace = cluster.namespace("written").unwrap();
    let upstream = json!({"apiVersion": "actpass.org/v1alpha1", "kind": "Upstream", "metadata": {"name": "mail"}, "spec": {
        "hosts": ["mail.example.com"], "allowedNamespaces": {"from": "All"},
        "actions": [{"name": "read", "match": {"http": {"method": "GET", "path": "/**"}}, "effect": "Read"}]}});
    let passport = |capability: &str| {
        json!({"apiVersion": "actpass.org/v1alpha1", "kind": "Passport", "metadata": {"name": "clerk"},
        "spec": {"agentId": "clerk", "owner": "o", "purpose": "p", "scope": [{"capability": capability}]}})
    };
    installed.create(SYSTEM, &upstream, &[]).unwrap();
    let said = installed
        .create(&namespace.name, &passport("mail.raed"), &[])
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("no Upstream declares `mail.raed`; did you mean `mail.read`?"),
        "{said}"
    );
    installed
        .create(&namespace.name, &passport("mail.read"), &[])
        .unwrap();
    cluster
        .ask(&["delete", "upstream", "mail", "--namespace", SYSTEM])
        .unwrap();
    // Now it refers to nothing, and can be suspended all the same.
    namespace
        .ask(&[
            "patch",
            "passport",
            "clerk",
            "--type=merge",
            "--patch",
            r#"{"spec":{"suspended":true}}"#,
        ])
        .unwrap();

    let role = format!("namespaces-{}", namespace.name);
    cluster
        .ask(&[
            "create",
            "clusterrole",
            &role,
            "--verb=get,patch,update",
            "--resource=namespaces,namespaces/status,namespaces/finalize",
        ])
        .unwrap();
    cluster
        .ask(&[
            "create",
            "clusterrolebinding",
            &role,
            "--clusterrole",
            &role,
            "--user=ed",
        ])
        .unwrap();
    let label = |label: &str, who: &[&str]| {
        let args = [
            &["label", "namespace", &namespace.name, label, "--overwrite"],
            who,
        ]
        .concat();
        let output = cluster.kubectl(&args).unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    assert!(label("team=a", &["--as=ed"]).0);
    let (_, said) = label("actpass.org/mode=audit", &["--as=ed"]);
    assert!(said.contains("namespaces/mode"), "{said}");
    // A label changes by the parts of a namespace too.
    let patch = r#"{"metadata": {"labels": {"actpass.org/mode": "audit"}}}"#;
    let status = [
        "patch",
        "namespace",
        &namespace.name,
        "--type=merge",
        "--subresource=status",
        "--patch",
        patch,
        "--as=ed",
    ];
    let said = cluster.kubectl(&status).unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("namespaces/mode"), "{said}");
    let mut finalized = installed.get(SYSTEM, &format!("namespace/{}", namespace.name));
    let labels = finalized.pointer_mut("/metadata/labels");
    let labels = labels.and_then(Value::as_object_mut).unwrap();
    labels.insert("actpass.org/mode".to_owned(), json!("audit"));
    let path = format!("/api/v1/namespaces/{}/finalize", namespace.name);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), finalized.to_string()).unwrap();
    let said = cluster
        .kubectl(&[
            "replace",
            "--raw",
            &path,
            "--filename",
            &file.path().display().to_string(),
            "--as=ed",
        ])
        .unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("namespaces/mode"), "{said}");
    let (_, said) = label("actpass.org/mode=enforced", &[]);
    assert!(said.contains("write `audit` or `enforce`"), "{said}");
    installed.create(&namespace.name, &pod(), &[]).unwrap();
    let (_, said) = label("actpass.org/mode=enforce", &[]);
    assert!(said.contains("1 of its pods run without ActPass"), "{said}");
    cluster
        .ask(&[
            "annotate",
            "namespace",
            &namespace.name,
            "actpass.org/force=true",
        ])
        .unwrap();
    assert!(label("actpass.org/mode=enforce", &[]).0);
    cluster
        .ask(&["delete", "clusterrole,clusterrolebinding", &role])
        .unwrap();
}

fn an_upgrade_takes_nothing_back_and_the_second_lock_holds(installed: &Installed<'_>) {
    let cluster = installed.cluster;
    let kept = || {
        let objects = "secret/actpass-webhook,secret/actpass-webhook-tls,configmap/actpass-trust,lease/actpass-controller";
        let found: Vec<Value> = objects
            .split(',')
            .map(|object| installed.get(SYSTEM, object))
            .collect();
        let bundles = [
            "mutatingwebhookconfiguration/actpass",
            "validatingwebhookconfiguration/actpass",
        ]
        .map(|object| {
            let found = installed.get(SYSTEM, object);
            let webhooks = found
                .get("webhooks")
                .and_then(Value::as_array)
                .unwrap()
                .clone();
            webhooks
                .iter()
                .map(|webhook| webhook.pointer("/clientConfig/caBundle").cloned().unwrap())
                .collect::<Vec<_>>()
        });
        let data: Vec<Option<Value>> = found
            .iter()
            .map(|it| it.get("data").or(it.get("spec")).cloned())
            .collect();
        (data, bundles)
    };
    let before = kept();
    installed
        .upgrade(&[
            "--set",
            "webhook.timeoutSeconds=7",
            "--set",
            "exemptNamespaces={kube-system}",
        ])
        .unwrap();
    let webhooks = installed.get(SYSTEM, "validatingwebhookconfiguration/actpass");
    assert_eq!(
        webhooks.pointer("/webhooks/0/timeoutSeconds"),
        Some(&json!(7))
    );
    assert_eq!(kept(), before);

    let policies = eventually(Duration::from_secs(10), || {
        let found = cluster.ask(&["get", "validatingadmissionpolicies", "--output", "json"])?;
        let found: Value = serde_json::from_str(&found)?;
        let items = found
            .get("items")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let ours: Vec<Value> = items
            .into_iter()
            .filter(|it| {
                it.pointer("/metadata/name")
                    .and_then(Value::as_str)
                    .is_some_and(|name| name.starts_with("actpass-"))
            })
            .collect();
        ensure!(
            ours.iter()
                .all(|it| it.pointer("/status/typeChecking").is_some()),
            "not checked yet"
        );
        Ok(ours)
    })
    .unwrap();
    assert_eq!(policies.len(), 8);
    for policy in &policies {
        assert_eq!(
            policy.pointer("/status/typeChecking"),
            Some(&json!({})),
            "{policy}"
        );
    }

    let namespace = cluster.namespace("tokens").unwrap();
    namespace
        .ask(&[
            "create",
            "rolebinding",
            "ed",
            "--clusterrole=edit",
            "--user=ed",
        ])
        .unwrap();
    namespace
        .ask(&["create", "token", "default", "--audience=other", "--as=ed"])
        .unwrap();
    let output = namespace
        .kubectl(&[
            "create",
            "token",
            "default",
            "--audience=actpass",
            "--as=ed",
        ])
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("tokens with audience `actpass` are the sidecars'"),
        "{said}"
    );

    let may = |who: &str, what: &[&str]| {
        let args = [&["auth", "can-i"], what, &["--as", who]].concat();
        cluster.kubectl(&args).unwrap().status.success()
    };
    let webhook = "system:serviceaccount:actpass-system:actpass-webhook";
    for (what, want) in [
        (
            &["get", "secret/actpass-webhook", "--namespace", SYSTEM][..],
            true,
        ),
        (
            &["get", "secret/actpass-ledger", "--namespace", SYSTEM],
            false,
        ),
        (
            &["get", "secret/actpass-controller", "--namespace", SYSTEM],
            false,
        ),
        (
            &[
                "update",
                "secret/actpass-webhook-tls",
                "--namespace",
                SYSTEM,
            ],
            false,
        ),
        (&["list", "secrets", "--namespace", SYSTEM], false),
        (
            &["create", "approvalvotes.actpass.org", "--namespace", SYSTEM],
            false,
        ),
    ] {
        assert_eq!(may(webhook, what), want, "{what:?}");
    }
}

fn without_the_webhook_what_runs_goes_on_and_nothing_new_starts(mut installed: Installed<'_>) {
    let namespace = installed.cluster.namespace("away").unwrap();
    let label = [
        "label",
        "namespace",
        &namespace.name,
        "actpass.org/mode=enforce",
    ];
    installed.cluster.ask(&label).unwrap();
    installed.prepare(&namespace.name).unwrap();
    let made = eventually(Duration::from_secs(10), || {
        installed.create(&namespace.name, &pod(), &[])
    })
    .unwrap();
    let name = made
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap();
    let clerk = json!({"apiVersion": "actpass.org/v1alpha1", "kind": "Passport", "metadata": {"name": "clerk"},
        "spec": {"agentId": "clerk", "owner": "o", "purpose": "p", "scope": [{"capability": "post.read"}]}});
    let upstream = json!({"apiVersion": "actpass.org/v1alpha1", "kind": "Upstream", "metadata": {"name": "post"},
        "spec": {"hosts": ["post.example.com"],
        "actions": [{"name": "read", "match": {"http": {"method": "GET", "path": "/**"}}, "effect": "Read"}]}});
    installed.create(&namespace.name, &upstream, &[]).unwrap();
    installed.create(&namespace.name, &clerk, &[]).unwrap();
    installed.stop();
    let change = |spec: Value| {
        let patch = json!({ "spec": spec }).to_string();
        let args = [
            "patch",
            "passport",
            "clerk",
            "--type=merge",
            "--patch",
            &patch,
        ];
        namespace.kubectl(&args).unwrap().status.success()
    };
    // Whatever else is asked for waits for the webhook.
    assert!(!change(json!({"suspended": true, "purpose": "Anything"})));
    assert!(!change(json!({"suspended": true, "owner": "another"})));
    assert!(!change(json!({"suspended": true, "ttlSeconds": 901})));
    assert!(change(json!({"suspended": true})), "an agent is stopped");
    let labelled = namespace.kubectl(&["label", "passport", "clerk", "tier=b"]);
    assert!(!labelled.unwrap().status.success());
    assert!(!change(json!({"suspended": false})));
    let said = installed
        .create(&namespace.name, &pod(), &[])
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("failed calling webhook \"pods.actpass.org\""),
        "{said}"
    );
    for finalizers in ["[\"example.com/held\"]", "[]"] {
        let patch = format!("{{\"metadata\": {{\"finalizers\": {finalizers}}}}}");
        namespace
            .ask(&["patch", "pod", name, "--type=merge", "--patch", &patch])
            .unwrap();
    }
    let labelled = namespace
        .kubectl(&["label", "pod", name, "team=b"])
        .unwrap();
    assert!(!labelled.status.success());
    let swap = r#"[{"op": "replace", "path": "/spec/initContainers/1/image", "value": "registry.example/mine:1"}]"#;
    let swapped = namespace
        .kubectl(&["patch", "pod", name, "--type=json", "--patch", swap])
        .unwrap();
    assert!(!swapped.status.success());
    let plain = installed.cluster.namespace("plain").unwrap();
    installed.create(&plain.name, &pod(), &[]).unwrap();
    installed
        .cluster
        .ask(&["delete", "namespace", &plain.name, "--timeout=60s"])
        .unwrap();
    namespace
        .ask(&[
            "delete",
            "pod",
            name,
            "--timeout=60s",
            "--grace-period=0",
            "--force",
        ])
        .unwrap();
}
