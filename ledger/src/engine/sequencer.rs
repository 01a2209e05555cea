//! The thread: groups of jobs, each with one durable write.

mod others;
mod rotating;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use actpass_core::evidence::leaf::EventBody;
use actpass_core::hash::TreeRoot;
use tokio::sync::{mpsc, watch};

use super::keeping::Keeping;
use super::scrubbing::Scrubbing;
use super::{
    DurableSizes, GROUP_JOBS_MAX, Job, Logs, Parts, ROUNDS_MAX, Staging, checkpoint_name, log,
};
use crate::error::ApiError;
use crate::heads::Keeper;
use crate::storage::{Appended, Blob, BlobKind, LogGroup, StorageError};
use crate::vault::VaultError;
use others::Owed;

/// Bytes that are enough for one group: four of the largest requests that are kept.
const GROUP_BYTES_ENOUGH: usize = 1 << 20;

/// How often at most room is looked for on a disk that has none.
const ROOM_SOUGHT_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Sequencer {
    parts: Parts,
    logs: Logs,
    keeper: Option<Keeper>,
    sizes: DurableSizes,
    /// Turns true once, for good.
    poison: watch::Sender<bool>,
    /// Whether others append to the same logs.
    shared: bool,
    /// Logs to read on before anything is decided on any.
    owed: BTreeMap<String, Owed>,
    /// Logs on which the next round waits for its turn.
    contended: BTreeSet<String>,
    /// Logs on which this round waited for its turn.
    had_turn: BTreeSet<String>,
    /// Logs that others appended to before this round.
    met: BTreeSet<String>,
    /// When the disk last had no room for what is made ahead.
    no_room: Option<Instant>,
    /// Once so many bytes are staged, the other jobs wait for the next group.
    enough_bytes: usize,
    /// Keeps the states of logs, so that a start takes in few leaves.
    keeping: Keeping,
    /// Ends with the sequencer.
    _scrubbing: Option<Scrubbing>,
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
            // A sidecar asks again.
            Self::Unreachable => ApiError::Stalled,
        }
    }
}

/// What became of a group.
enum Committed {
    /// All is durable but what was staged on some logs.
    But(Undone),
    /// The storage cannot be asked: nothing was kept.
    Unreachable,
    /// The disk is full: nothing was kept.
    Full,
    /// It is more than one write takes: nothing was kept.
    TooLarge,
    /// The ledger has stopped.
    Poisoned,
}

/// Logs on which what was staged is not durable, or not known to be.
#[derive(Default)]
struct Undone {
    /// Another replica reached them first.
    lost: BTreeSet<String>,
    /// It cannot be told now whether it was kept.
    unknown: BTreeSet<String>,
}

/// A staged job, and the logs that it looked at.
type Staged = (Box<dyn Job>, BTreeSet<String>);

impl Sequencer {
    pub(super) fn new(
        parts: Parts,
        logs: Logs,
        keeper: Option<Keeper>,
        sizes: DurableSizes,
        poison: watch::Sender<bool>,
        scrubbing: Option<Scrubbing>,
    ) -> Self {
        let shared = parts.storage.is_shared();
        // No job stages more than a request and what is kept beside it, so a group stays well below what one write takes.
        let enough_bytes = (parts.storage.append_bytes_max() / 4).min(GROUP_BYTES_ENOUGH);
        let keeping = Keeping::new(parts.storage.snapshots(), &logs);
        Self {
            parts,
            logs,
            keeper,
            sizes,
            poison,
            shared,
            owed: BTreeMap::new(),
            contended: BTreeSet::new(),
            had_turn: BTreeSet::new(),
            met: BTreeSet::new(),
            no_room: None,
            enough_bytes,
            keeping,
            _scrubbing: scrubbing,
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
            let mut late = 0;
            while !jobs.is_empty() && late < ROUNDS_MAX {
                late += usize::from(self.round(&mut jobs));
            }
            jobs.into_iter()
                .for_each(|job| job.answer(Err(ApiError::Busy)));
            let idle = queue.is_empty();
            if idle {
                self.make_room();
            }
            self.keep_states(idle);
        }
        if !self.poisoned() {
            let key = self.parts.log_key.newest();
            let kept = self.keeping.at_end(&mut self.logs, &key);
            self.stop_unless(kept);
        }
    }

