//! Whether the fields that we read have the types that Kubernetes gives them.
//!
//! The API server sees to that before it asks us. Whoever else asks gets a sentence instead of a guess: a `runAsUser`
//! that is a text would else pass for none.

use serde_json::Value;

use crate::path::Path;
use crate::problem::{Findings, Reason};

/// Most elements of one list. Far more than any pod has, and few enough that removing one after another stays cheap.
pub(crate) const ITEMS_MAX: usize = 1024;

/// What a field may be. Everything may also be null, and fields not named may be anything.
enum Shape {
    Text,
    Integer,
    Flag,
    /// A number or a text, such as a probe's port.
    IntegerOrText,
    Object(&'static [(&'static str, Shape)]),
    /// No element may be null.
    List(&'static Shape),
    /// Texts by name.
    Texts,
}

use Shape::{Flag, Integer, IntegerOrText, List, Object, Text, Texts};

/// Everything in a pod that has another type than it should. Work is bounded by the size of the pod.
pub(crate) fn pod(pod: &Value, findings: &mut Findings) {
    let root = Path::default();
    walk(pod, &POD, &root, findings);
    let spec = root.key("spec");
    match pod
        .get("spec")
        .map(|spec| (spec, crate::read::list(spec, &["containers"])))
    {
        None | Some((Value::Null, _)) => {
            findings.refuse(Reason::Malformed, &spec, "missing", "send a whole pod");
        }
        Some((_, [])) => findings.refuse(
            Reason::Malformed,
            &spec.key("containers"),
            "empty",
            "name at least one container",
        ),
        Some(_) => {}
    }
}

/// As [`pod`], for the options of exec, attach and port-forward.
pub(crate) fn connect_options(options: &Value, findings: &mut Findings) {
    walk(
        options,
        &Object(&[("container", Text)]),
        &Path::default(),
        findings,
    );
}

fn walk(value: &Value, shape: &Shape, at: &Path, findings: &mut Findings) {
    let want = match (shape, value) {
        (_, Value::Null) if !at.steps().is_empty() => return,
        (Text, Value::String(_)) | (Flag, Value::Bool(_)) => return,
        (Integer, Value::Number(number)) if number.as_i64().is_some() => return,
        (IntegerOrText, Value::String(_)) => return,
        (IntegerOrText, Value::Number(number)) if number.as_i64().is_some() => return,
        (Object(fields), Value::Object(members)) => {
            for (key, shape) in *fields {
                if let Some(value) = members.get(*key) {
                    walk(value, shape, &at.key(key), findings);
                }
            }
            return;
        }
        (List(_), Value::Array(items)) if items.len() > ITEMS_MAX => {
            let found = format!("has {} elements", items.len());
            let help = format!("at most {ITEMS_MAX} are read");
            return findings.refuse(Reason::Malformed, at, found, help);
        }
        (List(shape), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let at = at.index(index);
                match item {
                    Value::Null => wrong(&at, "null", "a value", findings),
                    item => walk(item, shape, &at, findings),
                }
            }
            return;
        }
        (Texts, Value::Object(members)) => {
            for (key, value) in members {
                walk(value, &Text, &at.key(key), findings);
            }
            return;
        }
        (Text, _) => "a string",
        (Flag, _) => "true or false",
        (Integer, _) => "an integer",
        (IntegerOrText, _) => "an integer or a string",
        (Object(_) | Texts, _) => "an object",
        (List(_), _) => "a list",
    };
    wrong(at, kind(value), want, findings);
}

