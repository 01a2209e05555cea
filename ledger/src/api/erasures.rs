//! Erasures: the keys of texts are destroyed, and a leaf says so.
//!
//! *Flow.* Count what is there under these keys, beside the sequencer; destroy the keys, durably; log that it was done.
//! *What a crash leaves.* Before the keys are gone: nothing happened. After it: the vault remembers what the leaf has to say, and the
//! next start logs it before anything is answered. So no leaf says what was not done.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use actpass_core::evidence::leaf::{EventBody, FIELD_BYTES_MAX, bounded};
use actpass_core::hash::hex;
use actpass_core::state::{ApprovalState, ERASURES_MAX, Erasure, month_of};
use actpass_core::wire::{EraseRequest, ErasedView, ErasureView};
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;

use super::Context;
use super::auth::{Allowed, Caller};
use super::evidence::Reader;
use super::gate::{Resource, Verb};
use crate::engine::{Log, Logs, Staging};
use crate::error::ApiError;
use crate::storage::{BlobKind, Entry, StorageError};
use crate::vault::{Doomed, KeyName, Vault, VaultError, is_recorded};

/// `GET /v1/erasures`: all, the oldest first.
pub(super) async fn list(
    State(context): State<Context>,
    caller: Caller,
) -> Result<Json<Vec<ErasureView>>, ApiError> {
    let allowed = caller.may(&context, Verb::Get, Resource::Evidence, None);
    let origin = allowed.await?.origin;
    let read = move |logs: &Logs| {
        let log = logs.get(&origin).ok_or(ApiError::NotFound("log"))?;
        Ok(log.state().erasures().iter().map(view).collect())
    };
    Ok(Json(context.engine.query(read).await?))
}

/// `POST /v1/erasures`
pub(super) async fn erase(
    State(context): State<Context>,
    caller: Caller,
    Json(request): Json<EraseRequest>,
) -> Result<Json<ErasedView>, ApiError> {
    let allowed = caller.may(&context, Verb::Delete, Resource::Evidence, None);
    let allowed = allowed.await?;
    let why = checked(&request)?;
    // One after the other, so that the log tells of them in the order in which keys went.
    let turn = context.erasing.clone().lock_owned().await;
    let (doomed, questions) = found(&context, &allowed.origin, request).await?;
    let counted = count(&context, &allowed, doomed).await?;
    let mut erased = ErasedView {
        id: None,
        subject: subject_of(&doomed).map(|mac| mac.to_string()),
        before: before_of(&doomed),
        texts: counted.texts,
        requests: counted.requests,
        questions,
    };
    let Some(why) = why else {
        return Ok(Json(erased));
    };
    if counted.texts + counted.requests + questions == 0 {
        // What went before may not be in the log yet.
        record(&context, &allowed).await?;
        return Ok(Json(erased));
    }
    let id = new_id()?;
    erased.id = Some(id.clone());
    let (log, by) = (allowed.origin.clone(), allowed.person.user.clone());
    // Whoever asked may go away meanwhile: what was begun is done, and the next waits for it.
    let done = tokio::spawn(async move {
        let _turn = turn;
        destroy(&context, &allowed, doomed, id, why).await?;
        record(&context, &allowed).await?;
        forget(&context, &allowed).await;
        Ok::<(), ApiError>(())
    });
    done.await.map_err(|_| ApiError::Poisoned)??;
    tracing::info!(%log, id = erased.id, %by, texts = erased.texts, requests = erased.requests, "Texts were erased");
    Ok(Json(erased))
}

/// The ground of an erasure; none where it is only asked what it would be.
fn checked(request: &EraseRequest) -> Result<Option<String>, ApiError> {
    let refuse = |what: &str| Err(ApiError::Malformed(what.to_owned()));
    if request.subject.is_some() == request.before.is_some() {
        return refuse("an erasure is of one `subject`, or of all `before` a month");
    }
    let long = |text: &String| text.is_empty() || bounded(text) != *text;
    if request.subject.as_ref().is_some_and(long) {
        return refuse(&format!(
            "a subject is text of 1 to {FIELD_BYTES_MAX} bytes"
        ));
    }
    if request.dry_run {
        return Ok(None);
    }
    match &request.why {
        Some(why) if !long(why) => Ok(Some(why.clone())),
        _ => refuse(&format!(
            "`why` says on what ground, in 1 to {FIELD_BYTES_MAX} bytes; it stands in the log in clear, so name no person there"
        )),
    }
}

