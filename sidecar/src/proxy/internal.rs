//! `http://actpass.internal/`: what the agent may ask of ActPass.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::body::{hold, kept, read_body};
use super::{AnswerBody, Proxy, ours, plain};
use crate::judge::{Denial, DenialKind, InternalAnswer, Redeemed};

/// Longest plan: 64 steps of a KiB.
const PLAN_BYTES_MAX: u64 = 64 * 1024;

/// Longest sealed request.
const SEALED_BYTES_MAX: u64 = 1 << 20;

impl Proxy {
    pub(super) async fn serve_internal(
        self: &Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Denial> {
        let (parts, body) = request.into_parts();
        let segments: Vec<&str> = parts
            .uri
            .path()
            .trim_start_matches('/')
            .split('/')
            .collect();
        let answer = match (&parts.method, segments.as_slice()) {
            (&Method::GET, ["v1", "passport"]) => self.internal.passport().await,
            (&Method::POST, ["v1", "preflight"]) => {
                let plan = read_body(body, PLAN_BYTES_MAX, &self.budget)
                    .await
                    .map_err(|error| {
                        let (code, kind) = error.code();
                        plain(code, error.to_string(), kind)
                    })?;
                self.internal.preflight(plan).await
            }
            (&Method::GET, ["v1", "approvals", id]) => self.internal.approval(id).await,
            (&Method::POST, ["v1", "approvals", id, "execute"]) => {
                let held = hold(&self.budget, SEALED_BYTES_MAX).map_err(|error| {
                    let (code, kind) = error.code();
                    plain(code, error.to_string(), kind)
                })?;
                return match self.internal.redeem(id).await {
                    Redeemed::Permit(mut received, permit) => {
                        received.body = kept(received.body, held);
                        self.run_to_its_end(*permit, *received).await
                    }
                    Redeemed::Deny(denial) => Ok(ours(&denial)),
                };
            }
            _ => {
                let detail = "actpass.internal answers GET /v1/passport, POST /v1/preflight, GET /v1/approvals/ID and \
                              POST /v1/approvals/ID/execute.";
                return Ok(ours(&plain(
                    "not_found",
                    detail.to_owned(),
                    DenialKind::NotFound,
                )));
            }
        };
        Ok(respond(answer))
    }
}

fn respond(answer: InternalAnswer) -> Response<AnswerBody> {
    let body = Full::new(Bytes::from(answer.json))
        .map_err(|never| match never {})
        .boxed();
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    response.headers_mut().insert(
        "content-type",
        http::HeaderValue::from_static("application/json"),
    );
    response
}
