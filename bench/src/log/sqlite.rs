//! SQLite as an audit store uses it: a row per leaf, the nonces unique, head and budget in a row of their own, one transaction per group.

use std::path::Path;

use rusqlite::{Connection, params};

use super::Store;
use super::leaves::{Group, Leaves};

pub(super) struct Sqlite {
    leaves: Leaves,
    connection: Connection,
}

impl Sqlite {
    pub(super) fn new(dir: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(dir.join("log.sqlite"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE leaf (seq INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
             CREATE TABLE used (nonce BLOB PRIMARY KEY) WITHOUT ROWID;
             CREATE TABLE head (one INTEGER PRIMARY KEY, size INTEGER NOT NULL, paid INTEGER NOT NULL, checkpoint TEXT NOT NULL);
             INSERT INTO head VALUES (1, 0, 0, '');",
        )?;
        Ok(Self {
            leaves: Leaves::new(),
            connection,
        })
    }
}

impl Store for Sqlite {
    fn keep(&mut self, leaves: usize) -> anyhow::Result<()> {
        let Group {
            first,
            leaves,
            nonces,
            paid,
            ..
        } = self.leaves.chained(leaves)?;
        let checkpoint = self.leaves.sign();
        let transaction = self.connection.transaction()?;
        {
            let mut leaf = transaction.prepare_cached("INSERT INTO leaf VALUES (?1, ?2)")?;
            let mut used = transaction.prepare_cached("INSERT INTO used VALUES (?1)")?;
            let mut seq = i64::try_from(first)?;
            for (bytes, nonce) in leaves.iter().zip(&nonces) {
                leaf.execute(params![seq, &**bytes])?;
                used.execute(params![nonce])?;
                seq += 1;
            }
            let mut head = transaction.prepare_cached(
                "UPDATE head SET size = ?1, paid = ?2, checkpoint = ?3 WHERE one = 1 AND size = ?4 AND ?2 <= 1 << 60",
            )?;
            let moved = head.execute(params![
                seq,
                i64::try_from(paid)?,
                checkpoint,
                i64::try_from(first)?
            ])?;
            anyhow::ensure!(moved == 1, "the head moved");
        }
        transaction.commit()?;
        Ok(())
    }
}
