//! Several ledgers over one PostgreSQL, while it is killed, stopped where it is, cut off or replaced by its standby: limits hold at
//! every place of the log, nothing is permitted twice, and what was answered before something was asked stands before it.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actpass_core::evidence::leaf::{EventBody, Leaf};
use actpass_ledger::storage::PostgresStorage;
use actpass_ledger::{ApiError, Ledger};
use actpass_tests::actpass;
use actpass_tests::parts::{Agent, Parts, SHOP};
use actpass_tests::postgres::{Postgres, config_at};
use actpass_tests::scaled;
use actpass_tests::several::{Clock, Door, Permitted, consistent_with_time, most_used, pays};
use actpass_tests::wire::Wire;
use tokio::task::JoinSet;

/// Far more than it takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(500);

const PAY: &str = r#"{"amount":"1.00"}"#;

/// Parts whose log is in that server, with room for so many payments.
async fn parts(server: &Postgres, max: usize) -> Parts {
    let policy = SHOP.replace("100.00", &format!("{max}.00"));
    let mut parts = Parts::new(&policy).unwrap();
    parts.server = Some(server.config().unwrap());
    parts.ledger().await.unwrap().stop().await;
    parts
}

/// A ledger that reaches the server by that way only.
fn replica(parts: &Parts, wire: &Wire) -> Ledger {
    let begun = Instant::now();
    loop {
        let storage = PostgresStorage::open(config_at(wire.port()).unwrap());
        let ledger = storage
            .map_err(Into::into)
            .and_then(|storage| parts.replica_over(Box::new(storage)));
        match ledger {
            Ok(ledger) => return ledger,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error:#}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An agent whose stream is open: as a sidecar does, it asks until a ledger takes it.
async fn agent(parts: &Parts, door: &Door) -> Agent {
    let begun = Instant::now();
    loop {
        match parts.agent_at(door.address).await {
            Ok(agent) => return agent,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error:#}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Each fault, in turn.
async fn fault(
    nth: usize,
    parts: &Parts,
    server: &mut Postgres,
    wires: &[Wire],
    replicas: &mut [Ledger],
    door: &Door,
) {
    let at = nth / 5 % replicas.len();
    match nth % 5 {
        0 => wires[at].cut(),
        1 => {
            wires[at].hold(true);
            tokio::time::sleep(Duration::from_millis(300)).await;
            wires[at].cut();
            wires[at].hold(false);
        }
        2 => {
            let new = replica(parts, &wires[at]);
            door.cut(at, new.address());
            std::mem::replace(&mut replicas[at], new).stop().await;
        }
        3 => {
            server.freeze(true).unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            server.freeze(false).unwrap();
        }
        _ => {
            server.kill().unwrap();
            server.resume().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_ledgers_over_one_postgres_are_as_one_whatever_is_killed_or_cut_off() {
    let room = usize::try_from(scaled(4_000)).unwrap().max(800);
    let mut server = Postgres::start().unwrap();
    let parts = Arc::new(parts(&server, room).await);
    let mut wires = Vec::new();
    for _ in 0..3 {
        wires.push(Wire::to(server.port()).await);
    }
    let mut replicas: Vec<Ledger> = wires.iter().map(|wire| replica(&parts, wire)).collect();
    let door = Door::open(replicas.iter().map(Ledger::address)).await;
    let clock = Arc::new(Clock::default());
    let mut agents = Vec::new();
    for _ in 0..scaled(64).max(12) {
        agents.push(agent(&parts, &door).await);
    }
    let mut clients = JoinSet::new();
    for agent in agents {
        let clock = clock.clone();
        clients.spawn(async move {
            let permitted = pays(&agent, &clock).await;
            agent.close().await.unwrap();
            permitted
        });
    }
    let (mut permitted, mut faults, begun): (Vec<Permitted>, _, _) =
        (Vec::new(), 0_usize, Instant::now());
    while let Some(joined) = {
        tokio::select! {
            joined = clients.join_next() => joined.map(Some),
            () = tokio::time::sleep(Duration::from_millis(60)) => Some(None),
        }
    } {
        assert!(begun.elapsed() < PATIENCE, "clients that never end");
        match joined {
            Some(joined) => permitted.extend(joined.unwrap()),
            None => {
                fault(faults, &parts, &mut server, &wires, &mut replicas, &door).await;
                faults += 1;
            }
        }
    }
    for replica in replicas {
        replica.stop().await;
    }
    let leaves = parts.leaves().unwrap();
    consistent_with_time(&mut permitted, &leaves);
    assert_eq!(most_used(&leaves), i64::try_from(room).unwrap());
    assert!(
        faults >= usize::try_from(scaled(20)).unwrap().max(5),
        "too little went wrong in so short a time: {faults}"
    );
    parts.verified().unwrap();
    println!(
        "{} permits told, {} leaves of three ledgers, {faults} faults in {:?}",
        permitted.len(),
        leaves.len(),
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_stands_still_is_answered_late_and_goes_on_after() {
    let server = Postgres::start().unwrap();
    let parts = parts(&server, 100).await;
    let ledger = parts.replica().unwrap();
    let agent = parts.agent_at(ledger.address()).await.unwrap();
    assert_eq!(
        agent.verdict("POST", "/v1/pay", PAY).await.unwrap(),
        "permit"
    );
    server.freeze(true).unwrap();
    let log = parts.verifier().name().to_owned();
    let late = ledger.engine().make_log(&log, BTreeMap::new()).await;
    assert!(matches!(late, Err(ApiError::Stalled)), "{late:?}");
    let denied = agent.verdict("POST", "/v1/pay", PAY).await.unwrap();
    assert_ne!(denied, "permit");
    server.freeze(false).unwrap();
    let begun = Instant::now();
    while agent.verdict("POST", "/v1/pay", PAY).await.unwrap() != "permit" {
        assert!(begun.elapsed() < PATIENCE, "it does not go on");
    }
    agent.close().await.unwrap();
    ledger.stop().await;
    parts.verified().unwrap();
}

/// A primary that answers only once its standby has it, and the standby.
fn pair() -> (Postgres, Postgres) {
    let primary = Postgres::start().unwrap();
    let standby = primary.standby("second", "").unwrap();
    (primary, standby)
}

fn sql_until(server: &Postgres, statement: &str, wanted: &str) {
    let begun = Instant::now();
    while server.sql(statement).ok().as_deref() != Some(wanted) {
        assert!(
            begun.elapsed() < PATIENCE,
            "{statement} never says {wanted}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_standby_that_every_commit_waited_for_takes_over_without_loss() {
    let (mut primary, standby) = pair();
    primary
        .sql("ALTER SYSTEM SET synchronous_standby_names = 'second'")
        .unwrap();
    primary.sql("SELECT pg_reload_conf()").unwrap();
    sql_until(
        &primary,
        "SELECT sync_state FROM pg_stat_replication",
        "sync",
    );
    let room = 300;
    let mut parts = parts(&primary, room).await;
    let wire = Wire::to(primary.port()).await;
    parts.server = Some(config_at(wire.port()).unwrap());
    let ledgers = [replica(&parts, &wire), replica(&parts, &wire)];
    let clock = Arc::new(Clock::default());
    let mut clients = JoinSet::new();
    for at in 0..8 {
        let agent = parts.agent_at(ledgers[at % 2].address()).await.unwrap();
        let clock = clock.clone();
        clients.spawn(async move {
            let permitted = pays(&agent, &clock).await;
            agent.close().await.unwrap();
            permitted
        });
    }
    sql_until(&primary, "SELECT size > 60 FROM actpass.head", "t");
    primary.kill().unwrap();
    standby.promote().unwrap();
    wire.lead_to(standby.port());
    let joined = tokio::time::timeout(PATIENCE, clients.join_all()).await;
    let mut permitted: Vec<Permitted> = joined.unwrap().into_iter().flatten().collect();
    for ledger in ledgers {
        ledger.stop().await;
    }
    parts.server = Some(standby.config().unwrap());
    let leaves = parts.leaves().unwrap();
    consistent_with_time(&mut permitted, &leaves);
    assert_eq!(most_used(&leaves), i64::try_from(room).unwrap());
    parts.verified().unwrap();
}

/// What a wait that somebody cancels leaves: a commit on the primary only, which nobody is answered on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_reached_no_standby_is_answered_on_by_nobody() {
    let (primary, mut standby) = pair();
    primary
        .sql("ALTER SYSTEM SET synchronous_standby_names = 'second'")
        .unwrap();
    primary.sql("SELECT pg_reload_conf()").unwrap();
    sql_until(
        &primary,
        "SELECT sync_state FROM pg_stat_replication",
        "sync",
    );
    let parts = parts(&primary, 100).await;
    let ledger = parts.replica().unwrap();
    let agent = parts.agent_at(ledger.address()).await.unwrap();
    assert_eq!(
        agent.verdict("POST", "/v1/pay", PAY).await.unwrap(),
        "permit"
    );
    let before = primary.sql("SELECT size FROM actpass.head").unwrap();
    standby.stop().unwrap();
    let cancels = async {
        // Who cancels a wait makes what is committed here seen, though it is nowhere else.
        for _ in 0..40 {
            let cancel =
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            primary.sql(cancel).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (verdict, ()) = tokio::join!(agent.verdict("POST", "/v1/pay", PAY), cancels);
    assert_ne!(verdict.unwrap(), "permit");
    let after = primary.sql("SELECT size FROM actpass.head").unwrap();
    assert_ne!(before, after, "it is committed there");
    standby.resume().unwrap();
    let begun = Instant::now();
    while agent.verdict("POST", "/v1/pay", PAY).await.unwrap() != "permit" {
        assert!(begun.elapsed() < PATIENCE, "it does not go on");
    }
    agent.close().await.unwrap();
    ledger.stop().await;
    parts.verified().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_standby_that_lost_what_was_answered_is_found_and_nothing_is_permitted_on_it() {
    let (mut primary, mut standby) = pair();
    let mut parts = parts(&primary, 100).await;
    let wire = Wire::to(primary.port()).await;
    parts.server = Some(config_at(wire.port()).unwrap());
    let ledger = parts.ledger().await.unwrap();
    let agent = parts.agent().await.unwrap();
    assert_eq!(
        agent.verdict("POST", "/v1/pay", PAY).await.unwrap(),
        "permit"
    );
    let count = "SELECT size FROM actpass.head";
    sql_until(&standby, count, &primary.sql(count).unwrap());
    standby.stop().unwrap();
    for _ in 0..3 {
        assert_eq!(
            agent.verdict("POST", "/v1/pay", PAY).await.unwrap(),
            "permit"
        );
    }
    primary.kill().unwrap();
    standby.resume().unwrap();
    standby.promote().unwrap();
    wire.lead_to(standby.port());
    // Whoever had seen the end of the log: a ledger that goes on, the head kept in its file, and a sidecar.
    let mut verdicts = Vec::new();
    let stops = tokio::time::timeout(PATIENCE, ledger.engine().poisoned());
    let (stopped, verdict) = tokio::join!(stops, agent.verdict("POST", "/v1/pay", PAY));
    stopped.unwrap();
    verdicts.push(verdict.unwrap());
    ledger.stop().await;
    let refused = format!("{:#}", parts.ledger().await.err().unwrap());
    assert!(refused.contains("cut short"), "{refused}");
    // Without that file a ledger starts, and the sidecar is what is left.
    std::fs::remove_file(parts.dir.path().join("head")).unwrap();
    let ledger = parts.ledger().await.unwrap();
    for _ in 0..3 {
        verdicts.push(agent.verdict("POST", "/v1/pay", PAY).await.unwrap());
    }
    assert!(!verdicts.contains(&"permit".to_owned()), "{verdicts:?}");
    assert!(
        agent.close().await.is_err(),
        "it shows what it was answered"
    );
    ledger.stop().await;
    println!("a sidecar that had seen more was told {verdicts:?}");
}

/// The log as people and programs of others ask for it, of any of the ledgers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_ledger_shows_all_of_the_log() {
    let server = Postgres::start().unwrap();
    let parts = parts(&server, 10_000).await;
    let (one, two) = (parts.replica().unwrap(), parts.replica().unwrap());
    let agent = parts.agent_at(one.address()).await.unwrap();
    // More than one bundle of 256 leaves.
    for _ in 0..150 {
        assert_eq!(
            agent.verdict("POST", "/v1/pay", PAY).await.unwrap(),
            "permit"
        );
    }
    agent.close().await.unwrap();
    let leaves = parts.leaves().unwrap();
    assert!(leaves.len() > 150, "{}", leaves.len());
    let file = parts.dir.path().join("exported");
    let ask = async |path: &str| {
        let url = format!("https://{}/v1/{path}", two.address());
        let (to, url) = (file.clone(), url);
        tokio::task::spawn_blocking(move || {
            let asked = Command::new("curl")
                .args([
                    "-sSkf",
                    "-m",
                    "20",
                    "-H",
                    "authorization: Bearer token",
                    "-o",
                ])
                .arg(&to)
                .arg(&url)
                .status();
            assert!(asked.unwrap().success(), "{url}");
            std::fs::read(&to).unwrap()
        })
        .await
        .unwrap()
    };
    let events = ask("events").await;
    assert_eq!(
        events.iter().filter(|byte| **byte == b'\n').count(),
        leaves.len()
    );
    ask("export").await;
    let verified = Command::new(actpass())
        .arg("verify")
        .arg(&file)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let log = "logs/local%2Fdefault%2F1";
    let last = leaves.len() - 1;
    let width = leaves.len().min(256);
    let partial = if width < 256 {
        format!(".p/{width}")
    } else {
        String::new()
    };
    let bundle = ask(&format!("{log}/tile/entries/000{partial}")).await;
    let hashes = ask(&format!("{log}/tile/0/000{partial}")).await;
    let (mut left, mut entries) = (&bundle[..], 0);
    while let [high, low, rest @ ..] = left {
        let (entry, rest) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        let hash = actpass_ledger::storage::leaf_hash(entry);
        assert_eq!(hash[..], hashes[entries * 32..][..32]);
        (left, entries) = (rest, entries + 1);
    }
    assert_eq!(entries, width);
    let proof = String::from_utf8(ask(&format!("{log}/proof/{last}")).await).unwrap();
    assert!(proof.contains(&format!("index {last}\n")), "{proof}");
    // What is not what was written does not leave it, and is told by breaking off.
    server
        .sql("UPDATE actpass.batch SET leaves = set_byte(leaves, 20, get_byte(leaves, 20) # 1) WHERE nth = 3")
        .unwrap();
    let url = format!("https://{}/v1/export", two.address());
    let asked = Command::new("curl")
        .args([
            "-sSkf",
            "-m",
            "20",
            "-H",
            "authorization: Bearer token",
            "-o",
        ])
        .arg(&file)
        .arg(&url)
        .status();
    assert!(!asked.unwrap().success(), "it looks whole");
    for ledger in [one, two] {
        ledger.stop().await;
    }
}

/// What the log says was handed out of it: the first and the last leaf of each time.
fn handed_out(parts: &Parts) -> Vec<(u64, u64)> {
    let leaves = parts.leaves().unwrap();
    let of = |leaf: &Leaf| match leaf.event() {
        Some(EventBody::TextsDisclosed { leaves, .. }) => Some((leaves[0].first, leaves[0].last)),
        _ => None,
    };
    leaves.iter().filter_map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn texts_are_disclosed_by_any_ledger_and_one_that_breaks_off_has_told_of_it_before() {
    let server = Postgres::start().unwrap();
    let parts = parts(&server, 10_000).await;
    let (one, two) = (parts.replica().unwrap(), parts.replica().unwrap());
    let agent = parts.agent_at(one.address()).await.unwrap();
    for _ in 0..100 {
        let verdict = agent.verdict("POST", "/v1/pay", PAY).await.unwrap();
        assert_eq!(verdict, "permit");
    }
    agent.close().await.unwrap();
    let before = parts.leaves().unwrap().len() as u64;
    let file = parts.dir.path().join("disclosed");
    let ask = async || {
        let mut curl = tokio::process::Command::new("curl");
        curl.args([
            "-sSkf",
            "-m",
            "20",
            "-H",
            "authorization: Bearer token",
            "-o",
        ]);
        let url = format!("https://{}/v1/export?disclose=all", two.address());
        // Of what broke off before anything came there is none.
        drop(std::fs::remove_file(&file));
        let asked = curl.arg(&file).arg(url).status().await.unwrap();
        let text = std::fs::read_to_string(&file);
        (asked.success(), text.unwrap_or_default())
    };
    let verified = || {
        let mut verify = Command::new(actpass());
        verify.arg("verify").arg(&file).output().unwrap()
    };
    let disclosed = |text: &str| {
        let begin = "{\"disclosed\":{\"openings\":";
        let lines = text.lines().filter(|line| line.starts_with(begin));
        lines.filter(|line| line.contains("/v1/pay")).count()
    };
    let (whole, text) = ask().await;
    assert!(whole, "{text}");
    assert_eq!(disclosed(&text), 100);
    let found = verified();
    assert!(found.status.success(), "{found:?}");
    assert_eq!(handed_out(&parts), [(0, before - 1)]);

    // Behind many texts lies a leaf that is not what was written, so that the answer ends there.
    let flip = "UPDATE actpass.batch SET leaves = set_byte(leaves, 20, get_byte(leaves, 20) # 1) \
        WHERE nth = (SELECT max(nth) - 8 FROM actpass.batch)";
    let flipped = format!("{flip} RETURNING nth");
    let nth = server.sql(&flipped).unwrap();
    let mut told = vec![(0, before - 1)];
    loop {
        let (whole, text) = ask().await;
        assert!(!whole, "it looks whole");
        told.push((0, before - 1 + told.len() as u64));
        // A stream that is reset may lose what was on its way.
        if disclosed(&text) > 0 {
            break;
        }
        assert!(told.len() < 20, "nothing comes");
    }
    let found = verified();
    assert_eq!(found.status.code(), Some(2), "{found:?}");
    let nth: String = nth.chars().take_while(char::is_ascii_digit).collect();
    let back = flip.replace("(SELECT max(nth) - 8 FROM actpass.batch)", &nth);
    server.sql(&back).unwrap();
    assert_eq!(handed_out(&parts), told);
    for ledger in [one, two] {
        ledger.stop().await;
    }
}
