use std::time::Duration;

use actpass_core::evidence::commitment::Opening;
use actpass_core::evidence::record::{Containment, Refusal, stream_id};
use actpass_core::hash::BundleDigest;
use actpass_core::wire::RecordLine;
use ed25519_dalek::SigningKey;
use tokio::time::{advance, timeout};

use super::*;

struct Home {
    recorder: Recorder,
    dir: tempfile::TempDir,
}

fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::from_bytes(&[7; 32]);
    let ring = Ring::create(&dir.path().join("ring"), &key).unwrap();
    let recorder = Recorder::new(stream_id(&key.verifying_key()), ring);
    Home { recorder, dir }
}

fn denied(target: &str) -> Judged {
    let code = "undeclared_name".to_owned();
    Judged {
        action: None,
        bundle: BundleDigest::from_bytes([1; 32]),
        containment: Containment::NetworkOnly,
        enforced: true,
        count: 1,
        detail: None,
        reason: Some(code.clone()),
        refusal: Some(Refusal {
            code,
            target: target.to_owned(),
        }),
        rules: Vec::new(),
        shadow: Vec::new(),
        verdict: "deny".to_owned(),
    }
}

impl Home {
    fn deny(&self, target: &str) -> u64 {
        let mut key = [0; 32];
        key[..target.len()].copy_from_slice(target.as_bytes());
        self.recorder
            .denial(key, denied(target), Openings::default())
            .unwrap()
    }

    /// A denial of an action, which is always named.
    fn deny_action(&self, detail: &str) {
        let judged = Judged {
            refusal: None,
            detail: Some(detail.to_owned()),
            ..denied("")
        };
        let key = actpass_core::hash::sha256(&[detail.as_bytes()]);
        self.recorder
            .denial(key, judged, Openings::default())
            .unwrap();
    }

    /// Sequence numbers, targets and counts of what waits to be sent, acknowledged as the ledger would.
    async fn sent(&self) -> Vec<(u64, String, u64)> {
        let none = Duration::from_millis(1);
        let Ok(Some(batch)) = timeout(none, self.recorder.next_batch()).await else {
            return Vec::new();
        };
        let last = batch.last().unwrap();
        self.recorder.acknowledge(last.seq + 1, last.hash).unwrap();
        batch.iter().map(shown).collect()
    }

    /// The same of the ring file.
    fn in_file(&self) -> usize {
        let recovered = Ring::recover(&self.dir.path().join("ring")).unwrap();
        recovered.lines.len()
    }
}

fn shown(queued: &Queued) -> (u64, String, u64) {
    let line: RecordLine = actpass_core::canonical::from_slice(&queued.line).unwrap();
    let Body::Decision(judged) = line.r.body else {
        panic!("{:?}", line.r)
    };
    let target = match judged.refusal {
        Some(refusal) => refusal.target,
        None => judged.detail.unwrap(),
    };
    (queued.seq, target, judged.count)
}

#[tokio::test(start_paused = true)]
async fn equal_denials_within_ten_seconds_are_two_records() {
    let home = home();
    assert_eq!(home.deny("a"), 0);
    assert_eq!(home.sent().await, [(0, "a".to_owned(), 1)], "at once");
    for _ in 0..40 {
        advance(Duration::from_millis(200)).await;
        assert_eq!(home.deny("a"), 0, "named by the record of the first");
    }
    assert_eq!(home.sent().await, [], "counted");
    assert_eq!(home.deny("b"), 1, "another denial is a record at once");
    assert_eq!(home.sent().await, [(1, "b".to_owned(), 1)]);

    let batch = timeout(Duration::from_secs(3), home.recorder.next_batch());
    let batch = batch.await.expect("whoever waits is woken").unwrap();
    assert_eq!(
        batch.iter().map(shown).collect::<Vec<_>>(),
        [(2, "a".to_owned(), 40)]
    );
    let last = batch.last().unwrap();
    home.recorder.acknowledge(last.seq + 1, last.hash).unwrap();

    assert_eq!(home.deny("a"), 3, "after ten seconds it begins anew");
    advance(Duration::from_secs(60)).await;
    assert_eq!(home.sent().await, [(3, "a".to_owned(), 1)]);
    advance(Duration::from_secs(60)).await;
    assert_eq!(home.sent().await, [], "nothing counted, nothing recorded");
}

