//! The log in a real PostgreSQL: what it must be set to, and what its failures leave. Three ledgers over one are in
//! `postgres_replicas`.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the helpers of these tests stand outside their functions"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actpass_core::evidence::leaf::EventBody;
use actpass_core::hash::DigestMac;
use actpass_ledger::storage::{
    Appended, Blob, BlobKind, Entry, Head, LogGroup, PostgresConfig, PostgresDocuments,
    PostgresStorage, Storage, StorageError,
};
use actpass_ledger::vault::{About, Bindings, Doomed, Effect, Kek, Secret, Vault, VaultError};
use actpass_tests::authority::Authority;
use actpass_tests::postgres::{Postgres, config_at};
use actpass_tests::scaled;
use actpass_tests::wire::Wire;
use jiff::Timestamp;
use zeroize::Zeroizing;

const LOG: &str = "actpass/one";
const OTHER: &str = "actpass/two";

/// Far more than it takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn open(server: &Postgres) -> PostgresStorage {
    PostgresStorage::open(server.config().unwrap()).unwrap()
}

fn group(log: &str, head: Head, leaves: &[&str]) -> LogGroup {
    let last = head.size + leaves.len() as u64 - 1;
    LogGroup {
        log: log.to_owned(),
        expected_head: head,
        leaves: leaves
            .iter()
            .map(|leaf| leaf.as_bytes().to_vec().into())
            .collect(),
        blobs: vec![
            Blob {
                kind: BlobKind::State,
                name: Head::genesis(log).hash,
                bytes: format!("checkpoint of {last}").into_bytes(),
            },
            Blob {
                kind: BlobKind::SideFrame { seq: last },
                name: [7; 32],
                bytes: format!("beside {last}").into_bytes(),
            },
        ],
    }
}

fn appended(storage: &mut PostgresStorage, group: LogGroup) -> Head {
    match storage.append(&[group]).unwrap()[..] {
        [Appended::Appended { head }] => head,
        ref other => unreachable!("{other:?}"),
    }
}

type Leaves = BTreeMap<String, Vec<String>>;

fn read(storage: &mut PostgresStorage) -> Result<Leaves, StorageError> {
    let mut leaves = Leaves::new();
    storage.replay(&mut |entry| {
        if let Entry::Leaf { log, seq, bytes } = entry {
            let of = leaves.entry(log.to_owned()).or_default();
            assert_eq!(seq, of.len() as u64);
            of.push(String::from_utf8(bytes.to_vec()).unwrap());
        }
        ControlFlow::Continue(())
    })?;
    Ok(leaves)
}

