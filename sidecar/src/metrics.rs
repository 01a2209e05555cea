//! What the sidecar counts, in the names that dashboards and alerts use. `docs/metrics.md` explains each.
//!
//! Every label is an enum, a reason of [`actpass_core::evidence::reason`] or a name that the policy declares, so the
//! number of series is known from the policy.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use actpass_core::evidence::reason;
use actpass_core::evidence::record::OutcomeResult;
use actpass_core::upstream::Effect;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::judge::{DenialKind, Judgement};

/// 0.1 ms to 25 s: a local denial takes a tenth of a millisecond, a language model's first byte many seconds.
const SECONDS: [f64; 12] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0, 25.0,
];

/// A decision as it is counted.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Decided {
    verdict: &'static str,
    reason: &'static str,
    effect: &'static str,
    enforced: &'static str,
}

/// How a request was answered.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    answer: &'static str,
}

/// What the agent got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// An answer: the upstream's, or one of `actpass.internal`.
    Served,
    /// A denial.
    Denied,
}

impl Answer {
    fn label(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Denied => "denied",
        }
    }
}

/// How a permitted action ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ended {
    result: &'static str,
}

/// An upstream that gave no usable answer.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Failed {
    upstream: String,
    result: &'static str,
}

/// An upstream that sent a lent credential back.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Echoing {
    upstream: String,
}

/// A connection or name that was refused.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refused {
    reason: &'static str,
}

/// Why a connection was refused before a request was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionRefused {
    /// No declared name has the address dialled.
    NoName,
    /// The name dialled is not declared with the port dialled.
    UndeclaredPort,
    /// As many as may be are open.
    TooMany,
    /// The TLS server name is missing, or not the name dialled.
    HostMismatch,
    /// What is sent where TLS is spoken is none, or none that is taken.
    NotTls,
}

impl ConnectionRefused {
    fn label(self) -> &'static str {
        match self {
            Self::NoName => "no_name",
            Self::UndeclaredPort => "undeclared_port",
            Self::TooMany => "too_many",
            Self::HostMismatch => "host_mismatch",
            Self::NotTls => "not_tls",
        }
    }
}

/// Counters of one sidecar.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    decisions: Family<Decided, Counter>,
    requests: Family<Answered, Histogram, fn() -> Histogram>,
    outcomes: Family<Ended, Counter>,
    upstream_errors: Family<Failed, Counter>,
    credential_echoes: Family<Echoing, Counter>,
    ledger_round_trip: Histogram,
    connections: Gauge<i64, AtomicI64>,
    denied_connections: Family<Refused, Counter>,
    denied_names: Family<Refused, Counter>,
    unrecorded: Counter,
    ledger_reachable: Gauge<i64, AtomicI64>,
    passport_expiry: Gauge<i64, AtomicI64>,
    ring_used: Gauge<u64, AtomicU64>,
    unacknowledged: Gauge<u64, AtomicU64>,
}

