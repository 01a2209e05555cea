//! What goes on to an upstream with a request, and what of its answers: names that a header claims decide nothing, a lent key
//! arrives whatever a header says, and nothing is asked that the agent did not ask.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use actpass_core::evidence::record::Body;
use actpass_tests::parts::Parts;
use actpass_tests::proxied::{HOST, Heads, Proxied, SECRET, Script, ask};

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
      body: {format: JSON}
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
    - {name: pays, decision: Allow, allowIrreversible: true, capabilities: [shop.pay]}
"#;

fn done() -> Script {
    Arc::new(|_: &str, out: &mut dyn Write| {
        out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone")
    })
}

/// A request with these header lines.
fn request(line: &str, host: &str, more: &str) -> String {
    let body = if line.starts_with("POST") {
        r#"{"amount":"1.00"}"#
    } else {
        ""
    };
    let kind = if body.is_empty() {
        ""
    } else {
        "content-type: application/json\r\n"
    };
    let length = body.len();
    format!("{line} HTTP/1.1\r\nhost: {host}\r\n{kind}{more}content-length: {length}\r\n\r\n{body}")
}

/// The status of what is answered to one request.
async fn status(running: &Proxied, request: String) -> String {
    let request = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    answer(running, request)
        .await
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

async fn answer(running: &Proxied, request: String) -> String {
    let answer = ask(running.address, request).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The heads that arrived since the last time, in lower case.
fn taken(heads: &Heads) -> Vec<String> {
    let heads = std::mem::take(&mut *heads.lock().unwrap());
    heads.iter().map(|head| head.to_ascii_lowercase()).collect()
}

/// Reasons and targets of what was refused before it was an action.
fn refused(parts: &Parts) -> Vec<(String, String)> {
    let leaves = parts.leaves().unwrap();
    let records = leaves.iter().filter_map(|leaf| leaf.record());
    records
        .filter_map(|(record, _)| match &record.body {
            Body::Decision(judged) => judged.refusal.clone(),
            _ => None,
        })
        .map(|refusal| (refusal.code, refusal.target))
        .collect()
}

/// What proxies say to each other about whom a request was for and from, with another's name and address in it.
const CLAIMS: [&str; 16] = [
    "x-forwarded-host: leak.example",
    "x-forwarded-for: 127.0.0.1",
    "x-forwarded-proto: http",
    "x-forwarded-port: 80",
    "x-forwarded-server: leak.example",
    "x-forwarded-prefix: /v1/pay",
    "x-forwarded-path: /v1/pay",
    "x-forwarded-uri: /v1/pay",
    "x-forwarded-method: delete",
    "forwarded: for=127.0.0.1;host=leak.example;proto=http",
    "x-real-ip: 127.0.0.1",
    "x-host: leak.example",
    "x-original-host: leak.example",
    "x-envoy-original-dst-host: 169.254.169.254:80",
    "true-client-ip: 127.0.0.1",
    "via: 1.1 leak.example",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_header_claims_of_host_and_client_decides_nothing() {
    let running = Proxied::start(POLICY, done()).await.unwrap();
    let heads = running.heads.clone();
    for claim in CLAIMS {
        let more = format!("{claim}\r\n");
        for (line, passes_on) in [("GET /v1/a", true), ("POST /v1/pay/a", false)] {
            let said = status(&running, request(line, HOST, &more)).await;
            assert_eq!(said, "HTTP/1.1 200 OK", "{line}, {claim}");
            let [head] = taken(&heads).try_into().unwrap();
            let want = format!("{line} http/1.1\r\n").to_ascii_lowercase();
            assert!(head.starts_with(&want), "{claim}: {head}");
            assert!(
                head.contains(&format!("\r\nhost: {HOST}\r\n")),
                "{claim}: {head}"
            );
            assert_eq!(head.contains(claim), passes_on, "{claim}: {head}");
        }
        for (line, host) in [
            ("DELETE /v1/a", HOST),
            ("GET /v2/a", HOST),
            ("GET /v1/a", "leak.example"),
        ] {
            let claim = claim.replace("leak.example", HOST);
            let said = status(&running, request(line, host, &format!("{claim}\r\n"))).await;
            assert_eq!(said, "HTTP/1.1 403 Forbidden", "{line} of {host}, {claim}");
        }
        assert!(taken(&heads).is_empty(), "{claim}");
    }
    let parts = running.close().await.unwrap();
    let mut actions: Vec<_> = parts
        .permitted()
        .unwrap()
        .into_iter()
        .map(|(action, _)| action.digest())
        .collect();
    assert_eq!(actions.len(), 2 * CLAIMS.len());
    actions.sort();
    actions.dedup();
    assert_eq!(
        actions.len(),
        2,
        "each is the same action, whatever is claimed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lent_key_arrives_though_connection_names_it_and_the_agents_does_not() {
    let running = Proxied::start(POLICY, done()).await.unwrap();
    let heads = running.heads.clone();
    for connection in [
        "authorization",
        "close, Authorization",
        "keep-alive, authorization, x",
    ] {
        for line in ["GET /v1/a", "POST /v1/pay/a"] {
            let more = format!(
                "connection: {connection}, close\r\nauthorization: Bearer my_own_key\r\nx: y\r\n"
            );
            let said = answer(&running, request(line, HOST, &more)).await;
            assert!(
                said.starts_with("HTTP/1.1 200 OK"),
                "{line}, {connection}: {said}"
            );
            let [head] = taken(&heads).try_into().unwrap();
            let lent = format!("\r\nauthorization: bearer {SECRET}\r\n");
            assert_eq!(
                head.matches("authorization:").count(),
                1,
                "{connection}: {head}"
            );
            assert!(
                head.contains(&lent.to_ascii_lowercase()),
                "{connection}: {head}"
            );
            assert!(
                !head.contains("my_own_key") && !head.contains("\r\nconnection:"),
                "{head}"
            );
        }
    }
    running.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_told_and_not_followed() {
    const TO: [&str; 4] = [
        "https://leak.example/v1/a",
        "http://169.254.169.254/latest",
        "//leak.example/v1/a",
        "/v1/elsewhere",
    ];
    let redirects: Script = Arc::new(|first: &str, out: &mut dyn Write| {
        let mut parts = first.split(['/', ' ']).rev().skip(2);
        let to = parts
            .next()
            .and_then(|at| TO.get(at.parse::<usize>().ok()?));
        let status = parts.next().unwrap_or("302");
        let to = to.unwrap_or(&"/");
        write!(
            out,
            "HTTP/1.1 {status} Elsewhere\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
        )
    });
    let running = Proxied::start(POLICY, redirects).await.unwrap();
    let heads = running.heads.clone();
    for status in ["301", "302", "303", "307", "308"] {
        for (at, to) in TO.iter().enumerate() {
            for line in [
                format!("GET /v1/{status}/{at}"),
                format!("POST /v1/pay/{status}/{at}"),
            ] {
                let said = answer(&running, request(&line, HOST, "connection: close\r\n")).await;
                assert!(
                    said.starts_with(&format!("HTTP/1.1 {status} ")),
                    "{line}: {said}"
                );
                assert!(
                    said.contains(&format!("\r\nlocation: {to}\r\n")),
                    "{line}: {said}"
                );
                let [head] = taken(&heads).try_into().unwrap();
                assert!(
                    head.starts_with(&line.to_ascii_lowercase()),
                    "{line}: {head}"
                );
            }
        }
    }
    // An agent that does follow it asks for something else, here over the connection that it has.
    let next = status(&running, request("GET /v1/a", "leak.example", "")).await;
    assert_eq!(next, "HTTP/1.1 403 Forbidden");
    assert!(taken(&heads).is_empty());
    let parts = running.close().await.unwrap();
    let target = format!("GET {HOST}:443 as leak.example");
    assert_eq!(refused(&parts), [("host_mismatch".to_owned(), target)]);
}

/// Interim answers that are sent before one that counts.
const INTERIM: usize = 20_000;

/// Bytes of interim answers after which an upstream would be heard for ever: more than lies in all buffers on the way.
const ENDLESS_BYTES: usize = 256 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_are_passed_over_and_end_with_their_agent() {
    let (ended, end) = mpsc::channel();
    let floods: Script = Arc::new(move |first: &str, out: &mut dyn Write| {
        let early = b"HTTP/1.1 103 Early Hints\r\nlink: </leak>; rel=preload\r\n\r\n".repeat(100);
        if !first.contains("endless") {
            for _ in 0..INTERIM / 100 {
                out.write_all(&early)?;
            }
            return out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone");
        }
        let mut sent = 0;
        let result = loop {
            match out.write_all(&early).and_then(|()| out.flush()) {
                Ok(()) if sent < ENDLESS_BYTES => sent += early.len(),
                other => break other,
            }
        };
        ended.send(result.is_err()).ok();
        Err(std::io::Error::other("it is over"))
    });
    let running = Proxied::start(POLICY, floods).await.unwrap();
    let said = answer(
        &running,
        request("GET /v1/many", HOST, "connection: close\r\n"),
    )
    .await;
    assert!(
        said.starts_with("HTTP/1.1 200 OK") && said.ends_with("done"),
        "{said}"
    );
    assert!(!said.contains("103") && !said.contains("/leak"), "{said}");
    let address = running.address;
    let gone = tokio::task::spawn_blocking(move || {
        let mut agent = TcpStream::connect(address).unwrap();
        agent
            .write_all(request("GET /v1/endless", HOST, "").as_bytes())
            .unwrap();
        agent
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        assert!(
            agent.read(&mut [0]).is_err(),
            "nothing that counts was answered"
        );
        drop(agent);
        end.recv_timeout(Duration::from_secs(60)).unwrap()
    });
    assert!(gone.await.unwrap(), "whoever floods nobody is cut off");
    // Another one is served as before.
    let said = answer(
        &running,
        request("GET /v1/few", HOST, "connection: close\r\n"),
    )
    .await;
    assert!(said.ends_with("done"), "{said}");
    running.close().await.unwrap();
}
