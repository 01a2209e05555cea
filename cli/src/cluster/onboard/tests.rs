use super::*;

/// A Deployment whose one container has that security context and environment.
fn deployment(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"template": {"metadata": {"labels": {"app": name}}, "spec": spec}},
    })
}

fn tried(object: &Value) -> Tried {
    let all = workloads::of(std::slice::from_ref(object));
    let workload = all.first().unwrap();
    let (settings, surroundings) = (settings::defaults(), Surroundings::default());
    let fixes = checked(&workload.pod, "shop", &settings, &surroundings);
    Tried {
        workload: workload.name(),
        service_account: workload.account.clone(),
        fixes: fixes.iter().map(|fix| workload.placed(fix)).collect(),
        undeclared_hosts: hosts::undeclared(&workload.pod, &[]),
    }
}

#[test]
fn a_namespace_is_shown_with_what_each_workload_needs_and_how_to_go_on() {
    let good = json!({"serviceAccountName": "refunds", "containers": [
        {"name": "agent", "image": "a", "securityContext": {"runAsUser": 1000}}]});
    let bad = json!({"hostNetwork": true, "containers": [
        {"name": "agent", "image": "a", "env": [{"name": "URL", "value": "https://api.example.com"}]}]});
    let found = Found {
        namespace: "shop".to_owned(),
        mode: None,
        pod_security: Some("restricted".to_owned()),
        workloads: vec![
            tried(&deployment("refund-agent", &good)),
            tried(&deployment("legacy", &bad)),
        ],
        without_passport: BTreeSet::from(["default".to_owned()]),
        running_without: vec!["legacy-7f".to_owned()],
        not_checked: Vec::new(),
    };
    assert!(!found.starts());
    insta::assert_snapshot!(found.text(Paint::plain()));
}

#[test]
fn a_namespace_that_is_ready_says_so() {
    let good = json!({"containers": [
        {"name": "agent", "image": "a", "securityContext": {"runAsUser": 1000}}]});
    let found = Found {
        namespace: "shop".to_owned(),
        mode: Some("audit".to_owned()),
        pod_security: Some("privileged".to_owned()),
        workloads: vec![tried(&deployment("refund-agent", &good))],
        without_passport: BTreeSet::new(),
        running_without: Vec::new(),
        not_checked: Vec::new(),
    };
    assert!(found.starts(), "{found:?}");
    insta::assert_snapshot!(found.text(Paint::plain()));
}

#[test]
fn workloads_are_what_nobody_else_makes() {
    let pod = |name: &str, owner: Option<&str>, phase: &str| {
        let owners: Vec<Value> = owner
            .iter()
            .map(|kind| json!({"kind": kind, "name": "x", "controller": true}))
            .collect();
        json!({"kind": "Pod", "metadata": {"name": name, "ownerReferences": owners},
            "spec": {"nodeName": "n", "containers": []}, "status": {"phase": phase}})
    };
    let template = json!({"spec": {"serviceAccountName": "a", "containers": []}});
    let objects = [
        pod("bare", None, "Running"),
        pod("of-a-set", Some("ReplicaSet"), "Running"),
        pod("over", None, "Succeeded"),
        json!({"kind": "CronJob", "metadata": {"name": "nightly"},
            "spec": {"jobTemplate": {"spec": {"template": template}}}}),
        json!({"kind": "Job", "metadata": {"name": "nightly-1", "ownerReferences": [
            {"kind": "CronJob", "name": "nightly", "controller": true}]}, "spec": {"template": template}}),
    ];
    let found = workloads::of(&objects);
    let names: Vec<String> = found.iter().map(Workload::name).collect();
    assert_eq!(names, ["pod/bare", "cronjob/nightly"]);
    let [bare, nightly] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(bare.pod.pointer("/spec/nodeName").is_none());
    assert_eq!(
        (bare.account.as_str(), nightly.account.as_str()),
        ("default", "a")
    );
    let placed = nightly.placed("spec.hostNetwork: no; leave it out");
    assert_eq!(
        placed,
        "spec.jobTemplate.spec.template.spec.hostNetwork: no; leave it out"
    );
}

#[test]
fn what_the_api_server_says_stands_without_what_is_around_it() {
    for (said, want) in [
        (
            "Error from server (Forbidden): error when creating \"STDIN\": pods \"a-\" is forbidden: exceeded quota: q",
            "pods \"a-\" is forbidden: exceeded quota: q",
        ),
        (
            "Error from server: error when creating \"STDIN\": admission webhook \"x.example\" denied the request: no",
            "no",
        ),
    ] {
        assert_eq!(refusal(said), want);
    }
}
