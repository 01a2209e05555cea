//! Each alert of the chart, tried by Prometheus' own `promtool`: it fires when it should, stays quiet when it should not, and
//! leads to a page that says what to do.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a chart that cannot be read is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use actpass_tests::chart::Chart;
use actpass_tests::home::text;
use serde_json::{Value, json};

/// What one alert says of some series at a time, which promtool counts from the beginning of 1970, a Thursday.
struct Case {
    name: &'static str,
    alert: &'static str,
    /// Series and their values, one per minute: `4x5` is 4 and five more of the same, `0+1x5` grows, `_x5` is none yet.
    series: &'static [(&'static str, &'static str)],
    at: &'static str,
    /// The labels that it fires with, besides its severity; none where it does not fire.
    fires: &'static [&'static [(&'static str, &'static str)]],
}

const DENIED: &str = r#"actpass_ledger_decisions_total{tenant="c/shop/1",agent="clerk",verdict="deny",enforced="true"}"#;
const AUDITED: &str = r#"actpass_ledger_decisions_total{tenant="c/shop/1",agent="clerk",verdict="deny",enforced="false"}"#;
const PERMITTED: &str =
    r#"actpass_ledger_decisions_total{tenant="c/shop/1",agent="clerk",verdict="permit"}"#;
const REFUNDED: &str = r#"actpass_ledger_decisions_total{tenant="c/shop/1",agent="clerk",verdict="permit",capability="stripe.refunds.create"}"#;
const READ: &str = r#"actpass_ledger_decisions_total{tenant="c/shop/1",agent="clerk",verdict="permit",capability="stripe.read"}"#;
const WRITTEN: &str =
    r#"actpass_sidecar_decisions_total{namespace="shop",pod="a",verdict="permit",effect="write"}"#;
const READS: &str =
    r#"actpass_sidecar_decisions_total{namespace="shop",pod="a",verdict="permit",effect="read"}"#;
const ASKED: &str =
    r#"actpass_ledger_oldest_pending_approval_timestamp_seconds{tenant="c/shop/1"}"#;
const AMBIGUOUS: &str = r#"actpass_ledger_outcomes_total{tenant="c/shop/1",result="ambiguous"}"#;
const OK: &str = r#"actpass_ledger_outcomes_total{tenant="c/shop/1",result="ok"}"#;
const ECHOED: &str =
    r#"actpass_sidecar_credential_echoes_total{namespace="shop",pod="a",upstream="pay"}"#;
const FENCE: &str = r#"actpass_sidecar_fence_stands{namespace="shop",pod="a"}"#;
const VERIFIED: &str =
    r#"actpass_sidecar_fence_verified_timestamp_seconds{namespace="shop",pod="a"}"#;
const REACHABLE: &str = r#"actpass_sidecar_ledger_reachable{namespace="shop",pod="a"}"#;
const RING: &str = r#"actpass_sidecar_ring_used_bytes{namespace="shop",pod="a"}"#;
const PASSPORT: &str =
    r#"actpass_sidecar_passport_expiry_timestamp_seconds{namespace="shop",pod="a"}"#;
const FAST: &str = r#"actpass_ledger_write_seconds_bucket{le="0.24576"}"#;
const SLOW: &str = r#"actpass_ledger_write_seconds_bucket{le="0.98304"}"#;
const ALL: &str = r#"actpass_ledger_write_seconds_bucket{le="+Inf"}"#;
const READY: &str = r#"actpass_webhook_ready{pod="a"}"#;
const LEADER: &str = r#"actpass_controller_leader{pod="a"}"#;
const OTHER_LEADER: &str = r#"actpass_controller_leader{pod="b"}"#;
const SECOND: &str = r#"actpass_controller_session_refusals_total{code="second_session"}"#;
const SUSPENDED: &str = r#"actpass_controller_session_refusals_total{code="suspended"}"#;
const CERTIFICATE: &str =
    r#"actpass_controller_certificate_expiry_timestamp_seconds{service="actpass-ledger"}"#;

