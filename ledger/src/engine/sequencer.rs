//! The thread: groups of jobs, each with one durable write.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use actpass_core::evidence::leaf::EventBody;
use tokio::sync::{mpsc, watch};

use super::{GROUP_JOBS_MAX, Job, Logs, Parts, ROUNDS_MAX, Staging, checkpoint_name, log};
use crate::error::ApiError;
use crate::heads::Keeper;
use crate::storage::{Appended, Blob, BlobKind, LogGroup, StorageError};

/// How often at most room is looked for on a disk that has none.
const ROOM_SOUGHT_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Sequencer {
    parts: Parts,
    logs: Logs,
    keeper: Option<Keeper>,
    /// Turns true once, for good.
    poison: watch::Sender<bool>,
    /// Whether others append to the same logs.
    shared: bool,
    /// When the disk last had no room for what is made ahead.
    no_room: Option<Instant>,
}

/// Why no job can be done now.
enum Halt {
    /// The ledger has stopped.
    Stopped,
    /// The storage does not say what others appended.
    Unreachable,
}

impl Halt {
    fn refusal(&self) -> ApiError {
        match self {
            Self::Stopped => ApiError::Poisoned,
            Self::Unreachable => ApiError::Unavailable(
                "the ledger's storage does not answer; try again in a moment".to_owned(),
            ),
        }
    }
}

/// What became of a group.
enum Committed {
    /// All is durable but what was staged on these logs, which another replica reached first.
    But(BTreeSet<String>),
    /// The disk is full: nothing was kept.
    Full,
    /// The ledger has stopped.
    Poisoned,
}

/// A staged job, and the logs that it looked at.
type Staged = (Box<dyn Job>, BTreeSet<String>);

