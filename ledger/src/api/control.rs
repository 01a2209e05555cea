//! What people and the controller do: policy, credentials, limits, intents.

use std::collections::BTreeMap;
use std::sync::Arc;

use actpass_core::bundle::Bundle;
use actpass_core::canonical::INTEGER_MAX;
use actpass_core::decide::LimitLeft;
use actpass_core::evidence::leaf::{EventBody, Revision, StreamEnd};
use actpass_core::hash::{StreamId, b64u_encode};
use actpass_core::limits::{Limit, Unit};
use actpass_core::money::Money;
use actpass_core::succession::{Purpose, vouch};
use actpass_core::wire::{
    Bindings, CredentialView, IntentView, LimitView, OverLimitView, PutCredential, Resolution,
};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::Context;
use super::auth::{Allowed, Caller};
use super::gate::{Resource, Verb};
use crate::engine::{Log, Logs};
use crate::error::ApiError;
use crate::vault::{self, CredentialInfo, Secret, Vault, VaultError};

/// The revision that a request names; both or neither.
#[derive(Deserialize)]
pub(super) struct Given {
    term: Option<u64>,
    count: Option<u64>,
}

impl Given {
    fn revision(&self) -> Result<Option<Revision>, ApiError> {
        match (self.term, self.count) {
            (None, None) => Ok(None),
            (Some(term), Some(count)) if term.max(count) <= INTEGER_MAX.unsigned_abs() => {
                Ok(Some(Revision { term, count }))
            }
            _ => Err(ApiError::Malformed(
                "a revision is `term` and `count`, each at most 2^53 - 1".to_owned(),
            )),
        }
    }
}

