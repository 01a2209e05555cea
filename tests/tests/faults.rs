//! Ledger and sidecar where something around them fails: what is not recorded does not happen, and nothing is lost.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use actpass_core::action::{Action, ActionEvidence};
use actpass_core::evidence::commitment::Openings;
use actpass_core::evidence::leaf::{EventBody, Leaf, StreamEnd};
use actpass_core::evidence::record::{
    Body, Chain, Note, Outcome, OutcomeResult, sign_batch, stream_id,
};
use actpass_core::wire::{AnswerLine, BatchEnd};
use actpass_ledger::storage::memory::Fault;
use actpass_sidecar::judge::{Judge, Judgement};
use actpass_sidecar::ledger_client::LedgerClient;
use actpass_sidecar::resume::{Resumed, resume};
use actpass_sidecar::ring::Ring;
use actpass_tests::parts::{Parts, SHOP, fresh_key};
use jiff::{SignedDuration, Timestamp};

const PAY: &str = r#"{"amount":"60.00"}"#;

fn policy(reads_without_ledger_seconds: u32) -> String {
    let limits = "windowSeconds: 86400}]\n";
    assert!(SHOP.contains(limits));
    let and = format!("{limits}  readsWithoutLedgerSeconds: {reads_without_ledger_seconds}\n");
    SHOP.replace(limits, &and)
}

fn parts(reads_without_ledger_seconds: u32) -> Parts {
    Parts::new(&policy(reads_without_ledger_seconds)).unwrap()
}

/// Verdict and reason of each record's leaf, with whether it is late.
fn rulings(leaves: &[Leaf]) -> Vec<String> {
    let records = leaves.iter().filter_map(Leaf::record);
    records
        .map(|(record, ruling)| {
            let verdict = format!("{:?}", ruling.verdict).to_lowercase();
            let reason = ruling.reason.clone().unwrap_or_default();
            let late = if ruling.late { " late" } else { "" };
            let kind = record.body.kind();
            format!("{kind} {verdict} {reason}{late}").trim().to_owned()
        })
        .collect()
}

fn ends(leaves: &[Leaf]) -> Vec<StreamEnd> {
    let events = leaves.iter().filter_map(Leaf::event);
    events
        .filter_map(|event| match event {
            EventBody::StreamEnded { how, .. } => Some(*how),
            _ => None,
        })
        .collect()
}

/// Outcome `ok` of a permit, as after it ran.
fn ran(agent: &actpass_tests::parts::Agent, judgement: Judgement) {
    let Judgement::Permit(permit) = judgement else {
        panic!("{judgement:?}")
    };
    agent.pep.outcome(Outcome {
        of: permit.of,
        result: OutcomeResult::Ok,
        status: Some(200),
        detail: None,
        micros: 1,
        response_bytes: 0,
    });
}

async fn resumed(parts: &Parts, ring: &Path) -> Resumed {
    resume(ring, parts.address(), parts.verifier())
        .await
        .unwrap()
}

#[tokio::test]
async fn what_a_killed_sidecar_recorded_reaches_the_log_later_and_its_stream_ends() {
    let parts = parts(300);
    let ledger = parts.ledger().await.unwrap();
    let agent = parts.agent().await.unwrap();
    ran(&agent, agent.judge("POST", "/v1/pay", PAY).await.unwrap());
    ledger.stop().await;
    for _ in 0..3 {
        ran(&agent, agent.judge("GET", "/v1/x", "").await.unwrap());
    }
    assert_eq!(
        agent.verdict("PUT", "/v1/x", "").await.unwrap(),
        "undeclared"
    );
    assert_eq!(
        agent.verdict("POST", "/v1/pay", PAY).await.unwrap(),
        "ledger_unavailable"
    );
    let before = parts.leaves().unwrap().len();
    let ring = agent.kill().await;

    let ledger = parts.ledger().await.unwrap();
    let left = Ring::recover(&ring).unwrap().lines.len();
    assert!((8..=9).contains(&left), "{left} records left");
    assert_eq!(
        resumed(&parts, &ring).await,
        Resumed::Ended { records: left }
    );
    assert_eq!(resumed(&parts, &ring).await, Resumed::Nothing, "once");
    let leaves = parts.leaves().unwrap();
    let came = rulings(&leaves[before..]);
    assert_eq!(
        came.iter().filter(|it| *it == "decision recorded").count(),
        4,
        "three reads and a denial: {came:?}"
    );
    // The intent nobody waits for was fresh enough to be permitted, or fitted no limit; then nothing is held.
    assert!(
        came.contains(&"intent deny limit_exceeded".to_owned()),
        "{came:?}"
    );
    assert_eq!(ends(&leaves), [StreamEnd::ExpiredTailKnown]);
    parts.verified().unwrap();
    ledger.stop().await;
}

