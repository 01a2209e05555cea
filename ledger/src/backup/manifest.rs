//! What a directory of backups says of the copy that counts.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BackupError, files};
use crate::vault::private_file;

/// Its name in the directory.
pub(super) const FILE: &str = "backup.json";

/// Version of the form.
const VERSION: &str = "actpass.backup/1";

/// What one copy holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    v: String,
    /// Name of its directory.
    pub copy: String,
    /// When it was made.
    pub made: Timestamp,
    /// The logs in it.
    pub logs: Vec<LogIn>,
    /// Its files, by path in the copy.
    pub(super) files: BTreeMap<String, FileIn>,
}

/// One log in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// Its name.
    pub log: String,
    /// How many leaves it has there.
    pub leaves: u64,
    /// The root over them, in hex.
    pub root: String,
    /// Its newest signed checkpoint there.
    pub checkpoint: String,
}

/// One file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileIn {
    pub(super) bytes: u64,
    /// SHA-256, in hex.
    pub(super) sha256: String,
}

impl Manifest {
    pub(super) fn new(
        copy: String,
        made: Timestamp,
        logs: Vec<LogIn>,
        files: BTreeMap<String, FileIn>,
    ) -> Self {
        Self {
            v: VERSION.to_owned(),
            copy,
            made,
            logs,
            files,
        }
    }

    /// That of a directory, if there is one.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, BackupError> {
        let path = dir.join(FILE);
        // Nothing in it is secret, and the kubelet opens files of a volume to a group.
        let Some(bytes) = files::read_if_there(&path)? else {
            return Ok(None);
        };
        let wrong = |what: String| BackupError::Manifest {
            path: path.clone(),
            what,
        };
        let manifest: Self =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if manifest.v != VERSION {
            let v = manifest.v.escape_debug();
            return Err(wrong(format!("version `{v}`, this build reads {VERSION}")));
        }
        // Names lead to files that are read, linked and written.
        let strange = manifest.files.keys().find(|name| !is_copied(name));
        let strange = strange.or(Some(&manifest.copy).filter(|it| !super::is_copy(it)));
        let strange = strange.cloned();
        match strange {
            Some(name) => Err(wrong(format!("it names `{}`", name.escape_debug()))),
            None => Ok(Some(manifest)),
        }
    }

    /// Whether the copy that it names has all its files, as long as they were. What they hold is looked at where it counts.
    pub(super) fn is_there(&self, dir: &Path) -> bool {
        let copy = dir.join(&self.copy);
        let whole = |(name, file): (&String, &FileIn)| {
            let about = std::fs::symlink_metadata(copy.join(name));
            about.is_ok_and(|about| about.is_file() && about.len() == file.bytes)
        };
        self.files.iter().all(whole)
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), BackupError> {
        let path = dir.join(FILE);
        let text = serde_json::to_vec_pretty(self).map_err(|error| BackupError::Manifest {
            path: path.clone(),
            what: error.to_string(),
        })?;
        Ok(private_file::replace(&path, &text)?)
    }
}

/// Whether it is the path of a file that a backup holds: a key that somebody adds is none.
fn is_copied(path: &str) -> bool {
    let below = ["log/segments/", "vault/"];
    let placed =
        ["head", "cluster-id"].contains(&path) || below.iter().any(|it| path.starts_with(it));
    placed && is_plain(path)
}

/// Whether a path stays in its directory, and spells each part in one way.
fn is_plain(path: &str) -> bool {
    path.split('/')
        .all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'))
}
