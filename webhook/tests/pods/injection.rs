//! What does a pod become, and does it become the same thing twice?

use crate::support::{applied, created, injected, injected_with, pod, set, settings, with};
use actpass_webhook::checks::Surroundings;
use actpass_webhook::problem::Reason;
use serde_json::{Value, json};

/// Injects, and holds the result to what is true of every injection.
#[track_caller]
fn checked(pod: &Value) -> Value {
    let first = injected(pod);
    let patch = first.patch.to_json();
    assert_eq!(applied(pod, &patch), first.pod, "the patch leads elsewhere");
    let again = injected(&first.pod);
    assert!(
        again.patch.is_empty(),
        "a second time changes {}",
        again.patch.to_json()
    );
    assert_eq!(again.identity, first.identity);
    first.pod
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let items = pod["spec"][list].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}

const OURS: [&str; 3] = ["actpass-init", "actpass-proxy", "actpass-verify"];

#[test]
fn a_pod_of_a_deployment() {
    let injection = injected(&pod());
    insta::assert_json_snapshot!("deployment_patch", injection.patch.to_json());
    insta::assert_json_snapshot!("deployment_pod", checked(&pod()));
    assert_eq!(injection.warned, []);
}

#[test]
fn a_job_keeps_its_restart_policy_and_gets_no_ports() {
    let job = json!({"metadata": {"generateName": "nightly-", "ownerReferences": [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "nightly", "uid": "u", "controller": true}]},
        "spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 600,
            "containers": [{"name": "job", "image": "a", "securityContext": {"runAsUser": 1000}}]}});
    let pod = checked(&job);
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    assert_eq!(pod["spec"]["activeDeadlineSeconds"], 600);
    let args = pod["spec"]["initContainers"][0]["args"].to_string();
    assert!(!args.contains("--inbound"), "{args}");
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 40);
}

#[test]
fn ours_come_before_the_users_init_containers_which_keep_their_order() {
    let mut given = pod();
    set(
        &mut given,
        "/spec/initContainers",
        json!([
            {"name": "migrate", "image": "m", "securityContext": {"runAsUser": 7}},
            {"name": "cache", "image": "c", "restartPolicy": "Always", "securityContext": {"runAsUser": 8}},
        ]),
    );
    set(
        &mut given,
        "/spec/containers/-",
        json!({"name": "web", "image": "w"}),
    );
    let pod = checked(&given);
    assert_eq!(
        names(&pod, "initContainers"),
        [&OURS[..], &["migrate", "cache"]].concat()
    );
    assert_eq!(names(&pod, "containers"), ["agent", "web"]);
    for agent in [
        &pod["spec"]["initContainers"][3],
        &pod["spec"]["initContainers"][4],
        &pod["spec"]["containers"][1],
    ] {
        assert_eq!(
            agent["securityContext"]["capabilities"]["drop"],
            json!(["ALL"]),
            "{agent}"
        );
        assert_eq!(agent["volumeMounts"][0]["name"], "actpass-trust", "{agent}");
        assert_eq!(agent["env"][0]["name"], "SSL_CERT_FILE", "{agent}");
    }
    assert_eq!(pod["spec"]["initContainers"][4]["restartPolicy"], "Always");
}

#[test]
fn what_is_stricter_already_stays() {
    let strict = json!({"runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": true, "privileged": false,
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "Localhost", "localhostProfile": "agents.json"}});
    let pod = checked(&with(
        pod(),
        "/spec/containers/0/securityContext",
        strict.clone(),
    ));
    assert_eq!(pod["spec"]["containers"][0]["securityContext"], strict);
    let of_the_pod = with(
        crate::support::pod(),
        "/spec/securityContext",
        json!({"runAsNonRoot": true, "runAsUser": 5,
        "seccompProfile": {"type": "Localhost", "localhostProfile": "agents.json"}}),
    );
    let pod = checked(&with(
        of_the_pod.clone(),
        "/spec/containers/0/securityContext",
        Value::Null,
    ));
    assert_eq!(
        pod["spec"]["securityContext"],
        of_the_pod["spec"]["securityContext"]
    );
    assert_eq!(
        pod["spec"]["containers"][0]["securityContext"],
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
    );
}

