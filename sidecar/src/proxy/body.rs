//! Bodies: a request's, read whole within bounds; an answer's, counted on its way and its end recorded.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actpass_core::evidence::record::OutcomeResult;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::Semaphore;

use super::Pending;
use crate::execute::Return;
use crate::judge::DenialKind;

/// A request body of a MiB takes seconds on the slowest link.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Stands for a body that nothing declares.
const UNREAD: &[u8] = b".";

/// A request's body was not read. The messages are sentences, because the agent gets them as they are.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("The body is longer than the {0} bytes declared for this action; send less.")]
    TooLarge(u64),
    #[error("Too many bodies are being read; try again in a moment.")]
    Busy,
    #[error("The body did not arrive whole; send it again.")]
    Broken,
    #[error("the request has trailers, which no action declares; send them as headers")]
    Trailers,
}

impl BodyError {
    pub(super) fn code(&self) -> (&'static str, DenialKind) {
        match self {
            Self::TooLarge(_) => ("body_too_large", DenialKind::TooLarge),
            Self::Busy => ("busy", DenialKind::Busy),
            Self::Broken | Self::Trailers => ("unparsable", DenialKind::Unparsable),
        }
    }
}

/// Reads a body of at most `limit` bytes. Where none is declared (`limit` 0), one byte stands for the body and nothing is
/// read: no action is permitted with it, and the refusal says what is wrong, not how long it is.
pub(super) async fn read_body(
    body: Incoming,
    limit: u64,
    budget: &Arc<Semaphore>,
) -> Result<Bytes, BodyError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if limit == 0 {
        return Ok(Bytes::from_static(UNREAD));
    }
    if body.size_hint().lower() > limit {
        return Err(BodyError::TooLarge(limit));
    }
    let kib = u32::try_from(limit / 1024 + 1).map_err(|_| BodyError::TooLarge(limit))?;
    let held = budget.try_acquire_many(kib).map_err(|_| BodyError::Busy)?;
    let bytes = usize::try_from(limit).map_err(|_| BodyError::TooLarge(limit))?;
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, bytes).collect()).await;
    let read = match read {
        Ok(Ok(read)) if read.trailers().is_some() => Err(BodyError::Trailers),
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge(limit)),
        Ok(Err(_)) | Err(_) => Err(BodyError::Broken),
    };
    drop(held);
    read
}

/// An upstream's body on its way to the agent.
pub(crate) struct Counted {
    body: Incoming,
    end: Option<(Pending, Option<Return>)>,
    result: OutcomeResult,
    status: u16,
    started: Instant,
    bytes: u64,
    bytes_max: u64,
}

impl Counted {
    pub(super) fn new(
        body: Incoming,
        pending: Pending,
        back: Option<Return>,
        result: OutcomeResult,
        status: u16,
        started: Instant,
    ) -> Self {
        let end = Some((pending, back));
        let mut counted = Self {
            body,
            end,
            result,
            status,
            started,
            bytes: 0,
            bytes_max: u64::MAX,
        };
        if counted.body.is_end_stream() {
            counted.finish();
        }
        counted
    }

    pub(super) fn at_most(mut self, bytes: Option<u64>) -> Self {
        self.bytes_max = bytes.unwrap_or(u64::MAX);
        self
    }

    fn finish(&mut self) {
        if let Some((pending, back)) = self.end.take() {
            let micros = u64::try_from(self.started.elapsed().as_micros())
                .unwrap_or(u64::MAX)
                .min(MICROS_MAX);
            pending.end(self.result, Some(self.status), None, micros, self.bytes);
            if let Some(back) = back {
                back.give();
            }
        }
    }

    /// The status said what the upstream did; only an answer that breaks off after saying "done" leaves that in doubt.
    fn fail(&mut self, detail: String) {
        if let Some((pending, _)) = self.end.take() {
            let result = match self.result {
                OutcomeResult::Failed => OutcomeResult::Failed,
                _ => OutcomeResult::Ambiguous,
            };
            pending.end(result, Some(self.status), Some(detail), 0, self.bytes);
        }
    }
}

/// Largest integer of canonical JSON.
const MICROS_MAX: u64 = (1 << 53) - 1;

impl Body for Counted {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.fail(format!("the answer broke off: {error}"));
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.bytes = self.bytes.saturating_add(length);
                if self.bytes > self.bytes_max {
                    self.fail("the answer is longer than the permit's maxResponseBytes".to_owned());
                    return Poll::Ready(Some(Err(
                        "the answer is longer than the policy allows".into()
                    )));
                }
                if self.body.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // The agent stopped reading; the upstream's status stands.
        self.finish();
    }
}