#[tokio::test]
async fn a_permit_that_arrives_after_the_kill_was_never_used_and_gives_its_budget_back() {
    let parts = parts(300);
    let ledger = parts.ledger().await.unwrap();
    let agent = parts.agent().await.unwrap();
    ran(&agent, agent.judge("GET", "/v1/x", "").await.unwrap());
    ledger.stop().await;
    assert_eq!(
        agent.verdict("POST", "/v1/pay", PAY).await.unwrap(),
        "ledger_unavailable"
    );
    let ring = agent.kill().await;

    let ledger = parts.ledger().await.unwrap();
    assert!(matches!(
        resumed(&parts, &ring).await,
        Resumed::Ended { .. }
    ));
    let leaves = parts.leaves().unwrap();
    let came = rulings(&leaves);
    assert!(came.contains(&"intent permit".to_owned()), "{came:?}");
    let settled: Vec<_> = leaves
        .iter()
        .filter_map(|leaf| leaf.record()?.1.settles.clone())
        .collect();
    assert_eq!(settled.len(), 1, "{came:?}");
    assert_eq!(
        (settled[0].result, settled[0].released),
        (OutcomeResult::NotSent, true)
    );
    // 60 of 100 would not fit twice.
    let next = parts.agent().await.unwrap();
    assert_eq!(
        next.verdict("POST", "/v1/pay", PAY).await.unwrap(),
        "permit"
    );
    next.close().await.unwrap();
    parts.verified().unwrap();
    ledger.stop().await;
}

#[tokio::test]
async fn a_ring_of_before_a_restart_of_the_machine_is_sent_and_concludes_nothing() {
    let parts = parts(300);
    let ledger = parts.ledger().await.unwrap();
    let agent = parts.agent().await.unwrap();
    ledger.stop().await;
    assert_eq!(
        agent.verdict("POST", "/v1/pay", PAY).await.unwrap(),
        "ledger_unavailable"
    );
    let ring = agent.kill().await;
    // Where the file names the boot it is of.
    let file = std::fs::OpenOptions::new().write(true).open(&ring).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"another", 128).unwrap();

    let ledger = parts.ledger().await.unwrap();
    assert_eq!(resumed(&parts, &ring).await, Resumed::Sent { records: 1 });
    let leaves = parts.leaves().unwrap();
    assert_eq!(
        rulings(&leaves),
        ["intent permit"],
        "whether it ran, nobody knows"
    );
    assert_eq!(ends(&leaves), []);
    ledger.engine().end_open_streams().await.unwrap();
    let leaves = parts.leaves().unwrap();
    assert_eq!(ends(&leaves), [StreamEnd::ExpiredTailUnknown]);
    parts.verified().unwrap();
    ledger.stop().await;
}

