//! Bounds on what requests bring: a time for the whole body, and room for all large ones together.
//!
//! *Guarantees*: a body that takes longer than [`BODY_TIME`] ends its request with 408, one for which there is no room now with
//! 503 and when to try again; the handler saw neither whole. Small bodies need no room, so that who may ask for little is heard
//! also while others send much.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actpass_core::wire::Problem;
use axum::Json;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// How long a whole body may take: 1 MiB within seconds also on a slow link.
const BODY_TIME: Duration = Duration::from_secs(10);

/// How much of a body needs no room: more than any token, vote or lease.
const SMALL_BYTES: usize = 64 * 1024;

/// Room for what is beyond that of all bodies until they are answered: 64 bundles or sealed requests of 1 MiB, or 340 batches
/// of records of 256 KiB.
const ROOM_BYTES: usize = 64 << 20;

/// What `Retry-After` says, in seconds.
const RETRY_SECONDS: &str = "1";

/// Room for large bodies of one server.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self::of(ROOM_BYTES)
    }
}

impl Room {
    fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }
}

/// What became of a body.
#[derive(Default)]
struct Read {
    bytes: usize,
    held: Option<OwnedSemaphorePermit>,
    refused: Option<Refused>,
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("the body did not come within {} seconds", BODY_TIME.as_secs())]
    Late,
    #[error("too many large requests at a time; try again in a moment")]
    NoRoom,
}

impl Read {
    /// Takes room for a piece of the body.
    fn take(&mut self, room: &Room, bytes: usize) -> Result<(), Refused> {
        let before = self.bytes.max(SMALL_BYTES);
        self.bytes = self.bytes.saturating_add(bytes);
        let more = self.bytes.saturating_sub(before);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| Refused::NoRoom)?;
        let more = room.0.clone().try_acquire_many_owned(more);
        let more = more.map_err(|_| Refused::NoRoom)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

/// Serves a request whose body is bounded so. What it takes is free again once it is answered.
pub(crate) async fn bounded(State(room): State<Room>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(head, body)).await;
    }
    let read = Arc::new(Mutex::new(Read::default()));
    let deadline = Instant::now() + BODY_TIME;
    let state = (body.into_data_stream(), read.clone(), room);
    let pieces = stream::unfold(state, move |(mut pieces, read, room)| async move {
        let piece = match timeout_at(deadline, pieces.next()).await {
            Ok(piece) => piece?.map_err(Into::into),
            Err(_) => Err(refuse(&read, Refused::Late)),
        };
        let piece = piece.and_then(|piece| {
            let taken = lock(&read).take(&room, piece.len());
            taken.map(|()| piece).map_err(|why| refuse(&read, why))
        });
        Some((piece, (pieces, read, room)))
    });
    let pieces = pieces.map(|piece: Result<Bytes, axum::BoxError>| piece);
    let answer = next
        .run(Request::from_parts(head, Body::from_stream(pieces)))
        .await;
    let refused = lock(&read).refused;
    refused.map_or(answer, IntoResponse::into_response)
}

fn refuse(read: &Mutex<Read>, why: Refused) -> axum::BoxError {
    lock(read).refused = Some(why);
    why.into()
}

fn lock(read: &Mutex<Read>) -> std::sync::MutexGuard<'_, Read> {
    read.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, code) = match self {
            Self::Late => (StatusCode::REQUEST_TIMEOUT, "late"),
            Self::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        };
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("refused").to_owned(),
            status: status.as_u16(),
            detail: self.to_string(),
            code: code.to_owned(),
        };
        let kind = [(CONTENT_TYPE, "application/problem+json")];
        let mut answer = (status, kind, Json(problem)).into_response();
        if self == Self::NoRoom {
            let seconds = axum::http::HeaderValue::from_static(RETRY_SECONDS);
            answer.headers_mut().insert(RETRY_AFTER, seconds);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::DefaultBodyLimit;
    use axum::middleware::from_fn_with_state;
    use axum::routing::put;
    use tokio::sync::Notify;
    use tower::ServiceExt as _;

    use super::*;

    /// Answers how many bytes it got, once it may.
    fn router(room: &Room, may: &Arc<Notify>) -> Router {
        let may = may.clone();
        let answer = async move |body: Bytes| {
            if body.len() > SMALL_BYTES {
                may.notified().await;
            }
            body.len().to_string()
        };
        Router::new()
            .route("/", put(answer))
            .layer(DefaultBodyLimit::max(1 << 20))
            .layer(from_fn_with_state(room.clone(), bounded))
    }

    fn request(body: Body) -> Request {
        Request::put("/").body(body).unwrap()
    }

    async fn status(router: &Router, body: Body) -> StatusCode {
        let answer = router.clone().oneshot(request(body)).await;
        answer.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_ten_seconds_however_it_trickles() {
        let router = router(&Room::default(), &Arc::default());
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Some((Ok::<_, Refused>(Bytes::from_static(b"x")), ()))
        });
        let begun = Instant::now();
        let answer = status(&router, Body::from_stream(trickle)).await;
        assert_eq!(answer, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(begun.elapsed(), BODY_TIME);
    }

    #[tokio::test]
    async fn large_bodies_have_room_together_until_they_are_answered() {
        let (room, may) = (Room::of(1 << 20), Arc::<Notify>::default());
        let router = router(&room, &may);
        let body = |bytes: usize| Body::from(vec![0; bytes]);
        let first = tokio::spawn({
            let router = router.clone();
            async move { status(&router, Body::from(vec![0; 900 << 10])).await }
        });
        while room.0.available_permits() == 1 << 20 {
            tokio::task::yield_now().await;
        }
        let refused = router.clone().oneshot(request(body(300 << 10)));
        let refused = tokio::time::timeout(BODY_TIME, refused).await;
        let refused = refused.unwrap().unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[RETRY_AFTER], "1");
        assert_eq!(status(&router, body(SMALL_BYTES)).await, StatusCode::OK);
        may.notify_one();
        assert_eq!(first.await.unwrap(), StatusCode::OK);
        assert_eq!(room.0.available_permits(), 1 << 20, "all of it is free");
        may.notify_one();
        assert_eq!(status(&router, body(300 << 10)).await, StatusCode::OK);
        let too_large = status(&router, body((1 << 20) + 1)).await;
        assert_eq!(too_large, StatusCode::PAYLOAD_TOO_LARGE, "of one body");
    }
}
