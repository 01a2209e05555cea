//! Counters of the ledger, in the names that dashboards and alerts use. `docs/metrics.md` explains each.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actpass_core::bundle::Bundle;
use actpass_core::capability::Capability;
use actpass_core::evidence::leaf::{Ruling, RulingVerdict};
use actpass_core::evidence::reason;
use actpass_core::evidence::record::{Body, OutcomeResult, Record};
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Decisions as the ledger sees them, the sidecars' own included.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DecisionLabels {
    tenant: String,
    agent: String,
    capability: String,
    verdict: &'static str,
    reason: &'static str,
    enforced: &'static str,
}

/// How permitted actions ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    tenant: String,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TenantLabels {
    tenant: String,
}

/// Questions of one tenant that wait for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Whose.
    pub(crate) tenant: String,
    /// How many.
    pub(crate) count: usize,
    /// When the oldest was asked; none where none waits.
    pub(crate) oldest: Option<Timestamp>,
}

/// Appends the metrics of another part of the process, as OpenMetrics text without its end mark.
pub type Source = Box<dyn Fn(&mut String) + Send + Sync>;

/// The ledger's metrics, and those of parts beside it.
pub struct Metrics {
    registry: Registry,
    others: Mutex<Vec<Source>>,
    decisions: Family<DecisionLabels, Counter>,
    outcomes: Family<OutcomeLabels, Counter>,
    leaves: Counter<u64, AtomicU64>,
    group_leaves: Histogram,
    write: Histogram,
    unread: Gauge<i64, AtomicI64>,
    pending: Family<TenantLabels, Gauge<i64, AtomicI64>>,
    pending_since: Family<TenantLabels, Gauge<i64, AtomicI64>>,
    passed_on: Counter<u64, AtomicU64>,
    not_passed_on: Gauge<i64, AtomicI64>,
    log_keys_stuck: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("actpass_ledger");
        let decisions = Family::default();
        let outcomes = Family::default();
        let leaves = Counter::default();
        let group_leaves = Histogram::new(exponential_buckets(1.0, 4.0, 6));
        // 60 µs, one `fdatasync` of a fast disk, to 16 s.
        let write = Histogram::new(exponential_buckets(0.000_06, 4.0, 10));
        let unread = Gauge::default();
        let (pending, pending_since) = (Family::default(), Family::default());
        registry.register(
            "decisions",
            "Decisions recorded, by tenant, agent, capability, verdict, reason and whether they were enforced",
            decisions.clone(),
        );
        registry.register(
            "outcomes",
            "Outcomes recorded of permitted actions, by tenant and result",
            outcomes.clone(),
        );
        registry.register("leaves", "Leaves made durable", leaves.clone());
        registry.register(
            "group_leaves",
            "Leaves per durable write",
            group_leaves.clone(),
        );
        registry.register("write_seconds", "Time of one durable write", write.clone());
        registry.register(
            "unread_segments",
            "Files of the log that were not read since the start yet",
            unread.clone(),
        );
        registry.register(
            "pending_approvals",
            "Questions that wait for people, by tenant",
            pending.clone(),
        );
        registry.register(
            "oldest_pending_approval_timestamp_seconds",
            "When the oldest of them was asked, 0 where none waits",
            pending_since.clone(),
        );
        let (passed_on, not_passed_on) = (Counter::default(), Gauge::default());
        registry.register(
            "passed_on_leaves",
            "Leaves passed on to the sink of this ledger",
            passed_on.clone(),
        );
        registry.register(
            "waiting_leaves",
            "Durable leaves that the sink has not taken yet",
            not_passed_on.clone(),
        );
        let log_keys_stuck = Gauge::default();
        registry.register(
            "log_keys_stuck",
            "1 while the keys of checkpoints do not follow one another",
            log_keys_stuck.clone(),
        );
        Self {
            registry,
            others: Mutex::default(),
            decisions,
            outcomes,
            leaves,
            group_leaves,
            write,
            unread,
            pending,
            pending_since,
            passed_on,
            not_passed_on,
            log_keys_stuck,
        }
    }
}

