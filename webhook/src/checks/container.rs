//! V9, V10 and V14: what the kubelet does for a container.

use actpass_core::canonical::excerpt;
use serde_json::Value;

use super::listed;
use crate::contract::OWN_PORTS;
use crate::inject::inbound;
use crate::path::Path;
use crate::problem::{Findings, Reason};
use crate::read::{Container, handler_port, handlers, integer, list, members, name, some_text};
use crate::ruleset::INBOUND_MAX;
use crate::settings::Settings;

/// V9: the kubelet asks from the node's network, so it asks the pod and nobody else.
pub(super) fn handlers_stay(container: &Container<'_>, findings: &mut Findings) {
    for handler in handlers(container) {
        for kind in ["httpGet", "tcpSocket"] {
            if some_text(handler.value, &[kind, "host"]).is_some() {
                refuse_host(&handler.at.keys([kind, "host"]), findings);
            }
        }
        let headers = list(handler.value, &["httpGet", "httpHeaders"]);
        for (index, header) in headers.iter().enumerate() {
            if name(header).trim().eq_ignore_ascii_case("host") {
                refuse_host(
                    &handler.at.keys(["httpGet", "httpHeaders"]).index(index),
                    findings,
                );
            }
        }
        if let Some((field, port)) = handler_port(container.value, &handler) {
            own_port(&field, port, findings);
        }
    }
}

fn refuse_host(field: &Path, findings: &mut Findings) {
    findings.refuse(
        Reason::HandlerHost,
        field,
        "the kubelet would ask another host, from the node's network",
        "remove it; without it the pod is asked",
    );
}

/// V10.
pub(super) fn ports(container: &Container<'_>, findings: &mut Findings) {
    for (index, port) in list(container.value, &["ports"]).iter().enumerate() {
        let at = container.at.key("ports").index(index);
        if integer(port, &["hostPort"]).is_some_and(|port| port != 0) {
            findings.refuse(
                Reason::Port,
                &at.key("hostPort"),
                "opens the agent on the node",
                "remove it; use a Service",
            );
        }
        if let Some(number) = integer(port, &["containerPort"]) {
            own_port(&at.key("containerPort"), number, findings);
        }
    }
}

/// V10, of the pod: more than the rules take.
pub(super) fn inbound_ports(pod: &Value, findings: &mut Findings) {
    if inbound(pod).len() > INBOUND_MAX {
        findings.refuse(
            Reason::Port,
            &Path::of(["spec", "containers"]),
            "too many ports to be reached on, with those of probes",
            format!("declare at most {INBOUND_MAX}"),
        );
    }
}

fn own_port(field: &Path, port: i64, findings: &mut Findings) {
    if OWN_PORTS.iter().any(|own| i64::from(*own) == port) {
        findings.refuse(
            Reason::Port,
            field,
            format!("{port} is a port of ActPass"),
            "choose another; 15000, 15001, 15021, 15053 and 15090 are taken",
        );
    }
}

/// V14: a device may be a network of its own (RDMA, SR-IOV), so each kind is allowed by name.
pub(super) fn devices(container: &Container<'_>, settings: &Settings, findings: &mut Findings) {
    for kind in ["limits", "requests"] {
        for (resource, _) in members(container.value, &["resources", kind]) {
            let plain = matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage")
                || resource.starts_with("hugepages-")
                || settings.extended_resources.contains(resource);
            if !plain {
                findings.refuse(
                    Reason::Device,
                    &container.at.keys(["resources", kind, resource]),
                    format!("`{}` may be a network", excerpt(resource)),
                    format!("remove it; {}", listed(&settings.extended_resources)),
                );
            }
        }
    }
    if !list(container.value, &["resources", "claims"]).is_empty() {
        findings.refuse(
            Reason::Device,
            &container.at.keys(["resources", "claims"]),
            "a claimed device may be a network",
            "remove it",
        );
    }
}
