//! What holds for every pod, and for what is none.

use crate::support::{applied, created, injected_with, secret, settings};
use actpass_webhook::checks::{Connect, Surroundings, connect, ephemeral_containers, update};
use actpass_webhook::inject::Context;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Any JSON, with the words of a pod among its keys and texts.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        3 => proptest::sample::select(WORDS).prop_map(str::to_owned),
        1 => "[ -~]{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 96, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(word.clone(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A pod of right types: each field there or not, and beside them fields that nobody knows.
fn any_pod() -> impl Strategy<Value = Value> {
    let containers = || proptest::collection::vec(any_container(), 0..4);
    let volume = proptest::sample::select(VOLUMES)
        .prop_map(|text| serde_json::from_str::<Value>(text).unwrap());
    let spec = fields(vec![
        ("initContainers", containers().prop_map(Value::from).boxed()),
        (
            "volumes",
            proptest::collection::vec(volume, 0..4)
                .prop_map(Value::from)
                .boxed(),
        ),
        (
            "automountServiceAccountToken",
            any::<bool>().prop_map(Value::from).boxed(),
        ),
        (
            "enableServiceLinks",
            any::<bool>().prop_map(Value::from).boxed(),
        ),
        (
            "terminationGracePeriodSeconds",
            any::<i64>().prop_map(Value::from).boxed(),
        ),
        (
            "securityContext",
            fields(security()).prop_map(Value::from).boxed(),
        ),
        ("hostNetwork", any::<bool>().prop_map(Value::from).boxed()),
        ("unknown", any_json().boxed()),
    ]);
    let metadata = fields(vec![
        ("name", "[a-z]{0,4}".prop_map(Value::from).boxed()),
        ("labels", Just(json!({"a": "b"})).boxed()),
        (
            "annotations",
            proptest::sample::select(vec![
                json!({"actpass.org/sidecar-uid": "1"}),
                json!({}),
                json!({"a": "b", "actpass.org/grace-seconds": "3"}),
            ])
            .boxed(),
        ),
        ("unknown", any_json().boxed()),
    ]);
    (
        spec,
        containers(),
        any_container(),
        proptest::option::of(metadata),
    )
        .prop_map(|(mut spec, mut containers, last, metadata)| {
            containers.push(last);
            spec.insert("containers".to_owned(), Value::from(containers));
            match metadata {
                Some(metadata) => json!({"kind": "Pod", "metadata": metadata, "spec": spec}),
                None => json!({"kind": "Pod", "spec": spec}),
            }
        })
}

fn any_container() -> impl Strategy<Value = Value> {
    let env =
        proptest::sample::select(ENV).prop_map(|text| serde_json::from_str::<Value>(text).unwrap());
    let mount = proptest::sample::select(MOUNTS)
        .prop_map(|text| serde_json::from_str::<Value>(text).unwrap());
    let name = prop_oneof![4 => "[a-z]{1,4}", 1 => proptest::sample::select(vec!["actpass-init".to_owned(), "actpass-x".to_owned()])];
    let rest = fields(vec![
        ("image", "[a-z]{0,3}".prop_map(Value::from).boxed()),
        (
            "env",
            proptest::collection::vec(env, 0..4)
                .prop_map(Value::from)
                .boxed(),
        ),
        (
            "volumeMounts",
            proptest::collection::vec(mount, 0..4)
                .prop_map(Value::from)
                .boxed(),
        ),
        (
            "securityContext",
            fields(security()).prop_map(Value::from).boxed(),
        ),
        (
            "ports",
            proptest::collection::vec(0_i64..70_000, 0..4)
                .prop_map(|ports| {
                    ports
                        .iter()
                        .map(|port| json!({"containerPort": port}))
                        .collect()
                })
                .boxed(),
        ),
        (
            "livenessProbe",
            Just(json!({"httpGet": {"port": "8080", "path": "/"}})).boxed(),
        ),
        ("unknown", any_json().boxed()),
    ]);
    (name, rest).prop_map(|(name, mut rest)| {
        rest.insert("name".to_owned(), Value::from(name));
        Value::Object(rest)
    })
}

fn security() -> Vec<(&'static str, BoxedStrategy<Value>)> {
    vec![
        (
            "runAsUser",
            proptest::sample::select(vec![json!(0), json!(1000), json!(41000), Value::Null])
                .boxed(),
        ),
        ("runAsNonRoot", any::<bool>().prop_map(Value::from).boxed()),
        (
            "allowPrivilegeEscalation",
            any::<bool>().prop_map(Value::from).boxed(),
        ),
        ("privileged", any::<bool>().prop_map(Value::from).boxed()),
        (
            "capabilities",
            proptest::sample::select(vec![
                json!({}),
                json!({"drop": ["ALL"]}),
                json!({"drop": ["A"], "add": ["SYS_ADMIN"]}),
                json!({"drop": Value::Null, "unknown": 1}),
            ])
            .boxed(),
        ),
        (
            "seccompProfile",
            proptest::sample::select(vec![
                json!({"type": "RuntimeDefault"}),
                json!({}),
                Value::Null,
            ])
            .boxed(),
        ),
        ("unknown", any_json().boxed()),
    ]
}

