//! The sequencer: one thread that decides, logs and answers, in groups.
//!
//! *Flow.* Take what is queued (no timer), let each job stage its leaves against the state, sign one checkpoint per
//! touched log, append it all with one durable write, answer. *Guarantees.* Nothing is answered before it is durable.
//! *What a crash leaves.* Before the append: nothing happened. After it: the leaves are there and nobody was answered;
//! the sidecar asks again and gets the stored rulings. *Errors.* A full disk takes nothing and goes on: the state is
//! read anew from the log. A disk that does not answer is no answer after [`ANSWERED_WITHIN`]. Any other error stops the
//! ledger: it denies everything until it is started and verified.
//! *Others.* Where other replicas append to the same logs, what they appended is taken in before each group; a log that one of
//! them reached first goes back, takes theirs in, and the jobs that looked at it are done again on that.

mod batch;
pub mod fork;
mod keeping;
mod log;
mod scrubbing;
mod sequencer;
mod sizes;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use actpass_core::bundle::Bundle;
use actpass_core::evidence::leaf::{EventBody, Revision, StreamEnd, TrustedKeys};
use actpass_core::evidence::log_keys::LOG_KEYS_MAX;
use actpass_core::hash::{BlobDigest, LeafHash};
use actpass_core::state::ApprovalState;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::ApiError;
use crate::heads::{self, Keeper};
use crate::keys::Ring;
use crate::metrics::{Metrics, Waiting};
use crate::storage::{Blob, BlobKind, LogGroup, Place, Sealed, Storage, StorageError};
use crate::vault::Vault;

pub(crate) use batch::{
    ParsedBatch, ParsedRecord, destination, sealed_aad, sealed_name, side_frame_aad, text,
};
pub use log::{Log, OpenError};
use scrubbing::Scrubbing;
use sequencer::Sequencer;
pub use sizes::DurableSizes;

/// Jobs that wait for the sequencer; more get `busy`. 1,024 batches of 256 KiB.
const QUEUE_MAX: usize = 1_024;

/// Most jobs of one group, so that its first caller does not wait for ever.
const GROUP_JOBS_MAX: usize = 256;

/// How long a caller waits for its turn and the disk. A sidecar gives an answer up after five seconds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(4);

/// How often a job is done anew because other replicas were faster, before its caller is told to come again.
const ROUNDS_MAX: usize = 64;

/// A change to stage, again where others were faster, and how to answer once it is durable.
trait Job: Send {
    /// Stages it on the logs as they are now.
    fn stage(&mut self, staging: &mut Staging<'_>);

    /// Answers its caller, once.
    fn answer(self: Box<Self>, committed: Result<&Logs, ApiError>);
}

struct Submitted<S, T, Stage, Answer> {
    stage: Stage,
    staged: Option<Result<S, ApiError>>,
    answer: Answer,
    caller: oneshot::Sender<Result<T, ApiError>>,
}

impl<S, T, Stage, Answer> Job for Submitted<S, T, Stage, Answer>
where
    S: Send,
    T: Send,
    Stage: FnMut(&mut Staging<'_>) -> Result<S, ApiError> + Send,
    Answer: FnOnce(S, &Logs) -> Result<T, ApiError> + Send,
{
    fn stage(&mut self, staging: &mut Staging<'_>) {
        self.staged = Some((self.stage)(staging));
    }

    fn answer(self: Box<Self>, committed: Result<&Logs, ApiError>) {
        let Self {
            staged,
            answer,
            caller,
            ..
        } = *self;
        let staged = staged.unwrap_or(Err(ApiError::Poisoned));
        let result = committed.and_then(|logs| staged.and_then(|staged| answer(staged, logs)));
        // A caller that went away needs no answer.
        drop(caller.send(result));
    }
}

/// Logs by origin.
pub type Logs = BTreeMap<String, Log>;

/// A leaf that is durable, where it lies, and what it hashes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlacedLeaf {
    pub(crate) seq: u64,
    pub(crate) hash: LeafHash,
    /// None where a server keeps it.
    pub(crate) place: Option<Place>,
}

/// A handle on the sequencer.
#[derive(Debug)]
pub struct Engine {
    queue: mpsc::Sender<Box<dyn Job>>,
    metrics: Arc<Metrics>,
    sizes: DurableSizes,
    poisoned: watch::Receiver<bool>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

/// What the sequencer works with.
pub struct Parts {
    /// Where leaves are kept.
    pub storage: Box<dyn Storage>,
    /// Secrets, sealing, keyed digests.
    pub vault: Arc<Vault>,
    /// Sign checkpoints.
    pub log_key: Ring,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// File that keeps the heads signed last; beside the log, not in it.
    pub heads: Option<PathBuf>,
}

impl Engine {
    /// Reads the logs and starts the sequencer.
    ///
    /// # Errors
    /// Where a log is damaged, does not follow from itself, or is not the one whose head was kept; nothing is changed then.
    pub fn start(mut parts: Parts) -> Result<Self, OpenError> {
        let logs = log::read_all(&mut parts)?;
        let keeper = match &parts.heads {
            Some(path) => {
                heads::check(path, &logs)?;
                Some(Keeper::start(path.clone(), &logs)?)
            }
            None => None,
        };
        let (queue, jobs) = mpsc::channel::<Box<dyn Job>>(QUEUE_MAX);
        let (poison, poisoned) = watch::channel(false);
        let metrics = parts.metrics.clone();
        let sizes = DurableSizes::new(&logs);
        let scrubbing = match parts.storage.scrub() {
            Some(scrub) => {
                let (metrics, poison) = (metrics.clone(), poison.clone());
                Some(Scrubbing::start(scrub, &logs, metrics, poison)?)
            }
            None => None,
        };
        let mut sequencer = Sequencer::new(parts, logs, keeper, sizes.clone(), poison, scrubbing);
        sequencer.record_recovery();
        sequencer.record_erasures()?;
        sequencer.rotate_log_keys();
        let worker = std::thread::Builder::new()
            .name("sequencer".to_owned())
            .spawn(move || sequencer.run(jobs))
            .map_err(OpenError::Thread)?;
        Ok(Self {
            queue,
            metrics,
            sizes,
            poisoned,
            worker: Mutex::new(Some(worker)),
        })
    }

