//! Leaves as they lie on disk: all of a log for whoever keeps and verifies it elsewhere, or as they come for people.
//!
//! They are read beside the sequencer, which waits for nobody here. Each request reads the storage from its start, of all
//! tenants, so their number is bounded.

mod reader;

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actpass_core::evidence::leaf::{EventBody, Leaf, LeafRange};
use actpass_core::evidence::tile;
use actpass_core::wire::LAST_MAX;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::Context;
use super::auth::Caller;
use super::gate::{Resource, Verb};
use crate::disclosure::{Disclosing, Leaves, LeavesError};
use crate::engine::PlacedLeaf;
use crate::error::ApiError;
use crate::export::{First, VERSION, Writer};
use crate::storage::{Entry, StorageError};
pub(super) use reader::Reader;
pub(crate) use reader::Source;

/// Readers at once. Each holds an index of blobs: 60 MiB per million.
const READERS_MAX: usize = 4;

/// Bundles and proofs that are read at a time, beside those.
const PLACED_MAX: usize = 2;

/// How many of them may go on as evidence comes: so there is a place for who keeps the log.
const FOLLOWERS_MAX: usize = READERS_MAX - 1;

/// How long a client may take no chunk before its answer is broken off and its place is another's.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Bytes sent together.
const CHUNK_BYTES: usize = 64 * 1024;

/// Chunks that wait for a reader who is slow.
const CHUNKS_WAITING: usize = 4;

/// How long who asks for a tile or a proof waits for a place: these are asked for many at a time, and read at once.
const TURN_MAX: Duration = Duration::from_secs(10);

/// How often somebody who follows is shown what is new.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long somebody may follow before their rights are asked for again.
const FOLLOWED_MAX: Duration = Duration::from_secs(3_600);

/// Where leaves are read.
#[derive(Debug)]
pub(crate) struct Evidence {
    source: Option<Source>,
    readers: Arc<Semaphore>,
    placed: Arc<Semaphore>,
    followers: Arc<Semaphore>,
    stall_max: Duration,
    stopped: watch::Receiver<bool>,
}

impl Evidence {
    /// Leaves from `source`, until `stopped` turns true.
    pub(crate) fn new(source: Option<Source>, stopped: watch::Receiver<bool>) -> Self {
        Self {
            source,
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            placed: Arc::new(Semaphore::new(PLACED_MAX)),
            followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
            stall_max: STALL_MAX,
            stopped,
        }
    }

    /// Answers with the lines that `read` sends, from a thread that may block.
    fn answer(
        &self,
        follow: bool,
        read: impl FnOnce(Reader, &mut Lines) -> Result<(), StorageError> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let following = follow.then(|| place(&self.followers, FOLLOWERS_MAX, "follow"));
        let following = following.transpose()?;
        let slot = place(&self.readers, READERS_MAX, "read")?;
        let body = self.stream((following, slot), read)?;
        let head = [
            (CONTENT_TYPE, "application/x-ndjson"),
            (CACHE_CONTROL, "no-store"),
        ];
        Ok((head, body).into_response())
    }

    /// What `read` sends, from a thread that may block, as a body that breaks off where it fails or nobody takes it.
    fn stream(
        &self,
        slot: impl Send + 'static,
        read: impl FnOnce(Reader, &mut Lines) -> Result<(), StorageError> + Send + 'static,
    ) -> Result<Body, ApiError> {
        let source = self.source.clone().ok_or(ApiError::NotFound("log"))?;
        let (chunks, body) = mpsc::channel(CHUNKS_WAITING);
        let broken = Arc::new(AtomicBool::new(false));
        let (breaks, stall_max) = (broken.clone(), self.stall_max);
        tokio::task::spawn_blocking(move || {
            let mut lines = Lines {
                chunks: Some(chunks),
                broken: breaks,
                stall_max,
                next: Vec::new(),
            };
            let done = source.open().and_then(|reader| read(reader, &mut lines));
            match done {
                Ok(()) => lines.send(),
                Err(error) => {
                    tracing::error!(%error, "Evidence cannot be read");
                    lines.fail();
                }
            }
            drop(slot);
        });
        let body = futures_util::stream::unfold(Some((body, broken)), async |state| {
            let (mut body, broken) = state?;
            match body.recv().await {
                Some(chunk) => Some((Ok(chunk), Some((body, broken)))),
                None if broken.load(Ordering::Acquire) => {
                    Some((Err(io::Error::other("broken off")), None))
                }
                None => None,
            }
        });
        Ok(Body::from_stream(body))
    }

