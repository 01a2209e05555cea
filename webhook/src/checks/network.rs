//! V11 to V13: what would change the pod's network around the sidecar.

use actpass_core::canonical::excerpt;
use serde_json::Value;

use crate::path::Path;
use crate::problem::{Findings, Reason};
use crate::read::{list, members, name, some_text};

/// V11: the sidecar resolves by the pod's resolver, so that is the cluster's.
pub(super) fn resolver(pod: &Value, findings: &mut Findings) {
    let spec = Path::of(["spec"]);
    let help = "remove it; the sidecar answers for declared names, by the cluster's DNS";
    let policy = some_text(pod, &["spec", "dnsPolicy"]).unwrap_or("ClusterFirst");
    if policy != "ClusterFirst" {
        let message = format!("`{}` is not `ClusterFirst`", excerpt(policy));
        findings.refuse(Reason::Dns, &spec.key("dnsPolicy"), message, help);
    }
    if members(pod, &["spec", "dnsConfig"]).next().is_some() {
        findings.refuse(
            Reason::Dns,
            &spec.key("dnsConfig"),
            "another resolver",
            help,
        );
    }
    if !list(pod, &["spec", "hostAliases"]).is_empty() {
        findings.refuse(
            Reason::Dns,
            &spec.key("hostAliases"),
            "names with other addresses",
            help,
        );
    }
}

/// V12: those that Kubernetes calls safe, without the two that open ping sockets and our ports.
pub(super) fn sysctls(pod: &Value, findings: &mut Findings) {
    let at = Path::of(["spec", "securityContext", "sysctls"]);
    let sysctls = list(pod, &["spec", "securityContext", "sysctls"]);
    for (index, sysctl) in sysctls.iter().enumerate() {
        // The kernel takes both spellings.
        let sysctl = name(sysctl).replace('/', ".");
        if !SYSCTLS.contains(&sysctl.as_str()) {
            findings.refuse(
                Reason::Sysctl,
                &at.index(index).key("name"),
                format!("`{}` may open a way around the fence", excerpt(&sysctl)),
                "remove it",
            );
        }
    }
}

/// V13: two that redirect the same traffic, or an interface that the fence does not know.
pub(super) fn other_meshes(pod: &Value, findings: &mut Findings) {
    for key in ["initContainers", "containers"] {
        for (index, container) in list(pod, &["spec", key]).iter().enumerate() {
            if MESH_CONTAINERS.contains(&name(container)) {
                findings.refuse(
                    Reason::OtherMesh,
                    &Path::of(["spec", key]).index(index).key("name"),
                    format!("`{}` redirects the same traffic", name(container)),
                    "take the namespace out of the mesh",
                );
            }
        }
    }
    for key in ["labels", "annotations"] {
        for (name, value) in members(pod, &["metadata", key]) {
            mesh_key(&Path::of(["metadata", key, name]), name, value, findings);
        }
    }
}

/// V13, of one label or annotation. A mesh's may say that the pod is not in it; what names a network interface says so
/// with any word.
pub(super) fn mesh_key(at: &Path, key: &str, value: &Value, findings: &mut Findings) {
    let off = matches!(value.as_str(), Some("false" | "disabled" | "none"));
    if is_in(key, &INTERFACE_DOMAINS) || (!off && is_in(key, &MESH_DOMAINS)) {
        findings.refuse(
            Reason::OtherMesh,
            at,
            "asks for another mesh or network interface",
            "remove it, or take the namespace out of the mesh",
        );
    }
}

/// Whether the part before the slash is one of the domains or in one.
fn is_in(key: &str, domains: &[&str]) -> bool {
    let Some((domain, _)) = key.split_once('/') else {
        return false;
    };
    domains.iter().any(|mesh| {
        domain
            .strip_suffix(mesh)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    })
}

const SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

const MESH_CONTAINERS: [&str; 8] = [
    "istio-proxy",
    "istio-init",
    "istio-validation",
    "linkerd-proxy",
    "linkerd-init",
    "linkerd-network-validator",
    "kuma-sidecar",
    "kuma-init",
];

const MESH_DOMAINS: [&str; 4] = ["istio.io", "linkerd.io", "kuma.io", "consul.hashicorp.com"];

/// Multus, whose annotations name interfaces to add.
const INTERFACE_DOMAINS: [&str; 2] = ["k8s.v1.cni.cncf.io", "v1.multus-cni.io"];
