//! Leaves passed on from a PostgreSQL: by one of several at a time, whoever is killed, and no leaf that the log may yet lose.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use actpass_ledger::Ledger;
use actpass_ledger::storage::{Appended, LogGroup, PostgresStorage, Storage};
use actpass_ledger::tail::{FileSink, TailError, Tailer};
use actpass_tests::parts::{Parts, SHOP};
use actpass_tests::postgres::{Postgres, config_at};
use actpass_tests::wire::Wire;
use actpass_tests::{program, scaled};
use serde_json::Value;

/// Far more than it takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

const PAY: &str = r#"{"amount":"1.00"}"#;

fn open(server: &Postgres) -> PostgresStorage {
    PostgresStorage::open(server.config().unwrap()).unwrap()
}

fn tailer(server: &Postgres, file: &Path) -> Tailer {
    let lead = open(server).lead().unwrap()().unwrap();
    Tailer::over(lead, Box::new(FileSink::new(file).of_whole_lines()))
}

/// Appends some leaves to a log, made to be told apart.
fn append(storage: &mut PostgresStorage, log: &str, count: u64) {
    let head = storage.head(log);
    let leaves = (head.size..head.size + count).map(|seq| {
        let leaf = format!("{{\"log\":\"{log}\",\"seq\":{seq}}}");
        leaf.into_bytes().into()
    });
    let appended = storage.append(&[LogGroup {
        log: log.to_owned(),
        expected_head: head,
        leaves: leaves.collect(),
        blobs: Vec::new(),
    }]);
    assert!(matches!(appended.unwrap()[..], [Appended::Appended { .. }]));
}

/// The lines of a file as leaves; half a line at the end, of who was killed, is none.
fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines();
    lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["leaf"].clone())
        .collect()
}

fn place(leaf: &Value) -> (String, u64) {
    let h = leaf.get("h").unwrap_or(leaf);
    let log = h["log"].as_str().unwrap().to_owned();
    (log, h["seq"].as_u64().unwrap())
}

/// How often each leaf was passed on. What a file has of a log comes in order, and again only where it was there before: its ledger lost
/// the lead and had it once more.
fn counted(files: &[Vec<Value>]) -> BTreeMap<(String, u64), u32> {
    let mut counted = BTreeMap::new();
    for leaves in files {
        let mut seen: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for (log, seq) in leaves.iter().map(place) {
            let seen = seen.entry(log.clone()).or_default();
            let last = seen.last().copied();
            let is_new = seen.insert(seq);
            assert!(!is_new || last < Some(seq), "{log}: {seq} after {last:?}");
            *counted.entry((log, seq)).or_default() += 1;
        }
    }
    counted
}

struct Passer {
    child: Child,
}

impl Passer {
    fn start(server: &Postgres, file: &Path) -> Self {
        let mut command = Command::new(program("passer"));
        command.arg(server.port().to_string());
        command.stdin(Stdio::null());
        command.stdout(File::create(file).unwrap());
        Self {
            child: command.spawn().unwrap(),
        }
    }
}

