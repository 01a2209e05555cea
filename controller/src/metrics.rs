//! What the controller counts, in the names that dashboards and alerts use. `docs/metrics.md` explains each.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::session::admit::Code;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Service {
    service: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refused {
    code: &'static str,
}

/// The controller's metrics.
pub struct Metrics {
    registry: Registry,
    sessions: Gauge<i64, AtomicI64>,
    refusals: Family<Refused, Counter>,
    reconcile: Histogram,
    errors: Counter<u64, AtomicU64>,
    compile: Histogram,
    leader: Gauge<i64, AtomicI64>,
    reachable: Gauge<i64, AtomicI64>,
    certificates: Family<Service, Gauge<i64, AtomicI64>>,
    contradicting: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("actpass_controller");
        // 1 ms to 16 s: a namespace takes some requests to the API server and one to the ledger.
        let seconds = || Histogram::new(exponential_buckets(0.001, 4.0, 8));
        let made = Self {
            sessions: Gauge::default(),
            refusals: Family::default(),
            reconcile: seconds(),
            errors: Counter::default(),
            compile: seconds(),
            leader: Gauge::default(),
            reachable: Gauge::default(),
            certificates: Family::default(),
            contradicting: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "sessions",
            "Sessions open on this replica",
            made.sessions.clone(),
        );
        registry.register(
            "session_refusals",
            "Sessions refused, by code",
            made.refusals.clone(),
        );
        registry.register(
            "reconcile_seconds",
            "Time to bring one namespace to what its resources say",
            made.reconcile.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Namespaces that could not be brought there, and are tried again",
            made.errors.clone(),
        );
        registry.register(
            "bundle_compile_seconds",
            "Time to compile one namespace's bundle",
            made.compile.clone(),
        );
        registry.register(
            "leader",
            "1 on the replica that writes",
            made.leader.clone(),
        );
        registry.register(
            "api_server_reachable",
            "0 once the API server has not answered this replica for half a minute",
            made.reachable.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the certificate of a part ends, as its leader saw it",
            made.certificates.clone(),
        );
        registry.register(
            "contradicting_logs",
            "Logs that contradict what was seen of them before, as the leader saw them",
            made.contradicting.clone(),
        );
        for code in Code::ALL {
            drop(made.refusals.get_or_create(&Refused {
                code: code.as_str(),
            }));
        }
        made.reachable.set(1);
        Self { registry, ..made }
    }
}

impl Metrics {
    /// As OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "Metrics not written");
        }
        text
    }

    /// One session more.
    pub fn session_opened(&self) {
        self.sessions.inc();
    }

    /// One session less.
    pub fn session_closed(&self) {
        self.sessions.dec();
    }

    /// A session was refused.
    pub fn refused(&self, code: Code) {
        let code = code.as_str();
        self.refusals.get_or_create(&Refused { code }).inc();
    }

    /// A namespace was looked at.
    pub fn reconciled(&self, took: Duration, failed: bool) {
        self.reconcile.observe(took.as_secs_f64());
        if failed {
            self.errors.inc();
        }
    }

    /// A bundle was compiled.
    pub fn compiled(&self, took: Duration) {
        self.compile.observe(took.as_secs_f64());
    }

    /// Whether this replica writes.
    pub fn leading(&self, leading: bool) {
        self.leader.set(i64::from(leading));
    }

    /// How many logs contradict what was seen of them before.
    pub fn contradicting(&self, logs: usize) {
        self.contradicting
            .set(i64::try_from(logs).unwrap_or(i64::MAX));
    }

    /// Whether the API server answers this replica.
    pub fn reachable(&self, reachable: bool) {
        self.reachable.set(i64::from(reachable));
    }

    /// When a part's certificate ends.
    pub fn certificate(&self, service: &str, until: Timestamp) {
        let service = service.to_owned();
        let gauge = self.certificates.get_or_create(&Service { service });
        gauge.set(until.as_second());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_name_is_there_from_the_start() {
        let metrics = Metrics::default();
        metrics.certificate("actpass-ledger", Timestamp::UNIX_EPOCH);
        let text = metrics.text();
        for name in [
            "actpass_controller_sessions 0",
            "actpass_controller_session_refusals_total{code=\"no_passport\"} 0",
            "actpass_controller_reconcile_seconds_count 0",
            "actpass_controller_reconcile_errors_total 0",
            "actpass_controller_bundle_compile_seconds_count 0",
            "actpass_controller_leader 0",
            "actpass_controller_api_server_reachable 1",
            "actpass_controller_contradicting_logs 0",
            "actpass_controller_certificate_expiry_timestamp_seconds{service=\"actpass-ledger\"} 0",
        ] {
            assert!(text.contains(name), "{name}: {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
