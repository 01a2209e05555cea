use std::collections::BTreeMap;

use actpass_core::evidence::record::{Containment, Judged, Outcome};
use actpass_core::hash::{BundleDigest, RecordHash, StreamId};

use super::*;

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

fn counted() -> Counted<'static> {
    Counted {
        tenant: "local/support/1",
        agent: "treasury",
        bundle: None,
    }
}

fn record(body: Body) -> Record {
    Record {
        stream: StreamId::from_bytes([1; 32]),
        seq: 0,
        prev: RecordHash::from_bytes([0; 32]),
        time: jiff::Timestamp::UNIX_EPOCH,
        body,
    }
}

fn decision(verdict: &str, reason: Option<&str>, count: u64) -> Record {
    record(Body::Decision(Box::new(Judged {
        action: None,
        bundle: BundleDigest::from_bytes([1; 32]),
        containment: Containment::NetworkOnly,
        enforced: true,
        count,
        detail: None,
        reason: reason.map(str::to_owned),
        refusal: None,
        rules: Vec::new(),
        shadow: Vec::new(),
        verdict: verdict.to_owned(),
    })))
}

fn outcome() -> Record {
    record(Body::Outcome(Outcome {
        of: 0,
        result: OutcomeResult::NotSent,
        status: None,
        detail: None,
        micros: 0,
        response_bytes: 0,
    }))
}

fn recorded() -> Ruling {
    Ruling::of(RulingVerdict::Recorded)
}

/// Name to type and labels, as a scrape shows them.
fn shown(text: &str) -> BTreeMap<String, (String, String)> {
    let mut shown = BTreeMap::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            let total = if kind == "counter" { "_total" } else { "" };
            shown.insert(format!("{name}{total}"), (kind.to_owned(), String::new()));
        } else if let Some((name, labels)) = line.split_once('{').filter(|_| !line.starts_with('#'))
        {
            let labels = labels.split_once('}').unwrap().0.split(',');
            let names = labels.filter_map(|label| Some(label.split_once('=')?.0));
            let names: Vec<&str> = names.filter(|name| *name != "le").collect();
            if !names.is_empty() {
                shown.get_mut(name).unwrap().1 = names.join(", ");
            }
        }
    }
    shown
}

/// The rows of the document that name metrics with this prefix: | `name` | type | labels | meaning |.
fn documented(prefix: &str) -> BTreeMap<String, (String, String)> {
    let rows = DOCUMENT
        .lines()
        .filter(|line| line.starts_with(&format!("| `{prefix}")));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(cells[4].len() > 20, "no meaning: {row}");
        let name = cells[1].trim_matches('`').to_owned();
        (name, (cells[2].to_owned(), cells[3].replace('`', "")))
    })
    .collect()
}

#[test]
fn the_document_lists_what_a_scrape_shows() {
    let metrics = Metrics::default();
    metrics.ruling(
        &counted(),
        &decision("deny", Some("no_rule"), 1),
        &recorded(),
    );
    metrics.ruling(&counted(), &outcome(), &recorded());
    metrics.group(1, Duration::from_millis(1));
    metrics.waiting(vec![Waiting {
        tenant: "local/support/1".to_owned(),
        count: 1,
        oldest: None,
    }]);
    assert_eq!(documented("actpass_ledger_"), shown(&metrics.text()));
}

#[test]
fn decisions_are_counted_by_labels_that_nobody_can_make_up() {
    struct Case {
        name: &'static str,
        given: (Record, Ruling),
        want: &'static str,
    }
    let ruled = |verdict, reason: Option<&str>| Ruling {
        reason: reason.map(str::to_owned),
        ..Ruling::of(verdict)
    };
    let cases = [
        Case {
            name: "a sidecar's own denial, with its count",
            given: (decision("deny", Some("no_rule"), 7), recorded()),
            want: "verdict=\"deny\",reason=\"no_rule\"} 7",
        },
        Case {
            name: "a read",
            given: (decision("permit", None, 1), recorded()),
            want: "verdict=\"permit\",reason=\"none\"} 1",
        },
        Case {
            name: "the ledger's word, not the sidecar's",
            given: (
                decision("permit", None, 1),
                ruled(RulingVerdict::Deny, Some("limit_exceeded")),
            ),
            want: "verdict=\"deny\",reason=\"limit_exceeded\"} 1",
        },
        Case {
            name: "words that no build knows",
            given: (decision("maybe", Some("because"), 1), recorded()),
            want: "verdict=\"other\",reason=\"other\"} 1",
        },
    ];
    for Case {
        name,
        given: (record, ruling),
        want,
    } in cases
    {
        let metrics = Metrics::default();
        metrics.ruling(&counted(), &record, &ruling);
        let want = want.replace('}', ",enforced=\"true\"}");
        let want = format!(
            "actpass_ledger_decisions_total{{tenant=\"local/support/1\",agent=\"treasury\",capability=\"none\",{want}"
        );
        assert!(metrics.text().contains(&want), "{name}: {}", metrics.text());
    }
}

#[test]
fn what_was_not_enforced_is_counted_apart_and_by_what_would_have_been_answered() {
    let would = |would, reason: Option<&str>| Ruling {
        would,
        reason: reason.map(str::to_owned),
        ..recorded()
    };
    for (name, verdict, ruling, want) in [
        (
            "the ledger's word",
            "needs_facts",
            would(Some(RulingVerdict::Deny), Some("limit_exceeded")),
            "verdict=\"deny\",reason=\"limit_exceeded\"",
        ),
        (
            "a question to people",
            "needs_facts",
            would(Some(RulingVerdict::Escalate), Some("approval_required")),
            "verdict=\"escalate\",reason=\"approval_required\"",
        ),
        (
            "the sidecar's, where the ledger has none",
            "permit",
            would(None, None),
            "verdict=\"permit\",reason=\"none\"",
        ),
    ] {
        let metrics = Metrics::default();
        let mut record = decision(verdict, None, 1);
        if let Body::Decision(judged) = &mut record.body {
            judged.enforced = false;
        }
        metrics.ruling(&counted(), &record, &ruling);
        let want = format!("{want},enforced=\"false\"}} 1");
        assert!(metrics.text().contains(&want), "{name}: {}", metrics.text());
    }
}

#[test]
fn another_part_is_shown_before_the_one_end_mark() {
    let metrics = Metrics::default();
    metrics.also(Box::new(|text| text.push_str("other 1\n")));
    assert!(metrics.text().ends_with("other 1\n# EOF\n"));
}
