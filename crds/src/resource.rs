//! One resource of any kind, and the metadata they share.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action_policy::{ActionPolicySpec, ClusterActionPolicySpec};
use crate::passport::PassportSpec;
use crate::shape;
use crate::upstream::UpstreamSpec;

/// API group and version of every kind here.
pub const API_VERSION: &str = "actpass.org/v1alpha1";

/// Metadata of a resource, as far as it is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Name, an RFC 1123 label.
    #[schemars(length(min = 1, max = 63), regex(pattern = shape::LABEL.pattern))]
    pub name: String,
    /// Namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = shape::LABEL.pattern))]
    pub namespace: Option<String>,
    /// Labels, which policies select by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, which nothing here reads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Who may do what.
    Passport,
    /// Where, and how actions are read.
    Upstream,
    /// Rules of a namespace.
    ActionPolicy,
    /// Guard rules of the cluster.
    ClusterActionPolicy,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Passport,
        Self::Upstream,
        Self::ActionPolicy,
        Self::ClusterActionPolicy,
    ];

    /// As it stands in `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passport => "Passport",
            Self::Upstream => "Upstream",
            Self::ActionPolicy => "ActionPolicy",
            Self::ClusterActionPolicy => "ClusterActionPolicy",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// One resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// Who may do what, how much, for how long.
    Passport(Metadata, PassportSpec),
    /// Where, and how actions are read off the wire.
    Upstream(Metadata, UpstreamSpec),
    /// Rules.
    ActionPolicy(Metadata, ActionPolicySpec),
    /// Guard rules.
    ClusterActionPolicy(Metadata, ClusterActionPolicySpec),
}

impl Resource {
    /// Its metadata.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Passport(metadata, _)
            | Self::Upstream(metadata, _)
            | Self::ActionPolicy(metadata, _)
            | Self::ClusterActionPolicy(metadata, _) => metadata,
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Passport(..) => Kind::Passport,
            Self::Upstream(..) => Kind::Upstream,
            Self::ActionPolicy(..) => Kind::ActionPolicy,
            Self::ClusterActionPolicy(..) => Kind::ClusterActionPolicy,
        }
    }
}