/// What the recorder knows at the moment of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Records that the ledger has not acknowledged.
    pub unacknowledged: usize,
    /// Bytes they take in the ring file.
    pub ring_bytes: u64,
    /// Whether the ledger answered last time.
    pub ledger_reachable: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Registry::with_prefix("actpass_sidecar"),
            decisions: Family::default(),
            requests: Family::new_with_constructor(seconds),
            outcomes: Family::default(),
            upstream_errors: Family::default(),
            credential_echoes: Family::default(),
            ledger_round_trip: seconds(),
            connections: Gauge::default(),
            denied_connections: Family::default(),
            denied_names: Family::default(),
            unrecorded: Counter::default(),
            ledger_reachable: Gauge::default(),
            passport_expiry: Gauge::default(),
            ring_used: Gauge::default(),
            unacknowledged: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "decisions",
            "Requests decided, by verdict, reason, effect and whether that was enforced",
            self.decisions.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "Time from a request's head to its answer's head, by answer",
            Unit::Seconds,
            self.requests.clone(),
        );
        registry.register(
            "outcomes",
            "Permitted actions ended, by result",
            self.outcomes.clone(),
        );
        registry.register(
            "upstream_errors",
            "Permitted requests that an upstream gave no answer to, by upstream and result",
            self.upstream_errors.clone(),
        );
        registry.register(
            "credential_echoes",
            "Answers cut off because they held the lent credential, by upstream",
            self.credential_echoes.clone(),
        );
        registry.register_with_unit(
            "ledger_round_trip",
            "Time from a batch's first byte to the ledger's whole answer",
            Unit::Seconds,
            self.ledger_round_trip.clone(),
        );
        registry.register(
            "open_connections",
            "Connections of the agent that are open",
            self.connections.clone(),
        );
        registry.register(
            "denied_connections",
            "Connections refused before a request was read, by reason",
            self.denied_connections.clone(),
        );
        registry.register(
            "denied_names",
            "Names asked for and not resolved, by reason",
            self.denied_names.clone(),
        );
        registry.register(
            "unrecorded",
            "Requests and connections passed on under audit without a record",
            self.unrecorded.clone(),
        );
        registry.register(
            "ledger_reachable",
            "Whether the ledger answered the last batch: 1 or 0",
            self.ledger_reachable.clone(),
        );
        registry.register_with_unit(
            "passport_expiry_timestamp",
            "When the passport in use ends, in Unix time; 0 before the first",
            Unit::Seconds,
            self.passport_expiry.clone(),
        );
        registry.register_with_unit(
            "ring_used",
            "Bytes in the ring file that wait for the ledger",
            Unit::Bytes,
            self.ring_used.clone(),
        );
        registry.register(
            "unacknowledged_records",
            "Records that wait for the ledger",
            self.unacknowledged.clone(),
        );
    }

    /// Appends these metrics as OpenMetrics text, without the end mark.
    pub fn write(&self, standing: Standing, text: &mut String) {
        self.ring_used.set(standing.ring_bytes);
        self.unacknowledged
            .set(u64::try_from(standing.unacknowledged).unwrap_or(u64::MAX));
        self.ledger_reachable
            .set(i64::from(standing.ledger_reachable));
        // Writing into a String does not fail.
        encode_registry(text, &self.registry).unwrap_or_default();
    }

    /// These metrics as a whole OpenMetrics document.
    pub fn text(&self, standing: Standing) -> String {
        let mut text = String::new();
        self.write(standing, &mut text);
        encode_eof(&mut text).unwrap_or_default();
        text
    }

    /// Counts a name that was asked for and not resolved; `reason` as in the record.
    pub fn denied_name(&self, reason: &str) {
        let reason = reason::label(Some(reason));
        self.denied_names.get_or_create(&Refused { reason }).inc();
    }

    pub(crate) fn judged(&self, judgement: &Judgement, effect: Option<Effect>) {
        let (verdict, reason) = match judgement {
            Judgement::Permit(_) => ("permit", None),
            Judgement::Deny(denial) => match denial.kind {
                DenialKind::ApprovalRequired { .. } => ("escalate", Some(&*denial.code)),
                _ => ("deny", Some(&*denial.code)),
            },
        };
        self.decided(verdict, reason, effect, "true");
    }

    /// Counts what was passed on under audit, by what would have been answered.
    pub(crate) fn rehearsed(
        &self,
        verdict: &'static str,
        reason: Option<&str>,
        effect: Option<Effect>,
    ) {
        self.decided(verdict, reason, effect, "false");
    }

    /// Counts what was passed on under audit and could not be recorded.
    pub(crate) fn passed_unrecorded(&self) {
        self.unrecorded.inc();
    }

    pub(crate) fn refused(&self, reason: &str) {
        self.decided("deny", Some(reason), None, "true");
    }

    fn decided(
        &self,
        verdict: &'static str,
        reason: Option<&str>,
        effect: Option<Effect>,
        enforced: &'static str,
    ) {
        let decided = Decided {
            verdict,
            reason: reason::label(reason),
            effect: effect_label(effect),
            enforced,
        };
        self.decisions.get_or_create(&decided).inc();
    }

    pub(crate) fn answered(&self, answer: Answer, took: Duration) {
        let answer = answer.label();
        self.requests
            .get_or_create(&Answered { answer })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn outcome(&self, result: OutcomeResult) {
        let result = result_label(result);
        self.outcomes.get_or_create(&Ended { result }).inc();
    }

    pub(crate) fn upstream_error(&self, upstream: &str, result: OutcomeResult) {
        let failed = Failed {
            upstream: upstream.to_owned(),
            result: result_label(result),
        };
        self.upstream_errors.get_or_create(&failed).inc();
    }

    pub(crate) fn credential_echoed(&self, upstream: &str) {
        let upstream = upstream.to_owned();
        self.credential_echoes
            .get_or_create(&Echoing { upstream })
            .inc();
    }

    pub(crate) fn ledger_round_trip(&self, took: Duration) {
        self.ledger_round_trip.observe(took.as_secs_f64());
    }

    pub(crate) fn connection_refused(&self, reason: ConnectionRefused) {
        let reason = reason.label();
        self.denied_connections
            .get_or_create(&Refused { reason })
            .inc();
    }

    /// Counts a connection for as long as what is returned lives.
    pub(crate) fn connection(&self) -> impl Drop + use<> {
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// Whether there is a connection.
    pub(crate) fn connected(&self) -> bool {
        self.connections.get() > 0
    }

    pub(crate) fn passport_expires(&self, unix_seconds: i64) {
        self.passport_expiry.set(unix_seconds);
    }
}

/// One open connection.
struct Open(Gauge<i64, AtomicI64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn effect_label(effect: Option<Effect>) -> &'static str {
    match effect {
        Some(Effect::Read) => "read",
        Some(Effect::Write) => "write",
        Some(Effect::Irreversible) => "irreversible",
        None => "none",
    }
}

fn result_label(result: OutcomeResult) -> &'static str {
    match result {
        OutcomeResult::Ok => "ok",
        OutcomeResult::Failed => "failed",
        OutcomeResult::NotSent => "not_sent",
        OutcomeResult::Ambiguous => "ambiguous",
    }
}

#[cfg(test)]
mod tests;
