//! Brings the newest key into use in every log, behind those between that the log has not named.
//!
//! At a start that is done before anything else is answered; while the ledger serves it is a job like others, whose groups have
//! the events of some logs and what else was asked for: the group that names a key in a log is signed with that key.
//!
//! *What a crash leaves.* Logs that name the key and logs that do not; the next start goes on with these. *Several ledgers.* One that
//! reads of a key that it does not hold stops, so each has to hold the key before any is started with it as its newest.

use std::collections::BTreeMap;
use std::ops::Bound;

use actpass_core::evidence::leaf::EventBody;

use super::{Committed, Sequencer};
use crate::engine::{GROUP_JOBS_MAX, Staging};
use crate::error::ApiError;

/// How often it is tried where other ledgers write to the same logs.
const TRIES_MAX: usize = 8;

impl Sequencer {
    /// Where the disk is full, a log goes on with the key before, which is no fault; the next start tries again.
    pub(in crate::engine) fn rotate_log_keys(&mut self) {
        // A log takes one key a round, on its way to the newest.
        let rounds = self.logs.len().div_ceil(GROUP_JOBS_MAX);
        let rounds = rounds.saturating_mul(self.parts.log_key.all().count());
        for _ in 0..rounds.saturating_add(TRIES_MAX) {
            let due = self.logs.iter().filter(|(_, log)| log.next_key().is_some());
            let due: Vec<String> = due
                .map(|(origin, _)| origin.clone())
                .take(GROUP_JOBS_MAX)
                .collect();
            if due.is_empty() || self.catch_up().is_err() || !self.name_newest(&due) {
                return;
            }
        }
        tracing::warn!(
            "Other ledgers were faster all the time; the newest log key is not in every log yet"
        );
    }

    /// Whether another try may bring it further.
    fn name_newest(&mut self, origins: &[String]) -> bool {
        let mut staged = BTreeMap::new();
        let mut staging = self.staging(&mut staged);
        for origin in origins {
            let event = staging.log(origin).ok().and_then(|log| log.next_key());
            let Some(event) = event else {
                continue;
            };
            let now = staging.now(origin);
            match now.and_then(|now| staging.event(origin, now, event, Vec::new())) {
                Ok(()) => tracing::info!(log = %origin, "Another key signs the log from here on"),
                Err(error) => {
                    tracing::error!(%error, log = %origin, "The newest log key is not in its log");
                    return false;
                }
            }
        }
        matches!(self.commit(staged), Committed::But(_))
    }
}

impl Staging<'_> {
    /// Names the next key in some of the logs behind `after` that are due; the last of them, and whether any took it. None where there
    /// were none.
    pub(in crate::engine) fn sign_with_newest(
        &mut self,
        after: &str,
    ) -> Result<Option<(String, bool)>, ApiError> {
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        let due = self.logs.range::<str, _>(behind);
        let due = due.filter_map(|(origin, log)| Some((origin.clone(), log.next_key()?)));
        let due: Vec<(String, EventBody)> = due.take(GROUP_JOBS_MAX).collect();
        let (last, mut named) = (due.last().map(|(origin, _)| origin.clone()), false);
        for (origin, event) in due {
            let now = self.now(&origin);
            match now.and_then(|now| self.event(&origin, now, event, Vec::new())) {
                Ok(()) => {
                    named = true;
                    tracing::info!(log = %origin, "Another key signs the log from here on");
                }
                Err(error) => {
                    tracing::error!(%error, log = %origin, "The newest log key is not in its log");
                }
            }
        }
        Ok(last.map(|last| (last, named)))
    }
}