#[tokio::test(start_paused = true)]
async fn no_denial_is_lost_when_the_stream_closes() {
    let home = home();
    for _ in 0..5 {
        home.deny("a");
        home.deny("b");
    }
    assert_eq!(home.in_file(), 2);
    home.recorder.close();
    assert_eq!(home.in_file(), 4, "also where nobody ships any more");
    let want = [(0, "a", 1), (1, "b", 1), (2, "a", 4), (3, "b", 4)];
    let want = want.map(|(seq, target, count)| (seq, target.to_owned(), count));
    assert_eq!(home.sent().await, want);
    assert_eq!(home.deny("c"), 4, "a late one is a record");
    assert_eq!(home.deny("c"), 5, "each time");
    assert_eq!(home.sent().await.len(), 2);
    assert!(home.recorder.next_batch().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn more_different_denied_actions_than_are_counted_are_records_each() {
    let home = home();
    for round in 0..2 {
        for number in 0..1_200 {
            home.deny_action(&number.to_string());
        }
        let mut records = Vec::new();
        while let batch @ [_, ..] = home.sent().await.as_slice() {
            records.extend_from_slice(batch);
        }
        let want = if round == 0 { 1_200 } else { 1_200 - 1_024 };
        assert_eq!(records.len(), want, "round {round}");
    }
    home.recorder.close();
    let counts = home.sent().await.len() + home.sent().await.len();
    assert_eq!(counts, 1_024);
}

#[tokio::test(start_paused = true)]
async fn reads_go_on_without_the_ledger_for_as_long_as_the_passport_says() {
    let home = home();
    let allowed = Duration::from_secs(30);
    let body = || Body::Decision(Box::new(denied("read")));
    assert_eq!(home.recorder.admit_read(allowed).await, Ok(()));
    home.recorder.record(body(), &Openings::default()).unwrap();
    home.recorder.ledger_away("the ledger does not answer");
    assert!(!home.recorder.standing().ledger_reachable);
    for (name, after, want) in [
        ("at once", 0, Ok(())),
        ("within the time", 29_999, Ok(())),
        ("at its end", 1, Ok(())),
        ("after it", 1, Err(NotAdmitted::Away)),
        ("long after it", 3_600_000, Err(NotAdmitted::Away)),
    ] {
        advance(Duration::from_millis(after)).await;
        assert_eq!(home.recorder.admit_read(allowed).await, want, "{name}");
        // Another failed try does not begin the time anew.
        home.recorder.ledger_away("the ledger does not answer");
    }
    let none = home.recorder.admit_read(Duration::ZERO).await;
    assert_eq!(none, Err(NotAdmitted::Away));
    assert_eq!(home.sent().await.len(), 1, "nothing is lost meanwhile");
    assert_eq!(
        home.recorder.admit_read(allowed).await,
        Ok(()),
        "the ledger is back"
    );
}

#[tokio::test(start_paused = true)]
async fn reads_wait_for_a_slow_ledger_and_are_denied_after_a_second() {
    let home = home();
    let allowed = Duration::from_secs(30);
    let body = || Body::Decision(Box::new(denied("read")));
    home.recorder.record(body(), &Openings::default()).unwrap();
    advance(UNACKNOWLEDGED_AGE_MAX).await;
    assert_eq!(home.recorder.admit_read(allowed).await, Ok(()), "not late");
    advance(Duration::from_millis(1)).await;
    let begun = Instant::now();
    let refused = home.recorder.admit_read(allowed).await;
    assert_eq!(refused, Err(NotAdmitted::Behind));
    assert_eq!(begun.elapsed(), ADMISSION_WAIT_MAX);
    let (admitted, _) = tokio::join!(home.recorder.admit_read(allowed), async {
        advance(Duration::from_millis(500)).await;
        home.sent().await
    });
    assert_eq!(admitted, Ok(()), "as soon as it has caught up");
    for _ in 0..UNACKNOWLEDGED_MAX {
        assert_eq!(home.recorder.admit_read(allowed).await, Ok(()));
        home.recorder.record(body(), &Openings::default()).unwrap();
    }
    let refused = home.recorder.admit_read(allowed).await;
    assert_eq!(refused, Err(NotAdmitted::Behind), "as many as may be");
}

/// Openings of one text of so many backslashes: four bytes each on the wire, as JSON inside JSON.
fn openings(backslashes: usize) -> Openings {
    let mut openings = Openings::default();
    let text = canonical::to_vec(&"\\".repeat(backslashes)).unwrap();
    let text = String::from_utf8(text).unwrap();
    let salt = [1; 32];
    openings.insert("headers", Opening { salt, text });
    openings
}

#[tokio::test(start_paused = true)]
async fn a_record_that_no_batch_holds_is_refused_and_the_stream_goes_on() {
    let home = home();
    let body = || Body::Decision(Box::new(denied("a")));
    let kept = home.recorder.record(body(), &openings(60_000));
    kept.expect("nearly a whole batch");
    for backslashes in [65_250, 200_000] {
        let refused = home.recorder.record(body(), &openings(backslashes));
        assert!(
            matches!(refused, Err(RecordError::TooLong(bytes)) if bytes > LINE_BYTES_MAX),
            "{backslashes}: {refused:?}"
        );
    }
    assert_eq!(home.deny("b"), 1, "the chain has not moved");
    let want = [(0, "a".to_owned(), 1), (1, "b".to_owned(), 1)];
    assert_eq!(home.sent().await, want);
    assert_eq!(home.sent().await, []);
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_makes_headway_with_any_line() {
    let home = home();
    home.deny("a");
    let mut queue: VecDeque<Queued> = home.recorder.next_batch().await.unwrap().into();
    queue[0].line = vec![b' '; BATCH_BYTES_MAX + 1].into();
    queue.push_back(queue[0].clone());
    assert_eq!(take_batch(&queue).len(), 1);
}

#[test]
fn a_line_that_no_batch_holds_makes_a_ring_file_unusable() {
    for (bytes, usable) in [(LINE_BYTES_MAX, true), (LINE_BYTES_MAX + 1, false)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let key = SigningKey::from_bytes(&[7; 32]);
        let stream = stream_id(&key.verifying_key());
        let mut ring = Ring::create(&path, &key).unwrap();
        let body = Body::Decision(Box::new(denied("a")));
        let record = Chain::new(stream)
            .next(body, Timestamp::UNIX_EPOCH)
            .unwrap();
        let line = |backslashes: usize, rest: usize| {
            let o = openings(backslashes);
            let mut line = RecordLine {
                o,
                r: record.record.clone(),
            };
            line.o.insert(
                "query",
                Opening {
                    salt: [1; 32],
                    text: "a".repeat(rest),
                },
            );
            canonical::to_vec(&line).unwrap()
        };
        let rest = bytes - line(60_000, 0).len();
        ring.append(0, &line(60_000, rest), false).unwrap();
        drop(ring);
        let (ring, left) = Ring::resume(&path).unwrap();
        assert_eq!(left.lines[0].len(), bytes);
        match Recorder::resume(ring, &left) {
            Ok(_) => assert!(usable, "{bytes}"),
            Err(ResumeError::TooLong(found)) => assert_eq!((found, usable), (bytes, false)),
            Err(error) => panic!("{bytes}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_over_addresses_is_counted_and_does_not_fill_the_ring() {
    let home = home();
    for number in 0..50_000 {
        home.deny(&format!("TCP to {number}"));
    }
    let mut records = [home.sent().await, home.sent().await].concat();
    assert_eq!(records.len(), 513);
    advance(Duration::from_secs(11)).await;
    home.deny("TCP to 1");
    records.extend(home.sent().await);
    let others: Vec<_> = records.iter().filter(|it| it.1 == "others").collect();
    assert_eq!(others.len(), 2, "the first of them, and how many more");
    let all: u64 = records.iter().map(|(_, _, count)| count).sum();
    assert_eq!(all, 50_001, "nothing is left out of the counts");
    assert_eq!(
        records.last().unwrap().1,
        "TCP to 1",
        "named again afterwards"
    );
}
