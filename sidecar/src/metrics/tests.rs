use std::collections::BTreeMap;

use super::*;
use crate::extract::RefusalCode;

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

/// Metrics of which every family has a sample.
fn touched() -> String {
    let metrics = Metrics::default();
    metrics.refused("undeclared");
    metrics.answered(Answer::Denied, Duration::from_millis(1));
    metrics.outcome(OutcomeResult::Ok);
    metrics.upstream_error("shop", OutcomeResult::NotSent);
    metrics.credential_echoed("shop");
    metrics.ledger_round_trip(Duration::from_millis(1));
    metrics.connection_refused(ConnectionRefused::NoName);
    metrics.denied_name("undeclared_name");
    metrics.text(Standing {
        unacknowledged: 3,
        ring_bytes: 4_000,
        ledger_reachable: true,
    })
}

/// Name to type and labels, as a scrape shows them.
fn shown(text: &str) -> BTreeMap<String, (String, String)> {
    let mut shown = BTreeMap::new();
    for line in text.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            let name = if kind == "counter" {
                format!("{name}_total")
            } else {
                name.to_owned()
            };
            shown.insert(name, (kind.to_owned(), String::new()));
        }
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(['{', ' ']).unwrap();
        let name = name
            .trim_end_matches("_bucket")
            .trim_end_matches("_sum")
            .trim_end_matches("_count");
        let labels: Vec<&str> = rest
            .split_once('}')
            .map_or("", |(labels, _)| labels)
            .split(',')
            .filter_map(|label| Some(label.split_once('=')?.0))
            .filter(|label| *label != "le")
            .collect();
        if !labels.is_empty() {
            shown.get_mut(name).unwrap().1 = labels.join(", ");
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
        (
            name,
            (cells[2].to_owned(), cells[3].replace('`', "").to_owned()),
        )
    })
    .collect()
}

#[test]
fn the_document_lists_what_a_scrape_shows() {
    let dir = tempfile::tempdir().unwrap();
    let result = dir.path().join("result.json");
    std::fs::write(&result, r#"{"time":1,"wrong":[]}"#).unwrap();
    let mut text = touched();
    crate::pod::verified::write_metrics(&mut text, &result);
    assert_eq!(documented("actpass_sidecar_"), shown(&text));
}

#[test]
fn a_scrape_ends_and_counts() {
    let text = touched();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for want in [
        "actpass_sidecar_decisions_total{verdict=\"deny\",reason=\"undeclared\",effect=\"none\",enforced=\"true\"} 1",
        "actpass_sidecar_unacknowledged_records 3",
        "actpass_sidecar_ring_used_bytes 4000",
        "actpass_sidecar_ledger_reachable 1",
        "actpass_sidecar_open_connections 0",
    ] {
        assert!(text.contains(want), "{want} is not in\n{text}");
    }
}

#[test]
fn connections_are_counted_while_they_are_open() {
    let metrics = Metrics::default();
    let open = metrics.connection();
    assert_eq!(metrics.connections.get(), 1);
    drop(open);
    assert_eq!(metrics.connections.get(), 0);
}

#[test]
fn every_reason_in_the_sources_is_a_known_label() {
    use RefusalCode::*;
    let refused = [
        Unparsable,
        Undeclared,
        TwoActions,
        MislabelledBody,
        CompressedBody,
        UndeclaredParameter,
        BodyTooLarge,
        BodyNotAllowed,
        BadPath,
        DuplicateKey,
        DuplicateHeader,
        HeaderTooLarge,
    ];
    for code in refused {
        assert_eq!(reason::label(Some(code.as_str())), code.as_str());
    }
    let sources = [
        include_str!("../pep.rs"),
        include_str!("../pep/intent.rs"),
        include_str!("../pep/internal.rs"),
        include_str!("../proxy.rs"),
        include_str!("../proxy/internal.rs"),
    ];
    let mut found = 0;
    for source in sources {
        for call in ["denial(", "refuse(", "plain(", " no("] {
            for rest in source.split(call).skip(1) {
                let Some(code) = rest
                    .trim_start()
                    .strip_prefix('"')
                    .and_then(|rest| rest.split_once('"'))
                    .map(|(code, _)| code)
                else {
                    continue;
                };
                assert_eq!(reason::label(Some(code)), code, "not in REASONS");
                found += 1;
            }
        }
    }
    assert!(found > 15, "{found} codes found");
}
