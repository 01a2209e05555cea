//! The recorder: every record of this sidecar passes here, is chained, kept in the ring and queued for the ledger.

mod denials;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actpass_core::canonical::{self, CanonicalError};
use actpass_core::evidence::commitment::Openings;
use actpass_core::evidence::record::{
    Body, Chain, Judged, Link, Outcome, Record, RecordError as FormError, stream_id,
};
use actpass_core::hash::{RecordHash, StreamId};
use actpass_core::wire::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, RecordLine};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::metrics::Standing;
use crate::ring::{Recovered, Ring, RingError};
use crate::shipper::IntentAnswer;
use denials::{Denials, Later};

pub use denials::DenialKey;

/// Reads wait while this many records are unacknowledged: a fortieth of a second at 10,000 reads a second.
const UNACKNOWLEDGED_MAX: usize = 256;

/// Reads wait while the oldest unacknowledged record is older.
const UNACKNOWLEDGED_AGE_MAX: Duration = Duration::from_secs(2);

/// Longest such wait; then the read is denied.
const ADMISSION_WAIT_MAX: Duration = Duration::from_secs(1);

/// Longest line of a record: a batch's bytes, less the line that ends it and room to spare.
pub const LINE_BYTES_MAX: usize = BATCH_BYTES_MAX - 1024;

/// Chains, keeps and queues the records of one stream.
#[derive(Debug)]
pub struct Recorder {
    stream: StreamId,
    state: Mutex<State>,
    work: Notify,
    progress: Notify,
}

#[derive(Debug)]
struct State {
    chain: Chain,
    last_time: Timestamp,
    ring: Ring,
    queue: VecDeque<Queued>,
    denials: Denials,
    waiting: BTreeMap<u64, oneshot::Sender<IntentAnswer>>,
    away: Option<Away>,
    broken: Option<String>,
    closing: bool,
}

/// The ledger does not take records.
#[derive(Debug)]
struct Away {
    since: Instant,
    why: String,
}

/// A record on its way to the ledger.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Its sequence number.
    pub seq: u64,
    /// Its hash.
    pub hash: RecordHash,
    /// The record's canonical bytes.
    pub record: Bytes,
    /// The line sent: record and openings.
    pub line: Bytes,
    queued: Instant,
}

