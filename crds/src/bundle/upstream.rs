//! Upstreams: hosts, transport and credentials.

use actpass_core::upstream::{
    Addresses, CredentialUse, Effect, ErrorStyle, Protocol, Tls, TlsMode, Upstream,
};

use super::At;
use crate::upstream::{self, CredentialSpec, UpstreamSpec};

impl At<'_> {
    pub(super) fn upstream(&mut self, name: &str, spec: &UpstreamSpec) -> Option<Upstream> {
        let hosts = self.texts("spec.hosts", &spec.hosts);
        let mut actions = Vec::with_capacity(spec.actions.len());
        for (index, action) in spec.actions.iter().enumerate() {
            actions.extend(self.action(name, &format!("spec.actions[{index}]"), action));
        }
        if actions.len() < spec.actions.len() {
            return None;
        }
        Some(Upstream {
            name: name.to_owned(),
            hosts,
            ports: spec.ports.clone(),
            addresses: spec.addresses.into(),
            protocol: spec.protocol.into(),
            tls: Tls {
                mode: spec.tls.mode.into(),
                ca_bundle: spec.tls.ca_bundle.clone(),
            },
            credentials: spec.credentials.iter().map(CredentialUse::from).collect(),
            actions,
            error_style: spec.error_style.into(),
            failed_statuses: spec.failed_statuses.clone(),
        })
    }
}

impl From<&CredentialSpec> for CredentialUse {
    fn from(spec: &CredentialSpec) -> Self {
        Self {
            name: spec.name.clone(),
            effects: spec.effects.iter().map(|effect| (*effect).into()).collect(),
            header: spec.header.to_ascii_lowercase(),
            format: spec.format.clone(),
        }
    }
}

impl From<upstream::Addresses> for Addresses {
    fn from(addresses: upstream::Addresses) -> Self {
        match addresses {
            upstream::Addresses::Public => Self::Public,
            upstream::Addresses::Cluster => Self::Cluster,
        }
    }
}

impl From<upstream::Protocol> for Protocol {
    fn from(protocol: upstream::Protocol) -> Self {
        match protocol {
            upstream::Protocol::Http => Self::Http,
            upstream::Protocol::Mcp => Self::Mcp,
            upstream::Protocol::Tcp => Self::Tcp,
        }
    }
}

impl From<upstream::TlsMode> for TlsMode {
    fn from(mode: upstream::TlsMode) -> Self {
        match mode {
            upstream::TlsMode::Intercept => Self::Intercept,
            upstream::TlsMode::Passthrough => Self::Passthrough,
            upstream::TlsMode::None => Self::None,
        }
    }
}

impl From<upstream::Effect> for Effect {
    fn from(effect: upstream::Effect) -> Self {
        match effect {
            upstream::Effect::Read => Self::Read,
            upstream::Effect::Write => Self::Write,
            upstream::Effect::Irreversible => Self::Irreversible,
        }
    }
}

impl From<upstream::ErrorStyle> for ErrorStyle {
    fn from(style: upstream::ErrorStyle) -> Self {
        match style {
            upstream::ErrorStyle::Problem => Self::Problem,
            upstream::ErrorStyle::Slack => Self::Slack,
        }
    }
}
