//! Bad requests over real connections, each one fault away from a good one: each is answered as its table says and is on
//! the record, and the upstream gets not a byte of it; without its fault it passes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of these tests stand outside their functions"
)]
#![cfg_attr(
    test,
    expect(
        dead_code,
        reason = "the shared table has parts for the reading of requests alone"
    )
)]

#[path = "../../sidecar/src/extract/tests/cases/mod.rs"]
mod cases;
#[path = "bad_requests/http2.rs"]
mod http2;
#[path = "bad_requests/wire.rs"]
mod wire;

use std::collections::BTreeMap;

use actpass_tests::agent;
use actpass_tests::books::Books;
use actpass_tests::home::{Home, records, text, users};
use actpass_tests::raw::{PREFACE, answers_of, header, streams};
use serde_json::{Value, json};

use cases::{Case, Req, Want};
use wire::{Wire, WireWant};

const HOST: &str = "api.shop.test";

/// A contained agent that sends what it is told.
struct Agent(agent::Agent);

/// What came back.
#[derive(Debug, Default)]
struct Answered {
    status: u16,
    code: String,
    detail: String,
    /// `STREAM/SEQ`.
    evidence: Option<String>,
    /// Error code of HTTP/2.
    reset: Option<u32>,
    ok: bool,
}

impl Agent {
    fn start(home: &Home, books: &Books) -> Self {
        Self(agent::Agent::start(home, HOST, books.port).unwrap())
    }

    /// Sends bytes on a connection of their own and gives the answers.
    fn send(&mut self, bytes: &[u8], answers: usize) -> Vec<Answered> {
        let http2 = bytes.starts_with(PREFACE);
        let alpn = if http2 { "h2" } else { "http/1.1" };
        let line = json!({ "host": HOST, "alpn": alpn, "answers": answers, "bytes": bytes });
        let said = self.0.tell(&line).unwrap();
        let read: Vec<u8> = serde_json::from_value(said.clone())
            .unwrap_or_else(|_| panic!("{said} to {}", String::from_utf8_lossy(bytes)));
        if http2 {
            return streams(&read)
                .into_iter()
                .filter(|stream| stream.ended)
                .map(|stream| Answered {
                    reset: stream.reset,
                    ..Answered::of(&stream.body)
                })
                .collect();
        }
        answers_of(&read, bytes.starts_with(b"HEAD "))
            .into_iter()
            .map(|answer| {
                let said = Answered::of(&answer.body);
                let evidence = header(&answer.head, "actpass-evidence").map(str::to_owned);
                Answered {
                    status: answer.status,
                    evidence: evidence.or(said.evidence),
                    ..said
                }
            })
            .collect()
    }

    fn one(&mut self, bytes: &[u8]) -> Answered {
        self.send(bytes, 1).pop().unwrap_or_default()
    }

    fn end(self) {
        self.0.end().unwrap();
    }
}

impl Answered {
    fn of(body: &[u8]) -> Self {
        let Ok(json) = serde_json::from_slice::<Value>(body) else {
            return Self::default();
        };
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        Self {
            status: json["status"].as_u64().unwrap_or(0).try_into().unwrap(),
            code: text("code"),
            detail: text("detail"),
            evidence: json["instance"]
                .as_str()
                .map(|it| it.replace("actpass:", "")),
            reset: None,
            ok: json["ok"] == true,
        }
    }
}