const CLERK: &[&[(&str, &str)]] = &[&[("tenant", "c/shop/1"), ("agent", "clerk")]];
const TENANT: &[&[(&str, &str)]] = &[&[("tenant", "c/shop/1")]];
const POD: &[&[(&str, &str)]] = &[&[("namespace", "shop"), ("pod", "a")]];
const REFUNDER: &[&[(&str, &str)]] = &[&[
    ("tenant", "c/shop/1"),
    ("agent", "clerk"),
    ("capability", "stripe.refunds.create"),
]];
const UPSTREAM: &[&[(&str, &str)]] = &[&[("namespace", "shop"), ("pod", "a"), ("upstream", "pay")]];
const NO_LABELS: &[&[(&str, &str)]] = &[&[]];
const QUIET: &[&[(&str, &str)]] = &[];

macro_rules! case {
    ($alert:literal, $name:literal, [$(($series:expr, $values:literal)),*], $at:literal, $fires:expr) => {
        Case { name: $name, alert: $alert, series: &[$(($series, $values)),*], at: $at, fires: $fires }
    };
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    case!("ActPassDenials", "a first burst within one scrape", [(DENIED, "_x20 4x5")], "22m", CLERK),
    case!("ActPassDenials", "as many as are expected", [(DENIED, "_x20 3x5")], "22m", QUIET),
    case!("ActPassDenials", "one a minute after a quiet hour", [(DENIED, "7x60 8+1x10")], "68m", CLERK),
    case!("ActPassDenials", "what an audit passed on", [(AUDITED, "_x20 4x5")], "22m", QUIET),
    case!("ActPassDenials", "many long ago", [(DENIED, "400x60")], "50m", QUIET),
    case!("ActPassDenials", "permits", [(PERMITTED, "0+10x30")], "20m", QUIET),
    case!("ActPassWrites", "a hundred a minute", [(WRITTEN, "0+100x30")], "20m", POD),
    case!("ActPassWrites", "sixty a minute", [(WRITTEN, "0+60x30")], "20m", QUIET),
    case!("ActPassWrites", "a thousand reads a minute", [(READS, "0+1000x30")], "20m", QUIET),
    case!("ActPassPaymentsOutsideHours", "at three at night", [(REFUNDED, "_x175 1x20")], "180m", REFUNDER),
    case!("ActPassPaymentsOutsideHours", "at noon", [(REFUNDED, "_x715 1x20")], "720m", QUIET),
    case!("ActPassPaymentsOutsideHours", "at noon of a Saturday", [(REFUNDED, "_x3595 1x20")], "3600m", REFUNDER),
    case!("ActPassPaymentsOutsideHours", "a read at three at night", [(READ, "_x175 1x20")], "180m", QUIET),
    case!("ActPassApprovalsWait", "a question of 20 minutes", [(ASKED, "600x40")], "30m", TENANT),
    case!("ActPassApprovalsWait", "a question of 10 minutes", [(ASKED, "600x40")], "20m", QUIET),
    case!("ActPassApprovalsWait", "no question", [(ASKED, "0x40")], "30m", QUIET),
    case!("ActPassAmbiguous", "the first one", [(AMBIGUOUS, "_x10 1x20")], "15m", TENANT),
    case!("ActPassAmbiguous", "one two hours ago", [(AMBIGUOUS, "1x200")], "150m", QUIET),
    case!("ActPassAmbiguous", "outcomes that are known", [(OK, "0+5x20")], "15m", QUIET),
    case!("ActPassCredentialEchoed", "once", [(ECHOED, "_x10 1x20")], "15m", UPSTREAM),
    case!("ActPassCredentialEchoed", "two hours ago", [(ECHOED, "1x200")], "150m", QUIET),
    case!("ActPassFenceBroken", "two minutes of a way out", [(FENCE, "1x5 0x10")], "10m", POD),
    case!("ActPassFenceBroken", "one pass that failed", [(FENCE, "1x5 0x1 1x10")], "8m", QUIET),
    case!("ActPassFenceUnverified", "no pass any more", [(VERIFIED, "0+60x5 300x20")], "15m", POD),
    case!("ActPassFenceUnverified", "a pass every minute", [(VERIFIED, "0+60x20")], "15m", QUIET),
    case!("ActPassLedgerAway", "two minutes", [(REACHABLE, "1x5 0x5")], "8m", POD),
    case!("ActPassLedgerAway", "back within one", [(REACHABLE, "1x5 0x0 1x5")], "8m", QUIET),
    case!("ActPassRingFull", "3.5 MiB", [(RING, "3670016x5")], "2m", POD),
    case!("ActPassRingFull", "1 MiB", [(RING, "1048576x5")], "2m", QUIET),
    case!("ActPassPassportEnded", "two minutes ago", [(PASSPORT, "300x10")], "8m", POD),
    case!("ActPassPassportEnded", "never had one", [(PASSPORT, "0x10")], "8m", POD),
    case!("ActPassPassportEnded", "in force", [(PASSPORT, "900x10")], "8m", QUIET),
    case!("ActPassLedgerDown", "none", [], "5m", NO_LABELS),
    case!("ActPassLedgerDown", "one that is idle", [("actpass_ledger_leaves_total", "7x10")], "5m", QUIET),
    case!("ActPassLedgerSlow", "one in ten is slow", [(FAST, "0+90x30"), (SLOW, "0+100x30"), (ALL, "0+100x30")], "25m", NO_LABELS),
    case!("ActPassLedgerSlow", "all are fast", [(FAST, "0+100x30"), (SLOW, "0+100x30"), (ALL, "0+100x30")], "25m", QUIET),
    case!("ActPassPodsRefused", "none is ready", [(READY, "1x2 0x10")], "8m", NO_LABELS),
    case!("ActPassPodsRefused", "there is none", [], "8m", NO_LABELS),
    case!("ActPassPodsRefused", "one is ready", [(READY, "1x10")], "8m", QUIET),
    case!("ActPassNoLeader", "two that follow", [(LEADER, "0x10"), (OTHER_LEADER, "0x10")], "8m", NO_LABELS),
    case!("ActPassNoLeader", "there is none", [], "8m", NO_LABELS),
    case!("ActPassNoLeader", "one leads, one follows", [(LEADER, "0x10"), (OTHER_LEADER, "1x10")], "8m", QUIET),
    case!("ActPassReconcileFails", "one a minute", [("actpass_controller_reconcile_errors_total", "0+1x30")], "20m", NO_LABELS),
    case!("ActPassReconcileFails", "two in all", [("actpass_controller_reconcile_errors_total", "0x5 2x25")], "20m", QUIET),
    case!("ActPassPosing", "one", [(SECOND, "0x5 1x10")], "10m", &[&[("code", "second_session")]]),
    case!("ActPassPosing", "a Passport that is suspended", [(SUSPENDED, "0+1x10")], "10m", QUIET),
    case!("ActPassLogContradicts", "one of many", [("actpass_controller_contradicting_logs", "0x5 1x5")], "8m", NO_LABELS),
    case!("ActPassLogContradicts", "none", [("actpass_controller_contradicting_logs", "0x10")], "8m", QUIET),
    case!("ActPassLogKeyStuck", "for twenty minutes", [("actpass_ledger_log_keys_stuck", "0x5 1x20")], "25m", NO_LABELS),
    case!("ActPassLogKeyStuck", "until the controller has listed it", [("actpass_ledger_log_keys_stuck", "0x5 1x5 0x20")], "25m", QUIET),
    case!("ActPassCertificateEnds", "in a week", [(CERTIFICATE, "604800x100")], "90m", &[&[("service", "actpass-ledger")]]),
    case!("ActPassCertificateEnds", "in a month", [(CERTIFICATE, "2592000x100")], "90m", QUIET),
    case!("ActPassCertificateEnds", "not known yet", [(CERTIFICATE, "0x100")], "90m", QUIET),
];

