//! What an append asks for, and what it finds.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

use super::link::Session;
use super::{BlobKind, Head, LogGroup, head_of, rows, signed};

/// Groups in columns.
#[derive(Default)]
pub(super) struct Asked {
    logs: Vec<String>,
    sizes: Vec<i64>,
    hashes: Vec<Vec<u8>>,
    new_sizes: Vec<i64>,
    new_hashes: Vec<Vec<u8>>,
    leaves: Vec<Vec<u8>>,
    blobs: Vec<Vec<u8>>,
    leaves_counts: Vec<i64>,
    blobs_counts: Vec<i64>,
    names: Vec<Vec<u8>>,
    names_logs: Vec<String>,
}

impl Asked {
    pub(super) fn of(groups: &[&LogGroup]) -> Self {
        let mut asked = Self::default();
        for group in groups {
            let (head, new) = (group.expected_head, after(group));
            asked.logs.push(group.log.clone());
            asked.sizes.push(signed(head.size));
            asked.hashes.push(head.hash.to_vec());
            asked.new_sizes.push(signed(new.size));
            asked.new_hashes.push(new.hash.to_vec());
            let leaves = rows::leaves(&group.log, head.size, &group.leaves);
            asked.leaves.push(leaves);
            asked.blobs.push(rows::blobs(&group.log, &group.blobs));
            asked.leaves_counts.push(count(group.leaves.len()));
            asked.blobs_counts.push(count(group.blobs.len()));
            for blob in &group.blobs {
                // There are as many as leaves; these are found by theirs.
                if !matches!(blob.kind, BlobKind::SideFrame { .. }) {
                    asked.names.push(blob.name.to_vec());
                    asked.names_logs.push(group.log.clone());
                }
            }
        }
        asked
    }

    /// Where it is about one log.
    fn one(&self) -> Option<[&(dyn ToSql + Sync); 10]> {
        let ([log], [size], [hash]) = (&*self.logs, &*self.sizes, &*self.hashes) else {
            return None;
        };
        Some([
            log,
            size,
            hash,
            self.new_sizes.first()?,
            self.new_hashes.first()?,
            self.leaves.first()?,
            self.blobs.first()?,
            self.leaves_counts.first()?,
            self.blobs_counts.first()?,
            &self.names,
        ])
    }

    /// That it was moved on, where it is about one log.
    fn moved(&self) -> Vec<Found> {
        let new = self.new_sizes.iter().zip(&self.new_hashes);
        let new = self.logs.iter().zip(new);
        new.map(|(log, (size, hash))| Found {
            log: log.clone(),
            head: head_of(*size, hash),
            moved: true,
        })
        .collect()
    }

    /// Appends it, and says what was found.
    pub(super) async fn append(&self, session: &Session) -> Result<Vec<Found>, Error> {
        let client = &session.client;
        if let Some(params) = self.one()
            && !client.query(&session.append_one, &params).await?.is_empty()
        {
            return Ok(self.moved());
        }
        let rows = client.query(&session.append, &self.params()).await?;
        rows.iter().map(Found::of).collect()
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 11] {
        [
            &self.logs,
            &self.sizes,
            &self.hashes,
            &self.new_sizes,
            &self.new_hashes,
            &self.leaves,
            &self.blobs,
            &self.leaves_counts,
            &self.blobs_counts,
            &self.names,
            &self.names_logs,
        ]
    }
}

/// Where a log was found to end, and whether it was moved on.
pub(super) struct Found {
    pub(super) log: String,
    pub(super) head: Head,
    pub(super) moved: bool,
}

impl Found {
    pub(super) fn of(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            log: row.try_get(0)?,
            head: head_of(row.try_get(1)?, row.try_get(2)?),
            moved: row.try_get(3)?,
        })
    }
}

/// The head behind a group.
pub(super) fn after(group: &LogGroup) -> Head {
    let mut head = group.expected_head;
    if let Some(last) = group.leaves.last() {
        head = head.after_hash(last.hash());
        let leaves = u64::try_from(group.leaves.len()).unwrap_or(u64::MAX);
        head.size = group.expected_head.size.saturating_add(leaves);
    }
    head
}

fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
