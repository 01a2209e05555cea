//! The heads signed last, in a file outside the log: what shows at the next start that the log is gone, cut short or
//! another one.
//!
//! The file holds signed notes (C2SP `tlog-checkpoint`), one per log, one behind the other; each is an anchor for
//! `actpass verify`. *Flow.* The sequencer hands over what it has signed once that is durable; a thread of its own writes
//! the file, at most every [`WRITTEN_EVERY`], and once more at the end, so that no answer waits for it. *What a crash
//! leaves.* The old file or the new one: a head that the log has or has grown beyond.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use actpass_core::evidence::checkpoint::CheckpointError;
use actpass_core::evidence::leaf::LostHead;

use crate::engine::{Log, Logs};
use crate::vault::PrivateFileError;
use crate::vault::private_file;

/// How often the file is written at most. What is logged since can be cut off unnoticed by whoever also kills the ledger.
const WRITTEN_EVERY: Duration = Duration::from_secs(5);

/// Largest file: a note of 8 KiB for each of 2,048 logs.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The log is not the one whose head was kept.
#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// A note in it that we did not sign.
    #[error(
        "the head of log `{log}` kept in `{path}` cannot be believed; put back the `log.key` it was signed with, or {}", anew(.path)
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// The log the note names.
        log: String,
        /// What is wrong with it.
        #[source]
        source: CheckpointError,
    },
    /// It was restored, and nobody said what was lost.
    #[error(
        "the log was restored from a backup of {made}, and what came after that is lost: put that into each log by `fork`, or put the log of before back; `{path}` says that it was restored"
    )]
    Restored {
        /// The file that says so.
        path: PathBuf,
        /// When the backup was made.
        made: String,
    },
    /// What says that it was restored is not what was written.
    #[error(
        "`{0}` does not say which logs were restored: restore the backup again into an empty directory, by `restore --from BACKUP --to DIR`, give that one the keys, and then `fork` it"
    )]
    RestoredForm(PathBuf),
    /// There is no such log any more.
    #[error(
        "log `{log}` is gone: its head of {size} leaves is kept in `{path}`; put the log back, or {}", anew(.path)
    )]
    Gone {
        /// The file.
        path: PathBuf,
        /// The log.
        log: String,
        /// Its leaves when it was last seen.
        size: String,
    },
    /// Its end is missing.
    #[error(
        "log `{log}` was cut short to {found} leaves: its head of {size} leaves is kept in `{path}`; put the log back, or {}", anew(.path)
    )]
    CutShort {
        /// The file.
        path: PathBuf,
        /// The log.
        log: String,
        /// Its leaves when it was last seen.
        size: u64,
        /// Its leaves now.
        found: u64,
    },
    /// Its leaves are others.
    #[error(
        "log `{log}` was rewritten: its first {size} leaves have another root than the head kept in `{path}`; put the log back, or {}", anew(.path)
    )]
    Rewritten {
        /// The file.
        path: PathBuf,
        /// The log.
        log: String,
        /// Its leaves when it was last seen.
        size: u64,
    },
}

fn anew(path: &Path) -> String {
    format!(
        "go on with what is here by `fork`, which puts into the log what was lost; or remove `{}` and the log to begin anew on purpose, which forgets what was used of every limit",
        path.display()
    )
}

/// The notes in such a file, none where there is none.
///
/// # Errors
/// Where others may read the file, or it cannot be read.
pub fn read(path: &Path) -> Result<Vec<String>, PrivateFileError> {
    let bytes = private_file::read(path, FILE_BYTES_MAX)?;
    Ok(bytes.map_or_else(Vec::new, |bytes| notes(&String::from_utf8_lossy(&bytes))))
}

/// The signed notes in a text: a note ends with its signature lines, which alone begin with a dash.
pub fn notes(text: &str) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    let mut signed = true;
    for line in text.split_inclusive('\n') {
        let signature = line.starts_with('\u{2014}');
        match notes.last_mut().filter(|_| signature || !signed) {
            Some(note) => note.push_str(line),
            None => notes.push(line.to_owned()),
        }
        signed = signature;
    }
    notes
}

/// The log that a note names.
pub fn named(note: &str) -> &str {
    note.lines().next().unwrap_or_default()
}

/// Finds that a log whose head is kept is gone, before anything is made in its place.
///
/// # Errors
/// [`HeadsError::Gone`] where a head is kept.
pub fn none_kept(path: &Path) -> Result<(), HeadsError> {
    match read(path)?.first() {
        Some(note) => Err(gone(path, note)),
        None => Ok(()),
    }
}

