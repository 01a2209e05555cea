//! What people and the controller do: policy, credentials, limits, intents.

use std::sync::Arc;

use actpass_core::bundle::Bundle;
use actpass_core::decide::LimitLeft;
use actpass_core::evidence::leaf::EventBody;
use actpass_core::hash::{StreamId, b64u_encode};
use actpass_core::limits::{Limit, Unit};
use actpass_core::money::Money;
use actpass_core::wire::{
    Bindings, CredentialView, IntentView, LimitView, OverLimitView, PutCredential, Resolution,
};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::Context;
use super::auth::Person;
use crate::engine::{Log, Logs};
use crate::error::ApiError;
use crate::vault::{self, CredentialInfo, Secret};

/// `PUT /v1/bundles`: makes a bundle the active one of its tenant, and the tenant's log if it is new.
pub(super) async fn put_bundle(
    State(context): State<Context>,
    _: Person,
    body: Bytes,
) -> Result<Json<serde_json::Value>, ApiError> {
    let bundle =
        Arc::new(Bundle::parse(&body).map_err(|error| ApiError::Malformed(error.to_string()))?);
    let digest = bundle.digest();
    let keys = context
        .issuer_keys
        .iter()
        .map(|(kid, key)| (kid.clone(), b64u_encode(key.as_bytes())))
        .collect();
    context.engine.set_bundle(bundle, keys).await?;
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
    person: Person,
    Json(request): Json<RevokeRequest>,
) -> Result<StatusCode, ApiError> {
    let origin = only_log(&context).await?;
    let event = EventBody::Revoked {
        passport: request.passport,
        by: person.user,
        why: request.why,
    };
    context
        .engine
        .event(origin, Vec::new(), move |_, _| Ok(event))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/limits`
pub(super) async fn limits(
    State(context): State<Context>,
    _: Person,
) -> Result<Json<Vec<LimitView>>, ApiError> {
    let now = Timestamp::now();
    let read = move |logs: &Logs| {
        Ok(logs
            .values()
            .flat_map(|log| limit_views(log, None, now))
            .collect())
    };
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
    _: Person,
) -> Result<Json<Vec<IntentView>>, ApiError> {
    let read = |logs: &Logs| {
        let open = logs.values().flat_map(|log| log.state().open_intents());
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
    person: Person,
    Path((stream, seq)): Path<(StreamId, u64)>,
    Json(Resolution { happened }): Json<Resolution>,
) -> Result<StatusCode, ApiError> {
    let found = context.engine.query(move |logs| {
        let log = logs.values().find(|log| {
            log.state()
                .open_intents()
                .any(|(id, _)| *id == (stream, seq))
        });
        log.map(|log| log.origin().to_owned())
            .ok_or(ApiError::NotFound("open intent"))
    });
    let origin = found.await?;
    let checked = move |log: &Log, _| {
        let intent = log
            .state()
            .open_intents()
            .find(|(id, _)| **id == (stream, seq));
        match intent {
            Some((_, intent)) if intent.ambiguous_since.is_some() => Ok(EventBody::Resolved {
                stream,
                seq,
                happened,
                by: person.user,
            }),
            Some(_) => {
                let detail = "its outcome is still being waited for; only an ambiguous intent can be resolved".to_owned();
                Err(ApiError::Conflict {
                    code: "not_ambiguous",
                    detail,
                })
            }
            None => Err(ApiError::NotFound("open intent")),
        }
    };
    context.engine.event(origin, Vec::new(), checked).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/credentials`
pub(super) async fn credentials(
    State(context): State<Context>,
    _: Person,
) -> Result<Json<Vec<CredentialView>>, ApiError> {
    Ok(Json(context.vault.list().into_iter().map(view).collect()))
}

/// `PUT /v1/credentials/{name}`: stores with bindings, or rotates without.
pub(super) async fn put_credential(
    State(context): State<Context>,
    person: Person,
    Path(name): Path<String>,
    Json(request): Json<PutCredential>,
) -> Result<Json<CredentialView>, ApiError> {
    let origin = only_log(&context).await?;
    let tenant = origin
        .strip_prefix("actpass/")
        .unwrap_or(&origin)
        .to_owned();
    let secret = Secret::from(request.secret);
    let now = Timestamp::now();
    let (stored, change) = match request.bindings {
        Some(bindings) => (
            context
                .vault
                .put(&tenant, &name, stored_bindings(bindings), &secret, now),
            "put",
        ),
        None => (context.vault.rotate(&tenant, &name, &secret, now), "rotate"),
    };
    let view = view(stored.map_err(|error| ApiError::Conflict {
        code: "vault",
        detail: error.to_string(),
    })?);
    let event = EventBody::CredentialChanged {
        credential: name,
        version: view.version,
        change: change.to_owned(),
        by: person.user,
    };
    context
        .engine
        .event(origin, Vec::new(), move |_, _| Ok(event))
        .await?;
    Ok(Json(view))
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
    person: Person,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let origin = only_log(&context).await?;
    let tenant = origin
        .strip_prefix("actpass/")
        .unwrap_or(&origin)
        .to_owned();
    let deleted = context.vault.delete(&tenant, &name);
    deleted.map_err(|error| ApiError::Conflict {
        code: "vault",
        detail: error.to_string(),
    })?;
    let event = EventBody::CredentialChanged {
        credential: name,
        version: 0,
        change: "delete".to_owned(),
        by: person.user,
    };
    context
        .engine
        .event(origin, Vec::new(), move |_, _| Ok(event))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/checkpoint`: the newest signed checkpoint of the only log, and the key it is signed with.
pub(super) async fn checkpoint(
    State(context): State<Context>,
    _: Person,
) -> Result<Json<serde_json::Value>, ApiError> {
    let origin = only_log(&context).await?;
    let read = move |logs: &Logs| {
        let log = logs.get(&origin).ok_or(ApiError::NotFound("log"))?;
        Ok(json!({ "checkpoint": log.checkpoint(), "key": log.vkey() }))
    };
    Ok(Json(context.engine.query(read).await?))
}

/// `GET /metrics`
pub(super) async fn metrics(State(context): State<Context>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], context.metrics.text())
}

/// `GET /readyz`
pub(super) async fn ready(State(context): State<Context>) -> Result<&'static str, ApiError> {
    context.engine.query(|_| Ok("ok")).await
}

/// The one log of local mode.
async fn only_log(context: &Context) -> Result<String, ApiError> {
    let read = |logs: &Logs| {
        let mut origins = logs.keys();
        match (origins.next(), origins.next()) {
            (Some(origin), None) => Ok(origin.clone()),
            (None, _) => Err(ApiError::NotFound("log")),
            _ => Err(ApiError::Malformed(
                "there are several tenants; name one".to_owned(),
            )),
        }
    };
    context.engine.query(read).await
}
