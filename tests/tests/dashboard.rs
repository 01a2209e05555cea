//! The dashboard and the alerts of the chart speak of metrics that exist, and the dashboard in words that one understands.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a chart that cannot be read is a failed test"
)]

use std::collections::BTreeSet;
use std::fs;

use actpass_tests::chart::{Chart, dashboard, metrics_of, panels};
use serde_json::json;

/// The names that `docs/metrics.md` explains, those of a histogram's series included.
fn documented() -> BTreeSet<String> {
    let page = fs::read_to_string(Chart::directory().join("../../docs/metrics.md")).unwrap();
    let mut names = BTreeSet::new();
    for row in page.lines() {
        let Some((name, rest)) = row.strip_prefix("| `").and_then(|it| it.split_once("` | "))
        else {
            continue;
        };
        if rest.starts_with("histogram") {
            names.extend(["bucket", "sum", "count"].map(|of| format!("{name}_{of}")));
        } else {
            names.insert(name.to_owned());
        }
    }
    assert!(names.len() > 30, "{names:?}");
    names
}

#[test]
fn queries_name_only_metrics_that_are_explained() {
    let Some(chart) = Chart::here() else {
        return;
    };
    let mut queries: Vec<String> = Vec::new();
    for rule in chart.rules().unwrap() {
        queries.push(rule["expr"].as_str().unwrap().to_owned());
    }
    for panel in panels(&dashboard(&chart).unwrap()) {
        queries.extend(panel.queries);
    }
    let documented = documented();
    for query in &queries {
        let named = metrics_of(query);
        assert!(!named.is_empty(), "{query}");
        for name in named {
            assert!(
                documented.contains(&name),
                "docs/metrics.md has no `{name}`, which this asks for: {query}"
            );
        }
    }
    assert!(queries.len() > 30, "{}", queries.len());
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    let Some(chart) = Chart::here() else {
        return;
    };
    let panels = panels(&dashboard(&chart).unwrap());
    assert!(panels[0].title.starts_with("Denials"), "denials come first");
    let mut titles = BTreeSet::new();
    for panel in &panels {
        let title = &panel.title;
        assert!(titles.insert(title), "two panels are called `{title}`");
        assert!(
            panel.description.ends_with('.') && panel.description.len() > 30,
            "{title}"
        );
        assert!(
            !panel.unit.is_empty() && !panel.queries.is_empty(),
            "{title}"
        );
        // What ends in a unit is shown in it.
        for query in &panel.queries {
            let seconds = query.contains("_seconds_bucket") || query.contains("time()");
            assert_eq!(seconds, panel.unit == "s", "{title}: {query}");
            let bytes = query.contains("_bytes");
            assert_eq!(bytes, panel.unit == "bytes", "{title}: {query}");
        }
    }
}

#[test]
fn the_dashboard_comes_with_monitoring_and_where_it_is_found() {
    let Some(chart) = Chart::here() else {
        return;
    };
    let found = |values| {
        let objects = chart.objects(&values).unwrap();
        let found = objects
            .iter()
            .find(|it| it["metadata"]["name"] == "actpass-dashboard")?;
        Some(found["metadata"]["labels"].clone())
    };
    assert_eq!(found(json!({})), None);
    let labels = found(json!({"monitoring": {"enabled": true}})).unwrap();
    assert_eq!(labels["grafana_dashboard"], "1");
    let none =
        json!({"monitoring": {"enabled": true, "dashboardLabels": {"grafana_dashboard": null}}});
    assert_eq!(found(none), None);
}
