//! Upstreams that answer in odd ways, behind a whole sidecar: what the agent gets, and what the log says became of it.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use actpass_core::evidence::record::{Body, Outcome, OutcomeResult};
use actpass_tests::parts::Parts;
use actpass_tests::proxied::{HOST, Proxied, SECRET, ask};
use jiff::{SignedDuration, Timestamp};

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

fn get(path: &str) -> String {
    format!("GET /v1/{path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n")
}

fn pay(path: &str, amount: &str) -> String {
    let body = format!("{{\"amount\":\"{amount}\"}}");
    format!(
        "POST /v1/pay/{path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn outcomes(parts: &Parts) -> Vec<Outcome> {
    let leaves = parts.leaves().unwrap();
    let records = leaves.iter().filter_map(|leaf| leaf.record());
    records
        .filter_map(|(record, _)| match &record.body {
            Body::Outcome(outcome) => Some(outcome.clone()),
            _ => None,
        })
        .collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lent_key_that_the_upstream_sends_back_does_not_reach_the_agent() {
    struct Case {
        path: &'static str,
        /// What the upstream writes, with a flush after each.
        given: &'static [&'static str],
        /// What the agent's answer begins with, and whether it is whole.
        want: (&'static str, bool),
    }
    let cases = [
        Case {
            path: "clean",
            given: &["HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}"],
            want: ("HTTP/1.1 200 OK", true),
        },
        Case {
            path: "ends-like-it",
            given: &[
                "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nkey sk_",
                "live",
            ],
            want: ("HTTP/1.1 200 OK", true),
        },
        Case {
            path: "header",
            given: &["HTTP/1.1 200 OK\r\nx-you-sent: Bearer SECRET\r\ncontent-length: 2\r\n\r\n{}"],
            want: ("HTTP/1.1 502 Bad Gateway", true),
        },
        Case {
            path: "body",
            given: &["HTTP/1.1 200 OK\r\ncontent-length: 31\r\n\r\nauthorizationSECRET"],
            want: ("", false),
        },
        Case {
            path: "two-chunks",
            given: &[
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\nkey sk_live\r\n",
                "b\r\n_0123456789\r\n0\r\n\r\n",
            ],
            want: ("HTTP/1.1 200 OK", false),
        },
        Case {
            path: "trailer",
            given: &[
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n2\r\n{}\r\n",
                "0\r\nx: SECRET\r\n\r\n",
            ],
            want: ("HTTP/1.1 200 OK", false),
        },
        Case {
            path: "reason-phrase",
            given: &["HTTP/1.1 200 SECRET\r\ncontent-length: 2\r\n\r\n{}"],
            want: ("HTTP/1.1 200 OK", true),
        },
    ];
    let answers: Vec<_> = cases.iter().map(|case| (case.path, case.given)).collect();
    let script = move |first: &str, to: &mut dyn Write| {
        let found = answers.iter().find(|(path, _)| first.contains(path));
        for part in found.unwrap().1 {
            to.write_all(part.replace("SECRET", SECRET).as_bytes())?;
            to.flush()?;
            // So that it arrives as a chunk of its own.
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    };
    let proxied = Proxied::start(POLICY, Arc::new(script)).await.unwrap();
    for Case { path, want, .. } in &cases {
        let answer = ask(proxied.address, get(path)).await.unwrap();
        let shown = String::from_utf8_lossy(&answer);
        assert!(!holds(&answer, SECRET), "{path}: {shown}");
        assert!(!holds(&answer, "sk_live_0"), "{path}: {shown}");
        assert!(shown.starts_with(want.0), "{path}: {shown}");
        if *path == "ends-like-it" {
            assert!(shown.ends_with("key sk_live"), "{path}: {shown}");
        }
    }
    let metrics = proxied.metrics();
    let counted = "actpass_sidecar_credential_echoes_total{upstream=\"shop\"} 4";
    assert!(metrics.contains(counted), "{metrics}");
    let parts = proxied.close().await.unwrap();
    let found: Vec<_> = outcomes(&parts)
        .into_iter()
        .map(|outcome| (outcome.result, outcome.detail.is_some()))
        .collect();
    let want: Vec<_> = cases
        .iter()
        .map(|case| match case.want {
            (answer, true) if !answer.contains("502") => (OutcomeResult::Ok, false),
            _ => (OutcomeResult::Ambiguous, true),
        })
        .collect();
    assert_eq!(found, want);
    parts.verified().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_that_runs_out_while_connecting_is_not_sent() {
    let asked = Arc::new(AtomicUsize::new(0));
    let served = asked.clone();
    let script = move |_: &str, to: &mut dyn Write| {
        served.fetch_add(1, Ordering::SeqCst);
        to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    };
    // The first look at the permit is in time, the second an hour later; then time is right again.
    let looked = AtomicUsize::new(0);
    let clock = move || match looked.fetch_add(1, Ordering::SeqCst) {
        1 => Timestamp::now() + SignedDuration::from_hours(1),
        _ => Timestamp::now(),
    };
    let proxied = Proxied::start_at(POLICY, Arc::new(script), Arc::new(clock)).await;
    let proxied = proxied.unwrap();
    for (path, status) in [("late", "502"), ("again", "200")] {
        let answer = ask(proxied.address, pay(path, "60.00")).await.unwrap();
        let shown = String::from_utf8_lossy(&answer);
        assert!(
            shown.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {shown}"
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the upstream got one");
    let parts = proxied.close().await.unwrap();
    let found: Vec<_> = outcomes(&parts)
        .iter()
        .map(|outcome| outcome.result)
        .collect();
    assert_eq!(found, [OutcomeResult::NotSent, OutcomeResult::Ok]);
    parts.verified().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_agent_does_not_wait_for_ends_as_it_ends() {
    struct Case {
        path: &'static str,
        status: u16,
        /// What the upstream does once the agent has gone.
        then: Then,
        want: OutcomeResult,
    }
    #[derive(Clone, Copy)]
    enum Then {
        Ends,
        Breaks,
        Hangs,
    }
    let case = |path, status, then, want| Case {
        path,
        status,
        then,
        want,
    };
    let cases = [
        case("ends", 200, Then::Ends, OutcomeResult::Ok),
        case("breaks", 200, Then::Breaks, OutcomeResult::Ambiguous),
        case("refused", 422, Then::Breaks, OutcomeResult::Failed),
        case("hangs", 200, Then::Hangs, OutcomeResult::Ambiguous),
    ];
    let (leave, left) = mpsc::channel();
    let left = Mutex::new(left);
    let answers: Vec<_> = cases
        .iter()
        .map(|case| (case.path, case.status, case.then))
        .collect();
    let script = move |first: &str, to: &mut dyn Write| {
        let (_, status, then) = answers
            .iter()
            .find(|(path, ..)| first.contains(path))
            .unwrap();
        write!(to, "HTTP/1.1 {status} X\r\ncontent-length: 10\r\n\r\nhalf")?;
        to.flush()?;
        left.lock().unwrap().recv().unwrap();
        match then {
            Then::Ends => to.write_all(b" whole"),
            Then::Breaks => Err(std::io::ErrorKind::ConnectionReset.into()),
            Then::Hangs => {
                std::thread::sleep(Duration::from_secs(60));
                Ok(())
            }
        }
    };
    let proxied = Proxied::start(POLICY, Arc::new(script)).await.unwrap();
    for case in &cases {
        hang_up_half_way(proxied.address, pay(case.path, "1.00")).await;
        let give_up = tokio::time::Instant::now() + Duration::from_secs(10);
        while !proxied.metrics().contains("open_connections 0") {
            assert!(tokio::time::Instant::now() < give_up, "{}", case.path);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        leave.send(()).unwrap();
    }
    let parts = proxied.close().await.unwrap();
    let mut found: Vec<_> = outcomes(&parts)
        .iter()
        .map(|outcome| (outcome.of, outcome.result))
        .collect();
    found.sort_unstable();
    let found: Vec<_> = found.into_iter().map(|(_, result)| result).collect();
    assert_eq!(found, cases.map(|case| case.want));
    parts.verified().unwrap();
}

/// Leaves once half of the answer is there.
async fn hang_up_half_way(address: SocketAddr, request: String) {
    let asking = tokio::task::spawn_blocking(move || {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let (mut answer, mut byte) = (Vec::new(), [0]);
        while !answer.ends_with(b"half") {
            socket.read_exact(&mut byte).unwrap();
            answer.extend_from_slice(&byte);
        }
    });
    asking.await.unwrap();
}
