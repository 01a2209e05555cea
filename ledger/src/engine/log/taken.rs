//! Takes logs in as the storage shows them: at the start, and where others went on with them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::ops::ControlFlow;
use std::sync::Arc;

use actpass_core::bundle::Bundle;
use actpass_core::hash::BundleDigest;

use super::{Log, OpenError};
use crate::engine::{Keys, Logs, Parts, checkpoint_name};
use crate::storage::{BlobKind, Entry, Head};

/// Reads all logs back from storage: each from the state that was kept of it, or from its first leaf.
pub(in crate::engine) fn read_all(parts: &mut Parts) -> Result<Logs, OpenError> {
    let mut kept = Logs::new();
    if let Some(files) = parts.storage.snapshots() {
        let names = files.names()?;
        for (origin, _) in parts.storage.logs() {
            if let Some(log) = Log::restored(&origin, files.of(&origin, &names)?, parts)? {
                kept.insert(origin, log);
            }
        }
    }
    let sizes = kept
        .iter()
        .map(|(origin, log)| (origin.clone(), log.size()));
    let sizes: BTreeMap<String, u64> = sizes.collect();
    let keys = Keys {
        log: &parts.log_key,
        vault: &parts.vault,
        sealed: parts.storage.sealed(),
    };
    let mut taken = Taken::new(kept);
    let visit = &mut |entry: Entry<'_>| taken.entry(entry, &keys);
    match sizes.is_empty() {
        true => parts.storage.replay(visit)?,
        false => parts.storage.replay_from(&sizes, visit)?,
    }
    let shared = parts.storage.is_shared();
    let logs = taken.finish(shared)?;
    if !shared {
        all_read(&logs, &parts.storage.logs())?;
    }
    Ok(logs)
}

/// Makes sure that no log ends before its leaves in the storage do.
fn all_read(logs: &Logs, stored: &[(String, Head)]) -> Result<(), OpenError> {
    for (origin, head) in stored {
        let read = logs.get(origin).map_or(0, Log::size);
        if read != head.size {
            return Err(OpenError::Damaged {
                log: origin.clone(),
                seq: read,
                what: format!("the storage has {} leaves and showed no more", head.size),
            });
        }
    }
    Ok(())
}

/// Takes in what the storage has of a log behind the leaves that are known.
pub(in crate::engine) fn read_on(
    logs: &mut Logs,
    origin: &str,
    parts: &mut Parts,
) -> Result<(), OpenError> {
    let keys = Keys {
        log: &parts.log_key,
        vault: &parts.vault,
        sealed: parts.storage.sealed(),
    };
    let known = logs.remove_entry(origin);
    let from = known.as_ref().map_or(0, |(_, log)| log.size());
    let mut taken = Taken::new(known.into_iter().collect());
    let shown = parts
        .storage
        .tail(origin, from, &mut |entry| taken.entry(entry, &keys));
    if let Err(error) = shown {
        // What was shown follows, so it stays; the rest is read once the storage shows it.
        logs.extend(taken.logs);
        return Err(error.into());
    }
    logs.extend(taken.finish(parts.storage.is_shared())?);
    Ok(())
}

/// Logs while they are read, with the checkpoint shown last of each.
struct Taken {
    logs: Logs,
    signed: BTreeMap<String, Vec<u8>>,
    failed: Option<OpenError>,
}

impl Taken {
    fn new(logs: Logs) -> Self {
        Self {
            logs,
            signed: BTreeMap::new(),
            failed: None,
        }
    }

    fn entry(&mut self, entry: Entry<'_>, keys: &Keys<'_>) -> ControlFlow<()> {
        let taken = match entry {
            Entry::Blob {
                log,
                kind,
                name,
                bytes,
            } => self.blob(log, kind, name, bytes, keys),
            Entry::Leaf { log, bytes, .. } => self.leaf(log, bytes, keys),
        };
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn log(&mut self, origin: &str, keys: &Keys<'_>) -> Result<&mut Log, OpenError> {
        match self.logs.entry(origin.to_owned()) {
            MapEntry::Occupied(known) => Ok(known.into_mut()),
            MapEntry::Vacant(new) => Ok(new.insert(Log::new(origin, keys)?)),
        }
    }

    /// A leaf that names a bundle needs its bytes, which come before it.
    fn blob(
        &mut self,
        origin: &str,
        kind: BlobKind,
        name: &[u8; 32],
        bytes: &[u8],
        keys: &Keys<'_>,
    ) -> Result<(), OpenError> {
        match kind {
            BlobKind::Bundle => {
                let bundle = Bundle::parse(bytes).map_err(|source| OpenError::Bundle {
                    digest: BundleDigest::from_bytes(*name),
                    source: Box::new(source),
                })?;
                self.log(origin, keys)?.learn(Arc::new(bundle));
            }
            BlobKind::State if *name == checkpoint_name(origin) => {
                self.signed.insert(origin.to_owned(), bytes.to_vec());
            }
            BlobKind::State | BlobKind::SideFrame { .. } | BlobKind::Sealed => {}
        }
        Ok(())
    }

    fn leaf(&mut self, origin: &str, bytes: &[u8], keys: &Keys<'_>) -> Result<(), OpenError> {
        let log = self.log(origin, keys)?;
        let seq = log.size();
        log.read_back(bytes).map_err(|what| OpenError::Damaged {
            log: origin.to_owned(),
            seq,
            what,
        })?;
        log.forget_ended();
        Ok(())
    }

    fn finish(mut self, shared: bool) -> Result<Logs, OpenError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        // Blobs without leaves make no log.
        self.logs.retain(|_, log| log.size() > 0 || log.was_kept());
        for (origin, log) in &mut self.logs {
            log.check_key()?;
            if !log.holds_durable() {
                return Err(OpenError::Unsigned {
                    log: origin.clone(),
                    what: "leaves that were durable are not in it any more".to_owned(),
                });
            }
            match self.signed.get(origin) {
                // Nothing came after what was known; a checkpoint that was shown may be an older one.
                _ if log.was_kept() && log.is_all_durable() => {}
                Some(signed) => {
                    let signed = log.check_signed(Some(signed))?;
                    log.is_durable(signed, shared);
                }
                None => drop(log.check_signed(None)?),
            }
        }
        Ok(self.logs)
    }
}
