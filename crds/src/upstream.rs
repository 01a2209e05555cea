//! `Upstream`: where an agent may go, and how actions are read off the wire.

mod action;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action_policy::LabelSelector;
use crate::{rules, shape};

pub use action::{
    ActionSpec, AmountSpec, AmountUnit, AttributeDefault, AttributeSpec, AttributeType, BodyFormat,
    BodyMode, BodySpec, CompensationSpec, CurrencySpec, HeadersSpec, HttpMatch, MatchSpec,
    MeterFrom, MeterSpec, ParamsSpec, ResourceSpec,
};

/// An Upstream says where agents may go, how actions are read off the wire there, and which credential is lent for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::UPSTREAM))]
pub struct UpstreamSpec {
    /// Host names: exact, or one leading *. for any one label. No two Upstreams may share a name and port.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 253), regex(pattern = shape::HOST.pattern)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub hosts: Vec<String>,
    /// TCP ports the names are served on.
    #[serde(default = "https")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 65_535)), extend("x-kubernetes-list-type" = "set"))]
    pub ports: Vec<u16>,
    /// What the names may resolve to.
    #[serde(default)]
    pub addresses: Addresses,
    /// How requests are read.
    #[serde(default)]
    pub protocol: Protocol,
    /// How the transport is protected.
    #[serde(default)]
    pub tls: TlsSpec,
    /// Which namespaces may use it, where it stands in the install namespace. Absent: its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
    /// Credentials of the tenant's vault that are lent for its actions, at most one per effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub credentials: Vec<CredentialSpec>,
    /// What can be done there. The most specific match wins, and what nothing matches is denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub actions: Vec<ActionSpec>,
    /// Shape of the answers ActPass itself gives to requests it refuses.
    #[serde(default)]
    pub error_style: ErrorStyle,
    /// Statuses, besides 400, 401, 403, 404 and 422, by which this upstream says no before doing anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(range(min = 400, max = 599)), extend("x-kubernetes-list-type" = "set"))]
    pub failed_statuses: Vec<u16>,
}

fn https() -> Vec<u16> {
    vec![443]
}

/// What a declared name may resolve to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Addresses {
    /// Public unicast addresses only.
    #[default]
    Public,
    /// Private addresses too, as services of a cluster have.
    Cluster,
}

/// How requests to an upstream are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// HTTP/1.1 or HTTP/2; gRPC is matched by its path.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// Model Context Protocol over HTTP.
    #[serde(rename = "MCP")]
    Mcp,
    /// Bytes that nobody inspects: no actions, no credential, flagged in evidence.
    #[serde(rename = "TCP")]
    Tcp,
}

/// Protection of the transport.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsSpec {
    /// Whether TLS is intercepted, passed through or absent.
    #[serde(default)]
    pub mode: TlsMode,
    /// PEM certificates trusted for this upstream beside the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65_536), regex(pattern = shape::PEM.pattern))]
    pub ca_bundle: Option<String>,
}

/// Whether TLS is intercepted, passed through or absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// Ended here, and opened anew towards the upstream.
    #[default]
    Intercept,
    /// Passed through unread: no actions, no credential.
    Passthrough,
    /// Clear text.
    None,
}

/// Which namespaces may use an Upstream of the install namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::ALLOWED_NAMESPACES))]
pub struct AllowedNamespaces {
    /// Its own, all, or those that selector selects.
    pub from: NamespacesFrom,
    /// Labels of the namespaces, for Selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

impl UpstreamSpec {
    /// Whether a namespace with these labels may use it from the install namespace.
    pub fn is_shared_with(&self, labels: &BTreeMap<String, String>) -> bool {
        match &self.allowed_namespaces {
            None => false,
            Some(AllowedNamespaces { from, selector }) => match from {
                NamespacesFrom::Same => false,
                NamespacesFrom::All => true,
                NamespacesFrom::Selector => {
                    let selects = |selector: &LabelSelector| selector.selects(labels);
                    selector.as_ref().is_some_and(selects)
                }
            },
        }
    }
}

/// Namespaces that may use an Upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// Its own.
    Same,
    /// All.
    All,
    /// Those selected by label.
    Selector,
}

/// A credential and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::CREDENTIAL))]
pub struct CredentialSpec {
    /// Name in the tenant's vault.
    #[schemars(length(min = 1, max = 63), regex(pattern = shape::NAME.pattern))]
    pub name: String,
    /// Effects it is lent for.
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub effects: Vec<Effect>,
    /// Request header that carries it. What the agent sends in this header is dropped.
    #[schemars(length(min = 1, max = 128), regex(pattern = shape::HEADER.pattern))]
    pub header: String,
    /// Value of the header, in which {secret} stands for the secret.
    #[schemars(length(min = 8, max = 256), regex(pattern = shape::SECRET_FORMAT.pattern))]
    pub format: String,
}

/// An honest word for whether an action can be undone.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes something that can be changed back.
    Write,
    /// Cannot be undone.
    Irreversible,
}

/// Shape of the answers ActPass itself gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ErrorStyle {
    /// A problem document (RFC 9457) with message and error, which most SDKs read.
    #[default]
    Problem,
    /// ok false and error, as Slack's SDKs read it.
    Slack,
}