/// Objects of some of these members.
fn fields(
    fields: Vec<(&'static str, BoxedStrategy<Value>)>,
) -> impl Strategy<Value = Map<String, Value>> {
    let each: Vec<_> = fields
        .into_iter()
        .map(|(key, value)| {
            proptest::option::of(value)
                .prop_map(move |value| value.map(|value| (key.to_owned(), value)))
        })
        .collect();
    each.prop_map(|members| members.into_iter().flatten().collect())
}

/// Whether everything of `was` is in `is`: members equal where nothing of ours is, elements in their order.
fn kept(was: &Value, is: &Value, path: &str) -> Result<(), String> {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            for (key, value) in was.iter().filter(|(_, value)| !value.is_null()) {
                let path = format!("{path}/{key}");
                let ours = key.starts_with("actpass.org/")
                    || CHANGED.contains(&path.rsplit('/').next().unwrap_or_default());
                match is.get(key) {
                    Some(_) if ours => {}
                    Some(found) => kept(value, found, &path)?,
                    None => return Err(format!("{path} is gone")),
                }
            }
            Ok(())
        }
        (Value::Array(was), Value::Array(is)) => {
            let named_ours = |item: &&Value| {
                let name = item["name"].as_str().unwrap_or_default();
                name.starts_with("actpass-") && !path.ends_with("/containers")
                    || name.starts_with("kube-api-access-")
            };
            let was: Vec<&Value> = was.iter().filter(|item| !named_ours(item)).collect();
            let is: Vec<&Value> = is.iter().filter(|item| !named_ours(item)).collect();
            for (index, was) in was.iter().enumerate() {
                let is = is
                    .get(index)
                    .ok_or_else(|| format!("{path}/{index} is gone"))?;
                kept(was, is, &format!("{path}/{index}"))?;
            }
            Ok(())
        }
        (was, is) if was == is => Ok(()),
        (was, is) => Err(format!("{path}: {was} became {is}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn injection_is_idempotent_minimal_and_keeps_what_is_the_users(pod in any_pod()) {
        let injection = injected_with(&pod, &settings()).unwrap();
        prop_assert_eq!(&applied(&pod, &injection.patch.to_json()), &injection.pod);
        let again = injected_with(&injection.pod, &settings()).unwrap();
        prop_assert_eq!(again.patch.to_json(), json!([]));
        prop_assert_eq!(again.identity, injection.identity);
        prop_assert_eq!(kept(&pod, &injection.pod, ""), Ok(()));
        // What was injected is what validation wants to see.
        let found = created(&injection.pod, &settings(), &Surroundings::default());
        for problem in &found.refused {
            prop_assert_ne!(problem.reason.as_str(), "injection", "{}", problem);
        }
    }

    #[test]
    fn nothing_makes_it_panic(pod in any_json(), other in any_pod(), options in any_json()) {
        let (settings, secret) = (settings(), secret());
        let context = Context { namespace: "shop", settings: &settings, secret: &secret, request: "" };
        for pod in [&pod, &json!({"spec": pod}), &json!({"spec": {"containers": [pod]}}), &json!({"metadata": pod, "spec": other["spec"]})] {
            if let Ok(injection) = injected_with(pod, &settings) {
                created(&injection.pod, &settings, &Surroundings::default());
            }
            created(pod, &settings, &Surroundings::default());
            update(&other, pod);
            update(pod, &other);
            ephemeral_containers(&other, pod, &context, true);
        }
        connect(Connect::Exec, &options, false);
    }
}

/// Members whose value we may tighten.
const CHANGED: &[&str] = &[
    "automountServiceAccountToken",
    "enableServiceLinks",
    "terminationGracePeriodSeconds",
    "allowPrivilegeEscalation",
    "runAsNonRoot",
    "drop",
    "value",
];

const WORDS: &[&str] = &[
    "spec",
    "metadata",
    "containers",
    "initContainers",
    "volumes",
    "volumeMounts",
    "name",
    "env",
    "securityContext",
    "capabilities",
    "add",
    "drop",
    "runAsUser",
    "labels",
    "annotations",
    "ports",
    "containerPort",
    "livenessProbe",
    "httpGet",
    "port",
    "host",
    "actpass-proxy",
    "actpass-trust",
    "actpass.org/sidecar-uid",
    "ephemeralContainers",
];

const VOLUMES: &[&str] = &[
    r#"{"name": "a", "emptyDir": {}}"#,
    r#"{"name": "kube-api-access-abcde", "projected": {"sources": []}}"#,
    r#"{"name": "actpass-state", "hostPath": {"path": "/"}}"#,
    r#"{"name": "b", "kindOfTomorrow": {"a": 1.5}}"#,
];

const MOUNTS: &[&str] = &[
    r#"{"name": "a", "mountPath": "/a"}"#,
    r#"{"name": "kube-api-access-abcde", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}"#,
    r#"{"name": "actpass-trust", "mountPath": "/run/actpass/trust", "readOnly": true}"#,
    r#"{"name": "actpass-state", "mountPath": "/s"}"#,
];

const ENV: &[&str] = &[
    r#"{"name": "A", "value": "b"}"#,
    r#"{"name": "SSL_CERT_FILE", "value": "/x"}"#,
    r#"{"name": "JAVA_TOOL_OPTIONS", "value": "-Xmx1m"}"#,
    r#"{"name": "JAVA_TOOL_OPTIONS"}"#,
    r#"{"name": "KUBERNETES_SERVICE_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}"#,
];
