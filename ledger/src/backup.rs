//! Copies of log, vault and heads in a directory elsewhere, made beside a ledger that serves, and the way back.
//!
//! ```text
//! <to>/backup.json          which copy counts, what it holds, the sum of each of its files ([`Manifest`])
//! <to>/copy-00000007/       that copy, in the form of a data directory: log/segments/, vault/, head, cluster-id
//! <to>/LOCK                 one backup at a time
//! ```
//!
//! # Flow
//! Full segments never change, so those of the copy before are linked; the last one is read, cut behind its last whole group, and
//! synced where it comes from, so that no group is in a copy that the ledger could lose. The vault is read before and after: a change
//! of it meanwhile begins again. Then all of the log is verified, as the copy has it, and held against the heads of the copy
//! before. Only then `backup.json` names it, and the copy before goes. Where it cannot, the new one goes.
//!
//! # Guarantees
//! - What a crash leaves is the copy before, whole, until the moment from which on it is the new one; what else lies there goes with the next
//!   backup: what has no `head` was not finished and goes first, as does all else that has the heads of the copy named, if that one is there with all its
//!   files; otherwise once the new copy is named, which is held against the heads of all that are there. So a lost `backup.json` costs no copy, and of those that nobody can name none piles up.
//!   No copy is a mixture of two: each segment names the hash of all before it.
//! - The copy before is written over with zeros where it held keys, so what was erased since is erased here too.
//! - A log that is behind the copy before, or another one, is refused.
//! - Neither the log's private key nor the key encryption key is in it, nor anything else in the clear that the log does not show.

mod files;
mod manifest;
mod restore;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use actpass_core::hash::hex;
use actpass_core::verify::Class;
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::heads;
use crate::offline::{Files, Known, Verified, verify_dir};
use crate::storage::io::{Io, SystemIo};
use crate::storage::{StorageError, cut};
use crate::vault::{PrivateFileError, TEXTS, private_file};

pub use manifest::{LogIn, Manifest};
pub use restore::{Restored, Until, restore};

/// How often a copy is begun anew because something changed meanwhile. The vault changes when people do something.
const TRIES_MAX: usize = 8;

/// Files of a data directory beside log and vault that belong to it.
const BESIDE: [&str; 1] = ["cluster-id"];

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The system refused.
    #[error("{did} `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation.
        did: &'static str,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// One directory would be inside the other.
    #[error(
        "`{to}` is not apart from `{data}`: a copy beside what it is a copy of is lost with it; name a directory on another volume"
    )]
    NotApart {
        /// What is copied.
        data: PathBuf,
        /// Where to.
        to: PathBuf,
    },
    /// There is no log.
    #[error(
        "`{0}` holds no log; a log in PostgreSQL is backed up by that server's own means, which keep log and vault together"
    )]
    NoLog(PathBuf),
    /// The directory has other things in it.
    #[error("`{path}` holds `{found}`, which is no part of a backup; name an empty directory")]
    Strange {
        /// The directory.
        path: PathBuf,
        /// One of them.
        found: String,
    },
    /// There is no backup to restore.
    #[error("`{0}` holds no backup: `backup.json` is not there")]
    NoBackup(PathBuf),
    /// What says what is in it cannot be understood.
    #[error("`{path}` is not what was written: {what}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file of the backup is not what was written.
    #[error("`{path}` is not what was written when the backup was made; nothing was restored")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The files cannot be read or are damaged.
    #[error("the log cannot be copied")]
    Storage(#[from] StorageError),
    /// The heads of the copy before cannot be read.
    #[error(transparent)]
    Private(#[from] PrivateFileError),
    /// Somebody made a directory of the last name that there is.
    #[error(
        "a copy of number {NUMBER_MAX} is there, and no number is left; name another directory"
    )]
    NoNumber,
    /// It changes all the time.
    #[error("`{0}` changed each time it was copied; try again")]
    Restless(PathBuf),
    /// The copy does not verify.
    #[error("the copy of the log is not valid, so it was not kept: {0}")]
    Invalid(String),
    /// Nothing would be left.
    #[error("nothing of the log is left before that; it begins later")]
    NothingLeft,
    /// Which log the size is of is not clear.
    #[error("a size is of one log: name it, one of {0}")]
    WhichLog(String),
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it holds.
    pub manifest: Manifest,
    /// Bytes that were copied now.
    pub copied: u64,
    /// Bytes that the backup before had already.
    pub kept: u64,
}

