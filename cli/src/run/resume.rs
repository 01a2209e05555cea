//! What killed runs left in their ring files, sent to the log before a new run begins.

use std::path::{Path, PathBuf};

use actpass_core::error::chain;
use actpass_core::evidence::checkpoint::NoteVerifier;
use actpass_sidecar::ledger_client::LedgerAddress;
use actpass_sidecar::resume::{ResumeError, Resumed, resume};
use actpass_sidecar::shipper::ShipError;
use anyhow::Context;

use super::ledger::Opened;
use crate::state::StateDir;

/// Sends what is left in each ring file. Whoever holds the ledger's lock is alone, so the files' writers are gone.
///
/// A file that the ledger will never take is put aside under another name, with its records; where the ledger cannot take
/// anything now, no run begins.
pub(super) async fn all(state: &StateDir, opened: &Opened) -> anyhow::Result<()> {
    let origin = format!("actpass/{}", state.tenant()?);
    for path in ring_files(&state.rings()?)? {
        let address = LedgerAddress {
            address: opened.ledger.address().to_string(),
            authorities: vec![opened.certificate.clone()],
        };
        let log = NoteVerifier::new(origin.clone(), opened.log_key);
        match resume(&path, address, log).await {
            Ok(resumed) => {
                if let Resumed::Ended { records } | Resumed::Sent { records } = resumed {
                    tracing::info!(path = %path.display(), records, "Records of an earlier run sent");
                }
                std::fs::remove_file(&path)
                    .with_context(|| format!("remove `{}`", path.display()))?;
            }
            Err(error) if may_pass(&error) => {
                return Err(error)
                    .with_context(|| format!("records of an earlier run in `{}`", path.display()));
            }
            Err(error) => {
                let aside = path.with_extension("unsent");
                tracing::error!(
                    error = %chain(&error),
                    path = %aside.display(),
                    "Records of an earlier run cannot be sent; they are kept here"
                );
                std::fs::rename(&path, &aside)
                    .with_context(|| format!("rename `{}`", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Whether another try may end otherwise.
fn may_pass(error: &ResumeError) -> bool {
    match error {
        ResumeError::Ship(ShipError::Refused(error)) | ResumeError::Ledger(error) => {
            error.may_pass()
        }
        _ => false,
    }
}

fn ring_files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "ring")
            {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    };
    read().with_context(|| format!("read `{}`", dir.display()))
}
