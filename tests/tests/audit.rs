//! Under audit: what an agent sends reaches its upstream as it was sent, and the log says what would have become of it.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::io::Write;
use std::sync::Arc;

use actpass_core::evidence::leaf::{EventBody, Ruling, RulingVerdict};
use actpass_core::evidence::record::{Body, Judged};
use actpass_tests::parts::Parts;
use actpass_tests::proxied::{HOST, Proxied, SECRET, Script, ask};

const POLICY: &str = r#"apiVersion: actpass.org/v1alpha1
kind: Upstream
metadata: {name: shop}
spec:
  hosts: [api.shop.example]
  TLS
  credentials:
    - {name: shop, effects: [Read, Write, Irreversible], header: Authorization, format: "Bearer {secret}"}
  actions:
    - {name: read, match: {http: {method: GET, path: "/v1/**"}}, effect: Read}
    - name: pay
      match: {http: {method: POST, path: "/v1/pay/**"}}
      effect: Irreversible
      body: {format: JSON, maxBytes: 1024}
      params: {allow: [amount]}
      amount: {from: body.amount, unit: Major, currency: {const: USD}}
      meters: [{name: paid, from: Amount}]
---
apiVersion: actpass.org/v1alpha1
kind: Passport
metadata: {name: clerk}
spec:
  agentId: clerk
  owner: owner@example.com
  purpose: Read and pay
  scope: [{capability: shop.read}, {capability: shop.pay}]
  limits: [{meter: paid, unit: USD, max: "100.00", windowSeconds: 86400}]
---
apiVersion: actpass.org/v1alpha1
kind: ActionPolicy
metadata: {name: all}
spec:
  targetRefs: [{kind: Passport, name: clerk}]
  rules:
    - {name: reads, decision: Allow, capabilities: [shop.read]}
    - name: large
      decision: RequireApproval
      capabilities: [shop.pay]
      amounts: [{currency: USD, gt: "50.00"}]
      approval: {groups: [finance], expiresAfterSeconds: 1800}
    - {name: pays, decision: Allow, allowIrreversible: true, capabilities: [shop.pay]}
"#;

/// What the agent itself shows.
const MINE: &str = "authorization: Bearer my_own_key";

fn answers() -> Script {
    Arc::new(|first: &str, out: &mut dyn Write| {
        if first.contains("/v1/socket") {
            out.write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhello",
            )?;
            return Err(std::io::Error::other("it is no HTTP any more"));
        }
        out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
    })
}

