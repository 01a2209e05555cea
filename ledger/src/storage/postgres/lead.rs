//! The lead among those who pass leaves on: a lock that belongs to a session, and a document that says how far they are.
//!
//! The lock is the server's, so it is free as soon as its connection ends. A holder that hangs is ended with its connection by the
//! server, after ten seconds without a question ([`TAKE`]). Leaves are read, settled and counted on the connection that has the lock: whoever lost it
//! reads nothing more and moves nothing.

use std::future::Future;
use std::sync::Arc;

use tokio_postgres::Error;

use super::groups::{Following, Group};
use super::link::{Failed, Session, unavailable};
use super::{PostgresStorage, said_no, schema, signed, unreadable, unsigned};
use crate::storage::{Entry, Head, Lead, Storage, StorageError};

/// The name of the document.
const CURSOR: &str = "tail/cursor";

const TAKE: &str = "SET idle_session_timeout = '10s'";
const LOCK: &str = "SELECT pg_try_advisory_lock(7165064744911798371)";

const KEPT: &str = "SELECT version, bytes FROM actpass.document WHERE name = $1";
const KEPT_VERSION: &str = "SELECT version FROM actpass.document WHERE name = $1";

/// A storage of which only what passing on needs is asked.
pub(super) struct PostgresLead {
    storage: PostgresStorage,
    /// Number of the connection that has the lead.
    term: Option<u64>,
}

impl PostgresLead {
    pub(super) fn new(storage: PostgresStorage) -> Self {
        Self {
            storage,
            term: None,
        }
    }

    /// A call that counts only on the connection that has the lead, and whose commit reached whatever a commit waits for.
    fn commit<T: Send + 'static, F>(
        &mut self,
        question: impl FnOnce(Arc<Session>) -> F,
    ) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let link = self.storage.link.get_mut();
        let session = link.session()?;
        if self.term != Some(session.number) {
            return Err(unavailable(
                &"the connection that had the lead among those who pass leaves on was lost",
            ));
        }
        session.take_warning();
        let result = link.call(question(session.clone()));
        match result {
            Ok(_) if session.take_warning() => {
                link.drop_session();
                let what = "whether what was read reached its standby is not known".to_owned();
                Err(unavailable(&Failed::Unknown(what)))
            }
            Ok(answer) => Ok(answer),
            Err(failed) => Err(said_no(&failed)),
        }
    }
}

impl Lead for PostgresLead {
    fn take(&mut self) -> Result<Option<u64>, StorageError> {
        let link = self.storage.link.get_mut();
        let session = link.session()?;
        let number = session.number;
        if self.term == Some(number) {
            return Ok(self.term);
        }
        let locked = link.call(async move {
            session.client.batch_execute(TAKE).await?;
            session.client.query_one(LOCK, &[]).await?.try_get(0)
        });
        let locked: bool = locked.map_err(|failed| said_no(&failed))?;
        self.term = locked.then_some(number);
        Ok(self.term)
    }

    fn moved(&mut self) -> Result<Vec<(String, Head)>, StorageError> {
        self.storage.moved()
    }

    fn leaves(
        &mut self,
        log: &str,
        from: u64,
        visit: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<bool, StorageError> {
        let (name, first) = (log.to_owned(), signed(from));
        let rows = self.storage.ask(async move |session: Arc<Session>| {
            session.client.query(schema::LEAVES, &[&name, &first]).await
        })?;
        let (mut following, mut bytes) = (Following::behind(log, from), 0_usize);
        for row in &rows {
            let group = Group::of(row).map_err(unreadable)?;
            let leaves: &[u8] = row.try_get(5).map_err(unreadable)?;
            bytes = bytes.saturating_add(leaves.len());
            let shown = following.show(&group, &mut |entry| {
                if let Entry::Leaf { seq, bytes, .. } = entry {
                    visit(seq, bytes);
                }
                std::ops::ControlFlow::Continue(())
            })?;
            debug_assert!(shown.is_continue());
        }
        Ok(rows.len() >= schema::PIECE_GROUPS || bytes >= schema::LEAVES_BYTES)
    }

    fn settle(&mut self) -> Result<(), StorageError> {
        self.commit(async |session: Arc<Session>| {
            let settled = session.client.query_one(schema::SETTLE, &[]).await;
            settled.map(drop)
        })
    }

    fn kept(&mut self) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
        self.storage.ask(async |session: Arc<Session>| {
            let row = session.client.query_opt(KEPT, &[&CURSOR]).await?;
            let of = |row: tokio_postgres::Row| Ok((unsigned(row.try_get(0)?), row.try_get(1)?));
            row.map(of).transpose()
        })
    }

    fn kept_version(&mut self) -> Result<Option<u64>, StorageError> {
        self.storage.ask(async |session: Arc<Session>| {
            let row = session.client.query_opt(KEPT_VERSION, &[&CURSOR]).await?;
            let version = row.map(|row| row.try_get(0)).transpose()?;
            Ok(version.map(unsigned))
        })
    }

    fn keep(&mut self, known: Option<u64>, bytes: &[u8]) -> Result<u64, StorageError> {
        let bytes = bytes.to_vec();
        let kept = self.commit(async move |session: Arc<Session>| {
            super::documents::put(&session, CURSOR, known, &bytes).await
        })?;
        match kept {
            0 => Err(unavailable(&"another ledger moved the cursor")),
            _ => Ok(known.map_or(1, |known| known.saturating_add(1))),
        }
    }
}