#[test]
fn what_is_laxer_is_tightened_and_told() {
    let lax = json!({"runAsUser": 1000, "runAsNonRoot": false, "allowPrivilegeEscalation": true,
        "capabilities": {"drop": ["NET_RAW"]}});
    let given = with(pod(), "/spec/containers/0/securityContext", lax);
    let injection = injected(&given);
    assert_eq!(
        checked(&given)["spec"]["containers"][0]["securityContext"],
        json!({"runAsUser": 1000, "runAsNonRoot": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
    );
    let told: Vec<_> = injection
        .warned
        .iter()
        .map(|told| (told.reason, told.field.as_str()))
        .collect();
    let context = "spec.containers[0].securityContext";
    assert_eq!(
        told,
        [
            (
                Reason::Tightened,
                format!("{context}.allowPrivilegeEscalation").as_str()
            ),
            (
                Reason::Tightened,
                format!("{context}.runAsNonRoot").as_str()
            ),
        ]
    );
}

#[test]
fn what_an_agent_may_rest_on_is_left_for_the_checks() {
    for (field, value) in [
        ("privileged", json!(true)),
        ("capabilities", json!({"add": ["SYS_ADMIN"]})),
        (
            "capabilities",
            json!({"add": ["NET_ADMIN"], "drop": ["ALL"]}),
        ),
        ("runAsUser", json!(0)),
        ("seccompProfile", json!({"type": "Unconfined"})),
        ("procMount", json!("Unmasked")),
    ] {
        let pointer = format!("/spec/containers/0/securityContext/{field}");
        let pod = checked(&with(pod(), &pointer, value.clone()));
        assert_eq!(pod.pointer(&pointer), Some(&value), "{field}");
    }
}

#[test]
fn a_uid_is_filled_in_only_where_the_settings_name_one() {
    let given = with(pod(), "/spec/containers/0/securityContext", json!({}));
    assert_eq!(
        checked(&given)["spec"]["containers"][0]["securityContext"].get("runAsUser"),
        None
    );
    let mut settings = settings();
    settings.default_agent_uid = Some(1234);
    let pod = injected_with(&given, &settings).unwrap().pod;
    assert_eq!(
        pod["spec"]["containers"][0]["securityContext"]["runAsUser"],
        1234
    );
    let pod = injected_with(
        &with(given, "/spec/securityContext/runAsUser", json!(5)),
        &settings,
    )
    .unwrap()
    .pod;
    assert_eq!(
        pod["spec"]["containers"][0]["securityContext"].get("runAsUser"),
        None
    );
}

#[test]
fn what_pretends_to_be_ours_is_made_anew() {
    let clean = checked(&pod());
    let forged = [
        (
            "/spec/initContainers",
            json!([{"name": "actpass-proxy", "image": "evil"}]),
        ),
        (
            "/spec/initContainers",
            json!([{"name": "actpass-init", "image": "evil"}, {"name": "actpass-proxy"}, {"name": "actpass-verify"}]),
        ),
        (
            "/spec/initContainers",
            json!([{"name": "actpass-other", "image": "evil"}]),
        ),
        (
            "/spec/volumes/-",
            json!({"name": "actpass-state", "hostPath": {"path": "/"}}),
        ),
        (
            "/spec/volumes/-",
            json!({"name": "actpass-more", "emptyDir": {}}),
        ),
        (
            "/spec/containers/0/volumeMounts/-",
            json!({"name": "actpass-state", "mountPath": "/s"}),
        ),
        (
            "/spec/containers/0/volumeMounts/-",
            json!({"name": "actpass-trust", "mountPath": "/run/actpass/trust"}),
        ),
        (
            "/metadata/annotations/actpass.org~1sidecar-uid",
            json!("1000"),
        ),
        ("/metadata/labels/actpass.org~1enforced", json!("v0")),
    ];
    for (pointer, value) in forged {
        let forged = with(pod(), pointer, value.clone());
        assert_eq!(checked(&forged), clean, "{pointer} {value}");
    }
    // The same done to a pod that is injected already.
    for (pointer, value) in [
        ("/spec/initContainers/1/image", json!("evil")),
        (
            "/spec/initContainers/1/securityContext/runAsUser",
            json!(1000),
        ),
        ("/spec/initContainers/0/args/-", json!("--inbound=1")),
        ("/spec/initContainers/1/env/0/value", json!("evil:1")),
        ("/spec/initContainers/2/startupProbe", Value::Null),
        (
            "/spec/initContainers/1/lifecycle",
            json!({"preStop": {"exec": {"command": ["sh"]}}}),
        ),
    ] {
        assert_eq!(
            checked(&with(clean.clone(), pointer, value.clone())),
            clean,
            "{pointer} {value}"
        );
    }
    let mut reordered = clean.clone();
    reordered["spec"]["initContainers"]
        .as_array_mut()
        .unwrap()
        .swap(0, 2);
    assert_eq!(checked(&reordered), clean, "another order");
}

#[test]
fn what_the_api_server_adds_to_ours_is_no_difference() {
    let clean = checked(&pod());
    for (name, pointer, value) in [
        (
            "a LimitRange",
            "/spec/initContainers/1/resources/limits/cpu",
            json!("1"),
        ),
        (
            "AlwaysPullImages",
            "/spec/initContainers/0/imagePullPolicy",
            json!("Always"),
        ),
    ] {
        let found = with(clean.clone(), pointer, value);
        assert_eq!(injected(&found).patch.to_json(), json!([]), "{name}");
    }
    for (pointer, value) in [
        ("/spec/initContainers/0/imagePullPolicy", json!("Never")),
        (
            "/spec/initContainers/1/resources/limits/memory",
            json!("1Mi"),
        ),
    ] {
        assert_eq!(
            checked(&with(clean.clone(), pointer, value)),
            clean,
            "{pointer}"
        );
    }
}

#[test]
fn an_agent_holds_a_token_only_where_its_pod_asks_for_it() {
    let without = checked(&pod());
    assert!(
        !without.to_string().contains("kube-api-access"),
        "{without}"
    );
    assert_eq!(without["spec"]["automountServiceAccountToken"], false);
    let asked = checked(&with(
        pod(),
        "/spec/automountServiceAccountToken",
        json!(true),
    ));
    assert_eq!(names(&asked, "volumes")[0], "kube-api-access-x7f2k");
    assert_eq!(
        asked["spec"]["containers"][0]["volumeMounts"][0]["name"],
        "kube-api-access-x7f2k"
    );
    // The API server then adds it to our containers too, which is no difference.
    let mut added = asked.clone();
    for index in 0..3 {
        let pointer = format!("/spec/initContainers/{index}/volumeMounts/-");
        set(
            &mut added,
            &pointer,
            pod()["spec"]["containers"][0]["volumeMounts"][0].clone(),
        );
    }
    assert_eq!(injected(&added).patch.to_json(), json!([]));
    // A volume that the user mounts elsewhere is the user's.
    let used = with(
        pod(),
        "/spec/containers/0/volumeMounts/-",
        json!({"name": "kube-api-access-x7f2k", "mountPath": "/t"}),
    );
    assert_eq!(
        names(&checked(&used), "volumes")[0],
        "kube-api-access-x7f2k"
    );
}

#[test]
fn a_variable_that_the_user_set_stays_and_is_told() {
    let given = with(
        pod(),
        "/spec/containers/0/env",
        json!([
            {"name": "SSL_CERT_FILE", "value": "/my.pem"},
            {"name": "NODE_EXTRA_CA_CERTS", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
            {"name": "PIP_CERT", "value": "/run/actpass/trust/bundle.pem"},
            {"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx64m"},
            {"name": "OWN", "value": "$(SSL_CERT_FILE)"},
        ]),
    );
    let injection = injected(&given);
    let env = checked(&given)["spec"]["containers"][0]["env"]
        .as_array()
        .unwrap()
        .clone();
    let value = |name: &str| {
        let found: Vec<&Value> = env.iter().filter(|entry| entry["name"] == name).collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0].clone()
    };
    assert_eq!(value("SSL_CERT_FILE")["value"], "/my.pem");
    assert_eq!(value("NODE_EXTRA_CA_CERTS").get("value"), None);
    assert_eq!(
        value("JAVA_TOOL_OPTIONS")["value"],
        "-Xmx64m -Djavax.net.ssl.trustStore=/run/actpass/trust/trust.jks"
    );
    assert_eq!(
        value("KUBERNETES_SERVICE_HOST")["value"],
        "kubernetes.default.svc"
    );
    assert_eq!(env[4]["name"], "OWN");
    let told: Vec<&str> = injection
        .warned
        .iter()
        .map(|told| told.field.as_str())
        .collect();
    assert_eq!(
        told,
        ["spec.containers[0].env[0]", "spec.containers[0].env[1]"]
    );
    let own = with(
        pod(),
        "/spec/containers/0/env",
        json!([
        {"name": "JAVA_TOOL_OPTIONS", "value": "-Djavax.net.ssl.trustStore=/my.jks"}]),
    );
    assert_eq!(injected(&own).warned.len(), 1);
    checked(&own);
}

#[test]
fn ports_of_containers_and_probes_are_reachable() {
    let mut given = pod();
    set(
        &mut given,
        "/spec/containers/0/ports",
        json!([
        {"name": "web", "containerPort": 9000}, {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 15001}]),
    );
    set(
        &mut given,
        "/spec/containers/0/livenessProbe",
        json!({"httpGet": {"port": 8081, "path": "/"}}),
    );
    set(
        &mut given,
        "/spec/containers/0/readinessProbe",
        json!({"tcpSocket": {"port": "web"}}),
    );
    set(
        &mut given,
        "/spec/containers/0/lifecycle",
        json!({"preStop": {"httpGet": {"port": "8082"}}}),
    );
    let pod = checked(&given);
    assert_eq!(
        pod["spec"]["initContainers"][0]["args"][3],
        "--inbound=8081,8082,9000"
    );
    let told = injected(&given).warned;
    assert_eq!((told.len(), told[0].reason), (1, Reason::Unreachable));
}

#[test]
fn each_pod_has_a_label_of_its_own_and_keeps_it() {
    let label = |pod: &Value| pod["metadata"]["labels"]["actpass.org/pod"].clone();
    let drawn = label(&injected(&pod()).pod);
    assert_eq!(drawn.as_str().map(str::len), Some(16));
    for (given, want) in [
        (json!("0123456789abcdef"), json!("0123456789abcdef")),
        (json!("0123456789ABCDEF"), drawn.clone()),
        (json!("../"), drawn.clone()),
        (json!(""), drawn.clone()),
    ] {
        let given = with(pod(), "/metadata/labels/actpass.org~1pod", given);
        assert_eq!(label(&injected(&given).pod), want, "{given}");
    }
    // Without one it is not what we inject.
    let without = with(
        injected(&pod()).pod,
        "/metadata/labels/actpass.org~1pod",
        Value::Null,
    );
    let findings = created(&without, &settings(), &Surroundings::default());
    assert_eq!(findings.refused[0].reason, Reason::Injection);
}

#[test]
fn the_grace_period_grows_once() {
    for (given, want, before) in [
        (json!(30), 40, "30"),
        (Value::Null, 40, "30"),
        (json!(0), 10, "0"),
        (json!(i64::MAX), i64::MAX, "9223372036854775807"),
    ] {
        let given = with(pod(), "/spec/terminationGracePeriodSeconds", given);
        let pod = injected(&given).pod;
        assert_eq!(
            pod["spec"]["terminationGracePeriodSeconds"], want,
            "{given}"
        );
        assert_eq!(
            pod["metadata"]["annotations"]["actpass.org/grace-seconds"],
            before
        );
    }
    // Another webhook set it after us: that is what people want now.
    let later = with(
        checked(&pod()),
        "/spec/terminationGracePeriodSeconds",
        json!(100),
    );
    assert_eq!(
        checked(&later)["spec"]["terminationGracePeriodSeconds"],
        110
    );
}

#[test]
fn a_hundred_containers() {
    let mut given = pod();
    for index in 0..100 {
        set(
            &mut given,
            "/spec/containers/-",
            json!({"name": format!("c{index}"), "image": "i", "env": [{"name": "A", "value": "b"}]}),
        );
        set(
            &mut given,
            "/spec/initContainers/-",
            json!({"name": format!("i{index}"), "image": "i"}),
        );
    }
    let pod = checked(&given);
    assert_eq!(names(&pod, "containers").len(), 101);
    assert_eq!(names(&pod, "initContainers")[102], "i99");
}

#[test]
fn volumes_of_the_user_stay_in_front() {
    let given = with(
        pod(),
        "/spec/volumes",
        json!([
            {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}},
            {"name": "new", "kindOfTomorrow": {"a": 1.5}},
        ]),
    );
    let pod = checked(&given);
    assert_eq!(pod["spec"]["volumes"][0], given["spec"]["volumes"][0]);
    assert_eq!(pod["spec"]["volumes"][1], given["spec"]["volumes"][1]);
    assert_eq!(names(&pod, "volumes").len(), 7);
}

#[test]
fn windows_and_malformed_pods_are_refused() {
    for (name, given, reason, field) in [
        (
            "os",
            with(pod(), "/spec/os/name", json!("windows")),
            Reason::Confinement,
            "spec.os.name",
        ),
        (
            "selector",
            with(
                pod(),
                "/spec/nodeSelector/kubernetes.io~1os",
                json!("windows"),
            ),
            Reason::Confinement,
            "spec.nodeSelector[kubernetes.io/os]",
        ),
        ("no object", json!([]), Reason::Malformed, ""),
        (
            "no containers",
            json!({"spec": {}}),
            Reason::Malformed,
            "spec.containers",
        ),
        (
            "a text for a list",
            with(pod(), "/spec/containers", json!("x")),
            Reason::Malformed,
            "spec.containers",
        ),
        (
            "a null container",
            with(pod(), "/spec/containers/0", Value::Null),
            Reason::Malformed,
            "spec.containers[0]",
        ),
        (
            "more than anyone writes",
            with(
                pod(),
                "/spec/volumes",
                json!(vec![json!({"name": "v"}); 1025]),
            ),
            Reason::Malformed,
            "spec.volumes",
        ),
        (
            "a uid as text",
            with(
                pod(),
                "/spec/containers/0/securityContext/runAsUser",
                json!("0"),
            ),
            Reason::Malformed,
            "spec.containers[0].securityContext.runAsUser",
        ),
        (
            "a fraction",
            with(pod(), "/spec/terminationGracePeriodSeconds", json!(1.5)),
            Reason::Malformed,
            "spec.terminationGracePeriodSeconds",
        ),
        (
            "a label of a number",
            with(pod(), "/metadata/labels/a.b~1c", json!(1)),
            Reason::Malformed,
            "metadata.labels[a.b/c]",
        ),
    ] {
        let refused = injected_with(&given, &settings()).unwrap_err().refused;
        assert_eq!(
            (refused[0].reason, refused[0].field.as_str()),
            (reason, field),
            "{name}"
        );
    }
}
