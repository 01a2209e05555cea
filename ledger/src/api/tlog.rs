//! A log's tree in the formats of C2SP (`tlog-tiles`, `tlog-checkpoint`, `tlog-proof`): whoever may read evidence can check it with
//! programs that are not ours.
//!
//! The prefix of a log is `/v1/logs/{tenant}`, with the tenant percent-encoded in one segment. Hashes come from the tree in memory,
//! leaves from the disk; the sequencer says where these lie, and waits for neither.

use actpass_core::evidence::proof::TlogProof;
use actpass_core::evidence::tile::{TileOf, TilePath};
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::Context;
use super::auth::Caller;
use super::control::log_of;
use super::gate::{Resource, Verb};
use crate::engine::{Log, Logs};
use crate::error::ApiError;

/// What changes with the next leaf.
const NEWEST: [(axum::http::HeaderName, &str); 2] = [
    (CONTENT_TYPE, "text/plain; charset=utf-8"),
    (CACHE_CONTROL, "no-store"),
];

/// What never changes. Not for caches that others share: it is for who has the right.
const FOREVER: [(axum::http::HeaderName, &str); 2] = [
    (CONTENT_TYPE, "application/octet-stream"),
    (CACHE_CONTROL, "private, max-age=31536000, immutable"),
];

/// `GET /v1/logs/{tenant}/checkpoint`: the newest signed checkpoint.
pub(super) async fn checkpoint(
    State(context): State<Context>,
    Path(tenant): Path<String>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let origin = read(&context, caller, tenant).await?;
    let newest = move |logs: &Logs| Ok(log_of(logs, &origin)?.checkpoint().to_owned());
    let note = context.engine.query(newest).await?;
    Ok((NEWEST, note).into_response())
}

/// `GET /v1/logs/{tenant}/tile/...`: a tile of hashes, or a bundle of leaves.
pub(super) async fn tile(
    State(context): State<Context>,
    Path((tenant, _)): Path<(String, String)>,
    uri: Uri,
    caller: Caller,
) -> Result<Response, ApiError> {
    let origin = read(&context, caller, tenant).await?;
    // As it was sent: decoded, one tile would have many names. `/v1/logs/{tenant}/` has four slashes.
    let named = uri.path().splitn(5, '/').nth(4).unwrap_or_default();
    let path: TilePath =
        (named.parse()).map_err(|error: actpass_core::evidence::tile::TilePathError| {
            ApiError::Malformed(error.to_string())
        })?;
    let none = ApiError::NotFound("tile");
    let TileOf::Entries = path.of() else {
        let hashes = move |logs: &Logs| log_of(logs, &origin)?.tile(&path).ok_or(none);
        return Ok((FOREVER, context.engine.query(hashes).await?).into_response());
    };
    let range = path.range().ok_or(none)?;
    let placed = context
        .engine
        .placed(origin.clone(), range, |_| Ok(()))
        .await;
    let (leaves, ()) = placed?;
    let bundle = context.evidence.bundle(origin, leaves).await?;
    Ok((FOREVER, bundle).into_response())
}

/// `GET /v1/logs/{tenant}/proof/{seq}`: that one leaf is in the newest checkpoint, with the leaf.
pub(super) async fn proof(
    State(context): State<Context>,
    Path((tenant, index)): Path<(String, u64)>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let origin = read(&context, caller, tenant).await?;
    let none = || ApiError::NotFound("leaf");
    let range = index..index.checked_add(1).ok_or_else(none)?;
    let newest = move |log: &Log| {
        Ok((
            log.path(index).ok_or_else(none)?,
            log.checkpoint().to_owned(),
        ))
    };
    let placed = context.engine.placed(origin.clone(), range, newest).await?;
    let (leaves, (path, checkpoint)) = placed;
    let leaf = leaves.first().copied().ok_or_else(none)?;
    let proof = TlogProof {
        extra: Some(context.evidence.leaf(origin, leaf).await?),
        index,
        path,
        checkpoint,
    };
    Ok((NEWEST, proof.to_string()).into_response())
}

/// The log that the path names, for who may read it.
async fn read(context: &Context, caller: Caller, tenant: String) -> Result<String, ApiError> {
    let allowed = caller.may_in(context, Verb::Get, Resource::Evidence, tenant);
    Ok(allowed.await?.origin)
}
