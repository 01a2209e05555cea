//! Counters of the ledger, in the names dashboards and alerts use.

use std::sync::atomic::AtomicU64;

use actpass_core::evidence::leaf::{Ruling, RulingVerdict};
use actpass_core::evidence::record::{Body, Record};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Decisions as the ledger sees them, the sidecars' own included.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DecisionLabels {
    agent: String,
    capability: String,
    verdict: String,
    reason: String,
}

/// How permitted actions ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    result: String,
}

/// The ledger's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    decisions: Family<DecisionLabels, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    leaves: Counter<u64, AtomicU64>,
    group_leaves: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("actpass_ledger");
        let decisions = Family::default();
        let outcomes = Family::default();
        let leaves = Counter::default();
        let group_leaves = Histogram::new(exponential_buckets(1.0, 4.0, 6));
        registry.register(
            "decisions",
            "Decisions recorded, by agent, capability, verdict and reason",
            decisions.clone(),
        );
        registry.register(
            "outcomes",
            "Outcomes of permitted actions",
            outcomes.clone(),
        );
        registry.register("leaves", "Leaves made durable", leaves.clone());
        registry.register(
            "group_leaves",
            "Leaves per durable write",
            group_leaves.clone(),
        );
        Self {
            registry,
            decisions,
            outcomes,
            leaves,
            group_leaves,
        }
    }
}

impl Metrics {
    /// The metrics as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }

    pub(crate) fn group(&self, leaves: usize) {
        let leaves = u32::try_from(leaves).unwrap_or(u32::MAX);
        self.leaves.inc_by(u64::from(leaves));
        self.group_leaves.observe(f64::from(leaves));
    }

    /// Counts one record. Capabilities and agents come from the bundle, so their number is known.
    pub(crate) fn ruling(&self, record: &Record, ruling: &Ruling) {
        let judged = match &record.body {
            Body::Decision(judged) | Body::Intent(judged) => judged,
            Body::Outcome(outcome) => {
                let result = format!("{:?}", outcome.result).to_lowercase();
                self.outcomes.get_or_create(&OutcomeLabels { result }).inc();
                return;
            }
            Body::Note(_) => return,
        };
        let verdict = match ruling.verdict {
            RulingVerdict::Permit => "permit",
            RulingVerdict::Escalate => "escalate",
            RulingVerdict::Deny => "deny",
            RulingVerdict::Recorded => judged.verdict.as_str(),
        };
        let reason = ruling
            .reason
            .as_ref()
            .or(judged.reason.as_ref())
            .cloned()
            .unwrap_or_default();
        let (agent, capability) = match &judged.action {
            Some(action) => (action.agent.clone(), action.capability.to_string()),
            None => (String::new(), String::new()),
        };
        let labels = DecisionLabels {
            agent,
            capability,
            verdict: verdict.to_owned(),
            reason,
        };
        self.decisions.get_or_create(&labels).inc_by(judged.count);
    }
}
