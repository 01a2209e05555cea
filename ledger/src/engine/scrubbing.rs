//! Reads, beside the sequencer, what the start believed unread: every byte against its checksums, index files against their segments,
//! leaves against the tree under the signed checkpoint. What the leaves mean is for `actpass verify` to say.
//!
//! *Errors.* Damage stops the ledger as a disk does that cannot be written: it denies everything until it is started anew.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actpass_core::evidence::merkle::{LeafHashes, Tree, leaf_hash};
use actpass_core::hash::LeafHash;
use tokio::sync::watch;

use super::{Logs, OpenError};
use crate::metrics::Metrics;
use crate::storage::{Entry, Scrub, StorageError};

/// It rests that many times as long as it reads, so that it takes a fifth of one processor and of the disk.
const RESTS: u32 = 4;

/// After how many leaves the tree that is built forgets them.
const FORGOTTEN_EVERY: u64 = 65_536;

/// The thread that reads. It ends with the ledger.
pub(super) struct Scrubbing {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("log `{log}`: its first {size} leaves have another root than it was signed with")]
    Root { log: String, size: u64 },
}

impl Scrubbing {
    /// Begins to read; `logs` as they were taken in.
    pub(super) fn start(
        scrub: Scrub,
        logs: &Logs,
        metrics: Arc<Metrics>,
        poison: watch::Sender<bool>,
    ) -> Result<Self, OpenError> {
        metrics.unread(scrub.left());
        let stop = Arc::new(Stop::default());
        let trees = logs
            .iter()
            .map(|(origin, log)| (origin.clone(), log.tree()));
        let reading = Reading {
            scrub,
            trees: trees.collect(),
            read: BTreeMap::new(),
            metrics,
        };
        let thread = std::thread::Builder::new().name("scrubbing".to_owned());
        let stopped = stop.clone();
        let thread = thread.spawn(move || reading.run(&stopped, &poison));
        Ok(Self {
            stop,
            thread: Some(thread.map_err(OpenError::Thread)?),
        })
    }
}

impl Drop for Scrubbing {
    fn drop(&mut self) {
        *lock(&self.stop.stopped) = true;
        self.stop.changed.notify_all();
        if self.thread.take().is_some_and(|it| it.join().is_err()) {
            tracing::error!("The reading of the log's full segments ended in a panic");
        }
    }
}

impl Stop {
    /// Whether it is time to end; waits so long for that.
    fn within(&self, time: Duration) -> bool {
        let stopped = lock(&self.stopped);
        let waited = self
            .changed
            .wait_timeout_while(stopped, time, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

struct Reading {
    scrub: Scrub,
    /// Trees of the logs as the ledger has them.
    trees: BTreeMap<String, Tree>,
    /// The same from the leaves that were read.
    read: BTreeMap<String, Tree>,
    metrics: Arc<Metrics>,
}

impl Reading {
    fn run(mut self, stop: &Stop, poison: &watch::Sender<bool>) {
        let all = self.scrub.all();
        let begun = Instant::now();
        tracing::info!(
            segments = all,
            "Reading the log's full segments beside the work"
        );
        while self.scrub.left() > 0 {
            let step = Instant::now();
            if let Err(error) = self.step() {
                return found(&error, poison);
            }
            // The last is not done before the roots were compared.
            self.metrics.unread(self.scrub.left().max(1));
            if stop.within(step.elapsed().saturating_mul(RESTS)) {
                return;
            }
        }
        match self.finish() {
            Ok(()) => {
                self.metrics.unread(0);
                let took = begun.elapsed();
                tracing::info!(
                    segments = all,
                    ?took,
                    "The log's full segments are what was written and signed"
                );
            }
            Err(error) => found(&error, poison),
        }
    }

    fn step(&mut self) -> Result<(), StorageError> {
        let read = &mut self.read;
        self.scrub.step(&mut |entry| {
            if let Entry::Leaf { log, bytes, .. } = entry {
                match read.get_mut(log) {
                    Some(tree) => tree.push(leaf_hash(bytes)),
                    None => drop(read.insert(log.to_owned(), Tree::from_iter([leaf_hash(bytes)]))),
                }
            }
        })?;
        for tree in read.values_mut() {
            if tree.size().saturating_sub(tree.forgotten()) >= FORGOTTEN_EVERY {
                tree.forget(tree.size(), Arc::new(Nobody));
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), Wrong> {
        for (log, read) in &self.read {
            let size = read.size();
            let known = self.trees.get(log).and_then(|tree| tree.root_at(size));
            if known != Some(read.root()) {
                let log = log.clone();
                return Err(Wrong::Root { log, size });
            }
        }
        Ok(())
    }
}

/// The root of a tree needs no leaf that it forgot.
struct Nobody;

impl LeafHashes for Nobody {
    fn leaf_hashes(&self, _: Range<u64>) -> Option<Vec<LeafHash>> {
        None
    }
}

fn found(error: &dyn std::fmt::Display, poison: &watch::Sender<bool>) {
    tracing::error!(%error, "The log is not what was written; the ledger stops");
    poison.send_replace(true);
}

fn lock(stopped: &Mutex<bool>) -> std::sync::MutexGuard<'_, bool> {
    stopped.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
