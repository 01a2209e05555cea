//! Turns: who was too late locks the heads first, then reads on, decides and appends, all in one transaction.
//!
//! Others who reach such a head wait for the lock, and find then that it moved. Nothing rests on it: a turn that was not given, or
//! ended early, leaves an append that compares the head as always.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;

use tokio_postgres::Error;
use tokio_postgres::types::ToSql;

use super::link::{Link, Session};
use super::schema;

/// Whether a transaction is open, and on which connection.
#[derive(Default)]
pub(super) struct Turn(Option<u64>);

impl Turn {
    /// Waits for the heads of these logs, as long as is set for locks.
    pub(super) fn take(&mut self, link: &mut Link, logs: &BTreeSet<String>) {
        self.end(link);
        // Whatever is asked next says why there is none.
        let Ok(session) = link.session() else { return };
        let logs: Vec<String> = logs.iter().cloned().collect();
        self.0 = Some(session.number);
        let locked = link.call(async move {
            let client = &session.client;
            let params: [&(dyn ToSql + Sync); 1] = [&logs];
            // Sent together: one way to the server and back.
            let (begun, locked) = tokio::join!(
                client.batch_execute(schema::BEGIN_TURN),
                client.query(&session.turn, &params)
            );
            begun.and(locked.map(drop))
        });
        if let Err(failed) = locked {
            tracing::debug!(%failed, "Others had their turn for too long");
            self.end(link);
        }
    }

    /// Ends it with nothing written.
    pub(super) fn end(&mut self, link: &mut Link) {
        let Some(session) = self.of(link) else { return };
        let ended = link.call(async move { session.client.batch_execute(schema::END_TURN).await });
        if let Err(failed) = ended {
            tracing::debug!(%failed, "A turn ended with its connection");
            link.drop_session();
        }
    }

    /// Whether what is sent now on this connection is part of the turn, which is over with it.
    pub(super) fn ends_on(&mut self, session: &Session) -> bool {
        self.0.take() == Some(session.number)
    }

    fn of(&mut self, link: &mut Link) -> Option<Arc<Session>> {
        let number = self.0.take()?;
        let session = link.connected()?;
        (session.number == number).then_some(session)
    }
}

/// What `sent` gives, and where it is the end of a turn, once that is committed. Where it fails, that commit writes nothing.
pub(super) async fn committed<T>(
    session: &Session,
    ends_turn: bool,
    sent: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    if !ends_turn {
        return sent.await;
    }
    let commit = session.client.batch_execute(schema::KEEP_TURN);
    let (result, ended) = tokio::join!(sent, commit);
    let result = result?;
    ended.map(|()| result)
}
