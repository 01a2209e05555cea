//! A whole ledger, with agents, on a disk that loses what was not synced, stalls, or is put back as it was.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use actpass_core::evidence::record::{Outcome, OutcomeResult};
use actpass_core::hash::sha256;
use actpass_core::verify::Class;
use actpass_ledger::ApiError;
use actpass_ledger::offline::{Files, Known, LogKey, TextKeys, verify_dir};
use actpass_ledger::storage::segment::{SEGMENT_BYTES_MIN, SegmentOptions};
use actpass_ledger::storage::{SegmentStorage, Storage as _};
use actpass_ledger::vault::Vault;
use actpass_sidecar::judge::{Judge, Judgement};
use actpass_tests::disk::Disk;
use actpass_tests::parts::{Agent, LOG_DIR, Parts, SHOP};
use actpass_tests::scaled;

const PAY: &str = r#"{"amount":"10.00"}"#;

/// A ledger's parts on a disk of segments.
fn parts(disk: &Disk) -> Parts {
    let mut parts = Parts::new(SHOP).unwrap();
    parts.segments = Some(disk.clone());
    parts
}

/// One request, done where it is permitted, and all of it in the log.
async fn act(agent: &Agent, method: &str, body: &str) -> String {
    let path = if method == "GET" { "/v1/x" } else { "/v1/pay" };
    let verdict = match agent.judge(method, path, body).await.unwrap() {
        Judgement::Permit(permit) => {
            agent.pep.outcome(Outcome {
                of: permit.of,
                result: OutcomeResult::Ok,
                status: Some(200),
                detail: None,
                micros: 1,
                response_bytes: 0,
            });
            "permit".to_owned()
        }
        Judgement::Deny(denial) => denial.code.into_owned(),
    };
    logged(agent).await;
    verdict
}

