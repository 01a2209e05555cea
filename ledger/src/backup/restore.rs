//! The way back: a copy becomes a data directory again, whole or not at all.
//!
//! *What a crash leaves.* `restoring` stands in the directory and no `log`, so neither a ledger nor a backup takes it for one; the same
//! command begins anew. *What was lost since.* Nobody here can know it. `restored` says so, and a ledger does not start beside it: the
//! log has to say where it went on, by `fork`.

use std::fmt;
use std::fs;
use std::path::Path;

use actpass_core::evidence::leaf::Leaf;
use jiff::Timestamp;

use super::manifest::{LogIn, Manifest};
use super::{BackupError, HEADS, files, sound};
use crate::heads::{self, RESTORED, RestoredLog};
use crate::offline::{Files, Known, verify_dir};
use crate::storage::cut;

/// Stands in a directory that is being restored to.
const RESTORING: &str = "restoring";

/// The log under this name is no log yet.
const UNFINISHED: &str = "log.restoring";

/// Up to where a log is restored. Logs share their groups, so all end together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// No leaf that was logged later.
    Time(Timestamp),
    /// No leaf of that log from this number on; of the only one where it is not named.
    Size {
        /// The log.
        log: Option<String>,
        /// Its leaves.
        leaves: u64,
    },
}

impl std::str::FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(leaves) = text.parse() {
            return Ok(Self::Size { log: None, leaves });
        }
        let time = text.parse().map(Self::Time);
        time.map_err(|_| {
            "neither an instant such as 2026-05-01T09:00:00Z nor a number of leaves".to_owned()
        })
    }
}

/// What was restored.
#[derive(Clone, Debug)]
pub struct Restored {
    /// When the backup was made.
    pub made: Timestamp,
    /// The logs as they are now.
    pub logs: Vec<LogIn>,
}

/// Makes a data directory at `to`, which holds nothing, of the backup in `from`.
///
/// # Errors
/// Where it is not there, not what was written, or does not verify: then nothing is restored.
pub fn restore(from: &Path, to: &Path, until: Option<&Until>) -> Result<Restored, BackupError> {
    let (from, to) = (files::real(from)?, files::real(to)?);
    if to.starts_with(&from) || from.starts_with(&to) {
        let (data, to) = (from, to);
        return Err(BackupError::NotApart { data, to });
    }
    let manifest = Manifest::read(&from)?.ok_or_else(|| BackupError::NoBackup(from.clone()))?;
    if begin(&to, &manifest)? {
        let logs = whole(&to.join("log"), &[])?;
        let made = manifest.made;
        finish(&to)?;
        return Ok(Restored { made, logs });
    }
    for (name, known) in &manifest.files {
        let (source, target) = (from.join(&manifest.copy).join(name), to.join(placed(name)));
        target.parent().map_or(Ok(()), files::make_dir)?;
        if files::copy(&source, &target)? != *known {
            return Err(BackupError::Changed { path: source });
        }
    }
    let log = to.join(UNFINISHED);
    let kept = heads::read(&to.join(HEADS))?;
    let mut logs = whole(&log, &kept)?;
    if logs != manifest.logs {
        let path = from.join(super::manifest::FILE);
        let what = "its logs are not those of the copy".to_owned();
        return Err(BackupError::Manifest { path, what });
    }
    if let Some(until) = until
        && let Some(end) = end_of(&log, until, &logs)?
    {
        if end.segment == 1 && end.offset == 0 {
            return Err(BackupError::NothingLeft);
        }
        cut::cut(&log, end)?;
        logs = whole(&log, &[])?;
    }
    let made = manifest.made;
    let restored = logs.iter().map(|log| RestoredLog {
        name: log.log.clone(),
        leaves: log.leaves,
    });
    let restored: Vec<RestoredLog> = restored.collect();
    let marker = heads::restored_text(&made.to_string(), &restored);
    files::write(&to.join(RESTORED), marker.as_bytes())?;
    files::sync_all_dirs(&to)?;
    fs::rename(&log, to.join("log")).map_err(files::failed(&log, "rename"))?;
    finish(&to)?;
    Ok(Restored { made, logs })
}

fn finish(to: &Path) -> Result<(), BackupError> {
    files::remove(&to.join(RESTORING))?;
    files::sync_dir(to)
}

/// Makes sure that nothing is there, less what an earlier try left; whether that one did all but its last step.
fn begin(to: &Path, manifest: &Manifest) -> Result<bool, BackupError> {
    files::make_dir(to)?;
    let marker = to.join(RESTORING);
    if marker.exists() {
        // Beside a log that somebody may go on with, nothing is taken away.
        if to.join("log").exists() {
            let path = to.to_owned();
            return match to.join(RESTORED).exists() {
                true => Ok(true),
                false => Err(BackupError::Strange {
                    path,
                    found: "log".to_owned(),
                }),
            };
        }
        files::remove_copy(&to.join(UNFINISHED))?;
        let beside = manifest.files.keys().filter(|it| !it.starts_with("log/"));
        for name in beside.map(String::as_str).chain([RESTORED]) {
            files::remove(&to.join(name))?;
        }
        let vault = to.join("vault");
        if vault.is_dir() && files::tree(&vault)?.is_empty() {
            fs::remove_dir_all(&vault).map_err(files::failed(&vault, "remove"))?;
        }
        files::remove(&marker)?;
    }
    let mut found = files::names(to)?;
    found.retain(|name| name != "lost+found");
    if let Some(found) = found.into_iter().next() {
        let path = to.to_owned();
        return Err(BackupError::Strange { path, found });
    }
    files::write(&marker, b"")?;
    files::sync_dir(to)?;
    Ok(false)
}

/// Where a file of the copy is while not all are there.
fn placed(name: &str) -> String {
    match name.strip_prefix("log/") {
        Some(rest) => format!("{UNFINISHED}/{rest}"),
        None => name.to_owned(),
    }
}

fn whole(log: &Path, kept: &[String]) -> Result<Vec<LogIn>, BackupError> {
    let known = Known {
        anchors: kept,
        ..Known::default()
    };
    let verified = verify_dir(log, &known)?;
    match verified.files {
        Files::Whole(_) => sound(&verified),
        Files::Damaged(error) => Err(error.into()),
        _ => Err(BackupError::Invalid(
            "it does not end as a backup does".to_owned(),
        )),
    }
}

fn end_of(log: &Path, until: &Until, logs: &[LogIn]) -> Result<Option<cut::End>, BackupError> {
    let end = match until {
        Until::Time(time) => cut::first_beyond(log, |_, _, bytes| {
            Leaf::parse(bytes).is_ok_and(|leaf| leaf.h.time <= *time)
        }),
        Until::Size { log: named, leaves } => {
            let named = match (named, logs) {
                (Some(named), _) if logs.iter().any(|it| it.log == *named) => named,
                (None, [only]) => &only.log,
                _ => {
                    let names: Vec<String> =
                        logs.iter().map(|it| format!("`{}`", it.log)).collect();
                    return Err(BackupError::WhichLog(names.join(", ")));
                }
            };
            cut::first_beyond(log, |name, seq, _| name != named || seq < *leaves)
        }
    };
    Ok(end?)
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for log in &self.logs {
            writeln!(f, "{log}")?;
        }
        write!(
            f,
            "Restored from the backup of {}, and verified. What came after it is lost and not known here, so no ledger starts on this \
             before `fork` has put that into each log",
            self.made
        )
    }
}
