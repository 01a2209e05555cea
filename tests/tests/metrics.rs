//! Metrics of a running `actpass run`: shown on the host, out of reach from inside.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use actpass_tests::home::{Home, User, closed_shop};

/// Is denied a read and a name, then asks for the metrics' address and tries it from inside.
const AGENT: &str = r#"
curl -s -o /dev/null https://api.shop.example/v1/x
curl -s -o /dev/null https://other.example/
echo up; read address
curl -sk -m 5 -o /dev/null "https://$address/metrics" && echo reached || echo unreachable
"#;

fn scrape(address: &str) -> String {
    let url = format!("https://{address}/metrics");
    let output = Command::new("curl")
        .args(["-sk", "-m", "5", &url])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn both_parts_are_shown_on_the_host_and_not_inside() {
    let home = Home::new(User::own(), &closed_shop()).unwrap();
    let mut child = home
        .run(&["sh", "-c", AGENT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    let control = fs::read_to_string(home.path().join("state/control.json")).unwrap();
    let control: serde_json::Value = serde_json::from_str(&control).unwrap();
    let address = control["address"].as_str().unwrap().to_owned();

    let metrics = scrape(&address);
    for want in [
        "agent=\"reader\",capability=\"shop.read\",verdict=\"deny\",reason=\"rule_denies\",enforced=\"true\"} 1",
        "actpass_sidecar_decisions_total{verdict=\"deny\",reason=\"rule_denies\",effect=\"read\",enforced=\"true\"} 1",
        "actpass_sidecar_denied_names_total{reason=\"undeclared_name\"}",
        "actpass_sidecar_request_duration_seconds_count{answer=\"denied\"} 1",
        "actpass_sidecar_ledger_reachable 1",
    ] {
        assert!(metrics.contains(want), "{want} is not in\n{metrics}");
    }
    assert_eq!(metrics.matches("# EOF").count(), 1, "{metrics}");
    let expiry = metrics
        .lines()
        .find_map(|line| line.strip_prefix("actpass_sidecar_passport_expiry_timestamp_seconds "));
    assert!(expiry.unwrap().parse::<u64>().unwrap() > 1_700_000_000);

    writeln!(child.stdin.take().unwrap(), "{address}").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "unreachable");
    assert!(child.wait().unwrap().success());
}