impl Metrics {
    /// The metrics as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        encode_registry(&mut text, &self.registry).unwrap_or_default();
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.iter().for_each(|write| write(&mut text));
        encode_eof(&mut text).unwrap_or_default();
        text
    }

    /// Shows the metrics of another part from now on: in local mode one process is ledger and sidecar.
    pub fn also(&self, source: Source) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.push(source);
    }

    /// A durable write of so many leaves.
    pub(crate) fn group(&self, leaves: usize, took: Duration) {
        self.write.observe(took.as_secs_f64());
        let leaves = u32::try_from(leaves).unwrap_or(u32::MAX);
        self.leaves.inc_by(u64::from(leaves));
        self.group_leaves.observe(f64::from(leaves));
    }

    /// So many leaves were passed on.
    pub(crate) fn passed_on(&self, leaves: u64) {
        self.passed_on.inc_by(leaves);
    }

    /// So many leaves are durable and not passed on.
    pub(crate) fn not_passed_on(&self, leaves: u64) {
        self.not_passed_on
            .set(i64::try_from(leaves).unwrap_or(i64::MAX));
    }

    /// Whether something keeps the logs from being signed with the key that is to sign them.
    pub fn log_keys_stuck(&self, stuck: bool) {
        self.log_keys_stuck.set(i64::from(stuck));
    }

    /// Segments that the start believed, and that are still to be read.
    pub(crate) fn unread(&self, segments: u32) {
        self.unread.set(i64::from(segments));
    }

    /// What waits for people right now.
    pub(crate) fn waiting(&self, waiting: Vec<Waiting>) {
        for Waiting {
            tenant,
            count,
            oldest,
        } in waiting
        {
            let tenant = TenantLabels { tenant };
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.pending.get_or_create(&tenant).set(count);
            let since = oldest.map_or(0, Timestamp::as_second);
            self.pending_since.get_or_create(&tenant).set(since);
        }
    }

    /// Counts one record of a stream of `agent`. What a record says of itself becomes a label only where the policy
    /// knows it too, so a sidecar cannot make up series.
    pub(crate) fn ruling(&self, of: &Counted<'_>, record: &Record, ruling: &Ruling) {
        let tenant = of.tenant.to_owned();
        let judged = match &record.body {
            Body::Decision(judged) | Body::Intent(judged) => judged,
            Body::Outcome(outcome) => {
                let result = match outcome.result {
                    OutcomeResult::Ok => "ok",
                    OutcomeResult::Failed => "failed",
                    OutcomeResult::NotSent => "not_sent",
                    OutcomeResult::Ambiguous => "ambiguous",
                };
                self.outcomes
                    .get_or_create(&OutcomeLabels { tenant, result })
                    .inc();
                return;
            }
            Body::Note(_) => return,
        };
        // Of what was passed on under audit counts what would have been answered.
        let ruled = ruling.would.unwrap_or(ruling.verdict);
        let verdict = match (ruled, judged.verdict.as_str()) {
            (RulingVerdict::Permit, _) | (RulingVerdict::Recorded, "permit") => "permit",
            (RulingVerdict::Escalate, _) | (RulingVerdict::Recorded, "escalate") => "escalate",
            (RulingVerdict::Deny, _) | (RulingVerdict::Recorded, "deny") => "deny",
            (RulingVerdict::Recorded, _) => "other",
        };
        let reason = reason::label(ruling.reason.as_deref().or(judged.reason.as_deref()));
        let capability = match &judged.action {
            None => "none".to_owned(),
            Some(action) if of.declares(&action.capability) => action.capability.to_string(),
            Some(_) => "other".to_owned(),
        };
        let labels = DecisionLabels {
            tenant,
            agent: of.agent.to_owned(),
            capability,
            verdict,
            reason,
            enforced: if judged.enforced { "true" } else { "false" },
        };
        self.decisions.get_or_create(&labels).inc_by(judged.count);
    }
}

/// Whose record is counted.
pub(crate) struct Counted<'a> {
    /// Tenant of the log.
    pub(crate) tenant: &'a str,
    /// Agent of the stream, as its passport says.
    pub(crate) agent: &'a str,
    /// The active bundle.
    pub(crate) bundle: Option<&'a Bundle>,
}

impl Counted<'_> {
    fn declares(&self, capability: &Capability) -> bool {
        self.bundle
            .is_some_and(|bundle| bundle.action(capability).is_some())
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