    /// These leaves as a bundle of C2SP `tlog-tiles`, each held against its hash in the tree.
    pub(super) async fn bundle(
        &self,
        log: String,
        leaves: Vec<PlacedLeaf>,
    ) -> Result<Body, ApiError> {
        let slot = self.turn().await?;
        self.stream(slot, move |mut reader, bundle| {
            reader.leaves(&log, &leaves, &mut |bytes| {
                bundle.push_entry(bytes);
                match bundle.is_closed() {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            })
        })
    }

    /// One leaf, held against its hash in the tree.
    pub(super) async fn leaf(&self, log: String, leaf: PlacedLeaf) -> Result<Vec<u8>, ApiError> {
        let source = self.source.clone().ok_or(ApiError::NotFound("log"))?;
        let slot = self.turn().await?;
        let read = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let mut found = None;
            source.open()?.leaves(&log, &[leaf], &mut |bytes| {
                found = Some(bytes.to_vec());
                ControlFlow::Break(())
            })?;
            Ok::<_, StorageError>(found)
        });
        let read = read.await.map_err(|_| unreadable())?;
        let read = read.map_err(|error| {
            tracing::error!(%error, "Evidence cannot be read");
            unreadable()
        });
        read?.ok_or_else(unreadable)
    }

    /// What `read` finds, from a thread that may block.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(Reader) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let source = self.source.clone().ok_or(ApiError::NotFound("log"))?;
        let slot = self.turn().await?;
        let found = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            source.open().and_then(read)
        });
        found.await.map_err(|_| unreadable())?.map_err(|error| {
            tracing::error!(%error, "Evidence cannot be read");
            unreadable()
        })
    }

    /// A place to read from, once one is free: other ones than those of exports, which would find none while anybody waits.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = self.placed.clone().acquire_owned();
        match tokio::time::timeout(TURN_MAX, place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(too_many(PLACED_MAX, "read")),
        }
    }
}

fn unreadable() -> ApiError {
    ApiError::Unavailable("the leaf cannot be read; run `actpass verify`".to_owned())
}

fn place(of: &Arc<Semaphore>, most: usize, they: &str) -> Result<OwnedSemaphorePermit, ApiError> {
    let place = of.clone().try_acquire_owned();
    place.map_err(|_| too_many(most, they))
}

fn too_many(most: usize, they: &str) -> ApiError {
    let many = format!("{most} others {they} evidence; try again in a moment");
    ApiError::Unavailable(many)
}

#[derive(Deserialize)]
pub(super) struct Exported {
    /// Leaves of which texts are disclosed, as in [`Leaves`].
    disclose: Option<String>,
}

/// `GET /v1/export?disclose=LEAVES`: the log as it is now, as one file. Texts go with it for whoever has the right to hand them out.
pub(super) async fn export(
    State(context): State<Context>,
    caller: Caller,
    Query(exported): Query<Exported>,
) -> Result<Response, ApiError> {
    let disclose = exported.disclose.as_deref().map(str::parse::<Leaves>);
    let disclose = disclose.transpose().map_err(|error| malformed(&error))?;
    let allowed = caller
        .clone()
        .may(&context, Verb::Get, Resource::Evidence, None);
    let origin = allowed.await?.origin;
    let discloser = match &disclose {
        Some(_) => Some(
            caller
                .may(&context, Verb::Get, Resource::Texts, None)
                .await?,
        ),
        None => None,
    };
    let disclose = match disclose.zip(discloser) {
        Some((leaves, by)) => Some(told(&context, &origin, &leaves, by.person.user).await?),
        None => None,
    };
    let head = context.engine.query(move |logs| {
        let log = logs.get(&origin).ok_or(ApiError::NotFound("log"))?;
        let first = First {
            export: VERSION.to_owned(),
            leaves: log.size(),
            log: origin,
            key: log.vkey(),
        };
        Ok((first, log.checkpoint().to_owned()))
    });
    let (first, checkpoint) = head.await?;
    let vault = context.vault.clone();
    context.evidence.answer(false, move |mut reader, lines| {
        let log = first.log.clone();
        let disclosing = disclose.as_ref();
        let mut disclosing = disclosing.map(|leaves| Disclosing::new(&log, leaves, &vault));
        let (mut writer, line) = Writer::new(&first);
        lines.push(&line);
        reader.replay(&log, &mut |entry| {
            match writer.lines(disclosing.as_mut(), entry) {
                Ok(shown) => lines.push(&shown),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, log, "Texts cannot be disclosed");
                    lines.fail();
                }
            }
            match writer.complete() || lines.is_closed() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        // Without its last line a file shows that it was cut off.
        if writer.complete() {
            lines.push(&writer.last(checkpoint));
        }
        Ok(())
    })
}

