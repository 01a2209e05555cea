//! Leaves in PostgreSQL, for several ledgers over the same logs.
//!
//! A group is one row and one commit, whatever the number of logs in an append: one statement locks the heads, compares them with
//! those asked for, and writes what belongs to the logs that are there still. Whoever was faster shows by the head. Who was late may lock
//! the heads before it decides anew (`postgres/turn.rs`).
//!
//! # Guarantees
//! - [`Appended::Appended`] is said after the server's commit, which waited for its disk, and for its standby where it is set so.
//! - A connection lost during an append, a server that does not answer in time, and its warning that a commit may have reached no
//!   standby are [`Appended::Unknown`]. The next connection first commits something behind all it can see, so that whatever is
//!   found then by its hash has reached the standby too.
//! - Every call ends within a bound, and the connection is made anew by the next one.
//!
//! # Assumptions
//! PostgreSQL loses no commit whose settings are those of `postgres/checks.rs`. A standby that is promoted without the last
//! commits is found by who had seen them: the head of a log goes back.

mod checks;
mod config;
mod documents;
mod groups;
mod lead;
mod link;
mod rows;
mod schema;
mod turn;
mod write;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

pub use self::config::PostgresConfig;
pub use self::documents::PostgresDocuments;
use self::groups::{Following, Group, START};
use self::lead::PostgresLead;
use self::link::{Failed, Link, Session, unavailable};
use self::turn::{Turn, committed};
use self::write::{Asked, Found, after};
use super::{
    Appended, BlobKind, Entry, Head, LeadOpener, LogGroup, Opener, Storage, StorageError,
    check_bounds, leaf_hash,
};

/// Bytes that one append may have: a statement and what the server makes of it lie in memory several times.
const APPEND_BYTES_MAX: usize = 32 << 20;

/// How often an append is tried that the server refused because of others: each may have waited for a lock as long as is set.
const TRIES_MAX: usize = 3;

/// A storage in PostgreSQL.
pub struct PostgresStorage {
    link: RefCell<Link>,
    turn: Turn,
    /// Where each log ended when that was told last.
    told: BTreeMap<String, Head>,
    /// The oldest transaction under way then, and the connection that said so.
    since: u64,
    connection: Option<u64>,
}

impl PostgresStorage {
    /// Connects, and makes the tables where there are none.
    ///
    /// # Errors
    /// [`StorageError::Refused`] where the server is not set so that what it commits stays, [`StorageError::Unavailable`] where
    /// it does not answer.
    pub fn open(config: PostgresConfig) -> Result<Self, StorageError> {
        let mut link = Link::new(config)?;
        link.session()?;
        Ok(Self {
            link: RefCell::new(link),
            turn: Turn::default(),
            told: BTreeMap::new(),
            since: 0,
            connection: None,
        })
    }

    /// Appends to logs of which no two are the same.
    fn append_each(&mut self, groups: &[&LogGroup]) -> Result<Vec<Appended>, StorageError> {
        self.begin_logs(groups)?;
        for _ in 0..TRIES_MAX {
            let session = self.link.get_mut().session()?;
            let asked = Asked::of(groups);
            let ends_turn = self.turn.ends_on(&session);
            let (sent, warned) = (session.clone(), session);
            warned.take_warning();
            let result = self.link.get_mut().call(async move {
                let found = asked.append(&sent);
                committed(&sent, ends_turn, found).await
            });
            match result {
                Ok(_) if warned.take_warning() => {
                    self.link.get_mut().drop_session();
                    return Ok(groups.iter().map(|_| Appended::Unknown).collect());
                }
                Ok(found) => return self.appended(groups, &found),
                Err(Failed::Unknown(what)) => {
                    tracing::warn!(%what, "PostgreSQL did not say what became of a write");
                    return Ok(groups.iter().map(|_| Appended::Unknown).collect());
                }
                Err(failed) if is_contention(&failed) => {
                    tracing::debug!(%failed, "A write met another one");
                }
                Err(failed) => return Err(said_no(&failed)),
            }
        }
        Err(unavailable(&"others hold its rows locked"))
    }