/// Copies log, vault and heads of the data directory `data`, whose ledger may serve, into `to`, in place of the copy there.
///
/// # Errors
/// Why there is none; the copy of before is there still.
pub fn backup(data: &Path, to: &Path) -> Result<Made, BackupError> {
    let data = files::real(data)?;
    let to = files::real(to)?;
    if to.starts_with(&data) || data.starts_with(&to) {
        return Err(BackupError::NotApart { data, to });
    }
    if !data.join("log/segments").is_dir() {
        return Err(BackupError::NoLog(data));
    }
    files::make_dir(&to)?;
    let strange = |name: &String| !is_copy(name) && !OWN.contains(&name.as_str());
    if let Some(found) = files::names(&to)?.into_iter().find(strange) {
        return Err(BackupError::Strange { path: to, found });
    }
    let _alone = SystemIo.lock(&to.join(LOCK))?;
    let before = Manifest::read(&to)?;
    let mut copies = files::names(&to)?;
    copies.retain(|name| is_copy(name));
    let named = before.as_ref().map(|it| it.copy.as_str());
    let newest = copies.iter().map(String::as_str).chain(named);
    let name = after(newest.filter_map(number).max().unwrap_or_default())?;
    // Its heads are the last that a copy gets, so without them it was given up half made.
    let mut half_made = Vec::new();
    for copy in copies.iter().filter(|copy| named != Some(copy.as_str())) {
        let head = to.join(copy).join(HEADS);
        // One that cannot be told stays.
        if !head
            .try_exists()
            .map_err(files::failed(&head, "look for"))?
        {
            half_made.push(copy.clone());
        }
    }
    for copy in copies.extract_if(.., |copy| half_made.contains(copy)) {
        files::remove_copy(&to.join(copy))?;
    }
    let mut dirs: Vec<PathBuf> = copies.iter().map(|copy| to.join(copy)).collect();
    // Where nothing says which copy counts, or that one is not whole, the new one is held against all that are there.
    let held_to: Vec<PathBuf> = match &before {
        Some(before) if before.is_there(&to) => {
            let named = to.join(&before.copy);
            let heads = files::read_if_there(&named.join(HEADS))?;
            // One that was done, and not named before a crash, may have what is nowhere else any more.
            let has_more =
                |dir: &PathBuf| !files::read_if_there(&dir.join(HEADS)).is_ok_and(|it| it == heads);
            // Keys of texts that were erased since may be in the others. What cannot go now is tried again once there is a new copy.
            dirs.retain(|dir| *dir == named || has_more(dir) || files::remove_copy(dir).is_err());
            dirs.clone()
        }
        _ => dirs.clone(),
    };
    let mut copy = Copy::new(&data, &to, &name, before.as_ref(), held_to);
    // All that was logged or erased by then is in it.
    let begun = Timestamp::now();
    let taken = copy.take();
    if taken.is_err() {
        // Why there is no copy is said, whether or not this works; the next backup takes it away then.
        files::remove_copy(&copy.to).ok();
    }
    let (files, logs) = taken?;
    let (copied, kept) = (copy.copied, copy.kept);
    files::sync_all_dirs(&copy.to)?;
    let manifest = Manifest::new(name, begun, logs, files);
    if let Err(error) = files::sync_dir(&to).and_then(|()| manifest.write(&to)) {
        // It may be in its place and only not be synced. Where it says that another copy counts, or none, this one would stay for ever.
        let there = Manifest::read(&to).map(|there| there.map(|it| it.copy));
        if there.is_ok_and(|there| there.as_ref() != Some(&manifest.copy)) {
            files::remove_copy(&copy.to).ok();
        }
        return Err(error);
    }
    // One that cannot go keeps no other.
    let removed: Vec<_> = dirs.iter().map(|dir| files::remove_copy(dir)).collect();
    removed.into_iter().collect::<Result<(), BackupError>>()?;
    Ok(Made {
        manifest,
        copied,
        kept,
    })
}

/// Files of a directory of backups that are no copy.
const OWN: [&str; 4] = [LOCK, manifest::FILE, ".backup.json.new", "lost+found"];
const LOCK: &str = "LOCK";