/// The test of a case, as promtool reads it. What it expects are the rule's own annotations with the labels filled in.
fn promtool(case: &Case, rule: &Value) -> Value {
    let annotation = |name: &str, labels: &[(&str, &str)]| {
        let template = rule["annotations"][name].as_str().unwrap().to_owned();
        labels.iter().fold(template, |text, (label, value)| {
            text.replace(&format!("{{{{ $labels.{label} }}}}"), value)
        })
    };
    let expected = case.fires.iter().map(|labels| {
        let summary = annotation("summary", labels);
        assert!(!summary.contains("{{"), "{}: {summary}", case.alert);
        let mut all: serde_json::Map<String, Value> = labels
            .iter()
            .map(|(label, value)| ((*label).to_owned(), json!(value)))
            .collect();
        all.insert("severity".to_owned(), rule["labels"]["severity"].clone());
        json!({"exp_labels": all, "exp_annotations": {
            "summary": summary, "runbook_url": annotation("runbook_url", labels)}})
    });
    let series = case.series.iter();
    json!({
        "interval": "1m",
        "name": format!("{}: {}", case.alert, case.name),
        "input_series": series.map(|(series, values)| json!({"series": series, "values": values})).collect::<Vec<_>>(),
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected.collect::<Vec<_>>()}],
    })
}

