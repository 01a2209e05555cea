//! `EvidenceLog`: what was seen of a namespace's log, kept outside of the ledger.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::instant::Instant;
use crate::shape;

/// What the controller saw of the log. It stands in the cluster's store, which the ledger cannot write, so a log that
/// was cut or forked shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceLogStatus {
    /// Conditions Ready, Consistent and Anchored: whether the log is seen, follows from itself, and is held elsewhere too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// Origin of the log: actpass, the cluster's id, the namespace and its UID, with slashes between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = shape::LINE.pattern))]
    pub origin: Option<String>,
    /// Leaves under the newest head seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub size: Option<i64>,
    /// Root hash of the newest head seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 64, max = 64), regex(pattern = shape::HASH.pattern))]
    pub root: Option<String>,
    /// Id of the key that signed the newest head seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = shape::LINE.pattern))]
    pub key_id: Option<String>,
    /// When the newest head was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checkpoint_time: Option<Instant>,
    /// The last head kept where neither the ledger nor the cluster changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_anchor: Option<Anchor>,
    /// Leaves that the last anchor does not cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub lag: Option<i64>,
}

/// A head of the log that is kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Anchor {
    /// When it was kept.
    pub time: Instant,
    /// How many leaves are under it.
    #[schemars(range(min = 0))]
    pub size: i64,
    /// The root hash of the log at that size.
    #[schemars(length(min = 64, max = 64), regex(pattern = shape::HASH.pattern))]
    pub root: String,
    /// Where it is kept, such as the name of a ConfigMap or a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = shape::LINE.pattern))]
    pub place: Option<String>,
}
