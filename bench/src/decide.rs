//! The decision alone: one request read as an action and decided, without I/O.

use std::hint::black_box;
use std::time::Instant;

use actpass_core::bundle::Bundle;
use actpass_core::decide::{Verdict, decide as decide_action};
use actpass_sidecar::extract::{Principal, RawRequest, extract};
use anyhow::{Context, anyhow};
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;

use crate::policy;
use crate::sample::{Sample, micros};

/// Times each decision is taken.
const ROUNDS: usize = 20_000;

const HOST: &str = "api.payments.example";

/// A request and what becomes of it where no facts are at hand.
struct Case {
    name: &'static str,
    method: Method,
    target: &'static str,
    body: &'static [u8],
    want: &'static str,
}

/// Prints one line per request and size of policy.
pub(crate) fn decide() -> anyhow::Result<()> {
    println!(
        "| a decision, without I/O | rules | extract p50, µs | decide p50, µs | both p99, µs |"
    );
    println!("|---|---|---|---|---|");
    // The most a policy holds.
    for rules in [10, 100, 256] {
        let bundle = policy::bundle(HOST, 443, "", rules)?;
        for case in cases() {
            let (extracting, deciding, both) = measure(&bundle, &case).context(case.name)?;
            let row = [
                extracting.percentile(50),
                deciding.percentile(50),
                both.percentile(99),
            ];
            println!(
                "| {} | {rules} | {} |",
                case.name,
                row.map(micros).join(" | ")
            );
        }
    }
    Ok(())
}

fn cases() -> [Case; 3] {
    [
        Case {
            name: "read, permitted by the last rule",
            method: Method::GET,
            target: "/json",
            body: b"",
            want: "permit",
        },
        Case {
            name: "write of 300 B form, goes on to the ledger",
            method: Method::POST,
            target: "/json",
            body: FORM,
            want: "needs_facts",
        },
        Case {
            name: "read that no rule allows, denied",
            method: Method::GET,
            target: "/v1/resource3/acct_x",
            body: b"",
            want: "deny",
        },
    ]
}

const FORM: &[u8] = b"amount=1250&currency=eur&description=\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
    xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

fn measure(bundle: &Bundle, case: &Case) -> anyhow::Result<(Sample, Sample, Sample)> {
    let host = HOST.parse()?;
    let upstream = bundle
        .upstream_at(&host, 443)
        .ok_or_else(|| anyhow!("no upstream"))?;
    let passport = bundle
        .passport(policy::PASSPORT)
        .ok_or_else(|| anyhow!("no passport"))?;
    let mut headers = HeaderMap::new();
    if !case.body.is_empty() {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(http::header::CONTENT_TYPE, form);
    }
    let principal = Principal {
        tenant: policy::TENANT,
        passport: &passport.name,
        agent: &passport.agent_id,
    };
    let request = RawRequest {
        method: &case.method,
        target: case.target,
        headers: &headers,
        body: case.body,
        host: &host,
        port: 443,
    };
    let now = Timestamp::now();
    let (mut extracting, mut deciding, mut both) = <(Sample, Sample, Sample)>::default();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let action = extract(bundle, upstream, &principal, black_box(&request))
            .map_err(|refused| anyhow!("{}", refused.detail))?;
        let extracted = Instant::now();
        let decision = black_box(decide_action(bundle, passport, &action, None, now));
        let ended = Instant::now();
        let word = match decision.verdict() {
            Verdict::NeedsFacts => "needs_facts",
            verdict => verdict.word(),
        };
        if word != case.want {
            return Err(anyhow!("the verdict is {word}, not {}", case.want));
        }
        extracting.push(extracted - begun);
        deciding.push(ended - extracted);
        both.push(ended - begun);
    }
    Ok((extracting, deciding, both))
}