/// Which keys go, and how many questions to people end with them.
async fn found(
    context: &Context,
    origin: &str,
    request: EraseRequest,
) -> Result<(Doomed, u64), ApiError> {
    let (origin, now) = (origin.to_owned(), Timestamp::now());
    let vault = context.vault.clone();
    let read = move |logs: &Logs| {
        let log = logs.get(&origin).ok_or(ApiError::NotFound("log"))?;
        // Before any key goes: the log would not take the leaf.
        if !request.dry_run && room(log, &vault)? == 0 {
            return Err(ApiError::Conflict {
                code: "too_many_erasures",
                detail: format!("a log has {ERASURES_MAX} erasures at most, and this one has them"),
            });
        }
        let before = request.before.as_deref().map(str::parse::<Timestamp>);
        let doomed = match (&request.subject, before.and_then(Result::ok)) {
            (Some(subject), _) => Doomed::Subject(log.subject(subject)),
            (None, Some(before)) if before <= now => Doomed::Before(month_of(before)),
            (None, _) => {
                return Err(ApiError::Malformed(
                    "`before` is an instant of a day that has come: whole months before that day's are erased"
                        .to_owned(),
                ));
            }
        };
        Ok((doomed, questions(log, &doomed, now)))
    };
    context.engine.query(read).await
}

/// How many erasures the log can still tell of.
fn room(log: &Log, vault: &Vault) -> Result<usize, ApiError> {
    let logged = log.state().erasures();
    let unrecorded = vault.unrecorded(log.tenant());
    let unrecorded = unrecorded.map_err(|error| refused(&error.to_string()))?;
    let waiting = unrecorded
        .iter()
        .filter(|event| !is_recorded(event, logged));
    let used = logged.len().saturating_add(waiting.count());
    Ok(ERASURES_MAX.saturating_sub(used))
}

fn questions(log: &Log, doomed: &Doomed, now: Timestamp) -> u64 {
    let open = log.state().approvals().filter(|approval| {
        let state = approval.state(now);
        let open = [
            ApprovalState::Sealing,
            ApprovalState::Pending,
            ApprovalState::Granted,
        ];
        open.contains(&state)
            && match doomed {
                Doomed::Subject(subject) => approval.subject == Some(*subject),
                Doomed::Before(before) => approval.asked < *before,
            }
    });
    open.count() as u64
}

/// What can be read now, and not after the erasure.
#[derive(Default)]
struct Counted {
    texts: u64,
    requests: u64,
}

async fn count(context: &Context, allowed: &Allowed, doomed: Doomed) -> Result<Counted, ApiError> {
    let (vault, origin) = (context.vault.clone(), allowed.origin.clone());
    let tenant = allowed.tenant().to_owned();
    let counted = context
        .evidence
        .look(move |reader| counted(reader, &vault, (&origin, &tenant), &doomed));
    counted.await
}

