//! Writes the log of a directory as one file, without a ledger; a writer may be at work meanwhile.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use actpass_core::evidence::leaf::{EventBody, Leaf};

use crate::disclosure::{DiscloseError, Disclosing, Leaves, LeavesError};
use crate::engine::checkpoint_name;
use crate::export::{First, VERSION, Writer};
use crate::storage::reader::SegmentReader;
use crate::storage::{Entry, StorageError};
use crate::vault::{Destroyed, Vault, VaultError};

/// Why a directory is not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Its files cannot be read, or are damaged.
    #[error("the log cannot be exported")]
    Storage(#[from] StorageError),
    /// It holds none, or several.
    #[error("the directory holds {0} logs, and a file is of one")]
    Logs(usize),
    /// Its end is not signed, or its first leaf is none.
    #[error(
        "log `{0}` has no signed checkpoint, or does not begin as a log does; run `actpass verify`"
    )]
    Unsigned(String),
    /// It has not the leaves of which texts are to be disclosed.
    #[error(transparent)]
    Leaves(#[from] LeavesError),
    /// Texts that are there cannot be disclosed.
    #[error("the texts cannot be disclosed")]
    Disclose(#[from] DiscloseError),
    /// The vault has no keys of these texts.
    #[error(
        "no texts of log `{0}` can be disclosed: the vault holds no keys of it; give the state directory that it is of"
    )]
    NoKeys(String),
    /// The vault cannot say.
    #[error("the vault")]
    Vault(#[from] VaultError),
    /// Nobody takes it.
    #[error("write the file")]
    Write(#[from] io::Error),
}

/// Writes the one log in `dir` as [`crate::export`] says; what its first line says. `disclose`: with the texts of these leaves, which
/// that vault opens.
///
/// # Errors
/// Where there is not one whole log, texts that are there cannot be opened, or `to` takes no more.
pub fn export_dir(
    dir: &Path,
    disclose: Option<(&Leaves, &Vault)>,
    to: &mut dyn Write,
) -> Result<First, ExportError> {
    let mut stored = SegmentReader::open_read_only(dir)?;
    let checked = stored.check()?;
    let [(log, head)] = checked.logs.as_slice() else {
        return Err(ExportError::Logs(checked.logs.len()));
    };
    let checkpoint = stored.blob(&checkpoint_name(log))?;
    let checkpoint = checkpoint.and_then(|note| String::from_utf8(note).ok());
    let key = key_of(dir, log)?;
    let (Some(checkpoint), Some(key)) = (checkpoint, key) else {
        return Err(ExportError::Unsigned(log.clone()));
    };
    let first = First {
        export: VERSION.to_owned(),
        leaves: head.size,
        log: log.clone(),
        key,
    };
    if let Some((leaves, vault)) = disclose {
        leaves.within(first.leaves)?;
        let tenant = log.strip_prefix("actpass/").unwrap_or(log);
        if vault.digest_key_made(tenant)?.is_none() {
            return Err(ExportError::NoKeys(log.clone()));
        }
    }
    let mut disclosing = match disclose {
        Some((leaves, vault)) => {
            let disclosing = Disclosing::new(log, leaves, vault);
            Some(disclosing.without(erased_in(dir, log)?))
        }
        None => None,
    };
    let (mut writer, line) = Writer::new(&first);
    to.write_all(&line)?;
    let mut written = Ok(());
    // What a writer has added since has no checkpoint here.
    SegmentReader::open_read_only(dir)?.replay(&mut |entry| {
        let lines = writer.lines(disclosing.as_mut(), entry);
        written = lines
            .map_err(ExportError::Disclose)
            .and_then(|lines| Ok(to.write_all(&lines)?));
        match written.is_err() || writer.complete() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    written?;
    to.write_all(&writer.last(checkpoint))?;
    Ok(first)
}

/// What the log says is erased, up to its very end: an erasure stands behind the texts that it is of.
fn erased_in(dir: &Path, origin: &str) -> Result<Destroyed, ExportError> {
    let (mut erased, mut taken) = (Destroyed::default(), Ok(()));
    SegmentReader::open_read_only(dir)?.replay(&mut |entry| {
        if let Entry::Leaf { log, bytes, .. } = entry
            && log == origin
            && let Ok(leaf) = Leaf::parse(bytes)
            && let Some(event) = leaf.event()
        {
            taken = erased.event(event);
        }
        match taken.is_err() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    taken?;
    Ok(erased)
}

/// The key that the log's first leaf names.
fn key_of(dir: &Path, origin: &str) -> Result<Option<String>, StorageError> {
    let mut key = None;
    SegmentReader::open_read_only(dir)?.replay(&mut |entry| match entry {
        Entry::Leaf { log, bytes, .. } if log == origin => {
            let leaf = Leaf::parse(bytes).ok();
            if let Some(EventBody::Genesis { log_key, .. }) = leaf.as_ref().and_then(Leaf::event) {
                key = Some(log_key.clone());
            }
            ControlFlow::Break(())
        }
        Entry::Leaf { .. } | Entry::Blob { .. } => ControlFlow::Continue(()),
    })?;
    Ok(key)
}