/// `PUT /v1/bundles`: makes a bundle the active one of its tenant, and the tenant's log if it is new. With `term` and
/// `count` it is refused where a later one was given.
pub(super) async fn put_bundle(
    State(context): State<Context>,
    caller: Caller,
    Query(given): Query<Given>,
    body: Bytes,
) -> Result<Json<serde_json::Value>, ApiError> {
    let revision = given.revision()?;
    let bundle =
        Arc::new(Bundle::parse(&body).map_err(|error| ApiError::Malformed(error.to_string()))?);
    let tenant = &bundle.spec().tenant;
    caller
        .may_of(&context, Verb::Update, Resource::Bundles, tenant)
        .await?;
    let digest = bundle.digest();
    let keys = as_text(&context.issuer_keys.borrow());
    context.engine.set_bundle(bundle, revision, keys).await?;
    Ok(Json(json!({ "digest": digest })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RevokeRequest {
    passport: String,
    why: String,
}

/// `POST /v1/revocations`
pub(super) async fn revoke(
    State(context): State<Context>,
    caller: Caller,
    Json(request): Json<RevokeRequest>,
) -> Result<StatusCode, ApiError> {
    let allowed = caller.may(&context, Verb::Update, Resource::Bundles, None);
    let Allowed { person, origin } = allowed.await?;
    let event = EventBody::Revoked {
        passport: request.passport,
        by: person.user,
        why: request.why,
    };
    context
        .engine
        .event(origin, Vec::new(), move |_, _| Ok(event.clone()))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which stream of a pod ends; without one, whichever is open.
#[derive(Deserialize)]
pub(super) struct Gone {
    stream: Option<StreamId>,
}

/// `DELETE /v1/pods/{uid}`: the pod is gone, or the sandbox of it that `stream` is of, and with it its sidecar. What it did last
/// is not known, so its open intents become ambiguous.
pub(super) async fn end_pod(
    State(context): State<Context>,
    caller: Caller,
    Path(uid): Path<String>,
    Query(Gone { stream }): Query<Gone>,
) -> Result<StatusCode, ApiError> {
    let allowed = caller.may(&context, Verb::Update, Resource::Bundles, None);
    let origin = allowed.await?.origin;
    let ended = move |log: &Log, _| {
        let open = log.state().stream_of_pod(&uid);
        let stream = *open
            .filter(|open| stream.is_none_or(|stream| stream == **open))
            .ok_or(ApiError::NotFound("pod with an open stream"))?;
        let how = StreamEnd::ExpiredTailUnknown;
        Ok(EventBody::StreamEnded { stream, how })
    };
    context.engine.event(origin, Vec::new(), ended).await?;
    // Which log a stream writes to is only remembered; who asks next is looked up, and has ended.
    let mut streams = context
        .streams
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    streams.clear();
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/limits`
pub(super) async fn limits(
    State(context): State<Context>,
    caller: Caller,
) -> Result<Json<Vec<LimitView>>, ApiError> {
    let allowed = caller.may(&context, Verb::Get, Resource::Evidence, None);
    let origin = allowed.await?.origin;
    let now = Timestamp::now();
    let read = move |logs: &Logs| Ok(limit_views(log_of(logs, &origin)?, None, now));
    Ok(Json(context.engine.query(read).await?))
}

/// Where the limits of one passport, or of all, stand.
pub(super) fn limit_views(log: &Log, passport: Option<&str>, now: Timestamp) -> Vec<LimitView> {
    let Some(bundle) = log.state().active() else {
        return Vec::new();
    };
    let passports = bundle
        .spec()
        .passports
        .iter()
        .filter(|it| passport.is_none_or(|name| it.name == name));
    passports
        .flat_map(|passport| {
            passport.limits.iter().map(|limit| {
                let (used, frees_at) = log.state().used(&passport.name, limit, now);
                limit_view(&passport.name, limit, used, frees_at)
            })
        })
        .collect()
}

/// A limit that people are asked to lift.
pub(super) fn over_limit_view(over: &LimitLeft) -> OverLimitView {
    OverLimitView {
        meter: over.meter.clone(),
        unit: over.unit.to_string(),
        max: major(over.unit, over.max),
        reaches: major(over.unit, over.total()),
        window: over
            .window
            .map(|window| window.to_string())
            .unwrap_or_default(),
    }
}

fn major(unit: Unit, amount: i64) -> String {
    match unit {
        Unit::Money(currency) => Money::new(amount, currency).to_major_text(),
        Unit::Count => amount.to_string(),
    }
}

fn limit_view(passport: &str, limit: &Limit, used: i64, frees_at: Option<Timestamp>) -> LimitView {
    let text = |amount| major(limit.unit, amount);
    LimitView {
        passport: passport.to_owned(),
        meter: limit.meter.clone(),
        unit: limit.unit.to_string(),
        max: text(limit.max),
        used: text(used),
        left: text(limit.max.saturating_sub(used).max(0)),
        window: limit.window.to_string(),
        frees_at: frees_at.map(actpass_core::canonical::instant),
    }
}

/// `GET /v1/intents`
pub(super) async fn intents(
    State(context): State<Context>,
    caller: Caller,
) -> Result<Json<Vec<IntentView>>, ApiError> {
    let allowed = caller.may(&context, Verb::Get, Resource::Evidence, None);
    let origin = allowed.await?.origin;
    let read = move |logs: &Logs| {
        let open = log_of(logs, &origin)?.state().open_intents();
        Ok(open
            .map(|((stream, seq), intent)| IntentView {
                stream: *stream,
                seq: *seq,
                state: if intent.ambiguous_since.is_some() {
                    "ambiguous"
                } else {
                    "open"
                }
                .to_owned(),
                capability: intent.capability.to_string(),
                amount: intent.amount.map(|amount| amount.to_string()),
                agent: intent.agent.clone(),
                time: intent.permitted,
            })
            .collect())
    };
    Ok(Json(context.engine.query(read).await?))
}

/// `POST /v1/intents/{stream}/{seq}/resolution`
pub(super) async fn resolve(
    State(context): State<Context>,
    caller: Caller,
    Path((stream, seq)): Path<(StreamId, u64)>,
    Json(Resolution { happened }): Json<Resolution>,
) -> Result<StatusCode, ApiError> {
    let allowed = caller.may(&context, Verb::Update, Resource::Intents, None);
    let Allowed { person, origin } = allowed.await?;
    let checked = move |log: &Log, _| match log.state().open_intent(&(stream, seq)) {
        Some(intent) if intent.ambiguous_since.is_some() => Ok(EventBody::Resolved {
            stream,
            seq,
            happened,
            by: person.user.clone(),
        }),
        Some(_) => {
            let detail =
                "its outcome is still being waited for; only an ambiguous intent can be resolved"
                    .to_owned();
            Err(ApiError::Conflict {
                code: "not_ambiguous",
                detail,
            })
        }
        None => Err(ApiError::NotFound("open intent")),
    };
    context.engine.event(origin, Vec::new(), checked).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/credentials`
pub(super) async fn credentials(
    State(context): State<Context>,
    caller: Caller,
) -> Result<Json<Vec<CredentialView>>, ApiError> {
    let allowed = caller.may(&context, Verb::Get, Resource::Credentials, None);
    let stored = context.vault.list_of(allowed.await?.tenant());
    Ok(Json(stored.into_iter().map(view).collect()))
}

/// `PUT /v1/credentials/{name}`: stores with bindings, or rotates without.
pub(super) async fn put_credential(
    State(context): State<Context>,
    caller: Caller,
    Path(name): Path<String>,
    Json(request): Json<PutCredential>,
) -> Result<Json<CredentialView>, ApiError> {
    let allowed = caller.may(&context, Verb::Update, Resource::Credentials, Some(&name));
    let allowed = allowed.await?;
    let secret = Secret::from(request.secret);
    let now = Timestamp::now();
    let change = match request.bindings {
        Some(_) => "put",
        None => "rotate",
    };
    let (tenant, named) = (allowed.tenant().to_owned(), name.clone());
    let stored = change_vault(&context, move |vault| match request.bindings {
        Some(bindings) => vault.put(&tenant, &named, stored_bindings(bindings), &secret, now),
        None => vault.rotate(&tenant, &named, &secret, now),
    });
    let view = view(stored.await?);
    let event = EventBody::CredentialChanged {
        credential: name,
        version: view.version,
        change: change.to_owned(),
        by: allowed.person.user,
    };
    context
        .engine
        .event(allowed.origin, Vec::new(), move |_, _| Ok(event.clone()))
        .await?;
    Ok(Json(view))
}

/// Changes the vault on a thread that may block: it may lie with a server that does not answer.
async fn change_vault<T: Send + 'static>(
    context: &Context,
    change: impl FnOnce(&Vault) -> Result<T, VaultError> + Send + 'static,
) -> Result<T, ApiError> {
    let vault = context.vault.clone();
    let changed = tokio::task::spawn_blocking(move || change(&vault));
    let changed = changed.await.map_err(|_| ApiError::Poisoned)?;
    changed.map_err(|error| match error {
        VaultError::Away(_) => ApiError::Stalled,
        error => ApiError::Conflict {
            code: "vault",
            detail: error.to_string(),
        },
    })
}

fn view(info: CredentialInfo) -> CredentialView {
    let vault::Bindings {
        ca_sha256,
        effects,
        format,
        header,
        hosts,
        ports,
    } = info.bindings;
    let bindings = Bindings {
        hosts,
        ports,
        header,
        format,
        ca_digest: ca_sha256,
        effects,
    };
    CredentialView {
        name: info.name,
        version: info.version,
        bindings,
        created: info.created,
    }
}

fn stored_bindings(bindings: Bindings) -> vault::Bindings {
    let Bindings {
        hosts,
        ports,
        header,
        format,
        ca_digest,
        effects,
    } = bindings;
    vault::Bindings {
        ca_sha256: ca_digest,
        effects,
        format,
        header,
        hosts,
        ports,
    }
}

/// `DELETE /v1/credentials/{name}`
pub(super) async fn delete_credential(
    State(context): State<Context>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let allowed = caller.may(&context, Verb::Delete, Resource::Credentials, Some(&name));
    let allowed = allowed.await?;
    let (tenant, named) = (allowed.tenant().to_owned(), name.clone());
    change_vault(&context, move |vault| vault.delete(&tenant, &named)).await?;
    let event = EventBody::CredentialChanged {
        credential: name,
        version: 0,
        change: "delete".to_owned(),
        by: allowed.person.user,
    };
    context
        .engine
        .event(allowed.origin, Vec::new(), move |_, _| Ok(event.clone()))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a checkpoint is asked with.
#[derive(Deserialize)]
pub(super) struct Since {
    /// Size of a head seen before.
    since: Option<u64>,
}

/// `GET /v1/checkpoint?since=SIZE`: the newest signed checkpoint of a log, the key it is signed with, and the proof that it
/// extends the head of that size; none where the log never had it.
pub(super) async fn checkpoint(
    State(context): State<Context>,
    Query(Since { since }): Query<Since>,
    caller: Caller,
) -> Result<Json<serde_json::Value>, ApiError> {
    let allowed = caller.may(&context, Verb::Get, Resource::Evidence, None);
    let origin = allowed.await?.origin;
    let read = move |logs: &Logs| {
        let log = log_of(logs, &origin)?;
        let proof = log.consistency(since.unwrap_or_default());
        Ok(json!({
            "checkpoint": log.checkpoint(),
            "key": log.vkey(),
            "consistency": proof.unwrap_or_default(),
        }))
    };
    Ok(Json(context.engine.query(read).await?))
}

/// `GET /metrics`
pub(super) async fn metrics(State(context): State<Context>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    // One that has stopped shows what it has counted.
    if let Ok(waiting) = context.engine.waiting().await {
        context.metrics.waiting(waiting);
    }
    ([(CONTENT_TYPE, kind)], context.metrics.text())
}

/// `GET /readyz`
pub(super) async fn ready(State(context): State<Context>) -> Result<&'static str, ApiError> {
    context.engine.query(|_| Ok("ok")).await
}

/// When another key is first used, in a question for the keys.
#[derive(Deserialize)]
pub(super) struct FirstUse {
    from: Option<Timestamp>,
}

/// `GET /v1/keys`: the keys that checkpoints are signed with, oldest first; and for each that is first used `from` then, the
/// signature of the one before. Public, so anybody may ask: it says of keys held here that they follow one another, and no more.
pub(super) async fn keys(
    State(context): State<Context>,
    Query(FirstUse { from }): Query<FirstUse>,
) -> Json<serde_json::Value> {
    let text = |key: &SigningKey| b64u_encode(key.verifying_key().as_bytes());
    let held: Vec<SigningKey> = context.log_keys.all().rev().collect();
    let keys: Vec<String> = held.iter().map(text).collect();
    let Some(from) = from else {
        return Json(json!({ "keys": keys }));
    };
    let pairs = held.iter().zip(held.iter().skip(1));
    let by = pairs.map(|(before, key)| {
        let signed = vouch(before, Purpose::Checkpoints, &key.verifying_key(), from);
        (text(key), b64u_encode(&signed.to_bytes()))
    });
    let by: BTreeMap<String, String> = by.collect();
    Json(json!({ "keys": keys, "by": by }))
}

/// Keys as a log names them: id to base64url.
pub(super) fn as_text(keys: &BTreeMap<String, VerifyingKey>) -> BTreeMap<String, String> {
    let keys = keys.iter();
    keys.map(|(id, key)| (id.clone(), b64u_encode(key.as_bytes())))
        .collect()
}

pub(super) fn log_of<'a>(logs: &'a Logs, origin: &str) -> Result<&'a Log, ApiError> {
    logs.get(origin).ok_or(ApiError::NotFound("log"))
}
