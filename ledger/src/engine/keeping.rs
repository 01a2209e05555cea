//! When the state of which log is kept, so that a start takes in few leaves.
//!
//! *Flow.* Once [`TAKEN_IN_MAX`] leaves of all logs would have to be taken in, the state of the log with most of them is kept: while
//! nobody waits, else at twice as many. So is that of a log which rests, for its last leaves may lie in segments that nobody else needs
//! read. At an orderly end that of each log is. *What a crash leaves.* The state kept before, and some
//! more leaves to take in.

use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use jiff::{SignedDuration, Timestamp};

use super::Logs;
use super::log::Log;
use crate::storage::{Snapshots, StorageError};

/// Leaves that a start may have to take in one by one, of all logs: about a second's worth at 15 µs each.
const TAKEN_IN_MAX: u64 = 65_536;

/// How long states are kept at the end. Who stops the ledger waits 20 seconds.
const AT_END: Duration = Duration::from_secs(5);

/// A log without a new leaf for so long rests. Those that do are looked for once a second.
const RESTS_AFTER: SignedDuration = SignedDuration::from_secs(60);
const RESTING_SOUGHT_EVERY: Duration = Duration::from_secs(1);

/// How long none is kept after the disk had no room for it.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

pub(super) struct Keeping {
    files: Option<Snapshots>,
    /// Leaves that a start now would take in, of all logs.
    unkept: u64,
    no_room: Option<Instant>,
    /// When resting logs were looked for last.
    sought: Instant,
}

/// A log that rests and whose last leaves a start would take in.
fn resting(logs: &mut Logs, now: Timestamp) -> Option<&mut Log> {
    let mut resting = logs.values_mut().filter(|log| log.unkept() > 0);
    resting.find(|log| now.duration_since(log.last_time()) >= RESTS_AFTER)
}

impl Keeping {
    pub(super) fn new(files: Option<Snapshots>, logs: &Logs) -> Self {
        let mut keeping = Self {
            files,
            unkept: 0,
            no_room: None,
            sought: Instant::now(),
        };
        keeping.count(logs);
        keeping
    }

    /// Logs as they were read anew.
    pub(super) fn count(&mut self, logs: &Logs) {
        self.unkept = logs.values().map(Log::unkept).sum();
    }

    /// So many leaves became durable.
    pub(super) fn grew(&mut self, leaves: usize) {
        self.unkept = self.unkept.saturating_add(leaves as u64);
    }

    /// Keeps one state, if it is time to.
    pub(super) fn when_due(
        &mut self,
        logs: &mut Logs,
        key: &SigningKey,
        idle: bool,
    ) -> Result<(), StorageError> {
        let most = if idle { TAKEN_IN_MAX } else { 2 * TAKEN_IN_MAX };
        let waits = self.no_room.is_some_and(|at| at.elapsed() < AGAIN_AFTER);
        if self.files.is_none() || self.unkept == 0 || waits {
            return Ok(());
        }
        let due = if self.unkept >= most {
            logs.values_mut().max_by_key(|log| log.unkept())
        } else if idle && self.sought.elapsed() >= RESTING_SOUGHT_EVERY {
            self.sought = Instant::now();
            resting(logs, Timestamp::now())
        } else {
            None
        };
        due.map_or(Ok(()), |log| self.keep(log, key))
    }

    /// Keeps the state of each log, those that would take longest first.
    pub(super) fn at_end(&mut self, logs: &mut Logs, key: &SigningKey) -> Result<(), StorageError> {
        let begun = Instant::now();
        let mut changed: Vec<&mut Log> = logs.values_mut().filter(|it| it.unkept() > 0).collect();
        changed.sort_by_key(|log| std::cmp::Reverse(log.unkept()));
        for log in changed {
            if begun.elapsed() > AT_END {
                break;
            }
            self.keep(log, key)?;
        }
        Ok(())
    }

    fn keep(&mut self, log: &mut Log, key: &SigningKey) -> Result<(), StorageError> {
        let Some(files) = &self.files else {
            return Ok(());
        };
        let begun = Instant::now();
        let bytes = match log.snapshot(key) {
            Ok(bytes) => bytes,
            Err(error) => {
                // A defect, and no reason to stop: a start takes in every leaf then.
                tracing::error!(%error, log = %log.origin(), "The state of a log cannot be written down");
                self.no_room = Some(Instant::now());
                return Ok(());
            }
        };
        match files.keep(log.origin(), log.size(), &bytes) {
            Ok(()) => {
                self.no_room = None;
                self.unkept = self.unkept.saturating_sub(log.unkept());
                log.was_kept_whole();
                let (bytes, took) = (bytes.len(), begun.elapsed());
                tracing::debug!(log = %log.origin(), size = log.size(), bytes, ?took, "State of a log kept");
                Ok(())
            }
            Err(StorageError::NoSpace { .. }) => {
                self.no_room = Some(Instant::now());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