#[tokio::test]
async fn late_decisions_and_outcomes_are_taken_and_late_intents_denied_also_without_a_passport() {
    let parts = parts(300);
    let ledger = parts.ledger().await.unwrap();
    let key = fresh_key().unwrap();
    let client = LedgerClient::new(parts.address(), &key).unwrap();
    let passport = parts.passport(&key.verifying_key(), 5).unwrap();
    client.open(&passport, 0).await.unwrap();

    let path = parts.dir.path().join("late.ring");
    let mut ring = Ring::create(&path, &key).unwrap();
    let mut chain = Chain::new(stream_id(&key.verifying_key()));
    let long_ago = Timestamp::now() - SignedDuration::from_secs(60);
    let note = Body::Note(Note {
        note: "started".to_owned(),
        text: String::new(),
    });
    let (judged, openings) = judged(&parts, 1);
    let outcome = Body::Outcome(Outcome {
        of: 1,
        result: OutcomeResult::Ok,
        status: None,
        detail: None,
        micros: 1,
        response_bytes: 0,
    });
    let none = Openings::default();
    for (body, openings) in [
        (note, &none),
        (Body::Decision(judged.clone()), &openings),
        (outcome, &none),
        (Body::Intent(judged), &openings),
    ] {
        let link = chain.next(body, long_ago).unwrap();
        let line = [
            b"{\"o\":".as_slice(),
            &actpass_core::canonical::to_vec(openings).unwrap(),
            b",\"r\":",
            &link.bytes,
            b"}",
        ];
        ring.append(link.record.seq, &line.concat(), false).unwrap();
    }
    drop(ring);
    for nth in 0.. {
        if client.open(&passport, 0).await.is_err() {
            break;
        }
        assert!(nth < 100, "its time does not end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(resumed(&parts, &path).await, Resumed::Ended { records: 4 });
    assert_eq!(
        rulings(&parts.leaves().unwrap()),
        [
            "note recorded  late",
            "decision recorded permit_without_ledger late",
            "outcome recorded  late",
            "intent deny passport_expired",
            "note recorded"
        ]
    );
    parts.verified().unwrap();
    ledger.stop().await;
}

/// A payment as a sidecar's record has it, permitted by nobody.
fn judged(parts: &Parts, salt: u8) -> (Box<actpass_core::evidence::record::Judged>, Openings) {
    let action = payment(parts);
    let (evidence, openings) = ActionEvidence::conceal(&action, &mut || [salt; 32]);
    let judged = actpass_core::evidence::record::Judged {
        action: Some(evidence),
        bundle: parts.bundle().digest(),
        containment: actpass_core::evidence::record::Containment::NetworkOnly,
        enforced: true,
        count: 1,
        detail: None,
        reason: None,
        refusal: None,
        rules: Vec::new(),
        shadow: Vec::new(),
        verdict: "permit".to_owned(),
    };
    (Box::new(judged), openings)
}

fn payment(parts: &Parts) -> Action {
    use actpass_sidecar::extract::{Principal, RawRequest, extract};
    let bundle = parts.bundle();
    let principal = Principal {
        tenant: &bundle.spec().tenant,
        passport: "clerk",
        agent: "clerk",
    };
    let mut headers = http::HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let host = "api.shop.example".parse().unwrap();
    let request = RawRequest {
        method: &http::Method::POST,
        target: "/v1/pay",
        headers: &headers,
        body: PAY.as_bytes(),
        host: &host,
        port: 443,
    };
    let upstream = bundle.upstream_at(&host, 443).unwrap();
    extract(bundle, upstream, &principal, &request).unwrap()
}

#[tokio::test]
async fn an_intent_that_reveals_nothing_is_denied_and_the_batch_goes_on() {
    let parts = parts(300);
    let ledger = parts.ledger().await.unwrap();
    let key = fresh_key().unwrap();
    let client = LedgerClient::new(parts.address(), &key).unwrap();
    let passport = parts.passport(&key.verifying_key(), 60).unwrap();
    client.open(&passport, 0).await.unwrap();
    let mut chain = Chain::new(stream_id(&key.verifying_key()));
    let (first, right) = judged(&parts, 1);
    let (_, wrong) = judged(&parts, 2);
    let mut batch = Vec::new();
    let mut last = None;
    for openings in [&wrong, &Openings::default(), &right] {
        let link = chain
            .next(Body::Intent(first.clone()), Timestamp::now())
            .unwrap();
        batch.extend_from_slice(b"{\"o\":");
        batch.extend_from_slice(&actpass_core::canonical::to_vec(openings).unwrap());
        batch.extend_from_slice(b",\"r\":");
        batch.extend_from_slice(&link.bytes);
        batch.extend_from_slice(b"}\n");
        last = Some(link.hash);
    }
    let end = BatchEnd {
        s: sign_batch(&key, &last.unwrap()),
        sent: Timestamp::now(),
        from: 0,
    };
    batch.extend_from_slice(&actpass_core::canonical::to_vec(&end).unwrap());
    let batch = bytes::Bytes::from(batch);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let answer = client.batch(batch.clone()).await.unwrap();
        let text = String::from_utf8(answer.to_vec()).unwrap();
        let lines: Vec<AnswerLine> = text
            .lines()
            .take(3)
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        answers.push(
            lines
                .iter()
                .map(|line| (line.reason.clone().unwrap_or_default(), line.leaf.clone()))
                .collect::<Vec<_>>(),
        );
    }
    let reasons: Vec<&str> = answers[0]
        .iter()
        .map(|(reason, _)| reason.as_str())
        .collect();
    assert_eq!(reasons, ["not_revealed", "not_revealed", ""]);
    assert_eq!(
        answers[0], answers[1],
        "the same batch again gets the same answers"
    );
    assert_eq!(
        rulings(&parts.leaves().unwrap()),
        [
            "intent deny not_revealed",
            "intent deny not_revealed",
            "intent permit"
        ]
    );
    parts.verified().unwrap();
    ledger.stop().await;
}

#[tokio::test]
async fn without_the_ledger_reads_go_on_for_a_while_writes_do_not_and_nothing_is_lost() {
    let parts = parts(1);
    let ledger = parts.ledger().await.unwrap();
    let agent = parts.agent().await.unwrap();
    ran(&agent, agent.judge("GET", "/v1/x", "").await.unwrap());
    ledger.stop().await;
    ran(&agent, agent.judge("GET", "/v1/x", "").await.unwrap());
    let begun = tokio::time::Instant::now();
    let mut reads = 2;
    let refused = loop {
        match agent.judge("GET", "/v1/x", "").await.unwrap() {
            permit @ Judgement::Permit(_) => ran(&agent, permit),
            Judgement::Deny(denial) => break denial,
        }
        reads += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(begun.elapsed() < Duration::from_secs(4), "reads go on");
    };
    assert!(
        begun.elapsed() > Duration::from_millis(900),
        "{reads} reads"
    );
    assert_eq!(refused.code, "evidence_behind");
    assert!(
        refused.detail.contains("readsWithoutLedgerSeconds"),
        "{}",
        refused.detail
    );
    assert_eq!(
        agent.verdict("POST", "/v1/pay", PAY).await.unwrap(),
        "ledger_unavailable"
    );

    let ledger = parts.ledger().await.unwrap();
    assert_eq!(permitted(&agent, "GET", "").await, "permit", "it is back");
    assert_eq!(
        permitted(&agent, "POST", PAY).await,
        "permit",
        "the earlier one holds nothing"
    );
    agent.close().await.unwrap();
    let came = rulings(&parts.leaves().unwrap());
    let taken = came.iter().filter(|it| *it == "decision recorded").count();
    assert!(
        taken > reads,
        "{taken} of {reads} reads and one more: {came:?}"
    );
    parts.verified().unwrap();
    ledger.stop().await;
}

/// The verdict once the ledger answers again; a sidecar looks for it every second at least.
async fn permitted(agent: &actpass_tests::parts::Agent, method: &str, body: &str) -> String {
    let path = if method == "GET" { "/v1/x" } else { "/v1/pay" };
    for _ in 0..40 {
        let verdict = agent.verdict(method, path, body).await.unwrap();
        if verdict != "evidence_behind" {
            return verdict;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    "evidence_behind".to_owned()
}

#[tokio::test]
async fn a_full_disk_denies_writes_and_says_so_until_there_is_space() {
    let parts = parts(300);
    let ledger = parts.ledger().await.unwrap();
    let agent = parts.agent().await.unwrap();
    let disk = parts.disk.clone();
    let full = tokio::spawn(async move {
        loop {
            disk.fail_after(0, Fault::NoSpace);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let Judgement::Deny(denial) = agent.judge("POST", "/v1/pay", PAY).await.unwrap() else {
        panic!("permitted without a durable record")
    };
    assert_eq!(denial.code, "ledger_unavailable");
    assert!(
        denial.detail.contains("the disk is full"),
        "{}",
        denial.detail
    );
    full.abort();
    assert!(full.await.unwrap_err().is_cancelled());
    // One failure may still be armed; the sidecar tries again, by itself.
    for _ in 0..40 {
        if rulings(&parts.leaves().unwrap()).len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(permitted(&agent, "POST", PAY).await, "permit");
    agent.close().await.unwrap();
    let came = rulings(&parts.leaves().unwrap());
    let want = ["intent permit", "outcome recorded", "intent permit"];
    assert_eq!(
        came, want,
        "the first was permitted when nobody waited, and not sent"
    );
    parts.verified().unwrap();
    ledger.stop().await;
}

#[tokio::test]
async fn a_ledger_that_cannot_write_its_log_permits_nothing_and_loses_nothing() {
    for fault in [
        Fault::BreakBefore,
        Fault::BreakAfter,
        Fault::UnknownLost,
        Fault::UnknownKept,
    ] {
        let parts = parts(300);
        let ledger = parts.ledger().await.unwrap();
        let agent = parts.agent().await.unwrap();
        ran(&agent, agent.judge("GET", "/v1/x", "").await.unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
        parts.disk.fail_after(0, fault);
        let asked = tokio::join!(agent.judge("POST", "/v1/pay", PAY), async {
            let told = tokio::time::timeout(Duration::from_secs(5), ledger.engine().poisoned());
            told.await.unwrap();
            ledger.stop().await;
            parts.ledger().await.unwrap()
        });
        let (Judgement::Permit(permit), ledger) = (asked.0.unwrap(), asked.1) else {
            panic!("{fault:?}: not permitted after the ledger's restart")
        };
        drop(permit);
        agent.close().await.unwrap();
        let came = rulings(&parts.leaves().unwrap());
        let want = ["decision recorded", "outcome recorded", "intent permit"];
        assert_eq!(came, want, "{fault:?}: once in the log");
        parts.verified().unwrap();
        ledger.stop().await;
    }
}

#[tokio::test]
async fn what_no_batch_holds_is_denied_on_the_record_and_the_stream_goes_on() {
    // As much as may be declared: 32 attributes and the resource, each of the one field.
    let attributes: Vec<_> = (0..32)
        .map(|at| format!("{{name: a{at}, from: body.big, type: String}}"))
        .collect();
    let declared = format!(
        "params: {{allow: [amount, big, query.q]}}\n      resource: {{from: body.big}}\n      attributes: [{}]",
        attributes.join(", ")
    );
    let policy = policy(30)
        .replace("path: /v1/pay}", "path: /v1/pay/**}")
        .replace("params: {allow: [amount]}", &declared);
    let parts = Parts::new(&policy).unwrap();
    let _ledger = parts.ledger().await.unwrap();
    let agent = parts.agent().await.unwrap();
    let pay = |big: &str| format!("{{\"amount\":\"60.00\",\"big\":\"{big}\"}}");
    // A control character is seven bytes as JSON inside JSON.
    let controls = "%01".repeat(2_700);
    let target = format!("/v1/pay/{}?q={controls}", "a".repeat(8_000));
    for (target, request, want) in [
        (
            target.as_str(),
            pay(&"\\u0001".repeat(1024)),
            "not_recorded",
        ),
        ("/v1/pay/a", pay("x"), "permit"),
    ] {
        let judging = agent.verdict("POST", target, &request);
        let judged = tokio::time::timeout(Duration::from_secs(10), judging).await;
        assert_eq!(judged.expect("it is answered").unwrap(), want);
    }
    let closing = tokio::time::timeout(Duration::from_secs(10), agent.close());
    closing.await.expect("the stream ends").unwrap();
    let leaves = parts.leaves().unwrap();
    let reasons: Vec<_> = leaves
        .iter()
        .filter_map(|leaf| match &leaf.record()?.0.body {
            Body::Decision(judged) => judged.reason.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, ["not_recorded"], "{:?}", rulings(&leaves));
    parts.verified().unwrap();
}

#[tokio::test]
async fn a_permit_that_arrives_as_the_agent_leaves_goes_back() {
    let parts = parts(30);
    let ledger = parts.ledger().await.unwrap();
    let agent = parts.agent().await.unwrap();
    let mut judging = Box::pin(agent.judge("POST", "/v1/pay", PAY));
    // Once, so that the ledger is asked, and never again: the answer is delivered and not looked at.
    let once = std::future::poll_fn(|context| Poll::Ready(judging.as_mut().poll(context)));
    assert!(once.await.is_pending());
    let give_up = tokio::time::Instant::now() + Duration::from_secs(10);
    while agent.pep.standing().unacknowledged > 0 {
        assert!(tokio::time::Instant::now() < give_up, "no answer");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(judging);
    // The limit holds one such payment.
    let again = agent.judge("POST", "/v1/pay", PAY).await.unwrap();
    ran(&agent, again);
    agent.close().await.unwrap();
    ledger.stop().await;
    let leaves = parts.leaves().unwrap();
    let outcomes: Vec<_> = leaves
        .iter()
        .filter_map(|leaf| match &leaf.record()?.0.body {
            Body::Outcome(outcome) => Some((outcome.of, outcome.result)),
            _ => None,
        })
        .collect();
    let want = [(0, OutcomeResult::NotSent), (2, OutcomeResult::Ok)];
    assert_eq!(outcomes, want);
    parts.verified().unwrap();
}