/// Logs that these texts are handed out, before any of them is: whoever breaks the answer off has read some. The same leaves then, however
/// long the log is by now.
async fn told(
    context: &Context,
    origin: &str,
    leaves: &Leaves,
    by: String,
) -> Result<Leaves, ApiError> {
    let of = origin.to_owned();
    let size = context.engine.query(move |logs| {
        let log = logs.get(&of).ok_or(ApiError::NotFound("log"))?;
        Ok(log.size())
    });
    let ranges = leaves.of(size.await?).map_err(|error| malformed(&error))?;
    let named = ranges.iter().map(|(first, last)| LeafRange {
        first: *first,
        last: *last,
    });
    let event = EventBody::TextsDisclosed {
        leaves: named.collect(),
        by: by.clone(),
    };
    let leaves = Leaves::Some(ranges);
    let logged = context
        .engine
        .event(origin.to_owned(), Vec::new(), move |_, _| Ok(event.clone()));
    logged.await?;
    tracing::info!(log = %origin, %leaves, %by, "Texts are disclosed");
    Ok(leaves)
}

fn malformed(error: &LeavesError) -> ApiError {
    ApiError::Malformed(format!("`disclose`: {error}"))
}

#[derive(Deserialize)]
pub(super) struct Asked {
    /// RFC 3339.
    since: Option<String>,
    #[serde(default)]
    follow: bool,
    last: Option<usize>,
}

