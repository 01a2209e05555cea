//! How far leaves were passed on, as it is written, and in a file.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use actpass_core::hash::{hex, unhex32};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::TailError;
use super::sink::FileEnd;
use crate::storage::Head;
use crate::vault::private_file;

const VERSION: &str = "actpass.cursor/1";

/// Largest file: 250 bytes for each of 65,536 logs.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How far leaves were passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// By log, how many of its leaves, and the hash of the last.
    pub logs: BTreeMap<String, Head>,
    /// Where a file ended then.
    pub file: Option<FileEnd>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: String,
    logs: BTreeMap<String, WrittenHead>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    file: Option<FileEnd>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHead {
    size: u64,
    leaf_hash: String,
}

/// A cursor that is kept in a file, or only as long as the process.
pub struct CursorFile {
    /// With what keeps others from it.
    path: Option<(PathBuf, File)>,
    cursor: Cursor,
}

impl CursorFile {
    /// The cursor in that file; at the start where there is none. Nobody else may use it meanwhile.
    ///
    /// # Errors
    /// [`TailError::Taken`], and where there is something else.
    pub fn open(path: &Path) -> Result<Self, TailError> {
        let lock = lock(path)?;
        let bytes = private_file::read(path, FILE_BYTES_MAX)?;
        let no_cursor = |what: String| TailError::NoCursor {
            path: path.to_owned(),
            what,
        };
        let cursor = match bytes {
            None => Cursor::default(),
            Some(bytes) => parse(&bytes).map_err(no_cursor)?,
        };
        Ok(Self {
            path: Some((path.to_owned(), lock)),
            cursor,
        })
    }

    /// One at the start, that is not kept.
    pub fn forgotten() -> Self {
        Self {
            path: None,
            cursor: Cursor::default(),
        }
    }

    /// Where it is.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Moves it, durably.
    pub(super) fn move_to(
        &mut self,
        ends: BTreeMap<String, Head>,
        file: Option<FileEnd>,
    ) -> Result<(), TailError> {
        self.cursor.logs.extend(ends);
        self.cursor.file = file;
        if let Some((path, _)) = &self.path {
            private_file::replace(path, &text(&self.cursor))?;
        }
        Ok(())
    }
}

/// The lock is on a file beside it, as the cursor's own is replaced each time.
fn lock(path: &Path) -> Result<File, TailError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let beside = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let opened = options.open(&beside);
    let file = opened.map_err(|source| private_file::PrivateFileError::Io {
        path: beside.clone(),
        did: "open",
        source,
    })?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(TailError::Taken {
            path: path.to_owned(),
        }),
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Cursor, String> {
    let written: Written = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if written.v != VERSION {
        return Err("it is of another version".to_owned());
    }
    let logs = written.logs.into_iter().map(|(log, head)| {
        let hash = unhex32(&head.leaf_hash).map_err(|error| error.to_string())?;
        let size = head.size;
        Ok((log, Head { size, hash }))
    });
    Ok(Cursor {
        logs: logs.collect::<Result<_, String>>()?,
        file: written.file,
    })
}

pub(super) fn text(cursor: &Cursor) -> Vec<u8> {
    let logs = cursor.logs.iter().map(|(log, head)| {
        let size = head.size;
        let leaf_hash = hex(&head.hash);
        (log.clone(), WrittenHead { size, leaf_hash })
    });
    let written = Written {
        v: VERSION.to_owned(),
        logs: logs.collect(),
        file: cursor.file,
    };
    // Texts and numbers always have JSON.
    let mut text = serde_json::to_vec(&written).unwrap_or_default();
    text.push(b'\n');
    text
}
