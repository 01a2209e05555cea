//! A request's body, read whole within bounds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

#[cfg(test)]
mod tests;