fn request(line: &str, host: &str, more: &str, body: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{MINE}\r\nx-mine: 1\r\n{more}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn decisions(parts: &Parts) -> Vec<(Judged, Ruling)> {
    let leaves = parts.leaves().unwrap();
    let records = leaves.iter().filter_map(|leaf| leaf.record());
    records
        .filter_map(|(record, ruling)| match &record.body {
            Body::Decision(judged) | Body::Intent(judged) => {
                Some(((**judged).clone(), ruling.clone()))
            }
            Body::Outcome(_) | Body::Note(_) => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_reaches_its_upstream_with_the_agents_own_key_and_the_log_says_what_would_have_been()
 {
    struct Case {
        name: &'static str,
        given: String,
        /// What the ledger would have answered, or the code of what is no action.
        want: (&'static str, &'static str),
    }
    let json = "content-type: application/json\r\n";
    let pay = |amount: &str| {
        let body = format!("{{\"amount\":\"{amount}\"}}");
        request("POST /v1/pay/a", HOST, json, &body)
    };
    let long = format!("{{\"amount\":\"1\",\"note\":\"{}\"}}", "x".repeat(5_000));
    let case = |name, given, want| Case { name, given, want };
    let cases = [
        case(
            "an allowed read",
            request("GET /v1/orders?page=2", HOST, "", ""),
            ("permit", ""),
        ),
        case("an allowed payment", pay("40.00"), ("permit", "")),
        case(
            "one that people would be asked about",
            pay("60.00"),
            ("escalate", "approval_required"),
        ),
        case(
            "one within the limit by itself",
            pay("50.00"),
            ("permit", ""),
        ),
        case(
            "one over what is left of it",
            pay("20.00"),
            ("deny", "limit_exceeded"),
        ),
        case(
            "one without its amount",
            request("POST /v1/pay/a", HOST, json, "{}"),
            ("deny", "declared_fact"),
        ),
        case(
            "an undeclared field",
            request(
                "POST /v1/pay/a",
                HOST,
                json,
                "{\"amount\":\"1\",\"to\":\"me\"}",
            ),
            ("refused", "undeclared_parameter"),
        ),
        case(
            "an undeclared action",
            request("DELETE /v1/orders/7", HOST, "", ""),
            ("refused", "undeclared"),
        ),
        case(
            "one with a body that nobody declares",
            request("PUT /v1/orders/7", HOST, "", "new"),
            ("refused", "undeclared"),
        ),
        case(
            "a longer body than declared",
            request("POST /v1/pay/a", HOST, json, &long),
            ("refused", "body_too_large"),
        ),
        case(
            "another host in its head",
            request("GET /v1/orders", "elsewhere.example", "", ""),
            ("refused", "host_mismatch"),
        ),
    ];
    let running = Proxied::start_audited(POLICY, answers()).await.unwrap();
    let (address, heads) = (running.address, running.heads.clone());
    for (index, Case { name, given, .. }) in cases.iter().enumerate() {
        let answer = ask(address, given.clone()).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{name}: {answer}");
        assert!(answer.ends_with("done"), "{name}: {answer}");
        assert!(answer.contains("actpass-evidence: "), "{name}: {answer}");
        let heads = heads.lock().unwrap().clone();
        assert_eq!(heads.len(), index + 1, "{name} reached the upstream once");
        let head = heads[index].to_ascii_lowercase();
        let line = given.lines().next().unwrap().to_ascii_lowercase();
        assert!(head.starts_with(&line), "{name}: {head}");
        for sent in [MINE, "x-mine: 1"] {
            let sent = sent.to_ascii_lowercase();
            assert!(head.contains(&sent), "{name}: {head}");
        }
        assert!(!heads[index].contains(SECRET), "{name}: {head}");
    }
    let metrics = running.metrics();
    assert!(
        metrics.contains("actpass_sidecar_decisions_total{verdict=\"permit\",reason=\"none\",effect=\"read\",enforced=\"false\"} 1"),
        "{metrics}"
    );
    assert!(!metrics.contains("enforced=\"true\""), "{metrics}");
    let parts = running.close().await.unwrap();
    parts.verified().unwrap();
    let decisions = decisions(&parts);
    assert_eq!(decisions.len(), cases.len());
    for (Case { name, want, .. }, (judged, ruling)) in cases.iter().zip(&decisions) {
        assert!(!judged.enforced, "{name}");
        assert_eq!(ruling.verdict, RulingVerdict::Recorded, "{name}");
        assert!(
            ruling.reservations.is_empty() && ruling.credential.is_none(),
            "{name}"
        );
        let got = match (&judged.refusal, ruling.would) {
            (Some(refusal), None) => ("refused", refusal.code.as_str()),
            (_, would) => {
                let word = match would.unwrap() {
                    RulingVerdict::Permit => "permit",
                    RulingVerdict::Escalate => "escalate",
                    _ => "deny",
                };
                (word, ruling.reason.as_deref().unwrap_or_default())
            }
        };
        assert_eq!(got, *want, "{name}");
    }
    for leaf in parts.leaves().unwrap() {
        let lent = matches!(
            leaf.event(),
            Some(EventBody::Leased { .. } | EventBody::CredentialReleased { .. })
        );
        assert!(!lent, "nothing is lent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_upgrade_goes_through() {
    let running = Proxied::start_audited(POLICY, answers()).await.unwrap();
    let given = format!(
        "GET /v1/socket HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: echo\r\n{MINE}\r\n\r\n"
    );
    let answer = ask(running.address, given).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 101 Switching Protocols"),
        "{answer}"
    );
    assert!(answer.ends_with("hello"), "{answer}");
    let parts = running.close().await.unwrap();
    let decisions = decisions(&parts);
    let codes = decisions
        .iter()
        .map(|(judged, _)| judged.reason.clone().unwrap());
    assert_eq!(codes.collect::<Vec<_>>(), ["undeclared"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_answered_otherwise_opens_no_tunnel() {
    let running = Proxied::start_audited(POLICY, answers()).await.unwrap();
    let heads = running.heads.clone();
    let upgrade = format!(
        "GET /v1/orders HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: echo\r\n{MINE}\r\n\r\n"
    );
    // Bytes of no protocol, and such as an upstream would take for a request.
    let raw = "\0\x01raw bytes\r\n\r\n";
    let hidden = request("DELETE /v1/orders/7", HOST, "", "");
    for (behind, statuses) in [
        (raw, vec!["200", "400"]),
        (hidden.as_str(), vec!["200", "200"]),
    ] {
        heads.lock().unwrap().clear();
        let answer = ask(running.address, format!("{upgrade}{behind}"))
            .await
            .unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let lines = answer.split("HTTP/1.1 ").skip(1);
        let got: Vec<&str> = lines.filter_map(|it| it.get(..3)).collect();
        assert_eq!(got, statuses, "{answer}");
        assert!(answer.contains("\r\n\r\ndone"), "{answer}");
        let heads = heads.lock().unwrap().clone();
        let arrived = statuses.iter().filter(|it| **it == "200").count();
        assert_eq!(heads.len(), arrived, "{heads:?}");
        assert!(heads.iter().all(|head| !head.contains("raw")), "{heads:?}");
    }
    let parts = running.close().await.unwrap();
    let decisions = decisions(&parts);
    let codes = decisions
        .iter()
        .map(|(judged, _)| judged.reason.clone().unwrap());
    // What stands behind was read as a request, with a decision of its own.
    let codes: Vec<_> = codes.collect();
    assert_eq!(
        codes,
        ["undeclared", "unparsable", "undeclared", "undeclared"]
    );
}
