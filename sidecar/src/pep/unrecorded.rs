//! Denials for which there was no room: logged, at most once a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::recorder::RecordError;

/// Whoever sends what is denied does not set how much is logged.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Unrecorded(Mutex<Since>);

#[derive(Debug, Default)]
struct Since {
    logged: Option<Instant>,
    count: u64,
}

impl Unrecorded {
    /// Counts one, and says how many there were since the last time.
    pub(super) fn count(&self, error: &RecordError) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.count += 1;
        if since.logged.is_none_or(|last| last.elapsed() >= EVERY) {
            let count = since.count;
            tracing::error!(%error, count, "Denials, or what is passed on under audit, could not be recorded");
            *since = Since {
                logged: Some(Instant::now()),
                count: 0,
            };
        }
    }
}