    /// Stages `stage`, and answers with what `answer` makes of its result once it is durable. It is staged again where another
    /// replica was faster, on what the log says then.
    ///
    /// # Errors
    /// What `stage` refuses with (then it must have staged nothing), or why nothing could be kept. After
    /// [`ApiError::Stalled`] it may be kept still, unanswered.
    pub(crate) async fn submit<S, T, A>(
        &self,
        stage: impl FnMut(&mut Staging<'_>) -> Result<S, ApiError> + Send + 'static,
        answer: A,
    ) -> Result<T, ApiError>
    where
        S: Send + 'static,
        T: Send + 'static,
        A: FnOnce(S, &Logs) -> Result<T, ApiError> + Send + 'static,
    {
        let (caller, receiver) = oneshot::channel();
        let job = Submitted {
            stage,
            staged: None,
            answer,
            caller,
        };
        self.queue
            .try_send(Box::new(job))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => ApiError::Busy,
                mpsc::error::TrySendError::Closed(_) => ApiError::Poisoned,
            })?;
        let answered = tokio::time::timeout(ANSWERED_WITHIN, receiver).await;
        answered
            .map_err(|_| ApiError::Stalled)?
            .map_err(|_| ApiError::Poisoned)?
    }

    /// Reads from the logs between two groups.
    ///
    /// # Errors
    /// What `read` says, or that the ledger has stopped.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Logs) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.submit(|_| Ok(()), move |(), logs| read(logs)).await
    }

