//! The one segment that is written, and the two system calls of an append.

use std::io;
use std::path::{Path, PathBuf};

use crate::storage::io::{Io, IoFile};

/// How many zeros are written at once when a segment is made.
const FILL_BYTES: usize = 256 * 1024;

/// The segment being written.
pub(super) struct Current {
    pub(super) file: Box<dyn IoFile>,
    pub(super) path: PathBuf,
    pub(super) number: u32,
    /// Length of the file.
    pub(super) size: u64,
    /// Where the next group goes.
    pub(super) end: u64,
    /// A write without space may have left bytes up to here behind `end`.
    pub(super) dirty: Option<u64>,
}

/// Why a group was not written.
pub(in crate::storage) enum WriteError {
    /// No space, and nothing of the group counts.
    Full,
    /// Anything else: what is on disk is unknown.
    Failed {
        path: PathBuf,
        did: &'static str,
        source: io::Error,
    },
}

impl Current {
    /// How much of it is used.
    pub(super) fn percent_used(&self) -> u64 {
        self.end.saturating_mul(100) / self.size.max(1)
    }

    /// Puts zeros where a write without space may have left bytes. They must be durable before the next group is
    /// written: a crash could else leave both, and the older bytes would look like a later group.
    pub(super) fn scrub(&mut self) -> Result<(), WriteError> {
        let Some(dirty) = self.dirty else {
            return Ok(());
        };
        fill(&*self.file, self.end, dirty).map_err(|error| self.failed("write", error))?;
        let synced = self.file.fdatasync();
        synced.map_err(|source| self.fatal("fdatasync", source))?;
        self.dirty = None;
        Ok(())
    }

    /// Writes a group behind the last one and makes it durable.
    pub(super) fn write(&mut self, group: &[u8]) -> Result<(), WriteError> {
        let end = self.end.saturating_add(group.len() as u64);
        if let Err(error) = self.file.pwrite(group, self.end) {
            self.dirty = Some(end);
            let refused = self.failed("write", error);
            if matches!(refused, WriteError::Full) {
                // At once if possible, so that a crash does not bring back a refused append; else the next one does.
                match self.scrub() {
                    Ok(()) | Err(WriteError::Full) => {}
                    Err(fatal) => return Err(fatal),
                }
            }
            return Err(refused);
        }
        // INVARIANT: nothing is answered, and no head moves, before this returned.
        let synced = self.file.fdatasync();
        synced.map_err(|source| self.fatal("fdatasync", source))?;
        self.end = end;
        Ok(())
    }

    fn failed(&self, did: &'static str, source: io::Error) -> WriteError {
        match is_full(&source) {
            true => WriteError::Full,
            false => self.fatal(did, source),
        }
    }

    fn fatal(&self, did: &'static str, source: io::Error) -> WriteError {
        WriteError::Failed {
            path: self.path.clone(),
            did,
            source,
        }
    }
}

/// Whether content was written, or what failed.
pub(in crate::storage) type Written = Result<(), (&'static str, io::Error)>;

/// Makes a file under another name, syncs it, renames it and syncs its directory, so that under its own name it is always
/// complete and durable. `content` writes it, and says what it did where that failed.
pub(in crate::storage) fn make_file(
    io: &dyn Io,
    unfinished: &Path,
    path: &Path,
    content: &dyn Fn(&dyn IoFile) -> Written,
) -> Result<(), WriteError> {
    let fatal = |did| {
        let path = unfinished.to_path_buf();
        move |source| WriteError::Failed { path, did, source }
    };
    let refused = |did| {
        let fatal = fatal(did);
        move |error| match is_full(&error) {
            true => WriteError::Full,
            false => fatal(error),
        }
    };
    match io.remove(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(refused("remove")(error));
        }
        _ => {}
    }
    let file = io.create(unfinished).map_err(refused("create"))?;
    content(&*file).map_err(|(did, error)| refused(did)(error))?;
    // Without space the file is given up, and so is what could not be synced of it.
    file.fdatasync().map_err(refused("fdatasync"))?;
    io.rename(unfinished, path).map_err(refused("rename"))?;
    let dir = path.parent().unwrap_or(path);
    // The directory stays, so a sync of it is not asked for again, whatever it failed with.
    let synced = io.sync_dir(dir);
    synced.map_err(fatal("sync the directory of"))
}

/// Writes zeros.
pub(super) fn fill(file: &dyn IoFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; FILL_BYTES];
    let mut at = from;
    while at < to {
        let left = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
        let part = zeros.get(..left.min(FILL_BYTES)).unwrap_or(&zeros);
        file.pwrite(part, at)?;
        at = at.saturating_add(part.len() as u64);
    }
    Ok(())
}

/// Whether the volume, or a quota on it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
