//! What a sidecar asks for its own stream.

use actpass_core::evidence::leaf::{EventBody, Leaf, RulingApproval, StreamEnd};
use actpass_core::evidence::record::Body;
use actpass_core::hash::{StreamId, b64u_encode};
use actpass_core::mode::Mode;
use actpass_core::passport::Passport;
use actpass_core::passport::jws;
use actpass_core::state::ApprovalState;
use actpass_core::upstream::Effect;
use actpass_core::wire::{Lease, LeaseRequest, OpenStream, StreamOpened};
use actpass_transport::serve::Peer;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::Context;
use super::auth::{Sidecar, known};
use crate::engine::{Log, Staging, blob, destination, sealed_aad, sealed_name, text};
use crate::error::ApiError;
use crate::storage::BlobKind;
use crate::vault::About;

/// Largest request that is held for people.
const SEALED_BYTES_MAX: usize = 1 << 20;

/// How long a read credential is leased.
const LEASE: SignedDuration = SignedDuration::from_secs(300);

#[derive(Deserialize)]
pub(super) struct From {
    #[serde(default)]
    from: u64,
}

/// `POST /v1/streams`
pub(super) async fn open(
    State(context): State<Context>,
    Extension(peer): Extension<Peer>,
    Query(From { from }): Query<From>,
    Json(request): Json<OpenStream>,
) -> Result<Json<StreamOpened>, ApiError> {
    let (stream, key) = known(Some(&peer))?;
    let issuer_keys = context.issuer_keys.borrow().clone();
    let issued = || {
        let claims = jws::verify(&request.passport, &issuer_keys, Timestamp::now())?;
        Ok((claims, jws::signed_with(&request.passport)?))
    };
    let (claims, issuer) = issued().map_err(|error: jws::JwsError| {
        ApiError::Forbidden(format!("the passport is not accepted: {error}"))
    })?;
    let bound = claims
        .cnf
        .jwk
        .key()
        .map_err(|error| ApiError::Forbidden(error.to_string()))?;
    if *bound.as_bytes() != key {
        return Err(ApiError::Forbidden(
            "the passport is bound to another key".to_owned(),
        ));
    }
    let origin = format!("actpass/{}", claims.tenant);
    let expires = Timestamp::from_second(claims.exp)
        .map_err(|error| ApiError::Malformed(error.to_string()))?;
    let answer_origin = origin.clone();
    let pod_uid = claims.pod_uid.clone();
    let event = EventBody::StreamOpened {
        stream,
        key: b64u_encode(&key),
        passport: claims.passport,
        agent: claims.agent,
        jti: claims.jti,
        expires,
        issuer: Some(issuer),
        pod_uid: claims.pod_uid,
    };
    let keys = context.believed_keys();
    let log = origin.clone();
    let stage = move |staging: &mut Staging<'_>| {
        may_open(staging.log(&log)?, &stream, pod_uid.as_deref())?;
        staging.believe(&log, &keys)?;
        let now = staging.now(&log)?;
        staging.event(&log, now, event.clone(), Vec::new())
    };
    context.engine.submit(stage, |(), _| Ok(())).await?;
    context
        .streams
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .insert(stream, origin);
    let opened = context.engine.query(move |logs| {
        let log = logs.get(&answer_origin).ok_or(ApiError::NotFound("log"))?;
        let state = log
            .state()
            .stream(&stream)
            .ok_or(ApiError::NotFound("stream"))?;
        Ok(StreamOpened {
            stream,
            log: answer_origin,
            next_seq: state.next_seq,
            head: state.head,
            bundle: log.state().active().ok_or_else(no_policy)?.digest(),
            checkpoint: log.checkpoint().to_owned(),
            consistency: log.consistency(from)?,
        })
    });
    Ok(Json(opened.await?))
}

/// Whether the stream may be opened, or renewed.
fn may_open(log: &Log, stream: &StreamId, pod_uid: Option<&str>) -> Result<(), ApiError> {
    let state = log.state();
    if state.stream(stream).is_some_and(|it| it.ended.is_some()) {
        return Err(ApiError::Conflict {
            code: "stream_ended",
            detail: "this stream has ended; start a new one with a new key".to_owned(),
        });
    }
    if let Some(held) = pod_uid.and_then(|uid| state.stream_of_pod(uid))
        && held != stream
    {
        tracing::error!(log = log.origin(), %stream, %held, "A pod opens a second stream under another key");
        return Err(ApiError::Conflict {
            code: "second_session",
            detail: "this pod has a stream under another key that has not ended; start a new pod"
                .to_owned(),
        });
    }
    state.active().map(drop).ok_or_else(no_policy)
}

