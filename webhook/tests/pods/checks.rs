//! Which pods are refused, for what, and which of their neighbours pass?

use std::collections::BTreeSet;

use crate::support::{created, injected_with, pod, secret, set, settings, with};
use actpass_webhook::checks::{Connect, Surroundings, connect, ephemeral_containers, update};
use actpass_webhook::inject::Context;
use actpass_webhook::problem::{Findings, PROBLEMS_MAX, Reason};
use actpass_webhook::settings::Settings;
use serde_json::{Value, json};

/// One field, a value that is refused, and one that is not.
struct Case {
    name: &'static str,
    /// JSON pointer, before injection.
    at: &'static str,
    refused: Value,
    accepted: Value,
    reason: Reason,
    /// What is said of it, after injection.
    field: &'static str,
}

const CONTAINER: &str = "spec.containers[0]";

/// Settings with an entry on every list.
fn lists() -> Settings {
    let mut settings = settings();
    settings.seccomp_profiles = BTreeSet::from(["agents.json".to_owned()]);
    settings.runtime_classes = BTreeSet::from(["kata".to_owned()]);
    settings.csi_drivers = BTreeSet::from(["secrets.example".to_owned()]);
    settings.extended_resources = BTreeSet::from(["nvidia.com/gpu".to_owned()]);
    settings
}

fn surroundings() -> Surroundings {
    Surroundings {
        claims_elsewhere: BTreeSet::from(["shared".to_owned()]),
        account_rights: Vec::new(),
    }
}

/// Injects and checks, as the API server would ask.
#[track_caller]
fn admitted(pod: &Value) -> Findings {
    let injection = injected_with(pod, &lists()).unwrap();
    created(&injection.pod, &lists(), &surroundings())
}

#[track_caller]
fn judge(cases: Vec<Case>) {
    for case in cases {
        let refused = admitted(&with(pod(), case.at, case.refused.clone())).refused;
        let found: Vec<_> = refused
            .iter()
            .map(|problem| (problem.reason, problem.field.clone()))
            .collect();
        let want = (case.reason, case.field.replace("CONTAINER", CONTAINER));
        assert_eq!(
            found,
            [want],
            "{}: {} at {}",
            case.name,
            case.refused,
            case.at
        );
        assert!(
            refused[0].message.len() > 3 && refused[0].help.len() > 3,
            "{}",
            case.name
        );
        let passed = admitted(&with(pod(), case.at, case.accepted.clone()));
        assert_eq!(
            passed,
            Findings::default(),
            "{}: {} at {}",
            case.name,
            case.accepted,
            case.at
        );
    }
}

fn case(
    name: &'static str,
    at: &'static str,
    refused: Value,
    accepted: Value,
    reason: Reason,
    field: &'static str,
) -> Case {
    Case {
        name,
        at,
        refused,
        accepted,
        reason,
        field,
    }
}

#[test]
fn a_plain_pod_passes() {
    assert_eq!(admitted(&pod()), Findings::default());
}

#[test]
fn v1_namespaces_of_the_node() {
    let refused = |name, at, field| {
        case(
            name,
            at,
            json!(true),
            json!(false),
            Reason::HostNamespace,
            field,
        )
    };
    judge(vec![
        refused("network", "/spec/hostNetwork", "spec.hostNetwork"),
        refused("processes", "/spec/hostPID", "spec.hostPID"),
        refused("ipc", "/spec/hostIPC", "spec.hostIPC"),
        refused(
            "shared processes",
            "/spec/shareProcessNamespace",
            "spec.shareProcessNamespace",
        ),
    ]);
}

