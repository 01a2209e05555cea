//! `fork`: puts into a log, signed, that it goes on where a copy of it ended, and which heads it had after that.
//!
//! *Flow.* With the ledger stopped all logs are read; heads that are kept beside them or given, and that they do not have, are what is
//! lost. The gap is the first leaf that is logged, before anything else is noted of the start; of a log that is gone, as it was begun after
//! what was restored, it is the second, behind the key. Then come the keys that the log has not, so that what they signed can be told
//! to be lost. *What a crash leaves.* All logs before their
//! gaps, or all after; done again, those that have theirs get no other. *Guarantees.* Only a head that the log's key signed, or that who asks
//! vouches for, is named, and none that the log went past: it would have to be believed over what the log says.

mod planned;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use actpass_core::evidence::checkpoint::CheckpointError;
use actpass_core::evidence::leaf::{EventBody, GapLimits, LostHead};
use actpass_core::hash::TreeRoot;
use tokio::sync::watch;

use self::planned::{planned, whole};
use super::sequencer::Sequencer;
use super::{DurableSizes, OpenError, Parts, log};
use crate::error::ApiError;
use crate::heads::{self, HeadsError};
use crate::storage::segment::{SegmentOptions, SegmentStorage};
use crate::storage::{MemoryStorage, Storage, StorageError};

/// What is to be said, and of which logs.
#[derive(Clone, Debug)]
pub struct Request {
    /// Of this log; of all that lost something where none is named.
    pub log: Option<String>,
    /// Who says it.
    pub by: String,
    /// Why. It stands in the log in clear.
    pub why: String,
    /// Heads that were kept elsewhere.
    pub lost: Vec<Given>,
    /// What counts as used.
    pub limits: GapLimits,
}

/// A head that was kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// A signed checkpoint, of the log that it names.
    Checkpoint(String),
    /// Size and root as somebody noted them, of the log that the request is of.
    Noted(LostHead),
}

/// A log that goes on with a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Its name.
    pub log: String,
    /// Whether nothing of it is left, so that it begins anew.
    pub gone: bool,
    /// Leaves that are left.
    pub size: u64,
    /// Root over them.
    pub root: TreeRoot,
    /// Heads that it had and has no more, the smallest first.
    pub lost: Vec<LostHead>,
    /// Whether it says so already, since it was restored.
    pub said: bool,
}

/// Why nothing is said.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// The logs cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The kept heads cannot be read.
    #[error(transparent)]
    Heads(#[from] HeadsError),
    /// There is no such log.
    #[error("there is no log `{0}`")]
    NoLog(String),
    /// What was given is of a log that was not asked about.
    #[error("the head that was given is of log `{0}`, which is not the one to go on with")]
    OfOther(String),
    /// Every head that is known is in it.
    #[error(
        "nothing is known to be lost: the logs here have every head that is kept or was given, so a ledger starts on them"
    )]
    NothingLost,
    /// A head that is not the log's.
    #[error("a head of log `{log}` cannot be believed")]
    NotOurs {
        /// The log.
        log: String,
        /// Why not.
        #[source]
        source: CheckpointError,
    },
    /// The log was written to after it had lost something.
    #[error(
        "log `{log}` has {found} leaves and went on past the lost head of {size} without saying so: no gap can stand before what is there; restore it up to fewer leaves, or begin anew"
    )]
    WentOn {
        /// The log.
        log: String,
        /// Leaves of the lost head.
        size: u64,
        /// Leaves here.
        found: u64,
    },
    /// More than an event holds, or two that contradict each other.
    #[error("{0}")]
    Form(&'static str),
    /// It could not be logged.
    #[error("the gap of log `{log}` is not logged")]
    NotLogged {
        /// The log.
        log: String,
        /// Why not.
        #[source]
        source: ApiError,
    },
}

/// The logs in `dir`, to `write` to; else only to look at, and nothing is changed or made. There need be none.
///
/// # Errors
/// Where they cannot be read.
pub fn storage(dir: &Path, write: bool) -> Result<Box<dyn Storage>, StorageError> {
    Ok(match write {
        true => Box::new(SegmentStorage::open(dir, SegmentOptions::default())?),
        false if dir.join("segments").is_dir() => Box::new(SegmentStorage::look(dir)?),
        false => Box::new(MemoryStorage::new()),
    })
}