fn is_copy(name: &str) -> bool {
    number(name).is_some()
}

/// The number of a copy.
fn number(name: &str) -> Option<u32> {
    let number = name.strip_prefix("copy-")?;
    let digits = number.len() == 8 && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| digits)
}

/// The name of the copy after that of this number.
fn after(number: u32) -> Result<String, BackupError> {
    let next = number.checked_add(1).filter(|next| *next <= NUMBER_MAX);
    next.map(|next| format!("copy-{next:08}"))
        .ok_or(BackupError::NoNumber)
}

/// Eight digits: a copy every second for three years.
const NUMBER_MAX: u32 = 99_999_999;

/// A copy that is being made.
struct Copy<'a> {
    data: &'a Path,
    to: PathBuf,
    /// The copy before, and the sums of its files.
    before: Option<(PathBuf, &'a Manifest)>,
    /// Copies whose heads this one has to have.
    held_to: Vec<PathBuf>,
    /// Files that will not change any more.
    done: BTreeMap<String, manifest::FileIn>,
    copied: u64,
    kept: u64,
}

impl<'a> Copy<'a> {
    fn new(
        data: &'a Path,
        to: &Path,
        name: &str,
        before: Option<&'a Manifest>,
        held_to: Vec<PathBuf>,
    ) -> Self {
        Self {
            data,
            to: to.join(name),
            before: before.map(|it| (to.join(&it.copy), it)),
            held_to,
            done: BTreeMap::new(),
            copied: 0,
            kept: 0,
        }
    }

    fn take(&mut self) -> Result<(BTreeMap<String, manifest::FileIn>, Vec<LogIn>), BackupError> {
        let mut anchors = Vec::new();
        for dir in &self.held_to {
            let notes = files::read_if_there(&dir.join(HEADS))?.unwrap_or_default();
            anchors.extend(heads::notes(&String::from_utf8_lossy(&notes)));
        }
        let mut damaged = None;
        for _ in 0..TRIES_MAX {
            let vault = vault_files(self.data)?;
            self.log()?;
            if vault_files(self.data)? != vault {
                continue;
            }
            let log = self.to.join("log");
            let known = Known {
                anchors: &anchors,
                ..Known::default()
            };
            let verified = verify_dir(&log, &known)?;
            match &verified.files {
                Files::Damaged(_) => {
                    // The ledger wrote while it was read, or the segments of before are of another log: all of it anew.
                    damaged = Some(verified);
                    self.begin_anew()?;
                    continue;
                }
                Files::Torn(checked) => cut_torn(&log, &checked.tail)?,
                _ => {}
            }
            let logs = sound(&verified)?;
            return Ok((self.finish(vault, &logs)?, logs));
        }
        match damaged.map(|it| it.files) {
            Some(Files::Damaged(error)) => Err(error.into()),
            _ => Err(BackupError::Restless(self.data.to_owned())),
        }
    }

    fn begin_anew(&mut self) -> Result<(), BackupError> {
        self.before = None;
        self.done.clear();
        (self.copied, self.kept) = (0, 0);
        files::remove_copy(&self.to)
    }

    /// Copies what is new in the log: full segments once, the last one each time.
    fn log(&mut self) -> Result<(), BackupError> {
        let from = self.data.join("log");
        files::make_dir(&self.to.join("log/segments"))?;
        let last = cut::last_begun(&from)?;
        for number in 1..last {
            self.full(&cut::segment_path(Path::new("log"), number))?;
            let index = cut::index_path(Path::new("log"), number);
            if self.data.join(&index).exists() {
                self.full(&index)?;
            }
        }
        if last == 0 {
            return Ok(());
        }
        let name = cut::segment_path(Path::new("log"), last);
        let copied = files::copy_again(&self.data.join(&name), &self.to.join(&name))?;
        self.copied = self.copied.saturating_add(copied);
        Ok(())
    }

    /// A file that changes no more.
    fn full(&mut self, name: &Path) -> Result<(), BackupError> {
        let key = name.display().to_string();
        if self.done.contains_key(&key) {
            return Ok(());
        }
        let to = self.to.join(name);
        files::remove(&to)?;
        if let Some((dir, before)) = &self.before
            && let Some(known) = before.files.get(&key)
            && files::link(&dir.join(name), &to, known)?
        {
            self.kept = self.kept.saturating_add(known.bytes);
            self.done.insert(key, known.clone());
            return Ok(());
        }
        let file = files::copy(&self.data.join(name), &to)?;
        self.copied = self.copied.saturating_add(file.bytes);
        self.done.insert(key, file);
        Ok(())
    }

