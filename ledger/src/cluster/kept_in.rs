//! Where log and vault are kept: on the volume, or in PostgreSQL.

use std::path::{Path, PathBuf};

use actpass_ledger::storage::segment::{SegmentOptions, SegmentStorage};
use actpass_ledger::storage::{PostgresConfig, PostgresDocuments, PostgresStorage, Storage};
use actpass_ledger::vault::{Kek, Vault};
use anyhow::Context;
use zeroize::Zeroizing;

pub(super) enum KeptIn {
    Volume(PathBuf),
    Postgres(Box<PostgresConfig>),
}

impl KeptIn {
    /// As the flags say.
    pub(super) fn new(
        data: &Path,
        url: Option<&str>,
        password: Option<&Path>,
        authorities: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let Some(url) = url else {
            return Ok(Self::Volume(data.to_owned()));
        };
        let read = |file: &Path| {
            let text = std::fs::read_to_string(file);
            text.with_context(|| format!("read `{}`", file.display()))
        };
        let password = password.map(read).transpose()?.map(Zeroizing::new);
        // Editors and `kubectl create secret` leave an end of line, which is no part of it.
        let password = password.map(|text| Zeroizing::new(text.trim_end_matches('\n').to_owned()));
        let authorities = authorities.map(read).transpose()?;
        let authorities = authorities.as_deref().map(str::as_bytes);
        let config = PostgresConfig::parse(url, password.as_ref(), authorities)?;
        Ok(Self::Postgres(Box::new(config)))
    }

    /// What would be lost with the ledger's keys.
    pub(super) fn need_of_keys(&self) -> anyhow::Result<bool> {
        match self {
            Self::Volume(_) => Ok(false),
            Self::Postgres(config) => {
                let mut storage = PostgresStorage::open((**config).clone())?;
                Ok(!storage.moved()?.is_empty())
            }
        }
    }

    pub(super) fn storage(&self) -> anyhow::Result<Box<dyn Storage>> {
        match self {
            Self::Volume(data) => {
                let storage = SegmentStorage::open(&data.join("log"), SegmentOptions::shared());
                Ok(Box::new(storage.context("the log cannot be opened")?))
            }
            Self::Postgres(config) => {
                let storage = PostgresStorage::open((**config).clone());
                Ok(Box::new(storage.context("the log cannot be opened")?))
            }
        }
    }

    pub(super) fn vault(&self, kek: Kek) -> anyhow::Result<Vault> {
        Ok(match self {
            Self::Volume(data) => Vault::open(&data.join("vault"), kek)?,
            Self::Postgres(config) => {
                Vault::over(Box::new(PostgresDocuments::open((**config).clone())?), kek)?
            }
        })
    }

    /// The same for who only looks: what they change is in memory.
    pub(super) fn vault_to_look_at(&self, kek: Kek) -> anyhow::Result<Vault> {
        Ok(match self {
            Self::Volume(data) => Vault::look(&data.join("vault"), kek)?,
            Self::Postgres(config) => {
                let documents = PostgresDocuments::open((**config).clone())?;
                Vault::look_over(Box::new(documents), kek)?
            }
        })
    }
}
