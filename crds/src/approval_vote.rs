//! `ApprovalVote`: one person's answer, stamped and signed at admission.

pub use actpass_core::vote::vote_name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instant::Instant;
use crate::{rules, shape};

/// An ApprovalVote is one person's answer to an Approval. It is made once and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = rules::VOTE))]
pub struct ApprovalVoteSpec {
    /// Name of the Approval in this namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = shape::LABEL.pattern))]
    pub approval_name: String,
    /// Its UID, so that the vote counts for no other Approval of the same name.
    #[schemars(length(min = 1, max = 64), regex(pattern = shape::LINE.pattern))]
    pub approval_uid: String,
    /// The Approval's digest: exactly what the voter saw.
    #[schemars(length(min = 64, max = 64), regex(pattern = shape::HASH.pattern))]
    pub digest: String,
    /// The answer.
    pub decision: VoteDecision,
    /// Why, in one line, for those who read the evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = shape::LINE.pattern))]
    pub reason: Option<String>,
    /// Filled in at admission: leave it out. A vote without it is refused.
    pub stamp: VoteStamp,
}

/// The answer to an Approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VoteDecision {
    /// It may run, once.
    Approve,
    /// It may not.
    Deny,
}

/// Who voted and when, as the API server knows it, signed by the webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VoteStamp {
    /// The voter's user name.
    #[schemars(length(min = 1, max = 256), regex(pattern = shape::LINE.pattern))]
    pub user: String,
    /// Groups of the voter, as the API server knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        inner(length(min = 1, max = 256), regex(pattern = shape::LINE.pattern)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub groups: Vec<String>,
    /// When the webhook took the vote.
    pub time: Instant,
    /// Id of the key that signed.
    #[schemars(length(min = 1, max = 128), regex(pattern = shape::LINE.pattern))]
    pub key_id: String,
    /// Ed25519 over all of this but the reason, base64url.
    #[schemars(length(min = 86, max = 86), regex(pattern = shape::SIGNATURE.pattern))]
    pub signature: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_is_named_by_what_is_voted_on_and_who_votes() {
        // printf 'u-1\nada@example.com' | sha256sum | cut -c1-40
        assert_eq!(
            vote_name("u-1", "ada@example.com"),
            "ff910efd78ea7bac124f83c76a509ec52ca479b7"
        );
    }
}