/// Why it is not opened. A setting is in force a moment after the server was told.
fn refusal(config: &PostgresConfig) -> String {
    let begun = Instant::now();
    loop {
        match PostgresStorage::open(config.clone()) {
            Err(StorageError::Refused { what }) => return what,
            Ok(_) | Err(_) => assert!(begun.elapsed() < PATIENCE, "it is taken"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn taken(config: &PostgresConfig) {
    let begun = Instant::now();
    while PostgresStorage::open(config.clone()).is_err() {
        assert!(begun.elapsed() < PATIENCE, "it stays refused");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_server_that_would_not_keep_what_it_is_given_is_refused() {
    let mut server = Postgres::start().unwrap();
    let config = server.config().unwrap();
    taken(&config);
    for (set, reset, said) in [
        (
            "ALTER SYSTEM SET fsync = off",
            "ALTER SYSTEM RESET fsync",
            "`fsync = on`",
        ),
        (
            "ALTER SYSTEM SET full_page_writes = off",
            "ALTER SYSTEM RESET full_page_writes",
            "`full_page_writes = on`",
        ),
        (
            "ALTER SYSTEM SET synchronous_commit = off",
            "ALTER SYSTEM RESET synchronous_commit",
            "`synchronous_commit = on`",
        ),
        (
            "ALTER ROLE tester SET synchronous_commit = local",
            "ALTER ROLE tester RESET synchronous_commit",
            "`synchronous_commit` is local",
        ),
        (
            "ALTER DATABASE postgres SET synchronous_commit = remote_write",
            "ALTER DATABASE postgres RESET synchronous_commit",
            "`synchronous_commit` is remote_write",
        ),
        (
            "ALTER ROLE tester SET default_transaction_read_only = on",
            "BEGIN READ WRITE; ALTER ROLE tester RESET default_transaction_read_only; COMMIT",
            "`default_transaction_read_only`",
        ),
        (
            "UPDATE actpass.form SET version = 0",
            "UPDATE actpass.form SET version = 1",
            "of form [0]",
        ),
    ] {
        server.sql(set).unwrap();
        server.sql("SELECT pg_reload_conf()").unwrap();
        let what = refusal(&config);
        assert!(what.contains(said), "{set}: {what}");
        server.sql(reset).unwrap();
        server.sql("SELECT pg_reload_conf()").unwrap();
        taken(&config);
    }
    let standby = server.standby("copy", "").unwrap();
    let what = refusal(&standby.config().unwrap());
    assert!(what.contains("address of the primary"), "{what}");
    drop(standby);
    server.stop().unwrap();
    let away = PostgresStorage::open(config).err().unwrap();
    assert!(matches!(away, StorageError::Unavailable { .. }), "{away}");
    let unchecked = Postgres::with(&[], "").unwrap();
    let what = refusal(&unchecked.config().unwrap());
    assert!(what.contains("pg_checksums --enable"), "{what}");
}

#[test]
fn a_way_that_is_not_protected_is_refused() {
    for (url, said) in [
        ("postgresql://ledger@db.example/actpass", "authorities"),
        (
            "postgresql://ledger:secret@127.0.0.1/actpass",
            "holds a password",
        ),
        ("nonsense", "cannot be read"),
    ] {
        let error = PostgresConfig::parse(url, None, None)
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(said), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_server_is_known_by_its_certificate() {
    let mut server = Postgres::start().unwrap();
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    server.sql("CREATE ROLE ledger LOGIN PASSWORD 'right'; GRANT CREATE ON DATABASE postgres TO ledger").unwrap();
    let (certificate, key) = authority.certificate(&["db.example"]).unwrap();
    server.stop().unwrap();
    server.secure(&certificate, &key).unwrap();
    server.resume().unwrap();
    let connect = |name: &str, password: &str, authority: &Authority| {
        let url = format!(
            "postgresql://ledger@{name}:{}/postgres?hostaddr=127.0.0.1",
            server.port()
        );
        let password = Zeroizing::new(password.to_owned());
        let config = PostgresConfig::parse(&url, Some(&password), Some(authority.pem.as_bytes()));
        PostgresStorage::open(config.unwrap()).map_err(|error| error.to_string())
    };
    // A role that owns nothing but what it makes.
    let mut storage = connect("db.example", "right", &authority).unwrap();
    appended(&mut storage, group(LOG, Head::genesis(LOG), &["a"]));
    for (name, password, authority, said) in [
        (
            "db.example",
            "wrong",
            &authority,
            "password authentication failed",
        ),
        ("else.example", "right", &authority, "certificate"),
        ("db.example", "right", &other, "certificate"),
    ] {
        let refused = connect(name, password, authority).err().unwrap();
        assert!(refused.contains(said), "{name}: {refused}");
    }
}

#[test]
fn what_one_ledger_changes_in_the_vault_the_others_lend() {
    let server = Postgres::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let (kek, _) = Kek::load_or_generate(&dir.path().join("kek")).unwrap();
        let documents = PostgresDocuments::open(server.config().unwrap()).unwrap();
        Vault::over(Box::new(documents), kek).unwrap()
    };
    let (one, two) = (open(), open());
    let now = Timestamp::now();
    let bindings = Bindings {
        ca_sha256: None,
        effects: vec![Effect::Read],
        format: None,
        header: "authorization".to_owned(),
        hosts: vec!["api.shop.example".to_owned()],
        ports: vec![443],
    };
    let put = |vault: &Vault, name: &str, secret: &str| {
        let secret = Secret::from(secret.to_owned());
        vault
            .put("tenant", name, bindings.clone(), &secret, now)
            .unwrap()
            .version
    };
    assert_eq!(put(&one, "first", "a"), 1);
    // Made on what another ledger made, though this one was not told.
    assert_eq!(put(&two, "second", "b"), 2);
    assert_eq!(put(&one, "first", "c"), 3);
    two.refresh().unwrap();
    let names = |vault: &Vault| -> Vec<(String, u64)> {
        let all = vault.list().into_iter();
        all.map(|it| (it.name, it.version)).collect()
    };
    assert_eq!(
        names(&two),
        [("first".to_owned(), 3), ("second".to_owned(), 2)]
    );
    two.delete("tenant", "first").unwrap();
    one.refresh().unwrap();
    assert_eq!(names(&one), [("second".to_owned(), 2)]);
    // Whoever is first makes the keys of a tenant, and everybody has these.
    for nth in 0..10 {
        let tenant = format!("tenant-{nth}");
        let keys = std::thread::scope(|scope| {
            let asked =
                [&one, &two].map(|vault| scope.spawn(|| vault.digest_key(&tenant).unwrap()));
            asked.map(|asked| asked.join().unwrap())
        });
        assert_eq!(keys[0], keys[1], "{tenant}");
        let subject = Some(DigestMac::from_bytes([7; 32]));
        let sealed = |vault: &Vault, subject: Option<DigestMac>| {
            let about = About { at: now, subject };
            vault.seal(&tenant, &about, b"what", b"text").unwrap()
        };
        let (about_one, about_nobody) = (sealed(&one, subject), sealed(&one, None));
        for sealed in [&about_one, &about_nobody] {
            assert_eq!(*two.open_sealed(&tenant, b"what", sealed).unwrap(), b"text");
        }
        // What one destroys is gone for all, once they were told, and no later change of theirs brings it back.
        let doomed = |nth: u8| Doomed::Subject(DigestMac::from_bytes([nth; 32]));
        let destroy = |vault: &Vault, nth: u8| {
            let event = |_| EventBody::Recovery { bytes: 0 };
            vault.destroy(&tenant, &doomed(nth), event).unwrap();
        };
        destroy(&two, 7);
        destroy(&one, 8);
        for vault in [&one, &two] {
            vault.refresh().unwrap();
            let gone = vault.open_sealed(&tenant, b"what", &about_one);
            assert!(matches!(gone, Err(VaultError::Erased { .. })), "{gone:?}");
            let there = vault.open_sealed(&tenant, b"what", &about_nobody);
            assert_eq!(*there.unwrap(), b"text");
        }
        let later = sealed(&two, subject);
        assert_eq!(*one.open_sealed(&tenant, b"what", &later).unwrap(), b"text");
    }
    // What stands in the table is sealed, and nothing of it is believed that was changed.
    let stored = server.sql(
        "SELECT convert_from(bytes, 'UTF8') FROM actpass.document WHERE name = 'credentials.json'",
    );
    assert!(stored.unwrap().starts_with("actpass.vault/1 "));
    server
        .sql("UPDATE actpass.document SET bytes = set_byte(bytes, 200, 48), version = version + 1 WHERE name = 'credentials.json'")
        .unwrap();
    assert!(matches!(one.refresh(), Err(VaultError::Tampered { .. })));
    drop(server);
    assert!(matches!(two.refresh(), Err(VaultError::Away(_))));
}

#[test]
fn of_two_who_append_to_one_head_one_is_kept_and_other_logs_go_on() {
    let server = Postgres::start().unwrap();
    let (mut one, mut two) = (open(&server), open(&server));
    let (log, other) = (Head::genesis(LOG), Head::genesis(OTHER));
    let first = appended(&mut one, group(LOG, log, &["a", "b"]));
    let results = two
        .append(&[group(LOG, log, &["x"]), group(OTHER, other, &["c"])])
        .unwrap();
    assert_eq!(results[0], Appended::Conflict { found: first });
    assert!(
        matches!(results[1], Appended::Appended { .. }),
        "{results:?}"
    );
    // Each is told of what the other did, whatever it appended itself.
    let told: BTreeMap<String, Head> = one.moved().unwrap().into_iter().collect();
    assert_eq!(told[OTHER].size, 1);
    assert_eq!(one.moved().unwrap(), []);
    let told: BTreeMap<String, Head> = two.moved().unwrap().into_iter().collect();
    assert_eq!(told[LOG], first);
    let second = appended(&mut two, group(LOG, first, &["d"]));
    assert_eq!(one.moved().unwrap(), [(LOG.to_owned(), second)]);
    // Two groups of one log in one call are taken one after the other.
    let third = group(LOG, second, &["e"]);
    let head = second.after(b"e");
    let results = one.append(&[third, group(LOG, head, &["f"])]).unwrap();
    assert!(
        results
            .iter()
            .all(|it| matches!(it, Appended::Appended { .. })),
        "{results:?}"
    );
    let leaves = read(&mut two).unwrap();
    assert_eq!(leaves[LOG], ["a", "b", "d", "e", "f"]);
    assert_eq!(leaves[OTHER], ["c"]);
    // From a leaf in the middle of a group on, and what was stored last under a name.
    let mut shown = Vec::new();
    two.tail(LOG, 1, &mut |entry| {
        if let Entry::Leaf { seq, .. } = entry {
            shown.push(seq);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(shown, [1, 2, 3, 4]);
    let name = Head::genesis(LOG).hash;
    assert_eq!(one.blob(&name).unwrap().unwrap(), b"checkpoint of 4");
    assert_eq!(
        one.side_frame(LOG, 1, &[7; 32]).unwrap().unwrap(),
        b"beside 1"
    );
    assert_eq!(
        one.side_frame(LOG, 9, &[7; 32]).unwrap().unwrap(),
        b"beside 4"
    );
    assert_eq!(one.blob(&[9; 32]).unwrap(), None);
}

/// Who has the turn is not overtaken however long it takes to decide, and one that says nothing any more loses it.
#[test]
fn who_has_the_turn_appends_next_and_nobody_waits_for_one_that_is_silent() {
    let server = Arc::new(Postgres::start().unwrap());
    let mut slow = open(&server);
    appended(&mut slow, group(LOG, Head::genesis(LOG), &["a"]));
    let ended = Arc::new(AtomicBool::new(false));
    let (reached, ends) = (server.clone(), ended.clone());
    let fast = std::thread::spawn(move || {
        let mut storage = open(&reached);
        while !ends.load(Ordering::SeqCst) {
            storage.moved().unwrap();
            let next = group(LOG, storage.head(LOG), &["fast"]);
            storage.append(&[next]).unwrap();
        }
    });
    let turn = BTreeSet::from([LOG.to_owned()]);
    let late = |slow: &mut PostgresStorage, turn: &BTreeSet<String>| {
        (0..10)
            .filter(|_| {
                slow.take_turn(turn);
                slow.moved().unwrap();
                std::thread::sleep(Duration::from_millis(50));
                let next = group(LOG, slow.head(LOG), &["slow"]);
                matches!(slow.append(&[next]).unwrap()[0], Appended::Conflict { .. })
            })
            .count()
    };
    let (with, without) = (late(&mut slow, &turn), late(&mut slow, &BTreeSet::new()));
    println!("late {with} times of 10 in turn, {without} times without");
    // A machine that stands still for seconds takes a turn away as well.
    assert!(with <= 2 && without > with, "{with} {without}");
    slow.take_turn(&turn);
    let size = "SELECT size FROM actpass.head";
    let (before, begun) = (server.sql(size).unwrap(), Instant::now());
    while server.sql(size).unwrap() == before {
        assert!(begun.elapsed() < PATIENCE, "everybody waits for ever");
    }
    ended.store(true, Ordering::SeqCst);
    fast.join().unwrap();
    slow.moved().unwrap();
    let head = slow.head(LOG);
    appended(&mut slow, group(LOG, head, &["after"]));
    // A turn that nothing came of is over at once.
    slow.take_turn(&turn);
    slow.end_turn();
    let mut other = open(&server);
    other.moved().unwrap();
    let head = other.head(LOG);
    appended(&mut other, group(LOG, head, &["other"]));
}

/// A transaction that began first and commits last has the lower number, and comes after what was asked meanwhile.
#[test]
fn what_commits_late_is_told_though_it_began_early() {
    let server = Arc::new(Postgres::start().unwrap());
    let mut storage = open(&server);
    appended(&mut storage, group(LOG, Head::genesis(LOG), &["a"]));
    storage.moved().unwrap();
    let slow = server.clone();
    let early = std::thread::spawn(move || {
        slow.sql(
            "BEGIN; UPDATE actpass.head SET changed = pg_current_xact_id(), size = 2 WHERE log = 'actpass/one'; \
             SELECT pg_sleep(1); COMMIT",
        )
    });
    let begun = Instant::now();
    let held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    while server.sql(held).unwrap() != "1" {
        assert!(begun.elapsed() < PATIENCE, "it does not begin");
    }
    let mut other = open(&server);
    appended(&mut other, group(OTHER, Head::genesis(OTHER), &["b"]));
    let told = storage.moved().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    early.join().unwrap().unwrap();
    let told = storage.moved().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].0.as_str(), told[0].1.size), (LOG, 2));
}

#[test]
fn whatever_is_changed_in_the_tables_is_found_and_named() {
    let server = Postgres::start().unwrap();
    let mut storage = open(&server);
    let mut head = Head::genesis(LOG);
    for leaves in [["a", "b"], ["c", "d"], ["e", "f"]] {
        head = appended(&mut storage, group(LOG, head, &leaves));
    }
    read(&mut storage).unwrap();
    for (change, leaf) in [
        // The last byte of a row is that of its last leaf.
        (
            "UPDATE actpass.batch SET leaves = set_byte(leaves, 17, 90) WHERE nth = 2",
            3,
        ),
        (
            "UPDATE actpass.batch SET leaves = substr(leaves, 1, 17) WHERE nth = 2",
            3,
        ),
        (
            "UPDATE actpass.batch SET blobs = set_byte(blobs, 60, 90) WHERE nth = 3",
            4,
        ),
        ("DELETE FROM actpass.batch WHERE nth = 2", 2),
        ("DELETE FROM actpass.batch WHERE nth = 3", 4),
        ("UPDATE actpass.batch SET first = 9 WHERE nth = 2", 2),
        (
            "UPDATE actpass.head SET hash = set_byte(hash, 0, get_byte(hash, 0) # 1)",
            5,
        ),
    ] {
        server.sql("CREATE TABLE kept AS TABLE actpass.batch; CREATE TABLE heads AS TABLE actpass.head").unwrap();
        server.sql(change).unwrap();
        let found = read(&mut storage).unwrap_err();
        let named = matches!(&found, StorageError::DamagedRow { log, seq, .. } if log == LOG && *seq == leaf);
        assert!(named, "{change}: {found}");
        server
            .sql(
                "TRUNCATE actpass.batch; INSERT INTO actpass.batch TABLE kept; DROP TABLE kept; \
                 UPDATE actpass.head SET hash = heads.hash FROM heads; DROP TABLE heads",
            )
            .unwrap();
        read(&mut storage).unwrap();
    }
}

/// A writer that keeps a journal of what it was told, beside the server.
struct Writer {
    storage: PostgresStorage,
    head: Head,
    journal: Arc<Mutex<Vec<String>>>,
    unknown: u32,
}

impl Writer {
    /// Appends a leaf until it is told that this is kept.
    fn write(&mut self, leaf: &str) {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < PATIENCE, "it is never kept");
            match self.storage.append(&[group(LOG, self.head, &[leaf])]) {
                Ok(results) => match results[0] {
                    Appended::Appended { head } => {
                        self.head = head;
                        break;
                    }
                    Appended::Unknown => {
                        self.unknown += 1;
                        if self.find() == self.head.after(leaf.as_bytes()) {
                            self.head = self.head.after(leaf.as_bytes());
                            break;
                        }
                    }
                    // An append of which nobody knew was still under way when it was looked for.
                    Appended::Conflict { found } => {
                        assert_eq!(found, self.head.after(leaf.as_bytes()));
                        self.head = found;
                        break;
                    }
                },
                Err(StorageError::Unavailable { .. }) => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(other) => unreachable!("{other}"),
            }
        }
        self.journal.lock().unwrap().push(leaf.to_owned());
    }

    /// Where the log ends, once that can be told.
    fn find(&mut self) -> Head {
        let begun = Instant::now();
        let mut head = self.head;
        loop {
            let from = head.size;
            let shown = self.storage.tail(LOG, from, &mut |entry| {
                if let Entry::Leaf { bytes, .. } = entry {
                    head = head.after(bytes);
                }
                ControlFlow::Continue(())
            });
            match shown {
                Ok(()) => return head,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_server_killed_in_the_middle_of_appends_loses_and_repeats_nothing() {
    let mut server = Postgres::start().unwrap();
    let journal = Arc::new(Mutex::new(Vec::new()));
    let mut writer = Writer {
        storage: open(&server),
        head: Head::genesis(LOG),
        journal: journal.clone(),
        unknown: 0,
    };
    let done = Arc::new(AtomicBool::new(false));
    let ended = done.clone();
    let writing = std::thread::spawn(move || {
        for nth in 0_u64.. {
            if ended.load(Ordering::SeqCst) {
                break;
            }
            writer.write(&format!("leaf {nth}"));
        }
        writer.unknown
    });
    let rounds = scaled(100).max(6);
    for round in 0..rounds {
        let so_far = journal.lock().unwrap().len();
        let begun = Instant::now();
        while journal.lock().unwrap().len() < so_far + 20 {
            assert!(begun.elapsed() < PATIENCE, "nothing is written any more");
            std::thread::sleep(Duration::from_millis(1));
        }
        match round % 2 {
            0 => server.kill().unwrap(),
            _ => server.stop().unwrap(),
        }
        server.resume().unwrap();
    }
    done.store(true, Ordering::SeqCst);
    let unknown = writing.join().unwrap();
    let told = journal.lock().unwrap().clone();
    assert_eq!(read(&mut open(&server)).unwrap()[LOG], told);
    println!(
        "{} appends told of, {rounds} ends of the server, {unknown} appends of which nobody knew at first",
        told.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_or_carries_nothing_ends_every_call_and_the_next_goes_on() {
    let server = Postgres::start().unwrap();
    let wire = Wire::to(server.port()).await;
    let mut storage = PostgresStorage::open(config_at(wire.port()).unwrap()).unwrap();
    let head = appended(&mut storage, group(LOG, Head::genesis(LOG), &["a"]));
    wire.cut();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let head = appended(&mut storage, group(LOG, head, &["b"]));
    let (mut storage, result) = held(&wire, storage, head).await;
    assert_eq!(result.unwrap(), [Appended::Unknown]);
    wire.hold(false);
    assert_eq!(read(&mut storage).unwrap()[LOG], ["a", "b"]);
    appended(&mut storage, group(LOG, head, &["c"]));
}

/// What becomes of an append while nothing is carried: it has an end.
async fn held(
    wire: &Wire,
    mut storage: PostgresStorage,
    head: Head,
) -> (PostgresStorage, Result<Vec<Appended>, StorageError>) {
    wire.hold(true);
    let call = tokio::task::spawn_blocking(move || {
        let result = storage.append(&[group(LOG, head, &["lost"])]);
        (storage, result)
    });
    let called = tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap();
    wire.cut();
    called
}