/// A request of the shared table as bytes. `marker` travels as User-Agent, which is always forwarded.
fn bytes_of(req: &Req, marker: &str) -> Vec<u8> {
    let mut bytes = format!(
        "{} {} HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: {marker}\r\n",
        req.method, req.target
    )
    .into_bytes();
    for (name, value) in &req.headers {
        bytes.extend(name.as_bytes());
        bytes.extend(b": ");
        bytes.extend(value);
        bytes.extend(b"\r\n");
    }
    if !req.body.is_empty() {
        bytes.extend(format!("content-length: {}\r\n", req.body.len()).into_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(&req.body);
    bytes
}

fn status_of(code: &str) -> u16 {
    match code {
        "unparsable" => 400,
        "body_too_large" => 413,
        _ => 403,
    }
}

/// The upstream, and the agent's directory with the policy for it.
fn shop() -> (Books, Home) {
    let books = Books::start(HOST).unwrap();
    let ca: Vec<String> = books
        .ca_pem
        .trim()
        .lines()
        .map(|line| format!("      {line}"))
        .collect();
    let policy = include_str!("bad_requests/shop.yaml").replace("CA_BUNDLE", &ca.join("\n"));
    let home = Home::new(*users().last().unwrap(), &policy).unwrap();
    (books, home)
}

/// What a case of the shared table comes to over a connection, where that differs from the reading alone.
fn over_http(case: &Case) -> Option<WireWant> {
    match (case.name, case.want) {
        // Not a request at all.
        (
            "path holds a raw blank"
            | "path holds raw NUL"
            | "target is nothing"
            | "query has a raw blank",
            _,
        ) => Some(WireWant::NotHttp(400)),
        // Taken off by the reading of HTTP; what is judged is what is forwarded.
        ("path holds a fragment", _) => Some(WireWant::Harmless("GET /v1/a HTTP/1.1\r\n")),
        ("query has a fragment", _) => Some(WireWant::Harmless("GET /v1/a?x=1 HTTP/1.1\r\n")),
        ("target is a whole URL", _) => Some(WireWant::Harmless("GET /v1/x HTTP/1.1\r\n")),
        ("judged header begins with a blank", _) => {
            Some(WireWant::Harmless("POST /v1/refunds HTTP/1.1\r\n"))
        }
        ("judged header ends with a tab", _) => Some(WireWant::Harmless(
            "GET /v1/charges/ch_1?expand[]=refunds&limit=3 HTTP/1.1\r\n",
        )),
        // No manifest may declare two actions alike.
        ("two actions match alike", _) => None,
        (_, Want::Refused(code, says)) => Some(WireWant::Refused(status_of(code), code, says)),
        (_, Want::Fault(fact, _)) => Some(WireWant::Refused(403, "declared_fact", fact)),
    }
}

/// A good request and a bad one, and what the bad one comes to.
struct Pair {
    name: &'static str,
    good: Vec<u8>,
    bad: Vec<u8>,
    want: WireWant,
}

/// All of them; the n-th carries the markers `good-n` and `bad-n`.
fn pairs() -> Vec<Pair> {
    let table = cases::all().into_iter().filter_map(|case| {
        let want = over_http(&case)?;
        let good = (case.base)();
        let mut bad = good.clone();
        (case.break_it)(&mut bad);
        Some(Pair {
            name: case.name,
            good: bytes_of(&good, "MARK"),
            bad: bytes_of(&bad, "MARK"),
            want,
        })
    });
    let wires = wire::all().into_iter().map(|it: Wire| Pair {
        name: it.name,
        good: it.good("MARK"),
        bad: it.bad("MARK"),
        want: it.want,
    });
    let marked = |bytes: &[u8], marker: &str| {
        let at = bytes.windows(4).position(|window| window == b"MARK");
        let (before, after) = bytes.split_at(at.unwrap_or(bytes.len()));
        [
            before,
            marker.as_bytes(),
            after.get(4..).unwrap_or_default(),
        ]
        .concat()
    };
    table
        .chain(wires)
        .enumerate()
        .map(|(at, pair)| Pair {
            good: marked(&pair.good, &format!("g{at:03}")),
            bad: marked(&pair.bad, &format!("b{at:03}")),
            ..pair
        })
        .collect()
}

/// Checks an answer; gives what must be on the record: the reason, by evidence where the answer names it.
fn check(pair: &Pair, answered: &Answered) -> (Option<String>, &'static str) {
    let Pair { name, want, .. } = pair;
    match *want {
        WireWant::Refused(status, code, says) => {
            assert_eq!(answered.status, status, "{name}: {answered:?}");
            // An answer to HEAD has no body.
            if !pair.bad.starts_with(b"HEAD ") {
                assert_eq!(answered.code, code, "{name}: {answered:?}");
                assert!(answered.detail.contains(says), "{name}: {answered:?}");
            }
            assert!(answered.evidence.is_some(), "{name}: {answered:?}");
            (answered.evidence.clone(), code)
        }
        WireWant::NotHttp(status) => {
            assert_eq!(answered.status, status, "{name}: {answered:?}");
            (None, "unparsable")
        }
        WireWant::Reset(error) => {
            assert_eq!(answered.reset, Some(error), "{name}: {answered:?}");
            (None, "")
        }
        WireWant::Broken(error) => {
            assert_eq!(answered.reset, Some(error), "{name}: {answered:?}");
            (None, "broken")
        }
        WireWant::Harmless(_) => {
            assert!(answered.ok, "{name}: {answered:?}");
            (None, "")
        }
    }
}

/// Cases that the table must not fall below.
const CASES_MIN: usize = 200;

#[test]
fn bad_requests_are_refused_and_recorded_and_no_byte_of_them_leaves() {
    let (books, home) = shop();
    let mut agent = Agent::start(&home, &books);
    let (harmless, bad): (Vec<Pair>, Vec<Pair>) = pairs()
        .into_iter()
        .partition(|pair| matches!(pair.want, WireWant::Harmless(_)));
    println!(
        "{} bad requests, {} harmless ones",
        bad.len(),
        harmless.len()
    );
    assert!(bad.len() >= CASES_MIN, "{} cases", bad.len());

    let expected: Vec<_> = bad
        .iter()
        .map(|pair| check(pair, &agent.one(&pair.bad)))
        .collect();
    let kept = books.take();
    assert_eq!(
        (kept.connections, kept.requests.len(), kept.rest.len()),
        (0, 0, 0),
        "{kept:?}"
    );

    for pair in &bad {
        let answered = agent.one(&pair.good);
        assert!(
            answered.ok,
            "{}, without its fault: {answered:?}",
            pair.name
        );
    }
    let kept = books.take();
    assert!(kept.rest.is_empty());
    let mut marks: Vec<&str> = kept
        .requests
        .iter()
        .filter_map(|(head, _)| header(head, "user-agent"))
        .collect();
    marks.sort_unstable();
    marks.dedup();
    assert_eq!(
        (marks.len(), kept.requests.len()),
        (bad.len(), bad.len()),
        "each good one arrives once"
    );

    for pair in &harmless {
        check(pair, &agent.one(&pair.bad));
        let (WireWant::Harmless(line), Some((head, _))) = (pair.want, books.take().requests.pop())
        else {
            panic!("{}: nothing arrived", pair.name)
        };
        assert!(head.starts_with(line), "{}: {head}", pair.name);
        assert!(
            header(&head, "transfer-encoding").is_none(),
            "{}: {head}",
            pair.name
        );
        assert!(
            head.matches("content-length").count() <= 1,
            "{}: {head}",
            pair.name
        );
    }
    agent.end();

    let verified = home.actpass(&["verify"]).output().unwrap();
    assert!(verified.status.success(), "{}", text(&verified));
    let records = records(&home.log().unwrap());
    let denied: BTreeMap<String, &str> = records
        .iter()
        .filter(|record| record["body"]["verdict"] == "deny")
        .map(|it| {
            (
                format!("{}/{}", it["stream"].as_str().unwrap(), it["seq"]),
                it["body"]["reason"].as_str().unwrap(),
            )
        })
        .collect();
    for (pair, (evidence, code)) in bad.iter().zip(&expected) {
        if let Some(evidence) = evidence {
            assert_eq!(
                denied.get(evidence),
                Some(code),
                "{}: its record",
                pair.name
            );
        }
    }
    let of = |code| expected.iter().filter(|it| **it == (None, code)).count();
    // Equal denials within ten seconds are one record with a count.
    let counted = |record: &&Value| record["body"]["count"].as_u64().unwrap_or(1) as usize;
    let on = |target: String| -> usize {
        let refused = records
            .iter()
            .filter(|it| it["body"]["refusal"]["target"] == target);
        refused
            .filter(|it| it["body"]["reason"] == "unparsable")
            .map(|it| counted(&it))
            .sum()
    };
    assert_eq!(
        on(format!("HTTP to {HOST}:443")),
        of("unparsable"),
        "what is no HTTP is on the record"
    );
    let named = expected.iter().filter(|it| it.0.is_some()).count();
    let all = named + of("unparsable") + of("broken");
    let denials = records
        .iter()
        .filter(|record| record["body"]["verdict"] == "deny");
    let denials: usize = denials.map(|it| counted(&it)).sum();
    assert_eq!(denials, all, "each denial is on the record once");
}

#[test]
fn behind_a_good_request_a_bad_one_is_refused_alone() {
    let (books, home) = shop();
    let mut agent = Agent::start(&home, &books);
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n{headers}\r\n").into_bytes()
    };
    let good = get("/v1/charges/ch_1", "");
    struct Case {
        name: &'static str,
        bad: Vec<u8>,
        status: u16,
        goes_on: bool,
    }
    let cases = [
        Case {
            name: "path climbs",
            bad: get("/v1/../x", ""),
            status: 403,
            goes_on: true,
        },
        Case {
            name: "host of another",
            bad: get("https://evil.test/v1/x", ""),
            status: 403,
            goes_on: true,
        },
        Case {
            name: "key twice",
            bad: get("/v1/x?a=1&a=2", ""),
            status: 403,
            goes_on: true,
        },
        Case {
            name: "folded header",
            bad: get("/v1/x", "a: b\r\n c\r\n"),
            status: 400,
            goes_on: false,
        },
        Case {
            name: "lengths that differ",
            bad: get("/v1/x", "content-length: 1\r\ncontent-length: 2\r\n"),
            status: 400,
            goes_on: false,
        },
        Case {
            name: "no request at all",
            bad: b"\0\r\n\r\n".to_vec(),
            status: 400,
            goes_on: false,
        },
    ];
    for Case {
        name,
        bad,
        status,
        goes_on,
    } in cases
    {
        // Between two good ones: what is no HTTP ends the connection, since nobody knows where the next would begin.
        let answered = agent.send(&[&good[..], &bad, &good].concat(), 3);
        let statuses: Vec<u16> = answered.iter().map(|it| it.status).collect();
        let want = if goes_on {
            vec![200, status, 200]
        } else {
            vec![200, status]
        };
        assert_eq!(statuses, want, "{name}");
        let kept = books.take();
        let passed = want.iter().filter(|it| **it == 200).count();
        assert_eq!(
            (kept.requests.len(), kept.rest.len()),
            (passed, 0),
            "{name}"
        );
        assert!(
            kept.requests
                .iter()
                .all(|(head, _)| head.starts_with("GET /v1/charges/ch_1 ")),
            "{name}: {kept:?}"
        );
    }
    // The body of the first is longer than it says: the rest is the next request, and no good one.
    let short = format!(
        "POST /v1/refunds HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/x-www-form-urlencoded\r\n\
        content-length: 20\r\n\r\ncharge=ch_1&amount=1200\r\n\r\n"
    );
    let statuses: Vec<u16> = agent
        .send(short.as_bytes(), 2)
        .iter()
        .map(|it| it.status)
        .collect();
    assert_eq!(statuses, [200, 400], "{short}");
    let (_, body) = books.take().requests.pop().unwrap();
    assert_eq!(
        body, b"charge=ch_1&amount=1",
        "judged and forwarded are the same bytes"
    );
    agent.end();
}