#[test]
fn every_alert_fires_when_it_should_and_only_then() {
    let Some(chart) = Chart::here() else {
        return;
    };
    let rules = chart.rules().unwrap();
    let mut tests = Vec::new();
    for rule in &rules {
        let alert = rule["alert"].as_str().unwrap();
        let cases: Vec<&Case> = CASES.iter().filter(|it| it.alert == alert).collect();
        let fires = cases.iter().filter(|it| !it.fires.is_empty()).count();
        assert!(
            fires > 0 && fires < cases.len(),
            "`{alert}` needs a case in which it fires and one in which it does not"
        );
        tests.extend(cases.into_iter().map(|case| promtool(case, rule)));
    }
    let known: BTreeSet<&str> = rules.iter().filter_map(|it| it["alert"].as_str()).collect();
    for case in CASES {
        assert!(known.contains(case.alert), "no alert `{}`", case.alert);
    }
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, what: &Value| {
        fs::write(dir.path().join(name), what.to_string()).unwrap();
    };
    write(
        "rules.json",
        &chart.monitoring("PrometheusRule").unwrap()[0]["spec"],
    );
    write(
        "tests.json",
        &json!({"rule_files": ["rules.json"], "evaluation_interval": "1m", "tests": tests}),
    );
    let output = Command::new("promtool")
        .args(["test", "rules", "tests.json"])
        .current_dir(dir.path())
        .output()
        .expect("promtool is not installed; run `make setup`");
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn every_alert_leads_to_what_to_do() {
    let Some(chart) = Chart::here() else {
        return;
    };
    let page = Chart::directory().join("../../docs/runbooks.md");
    let page = fs::read_to_string(page).unwrap();
    let mut sections: BTreeSet<String> = BTreeSet::new();
    for section in page.split("\n## ").skip(1) {
        let (name, said) = section.split_once('\n').unwrap();
        for part in ["**Symptom.** ", "**Meaning.** ", "**What to do.** "] {
            let told = said.split_once(part).map(|(_, told)| told.len());
            assert!(told.is_some_and(|it| it > 60), "{name} has no {part}");
        }
        sections.insert(name.to_owned());
    }
    for rule in chart.rules().unwrap() {
        let alert = rule["alert"].as_str().unwrap();
        let url = rule["annotations"]["runbook_url"].as_str().unwrap();
        assert_eq!(
            url,
            format!("docs/runbooks.md#{}", alert.to_lowercase()),
            "{alert}"
        );
        assert!(
            sections.remove(alert),
            "docs/runbooks.md has no `## {alert}`"
        );
    }
    assert!(sections.is_empty(), "no such alerts: {sections:?}");
}