    /// Reads from one log between two groups, and says where leaves of it lie, for who reads them beside the sequencer.
    ///
    /// # Errors
    /// What `read` says, [`ApiError::NotFound`] where the log has not all of the leaves, or that the ledger has stopped.
    pub(crate) async fn placed<T: Send + 'static>(
        &self,
        origin: String,
        leaves: Range<u64>,
        read: impl FnOnce(&Log) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<(Vec<PlacedLeaf>, T), ApiError> {
        let (log, named) = (origin.clone(), leaves.clone());
        let stage = move |staging: &mut Staging<'_>| {
            let storage = &staging.parts.storage;
            if storage.is_shared() {
                return Ok(Vec::new());
            }
            let places = storage.places(&log, named.clone());
            places.ok_or(ApiError::NotFound("leaf"))
        };
        let answer = move |places: Vec<Place>, logs: &Logs| {
            let log = logs.get(&origin).ok_or(ApiError::NotFound("log"))?;
            let hashes = log.leaf_hashes(leaves.clone());
            let hashes = hashes.ok_or(ApiError::NotFound("leaf"))?;
            let places = places.into_iter().map(Some).chain(std::iter::repeat(None));
            let placed = leaves.zip(hashes).zip(places);
            let placed = placed.map(|((seq, hash), place)| PlacedLeaf { seq, hash, place });
            Ok((placed.collect(), read(log)?))
        };
        self.submit(stage, answer).await
    }

    /// Questions that wait for people right now, of every tenant.
    ///
    /// # Errors
    /// That the ledger has stopped.
    pub(crate) async fn waiting(&self) -> Result<Vec<Waiting>, ApiError> {
        self.query(|logs| {
            let now = Timestamp::now();
            let waiting = logs.values().map(|log| {
                let asked = log.state().approvals();
                let asked = asked.filter(|it| it.state(now) == ApprovalState::Pending);
                let asked: Vec<Timestamp> = asked.map(|it| it.asked).collect();
                Waiting {
                    tenant: log.state().tenant().to_owned(),
                    count: asked.len(),
                    oldest: asked.iter().min().copied(),
                }
            });
            Ok(waiting.collect())
        })
        .await
    }

    /// Logs one event.
    ///
    /// # Errors
    /// What `check` refuses with, or why it could not be kept.
    pub(crate) async fn event(
        &self,
        origin: String,
        blobs: Vec<Blob>,
        mut check: impl FnMut(&Log, Timestamp) -> Result<EventBody, ApiError> + Send + 'static,
    ) -> Result<(), ApiError> {
        let stage = move |staging: &mut Staging<'_>| {
            let now = staging.now(&origin)?;
            let event = check(staging.log(&origin)?, now)?;
            staging.event(&origin, now, event, blobs.clone())
        };
        self.submit(stage, |(), _| Ok(())).await
    }

    /// Makes the log of a tenant where it is new. `issuer_keys`: `kid` to base64url public key.
    ///
    /// # Errors
    /// Why it could not be kept.
    pub async fn make_log(
        &self,
        origin: &str,
        issuer_keys: BTreeMap<String, String>,
    ) -> Result<(), ApiError> {
        let origin = origin.to_owned();
        self.submit(
            move |staging| staging.ensure_log(&origin, &issuer_keys),
            |(), _| Ok(()),
        )
        .await
    }

    /// Has every log signed with the newest key from here on, while it serves; but those that had it before, or that cannot be.
    ///
    /// # Errors
    /// Why it could not be kept, or that the ledger has stopped; done again it goes on.
    pub async fn sign_with_newest(&self) -> Result<(), ApiError> {
        // A log takes one of them at a time.
        for _ in 0..LOG_KEYS_MAX {
            let (mut after, mut named_any) = (String::new(), false);
            loop {
                let from = after.clone();
                let stage = move |staging: &mut Staging<'_>| staging.sign_with_newest(&from);
                let Some((last, named)) = self.submit(stage, |last, _| Ok(last)).await? else {
                    break;
                };
                (after, named_any) = (last, named_any || named);
            }
            if !named_any {
                break;
            }
        }
        Ok(())
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The keys that logs are signed with now.
    ///
    /// # Errors
    /// That the ledger has stopped.
    pub async fn keys_in_force(&self) -> Result<Vec<ed25519_dalek::VerifyingKey>, ApiError> {
        self.query(|logs| Ok(logs.values().map(|log| *log.verifier().key()).collect()))
            .await
    }

    /// Whether every log is signed with the newest key.
    ///
    /// # Errors
    /// That the ledger has stopped.
    pub async fn signs_with_newest(&self) -> Result<bool, ApiError> {
        self.query(|logs| Ok(logs.values().all(|log| log.next_key().is_none())))
            .await
    }

    /// The key that signs a log now, where there is that log.
    ///
    /// # Errors
    /// That the ledger has stopped.
    pub async fn log_key(
        &self,
        log: &str,
    ) -> Result<Option<ed25519_dalek::VerifyingKey>, ApiError> {
        let named = log.to_owned();
        let key = move |logs: &Logs| logs.get(&named).map(|log| *log.verifier().key());
        self.query(move |logs| Ok(key(logs))).await
    }

    /// Makes a bundle the active one of its tenant, and the tenant's log where it is new. `revision` orders the bundles of
    /// several writers; there is none where only one can write.
    ///
    /// # Errors
    /// It is older than one that was given, or could not be kept.
    pub async fn set_bundle(
        &self,
        bundle: Arc<Bundle>,
        revision: Option<Revision>,
        issuer_keys: BTreeMap<String, String>,
    ) -> Result<(), ApiError> {
        let digest = bundle.digest();
        let origin = format!("actpass/{}", bundle.spec().tenant);
        let stage = move |staging: &mut Staging<'_>| {
            staging.ensure_log(&origin, &issuer_keys)?;
            let state = staging.log(&origin)?.state();
            let same = state
                .active()
                .is_some_and(|active| active.digest() == digest);
            let term = |revision: Option<Revision>| revision.map(|revision| revision.term);
            let new_term = term(revision) != term(state.revision());
            // What only one ledger remembers would let an earlier bundle through at another.
            let new_to_others = staging.parts.storage.is_shared() && revision > state.revision();
            staging.order(&origin, revision, same)?;
            // Of a new leader the log takes note, so that no earlier one is heard after it, also by who reads the log anew.
            if same && !new_term && !new_to_others {
                return Ok(());
            }
            let kept = Blob {
                kind: BlobKind::Bundle,
                name: *digest.as_bytes(),
                bytes: bundle.bytes().to_vec(),
            };
            staging.learn(&origin, bundle.clone())?;
            let now = staging.now(&origin)?;
            staging.event(
                &origin,
                now,
                EventBody::Bundle { digest, revision },
                vec![kept],
            )
        };
        self.submit(stage, |(), _| Ok(())).await
    }

    /// Ends the streams of sidecars that are gone, so that their open intents become ambiguous.
    ///
    /// # Errors
    /// Why it could not be kept.
    pub async fn end_open_streams(&self) -> Result<(), ApiError> {
        let stage = |staging: &mut Staging<'_>| {
            let origins: Vec<String> = staging.logs.keys().cloned().collect();
            for origin in origins {
                let open: Vec<_> = staging
                    .log(&origin)?
                    .state()
                    .open_streams()
                    .map(|(id, _)| *id)
                    .collect();
                for stream in open {
                    let now = staging.now(&origin)?;
                    let how = StreamEnd::ExpiredTailUnknown;
                    staging.event(
                        &origin,
                        now,
                        EventBody::StreamEnded { stream, how },
                        Vec::new(),
                    )?;
                }
            }
            Ok(())
        };
        self.submit(stage, |(), _| Ok(())).await
    }

    /// How many leaves are durable, as that changes.
    pub fn durable_sizes(&self) -> DurableSizes {
        self.sizes.clone()
    }

    /// Waits until it can keep no evidence any more: nothing but a new start, which verifies the log, helps then.
    pub async fn poisoned(&self) {
        // A sequencer that is gone takes nothing either.
        drop(self.poisoned.clone().wait_for(|poisoned| *poisoned).await);
    }

    /// Waits until the sequencer has ended; it ends once nobody can submit any more.
    pub fn join(self) {
        let worker = self
            .worker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(self.queue);
        if let Some(Err(_)) = worker.map(JoinHandle::join) {
            tracing::error!("The ledger's sequencer ended in a panic");
        }
    }
}