fn gone(path: &Path, note: &str) -> HeadsError {
    HeadsError::Gone {
        path: path.to_owned(),
        log: named(note).escape_debug().to_string(),
        size: note
            .lines()
            .nth(1)
            .unwrap_or("?")
            .escape_debug()
            .to_string(),
    }
}

/// Beside the file of heads where the log was restored from a backup and does not say yet what was lost.
pub(crate) const RESTORED: &str = "restored";

/// A log that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RestoredLog {
    pub(crate) name: String,
    /// Its leaves then, or [`NOT_SAID`].
    pub(crate) leaves: u64,
}

/// In place of the leaves that a log had when an earlier build restored it, which did not write them down. No gap in the log is behind so
/// many, so one is logged whether or not one was: better twice than never.
const NOT_SAID: u64 = u64::MAX;

/// What the name of every log begins with.
const LOG_PREFIX: &str = "actpass/";

impl RestoredLog {
    /// Its line: `LEAVES NAME`, or `NAME` as earlier builds wrote it.
    fn read(line: &str) -> Option<Self> {
        if line.starts_with(LOG_PREFIX) {
            let name = line.to_owned();
            let leaves = NOT_SAID;
            return Some(Self { name, leaves });
        }
        let (leaves, name) = line.split_once(' ')?;
        let (name, leaves) = (name.to_owned(), leaves.parse().ok()?);
        Some(Self { name, leaves })
    }
}

/// What stands beside logs that were restored from a backup of that instant.
pub(crate) fn restored_text(made: &str, logs: &[RestoredLog]) -> String {
    let mut text = format!("{made}\n");
    for RestoredLog { name, leaves } in logs {
        match *leaves {
            NOT_SAID => text.push_str(&format!("{name}\n")),
            leaves => text.push_str(&format!("{leaves} {name}\n")),
        }
    }
    text
}

/// Whether the logs beside that file of heads were restored and do not say yet what was lost.
///
/// # Errors
/// Where that cannot be told.
pub fn is_restored(path: &Path) -> Result<bool, HeadsError> {
    Ok(read_restored(&path.with_file_name(RESTORED))?.is_some())
}

/// The logs that were restored and do not say yet what was lost; none where nothing was restored.
pub(crate) fn restored(path: &Path) -> Result<Vec<RestoredLog>, HeadsError> {
    Ok(read_restored(&path.with_file_name(RESTORED))?.map_or_else(Vec::new, |(_, logs)| logs))
}

/// When the backup was made, and the logs.
fn read_restored(file: &Path) -> Result<Option<(String, Vec<RestoredLog>)>, HeadsError> {
    let Some(bytes) = private_file::read(file, FILE_BYTES_MAX)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let made = lines.next().unwrap_or_default().to_owned();
    let logs: Option<Vec<RestoredLog>> = lines.map(RestoredLog::read).collect();
    // It goes with the last log that it names.
    let logs = logs.filter(|logs| !logs.is_empty());
    let logs = logs.ok_or_else(|| HeadsError::RestoredForm(file.to_owned()))?;
    Ok(Some((made, logs)))
}

/// Takes note that these logs say what was lost; once all do, a ledger may start.
pub(crate) fn said_lost(path: &Path, said: &[&str]) -> Result<(), HeadsError> {
    let file = path.with_file_name(RESTORED);
    let Some((made, mut logs)) = read_restored(&file)? else {
        return Ok(());
    };
    logs.retain(|log| !said.contains(&log.name.as_str()));
    if !logs.is_empty() {
        let text = restored_text(&made, &logs);
        return Ok(private_file::replace(&file, text.as_bytes())?);
    }
    let removed = std::fs::remove_file(&file);
    removed.map_err(|source| PrivateFileError::Io {
        path: file,
        did: "remove",
        source,
    })?;
    Ok(())
}

/// Holds the logs against the kept heads.
pub(crate) fn check(path: &Path, logs: &Logs) -> Result<(), HeadsError> {
    let restored = path.with_file_name(RESTORED);
    if let Some((made, _)) = read_restored(&restored)? {
        let made = made.escape_debug().to_string();
        let path = restored;
        return Err(HeadsError::Restored { path, made });
    }
    for note in read(path)? {
        let log = logs.get(named(&note)).ok_or_else(|| gone(path, &note))?;
        check_one(path, log, &note)?;
    }
    Ok(())
}

