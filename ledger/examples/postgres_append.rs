//! How many leaves a second go into PostgreSQL by groups of 128 of 512 bytes: as the ledger stores them, with a row for each leaf, and,
//! as the limit, the same bytes written to a file of the same disk and synced. All of it in turns, so the ratios mean something
//! where the numbers do not.
//!
//! `cargo run --release -p actpass-ledger --features postgres --example postgres_append URL DIRECTORY`

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use actpass_ledger::storage::{
    Appended, Head, LogGroup, PostgresConfig, PostgresStorage, Storage, leaf_hash,
};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, Statement};

const LEAVES: usize = 128;
const LEAF_BYTES: usize = 512;
const GROUPS: u64 = 100;
const ROUNDS: u64 = 9;

const ROWS: &str = "
DROP TABLE IF EXISTS event, nonce, event_head;
CREATE TABLE event (seq bigint PRIMARY KEY, leaf bytea NOT NULL);
CREATE TABLE nonce (nonce bytea PRIMARY KEY);
CREATE TABLE event_head (size bigint NOT NULL);
INSERT INTO event_head VALUES (0);
";

const ROW_EACH: &str = "
WITH moved AS (UPDATE event_head SET size = size + 128 WHERE size = $1 RETURNING size),
    nonces AS (INSERT INTO nonce SELECT * FROM unnest($2::bytea[]))
INSERT INTO event SELECT $1 - 1 + nth, leaf FROM moved, unnest($3::bytea[]) WITH ORDINALITY AS new (leaf, nth)";

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(directory)) = (args.next(), args.next()) else {
        return Err("give a URL and a directory".into());
    };
    let mut ours = Ours::open(&url)?;
    let mut rows = Rows::open(&url)?;
    let file = Synced::open(Path::new(&directory))?;
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let raw = timed(|nth| file.write(round, nth))?;
        let grouped = timed(|nth| ours.append(round, nth))?;
        let each = timed(|nth| rows.append(round, nth))?;
        println!(
            "leaves a second: synced file {}, a row per group {}, a row per leaf {}",
            a_second(raw),
            a_second(grouped),
            a_second(each)
        );
        ratios.push((percent(raw, grouped), percent(each, grouped)));
    }
    ratios.sort_unstable();
    let middle = |of: Vec<u128>| of.get(of.len() / 2).copied().unwrap_or_default();
    let to_raw = middle(ratios.iter().map(|it| it.0).collect());
    let mut to_rows: Vec<u128> = ratios.iter().map(|it| it.1).collect();
    to_rows.sort_unstable();
    println!(
        "medians of {ROUNDS} rounds: {to_raw} % of the synced file, {} % of a row per leaf",
        middle(to_rows)
    );
    Ok(())
}

fn timed(
    mut append: impl FnMut(u64) -> Result<(), Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    (0..GROUPS).try_for_each(&mut append)?;
    Ok(begun.elapsed())
}

fn a_second(took: Duration) -> u128 {
    let leaves = u128::from(GROUPS) * LEAVES as u128 * 1_000_000;
    leaves / took.as_micros().max(1)
}

/// How fast the second is, where the first is 100.
fn percent(one: Duration, other: Duration) -> u128 {
    one.as_micros() * 100 / other.as_micros().max(1)
}

/// Leaves that are all different.
fn leaves(round: u64, nth: u64) -> Vec<Vec<u8>> {
    let leaf = |at: usize| {
        let mut leaf = vec![b'x'; LEAF_BYTES];
        let number = (round * GROUPS + nth) * LEAVES as u64 + at as u64;
        leaf.splice(..8, number.to_be_bytes());
        leaf
    };
    (0..LEAVES).map(leaf).collect()
}

struct Synced(File);

impl Synced {
    fn open(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let file = File::create(directory.join("synced"))?;
        let bytes = ROUNDS * GROUPS * (LEAVES * LEAF_BYTES) as u64;
        let zeros = vec![0; 1 << 20];
        for at in (0..bytes).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(Self(file))
    }

    fn write(&self, round: u64, nth: u64) -> Result<(), Box<dyn Error>> {
        let bytes = leaves(round, nth).concat();
        let at = (round * GROUPS + nth) * bytes.len() as u64;
        self.0.write_all_at(&bytes, at)?;
        Ok(self.0.sync_data()?)
    }
}

struct Ours {
    storage: PostgresStorage,
    head: Head,
}

const LOG: &str = "actpass/measured";

impl Ours {
    fn open(url: &str) -> Result<Self, Box<dyn Error>> {
        let storage = PostgresStorage::open(PostgresConfig::parse(url, None, None)?)?;
        Ok(Self {
            storage,
            head: Head::genesis(LOG),
        })
    }

    fn append(&mut self, round: u64, nth: u64) -> Result<(), Box<dyn Error>> {
        let group = LogGroup {
            log: LOG.to_owned(),
            expected_head: self.head,
            leaves: leaves(round, nth),
            blobs: Vec::new(),
        };
        match self.storage.append(&[group])?.first() {
            Some(Appended::Appended { head }) => self.head = *head,
            other => return Err(format!("{other:?}: give an empty database").into()),
        }
        Ok(())
    }
}

struct Rows {
    runtime: Runtime,
    client: Client,
    statement: Statement,
    size: i64,
}

impl Rows {
    fn open(url: &str) -> Result<Self, Box<dyn Error>> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (client, connection) = runtime.block_on(tokio_postgres::connect(url, NoTls))?;
        runtime.spawn(connection);
        runtime.block_on(client.batch_execute(ROWS))?;
        let statement = runtime.block_on(client.prepare(ROW_EACH))?;
        Ok(Self {
            runtime,
            client,
            statement,
            size: 0,
        })
    }

    fn append(&mut self, round: u64, nth: u64) -> Result<(), Box<dyn Error>> {
        let leaves = leaves(round, nth);
        // Sixteen bytes that are as good as random ones.
        let nonces: Vec<Vec<u8>> = leaves
            .iter()
            .map(|leaf| leaf_hash(leaf).into_iter().take(16).collect())
            .collect();
        let client = &self.client;
        self.runtime.block_on(async {
            client
                .execute(&self.statement, &[&self.size, &nonces, &leaves])
                .await
        })?;
        self.size += i64::try_from(LEAVES)?;
        Ok(())
    }
}