impl Sequencer {
    pub(super) fn new(
        parts: Parts,
        logs: Logs,
        keeper: Option<Keeper>,
        poison: watch::Sender<bool>,
    ) -> Self {
        let shared = parts.storage.is_shared();
        Self {
            parts,
            logs,
            keeper,
            poison,
            shared,
            no_room: None,
        }
    }

    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(job) = queue.blocking_recv() {
            let mut jobs = vec![job];
            while jobs.len() < GROUP_JOBS_MAX
                && let Ok(job) = queue.try_recv()
            {
                jobs.push(job);
            }
            for _ in 0..ROUNDS_MAX {
                jobs = self.round(jobs);
                if jobs.is_empty() {
                    break;
                }
            }
            jobs.into_iter()
                .for_each(|job| job.answer(Err(ApiError::Busy)));
            if queue.is_empty() {
                self.make_room();
            }
        }
    }

    /// What a crash cut short was of a log that nobody can tell any more, so each says that it was.
    pub(super) fn record_recovery(&mut self) {
        let Some(bytes) = self.parts.storage.recovery().map(|dropped| dropped.bytes) else {
            return;
        };
        let origins: Vec<String> = self.logs.keys().cloned().collect();
        for some in origins.chunks(GROUP_JOBS_MAX) {
            let mut staged = BTreeMap::new();
            let mut staging = self.staging(&mut staged);
            for origin in some {
                let event = EventBody::Recovery { bytes };
                let now = staging.now(origin);
                let noted = now.and_then(|now| staging.event(origin, now, event, Vec::new()));
                if let Err(error) = noted {
                    tracing::error!(%error, log = %origin, "A recovery is not in its log");
                }
            }
            // Why is said there; on a full disk the logs go on without it.
            if !matches!(self.commit(staged), Committed::But(_)) {
                return;
            }
        }
    }

    /// Has the storage make room ahead, now that nobody waits.
    fn make_room(&mut self) {
        let sought = self.no_room.map(|at| at.elapsed());
        if self.poisoned() || sought.is_some_and(|before| before < ROOM_SOUGHT_EVERY) {
            return;
        }
        match self.parts.storage.maintain() {
            Ok(()) => self.no_room = None,
            Err(StorageError::NoSpace { path }) => {
                if self.no_room.replace(Instant::now()).is_none() {
                    tracing::warn!(path = %path.display(), "Disk nearly full; writes go on until what is made is used up");
                }
            }
            Err(error) => {
                tracing::error!(%error, "The log cannot be extended; the ledger stops");
                self.stop();
            }
        }
    }

    /// Stages and commits jobs, and answers them; those to be done again come back.
    fn round(&mut self, jobs: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
        if let Err(halt) = self.catch_up() {
            jobs.into_iter()
                .for_each(|job| job.answer(Err(halt.refusal())));
            return Vec::new();
        }
        let mut staged = BTreeMap::new();
        let jobs: Vec<Staged> = jobs
            .into_iter()
            .map(|job| self.stage(job, &mut staged))
            .collect();
        let committed = self.commit(staged);
        let mut again = Vec::new();
        for (job, looked) in jobs {
            match &committed {
                Committed::But(lost) if !lost.is_disjoint(&looked) => again.push(job),
                Committed::But(_) => job.answer(Ok(&self.logs)),
                Committed::Full => job.answer(Err(ApiError::NoSpace)),
                Committed::Poisoned => job.answer(Err(ApiError::Poisoned)),
            }
        }
        again
    }

    fn poisoned(&self) -> bool {
        *self.poison.borrow()
    }

    fn stop(&self) -> Committed {
        self.poison.send_replace(true);
        Committed::Poisoned
    }

    fn stage(&mut self, mut job: Box<dyn Job>, staged: &mut BTreeMap<String, LogGroup>) -> Staged {
        let mut staging = self.staging(staged);
        job.stage(&mut staging);
        let looked = staging.looked.into_inner();
        (job, looked)
    }

    fn staging<'a>(&'a mut self, staged: &'a mut BTreeMap<String, LogGroup>) -> Staging<'a> {
        Staging {
            logs: &mut self.logs,
            staged,
            parts: &self.parts,
            looked: Default::default(),
        }
    }

    /// Takes in what others appended since.
    fn catch_up(&mut self) -> Result<(), Halt> {
        if self.poisoned() {
            return Err(Halt::Stopped);
        }
        if !self.shared {
            return Ok(());
        }
        let moved = self.parts.storage.moved().map_err(|error| {
            tracing::error!(%error, "Nobody can tell what other replicas appended");
            Halt::Unreachable
        })?;
        for (origin, head) in moved {
            let known = self.logs.get(&origin);
            if known.is_none_or(|log| log.head() != head) {
                self.read_on(&origin)?;
            }
        }
        Ok(())
    }

    fn read_on(&mut self, origin: &str) -> Result<(), Halt> {
        log::read_on(&mut self.logs, origin, &mut self.parts).map_err(|error| {
            tracing::error!(%error, "What another replica appended does not follow; the ledger stops");
            self.stop();
            Halt::Stopped
        })
    }

    /// One durable write for everything staged.
    fn commit(&mut self, staged: BTreeMap<String, LogGroup>) -> Committed {
        if staged.is_empty() {
            return Committed::But(BTreeSet::new());
        }
        let mut groups: Vec<LogGroup> = staged.into_values().collect();
        let mut signed = Vec::with_capacity(groups.len());
        for group in &mut groups {
            let checkpoint = self.logs.get(&group.log).map(log::Log::sign);
            let checkpoint = checkpoint.unwrap_or_default();
            group.blobs.push(checkpoint_blob(&group.log, &checkpoint));
            signed.push(checkpoint);
        }
        let begun = Instant::now();
        match self.parts.storage.append(&groups) {
            Ok(results) if self.shared || results.iter().all(is_appended) => {
                let kept = groups.iter().zip(&results);
                let kept = kept.filter(|(_, result)| is_appended(result));
                let leaves = kept.map(|(group, _)| group.leaves.len()).sum();
                self.parts.metrics.group(leaves, begun.elapsed());
                self.settle(groups, signed, &results)
            }
            Err(StorageError::NoSpace { .. }) => {
                tracing::error!("Disk full; writes are denied until there is space");
                self.reload()
            }
            other => {
                tracing::error!(?other, "The log cannot be written; the ledger stops");
                self.stop()
            }
        }
    }

    /// What is durable is; a log that another replica reached first goes back and takes in what that appended.
    fn settle(
        &mut self,
        groups: Vec<LogGroup>,
        signed: Vec<String>,
        results: &[Appended],
    ) -> Committed {
        let mut lost = BTreeSet::new();
        for ((group, checkpoint), result) in groups.into_iter().zip(signed).zip(results) {
            let ours = match result {
                Appended::Appended { .. } => true,
                Appended::Conflict { .. } => false,
                // The hash of the last leaf says whose the leaves are that stand there.
                Appended::Unknown => {
                    let found = self.parts.storage.head(&group.log);
                    self.logs.get(&group.log).map(log::Log::head) == Some(found)
                }
            };
            let Some(log) = self.logs.get_mut(&group.log) else {
                continue;
            };
            if ours {
                log.is_durable(checkpoint, self.shared);
                if let Some(keeper) = &self.keeper {
                    keeper.put(log);
                }
                continue;
            }
            log.go_back();
            if self.read_on(&group.log).is_err() {
                return Committed::Poisoned;
            }
            // Who was late once goes back a short way the next time, else the fast stay so for ever.
            if let Some(log) = self.logs.get_mut(&group.log) {
                log.keep_state();
            }
            lost.insert(group.log);
        }
        Committed::But(lost)
    }

    /// What was staged is not kept: the state is what the log says.
    fn reload(&mut self) -> Committed {
        match log::read_all(&mut self.parts) {
            Ok(logs) => {
                self.logs = logs;
                Committed::Full
            }
            Err(error) => {
                tracing::error!(%error, "The log cannot be read back; the ledger stops");
                self.stop()
            }
        }
    }
}

fn is_appended(result: &Appended) -> bool {
    matches!(result, Appended::Appended { .. })
}

/// The signed checkpoint of a group rides in the group: it is durable with the leaves it covers, and torn with them.
/// Nobody sees it before that, so a crash cannot leave two signed heads of one size in the world.
fn checkpoint_blob(origin: &str, checkpoint: &str) -> Blob {
    Blob {
        kind: BlobKind::State,
        name: checkpoint_name(origin),
        bytes: checkpoint.as_bytes().to_vec(),
    }
}
