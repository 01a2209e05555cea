//! What the webhook counts, in the names that dashboards and alerts use. `docs/metrics.md` explains each.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::review::{Answer, Verdict};

/// 0.5 ms to 5 s, which is when the API server stops waiting.
const SECONDS: [f64; 10] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.25, 1.0, 5.0,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    path: &'static str,
    answer: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refused {
    path: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Took {
    path: &'static str,
}

/// The webhook's metrics.
pub struct Metrics {
    registry: Registry,
    answered: Family<Answered, Counter>,
    refused: Family<Refused, Counter>,
    took: Family<Took, Histogram>,
    ready: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("actpass_webhook");
        let (answered, refused) = (Family::default(), Family::default());
        let took: Family<Took, Histogram> =
            Family::new_with_constructor(|| Histogram::new(SECONDS));
        let ready = Gauge::default();
        registry.register(
            "reviews",
            "Reviews answered, by path and answer",
            answered.clone(),
        );
        registry.register(
            "refusals",
            "Reasons given for refusals, by path and reason",
            refused.clone(),
        );
        registry.register_with_unit(
            "review",
            "Time from a review to its answer",
            Unit::Seconds,
            took.clone(),
        );
        registry.register(
            "ready",
            "1 while all is there that pods are injected with",
            ready.clone(),
        );
        Self {
            registry,
            answered,
            refused,
            took,
            ready,
        }
    }
}

impl Metrics {
    /// All of them as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        encode(&mut text, &self.registry).unwrap_or_default();
        text
    }

    pub(super) fn answered(&self, path: &'static str, answer: &Answer, took: Duration) {
        let label = match &answer.verdict {
            Verdict::Allowed => "allowed",
            Verdict::Patched(_) => "patched",
            Verdict::Refused(refusal) => {
                for cause in &refusal.causes {
                    let reason = cause.reason;
                    self.refused.get_or_create(&Refused { path, reason }).inc();
                }
                "refused"
            }
        };
        self.answered
            .get_or_create(&Answered {
                path,
                answer: label,
            })
            .inc();
        self.took
            .get_or_create(&Took { path })
            .observe(took.as_secs_f64());
    }

    /// Says whether pods can be injected.
    pub fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }
}