fn check_one(path: &Path, here: &Log, note: &str) -> Result<(), HeadsError> {
    let (path, name) = (path.to_owned(), here.origin().to_owned());
    let head = match here.read_head(note) {
        Ok(head) => head,
        Err(source) => {
            let log = name;
            return Err(HeadsError::NotOurs { path, log, source });
        }
    };
    let (size, found, root) = (head.size, here.size(), here.root_at(head.size));
    let log = name;
    let lost = LostHead {
        size,
        root: head.root,
    };
    match root {
        Some(root) if root == head.root => Ok(()),
        _ if here.is_said_lost(&lost) => Ok(()),
        Some(_) => Err(HeadsError::Rewritten { path, log, size }),
        None => Err(HeadsError::CutShort {
            path,
            log,
            size,
            found,
        }),
    }
}

/// The size that a note claims: one that is signed has it there.
pub(crate) fn claimed(note: &str) -> u64 {
    let size = note.lines().nth(1);
    size.and_then(|size| size.parse().ok()).unwrap_or_default()
}

/// Writes the heads, on a thread of its own. Dropping it writes the last.
#[derive(Debug)]
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    heads: Mutex<Heads>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Heads {
    notes: BTreeMap<String, String>,
    unwritten: bool,
    ending: bool,
}

impl Keeper {
    /// Writes the heads of `logs`, and then whatever is put.
    pub(crate) fn start(path: PathBuf, logs: &Logs) -> Result<Self, HeadsError> {
        let mut heads = Heads::default();
        for log in logs.values() {
            heads.put(log);
        }
        if heads.unwritten {
            private_file::replace(&path, heads.take().as_bytes())?;
        }
        let shared = Arc::new(Shared {
            heads: Mutex::new(heads),
            changed: Condvar::new(),
        });
        let keeping = shared.clone();
        let thread = std::thread::Builder::new().name("heads".to_owned());
        let thread = thread.spawn(move || keeping.keep(&path));
        let thread = thread.map_err(|source| PrivateFileError::Io {
            path: PathBuf::from("heads"),
            did: "start the thread of",
            source,
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Takes the newest checkpoint of a log, which is durable. Waits for no disk.
    pub(crate) fn put(&self, log: &Log) {
        let mut heads = self.shared.lock();
        if heads.put(log) {
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.lock().ending = true;
        self.shared.changed.notify_one();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("The keeper of heads ended in a panic");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Heads> {
        // Every change is made whole before the lock is given back.
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, path: &Path) {
        let mut heads = self.lock();
        loop {
            let idle = |heads: &mut Heads| !heads.unwritten && !heads.ending;
            heads = self
                .changed
                .wait_while(heads, idle)
                .unwrap_or_else(PoisonError::into_inner);
            if heads.unwritten {
                let text = heads.take();
                drop(heads);
                if let Err(error) = private_file::replace(path, text.as_bytes()) {
                    // An older head is still a head.
                    tracing::warn!(%error, "The head of the log is not kept outside of it");
                }
                heads = self.lock();
            }
            if heads.ending && !heads.unwritten {
                return;
            }
            let going_on = |heads: &mut Heads| !heads.ending;
            heads = self
                .changed
                .wait_timeout_while(heads, WRITTEN_EVERY, going_on)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Heads {
    /// Whether this is the first since the last writing.
    fn put(&mut self, log: &Log) -> bool {
        let note = log.checkpoint().to_owned();
        self.notes.insert(log.origin().to_owned(), note);
        !std::mem::replace(&mut self.unwritten, true)
    }

    /// The text to write.
    fn take(&mut self) -> String {
        self.unwritten = false;
        self.notes.values().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_one_behind_the_other_are_told_apart() {
        let one = "log/1\n2\nroot\n\n\u{2014} log/1 sig\n";
        let two = "log/2\n3\nroot\n\n\u{2014} log/2 sig\n\u{2014} witness sig\n";
        struct Case {
            name: &'static str,
            given: String,
            want: Vec<&'static str>,
        }
        let cases = [
            Case {
                name: "none",
                given: String::new(),
                want: vec![],
            },
            Case {
                name: "one",
                given: one.to_owned(),
                want: vec![one],
            },
            Case {
                name: "two, one with a witness",
                given: format!("{two}{one}"),
                want: vec![two, one],
            },
            Case {
                name: "one that was cut",
                given: "log/1\n2\n".to_owned(),
                want: vec!["log/1\n2\n"],
            },
        ];
        for Case { name, given, want } in cases {
            assert_eq!(notes(&given), want, "{name}");
        }
    }
}