/// Says what [`fork`] would log; nothing is changed where the parts are to be looked at only.
///
/// # Errors
/// Why nothing would be said.
pub fn plan(parts: &mut Parts, request: &Request) -> Result<Vec<Fork>, ForkError> {
    planned(&log::read_all(parts)?, parts, request)
}

/// Logs a gap in each log that lost something, and makes a start possible. Opening the storage to write drops what a crash cut short,
/// so that it is opened only once [`plan`] found something to say.
///
/// # Errors
/// Why nothing is said.
pub fn fork(mut parts: Parts, request: &Request) -> Result<Vec<Fork>, ForkError> {
    let logs = log::read_all(&mut parts)?;
    let forks = planned(&logs, &parts, request)?;
    // No other log may go on before it says what it lost.
    let whole = whole(&logs, &parts, request, &forks)?;
    let path = parts.heads.clone();
    let ring = parts.log_key.clone();
    let (newest, keys) = (ring.newest(), ring.all().rev().collect::<Vec<_>>());
    let sizes = DurableSizes::new(&logs);
    let (poison, _watched) = watch::channel(false);
    let mut sequencer = Sequencer::new(parts, logs, None, sizes, poison, None);
    let unsaid: BTreeMap<&str, &[LostHead]> = forks
        .iter()
        .filter(|fork| !fork.said)
        .map(|fork| (fork.log.as_str(), fork.lost.as_slice()))
        .collect();
    let names: Vec<&str> = unsaid.keys().copied().collect();
    // A log that is gone begins with the oldest key: those that signed what is lost follow, each signed for by the one before.
    ring.exchange(ring.oldest(), keys.clone());
    let logged = sequencer.log_gaps(&names, &whole, |log, size, root| EventBody::Gap {
        size,
        root,
        lost: unsaid.get(log).copied().unwrap_or_default().to_vec(),
        limits: request.limits,
        by: request.by.clone(),
        why: request.why.clone(),
    });
    ring.exchange(newest, keys);
    logged.map_err(|source| ForkError::NotLogged {
        log: names.join("`, `"),
        source,
    })?;
    sequencer.rotate_log_keys();
    if let Some(path) = path {
        let said: Vec<&str> = forks.iter().map(|fork| fork.log.as_str()).collect();
        heads::said_lost(&path, &said)?;
    }
    Ok(forks)
}

impl std::str::FromStr for Given {
    type Err = String;

    /// `SIZE:ROOT`, the root in hex.
    fn from_str(text: &str) -> Result<Self, String> {
        let head = text.split_once(':').and_then(|(size, root)| {
            let (size, root) = (size.parse().ok()?, root.parse().ok()?);
            Some(Self::Noted(LostHead { root, size }))
        });
        head.ok_or_else(|| "not SIZE:ROOT".to_owned())
    }
}

impl Given {
    /// What was given on a command line: `SIZE:ROOT`, or what a file with signed checkpoints holds.
    ///
    /// # Errors
    /// Where the file cannot be read, or holds none.
    pub fn read(text: &str) -> std::io::Result<Vec<Self>> {
        if let Ok(noted) = text.parse() {
            return Ok(vec![noted]);
        }
        let notes = heads::notes(&std::fs::read_to_string(PathBuf::from(text))?);
        match notes.is_empty() {
            true => Err(std::io::Error::other(
                "it holds no signed checkpoint, and is no SIZE:ROOT",
            )),
            false => Ok(notes.into_iter().map(Self::Checkpoint).collect()),
        }
    }
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (log, size) = (self.log.escape_debug(), self.size);
        match self.gone {
            true => write!(f, "{log}  is gone, and begins anew")?,
            false => write!(f, "{log}  goes on after {size} leaves, root {}", self.root)?,
        }
        if self.said {
            write!(f, "; it says so already")?;
        }
        for head in &self.lost {
            write!(
                f,
                "\n  lost: it had {} leaves, root {}",
                head.size, head.root
            )?;
        }
        Ok(())
    }
}
