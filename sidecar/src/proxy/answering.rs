//! An answer's body: counted and searched on its way, and its end recorded.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actpass_core::evidence::record::OutcomeResult;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::Pending;
use super::echo::{Echoed, Guard};
use super::tasks::Tasks;
use crate::execute::{Return, broken_off};

/// Why an answer is cut off that holds the lent credential.
pub(super) const ECHOED: &str = "the answer was cut off: it held the lent credential";

/// Longest time that the rest of an answer is read for its end alone, and most bytes of it.
const REST_TIMEOUT: Duration = Duration::from_secs(30);
const REST_BYTES_MAX: u64 = 16 << 20;

/// An upstream's body on its way to the agent. Dropped before its end, as when the agent hangs up, a read ends as its status
/// says; of an action that changes something the rest is read first, since an answer may yet break off.
pub(crate) struct Counted {
    answer: Option<Answering>,
    tasks: Option<Arc<Tasks>>,
}

impl Counted {
    /// `tasks` where the rest is to be read without the agent.
    pub(super) fn new(answer: Answering, tasks: Option<Arc<Tasks>>) -> Self {
        let answer = Some(answer);
        Self { answer, tasks }
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.answer {
            Some(answer) => Pin::new(answer).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.answer.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.answer.as_ref().map(Body::size_hint);
        hint.unwrap_or_default()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(mut answer) = self.answer.take().filter(|answer| answer.end.is_some()) else {
            return;
        };
        match &self.tasks {
            None => answer.finish(),
            Some(tasks) => tasks.read_rest(answer),
        }
    }
}

/// An answer that is read, by whom ever, and how it ends.
pub(super) struct Answering {
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
    over: bool,
}

impl Answering {
    pub(super) fn new(
        body: Incoming,
        pending: Pending,
        back: Option<Return>,
        result: OutcomeResult,
        status: u16,
        started: Instant,
    ) -> Self {
        let end = Some((pending, back));
        let mut answering = Self {
            body,
            end,
            result,
            status,
            started,
            bytes: 0,
            bytes_max: u64::MAX,
            guard: None,
            next: None,
            over: false,
        };
        if answering.body.is_end_stream() {
            answering.finish();
        }
        answering
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

    /// Reads on until the end is known, within bounds.
    pub(super) async fn read_rest(mut self) {
        let most = self.bytes.saturating_add(REST_BYTES_MAX);
        let reading = async {
            while let Some(Ok(_)) = self.frame().await {
                if self.bytes > most {
                    break;
                }
            }
        };
        // Where it ended in time, this is recorded already.
        drop(tokio::time::timeout(REST_TIMEOUT, reading).await);
        self.leave();
    }

    /// Nobody will know how the answer ends.
    pub(super) fn leave(&mut self) {
        self.fail("the agent went away before the answer's end, which is not known".to_owned());
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

impl Body for Answering {
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
            if self.over {
                return Poll::Ready(None);
            }
            let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
            let Some(polled) = polled else {
                self.finish();
                self.over = true;
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
        (self.over || self.body.is_end_stream()) && self.held() == 0 && self.next.is_none()
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
