//! What the evidence says was permitted.

use actpass_core::action::{Action, Hints};
use actpass_core::evidence::leaf::{Leaf, RulingVerdict};
use actpass_core::evidence::record::{Body, OutcomeResult};
use actpass_tests::parts::Parts;

/// An action that was permitted.
pub(crate) struct Permitted {
    /// As it was judged, less what the agent said of itself, of which at most a part travels.
    pub(crate) action: Action,
    /// What became of it.
    pub(crate) result: OutcomeResult,
}

/// All of a log; each has ended.
pub(crate) fn permitted(parts: &Parts) -> Vec<Permitted> {
    let permitted = parts.permitted().unwrap().into_iter();
    let permitted = permitted.map(|(action, result)| Permitted {
        action: Action {
            hints: Hints::default(),
            ..action
        },
        result: result.unwrap(),
    });
    permitted.collect()
}

/// How many requests a log says no to.
pub(crate) fn denied(parts: &Parts) -> u64 {
    let leaves = parts.leaves().unwrap();
    let denied = leaves.iter().filter_map(Leaf::record);
    let denied = denied.map(|(record, ruling)| match &record.body {
        Body::Decision(judged) if judged.verdict != "permit" => judged.count,
        Body::Intent(judged) if ruling.verdict != RulingVerdict::Permit => judged.count,
        _ => 0,
    });
    denied.sum()
}