/// What a log needs to be taken up.
struct Keys<'a> {
    log: &'a Ring,
    vault: &'a Vault,
    /// Tells hashes of leaves that a log need not keep.
    sealed: Option<Arc<Sealed>>,
}

impl Parts {
    fn keys(&self) -> Keys<'_> {
        Keys {
            log: &self.log_key,
            vault: &self.vault,
            sealed: self.storage.sealed(),
        }
    }
}

/// What a job may do: look at the logs, and stage leaves.
pub(crate) struct Staging<'a> {
    logs: &'a mut Logs,
    staged: &'a mut BTreeMap<String, LogGroup>,
    parts: &'a Parts,
    /// Logs that the job looked at: what it answers rests on them.
    looked: RefCell<BTreeSet<String>>,
}

impl Staging<'_> {
    /// The log of that origin.
    pub(crate) fn log(&self, origin: &str) -> Result<&Log, ApiError> {
        let mut looked = self.looked.borrow_mut();
        if !looked.contains(origin) {
            looked.insert(origin.to_owned());
        }
        drop(looked);
        self.logs.get(origin).ok_or(ApiError::NotFound("log"))
    }

    /// A blob by its name.
    pub(crate) fn blob(&self, name: &[u8; 32]) -> Result<Option<Vec<u8>>, ApiError> {
        self.parts.storage.blob(name).map_err(unreadable)
    }

    /// What was sealed beside a leaf, by its name.
    pub(crate) fn sealed_beside(
        &self,
        origin: &str,
        seq: u64,
        name: &[u8; 32],
    ) -> Result<Option<Vec<u8>>, ApiError> {
        let found = self.parts.storage.side_frame(origin, seq, name);
        found.map_err(unreadable)
    }

    /// Makes a bundle known to a log, so that a leaf may name it.
    pub(crate) fn learn(&mut self, origin: &str, bundle: Arc<Bundle>) -> Result<(), ApiError> {
        self.logs
            .get_mut(origin)
            .ok_or(ApiError::NotFound("log"))?
            .learn(bundle);
        Ok(())
    }

    /// Takes note of the revision under which a bundle is given.
    fn order(
        &mut self,
        origin: &str,
        revision: Option<Revision>,
        same: bool,
    ) -> Result<(), ApiError> {
        self.logs
            .get_mut(origin)
            .ok_or(ApiError::NotFound("log"))?
            .order(revision, same)
    }

    /// The next leaf's time in that log: now, and later than the leaf before.
    pub(crate) fn now(&self, origin: &str) -> Result<Timestamp, ApiError> {
        Ok(self.log(origin)?.next_time(Timestamp::now()))
    }

    /// Makes the log of a tenant if it is new.
    pub(crate) fn ensure_log(
        &mut self,
        origin: &str,
        issuer_keys: &BTreeMap<String, String>,
    ) -> Result<(), ApiError> {
        if self.log(origin).is_ok() {
            return Ok(());
        }
        let log = Log::new(origin, &self.parts.keys())
            .map_err(|error| ApiError::Malformed(error.to_string()))?;
        let genesis = EventBody::Genesis {
            origin: origin.to_owned(),
            log_key: log.vkey(),
            issuer_keys: issuer_keys.clone(),
        };
        self.logs.insert(origin.to_owned(), log);
        let now = self.now(origin)?;
        self.event(origin, now, genesis, Vec::new())
    }

    /// Names the keys that are believed now, where the log names others.
    pub(crate) fn believe(&mut self, origin: &str, keys: &TrustedKeys) -> Result<(), ApiError> {
        if self.log(origin)?.state().keys() == keys {
            return Ok(());
        }
        let now = self.now(origin)?;
        self.event(origin, now, EventBody::Keys(keys.clone()), Vec::new())
    }

    /// Stages one event.
    pub(crate) fn event(
        &mut self,
        origin: &str,
        now: Timestamp,
        event: EventBody,
        blobs: Vec<Blob>,
    ) -> Result<(), ApiError> {
        let log = self.logs.get_mut(origin).ok_or(ApiError::NotFound("log"))?;
        let staged = staged_group(self.staged, log);
        log.push_event(now, event, staged)?;
        staged.blobs.extend(blobs);
        Ok(())
    }
}