    fn keep_states(&mut self, idle: bool) {
        if !self.poisoned() {
            let key = self.parts.log_key.newest();
            let kept = self.keeping.when_due(&mut self.logs, &key, idle);
            self.stop_unless(kept);
        }
    }

    fn stop_unless(&self, kept: Result<(), StorageError>) {
        if let Err(error) = kept {
            tracing::error!(%error, "The state of a log cannot be kept; the ledger stops");
            self.stop();
        }
    }

    /// What a crash cut short was of a log that nobody can tell any more, so each says that it was; unless this start is cut short
    /// too, or the disk is full.
    pub(super) fn record_recovery(&mut self) {
        let origins: Vec<String> = self.logs.keys().cloned().collect();
        let Some(bytes) = self.parts.storage.recovery().map(|dropped| dropped.bytes) else {
            return;
        };
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

    /// Puts into the logs what was destroyed and is in none yet, and destroys what they say is: a crash may have come between the
    /// two, and a vault that was put back from an older copy has keys again that are gone.
    pub(super) fn record_erasures(&mut self) -> Result<(), VaultError> {
        let vault = self.parts.vault.clone();
        let origins: Vec<String> = self.logs.keys().cloned().collect();
        for origin in origins {
            let Some(log) = self.logs.get(&origin) else {
                continue;
            };
            if vault.follow(log.tenant(), log.state().erasures())? {
                tracing::warn!(log = %origin, "The vault held keys of texts that were erased, as an older copy does; they are destroyed again");
            }
            let unrecorded = vault.unrecorded(log.tenant())?;
            let mut staged = BTreeMap::new();
            let mut staging = self.staging(&mut staged);
            for event in unrecorded {
                let now = staging.now(&origin);
                let noted = now.and_then(|now| staging.event(&origin, now, event, Vec::new()));
                if let Err(error) = noted {
                    tracing::error!(%error, log = %origin, "An erasure is not in its log");
                }
            }
            // Why is said there; on a full disk it is tried again with the next erasure, and at the next start.
            if !matches!(self.commit(staged), Committed::But(_)) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Logs a gap in each of `lost` before anything else is, and in these and in `whole` what a crash cut short: one write, so that no
    /// later start finds the one without the other. A log that is gone begins anew with it.
    pub(super) fn log_gaps(
        &mut self,
        lost: &[&str],
        whole: &[String],
        gap: impl Fn(&str, u64, TreeRoot) -> EventBody,
    ) -> Result<(), ApiError> {
        let cut_short = self.parts.storage.recovery().map(|dropped| dropped.bytes);
        let mut staged = BTreeMap::new();
        let mut staging = self.staging(&mut staged);
        for origin in lost {
            // Which issuers it believes it says once somebody comes with a passport.
            staging.ensure_log(origin, &BTreeMap::new())?;
            let log = staging.log(origin)?;
            let root = log.root_at(log.size()).ok_or(ApiError::Stalled)?;
            let gap = gap(origin, log.size(), root);
            let now = staging.now(origin)?;
            staging.event(origin, now, gap, Vec::new())?;
        }
        if let Some(bytes) = cut_short {
            let whole = whole.iter().map(String::as_str);
            for origin in lost.iter().copied().chain(whole) {
                let now = staging.now(origin)?;
                let event = EventBody::Recovery { bytes };
                staging.event(origin, now, event, Vec::new())?;
            }
        }
        match self.commit(staged) {
            Committed::But(undone) if undone.lost.is_empty() && undone.unknown.is_empty() => Ok(()),
            Committed::TooLarge => Err(ApiError::Malformed(
                "the gaps of so many logs are more than one write takes; name one log after the other"
                    .to_owned(),
            )),
            Committed::Full => Err(ApiError::NoSpace),
            Committed::Poisoned => Err(ApiError::Poisoned),
            _ => Err(ApiError::Stalled),
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

    /// Stages and commits as many jobs as go into one group, and answers them; those left, and those to be done again, stay in
    /// `jobs`. Whether any has to be done again.
    fn round(&mut self, jobs: &mut Vec<Box<dyn Job>>) -> bool {
        self.take_turn();
        if let Err(halt) = self.catch_up() {
            self.parts.storage.end_turn();
            jobs.drain(..)
                .for_each(|job| job.answer(Err(halt.refusal())));
            return false;
        }
        let mut waiting = std::mem::take(jobs).into_iter();
        let (mut staged, mut done) = (BTreeMap::new(), Vec::new());
        for job in waiting.by_ref() {
            done.push(self.stage(job, &mut staged));
            if staged.values().map(bytes_of).sum::<usize>() >= self.enough_bytes {
                break;
            }
        }
        let committed = self.commit(staged);
        for (job, looked) in done {
            match &committed {
                // Done again it would be done twice, unless whoever asked does so.
                Committed::But(Undone { unknown, .. }) if !unknown.is_disjoint(&looked) => {
                    job.answer(Err(ApiError::Stalled));
                }
                Committed::But(Undone { lost, .. }) if !lost.is_disjoint(&looked) => jobs.push(job),
                // A log that went back and could not be read on shows nobody anything.
                Committed::But(_) if looked.is_empty() && !self.owed.is_empty() => {
                    job.answer(Err(ApiError::Stalled));
                }
                Committed::But(_) => {
                    for origin in &looked {
                        if let Some(log) = self.logs.get_mut(origin) {
                            log.keep_given();
                        }
                    }
                    job.answer(Ok(&self.logs));
                }
                Committed::Unreachable => job.answer(Err(ApiError::Stalled)),
                Committed::Full => job.answer(Err(ApiError::NoSpace)),
                Committed::TooLarge => job.answer(Err(ApiError::Malformed(
                    "this is more than the ledger writes at once".to_owned(),
                ))),
                Committed::Poisoned => job.answer(Err(ApiError::Poisoned)),
            }
        }
        let again = !jobs.is_empty();
        jobs.extend(waiting);
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

    /// One durable write for everything staged.
    fn commit(&mut self, staged: BTreeMap<String, LogGroup>) -> Committed {
        if staged.is_empty() {
            self.parts.storage.end_turn();
            return Committed::But(Undone::default());
        }
        let mut groups: Vec<LogGroup> = staged.into_values().collect();
        let mut signed = Vec::with_capacity(groups.len());
        for group in &mut groups {
            let Some(checkpoint) = self.logs.get(&group.log).and_then(log::Log::sign) else {
                tracing::error!(log = %group.log, "The key that signs the log is not held any more; the ledger stops");
                return self.stop();
            };
            group.blobs.push(checkpoint_blob(&group.log, &checkpoint));
            signed.push(checkpoint);
        }
        let begun = Instant::now();
        let appended = self.parts.storage.append(&groups);
        self.parts.storage.end_turn();
        match appended {
            Ok(results) if self.shared || results.iter().all(is_appended) => {
                let kept = groups.iter().zip(&results);
                let kept = kept.filter(|(_, result)| is_appended(result));
                let leaves = kept.map(|(group, _)| group.leaves.len()).sum();
                self.parts.metrics.group(leaves, begun.elapsed());
                self.settle(groups, signed, &results)
            }
            Err(StorageError::NoSpace { .. }) => {
                tracing::error!("Disk full; writes are denied until there is space");
                self.take_back(&groups, Committed::Full)
            }
            Err(error @ StorageError::TooLarge { .. }) => {
                tracing::error!(%error, "A group is refused");
                self.take_back(&groups, Committed::TooLarge)
            }
            Err(error @ StorageError::Unavailable { .. }) if self.shared => {
                tracing::error!(%error, "Nothing can be kept now");
                self.take_back(&groups, Committed::Unreachable)
            }
            other => {
                tracing::error!(?other, "The log cannot be written; the ledger stops");
                self.stop()
            }
        }
    }

    /// What was staged is not kept: the state is what the log says.
    fn take_back(&mut self, groups: &[LogGroup], why: Committed) -> Committed {
        if self.shared {
            groups.iter().for_each(|group| self.go_back(&group.log));
            return why;
        }
        match log::read_all(&mut self.parts) {
            Ok(mut logs) => {
                for (origin, log) in &mut logs {
                    if let Some(before) = self.logs.get(origin) {
                        log.given_as(before);
                    }
                }
                self.logs = logs;
                self.keeping.count(&self.logs);
                why
            }
            Err(error) => {
                tracing::error!(%error, "The log cannot be read back; the ledger stops");
                self.stop()
            }
        }
    }
}

fn bytes_of(group: &LogGroup) -> usize {
    let leaves = group.leaves.iter().map(|leaf| leaf.len());
    leaves
        .chain(group.blobs.iter().map(|blob| blob.bytes.len()))
        .sum()
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