#[test]
fn v2_privileges() {
    let add = "/spec/containers/0/securityContext/capabilities/add";
    judge(vec![
        case(
            "any capability",
            add,
            json!(["NET_BIND_SERVICE"]),
            json!([]),
            Reason::Privilege,
            "CONTAINER.securityContext.capabilities.add",
        ),
        case(
            "NET_RAW",
            add,
            json!(["NET_RAW"]),
            Value::Null,
            Reason::Privilege,
            "CONTAINER.securityContext.capabilities.add",
        ),
    ]);
    let given = with(
        pod(),
        "/spec/containers/0/securityContext",
        json!({"privileged": true, "runAsUser": 1}),
    );
    let found: Vec<String> = admitted(&given)
        .refused
        .iter()
        .map(|problem| problem.to_string())
        .collect();
    insta::assert_json_snapshot!("privileged", found);
    // As another webhook may leave it after us.
    for (field, value) in [
        ("allowPrivilegeEscalation", json!(true)),
        ("allowPrivilegeEscalation", Value::Null),
        ("capabilities/drop", json!(["all"])),
    ] {
        let injected = injected_with(&pod(), &lists()).unwrap().pod;
        let laxer = with(
            injected,
            &format!("/spec/containers/0/securityContext/{field}"),
            value.clone(),
        );
        let refused = created(&laxer, &lists(), &surroundings()).refused;
        assert_eq!(
            (refused.len(), refused[0].reason),
            (1, Reason::Privilege),
            "{field} {value}: {refused:?}"
        );
    }
}

#[test]
fn v3_uids() {
    let context = "CONTAINER.securityContext.runAsUser";
    judge(vec![
        case(
            "missing",
            "/spec/containers/0/securityContext",
            json!({}),
            json!({"runAsUser": 1}),
            Reason::Uid,
            context,
        ),
        case(
            "root",
            "/spec/containers/0/securityContext/runAsUser",
            json!(0),
            json!(65534),
            Reason::Uid,
            context,
        ),
        case(
            "a sidecar's",
            "/spec/containers/0/securityContext/runAsUser",
            json!(40000),
            json!(39999),
            Reason::Uid,
            context,
        ),
        case(
            "a sidecar's group",
            "/spec/containers/0/securityContext/runAsGroup",
            json!(49999),
            json!(50000),
            Reason::Uid,
            "CONTAINER.securityContext.runAsGroup",
        ),
        case(
            "the pod's group",
            "/spec/securityContext/runAsGroup",
            json!(41000),
            json!(0),
            Reason::Uid,
            "CONTAINER.securityContext.runAsGroup",
        ),
        case(
            "a group of files",
            "/spec/securityContext/fsGroup",
            json!(41000),
            json!(2000),
            Reason::Uid,
            "spec.securityContext.fsGroup",
        ),
        case(
            "a further group",
            "/spec/securityContext/supplementalGroups",
            json!([1, 41000]),
            json!([1, 2]),
            Reason::Uid,
            "spec.securityContext.supplementalGroups[1]",
        ),
    ]);
    // The container's word counts before the pod's.
    let given = with(pod(), "/spec/securityContext/runAsUser", json!(0));
    assert!(admitted(&given).passes());
}

#[test]
fn v4_confinement() {
    let of = |at, refused, accepted, field| {
        case(field, at, refused, accepted, Reason::Confinement, field)
    };
    let unconfined = || json!({"type": "Unconfined"});
    let default = || json!({"type": "RuntimeDefault"});
    judge(vec![
        of(
            "/spec/securityContext/seccompProfile",
            unconfined(),
            default(),
            "spec.securityContext.seccompProfile.type",
        ),
        of(
            "/spec/containers/0/securityContext/seccompProfile",
            unconfined(),
            default(),
            "CONTAINER.securityContext.seccompProfile.type",
        ),
        of(
            "/spec/containers/0/securityContext/seccompProfile",
            json!({"type": "Localhost", "localhostProfile": "x.json"}),
            json!({"type": "Localhost", "localhostProfile": "agents.json"}),
            "CONTAINER.securityContext.seccompProfile.localhostProfile",
        ),
        of(
            "/spec/securityContext/appArmorProfile",
            unconfined(),
            default(),
            "spec.securityContext.appArmorProfile.type",
        ),
        of(
            "/spec/containers/0/securityContext/appArmorProfile",
            unconfined(),
            default(),
            "CONTAINER.securityContext.appArmorProfile.type",
        ),
        of(
            "/metadata/annotations/container.apparmor.security.beta.kubernetes.io~1agent",
            json!("unconfined"),
            json!("runtime/default"),
            "metadata.annotations[container.apparmor.security.beta.kubernetes.io/a...]",
        ),
        of(
            "/spec/containers/0/securityContext/procMount",
            json!("Unmasked"),
            json!("Default"),
            "CONTAINER.securityContext.procMount",
        ),
        of(
            "/spec/containers/0/securityContext/seLinuxOptions",
            json!({"type": "spc_t"}),
            json!({"type": "container_t", "level": "s0:c1"}),
            "CONTAINER.securityContext.seLinuxOptions.type",
        ),
        of(
            "/spec/securityContext/windowsOptions",
            json!({"hostProcess": true}),
            Value::Null,
            "spec.securityContext.windowsOptions",
        ),
    ]);
    let windows = with(pod(), "/spec/os/name", json!("windows"));
    assert_eq!(
        created(&windows, &lists(), &surroundings())
            .refused
            .iter()
            .filter(|found| found.field == "spec.os.name")
            .count(),
        1
    );
    assert!(admitted(&with(pod(), "/spec/os/name", json!("linux"))).passes());
}

