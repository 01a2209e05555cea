//! The vault's documents in a table: what it writes is sealed and authenticated before it comes here. `lead.rs` keeps one beside them.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_postgres::{Error, Row};
use zeroize::Zeroizing;

use super::link::{Failed, Link, Session};
use super::{PostgresConfig, StorageError, signed, unsigned};
use crate::vault::{Document, Documents, VaultError};

const NEWER: &str = "
SELECT document.name, document.version, document.bytes
FROM unnest($1::text[], $2::bigint[]) AS known (name, version) JOIN actpass.document USING (name)
WHERE document.version <> known.version";

const FIRST: &str =
    "INSERT INTO actpass.document (name, version, bytes) VALUES ($1, 1, $2) ON CONFLICT DO NOTHING";

const NEXT: &str = "UPDATE actpass.document SET version = version + 1, bytes = $2 WHERE name = $1 AND version = $3";

/// A version that no document has.
const NONE: i64 = -1;

/// Documents on a connection of their own.
pub struct PostgresDocuments(Mutex<Link>);

impl PostgresDocuments {
    /// Connects, as [`super::PostgresStorage::open`] does.
    ///
    /// # Errors
    /// As there.
    pub fn open(config: PostgresConfig) -> Result<Self, StorageError> {
        let mut link = Link::new(config)?;
        link.session()?;
        Ok(Self(Mutex::new(link)))
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        // A call that did not end has dropped its connection.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Documents for PostgresDocuments {
    fn newer(&self, known: &[(&str, Option<u64>)]) -> Result<Vec<Document>, VaultError> {
        let known = known.iter();
        let (names, versions): (Vec<String>, Vec<i64>) = known
            .map(|(name, version)| ((*name).to_owned(), version.map_or(NONE, signed)))
            .unzip();
        let mut link = self.link();
        let session = link.session().map_err(|error| away(&error))?;
        let rows = link.call(async move {
            let rows = session.client.query(NEWER, &[&names, &versions]).await?;
            rows.iter().map(document).collect::<Result<_, _>>()
        });
        rows.map_err(|failed| away(&failed))
    }

    fn replace(
        &self,
        name: &str,
        known: Option<u64>,
        bytes: &[u8],
    ) -> Result<Option<u64>, VaultError> {
        let mut link = self.link();
        let session = link.session().map_err(|error| away(&error))?;
        let (name, bytes) = (name.to_owned(), Zeroizing::new(bytes.to_vec()));
        let sent = session.clone();
        session.take_warning();
        let replaced = link.call(async move { put(&sent, &name, known, &bytes).await });
        match replaced {
            Ok(_) if session.take_warning() => {
                link.drop_session();
                let what = "whether a change reached its standby is not known".to_owned();
                Err(away(&Failed::Unknown(what)))
            }
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(known.map_or(1, |known| known.saturating_add(1)))),
            Err(failed) => Err(away(&failed)),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("actpass.document").join(name)
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// Puts a document in place of that version; 0 where another is there.
pub(super) async fn put(
    session: &Session,
    name: &str,
    known: Option<u64>,
    bytes: &[u8],
) -> Result<u64, Error> {
    let client = &session.client;
    match known.map(signed) {
        None => client.execute(FIRST, &[&name, &bytes]).await,
        Some(known) => client.execute(NEXT, &[&name, &bytes, &known]).await,
    }
}

fn document(row: &Row) -> Result<Document, Error> {
    Ok(Document {
        name: row.try_get(0)?,
        version: unsigned(row.try_get(1)?),
        bytes: Zeroizing::new(row.try_get(2)?),
    })
}

fn away(why: &dyn std::fmt::Display) -> VaultError {
    VaultError::Away(why.to_string())
}