async fn logged(agent: &Agent) {
    let mut looks = 0..2_000;
    while agent.pep.standing().unacknowledged > 0 {
        assert!(looks.next().is_some(), "no answer");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A disk as it was, with what was answered by then and by the next.
struct Moment {
    disk: Disk,
    answered: usize,
    begun: usize,
}

/// What agents were answered on, and the disk at each step.
async fn history(parts: &Parts, disk: &Disk) -> (Vec<Vec<u8>>, Vec<Moment>) {
    disk.record();
    let mut moments = Vec::new();
    let mut answered = 0;
    let mut take = |leaves: usize| {
        moments.extend(disk.moments().into_iter().map(|disk| Moment {
            disk,
            answered,
            begun: leaves,
        }));
        answered = leaves;
    };
    let count = || parts.leaves().unwrap().len();
    let ledger = parts.ledger().await.unwrap();
    take(count());
    for _ in 0..2 {
        let agent = parts.agent().await.unwrap();
        take(count());
        for nth in 0..8 {
            let verdict = match nth % 3 {
                2 => act(&agent, "GET", "").await,
                _ => act(&agent, "POST", PAY).await,
            };
            assert!(
                ["permit", "limit_exceeded"].contains(&verdict.as_str()),
                "{verdict}"
            );
            take(count());
        }
        agent.close().await.unwrap();
        take(count());
    }
    ledger.stop().await;
    take(count());
    let leaves = parts.leaves().unwrap();
    let leaves = leaves
        .iter()
        .map(|leaf| leaf.canonical().unwrap())
        .collect();
    (leaves, moments)
}

/// Puts the files of a disk into a directory.
fn written(disk: &Disk, to: &Path) {
    fs::create_dir_all(to.join("segments")).unwrap();
    for (path, bytes) in disk.read_all() {
        let file = to.join(path.strip_prefix(LOG_DIR).unwrap());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
}

/// What one disk came to, once the real storage has mended it and the verifier has read it.
struct Came {
    leaves: u64,
    torn: bool,
    redecided: u64,
}

fn verified(parts: &Parts, vault: &Vault, disk: &Disk) -> Came {
    let dir = tempfile::tempdir().unwrap();
    written(disk, dir.path());
    let key = LogKey::Public(parts.log_key());
    let known = Known {
        keys: &[key],
        texts: TextKeys::Vault(vault),
        ..Known::default()
    };
    let before = verify_dir(dir.path(), &known).unwrap();
    let torn = matches!(before.files, Files::Torn(_));
    assert_ne!(before.class(), Class::Invalid, "{before:?}");
    let options = SegmentOptions {
        segment_bytes: 4 * SEGMENT_BYTES_MIN,
    };
    let storage = SegmentStorage::open(dir.path(), options).unwrap();
    assert_eq!(storage.recovery().is_some(), torn);
    drop(storage);
    let verified = verify_dir(dir.path(), &known).unwrap();
    let Some(log) = verified.logs.first() else {
        return Came {
            leaves: 0,
            torn,
            redecided: 0,
        };
    };
    assert_eq!(verified.class(), Class::Valid, "{verified:?}");
    assert_eq!(log.report.covered, log.report.leaves);
    Came {
        leaves: log.report.leaves,
        torn,
        redecided: log.report.redecided.same,
    }
}

/// Tells disks apart by what is on them.
fn fingerprint(disk: &Disk) -> Vec<[u8; 32]> {
    let files = disk.read_all().into_iter();
    files
        .map(|(path, bytes)| sha256(&[path.to_string_lossy().as_bytes(), &bytes]))
        .collect()
}

#[tokio::test]
async fn whatever_power_takes_the_log_verifies_with_all_that_agents_were_answered_on() {
    let disk = Disk::default();
    let parts = parts(&disk);
    let (leaves, moments) = history(&parts, &disk).await;
    let vault = parts.vault().unwrap();
    let want = scaled(400);
    let mut seen = BTreeSet::new();
    let (mut torn, mut redecided, mut kept) = (0, 0, 0);
    // In an order that gives each part of the history its share.
    for nth in 0..moments.len() * 64 {
        if seen.len() >= want as usize {
            break;
        }
        let moment = &moments[nth * 37 % moments.len()];
        let crashed = moment.disk.crash(nth as u64);
        if !seen.insert(fingerprint(&crashed)) {
            continue;
        }
        let came = verified(&parts, &vault, &crashed);
        let found = usize::try_from(came.leaves).unwrap();
        assert!(
            (moment.answered..=moment.begun).contains(&found),
            "{found} leaves, {} answered, {} begun",
            moment.answered,
            moment.begun
        );
        torn += u32::from(came.torn);
        redecided += came.redecided;
        kept += u32::from(found > moment.answered);
    }
    println!(
        "{} distinct disks of a ledger with {} leaves verified: {torn} with a group cut short, {kept} with more than was answered, \
         {redecided} intents decided again",
        seen.len(),
        leaves.len()
    );
    assert!(torn > 0 && kept > 0 && redecided > 0);
}

#[tokio::test]
async fn a_disk_put_back_as_it_was_is_refused() {
    let disk = Disk::default();
    let mut parts = parts(&disk);
    let (leaves, moments) = history(&parts, &disk).await;
    // Back to nothing, and to what each step found.
    let (mut refused, mut steps) = (BTreeSet::new(), BTreeSet::new());
    for moment in &moments {
        if moment.begun >= leaves.len() || !steps.insert(moment.begun) {
            continue;
        }
        parts.segments = Some(moment.disk.restart());
        let error = parts.ledger().await.unwrap_err();
        let said = format!("{error:#}");
        let known = ["was cut short to", "is gone"];
        assert!(known.iter().any(|it| said.contains(it)), "{said}");
        refused.insert(said);
    }
    println!("{} older copies refused", refused.len());
    assert!(refused.len() > 10, "{refused:?}");
    parts.segments = Some(disk.restart());
    let ledger = parts.ledger().await.unwrap();
    assert_eq!(
        act(&parts.agent().await.unwrap(), "GET", "").await,
        "permit"
    );
    ledger.stop().await;
}

#[tokio::test]
async fn a_disk_that_stalls_denies_and_loses_nothing_and_goes_on() {
    let disk = Disk::default();
    let parts = parts(&disk);
    let ledger = parts.ledger().await.unwrap();
    let agent = parts.agent().await.unwrap();
    assert_eq!(act(&agent, "POST", PAY).await, "permit");
    disk.stall();
    let waiting = disk.clone();
    let (verdict, behind) = tokio::join!(agent.verdict("POST", "/v1/pay", PAY), async {
        let awaited = tokio::task::spawn_blocking(move || waiting.awaited());
        awaited.await.unwrap();
        // Of a log that is there already: it changes nothing, and waits its turn.
        let origin = parts.leaves().unwrap()[0].h.log.clone();
        ledger.engine().make_log(&origin, BTreeMap::new()).await
    });
    assert_eq!(verdict.unwrap(), "ledger_unavailable");
    assert!(matches!(behind, Err(ApiError::Stalled)), "{behind:?}");
    assert!(
        !ledger.health().ready().await,
        "whoever asks is sent elsewhere"
    );
    disk.go_on();
    logged(&agent).await;
    let mut verdict = String::new();
    for _ in 0..100 {
        verdict = act(&agent, "POST", PAY).await;
        if verdict == "permit" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(verdict, "permit");
    agent.close().await.unwrap();
    parts.verified().unwrap();
    assert!(ledger.health().ready().await);
    ledger.stop().await;
}