    /// A row for each log that has none.
    fn begin_logs(&mut self, groups: &[&LogGroup]) -> Result<(), StorageError> {
        let new = groups.iter().filter(|group| group.expected_head.size == 0);
        let (names, hashes): (Vec<String>, Vec<Vec<u8>>) = new
            .map(|group| (group.log.clone(), Head::genesis(&group.log).hash.to_vec()))
            .unzip();
        if names.is_empty() {
            return Ok(());
        }
        let session = self.link.get_mut().session()?;
        let made = self.link.get_mut().call(async move {
            let client = &session.client;
            client.execute(schema::BEGIN_LOGS, &[&names, &hashes]).await
        });
        made.map(drop).map_err(|failed| said_no(&failed))
    }

    fn appended(
        &mut self,
        groups: &[&LogGroup],
        found: &[Found],
    ) -> Result<Vec<Appended>, StorageError> {
        let found: BTreeMap<&str, &Found> = found.iter().map(|it| (&*it.log, it)).collect();
        let mut results = Vec::with_capacity(groups.len());
        for group in groups {
            let result = match found.get(&*group.log) {
                None => Appended::Conflict {
                    found: Head::genesis(&group.log),
                },
                Some(Found { moved: true, .. }) => Appended::Appended { head: after(group) },
                Some(Found { head, .. }) => Appended::Conflict { found: *head },
            };
            if let Appended::Appended { head } = result {
                self.told.insert(group.log.clone(), head);
            }
            results.push(result);
        }
        Ok(results)
    }
}

impl Storage for PostgresStorage {
    fn append(&mut self, groups: &[LogGroup]) -> Result<Vec<Appended>, StorageError> {
        check(groups)?;
        let mut results = Vec::with_capacity(groups.len());
        while let Some(rest) = groups.get(results.len()..).filter(|rest| !rest.is_empty()) {
            let mut logs = BTreeSet::new();
            let some = rest.iter().take_while(|group| logs.insert(&*group.log));
            let some: Vec<&LogGroup> = some.collect();
            match self.append_each(&some) {
                Ok(each) => results.extend(each),
                Err(error) if results.is_empty() => return Err(error),
                // What came before is kept, so this is no call of which nothing is.
                Err(error) => {
                    tracing::warn!(%error, "The second group of a log is not appended");
                    results.extend(rest.iter().map(|_| Appended::Unknown));
                }
            }
        }
        Ok(results)
    }

    fn replay(
        &mut self,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let mut logs = self.heads()?;
        let mut place = START;
        loop {
            let rows = self.ask(async move |session| {
                let (log, first, nth) = place;
                let client = &session.client;
                client.query(schema::GROUPS, &[&log, &first, &nth]).await
            })?;
            for row in &rows {
                let group = Group::of(row).map_err(unreadable)?;
                place = group.place;
                // A log that was begun since is told of by `moved`.
                let Some(log) = logs.get_mut(&place.0) else {
                    continue;
                };
                if log.show(&group, visit)?.is_break() {
                    return Ok(());
                }
            }
            if rows.is_empty() {
                return logs.values().try_for_each(Following::ended);
            }
        }
    }

    fn tail(
        &mut self,
        log: &str,
        from: u64,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let mut following = Following::behind(log, from);
        let mut place = START;
        loop {
            let (log, from) = (log.to_owned(), signed(from));
            let rows = self.ask(async move |session| {
                let (_, first, nth) = place;
                let params: [&(dyn ToSql + Sync); 4] = [&log, &from, &first, &nth];
                session.client.query(&session.tail, &params).await
            })?;
            for row in &rows {
                let group = Group::of(row).map_err(unreadable)?;
                place = group.place;
                let shown = following.show(&group, &mut |entry| match entry {
                    Entry::Leaf { seq, .. } if signed(seq) < from => ControlFlow::Continue(()),
                    entry => visit(entry),
                })?;
                if shown.is_break() {
                    return Ok(());
                }
            }
            if is_all(&rows).map_err(unreadable)? {
                return Ok(());
            }
        }
    }