/// A record could not be kept, so what it is about must not happen.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The ring file is full or not writable.
    #[error("the record cannot be kept")]
    Ring(#[from] RingError),
    /// The record does not fit its form, or is too large for a leaf.
    #[error("the record cannot be written down")]
    Form(#[from] FormError),
    /// An opening does not fit its form.
    #[error("the record's openings have no canonical form")]
    Openings(#[from] CanonicalError),
    /// Record and openings are more than the ledger takes at a time, so it would never be sent.
    #[error("the record has {0} bytes with what it keeps, at most {LINE_BYTES_MAX} are sent")]
    TooLong(usize),
    /// The ledger broke off the stream for good.
    #[error("the ledger no longer takes this stream: {0}")]
    Broken(String),
}

/// What an earlier process left is not a stream to go on with.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// A line that holds no record.
    #[error("a line of the ring file is no record")]
    Line(#[from] CanonicalError),
    /// A record out of bounds.
    #[error("a record of the ring file has no canonical form")]
    Record(#[from] FormError),
    /// A line that no batch holds, so that the ledger never takes it nor what is behind it.
    #[error("a line of the ring file has {0} bytes, at most {LINE_BYTES_MAX} are sent")]
    TooLong(usize),
    /// A record that does not continue the chain.
    #[error("record {0} of the ring file does not continue the stream")]
    Order(u64),
}

/// A read has to wait for evidence to catch up, and the wait was too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The ledger answers too slowly.
    #[error("the ledger does not keep up with the records")]
    Behind,
    /// The ledger has been away for longer than the passport allows reads to go on.
    #[error("the ledger has been away for longer than readsWithoutLedgerSeconds")]
    Away,
}

impl Recorder {
    /// Starts a stream in an empty ring.
    pub fn new(stream: StreamId, ring: Ring) -> Self {
        let start = (Chain::new(stream), Timestamp::UNIX_EPOCH);
        Self::with(stream, ring, start, VecDeque::new())
    }

    /// Goes on with the stream of an earlier process: its records are queued, and new ones continue its chain.
    ///
    /// # Errors
    /// Where what was left is not the records of one stream in order.
    pub fn resume(ring: Ring, left: &Recovered) -> Result<Self, ResumeError> {
        let stream = stream_id(&left.key.verifying_key());
        let mut chain = Chain::resume(stream, left.acked_seq, left.acked_head);
        let (mut last_time, mut queue) = (Timestamp::UNIX_EPOCH, VecDeque::new());
        for line in &left.lines {
            if line.len() > LINE_BYTES_MAX {
                return Err(ResumeError::TooLong(line.len()));
            }
            let RecordLine { r: record, .. } = canonical::from_slice(line)?;
            let (seq, time) = (record.seq, record.time);
            let bytes = record.canonical()?;
            let hash = Record::hash_of(&bytes);
            if (record.stream, seq, record.prev) != (stream, chain.next_seq(), chain.head()) {
                return Err(ResumeError::Order(chain.next_seq()));
            }
            chain = Chain::resume(stream, seq + 1, hash);
            last_time = time;
            queue.push_back(Queued {
                seq,
                hash,
                record: bytes.into(),
                line: Bytes::copy_from_slice(line),
                queued: Instant::now(),
            });
        }
        Ok(Self::with(stream, ring, (chain, last_time), queue))
    }

    fn with(
        stream: StreamId,
        ring: Ring,
        (chain, last_time): (Chain, Timestamp),
        queue: VecDeque<Queued>,
    ) -> Self {
        let state = State {
            chain,
            last_time,
            ring,
            queue,
            denials: Denials::default(),
            waiting: BTreeMap::new(),
            away: None,
            broken: None,
            closing: false,
        };
        Self {
            stream,
            state: Mutex::new(state),
            work: Notify::new(),
            progress: Notify::new(),
        }
    }

    /// Keeps a record that asks nothing of the ledger. It is in the ring file when this returns.
    ///
    /// # Errors
    /// Where it cannot be kept; then what it is about must not happen.
    pub fn record(&self, body: Body, openings: &Openings) -> Result<u64, RecordError> {
        self.append(&mut self.lock(), body, openings)
    }

    /// Keeps a denial and says which record stands for it. One that equals a denial of the last ten seconds is only
    /// counted; its count becomes a record when they are over, or when the stream closes.
    ///
    /// # Errors
    /// Where it cannot be kept.
    pub fn denial(
        &self,
        key: DenialKey,
        judged: Judged,
        openings: Openings,
    ) -> Result<u64, RecordError> {
        let mut state = self.lock();
        let now = Instant::now();
        self.settle_denials(&mut state, now, false);
        let denial = Later {
            judged: Box::new(judged),
            openings,
        };
        let (key, denial) = state.denials.named(key, denial);
        let denial = match state.denials.count(&key, denial, now) {
            Ok(first) => {
                // Somebody has to wait for the window's end.
                self.work.notify_one();
                return Ok(first);
            }
            Err(denial) => denial,
        };
        let body = Body::Decision(denial.judged);
        let seq = self.append(&mut state, body, &denial.openings)?;
        if !state.closing {
            state.denials.open(key, seq, now);
        }
        Ok(seq)
    }

    /// Makes records of counts whose time is over, or of all.
    fn settle_denials(&self, state: &mut State, now: Instant, all: bool) {
        for (key, first, later) in state.denials.take(now, all) {
            let body = Body::Decision(later.judged.clone());
            match self.append(state, body, &later.openings) {
                Ok(_) => {}
                Err(RecordError::Ring(RingError::Full { .. })) if !all => {
                    state.denials.put_back(key, first, later, now);
                }
                Err(error) => {
                    let count = later.judged.count;
                    tracing::error!(%error, count, of = first, "Equal denials could not be recorded");
                }
            }
        }
    }

    /// Keeps an intent and says where its answer will come.
    ///
    /// # Errors
    /// Where it cannot be kept.
    pub fn intent(
        &self,
        judged: Judged,
        openings: &Openings,
    ) -> Result<(u64, oneshot::Receiver<IntentAnswer>), RecordError> {
        let mut state = self.lock();
        let seq = self.append(&mut state, Body::Intent(Box::new(judged)), openings)?;
        let (sender, receiver) = oneshot::channel();
        state.waiting.insert(seq, sender);
        Ok((seq, receiver))
    }

    /// Keeps an outcome. Room for outcomes is reserved, so one is lost only with the disk; that is logged as an error,
    /// and the ledger takes an intent without outcome for `ambiguous`.
    pub fn outcome(&self, outcome: Outcome) {
        let of = outcome.of;
        if let Err(error) = self.record(Body::Outcome(outcome), &Openings::default()) {
            tracing::error!(%error, of, "Outcome not recorded; the action will count as ambiguous");
        }
    }

    /// Holds a new read until the records of earlier ones are acknowledged, for a moment at most.
    ///
    /// # Errors
    /// Where evidence does not catch up in time; the read is denied.
    pub async fn admit_read(&self, without_ledger: Duration) -> Result<(), NotAdmitted> {
        let deadline = Instant::now() + ADMISSION_WAIT_MAX;
        loop {
            let progress = self.progress.notified();
            match self.admission(without_ledger) {
                Ok(()) => return Ok(()),
                Err(NotAdmitted::Away) => return Err(NotAdmitted::Away),
                Err(NotAdmitted::Behind) => {}
            }
            if tokio::time::timeout_at(deadline, progress).await.is_err() {
                return Err(NotAdmitted::Behind);
            }
        }
    }

    fn admission(&self, without_ledger: Duration) -> Result<(), NotAdmitted> {
        let state = self.lock();
        if let Some(away) = &state.away {
            return if away.since.elapsed() <= without_ledger {
                Ok(())
            } else {
                Err(NotAdmitted::Away)
            };
        }
        let late = state
            .queue
            .front()
            .is_some_and(|oldest| oldest.queued.elapsed() > UNACKNOWLEDGED_AGE_MAX);
        if state.queue.len() >= UNACKNOWLEDGED_MAX || late {
            Err(NotAdmitted::Behind)
        } else {
            Ok(())
        }
    }

    /// Waits until there is something to send; `None` once the stream is closing and everything is sent.
    pub async fn next_batch(&self) -> Option<Vec<Queued>> {
        loop {
            let work = self.work.notified();
            let next_end = {
                let mut state = self.lock();
                self.settle_denials(&mut state, Instant::now(), false);
                if !state.queue.is_empty() {
                    return Some(take_batch(&state.queue));
                }
                if state.closing {
                    return None;
                }
                state.denials.next_end()
            };
            match next_end {
                // Either way there is something to look at.
                Some(end) => drop(tokio::time::timeout_at(end, work).await),
                None => work.await,
            }
        }
    }

    /// Whether somebody still waits for this intent's answer; hands out the place to send it to.
    pub fn take_waiting(&self, seq: u64) -> Option<oneshot::Sender<IntentAnswer>> {
        self.lock().waiting.remove(&seq)
    }

    /// The ledger has everything before `next_seq`.
    ///
    /// # Errors
    /// Where the ring file does not take it. Nothing may run on these answers then: whoever goes on with the file later
    /// takes what is not acknowledged for something that never ran.
    pub fn acknowledge(&self, next_seq: u64, head: RecordHash) -> Result<(), RingError> {
        let mut state = self.lock();
        state.away = None;
        while state
            .queue
            .front()
            .is_some_and(|queued| queued.seq < next_seq)
        {
            state.queue.pop_front();
        }
        let written = state.ring.acknowledge(next_seq, head);
        drop(state);
        self.progress.notify_waiters();
        written
    }

    /// The ledger does not take records now, and why. The time begins with the first such call.
    pub fn ledger_away(&self, why: &str) {
        let mut state = self.lock();
        let since = state.away.as_ref().map_or_else(Instant::now, |it| it.since);
        let why = why.to_owned();
        if state.away.is_none() {
            tracing::warn!(why, "The ledger takes no records; writes are denied");
        }
        state.away = Some(Away { since, why });
        drop(state);
        self.progress.notify_waiters();
    }

    /// Why the ledger takes no records, while that is so.
    pub fn why_away(&self) -> Option<String> {
        self.lock().away.as_ref().map(|away| away.why.clone())
    }

    /// The ledger refuses this stream for good: nothing more is recorded, so nothing more is permitted.
    pub fn break_off(&self, reason: &str) {
        let mut state = self.lock();
        state.broken.get_or_insert_with(|| reason.to_owned());
        state.waiting.clear();
        drop(state);
        self.progress.notify_waiters();
    }

    /// Takes no more records once what is queued is sent. Denials that are only counted become records now.
    pub fn close(&self) {
        let mut state = self.lock();
        self.settle_denials(&mut state, Instant::now(), true);
        state.closing = true;
        drop(state);
        self.work.notify_one();
    }

    /// The stream.
    pub fn stream(&self) -> StreamId {
        self.stream
    }

    /// How far the ledger is behind.
    pub fn standing(&self) -> Standing {
        let state = self.lock();
        Standing {
            unacknowledged: state.queue.len(),
            ring_bytes: state.ring.bytes_used(),
            ledger_reachable: state.away.is_none(),
        }
    }

    fn append(
        &self,
        state: &mut State,
        body: Body,
        openings: &Openings,
    ) -> Result<u64, RecordError> {
        if let Some(reason) = &state.broken {
            return Err(RecordError::Broken(reason.clone()));
        }
        let is_outcome = matches!(body, Body::Outcome(_));
        let time = Timestamp::now().max(state.last_time);
        // The chain moves on only once the record is kept.
        let mut chain = state.chain.clone();
        let Link {
            record: made,
            bytes,
            hash,
        } = chain.next(body, time)?;
        let mut line = Vec::with_capacity(bytes.len() + 512);
        line.extend_from_slice(b"{\"o\":");
        line.extend_from_slice(&canonical::to_vec(openings)?);
        line.extend_from_slice(b",\"r\":");
        let start = line.len();
        line.extend_from_slice(&bytes);
        line.push(b'}');
        if line.len() > LINE_BYTES_MAX {
            return Err(RecordError::TooLong(line.len()));
        }
        let seq = made.seq;
        state.ring.append(seq, &line, is_outcome)?;
        let line = Bytes::from(line);
        let record = line.slice(start..start + bytes.len());
        state.queue.push_back(Queued {
            seq,
            hash,
            record,
            line,
            queued: Instant::now(),
        });
        (state.chain, state.last_time) = (chain, time);
        self.work.notify_one();
        Ok(seq)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves whole records only: each append changes the state in its last line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is sent next: of a queue that is not empty at least one, so that whoever sends makes headway.
fn take_batch(queue: &VecDeque<Queued>) -> Vec<Queued> {
    let mut bytes = 0;
    queue
        .iter()
        .take(BATCH_RECORDS_MAX)
        .enumerate()
        .take_while(|(at, queued)| {
            bytes += queued.line.len() + 1;
            *at == 0 || bytes <= BATCH_BYTES_MAX
        })
        .map(|(_, queued)| queued.clone())
        .collect()
}

#[cfg(test)]
mod tests;
