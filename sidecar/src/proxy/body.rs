//! Bodies: a request's, read whole within bounds; an answer's, counted on its way and its end recorded.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actpass_core::evidence::record::OutcomeResult;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Pending;
use super::echo::{Echoed, Guard};
use crate::execute::{Return, broken_off};
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

/// Reads a body of at most `limit` bytes. Its room in `budget`, in KiB, is taken for as long as the bytes live. Where none is
/// declared (`limit` 0), one byte stands for the body and nothing is read: no action is permitted with it, and the refusal
/// says what is wrong, not how long it is.
pub(super) async fn read_body<B: Body<Data = Bytes> + Unpin>(
    body: B,
    limit: u64,
    budget: &Arc<Semaphore>,
) -> Result<Bytes, BodyError> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if limit == 0 {
        return Ok(Bytes::from_static(UNREAD));
    }
    let said = body.size_hint();
    if said.lower() > limit {
        return Err(BodyError::TooLarge(limit));
    }
    let most = said.upper().unwrap_or(limit).min(limit);
    let mut held = hold(budget, most)?;
    let reading = tokio::time::timeout(BODY_TIMEOUT, read_whole(body, limit));
    let read = reading.await.unwrap_or(Err(BodyError::Broken))?;
    // What was not sent after all is there for others.
    let spare = held.num_permits().saturating_sub(kib(read.len() as u64));
    drop(held.split(spare));
    Ok(kept(read, held))
}

/// Room for so many bytes.
pub(super) fn hold(budget: &Arc<Semaphore>, bytes: u64) -> Result<OwnedSemaphorePermit, BodyError> {
    let kib = u32::try_from(kib(bytes)).unwrap_or(u32::MAX);
    let held = budget.clone().try_acquire_many_owned(kib);
    held.map_err(|_| BodyError::Busy)
}

/// The same bytes, which give back `held` when the last that refers to them is dropped: also after the agent has gone, while
/// the connection to the upstream still holds them.
pub(super) fn kept(bytes: impl AsRef<[u8]> + Send + 'static, held: OwnedSemaphorePermit) -> Bytes {
    struct Kept<T> {
        bytes: T,
        _held: OwnedSemaphorePermit,
    }
    impl<T: AsRef<[u8]>> AsRef<[u8]> for Kept<T> {
        fn as_ref(&self) -> &[u8] {
            self.bytes.as_ref()
        }
    }
    Bytes::from_owner(Kept { bytes, _held: held })
}

fn kib(bytes: u64) -> usize {
    usize::try_from(bytes / 1024 + 1).unwrap_or(usize::MAX)
}

/// Copies a body into bytes of its own: its frames are parts of larger buffers, and may be a byte each.
async fn read_whole<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    limit: u64,
) -> Result<Box<[u8]>, BodyError> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|_| BodyError::Broken)?.into_data();
        let data = data.map_err(|_| BodyError::Trailers)?;
        if (read.len() + data.len()) as u64 > limit {
            return Err(BodyError::TooLarge(limit));
        }
        read.extend_from_slice(&data);
    }
    Ok(read.into_boxed_slice())
}

/// Why an answer is cut off that holds the lent credential.
pub(super) const ECHOED: &str = "the answer was cut off: it held the lent credential";

/// An upstream's body on its way to the agent.
pub(crate) struct Counted {
    body: Incoming,
    end: Option<(Pending, Option<Return>)>,
    result: OutcomeResult,
    status: u16,
    started: Instant,
    bytes: u64,
    bytes_max: u64,
    guard: Option<Guard>,
    /// What goes on before anything else is read.
    next: Option<Frame<Bytes>>,
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
            guard: None,
            next: None,
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

    /// The same, broken off where it would hand on the lent credential.
    pub(super) fn guarded(mut self, guard: Option<Guard>) -> Self {
        self.guard = guard;
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

    /// What of a frame may go on; `None` where all of it waits for the next.
    fn guarded_frame(&mut self, frame: Frame<Bytes>) -> Result<Option<Frame<Bytes>>, Echoed> {
        let Some(guard) = &mut self.guard else {
            return Ok(Some(frame));
        };
        match frame.into_data() {
            Ok(data) => {
                let passed = guard.watch(|echo| echo.pass(data))?;
                Ok((!passed.is_empty()).then(|| Frame::data(passed)))
            }
            Err(frame) => {
                if let Some(trailers) = frame.trailers_ref() {
                    guard.check(trailers)?;
                }
                let Some(held) = self.take_held() else {
                    return Ok(Some(frame));
                };
                self.next = Some(frame);
                Ok(Some(held))
            }
        }
    }

    fn held(&self) -> u64 {
        self.guard
            .as_ref()
            .map_or(0, |guard| guard.echo.held() as u64)
    }

    fn take_held(&mut self) -> Option<Frame<Bytes>> {
        let guard = self.guard.as_mut().filter(|guard| guard.echo.held() > 0)?;
        Some(Frame::data(guard.echo.rest()))
    }

    fn fail(&mut self, detail: String) {
        if let Some((pending, _)) = self.end.take() {
            let result = broken_off(self.result);
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
        loop {
            if let Some(frame) = self.next.take() {
                return Poll::Ready(Some(Ok(frame)));
            }
            let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
            let Some(polled) = polled else {
                self.finish();
                return Poll::Ready(self.take_held().map(Ok));
            };
            let frame = match polled {
                Ok(frame) => frame,
                Err(error) => {
                    self.fail(format!("the answer broke off: {error}"));
                    return Poll::Ready(Some(Err(error.into())));
                }
            };
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.bytes = self.bytes.saturating_add(length);
            if self.bytes > self.bytes_max {
                self.fail("the answer is longer than the permit's maxResponseBytes".to_owned());
                return Poll::Ready(Some(Err(
                    "the answer is longer than the policy allows".into()
                )));
            }
            let passed = match self.guarded_frame(frame) {
                Ok(passed) => passed,
                Err(Echoed) => {
                    self.fail(ECHOED.to_owned());
                    return Poll::Ready(Some(Err(ECHOED.into())));
                }
            };
            if self.body.is_end_stream() {
                self.finish();
            }
            if let Some(frame) = passed {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.held() == 0 && self.next.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, held) = (self.body.size_hint(), self.held());
        let mut with_held = SizeHint::new();
        if let Some(upper) = hint.upper() {
            with_held.set_upper(upper.saturating_add(held));
        }
        with_held.set_lower(hint.lower().saturating_add(held));
        with_held
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // The agent stopped reading; the upstream's status stands.
        self.finish();
    }
}

#[cfg(test)]
mod tests;
