//! What a server has to be set to before anything is kept there.

use tokio_postgres::{Error, Row};

use super::StorageError;
use super::config::refused;

/// Oldest major version that is tried.
const VERSION_MIN: i32 = 15;

/// What a server says of itself.
pub(super) struct Settings {
    version: i32,
    fsync: String,
    full_page_writes: String,
    synchronous_commit: String,
    data_checksums: String,
    read_only: String,
    in_recovery: bool,
    /// Made with the cluster, and the same on every standby of it.
    pub(super) system: i64,
}

impl Settings {
    pub(super) fn of(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            version: row.try_get(0)?,
            fsync: row.try_get(1)?,
            full_page_writes: row.try_get(2)?,
            synchronous_commit: row.try_get(3)?,
            data_checksums: row.try_get(4)?,
            read_only: row.try_get(5)?,
            in_recovery: row.try_get(6)?,
            system: row.try_get(7)?,
        })
    }

    /// Whether what is committed there stays.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        let major = self.version / 10_000;
        if major < VERSION_MIN {
            return Err(refused(format!(
                "it is version {major}; from {VERSION_MIN} on it is tried"
            )));
        }
        if self.in_recovery {
            return Err(refused(
                "it is a standby; give the address of the primary".to_owned(),
            ));
        }
        if self.read_only != "off" {
            return Err(refused(
                "`default_transaction_read_only` is on; set it off for this role and database"
                    .to_owned(),
            ));
        }
        let on = [
            (
                "fsync",
                &self.fsync,
                "a crash of the machine loses what was acknowledged; set `fsync = on`",
            ),
            (
                "full_page_writes",
                &self.full_page_writes,
                "a crash of the machine tears pages; set `full_page_writes = on`",
            ),
            (
                "data_checksums",
                &self.data_checksums,
                "a damaged page is not found; stop it and run `pg_checksums --enable`",
            ),
        ];
        for (name, value, what) in on {
            if value != "on" {
                return Err(refused(format!("`{name}` is {value}: {what}")));
            }
        }
        match self.synchronous_commit.as_str() {
            "on" | "remote_apply" => Ok(()),
            other => Err(refused(format!(
                "`synchronous_commit` is {other}: a commit is acknowledged before it is durable; set `synchronous_commit = on` \
                 for the server, this role and this database"
            ))),
        }
    }

    /// Set for the session, so that no later change of the server's makes an answer early.
    pub(super) fn commit_level(&self) -> &str {
        &self.synchronous_commit
    }
}