    /// Adds what lies beside the log, and sums all up.
    fn finish(
        &mut self,
        vault: BTreeMap<String, Zeroizing<Vec<u8>>>,
        logs: &[LogIn],
    ) -> Result<BTreeMap<String, manifest::FileIn>, BackupError> {
        let heads: String = logs.iter().map(|log| log.checkpoint.as_str()).collect();
        for (name, bytes) in vault {
            files::write(&self.to.join(&name), &bytes)?;
            self.copied = self.copied.saturating_add(bytes.len() as u64);
        }
        // The last one, and whole or not there: what has it is a copy.
        private_file::replace(&self.to.join(HEADS), heads.as_bytes())?;
        self.copied = self.copied.saturating_add(heads.len() as u64);
        let mut all = BTreeMap::new();
        for name in files::tree(&self.to)? {
            let file = match self.done.remove(&name) {
                Some(file) => file,
                None => files::sum(&self.to.join(&name))?,
            };
            all.insert(name, file);
        }
        Ok(all)
    }
}

/// The heads signed last, in a data directory and in a copy.
pub(crate) const HEADS: &str = "head";

/// The files of the vault and those beside the log, by name: small, and written whole.
fn vault_files(data: &Path) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, BackupError> {
    let vault = ["vault/credentials.json", "vault/tenants.json"];
    let mut names: BTreeSet<String> = vault.iter().chain(&BESIDE).map(|it| (*it).into()).collect();
    let texts = format!("vault/{TEXTS}");
    if data.join(&texts).is_dir() {
        let found = files::names(&data.join(&texts))?;
        // One that begins with a dot is being written.
        let found = found.into_iter().filter(|name| !name.starts_with('.'));
        names.extend(found.map(|name| format!("{texts}/{name}")));
    }
    let mut all = BTreeMap::new();
    for name in names {
        if let Some(bytes) = files::read_if_there(&data.join(&name))? {
            all.insert(name, bytes);
        }
    }
    Ok(all)
}

fn cut_torn(log: &Path, tail: &crate::storage::reader::Tail) -> Result<(), BackupError> {
    if let crate::storage::reader::Tail::Torn { path, offset, .. } = tail
        && let Some(end) = cut::torn_at(path, *offset)
    {
        cut::cut(log, end)?;
    }
    Ok(())
}

/// What the logs are, where nothing is wrong with them.
fn sound(verified: &Verified) -> Result<Vec<LogIn>, BackupError> {
    if let Some(missing) = verified.missing.first() {
        return Err(BackupError::Invalid(format!(
            "log `{missing}` is in the backup of before and not here; name another directory"
        )));
    }
    for log in &verified.logs {
        if let Some(first) = log.report.first_bad() {
            return Err(BackupError::Invalid(format!(
                "log `{}`, {first}; where it is another log than that of the backup before, name another directory",
                log.origin
            )));
        }
    }
    if verified.class() == Class::Invalid || verified.logs.is_empty() {
        return Err(BackupError::Invalid("it holds no whole log".to_owned()));
    }
    Ok(verified.logs.iter().map(LogIn::of).collect())
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            manifest,
            copied,
            kept,
        } = self;
        for log in &manifest.logs {
            writeln!(f, "{log}")?;
        }
        write!(
            f,
            "Backup of {}: {copied} bytes copied, {kept} were there. Not in it: the log's private key and the key encryption key, \
             without which nothing is restored; keep them elsewhere",
            manifest.made
        )
    }
}

impl fmt::Display for LogIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}  {} leaves, root {}",
            self.log.escape_debug(),
            self.leaves,
            self.root
        )
    }
}

impl LogIn {
    fn of(log: &crate::offline::VerifiedLog) -> Self {
        Self {
            log: log.origin.clone(),
            leaves: log.report.leaves,
            root: hex(log.report.root.as_bytes()),
            checkpoint: log.checkpoint.clone().unwrap_or_default(),
        }
    }
}
