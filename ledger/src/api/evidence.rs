//! Leaves as they lie on disk: all of a log for whoever keeps and verifies it elsewhere, or as they come for people.
//!
//! They are read beside the sequencer, which waits for nobody here. Each request reads the storage from its start, of all
//! tenants, so their number is bounded.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actpass_core::evidence::leaf::{EventBody, Leaf};
use actpass_core::wire::LAST_MAX;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc, watch};

use super::Context;
use super::auth::Caller;
use super::gate::{Resource, Verb};
use crate::error::ApiError;
use crate::export::{First, VERSION, Writer};
use crate::storage::{Entry, SegmentReader, StorageError};

/// Readers at once. Each holds an index of blobs: 60 MiB per million.
const READERS_MAX: usize = 4;

/// Bytes sent together.
const CHUNK_BYTES: usize = 64 * 1024;

/// Chunks that wait for a reader who is slow.
const CHUNKS_WAITING: usize = 4;

/// How often somebody who follows is shown what is new.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long somebody may follow before their rights are asked for again.
const FOLLOWED_MAX: Duration = Duration::from_secs(3_600);

/// Where leaves are read.
#[derive(Debug)]
pub(crate) struct Evidence {
    directory: Option<PathBuf>,
    readers: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

impl Evidence {
    /// Leaves in `directory`, until `stopped` turns true.
    pub(crate) fn new(directory: Option<PathBuf>, stopped: watch::Receiver<bool>) -> Self {
        Self {
            directory,
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            stopped,
        }
    }

    /// Answers with what `read` sends, from a thread that may block.
    fn answer(
        &self,
        read: impl FnOnce(SegmentReader, &mut Lines) -> Result<(), StorageError> + Send + 'static,
    ) -> Result<Response, ApiError> {
        let directory = self.directory.clone().ok_or(ApiError::NotFound("log"))?;
        let slot = self.readers.clone().try_acquire_owned();
        let slot = slot.map_err(|_| {
            let many = format!("{READERS_MAX} others read evidence; try again in a moment");
            ApiError::Unavailable(many)
        })?;
        let (chunks, body) = mpsc::channel(CHUNKS_WAITING);
        tokio::task::spawn_blocking(move || {
            let mut lines = Lines::new(chunks);
            let done = SegmentReader::open_read_only(&directory)
                .and_then(|reader| read(reader, &mut lines));
            match done {
                Ok(()) => lines.send(),
                Err(error) => {
                    tracing::error!(%error, "Evidence cannot be read");
                    lines.fail();
                }
            }
            drop(slot);
        });
        let body = futures_util::stream::unfold(body, async |mut body| {
            body.recv().await.map(|chunk| (chunk, body))
        });
        let head = [
            (CONTENT_TYPE, "application/x-ndjson"),
            (CACHE_CONTROL, "no-store"),
        ];
        Ok((head, Body::from_stream(body)).into_response())
    }
}

/// `GET /v1/export`: the log as it is now, as one file.
pub(super) async fn export(
    State(context): State<Context>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let allowed = caller.may(&context, Verb::Get, Resource::Evidence, None);
    let origin = allowed.await?.origin;
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
    context.evidence.answer(move |mut reader, lines| {
        let (mut writer, line) = Writer::new(&first);
        lines.push(&line);
        reader.replay(&mut |entry| {
            if let Some(line) = writer.entry(entry) {
                lines.push(&line);
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
    context.evidence.answer(move |mut reader, lines| {
        let mut first = Kept {
            lines: VecDeque::new(),
            last,
        };
        reader.read_on(&mut |entry| {
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
            reader.read_on(&mut |entry| {
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

/// Lines on their way to a client.
struct Lines {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    next: Vec<u8>,
}

impl Lines {
    fn new(chunks: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self {
            chunks,
            next: Vec::new(),
        }
    }

    fn push(&mut self, line: &[u8]) {
        self.next.extend_from_slice(line);
        if self.next.len() >= CHUNK_BYTES {
            self.send();
        }
    }

    /// Sends what has come together; waits for a client that is slow.
    fn send(&mut self) {
        let chunk = std::mem::take(&mut self.next);
        if !chunk.is_empty() {
            // Where the client is gone, the channel is closed, and the reading ends.
            drop(self.chunks.blocking_send(Ok(Bytes::from(chunk))));
        }
    }

    /// Breaks the answer off, so that nobody takes it for whole.
    fn fail(&self) {
        let broken = io::Error::other("evidence cannot be read");
        drop(self.chunks.blocking_send(Err(broken)));
    }

    fn is_closed(&self) -> bool {
        self.chunks.is_closed()
    }
}