/// Why a stream ends.
#[derive(Deserialize)]
pub(super) struct End {
    #[serde(default)]
    end: EndedBy,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EndedBy {
    /// The sidecar is done.
    #[default]
    Closed,
    /// The sidecar is gone, and somebody sent what it left.
    Expired,
}

/// `DELETE /v1/streams/{stream}`
pub(super) async fn close(
    State(context): State<Context>,
    sidecar: Sidecar,
    Query(End { end }): Query<End>,
) -> Result<StatusCode, ApiError> {
    let stream = sidecar.stream;
    let how = match end {
        EndedBy::Closed => StreamEnd::Closed,
        EndedBy::Expired => StreamEnd::ExpiredTailKnown,
    };
    context
        .engine
        .event(sidecar.origin, Vec::new(), move |_, _| {
            Ok(EventBody::StreamEnded { stream, how })
        })
        .await?;
    context
        .streams
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .remove(&stream);
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/streams/{stream}/permits/{seq}/credential`
pub(super) async fn credential(
    State(context): State<Context>,
    sidecar: Sidecar,
    Path((_, seq)): Path<(String, u64)>,
) -> Result<Json<Lease>, ApiError> {
    let (stream, origin) = (sidecar.stream, sidecar.origin.clone());
    let found = context.engine.query(move |logs| {
        let log = logs.get(&origin).ok_or(ApiError::NotFound("log"))?;
        acting(log, &stream, Timestamp::now())?;
        let stored = log
            .answered(&stream, seq)
            .ok_or(ApiError::NotFound("permit"))?;
        let leaf = Leaf::parse(stored.leaf.as_bytes())
            .map_err(|error| ApiError::Malformed(error.to_string()))?;
        let (record, ruling) = leaf.record().ok_or(ApiError::NotFound("permit"))?;
        let open = log
            .state()
            .open_intents()
            .any(|(id, _)| *id == (stream, seq));
        let not_after = ruling
            .not_after
            .filter(|not_after| open && Timestamp::now() < *not_after);
        let expires = not_after.ok_or(ApiError::NotFound("permit that may still be used"))?;
        let Body::Intent(judged) = &record.body else {
            return Err(ApiError::NotFound("permit"));
        };
        let action = judged.action.as_ref().ok_or(ApiError::NotFound("permit"))?;
        let bundle = log.state().active().ok_or_else(no_policy)?;
        let upstream = bundle
            .upstream(&action.upstream)
            .ok_or(ApiError::NotFound("upstream"))?;
        let wanted = upstream
            .credential_for(action.effect)
            .ok_or(ApiError::NotFound("credential"))?;
        let destination = destination(upstream, &action.host, action.port, action.effect, wanted);
        let lent = ruling
            .credential
            .clone()
            .ok_or(ApiError::NotFound("credential"))?;
        Ok((log.tenant().to_owned(), lent, destination, expires))
    });
    let (tenant, credential, destination, expires) = found.await?;
    let name = credential.name;
    let again = context.vault.lend(&tenant, &name, &destination);
    let again = again
        .ok()
        .filter(|again| again.version == credential.version);
    let secret = text(
        &again
            .ok_or(ApiError::NotFound("credential of that version"))?
            .secret,
    )?;
    let logged = EventBody::CredentialReleased {
        stream,
        seq,
        credential: name.clone(),
    };
    context
        .engine
        .event(sidecar.origin, Vec::new(), move |_, _| Ok(logged.clone()))
        .await?;
    Ok(Json(Lease {
        credential: name,
        version: credential.version,
        secret,
        expires,
    }))
}

/// `POST /v1/streams/{stream}/leases`
pub(super) async fn lease(
    State(context): State<Context>,
    sidecar: Sidecar,
    Json(request): Json<LeaseRequest>,
) -> Result<Json<Lease>, ApiError> {
    let (stream, origin, upstream) = (
        sidecar.stream,
        sidecar.origin.clone(),
        request.upstream.clone(),
    );
    let (host, port) = (request.host, request.port);
    let found = context.engine.query(move |logs| {
        let log = logs.get(&origin).ok_or(ApiError::NotFound("log"))?;
        let passport = acting(log, &stream, Timestamp::now())?;
        let bundle = log.state().active().ok_or_else(no_policy)?;
        if bundle.spec().mode == Mode::Audit {
            let detail = "the namespace is under audit, where no credential is lent".to_owned();
            return Err(ApiError::Forbidden(detail));
        }
        let declared = bundle
            .upstream(&request.upstream)
            .ok_or(ApiError::NotFound("upstream"))?;
        let reads = declared
            .actions
            .iter()
            .filter(|action| action.effect == Effect::Read);
        let mut in_scope = reads.filter(|action| {
            let mut scope = passport.scope.iter();
            scope.any(|entry| entry.capability.matches(&action.capability))
        });
        if in_scope.next().is_none() {
            let detail = "the passport's scope has no read of that upstream".to_owned();
            return Err(ApiError::Forbidden(detail));
        }
        let name = host.parse().ok().filter(|name| declared.serves(name, port));
        let name = name.ok_or_else(|| {
            ApiError::Forbidden("the upstream does not serve that host".to_owned())
        })?;
        let wanted = declared
            .credential_for(Effect::Read)
            .ok_or(ApiError::NotFound("read credential"))?;
        let destination = destination(declared, &name, port, Effect::Read, wanted);
        Ok((log.tenant().to_owned(), wanted.name.clone(), destination))
    });
    let (tenant, name, destination) = found.await?;
    let lent = context
        .vault
        .lend(&tenant, &name, &destination)
        .map_err(|error| ApiError::Conflict {
            code: "credential_unavailable",
            detail: format!("{error}; store it with `actpass credentials put`"),
        })?;
    let now = Timestamp::now();
    let expires = now.checked_add(LEASE).unwrap_or(now);
    let expires = Timestamp::from_microsecond(expires.as_microsecond()).unwrap_or(expires);
    let logged = EventBody::Leased {
        stream,
        upstream,
        credential: name,
        version: lent.version,
        expires,
    };
    context
        .engine
        .event(sidecar.origin, Vec::new(), move |_, _| Ok(logged.clone()))
        .await?;
    let secret = text(&lent.secret)?;
    Ok(Json(Lease {
        credential: lent.name,
        version: lent.version,
        secret,
        expires,
    }))
}

/// `PUT /v1/streams/{stream}/sealed/{seq}`
pub(super) async fn seal(
    State(context): State<Context>,
    sidecar: Sidecar,
    Path((_, seq)): Path<(String, u64)>,
    body: Bytes,
) -> Result<StatusCode, ApiError> {
    if body.len() > SEALED_BYTES_MAX {
        let detail = format!(
            "a request of {} bytes is too large to hold for people",
            body.len()
        );
        return Err(ApiError::Conflict {
            code: "too_large_to_hold",
            detail,
        });
    }
    let stream = sidecar.stream;
    let origin = sidecar.origin.clone();
    let asked = context.engine.query(move |logs| {
        let log = logs.get(&origin).ok_or(ApiError::NotFound("log"))?;
        let approval = asked_by(log, &stream, seq).ok_or(ApiError::NotFound("approval"))?;
        let now = Timestamp::now();
        let question = log.state().approval(&approval);
        let about = question
            .filter(|it| it.state(now) == ApprovalState::Sealing)
            .map(|it| About {
                at: now,
                subject: it.subject,
            });
        Ok((approval, log.tenant().to_owned(), about))
    });
    let (approval, tenant, about) = asked.await?;
    let Some(about) = about else {
        // The equal question of an earlier request keeps that one's bytes.
        return Ok(StatusCode::NO_CONTENT);
    };
    let aad = sealed_aad(&approval);
    let ciphertext = context.vault.seal(&tenant, &about, aad.as_bytes(), &body);
    let (digest, mut kept) = blob(
        BlobKind::Sealed,
        ciphertext.map_err(|error| ApiError::Malformed(error.to_string()))?,
    );
    kept.name = sealed_name(&approval);
    let bytes = body.len() as u64;
    let checked = move |log: &Log, now| {
        let standing = log
            .state()
            .approval(&approval)
            .map(|approval| approval.state(now));
        match standing {
            Some(ApprovalState::Sealing) => Ok(EventBody::Sealed {
                approval: approval.clone(),
                stream,
                seq,
                blob: digest,
                bytes,
            }),
            _ => Err(ApiError::Conflict {
                code: "not_sealing",
                detail: "the request is kept already".to_owned(),
            }),
        }
    };
    context
        .engine
        .event(sidecar.origin, vec![kept], checked)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/streams/{stream}/sealed-requests/{approval}`
pub(super) async fn sealed(
    State(context): State<Context>,
    sidecar: Sidecar,
    Path((_, approval)): Path<(String, String)>,
) -> Result<impl IntoResponse, ApiError> {
    let origin = sidecar.origin.clone();
    let id = approval.clone();
    let found = context.engine.submit(
        move |staging| {
            let log = staging.log(&origin)?;
            acting(log, &sidecar.stream, Timestamp::now())?;
            own_approval(log, &sidecar.stream, &id)?;
            let name = sealed_name(&id);
            let bytes = staging
                .blob(&name)?
                .ok_or(ApiError::NotFound("sealed request"))?;
            Ok((log_tenant(staging.log(&origin)?), bytes))
        },
        |found, _| Ok(found),
    );
    let (tenant, ciphertext) = found.await?;
    let opened = context
        .vault
        .open_sealed(&tenant, sealed_aad(&approval).as_bytes(), &ciphertext);
    let opened = opened.map_err(|error| ApiError::Malformed(error.to_string()))?;
    Ok((
        [(CONTENT_TYPE, "application/octet-stream")],
        opened.to_vec(),
    ))
}

/// `GET /v1/streams/{stream}/approvals/{approval}`
pub(super) async fn approval(
    State(context): State<Context>,
    sidecar: Sidecar,
    Path((_, id)): Path<(String, String)>,
) -> Result<impl IntoResponse, ApiError> {
    let found = context.engine.query(move |logs| {
        let log = logs.get(&sidecar.origin).ok_or(ApiError::NotFound("log"))?;
        let approval = own_approval(log, &sidecar.stream, &id)?;
        let state = approval.state(Timestamp::now()).word();
        let expires = actpass_core::canonical::instant(approval.expires);
        let hold = approval.needed.hold_seconds();
        Ok(Json(serde_json::json!({
            "id": approval.id, "state": state, "expires": expires, "holdSeconds": hold,
        })))
    });
    found.await
}

/// The passport that a stream acts under, as long as it may: secrets and kept requests are for nobody else.
fn acting<'a>(
    log: &'a Log,
    stream: &actpass_core::hash::StreamId,
    now: Timestamp,
) -> Result<&'a Passport, ApiError> {
    let no = |detail: &str| ApiError::Forbidden(detail.to_owned());
    let state = log.state();
    let opened = state.stream(stream).filter(|it| it.ended.is_none());
    let opened = opened.ok_or(ApiError::NotFound("open stream"))?;
    if state.is_revoked(&opened.passport) {
        return Err(no("the passport is revoked"));
    }
    if now >= opened.expires {
        return Err(no("the passport has expired"));
    }
    let bundle = state.active().ok_or_else(no_policy)?;
    let passport = bundle.passport(&opened.passport);
    let passport = passport.ok_or_else(|| no("the policy knows the passport no more"))?;
    if passport.suspended {
        return Err(no("the passport is suspended"));
    }
    if passport.not_after.is_some_and(|end| now >= end) {
        return Err(no("the passport is past its end"));
    }
    Ok(passport)
}

/// An approval of the passport that the stream acts under, whichever of its streams asked.
fn own_approval<'a>(
    log: &'a Log,
    stream: &StreamId,
    id: &str,
) -> Result<&'a actpass_core::state::Approval, ApiError> {
    let passport = log.state().stream(stream).map(|stream| &stream.passport);
    let approval = log
        .state()
        .approval(id)
        .filter(|approval| Some(&approval.passport) == passport);
    approval.ok_or(ApiError::NotFound("approval"))
}

/// The approval that the escalation of this intent asked for or joined.
fn asked_by(log: &Log, stream: &StreamId, seq: u64) -> Option<String> {
    let stored = log.answered(stream, seq)?;
    let leaf = Leaf::parse(stored.leaf.as_bytes()).ok()?;
    match leaf.d?.approval? {
        RulingApproval::Asked { id, .. } | RulingApproval::Pending { id } => Some(id),
        RulingApproval::Used { .. } => None,
    }
}

fn log_tenant(log: &Log) -> String {
    log.tenant().to_owned()
}

fn no_policy() -> ApiError {
    ApiError::Conflict {
        code: "no_policy",
        detail: "no policy is active for this tenant".to_owned(),
    }
}