fn wrong(at: &Path, found: &str, want: &str, findings: &mut Findings) {
    findings.refuse(
        Reason::Malformed,
        at,
        format!("is {found}"),
        format!("write {want}"),
    );
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.as_i64().is_some() => "an integer",
        Value::Number(_) => "a fraction or too large a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

const POD: Shape = Object(&[("metadata", METADATA), ("spec", SPEC)]);

const METADATA: Shape = Object(&[
    ("name", Text),
    ("generateName", Text),
    ("labels", Texts),
    ("annotations", Texts),
    (
        "ownerReferences",
        List(&Object(&[
            ("kind", Text),
            ("name", Text),
            ("controller", Flag),
        ])),
    ),
]);

const SPEC: Shape = Object(&[
    ("hostNetwork", Flag),
    ("hostPID", Flag),
    ("hostIPC", Flag),
    ("shareProcessNamespace", Flag),
    ("automountServiceAccountToken", Flag),
    ("enableServiceLinks", Flag),
    ("terminationGracePeriodSeconds", Integer),
    ("dnsPolicy", Text),
    ("dnsConfig", Object(&[])),
    ("hostAliases", List(&Object(&[]))),
    ("runtimeClassName", Text),
    ("nodeName", Text),
    ("nodeSelector", Texts),
    ("os", Object(&[("name", Text)])),
    ("serviceAccountName", Text),
    ("resourceClaims", List(&Object(&[]))),
    ("resources", RESOURCES),
    ("securityContext", POD_SECURITY),
    ("initContainers", List(&CONTAINER)),
    ("containers", List(&CONTAINER)),
    ("ephemeralContainers", List(&CONTAINER)),
    ("volumes", List(&VOLUME)),
]);

const PROFILE: Shape = Object(&[("type", Text), ("localhostProfile", Text)]);
const SE_LINUX: Shape = Object(&[("user", Text), ("role", Text), ("type", Text)]);

const POD_SECURITY: Shape = Object(&[
    ("runAsUser", Integer),
    ("runAsGroup", Integer),
    ("runAsNonRoot", Flag),
    ("fsGroup", Integer),
    ("supplementalGroups", List(&Integer)),
    ("seccompProfile", PROFILE),
    ("appArmorProfile", PROFILE),
    ("seLinuxOptions", SE_LINUX),
    ("windowsOptions", Object(&[])),
    ("sysctls", List(&Object(&[("name", Text)]))),
]);

const CONTAINER: Shape = Object(&[
    ("name", Text),
    ("image", Text),
    ("restartPolicy", Text),
    ("targetContainerName", Text),
    ("securityContext", CONTAINER_SECURITY),
    ("resources", RESOURCES),
    (
        "ports",
        List(&Object(&[
            ("name", Text),
            ("containerPort", Integer),
            ("hostPort", Integer),
            ("protocol", Text),
        ])),
    ),
    (
        "env",
        List(&Object(&[
            ("name", Text),
            ("value", Text),
            ("valueFrom", Object(&[])),
        ])),
    ),
    (
        "volumeMounts",
        List(&Object(&[
            ("name", Text),
            ("mountPath", Text),
            ("readOnly", Flag),
        ])),
    ),
    ("volumeDevices", List(&Object(&[("name", Text)]))),
    ("livenessProbe", HANDLER),
    ("readinessProbe", HANDLER),
    ("startupProbe", HANDLER),
    (
        "lifecycle",
        Object(&[("postStart", HANDLER), ("preStop", HANDLER)]),
    ),
]);

const CONTAINER_SECURITY: Shape = Object(&[
    ("privileged", Flag),
    ("allowPrivilegeEscalation", Flag),
    ("runAsUser", Integer),
    ("runAsGroup", Integer),
    ("runAsNonRoot", Flag),
    ("procMount", Text),
    (
        "capabilities",
        Object(&[("add", List(&Text)), ("drop", List(&Text))]),
    ),
    ("seccompProfile", PROFILE),
    ("appArmorProfile", PROFILE),
    ("seLinuxOptions", SE_LINUX),
    ("windowsOptions", Object(&[])),
]);

/// Amounts may be texts or numbers; what counts here are their names.
const RESOURCES: Shape = Object(&[
    ("limits", Object(&[])),
    ("requests", Object(&[])),
    ("claims", List(&Object(&[]))),
]);

const HANDLER: Shape = Object(&[
    (
        "httpGet",
        Object(&[
            ("host", Text),
            ("port", IntegerOrText),
            ("httpHeaders", List(&Object(&[("name", Text)]))),
        ]),
    ),
    (
        "tcpSocket",
        Object(&[("host", Text), ("port", IntegerOrText)]),
    ),
    ("grpc", Object(&[("port", IntegerOrText)])),
]);

const VOLUME: Shape = Object(&[
    ("name", Text),
    ("csi", Object(&[("driver", Text)])),
    (
        "persistentVolumeClaim",
        Object(&[("claimName", Text), ("readOnly", Flag)]),
    ),
    (
        "ephemeral",
        Object(&[(
            "volumeClaimTemplate",
            Object(&[("spec", Object(&[("volumeMode", Text)]))]),
        )]),
    ),
    (
        "projected",
        Object(&[(
            "sources",
            List(&Object(&[(
                "serviceAccountToken",
                Object(&[("audience", Text)]),
            )])),
        )]),
    ),
]);
