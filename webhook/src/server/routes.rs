//! The paths of the webhook, and the bounds within which a review is read and answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actpass_core::error::chain;
use actpass_core::hash::b64u_encode;
use actpass_kubernetes::Error;
use actpass_kubernetes::seeds::Keyring;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::UidSecret;
use crate::inject::Context;
use crate::settings::Settings;

use super::metrics::Metrics;
use super::review::{Answer, Request, Status, Verdict};
use super::votes::Stamping;
use super::world::World;
use super::{namespaces, pods, resources, votes};

/// Longest review: an object and the one before it, at 1.5 MiB each, which is what etcd takes, and the frame.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Most reviews at a time, from the first byte of the body on. Read into JSON, which is some eight times as large, they stay below
/// 12 × 4 MiB × 8 = 384 MiB where all are of the longest; a pod's has 20 KiB.
const REVIEWS_MAX: usize = 12;

/// Before the API server stops waiting, which the chart's configurations let it do after five seconds: so that it is told
/// why.
const DEADLINE: Duration = Duration::from_secs(4);

/// Most characters of a user's name in the log.
const USER_CHARS_MAX: usize = 256;

/// What answers.
pub struct Serving {
    /// What pods are injected with; nothing, as long as it is not known what sidecars may trust.
    pub settings: watch::Receiver<Option<Arc<Settings>>>,
    /// What sidecars' uids are made from.
    pub uid_secret: UidSecret,
    /// What votes are stamped with.
    pub stamps: watch::Receiver<Arc<Keyring>>,
    /// The cluster.
    pub world: World,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// A place for each review that is being answered.
    pub places: Semaphore,
}

/// One path for reviews.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    MutatePods,
    ValidatePods,
    ValidateResources,
    MutateVotes,
    ValidateVotes,
    ValidateNamespaces,
}

impl Path {
    const ALL: [Self; 6] = [
        Self::MutatePods,
        Self::ValidatePods,
        Self::ValidateResources,
        Self::MutateVotes,
        Self::ValidateVotes,
        Self::ValidateNamespaces,
    ];

    /// As metrics and logs name it.
    fn name(self) -> &'static str {
        match self {
            Self::MutatePods => "mutate-pods",
            Self::ValidatePods => "validate-pods",
            Self::ValidateResources => "validate-resources",
            Self::MutateVotes => "mutate-votes",
            Self::ValidateVotes => "validate-votes",
            Self::ValidateNamespaces => "validate-namespaces",
        }
    }
}

/// Places for as many reviews as are answered at a time.
pub fn places() -> Semaphore {
    Semaphore::new(REVIEWS_MAX)
}

/// All paths.
pub fn router(serving: Arc<Serving>) -> Router {
    let mut router = Router::new().route("/v1/keys", get(keys));
    for path in Path::ALL {
        let answering = async move |State(serving): State<Arc<Serving>>, body: Body| {
            // Nothing is read of what there is no place for.
            let reading = async {
                let place = serving.places.acquire().await;
                (place, to_bytes(body, BODY_BYTES_MAX).await)
            };
            match timeout(DEADLINE, reading).await {
                Ok((_place, Ok(body))) => review(&serving, path, &body).await,
                Ok((_, Err(error))) => {
                    (StatusCode::PAYLOAD_TOO_LARGE, format!("{error}\n")).into_response()
                }
                Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            }
        };
        router = router.route(&format!("/{}", path.name()), post(answering));
    }
    router.with_state(serving)
}

/// What votes are stamped with, for the controller to hand on.
async fn keys(State(serving): State<Arc<Serving>>) -> Json<Value> {
    let keys = serving.stamps.borrow().public();
    let keys: Vec<String> = keys.iter().map(|key| b64u_encode(key.as_bytes())).collect();
    Json(json!({"keys": keys}))
}

async fn review(serving: &Serving, path: Path, body: &[u8]) -> Response {
    let begun = Instant::now();
    let parsed = serde_json::from_slice::<Value>(body).map_err(|error| error.to_string());
    let request =
        match parsed.and_then(|review| Request::parse(review).map_err(|error| chain(&error))) {
            Ok(request) => request,
            // Without the question there is no answer; the API server takes this for a refusal.
            Err(why) => return (StatusCode::BAD_REQUEST, format!("{why}\n")).into_response(),
        };
    let answering = async { answer(serving, path, &request).await };
    let answer = timeout(DEADLINE, answering).await.unwrap_or_else(|_| {
        let said = format!("no answer within {} seconds; try again", DEADLINE.as_secs());
        Ok(Answer::refused(Status::Unavailable, "deadline", "", said))
    });
    let answer = answer.unwrap_or_else(|error| {
        tracing::warn!(
            path = path.name(),
            error = chain(&error),
            "The API server did not say what an answer needs"
        );
        let said = format!("what the answer depends on cannot be read ({error}); try again");
        Answer::refused(Status::Unavailable, "unreadable", "", said)
    });
    serving
        .metrics
        .answered(path.name(), &answer, begun.elapsed());
    log(path, &request, &answer);
    Json(answer.to_review(&request.uid)).into_response()
}

async fn answer(serving: &Serving, path: Path, request: &Request) -> Result<Answer, Error> {
    let stamps = serving.stamps.borrow().clone();
    let stamping = || Stamping {
        stamps: &stamps,
        now: Timestamp::now(),
    };
    Ok(match path {
        Path::MutatePods | Path::ValidatePods => {
            let settings = serving.settings.borrow().clone();
            let context = settings.as_ref().map(|settings| Context {
                namespace: &request.namespace,
                settings,
                secret: &serving.uid_secret,
                request: &request.uid,
            });
            match (path, &context) {
                (Path::MutatePods, Some(context)) => pods::mutate(request, context),
                (Path::MutatePods, None) => pods::not_ready(),
                _ => pods::validate(
                    request,
                    context.as_ref(),
                    &serving.world.pod(request).await?,
                ),
            }
        }
        Path::ValidateResources => {
            resources::validate(request, &serving.world.resource(request).await?)
        }
        Path::MutateVotes => {
            votes::mutate(request, &serving.world.vote(request).await?, stamping())
        }
        Path::ValidateVotes => {
            votes::validate(request, &serving.world.vote(request).await?, stamping())
        }
        Path::ValidateNamespaces => {
            namespaces::validate(request, &serving.world.namespace(request).await?)
        }
    })
}

fn log(path: Path, request: &Request, answer: &Answer) {
    let (path, namespace, name) = (path.name(), &request.namespace, &request.name);
    // Whoever reaches the port says what they like.
    let user: String = (request.user_info.username.chars())
        .take(USER_CHARS_MAX)
        .collect();
    match &answer.verdict {
        Verdict::Refused(refusal) => {
            let reasons: Vec<&str> = refusal.causes.iter().map(|cause| cause.reason).collect();
            let reasons = reasons.join(",");
            tracing::info!(path, %namespace, %name, %user, %reasons, "Request refused");
        }
        Verdict::Allowed | Verdict::Patched(_) => {
            tracing::debug!(path, %namespace, %name, %user, "Request passed");
        }
    }
}