impl Drop for Passer {
    fn drop(&mut self) {
        // As a machine does that takes a process away: SIGKILL.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn killed_at_any_moment_every_leaf_is_passed_on_in_order_by_whoever_is_left() {
    let server = Postgres::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut storage = open(&server);
    let logs = ["actpass/one", "actpass/two", "actpass/three"];
    let mut files = Vec::new();
    let mut start = || {
        files.push(dir.path().join(files.len().to_string()));
        Passer::start(&server, files.last().unwrap())
    };
    let kills = scaled(60).max(6);
    let mut passers = [start(), start()];
    for nth in 0..u64::from(kills) {
        let begun = Instant::now();
        let time = Duration::from_millis(200 + nth * 131 % 500);
        for round in 0.. {
            append(&mut storage, logs[round % 3], 1 + nth % 40);
            if begun.elapsed() > time {
                break;
            }
        }
        // One of the two, which has the lead or not.
        passers[usize::try_from(nth % 2).unwrap()] = start();
    }
    let want = |storage: &PostgresStorage| -> u64 {
        let heads = storage.logs().into_iter();
        heads.map(|(_, head)| head.size).sum()
    };
    let want = want(&storage);
    let begun = Instant::now();
    let counts = loop {
        let read: Vec<Vec<Value>> = files.iter().map(|file| lines(file)).collect();
        let counts = counted(&read);
        if counts.len() as u64 == want {
            break counts;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{} of {want} leaves",
            counts.len()
        );
        std::thread::sleep(Duration::from_millis(50));
    };
    drop(passers);
    for log in logs {
        for seq in 0..storage.head(log).size {
            assert!(counts.contains_key(&(log.to_owned(), seq)), "{log} {seq}");
        }
    }
    let twice = counts.values().filter(|count| **count > 1).count() as u64;
    let took_part = files.iter().filter(|file| !lines(file).is_empty()).count();
    println!(
        "{kills} kills, {want} leaves passed on by {took_part}, {twice} of them more than once"
    );
    assert!(took_part > 2, "too few of those killed had the lead");
    // What one piece between two looks has, around each kill; all else comes once.
    assert!(twice * 4 < want, "{twice} of {want} came more than once");
}

#[test]
fn one_passes_on_at_a_time_and_who_takes_over_goes_on_where_it_was() {
    let server = Postgres::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let mut storage = open(&server);
    append(&mut storage, "actpass/one", 5);
    let mut one = tailer(&server, &first);
    let mut two = tailer(&server, &second);
    assert_eq!(one.pass_on(None).unwrap(), 5);
    append(&mut storage, "actpass/one", 3);
    append(&mut storage, "actpass/two", 2);
    assert_eq!(two.pass_on(None).unwrap(), 0, "another has the lead");
    assert_eq!((two.logged(), two.passed()), (Some(10), 5));
    drop(one);
    // As what a crash leaves in a file.
    fs::write(&second, "{\"leaf\":{\"log\":\"actpass/one\",\"se").unwrap();
    let begun = Instant::now();
    while two.pass_on(None).unwrap() == 0 {
        assert!(begun.elapsed() < PATIENCE, "the lead stays taken");
        std::thread::sleep(Duration::from_millis(10));
    }
    let counts = counted(&[lines(&first), lines(&second)]);
    assert_eq!(counts.len(), 10);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    // A group larger than a piece, and a log of many groups.
    append(&mut storage, "actpass/two", 60_000);
    for _ in 0..1_100 {
        append(&mut storage, "actpass/one", 1);
    }
    assert_eq!(two.pass_on(None).unwrap(), 61_100);
    assert_eq!(two.pass_on(None).unwrap(), 0);
    assert_eq!(counted(&[lines(&second)]).len(), 61_105);
}

#[test]
fn a_holder_that_hangs_loses_the_lead_and_moves_nothing_after() {
    let server = Postgres::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut storage = open(&server);
    append(&mut storage, "actpass/one", 5);
    let mut hangs = open(&server).lead().unwrap()().unwrap();
    assert!(hangs.take().unwrap().is_some());
    let mut other = tailer(&server, &dir.path().join("other"));
    let begun = Instant::now();
    while other.pass_on(None).unwrap() == 0 {
        assert!(begun.elapsed() < PATIENCE, "the lead stays taken");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(begun.elapsed() > Duration::from_secs(5), "it was not held");
    hangs.settle().unwrap_err();
    hangs.keep(Some(1), b"nonsense").unwrap_err();
    append(&mut storage, "actpass/one", 1);
    assert_eq!(other.pass_on(None).unwrap(), 1);
}

#[test]
fn a_log_that_was_put_back_or_rewritten_is_passed_on_no_further() {
    let mut server = Postgres::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    append(&mut open(&server), "actpass/one", 5);
    let mut leads = tailer(&server, &dir.path().join("leads"));
    assert_eq!(leads.pass_on(None).unwrap(), 5);
    server.copy().unwrap();
    let told = |storage: &mut PostgresStorage| drop(storage.moved().unwrap());
    let mut storage = open(&server);
    told(&mut storage);
    append(&mut storage, "actpass/one", 5);
    let mut follows = tailer(&server, &dir.path().join("follows"));
    let refused = |tailer: &mut Tailer| {
        let begun = Instant::now();
        loop {
            match tailer.pass_on(None) {
                Err(TailError::Log(_)) => assert!(begun.elapsed() < PATIENCE),
                other => return other.unwrap_err(),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let passed = |tailer: &mut Tailer| {
        let begun = Instant::now();
        // Its connection is to the server before the stop.
        while tailer.passed() < 10 {
            drop(tailer.pass_on(None));
            assert!(begun.elapsed() < PATIENCE);
        }
    };
    passed(&mut leads);
    passed(&mut follows);
    server.put_back().unwrap();
    for tailer in [&mut leads, &mut follows] {
        let error = refused(tailer);
        assert!(matches!(error, TailError::PutBack { .. }), "{error}");
    }
    // And stays so when the log is as long again.
    let mut storage = open(&server);
    told(&mut storage);
    append(&mut storage, "actpass/one", 20);
    for tailer in [&mut leads, &mut follows] {
        assert!(matches!(refused(tailer), TailError::PutBack { .. }));
    }
    // A process that saw nothing of that goes on with what the server has.
    drop((leads, follows));
    let mut new = tailer(&server, &dir.path().join("new"));
    assert_eq!(new.pass_on(None).unwrap(), 20);
    // A head that names another leaf, and one that is shorter.
    for (set, cut) in [("hash = sha256('other')", false), ("size = size - 1", true)] {
        server
            .sql(&format!(
                "UPDATE actpass.head SET {set}, changed = pg_current_xact_id()"
            ))
            .unwrap();
        let error = refused(&mut new);
        assert_eq!(matches!(error, TailError::CutShort { .. }), cut, "{error}");
        assert_eq!(matches!(error, TailError::OtherLog { .. }), !cut, "{error}");
    }
}

/// What a wait that somebody cancels leaves: a commit on the primary only, that all can see.
#[test]
fn a_leaf_that_reached_no_standby_is_not_passed_on() {
    let primary = Postgres::start().unwrap();
    let mut standby = primary.standby("second", "").unwrap();
    primary
        .sql("ALTER SYSTEM SET synchronous_standby_names = 'second'")
        .unwrap();
    primary.sql("SELECT pg_reload_conf()").unwrap();
    let until = |statement: &str, wanted: &str| {
        let begun = Instant::now();
        while primary.sql(statement).unwrap() != wanted {
            assert!(begun.elapsed() < PATIENCE, "{statement}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until("SELECT sync_state FROM pg_stat_replication", "sync");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let mut storage = open(&primary);
    append(&mut storage, "actpass/one", 5);
    let mut passes = tailer(&primary, &file);
    assert_eq!(passes.pass_on(None).unwrap(), 5);
    standby.stop().unwrap();
    std::thread::scope(|scope| {
        let appends = scope.spawn(|| {
            let head = storage.head("actpass/one");
            let leaf = b"{\"log\":\"actpass/one\",\"seq\":5}".to_vec();
            storage.append(&[LogGroup {
                log: "actpass/one".to_owned(),
                expected_head: head,
                leaves: vec![leaf.into()],
                blobs: Vec::new(),
            }])
        });
        until(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
            "1",
        );
        primary
            .sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            .unwrap();
        let appended = appends.join().unwrap().unwrap();
        assert!(matches!(appended[..], [Appended::Unknown]), "{appended:?}");
    });
    until("SELECT size FROM actpass.head", "6");
    assert!(passes.pass_on(None).is_err(), "nobody may be told of it");
    assert_eq!(lines(&file).len(), 5);
    standby.resume().unwrap();
    let begun = Instant::now();
    while lines(&file).len() < 6 {
        drop(passes.pass_on(None));
        assert!(begun.elapsed() < PATIENCE, "it does not go on");
    }
}

fn replica(parts: &Parts, port: u16, file: &Path) -> Ledger {
    let storage = PostgresStorage::open(config_at(port).unwrap()).unwrap();
    parts
        .replica_to(Box::new(storage), file.to_owned())
        .unwrap()
}

fn metric(ledger: &Ledger, name: &str) -> u64 {
    let text = ledger.metrics().text();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap()
}

/// Two whole ledgers: what either logs is passed on by one, and by the other once that one is cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_ledgers_pass_on_what_both_log_whichever_is_cut_off() {
    let server = Postgres::start().unwrap();
    let mut parts = Parts::new(&SHOP.replace("100.00", "10000.00")).unwrap();
    parts.server = Some(server.config().unwrap());
    parts.ledger().await.unwrap().stop().await;
    let files = ["one", "two"].map(|name| parts.dir.path().join(name));
    let wires = [Wire::to(server.port()).await, Wire::to(server.port()).await];
    let [one, two] = [0, 1].map(|nth| replica(&parts, wires[nth].port(), &files[nth]));
    let all = async |ledgers: &[&Ledger]| {
        let begun = Instant::now();
        loop {
            let want = parts.leaves().unwrap();
            let counts = counted(&files.each_ref().map(|file| lines(file)));
            let waiting = ledgers
                .iter()
                .any(|it| metric(it, "actpass_ledger_waiting_leaves") > 0);
            if counts.len() == want.len() && !waiting {
                return counts;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{} of {} leaves",
                counts.len(),
                want.len()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let agents = [
        parts.agent_at(one.address()).await.unwrap(),
        parts.agent_at(two.address()).await.unwrap(),
    ];
    for round in 0..6 {
        for agent in &agents {
            for _ in 0..10 {
                // One that was cut off denies for a while.
                agent.verdict("POST", "/v1/pay", PAY).await.unwrap();
            }
        }
        // Both in turn, so that it is also who has the lead.
        wires[round % 2].cut();
    }
    all(&[&one, &two]).await;
    // The one that has the lead ends; the other goes on with what comes after.
    let passed = [&one, &two].map(|it| metric(it, "actpass_ledger_passed_on_leaves_total"));
    assert!(passed.iter().sum::<u64>() > 60, "{passed:?}");
    one.stop().await;
    let before = lines(&files[1]).len();
    let begun = Instant::now();
    while agents[1].verdict("POST", "/v1/pay", PAY).await.unwrap() != "permit" {
        assert!(begun.elapsed() < PATIENCE, "it does not go on");
    }
    let counts = all(&[&two]).await;
    assert!(lines(&files[1]).len() > before);
    let twice = counts.values().filter(|count| **count > 1).count();
    println!("{} leaves, {twice} more than once", counts.len());
    drop(agents);
    two.stop().await;
}