#[test]
fn v5_volumes() {
    let of = |refused, accepted, field| {
        case(
            field,
            "/spec/volumes/1",
            refused,
            accepted,
            Reason::Volume,
            field,
        )
    };
    let claim = |name, read_only| json!({"name": "v", "persistentVolumeClaim": {"claimName": name, "readOnly": read_only}});
    let block = |mode| json!({"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"volumeMode": mode}}}});
    // The volume with the account's token goes before these are judged.
    judge(vec![
        of(
            json!({"name": "v", "hostPath": {"path": "/"}}),
            json!({"name": "v", "emptyDir": {}}),
            "spec.volumes[0].hostPath",
        ),
        of(
            json!({"name": "v", "nfs": {"server": "s", "path": "/"}}),
            json!({"name": "v"}),
            "spec.volumes[0].nfs",
        ),
        of(
            json!({"name": "v", "kindOfTomorrow": {}}),
            json!({"name": "v", "image": {"reference": "i"}}),
            "spec.volumes[0].kindOfTomorrow",
        ),
        of(
            json!({"name": "v", "csi": {"driver": "d"}}),
            json!({"name": "v", "csi": {"driver": "secrets.example"}}),
            "spec.volumes[0].csi.driver",
        ),
        of(
            claim("shared", false),
            claim("shared", true),
            "spec.volumes[0].persistentVolumeClaim.claimName",
        ),
        of(
            claim("shared", false),
            claim("own", false),
            "spec.volumes[0].persistentVolumeClaim.claimName",
        ),
        of(
            block("Block"),
            block("Filesystem"),
            "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.volumeMode",
        ),
        case(
            "a raw device",
            "/spec/containers/0/volumeDevices",
            json!([{"name": "v", "devicePath": "/dev/x"}]),
            json!([]),
            Reason::Volume,
            "CONTAINER.volumeDevices",
        ),
    ]);
}

#[test]
fn v6_names_of_ours() {
    judge(vec![
        case(
            "a container",
            "/spec/containers/0/name",
            json!("actpass-proxy"),
            json!("my-actpass-proxy"),
            Reason::ReservedName,
            "spec.containers[0].name",
        ),
        case(
            "an annotation",
            "/metadata/annotations/actpass.org~1off",
            json!("true"),
            Value::Null,
            Reason::ReservedName,
            "metadata.annotations[actpass.org/off]",
        ),
        case(
            "a label",
            "/metadata/labels/actpass.org~1off",
            json!("true"),
            Value::Null,
            Reason::ReservedName,
            "metadata.labels[actpass.org/off]",
        ),
    ]);
    assert!(
        admitted(&with(
            pod(),
            "/metadata/labels/example.org~1off",
            json!("true")
        ))
        .passes()
    );
}

#[test]
fn v7_what_is_not_what_we_inject() {
    let injected = injected_with(&pod(), &lists()).unwrap().pod;
    assert_eq!(
        created(&injected, &lists(), &surroundings()),
        Findings::default()
    );
    for (at, value, field) in [
        (
            "/spec/initContainers/1/image",
            json!("evil"),
            "spec.initContainers[1]",
        ),
        (
            "/spec/initContainers/1/securityContext/runAsUser",
            json!(1000),
            "spec.initContainers[1]",
        ),
        (
            "/spec/initContainers/0/args/0",
            json!("--sidecar-uid=1000"),
            "spec.initContainers[0]",
        ),
        (
            "/spec/initContainers/2/command",
            json!(["/bin/true"]),
            "spec.initContainers[2]",
        ),
        ("/spec/volumes", json!([]), "spec.volumes"),
        (
            "/spec/containers/0/ports/-",
            json!({"containerPort": 9999}),
            "spec.initContainers[0]",
        ),
        (
            "/metadata/annotations/actpass.org~1sidecar-uid",
            json!("1000"),
            "metadata.annotations[actpass.org/sidecar-uid]",
        ),
        (
            "/metadata/labels/actpass.org~1enforced",
            Value::Null,
            "metadata.labels[actpass.org/enforced]",
        ),
        (
            "/spec/automountServiceAccountToken",
            Value::Null,
            "spec.automountServiceAccountToken",
        ),
        (
            "/spec/containers/0/volumeMounts",
            json!([]),
            "spec.containers[0].volumeMounts",
        ),
    ] {
        let refused = created(
            &with(injected.clone(), at, value.clone()),
            &lists(),
            &surroundings(),
        )
        .refused;
        assert!(
            refused
                .iter()
                .any(|found| found.reason == Reason::Injection && found.field == field),
            "{at} {value}: {refused:?}"
        );
    }
    // Not injected at all, and injected behind another.
    assert!(!created(&pod(), &lists(), &surroundings()).passes());
    let mut behind = injected.clone();
    let mut first = injected["spec"]["containers"][0].clone();
    first["name"] = json!("first");
    let init = behind["spec"]["initContainers"].as_array_mut().unwrap();
    init.insert(0, first);
    assert!(
        created(&behind, &lists(), &surroundings())
            .refused
            .iter()
            .any(|found| found.reason == Reason::Injection)
    );
    // What changes nothing about the fence is nobody's business.
    for (at, value) in [
        ("/spec/terminationGracePeriodSeconds", json!(7)),
        ("/spec/containers/0/env", json!([])),
        ("/spec/nodeSelector", json!({"a": "b"})),
        ("/metadata/name", json!("agent-5d7-abcde")),
    ] {
        let found = created(
            &with(injected.clone(), at, value),
            &lists(),
            &surroundings(),
        );
        assert_eq!(found.refused, [], "{at}");
    }
}

#[test]
fn v8_mounts_of_what_is_the_sidecars() {
    let injected = injected_with(&pod(), &lists()).unwrap().pod;
    for (mount, field) in [
        (
            json!({"name": "actpass-state", "mountPath": "/s"}),
            "spec.containers[0].volumeMounts[1]",
        ),
        (
            json!({"name": "actpass-token", "mountPath": "/s", "readOnly": true}),
            "spec.containers[0].volumeMounts[1]",
        ),
        (
            json!({"name": "actpass-verify", "mountPath": "/s", "subPath": "x"}),
            "spec.containers[0].volumeMounts[1]",
        ),
        (
            json!({"name": "actpass-trust", "mountPath": "/run/actpass/trust"}),
            "spec.containers[0].volumeMounts[1]",
        ),
        (
            json!({"name": "v", "mountPath": "/run/actpass"}),
            "spec.containers[0].volumeMounts[1].mountPath",
        ),
        (
            json!({"name": "v", "mountPath": "/run/actpass/trust"}),
            "spec.containers[0].volumeMounts[1].mountPath",
        ),
    ] {
        let given = with(
            injected.clone(),
            "/spec/containers/0/volumeMounts/-",
            mount.clone(),
        );
        let refused = created(&given, &lists(), &surroundings()).refused;
        assert!(
            refused
                .iter()
                .any(|found| found.reason == Reason::Mount && found.field == field),
            "{mount}: {refused:?}"
        );
    }
    let given = with(
        injected,
        "/spec/containers/0/volumeMounts/-",
        json!({"name": "v", "mountPath": "/run/actpassport"}),
    );
    assert_eq!(created(&given, &lists(), &surroundings()).refused, []);
}

#[test]
fn v8_variables_from_files_of_the_sidecar() {
    let from = |volume| {
        let file = json!({"volumeName": volume, "path": "key", "key": "K"});
        json!([{"name": "K", "valueFrom": {"fileKeyRef": file}}])
    };
    let field = "CONTAINER.env[0].valueFrom.fileKeyRef.volumeName";
    let (refused, accepted) = (from("actpass-state"), from("mine"));
    judge(vec![case(
        "a variable",
        "/spec/containers/0/env",
        refused,
        accepted,
        Reason::Mount,
        field,
    )]);
}

#[test]
fn v9_requests_of_the_kubelet() {
    let of = |at, refused, accepted, field| {
        case(field, at, refused, accepted, Reason::HandlerHost, field)
    };
    let http = |host: &str| json!({"httpGet": {"port": 8080, "host": host}});
    let tcp = |host: &str| json!({"tcpSocket": {"port": 8080, "host": host}});
    let header = |name: &str| json!({"httpGet": {"port": 8080, "httpHeaders": [{"name": "A", "value": "b"}, {"name": name, "value": "b"}]}});
    judge(vec![
        of(
            "/spec/containers/0/livenessProbe",
            http("10.0.0.1"),
            http(""),
            "CONTAINER.livenessProbe.httpGet.host",
        ),
        of(
            "/spec/containers/0/readinessProbe",
            tcp("10.0.0.1"),
            json!({"exec": {"command": ["true"]}}),
            "CONTAINER.readinessProbe.tcpSocket.host",
        ),
        of(
            "/spec/containers/0/startupProbe",
            header("hOST"),
            header("X-Host"),
            "CONTAINER.startupProbe.httpGet.httpHeaders[1]",
        ),
        of(
            "/spec/containers/0/lifecycle/postStart",
            http("a"),
            http(""),
            "CONTAINER.lifecycle.postStart.httpGet.host",
        ),
        of(
            "/spec/containers/0/lifecycle/preStop",
            tcp("a"),
            json!({"sleep": {"seconds": 1}}),
            "CONTAINER.lifecycle.preStop.tcpSocket.host",
        ),
    ]);
}

#[test]
fn v10_ports() {
    let of = |at, refused, accepted, field| case(field, at, refused, accepted, Reason::Port, field);
    for port in [15000, 15001, 15021, 15053, 15090] {
        judge(vec![of(
            "/spec/containers/0/ports/0/containerPort",
            json!(port),
            json!(15002),
            "CONTAINER.ports[0].containerPort",
        )]);
    }
    let many = |count: u16| -> Value {
        (1..=count)
            .map(|port| json!({"containerPort": port}))
            .collect()
    };
    judge(vec![
        of(
            "/spec/containers/0/ports/0/hostPort",
            json!(80),
            json!(0),
            "CONTAINER.ports[0].hostPort",
        ),
        of(
            "/spec/containers/0/livenessProbe",
            json!({"grpc": {"port": 15001}}),
            json!({"grpc": {"port": 15002}}),
            "CONTAINER.livenessProbe.grpc.port",
        ),
        of(
            "/spec/containers/0/ports",
            many(65),
            many(64),
            "spec.containers",
        ),
    ]);
}

#[test]
fn v11_resolvers() {
    let of = |at, refused, accepted, field| case(field, at, refused, accepted, Reason::Dns, field);
    judge(vec![
        of(
            "/spec/dnsPolicy",
            json!("None"),
            json!("ClusterFirst"),
            "spec.dnsPolicy",
        ),
        of(
            "/spec/dnsPolicy",
            json!("Default"),
            Value::Null,
            "spec.dnsPolicy",
        ),
        of(
            "/spec/dnsConfig",
            json!({"nameservers": ["10.0.0.1"]}),
            json!({}),
            "spec.dnsConfig",
        ),
        of(
            "/spec/hostAliases",
            json!([{"ip": "10.0.0.1"}]),
            json!([]),
            "spec.hostAliases",
        ),
    ]);
    assert!(admitted(&with(pod(), "/spec/setHostnameAsFQDN", json!(true))).passes());
}

#[test]
fn v12_kernel_settings() {
    let of = |name| {
        case(
            name,
            "/spec/securityContext/sysctls",
            json!([{"name": name, "value": "0"}]),
            json!([{"name": "net.ipv4.tcp_syncookies", "value": "1"}]),
            Reason::Sysctl,
            "spec.securityContext.sysctls[0].name",
        )
    };
    judge(vec![
        of("net.ipv4.ping_group_range"),
        of("net.ipv4.ip_unprivileged_port_start"),
        of("net/ipv4/ping_group_range"),
        of("net.ipv4.ip_forward"),
        of("kernel.msgmax"),
    ]);
}

#[test]
fn v13_other_meshes() {
    let of =
        |at, refused, accepted, field| case(field, at, refused, accepted, Reason::OtherMesh, field);
    judge(vec![
        of(
            "/spec/containers/0/name",
            json!("istio-proxy"),
            json!("istio-proxy-docs"),
            "CONTAINER.name",
        ),
        of(
            "/metadata/annotations/sidecar.istio.io~1inject",
            json!("true"),
            json!("false"),
            "metadata.annotations[sidecar.istio.io/inject]",
        ),
        of(
            "/metadata/labels/istio.io~1dataplane-mode",
            json!("ambient"),
            json!("none"),
            "metadata.labels[istio.io/dataplane-mode]",
        ),
        of(
            "/metadata/annotations/linkerd.io~1inject",
            json!("enabled"),
            json!("disabled"),
            "metadata.annotations[linkerd.io/inject]",
        ),
        of(
            "/metadata/annotations/k8s.v1.cni.cncf.io~1networks",
            json!("none"),
            Value::Null,
            "metadata.annotations[k8s.v1.cni.cncf.io/networks]",
        ),
    ]);
    assert!(admitted(&with(pod(), "/metadata/labels/notistio.io~1a", json!("b"))).passes());
}

#[test]
fn v14_devices() {
    let of =
        |at, refused, accepted, field| case(field, at, refused, accepted, Reason::Device, field);
    judge(vec![
        of(
            "/spec/containers/0/resources/limits",
            json!({"rdma/hca": "1"}),
            json!({"nvidia.com/gpu": "1", "cpu": "1", "hugepages-2Mi": "4Mi"}),
            "CONTAINER.resources.limits[rdma/hca]",
        ),
        of(
            "/spec/containers/0/resources/claims",
            json!([{"name": "nic"}]),
            json!([]),
            "CONTAINER.resources.claims",
        ),
        of(
            "/spec/resourceClaims",
            json!([{"name": "nic"}]),
            json!([]),
            "spec.resourceClaims",
        ),
    ]);
}

#[test]
fn v15_to_v17_where_it_runs() {
    judge(vec![
        case(
            "another runtime",
            "/spec/runtimeClassName",
            json!("gvisor"),
            json!("kata"),
            Reason::RuntimeClass,
            "spec.runtimeClassName",
        ),
        case(
            "a static pod",
            "/metadata/annotations/kubernetes.io~1config.mirror",
            json!("x"),
            Value::Null,
            Reason::StaticPod,
            "metadata.annotations[kubernetes.io/config.mirror]",
        ),
        case(
            "a node",
            "/spec/nodeName",
            json!("n1"),
            json!(""),
            Reason::NodeName,
            "spec.nodeName",
        ),
        case(
            "a debug container",
            "/spec/ephemeralContainers",
            json!([{"name": "d"}]),
            json!([]),
            Reason::EphemeralContainer,
            "spec.ephemeralContainers",
        ),
    ]);
}

#[test]
fn v18_rights_of_the_account_are_told() {
    let injected = injected_with(&pod(), &lists()).unwrap().pod;
    let mut around = surroundings();
    around.account_rights.push("create pods/exec".to_owned());
    let found = created(&injected, &lists(), &around);
    assert!(found.passes());
    assert_eq!(
        (found.warned.len(), found.warned[0].reason),
        (1, Reason::AccountRights)
    );
    assert_eq!(created(&injected, &lists(), &surroundings()).warned, []);
}

#[test]
fn v19_tokens_with_our_audience() {
    let token = |audience: &str| json!({"name": "v", "projected": {"sources": [{"configMap": {"name": "c"}}, {"serviceAccountToken": {"audience": audience}}]}});
    judge(vec![case(
        "ours",
        "/spec/volumes/1",
        token("actpass"),
        token("vault"),
        Reason::TokenAudience,
        "spec.volumes[0].projected.sources[1].serviceAccountToken.audience",
    )]);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let mut given = pod();
    set(&mut given, "/spec/hostNetwork", json!(true));
    set(&mut given, "/spec/hostPID", json!(true));
    set(&mut given, "/spec/dnsPolicy", json!("None"));
    set(
        &mut given,
        "/spec/volumes",
        json!([{"name": "v", "hostPath": {"path": "/var/run/docker.sock"}}]),
    );
    set(
        &mut given,
        "/spec/containers/0/securityContext",
        json!({"capabilities": {"add": ["NET_ADMIN", "`x"]}}),
    );
    let found: Vec<String> = admitted(&given)
        .refused
        .iter()
        .map(|problem| format!("{}: {problem}", problem.reason))
        .collect();
    insta::assert_json_snapshot!("everything", found);
}

#[test]
fn a_thousand_mistakes_are_not_all_said() {
    let mut given = pod();
    for index in 0..1000 {
        set(
            &mut given,
            "/spec/containers/-",
            json!({"name": format!("c{index}"), "image": "i", "securityContext": {"runAsUser": 0}}),
        );
    }
    let found = admitted(&given);
    assert_eq!(
        (found.refused.len(), found.more),
        (PROBLEMS_MAX, 1000 - PROBLEMS_MAX)
    );
}

#[test]
fn updates_leave_what_is_ours() {
    let old = with(
        injected_with(&pod(), &lists()).unwrap().pod,
        "/metadata/name",
        json!("a"),
    );
    for (name, at, value, want) in [
        ("nothing", "/metadata/name", json!("a"), None),
        (
            "an agent's image",
            "/spec/containers/0/image",
            json!("i:2"),
            None,
        ),
        ("a label", "/metadata/labels/app", json!("b"), None),
        ("a deadline", "/spec/activeDeadlineSeconds", json!(5), None),
        (
            "an agent's resources",
            "/spec/containers/0/resources",
            json!({"limits": {"cpu": "1"}}),
            None,
        ),
        (
            "our image",
            "/spec/initContainers/1/image",
            json!("evil"),
            Some("spec.initContainers[1].image"),
        ),
        (
            "our init image",
            "/spec/initContainers/0/image",
            json!("evil"),
            Some("spec.initContainers[0].image"),
        ),
        (
            "our resources",
            "/spec/initContainers/1/resources/limits/memory",
            json!("1Mi"),
            Some("spec.initContainers[1].resources"),
        ),
        (
            "our label",
            "/metadata/labels/actpass.org~1enforced",
            Value::Null,
            Some("metadata.labels[actpass.org/enforced]"),
        ),
        (
            "our label otherwise",
            "/metadata/labels/actpass.org~1enforced",
            json!("v2"),
            Some("metadata.labels[actpass.org/enforced]"),
        ),
        (
            "a new annotation",
            "/metadata/annotations/actpass.org~1new",
            json!("x"),
            Some("metadata.annotations[actpass.org/new]"),
        ),
        (
            "a mesh that takes it in",
            "/metadata/labels/istio.io~1dataplane-mode",
            json!("ambient"),
            Some("metadata.labels[istio.io/dataplane-mode]"),
        ),
        (
            "a mesh that leaves it out",
            "/metadata/labels/istio.io~1dataplane-mode",
            json!("none"),
            None,
        ),
        (
            "another interface",
            "/metadata/annotations/k8s.v1.cni.cncf.io~1networks",
            json!("net"),
            Some("metadata.annotations[k8s.v1.cni.cncf.io/networks]"),
        ),
        (
            "all labels",
            "/metadata/labels",
            Value::Null,
            Some("metadata.labels[actpass.org/enforced]"),
        ),
        (
            "all init containers",
            "/spec/initContainers",
            json!([]),
            Some("spec.initContainers"),
        ),
        (
            "a name",
            "/spec/initContainers/1/name",
            json!("other"),
            Some("spec.initContainers"),
        ),
        (
            "a type",
            "/spec/initContainers",
            json!("x"),
            Some("spec.initContainers"),
        ),
    ] {
        let refused = update(&old, &with(old.clone(), at, value)).refused;
        let found = refused.iter().map(|found| found.field.as_str());
        match want {
            None => assert_eq!(refused, [], "{name}"),
            Some(want) => assert!(
                found.clone().any(|field| field == want),
                "{name}: {refused:?}"
            ),
        }
    }
    // A pod from before does not become one of ours.
    let claimed = with(pod(), "/metadata/labels/actpass.org~1enforced", json!("v1"));
    assert_eq!(
        update(&pod(), &claimed).refused[0].reason,
        Reason::InjectionChanged
    );
}

#[test]
fn debug_containers_need_the_break_glass_role() {
    let (settings, secret) = (lists(), secret());
    let context = Context {
        namespace: "shop",
        settings: &settings,
        secret: &secret,
        request: "",
    };
    let old = injected_with(&pod(), &settings).unwrap().pod;
    let plain = json!({"name": "debug", "image": "i", "securityContext": {"runAsUser": 1000,
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
    let reasons = |container: Value, break_glass| -> Vec<Reason> {
        let new = with(old.clone(), "/spec/ephemeralContainers", json!([container]));
        let refused = ephemeral_containers(&old, &new, &context, break_glass).refused;
        refused.iter().map(|found| found.reason).collect()
    };
    assert_eq!(reasons(plain.clone(), false), [Reason::EphemeralContainer]);
    assert_eq!(reasons(plain.clone(), true), []);
    for (at, value, reason) in [
        ("/securityContext/runAsUser", json!(41000), Reason::Uid),
        ("/securityContext/runAsUser", Value::Null, Reason::Uid),
        (
            "/securityContext/capabilities/add",
            json!(["NET_ADMIN"]),
            Reason::Privilege,
        ),
        (
            "/securityContext/allowPrivilegeEscalation",
            Value::Null,
            Reason::Privilege,
        ),
        (
            "/securityContext/seccompProfile",
            json!({"type": "Unconfined"}),
            Reason::Confinement,
        ),
        (
            "/targetContainerName",
            json!("actpass-proxy"),
            Reason::EphemeralContainer,
        ),
        ("/name", json!("actpass-debug"), Reason::EphemeralContainer),
        (
            "/volumeMounts",
            json!([{"name": "actpass-state", "mountPath": "/s"}]),
            Reason::Mount,
        ),
        (
            "/volumeDevices",
            json!([{"name": "v", "devicePath": "/d"}]),
            Reason::Volume,
        ),
    ] {
        assert_eq!(
            reasons(with(plain.clone(), at, value.clone()), true),
            [reason],
            "{at} {value}"
        );
    }
    // One that was let in before stays.
    let had = with(old.clone(), "/spec/ephemeralContainers", json!([plain]));
    assert!(ephemeral_containers(&had, &had, &context, false).passes());
}

#[test]
fn nobody_connects_to_the_sidecar() {
    struct Case {
        name: &'static str,
        given: (Connect, Value, bool),
        want: Option<Reason>,
    }
    let named = |name: &str| json!({"container": name, "command": ["sh"]});
    for case in [
        Case {
            name: "a shell in the agent",
            given: (Connect::Exec, named("agent"), false),
            want: None,
        },
        Case {
            name: "a shell where there is one container",
            given: (Connect::Exec, json!({}), false),
            want: None,
        },
        Case {
            name: "a shell in the sidecar",
            given: (Connect::Exec, named("actpass-proxy"), true),
            want: Some(Reason::Connect),
        },
        Case {
            name: "attach to the sidecar",
            given: (Connect::Attach, named("actpass-verify"), false),
            want: Some(Reason::Connect),
        },
        Case {
            name: "a tunnel",
            given: (Connect::PortForward, json!({"ports": [80]}), false),
            want: Some(Reason::PortForward),
        },
        Case {
            name: "a tunnel in need",
            given: (Connect::PortForward, json!({"ports": [80]}), true),
            want: None,
        },
        Case {
            name: "a container of a number",
            given: (Connect::Exec, json!({"container": 1}), true),
            want: Some(Reason::Malformed),
        },
        Case {
            name: "no options",
            given: (Connect::Exec, Value::Null, true),
            want: Some(Reason::Malformed),
        },
    ] {
        let (kind, options, break_glass) = case.given;
        let refused = connect(kind, &options, break_glass).refused;
        assert_eq!(
            refused.first().map(|found| found.reason),
            case.want,
            "{}",
            case.name
        );
    }
}
