//! `fork`: puts into a log, signed, that it goes on where a copy of it ended, and which heads it had after that.
//!
//! *Flow.* With the ledger stopped all logs are read; heads that are kept beside them or given, and that they do not have, are what is
//! lost. The gap is the first leaf that is logged, before anything else is noted of the start. *What a crash leaves.* The logs before or
//! after their gaps; done again, those that have theirs get no other. *Guarantees.* Only a head that the log's key signed, or that who asks
//! vouches for, is named, and none that the log went past: it would have to be believed over what the log says.

use std::fmt;
use std::path::PathBuf;

use actpass_core::evidence::checkpoint::CheckpointError;
use actpass_core::evidence::leaf::{EventBody, FIELD_BYTES_MAX, GapLimits, LostHead};
use actpass_core::hash::TreeRoot;
use actpass_core::state::LOST_HEADS_MAX;
use tokio::sync::watch;

use super::sequencer::Sequencer;
use super::{DurableSizes, Log, Logs, OpenError, Parts, log};
use crate::error::ApiError;
use crate::heads::{self, HeadsError};

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
    /// Leaves that are left.
    pub size: u64,
    /// Root over them.
    pub root: TreeRoot,
    /// Heads that it had and has no more, the smallest first.
    pub lost: Vec<LostHead>,
    /// Whether its last leaf says so already.
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

/// Says what [`fork`] would log; nothing is changed.
///
/// # Errors
/// Why nothing would be said.
pub fn plan(parts: &mut Parts, request: &Request) -> Result<Vec<Fork>, ForkError> {
    planned(&log::read_all(parts)?, parts, request)
}

/// Logs a gap in each log that lost something, and makes a start possible.
///
/// # Errors
/// Why nothing is said; of several logs those before may have theirs.
pub fn fork(mut parts: Parts, request: &Request) -> Result<Vec<Fork>, ForkError> {
    let logs = log::read_all(&mut parts)?;
    let forks = planned(&logs, &parts, request)?;
    let path = parts.heads.clone();
    let sizes = DurableSizes::new(&logs);
    let (poison, _watched) = watch::channel(false);
    let mut sequencer = Sequencer::new(parts, logs, None, sizes, poison, None);
    for Fork {
        log,
        size,
        root,
        lost,
        ..
    } in forks.iter().filter(|fork| !fork.said)
    {
        let event = EventBody::Gap {
            size: *size,
            root: *root,
            lost: lost.clone(),
            limits: request.limits,
            by: request.by.clone(),
            why: request.why.clone(),
        };
        let logged = sequencer.log_first(log, event);
        logged.map_err(|source| ForkError::NotLogged {
            log: log.clone(),
            source,
        })?;
    }
    // No other log may go on before it says what it lost.
    let named: Vec<String> = forks.iter().map(|fork| fork.log.clone()).collect();
    sequencer.record_recovery_in(&named);
    if let Some(path) = path {
        let said: Vec<&str> = forks.iter().map(|fork| fork.log.as_str()).collect();
        heads::said_lost(&path, &said)?;
    }
    Ok(forks)
}

fn planned(logs: &Logs, parts: &Parts, request: &Request) -> Result<Vec<Fork>, ForkError> {
    let long = |text: &str| text.is_empty() || text.len() > FIELD_BYTES_MAX;
    if long(&request.why) || long(&request.by) {
        return Err(ForkError::Form(
            "who and why are texts of 1 to 1024 bytes, which stand in the log in clear",
        ));
    }
    let (kept, restored) = match &parts.heads {
        Some(path) => (
            heads::read(path).map_err(HeadsError::from)?,
            heads::restored(path)?,
        ),
        None => (Vec::new(), Vec::new()),
    };
    let mut known: Vec<Given> = kept.into_iter().map(Given::Checkpoint).collect();
    known.extend(request.lost.iter().cloned());
    for given in &request.lost {
        match given {
            Given::Checkpoint(note) if !logs.contains_key(heads::named(note)) => {
                return Err(ForkError::NoLog(heads::named(note).to_owned()));
            }
            Given::Noted(_) if request.log.is_none() => {
                return Err(ForkError::Form("a size and root are of one log: name it"));
            }
            _ => {}
        }
    }
    if let Some(named) = request.log.as_ref().filter(|log| !logs.contains_key(*log)) {
        return Err(ForkError::NoLog(named.clone()));
    }
    let mut forks = Vec::new();
    for log in logs.values() {
        let is_named = request.log.as_deref() == Some(log.origin());
        if request.log.is_some() && !is_named {
            continue;
        }
        let lost = lost_of(log, &known, is_named)?;
        if !lost.is_empty() || restored.iter().any(|it| it == log.origin()) {
            forks.push(of(log, lost));
        }
    }
    match forks.is_empty() {
        true => Err(ForkError::NothingLost),
        false => Ok(forks),
    }
}

fn of(log: &Log, lost: Vec<LostHead>) -> Fork {
    let size = log.size();
    let last_is_gap = log.state().gaps().last().map(|gap| gap.leaf) == size.checked_sub(1);
    Fork {
        log: log.origin().to_owned(),
        size,
        root: log.root_at(size).unwrap_or(TreeRoot::from_bytes([0; 32])),
        said: lost.is_empty() && last_is_gap,
        lost,
    }
}

/// Known heads that the log does not have and does not say that it lost.
fn lost_of(log: &Log, known: &[Given], is_named: bool) -> Result<Vec<LostHead>, ForkError> {
    let mut lost = Vec::new();
    for given in known {
        let head = match given {
            Given::Checkpoint(note) if heads::named(note) == log.origin() => {
                let read = log.read_head(note).map_err(|source| ForkError::NotOurs {
                    log: log.origin().to_owned(),
                    source,
                })?;
                LostHead {
                    root: read.root,
                    size: read.size,
                }
            }
            Given::Noted(head) if is_named => *head,
            _ => continue,
        };
        if log.root_at(head.size) == Some(head.root) || log.is_said_lost(&head) {
            continue;
        }
        if head.size <= log.size() {
            return Err(ForkError::WentOn {
                log: log.origin().to_owned(),
                size: head.size,
                found: log.size(),
            });
        }
        lost.push(head);
    }
    lost.sort();
    lost.dedup();
    if lost.len() > LOST_HEADS_MAX {
        return Err(ForkError::Form("a gap names 16 lost heads at most"));
    }
    match lost.is_sorted_by(|one, next| one.size < next.size) {
        true => Ok(lost),
        false => Err(ForkError::Form(
            "two heads of one size contradict each other: one log was signed twice",
        )),
    }
}

impl Log {
    /// Whether a gap of it names this head.
    pub(crate) fn is_said_lost(&self, head: &LostHead) -> bool {
        let mut gaps = self.state().gaps().iter();
        gaps.any(|gap| gap.heads.contains(head))
    }
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
        write!(f, "{log}  goes on after {size} leaves, root {}", self.root)?;
        if self.said {
            write!(f, "; its last leaf says so already")?;
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