fn unreadable(error: StorageError) -> ApiError {
    tracing::error!(%error, "A stored blob cannot be read");
    match error {
        StorageError::Unavailable { .. } => ApiError::Stalled,
        _ => ApiError::Malformed("a stored blob cannot be read; run `actpass verify`".to_owned()),
    }
}

fn staged_group<'a>(staged: &'a mut BTreeMap<String, LogGroup>, log: &Log) -> &'a mut LogGroup {
    staged
        .entry(log.origin().to_owned())
        .or_insert_with(|| LogGroup {
            log: log.origin().to_owned(),
            expected_head: log.head(),
            leaves: Vec::new(),
            blobs: Vec::new(),
        })
}

/// Name of the blob that holds a log's newest signed checkpoint.
pub fn checkpoint_name(origin: &str) -> [u8; 32] {
    actpass_core::hash::sha256(&[b"actpass.checkpoint/1\n", origin.as_bytes()])
}

/// A blob named by the SHA-256 of its bytes.
pub(crate) fn blob(kind: BlobKind, bytes: Vec<u8>) -> (BlobDigest, Blob) {
    let name = actpass_core::hash::sha256(&[&bytes]);
    (BlobDigest::from_bytes(name), Blob { kind, name, bytes })
}

#[cfg(test)]
mod tests;