fn counted(
    mut reader: Reader,
    vault: &Vault,
    (origin, tenant): (&str, &str),
    doomed: &Doomed,
) -> Result<Counted, StorageError> {
    let mut counted = Counted::default();
    // Texts of a subject lie under a key for each month and generation.
    let mut known: HashMap<KeyName, bool> = HashMap::new();
    reader.replay(origin, &mut |entry| {
        if let Entry::Blob {
            log, kind, bytes, ..
        } = entry
            && log == origin
            && let Some(name) = KeyName::of(bytes).filter(|name| name.is_among(doomed))
            && *known
                .entry(name)
                .or_insert_with(|| vault.can_open(tenant, &name))
        {
            match kind {
                BlobKind::SideFrame { .. } => counted.texts += 1,
                BlobKind::Sealed => counted.requests += 1,
                BlobKind::Bundle | BlobKind::State => {}
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(counted)
}

async fn destroy(
    context: &Context,
    allowed: &Allowed,
    doomed: Doomed,
    id: String,
    why: String,
) -> Result<(), ApiError> {
    let (vault, tenant) = (context.vault.clone(), allowed.tenant().to_owned());
    let by = allowed.person.user.clone();
    let destroyed = tokio::task::spawn_blocking(move || {
        vault.destroy(&tenant, &doomed, |generation| EventBody::Erasure {
            id: id.clone(),
            subject: subject_of(&doomed),
            generation,
            before: before_of(&doomed),
            by: by.clone(),
            why: why.clone(),
        })
    });
    let destroyed = destroyed
        .await
        .map_err(|error| refused(&error.to_string()))?;
    destroyed.map(drop).map_err(|error| match error {
        // They may be gone all the same; asking again says so and logs it.
        VaultError::Away(_) => ApiError::Stalled,
        error => refused(&error.to_string()),
    })
}

/// Logs what the vault has destroyed and the log does not tell of.
async fn record(context: &Context, allowed: &Allowed) -> Result<(), ApiError> {
    let (vault, origin) = (context.vault.clone(), allowed.origin.clone());
    let tenant = allowed.tenant().to_owned();
    let stage = move |staging: &mut Staging<'_>| stage(staging, &vault, &origin, &tenant);
    let told = |refused: Option<ApiError>, _: &Logs| refused.map_or(Ok(()), Err);
    let recorded = context.engine.submit(stage, told).await;
    recorded.map_err(|error| ApiError::Conflict {
        code: "erased_unrecorded",
        detail: format!(
            "the texts are erased, and the log does not say so yet ({error}): ask for the same again; the next erasure logs it too, \
             and the next start of the ledger"
        ),
    })
}

/// What the vault remembers, each in a leaf; the first that the log does not take keeps none of the others back.
fn stage(
    staging: &mut Staging<'_>,
    vault: &Arc<Vault>,
    origin: &str,
    tenant: &str,
) -> Result<Option<ApiError>, ApiError> {
    let unrecorded = vault.unrecorded(tenant);
    let unrecorded = unrecorded.map_err(|error| refused(&error.to_string()))?;
    let mut not_taken = None;
    for event in unrecorded {
        if is_recorded(&event, staging.log(origin)?.state().erasures()) {
            continue;
        }
        let now = staging.now(origin)?;
        if let Err(error) = staging.event(origin, now, event, Vec::new()) {
            tracing::error!(%error, log = %origin, "An erasure is not in its log");
            not_taken.get_or_insert(error);
        }
    }
    Ok(not_taken)
}

/// Has the vault forget what the log tells of.
async fn forget(context: &Context, allowed: &Allowed) {
    let (origin, tenant) = (allowed.origin.clone(), allowed.tenant().to_owned());
    let logged = move |logs: &Logs| {
        let log = logs.get(&origin).ok_or(ApiError::NotFound("log"))?;
        Ok(log.state().erasures().to_vec())
    };
    let Ok(erasures) = context.engine.query(logged).await else {
        return;
    };
    let vault = context.vault.clone();
    let followed = tokio::task::spawn_blocking(move || vault.follow(&tenant, &erasures)).await;
    if let Ok(Err(error)) = followed {
        tracing::warn!(%error, "The vault remembers an erasure that is logged, until the next");
    }
}

fn subject_of(doomed: &Doomed) -> Option<actpass_core::hash::DigestMac> {
    match doomed {
        Doomed::Subject(mac) => Some(*mac),
        Doomed::Before(_) => None,
    }
}

fn before_of(doomed: &Doomed) -> Option<Timestamp> {
    match doomed {
        Doomed::Subject(_) => None,
        Doomed::Before(before) => Some(*before),
    }
}

/// `ers_` and 20 hex digits at random: it says nothing of what was erased.
fn new_id() -> Result<String, ApiError> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| refused(&error.to_string()))?;
    Ok(format!("ers_{}", hex(&random)))
}

fn refused(what: &str) -> ApiError {
    ApiError::Conflict {
        code: "vault",
        detail: what.to_owned(),
    }
}

fn view(erasure: &Erasure) -> ErasureView {
    ErasureView {
        id: erasure.id.clone(),
        leaf: erasure.leaf,
        time: erasure.time,
        subject: erasure.subject.map(|mac| mac.to_string()),
        before: erasure.before,
        by: erasure.by.clone(),
        why: erasure.why.clone(),
    }
}