    fn blob(&self, name: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError> {
        let wanted = name.to_vec();
        let row = self
            .ask(async move |session| session.client.query_opt(schema::NAMED, &[&wanted]).await)?;
        row.map_or(Ok(None), |row| blob_in(&row, name))
    }

    fn side_frame(
        &self,
        log: &str,
        seq: u64,
        name: &[u8; 32],
    ) -> Result<Option<Vec<u8>>, StorageError> {
        let (log, seq) = (log.to_owned(), signed(seq));
        let row = self.ask(async move |session| {
            session.client.query_opt(schema::HOLDS, &[&log, &seq]).await
        })?;
        row.map_or(Ok(None), |row| blob_in(&row, name))
    }

    /// As they were told last.
    fn logs(&self) -> Vec<(String, Head)> {
        self.told
            .iter()
            .map(|(log, head)| (log.clone(), *head))
            .collect()
    }

    /// As it was told last.
    fn head(&self, log: &str) -> Head {
        let told = self.told.get(log).copied();
        told.unwrap_or_else(|| Head::genesis(log))
    }

    fn append_bytes_max(&self) -> usize {
        APPEND_BYTES_MAX
    }

    fn another(&self) -> Option<Opener> {
        let config = self.link.borrow().config().clone();
        Some(Arc::new(move || {
            Ok(Box::new(PostgresStorage::open(config.clone())?))
        }))
    }

    fn lead(&self) -> Option<LeadOpener> {
        let config = self.link.borrow().config().clone();
        Some(Arc::new(move || {
            let storage = PostgresStorage::open(config.clone())?;
            Ok(Box::new(PostgresLead::new(storage)))
        }))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn take_turn(&mut self, logs: &BTreeSet<String>) {
        self.turn.take(self.link.get_mut(), logs);
    }

    fn end_turn(&mut self) {
        self.turn.end(self.link.get_mut());
    }

    fn moved(&mut self) -> Result<Vec<(String, Head)>, StorageError> {
        let session = self.link.get_mut().session()?;
        // Another server may count its transactions anew, so a new connection is told of all.
        let all = self.connection != Some(session.number);
        let since = if all { 0 } else { self.since };
        let asked = self.link.get_mut().call(async move {
            let since = since.to_string();
            let rows = session.client.query(&session.moved, &[&since]).await?;
            let heads = rows.iter().map(Changed::of).collect::<Result<Vec<_>, _>>();
            Ok((session.number, heads?))
        });
        let (number, rows) = asked.map_err(|failed| said_no(&failed))?;
        if rows.iter().any(|row| row.recovering) {
            self.link.get_mut().drop_session();
            return Err(unavailable(&"it has become a standby"));
        }
        let oldest = rows.first().map_or(since, |row| row.oldest);
        let moved = self.take_told(rows, all);
        (self.connection, self.since) = (Some(number), oldest);
        Ok(moved)
    }
}

impl PostgresStorage {
    fn ask<T: Send + 'static, F>(
        &self,
        question: impl FnOnce(Arc<Session>) -> F,
    ) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut link = self.link.borrow_mut();
        let session = link.session()?;
        let answer = link.call(question(session));
        answer.map_err(|failed| said_no(&failed))
    }

    /// All logs, to be read from their first leaf on.
    fn heads(&self) -> Result<BTreeMap<i64, Following>, StorageError> {
        let rows =
            self.ask(async |session: Arc<Session>| session.client.query(schema::HEADS, &[]).await)?;
        let of = |row: &Row| -> Result<_, Error> {
            let head = head_of(row.try_get(2)?, row.try_get(3)?);
            Ok((row.try_get(0)?, Following::of(row.try_get(1)?, head)))
        };
        rows.iter()
            .map(of)
            .collect::<Result<_, _>>()
            .map_err(unreadable)
    }

