//! How many leaves are durable, for who reads them beside the sequencer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Logs;

/// The size of each log, as far as it is durable.
#[derive(Clone, Debug, Default)]
pub struct DurableSizes(Arc<Mutex<BTreeMap<String, u64>>>);

impl DurableSizes {
    /// Those of logs that are durable as they are.
    pub(super) fn new(logs: &Logs) -> Self {
        let sizes = logs
            .iter()
            .map(|(origin, log)| (origin.clone(), log.size()));
        Self(Arc::new(Mutex::new(sizes.collect())))
    }

    /// How many leaves of that log are durable.
    pub fn of(&self, origin: &str) -> u64 {
        self.sizes().get(origin).copied().unwrap_or(0)
    }

    /// How many leaves of all logs are.
    pub fn sum(&self) -> u64 {
        self.sizes().values().sum()
    }

    pub(super) fn put(&self, origin: &str, size: u64) {
        let mut sizes = self.sizes();
        match sizes.get_mut(origin) {
            Some(known) => *known = size,
            None => drop(sizes.insert(origin.to_owned(), size)),
        }
    }

    fn sizes(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        // Each change is one, so a panic elsewhere leaves none half made.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
