//! PostgreSQL, twice: the storage of a ledger, a row per group; and as an audit store uses it, a row per leaf, the nonces unique, head
//! and budget in a row of their own. Either takes one statement and one commit for a group.

use actpass_ledger::engine::checkpoint_name;
use actpass_ledger::storage::{
    Appended, Blob, BlobKind, Head, LogGroup, PostgresConfig, PostgresStorage, Storage,
};
use anyhow::{bail, ensure};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, NoTls, Statement};

use super::Store;
use super::leaves::{Group, LOG, Leaves};

const TABLES: &str = "
DROP TABLE IF EXISTS leaf, used, head;
CREATE TABLE leaf (seq bigint PRIMARY KEY, bytes bytea NOT NULL);
CREATE TABLE used (nonce bytea PRIMARY KEY);
CREATE TABLE head (one integer PRIMARY KEY, size bigint NOT NULL, paid bigint NOT NULL, checkpoint text NOT NULL);
INSERT INTO head VALUES (1, 0, 0, '');
";

const INSERT: &str = "
WITH moved AS (
    UPDATE head SET size = size + $2, paid = $3, checkpoint = $4 WHERE one = 1 AND size = $1 AND $3 <= 1::bigint << 60
    RETURNING one
), nonces AS (
    INSERT INTO used SELECT nonce FROM moved, unnest($5::bytea[]) AS new (nonce)
)
INSERT INTO leaf SELECT $1 - 1 + nth, bytes FROM moved, unnest($6::bytea[]) WITH ORDINALITY AS new (bytes, nth)";

/// A row per group: what a ledger does.
pub(super) struct Groups {
    leaves: Leaves,
    storage: PostgresStorage,
    log: String,
    head: Head,
}

impl Groups {
    /// In a database whose logs of other runs stay: this one has a name of its own.
    pub(super) fn new(url: &str, run: &str) -> anyhow::Result<Self> {
        let log = format!("{LOG}/{run}");
        Ok(Self {
            leaves: Leaves::new(),
            storage: PostgresStorage::open(PostgresConfig::parse(url, None, None)?)?,
            head: Head::genesis(&log),
            log,
        })
    }
}

impl Store for Groups {
    fn keep(&mut self, leaves: usize) -> anyhow::Result<()> {
        let Group {
            leaves, checkpoint, ..
        } = self.leaves.group(leaves)?;
        let appended = self.storage.append(&[LogGroup {
            log: self.log.clone(),
            expected_head: self.head,
            leaves,
            blobs: vec![Blob {
                kind: BlobKind::State,
                name: checkpoint_name(&self.log),
                bytes: checkpoint.into_bytes(),
            }],
        }])?;
        match appended.as_slice() {
            [Appended::Appended { head }] => self.head = *head,
            other => bail!("{other:?}"),
        }
        Ok(())
    }
}

/// A row per leaf.
pub(super) struct Rows {
    leaves: Leaves,
    runtime: Runtime,
    client: Client,
    insert: Statement,
}

impl Rows {
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (client, insert) = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            client.batch_execute(TABLES).await?;
            let insert = client.prepare(INSERT).await?;
            anyhow::Ok((client, insert))
        })?;
        Ok(Self {
            leaves: Leaves::new(),
            runtime,
            client,
            insert,
        })
    }
}

impl Store for Rows {
    fn keep(&mut self, leaves: usize) -> anyhow::Result<()> {
        let group = self.leaves.chained(leaves)?;
        let (checkpoint, nonces) = (self.leaves.sign(), &group.nonces);
        let nonces: Vec<&[u8]> = nonces.iter().map(<[u8; 16]>::as_slice).collect();
        let (first, count) = (i64::try_from(group.first)?, i64::try_from(leaves)?);
        let paid = i64::try_from(group.paid)?;
        let leaves_of: Vec<&[u8]> = group.leaves.iter().map(|leaf| &**leaf).collect();
        let kept = self.runtime.block_on(self.client.execute(
            &self.insert,
            &[&first, &count, &paid, &checkpoint, &nonces, &leaves_of],
        ))?;
        ensure!(kept == u64::try_from(leaves)?, "the head moved");
        Ok(())
    }
}