    /// The heads that are others than those told before; of a log that is gone, that it is empty.
    fn take_told(&mut self, rows: Vec<Changed>, all: bool) -> Vec<(String, Head)> {
        let mut moved: Vec<(String, Head)> = rows.into_iter().filter_map(|row| row.head).collect();
        if all {
            let here: BTreeSet<&String> = moved.iter().map(|(log, _)| log).collect();
            let gone = self.told.keys().filter(|log| !here.contains(log));
            let gone: Vec<_> = gone.map(|log| (log.clone(), Head::genesis(log))).collect();
            moved.extend(gone);
        }
        moved.retain(|(log, head)| match self.told.get(log) {
            // A new connection may be to a server that went back to what was told once.
            Some(told) => all || told != head,
            // Begun, and nothing in it yet.
            None => head.size > 0,
        });
        self.told.extend(moved.iter().cloned());
        moved
    }
}

/// Whether a piece is all there is: one that is cut off has as many groups or bytes as a piece has at most.
fn is_all(rows: &[Row]) -> Result<bool, Error> {
    let mut bytes = 0_usize;
    for row in rows {
        let (leaves, blobs): (&[u8], &[u8]) = (row.try_get(5)?, row.try_get(6)?);
        bytes = bytes
            .saturating_add(leaves.len())
            .saturating_add(blobs.len());
    }
    Ok(rows.len() < schema::PIECE_GROUPS && bytes < schema::PIECE_BYTES)
}

/// A row of what is asked by [`Storage::moved`].
struct Changed {
    /// The oldest transaction under way.
    oldest: u64,
    recovering: bool,
    head: Option<(String, Head)>,
}

impl Changed {
    fn of(row: &Row) -> Result<Self, Error> {
        let log: Option<String> = row.try_get(2)?;
        let head = match log {
            Some(log) => Some((log, head_of(row.try_get(3)?, row.try_get(4)?))),
            None => None,
        };
        let oldest: &str = row.try_get(0)?;
        Ok(Self {
            // A number of 64 bits, or else all is told again.
            oldest: oldest.parse().unwrap_or(0),
            recovering: row.try_get(1)?,
            head,
        })
    }
}

fn blob_in(row: &Row, name: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError> {
    let read = || -> Result<_, Error> {
        Ok(rows::Row {
            log: row.try_get(0)?,
            first: unsigned(row.try_get(1)?),
            leaves_count: 0,
            blobs_count: unsigned(row.try_get(2)?),
            leaves: &[],
            blobs: row.try_get(3)?,
        })
    };
    read().map_err(unreadable)?.blob(name)
}

/// The bounds of an append, tested before anything is sent.
fn check(groups: &[LogGroup]) -> Result<(), StorageError> {
    let mut bytes = 0_usize;
    for group in groups {
        check_bounds(group)?;
        let leaves = group.leaves.iter().map(|leaf| leaf.len());
        let blobs = group.blobs.iter().map(|blob| blob.bytes.len());
        bytes = bytes.saturating_add(leaves.chain(blobs).sum());
    }
    match bytes <= APPEND_BYTES_MAX {
        true => Ok(()),
        false => Err(StorageError::TooLarge {
            what: "append",
            bytes,
            max: APPEND_BYTES_MAX,
        }),
    }
}

/// Refused because of others that are under way; nothing was written.
fn is_contention(failed: &Failed) -> bool {
    let of_others = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
    ];
    failed.code().is_some_and(|code| of_others.contains(code))
}

/// What a call that failed says of the storage, where it does not matter whether anything was done.
fn said_no(failed: &Failed) -> StorageError {
    let damaged = [
        SqlState::DATA_CORRUPTED,
        SqlState::INDEX_CORRUPTED,
        SqlState::UNIQUE_VIOLATION,
    ];
    match failed.code() {
        Some(code) if *code == SqlState::DISK_FULL => StorageError::NoSpace {
            path: PathBuf::from("PostgreSQL"),
        },
        Some(code) if damaged.contains(code) => StorageError::DamagedTables {
            what: failed.to_string(),
        },
        _ => unavailable(failed),
    }
}

fn unreadable(error: Error) -> StorageError {
    said_no(&Failed::from(error))
}

fn head_of(size: i64, hash: &[u8]) -> Head {
    Head {
        size: unsigned(size),
        // A head of another length is nobody's.
        hash: hash.try_into().unwrap_or_default(),
    }
}

/// The table's numbers are never negative.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
