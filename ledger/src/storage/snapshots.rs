//! Files beside the segments that save a start from taking in every leaf. What is in them is the engine's, which signs it.
//!
//! ```text
//! <dir>/states/<log>-<size>.state    log: first half of SHA-256 of its name, in hex; size: number of leaves, 20 digits
//! ```
//!
//! A file is made under another name, synced, renamed, and its directory synced. Of each log the newest two stay.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::io::{Access, Io};
use super::segment::{WriteError, make_file};
use super::{Hex, StorageError};

/// How many of a log stay: the newest, and one more should that be damaged.
const KEPT: usize = 2;

/// Largest file that is read: the roots of a thousand million leaves are 128 MiB, and a state beside them.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The files of a directory.
#[derive(Clone)]
pub struct Snapshots {
    io: Arc<dyn Io>,
    dir: PathBuf,
}

impl Snapshots {
    pub(super) fn new(io: Arc<dyn Io>, dir: &Path) -> Self {
        Self {
            io,
            dir: dir.join("states"),
        }
    }

    /// Names of all files, to look for those of many logs.
    ///
    /// # Errors
    /// [`StorageError::Io`] where the directory cannot be read.
    pub fn names(&self) -> Result<BTreeSet<String>, StorageError> {
        match self.io.list(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            names => {
                let names = names.map_err(|error| failed(&self.dir, "list", error))?;
                Ok(names.into_iter().collect())
            }
        }
    }

    /// What was kept of a log, the newest first. A file that is too long is none.
    ///
    /// # Errors
    /// [`StorageError::Io`] where a file cannot be read.
    pub fn of(
        &self,
        log: &str,
        names: &BTreeSet<String>,
    ) -> Result<Vec<(PathBuf, Vec<u8>)>, StorageError> {
        let mut all = Vec::new();
        for path in self.paths(log, names).into_iter().take(KEPT) {
            let failed = |source| failed(&path, "read", source);
            let file = self.io.open(&path, Access::Recover).map_err(failed)?;
            let size = file.size().map_err(failed)?;
            if size > FILE_BYTES_MAX {
                continue;
            }
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            file.pread(&mut bytes, 0).map_err(failed)?;
            all.push((path, bytes));
        }
        Ok(all)
    }

    /// Keeps these bytes for a log at that size, durably; older ones but one go.
    ///
    /// # Errors
    /// [`StorageError::NoSpace`], and nothing is lost; [`StorageError::Io`], after which nobody knows what the disk does.
    pub fn keep(&self, log: &str, size: u64, bytes: &[u8]) -> Result<(), StorageError> {
        let made = self.io.make_dir(&self.dir);
        made.map_err(|error| failed(&self.dir, "make directory", error))?;
        if let Some(above) = self.dir.parent() {
            let synced = self.io.sync_dir(above);
            synced.map_err(|error| failed(above, "sync", error))?;
        }
        let path = self.dir.join(format!("{}-{size:020}.state", of(log)));
        let unfinished = path.with_extension("state.new");
        let made = make_file(&*self.io, &unfinished, &path, &|file| {
            file.pwrite(bytes, 0).map_err(|error| ("write", error))
        });
        match made {
            Ok(()) => {}
            Err(WriteError::Full) => {
                drop(self.io.remove(&unfinished));
                return Err(StorageError::NoSpace {
                    path: self.dir.clone(),
                });
            }
            Err(WriteError::Failed { path, did, source }) => {
                return Err(StorageError::Io { path, did, source });
            }
        }
        // Whatever names somebody put there, the one just written stays.
        let mut others = self.paths(log, &self.names()?);
        others.retain(|other| *other != path);
        for old in others.into_iter().skip(KEPT.saturating_sub(1)) {
            let removed = self.io.remove(&old);
            removed.map_err(|error| failed(&old, "remove", error))?;
        }
        Ok(())
    }

    /// The files of a log, the newest first.
    fn paths(&self, log: &str, names: &BTreeSet<String>) -> Vec<PathBuf> {
        let begin = format!("{}-", of(log));
        let of_log = names.range(begin.clone()..);
        let of_log = of_log.take_while(|name| name.starts_with(&begin));
        let whole = of_log.filter(|name| name.ends_with(".state"));
        let mut paths: Vec<PathBuf> = whole.map(|name| self.dir.join(name)).collect();
        paths.reverse();
        paths
    }
}

/// How the files of a log begin.
fn of(log: &str) -> String {
    let hash: [u8; 32] = Sha256::digest(log.as_bytes()).into();
    Hex(hash.first_chunk::<16>().unwrap_or(&[0; 16])).to_string()
}

fn failed(path: &Path, did: &'static str, source: std::io::Error) -> StorageError {
    StorageError::Io {
        path: path.to_path_buf(),
        did,
        source,
    }
}