/// `GET /v1/events?since=INSTANT&last=N&follow=true`: leaves, one line each; earlier ones too that say whose a stream is.
pub(super) async fn events(
    State(context): State<Context>,
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Response, ApiError> {
    let allowed = caller.may(&context, Verb::Get, Resource::Evidence, None);
    let origin = allowed.await?.origin;
    let since = asked.since.as_deref().map(str::parse::<Timestamp>);
    let since = since.transpose().map_err(|_| {
        ApiError::Malformed("`since` is no instant such as 2026-05-01T09:00:00Z".to_owned())
    })?;
    let Asked { follow, last, .. } = asked;
    if let Some(last) = last.filter(|last| *last > LAST_MAX) {
        return Err(ApiError::Malformed(format!(
            "`last` is {last}, over {LAST_MAX}; ask by `since`"
        )));
    }
    let stopped = context.evidence.stopped.clone();
    context.evidence.answer(follow, move |mut reader, lines| {
        let mut first = Kept {
            lines: VecDeque::new(),
            last,
        };
        reader.read_on(&origin, &mut |entry| {
            if let Some((line, context)) = line(entry, &origin, since) {
                first.take(lines, line, context);
            }
        })?;
        first.lines.iter().for_each(|line| lines.push(line));
        let begun = Instant::now();
        let going_on = || begun.elapsed() < FOLLOWED_MAX && !*stopped.borrow();
        while follow && going_on() && !lines.is_closed() {
            lines.send();
            std::thread::sleep(LOOK_AGAIN);
            reader.read_on(&origin, &mut |entry| {
                if let Some((line, _)) = line(entry, &origin, None) {
                    lines.push(&line);
                }
            })?;
        }
        Ok(())
    })
}

/// Of what is there already, the last lines, where no more are asked for.
struct Kept {
    lines: VecDeque<Vec<u8>>,
    last: Option<usize>,
}

impl Kept {
    fn take(&mut self, shown: &mut Lines, line: Vec<u8>, context: bool) {
        match self.last {
            Some(_) if context => shown.push(&line),
            Some(last) => {
                self.lines.push_back(line);
                if self.lines.len() > last {
                    self.lines.pop_front();
                }
            }
            None => shown.push(&line),
        }
    }
}

/// The line of a leaf that is shown, and whether it names a stream's agent. One that cannot be read is shown: who reads says so.
fn line(entry: Entry<'_>, origin: &str, since: Option<Timestamp>) -> Option<(Vec<u8>, bool)> {
    let Entry::Leaf { log, bytes, .. } = entry else {
        return None;
    };
    if log != origin {
        return None;
    }
    let leaf = Leaf::parse(bytes).ok();
    let event = leaf.as_ref().and_then(Leaf::event);
    let opens = matches!(event, Some(EventBody::StreamOpened { .. }));
    let early = leaf
        .zip(since)
        .is_some_and(|(leaf, since)| leaf.h.time < since);
    (opens || !early).then(|| ([bytes, b"\n"].concat(), opens))
}

/// Lines, or leaves of a bundle, on their way to a client.
struct Lines {
    /// Nothing once the answer is broken off.
    chunks: Option<mpsc::Sender<Bytes>>,
    /// Whether it is, so that nobody takes it for whole.
    broken: Arc<AtomicBool>,
    stall_max: Duration,
    next: Vec<u8>,
}

impl Lines {
    fn push(&mut self, line: &[u8]) {
        self.next.extend_from_slice(line);
        self.send_if_full();
    }

    fn push_entry(&mut self, leaf: &[u8]) {
        match tile::push_entry(&mut self.next, leaf) {
            true => self.send_if_full(),
            // A leaf is far shorter.
            false => self.fail(),
        }
    }

    fn send_if_full(&mut self) {
        if self.next.len() >= CHUNK_BYTES {
            self.send();
        }
    }

    /// Sends what has come together; waits a while for a client that is slow.
    fn send(&mut self) {
        let chunk = std::mem::take(&mut self.next);
        let Some(chunks) = self.chunks.as_ref().filter(|_| !chunk.is_empty()) else {
            return;
        };
        let sent = chunks.send_timeout(Bytes::from(chunk), self.stall_max);
        let sent = Handle::current().block_on(sent);
        // Where the client is gone, the channel is closed, and the reading ends.
        if let Err(SendTimeoutError::Timeout(_)) = sent {
            tracing::warn!("Somebody who reads evidence takes none");
            self.fail();
        }
    }

    /// Breaks the answer off.
    fn fail(&mut self) {
        self.broken.store(true, Ordering::Release);
        self.chunks = None;
    }

    fn is_closed(&self) -> bool {
        self.chunks.as_ref().is_none_or(mpsc::Sender::is_closed)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::time::timeout;

    use super::*;
    use crate::storage::SegmentStorage;
    use crate::storage::segment::SegmentOptions;

    #[tokio::test]
    async fn who_takes_nothing_is_broken_off_and_gives_the_place_back() {
        let (_stop, stopped) = watch::channel(false);
        let directory = tempfile::tempdir().unwrap();
        drop(SegmentStorage::open(directory.path(), SegmentOptions::default()).unwrap());
        let mut evidence = Evidence::new(Some(Source::Files(directory.path().to_owned())), stopped);
        evidence.stall_max = Duration::from_millis(50);
        let endless = |_: Reader, lines: &mut Lines| {
            while !lines.is_closed() {
                lines.push(&[b'x'; 1024]);
            }
            Ok(())
        };
        let answers: Vec<Response> = (0..READERS_MAX)
            .map(|_| evidence.answer(false, endless).unwrap())
            .collect();
        assert!(evidence.answer(false, endless).is_err(), "all are taken");
        let places = u32::try_from(READERS_MAX).unwrap();
        let back = evidence.readers.acquire_many(places);
        drop(timeout(Duration::from_secs(10), back).await.unwrap());
        for answer in answers {
            let body = answer.into_body().collect().await;
            assert!(body.is_err(), "it looks whole");
        }
        let following = |_| evidence.answer(true, endless);
        let following: Vec<_> = (0..READERS_MAX).map(following).collect();
        let placed = following.iter().filter(|it| it.is_ok()).count();
        assert_eq!(placed, FOLLOWERS_MAX);
        assert!(evidence.answer(false, endless).is_ok(), "one is left");
    }
}
