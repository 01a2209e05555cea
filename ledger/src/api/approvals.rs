//! Questions to people: shown as facts they can judge, answered once each.

mod sent;

use actpass_core::action::Action;
use actpass_core::canonical;
use actpass_core::decide::EscalateReason;
use actpass_core::evidence::commitment::Openings;
use actpass_core::evidence::leaf::EventBody;
use actpass_core::passport::Passport;
use actpass_core::state::{Approval, ApprovalState};
use actpass_core::upstream::{ActionSpec, AttributeValue};
use actpass_core::wire::{ApprovalView, SeatView, SentView, VoteRequest, VoteView};
use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;

use super::auth::Person;
use super::{Context, control, streams};
use crate::engine::{Log, Staging, side_frame_aad};
use crate::error::ApiError;

/// `GET /v1/approvals`
pub(super) async fn list(
    State(context): State<Context>,
    _: Person,
) -> Result<Json<Vec<ApprovalView>>, ApiError> {
    let found = context.engine.submit(
        |staging| {
            let ids: Vec<(String, String)> = staging
                .logs()
                .flat_map(|log| {
                    log.state()
                        .approvals()
                        .map(|approval| (log.origin().to_owned(), approval.id.clone()))
                })
                .collect();
            ids.iter()
                .map(|(origin, id)| find(staging, origin, id, Depth::Listed))
                .collect::<Result<Vec<_>, _>>()
        },
        |found, _| Ok(found),
    );
    let mut views = found
        .await?
        .into_iter()
        .map(|found| view(&context, found).map(shortened))
        .collect::<Result<Vec<_>, _>>()?;
    views.sort_by_key(|view| view.asked);
    Ok(Json(views))
}

/// `GET /v1/approvals/{id}`
pub(super) async fn show(
    State(context): State<Context>,
    _: Person,
    Path(id): Path<String>,
) -> Result<Json<ApprovalView>, ApiError> {
    let found = context.engine.submit(
        move |staging| {
            let origin = origin_of(staging, &id)?;
            find(staging, &origin, &id, Depth::Whole)
        },
        |found, _| Ok(found),
    );
    Ok(Json(view(&context, found.await?)?))
}

/// `POST /v1/approvals/{id}/votes`
pub(super) async fn vote(
    State(context): State<Context>,
    person: Person,
    Path(id): Path<String>,
    Json(request): Json<VoteRequest>,
) -> Result<Json<ApprovalView>, ApiError> {
    let shown = id.clone();
    let found = context.engine.submit(
        move |staging| {
            let origin = origin_of(staging, &id)?;
            let now = staging.now(&origin)?;
            let state = staging.log(&origin)?.state();
            // Whoever holds the control token of local mode counts for every group that is asked.
            let approval = state.approval(&id).ok_or(ApiError::NotFound("approval"))?;
            let mut groups: Vec<String> = approval
                .needed
                .seats
                .iter()
                .flat_map(|seat| seat.groups.clone())
                .collect();
            groups.sort();
            groups.dedup();
            state
                .check_vote(&id, &person.user, &groups, now)
                .map_err(|refused| ApiError::Conflict {
                    code: "vote_refused",
                    detail: refused.to_string(),
                })?;
            let vote = EventBody::Vote {
                approval: id,
                grant: request.grant,
                user: person.user,
                groups,
            };
            staging.event(&origin, now, vote, Vec::new())?;
            find(staging, &origin, &shown, Depth::Whole)
        },
        |found, _| Ok(found),
    );
    Ok(Json(view(&context, found.await?)?))
}

/// An approval with the ciphertext of the texts behind it.
struct Found {
    approval: Approval,
    passport: Option<Passport>,
    tenant: String,
    aad: String,
    side_frame: Option<Vec<u8>>,
    kept: Kept,
    declared: Option<ActionSpec>,
    limits: Vec<actpass_core::wire::LimitView>,
}

/// The request as it was kept.
enum Kept {
    /// Not looked up, since nobody is asked any more.
    LeftOut,
    /// There is none, or none yet.
    Nothing,
    /// Its ciphertext.
    Sealed(Vec<u8>),
}

/// How much of a question is looked up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// For a list: kept requests, up to 1 MiB each, only while they may still run.
    Listed,
    /// All of it.
    Whole,
}

fn origin_of(staging: &Staging<'_>, id: &str) -> Result<String, ApiError> {
    let log = staging
        .logs()
        .find(|log| log.state().approval(id).is_some());
    log.map(|log| log.origin().to_owned())
        .ok_or(ApiError::NotFound("approval"))
}

fn find(staging: &Staging<'_>, origin: &str, id: &str, depth: Depth) -> Result<Found, ApiError> {
    let log: &Log = staging.log(origin)?;
    let approval = log
        .state()
        .approval(id)
        .ok_or(ApiError::NotFound("approval"))?
        .clone();
    let aad = side_frame_aad(origin, approval.leaf);
    let name = actpass_core::hash::sha256(&[aad.as_bytes()]);
    let active = log.state().active();
    let passport = active
        .and_then(|bundle| bundle.passport(&approval.passport))
        .cloned();
    let action = approval.judged.action.as_ref();
    let declared = active
        .zip(action)
        .and_then(|(bundle, action)| bundle.action(&action.capability))
        .map(|(_, spec)| spec.clone());
    let now = Timestamp::now();
    let limits = control::limit_views(log, Some(&approval.passport), now);
    let (tenant, side_frame) = (log.tenant().to_owned(), staging.blob(&name)?);
    let may_run = matches!(
        approval.state(now),
        ApprovalState::Sealing | ApprovalState::Pending | ApprovalState::Granted
    );
    let kept = match depth {
        Depth::Listed if !may_run => Kept::LeftOut,
        Depth::Listed | Depth::Whole => staging
            .blob(&streams::sealed_name(id))?
            .map_or(Kept::Nothing, Kept::Sealed),
    };
    Ok(Found {
        approval,
        passport,
        tenant,
        aad,
        side_frame,
        kept,
        declared,
        limits,
    })
}

/// A view as a list carries it.
fn shortened(mut view: ApprovalView) -> ApprovalView {
    (view.sent, view.sent_more) = sent::listed(std::mem::take(&mut view.sent));
    view
}

fn view(context: &Context, found: Found) -> Result<ApprovalView, ApiError> {
    let now = Timestamp::now();
    let action = reveal(context, &found)?;
    let (sent, unseen) = sent_with(context, &found, &action);
    let approval = found.approval;
    let because = match approval.needed.because {
        EscalateReason::RequiredByRule => "required_by_rule",
        EscalateReason::Irreversible => "irreversible",
        EscalateReason::LimitExceeded => "limit_exceeded",
    };
    let attributes = action
        .attributes
        .iter()
        .map(|(name, attribute)| (name.clone(), plain(&attribute.value)));
    Ok(ApprovalView {
        id: approval.id.clone(),
        state: approval.state(now).word().to_owned(),
        capability: action.capability.to_string(),
        effect: format!("{:?}", action.effect),
        amount: action.amount.map(|amount| amount.to_string()),
        resource: action.resource.clone(),
        target: format!(
            "{} https://{}:{}{}",
            action.method, action.host, action.port, action.path
        ),
        agent: action.agent.clone(),
        passport: approval.passport.clone(),
        owner: approval.owner.clone(),
        purpose: found
            .passport
            .map(|passport| passport.purpose)
            .unwrap_or_default(),
        rationale: action.hints.rationale.clone(),
        attributes: attributes.collect(),
        sent,
        sent_more: 0,
        unseen,
        rules: approval.rules.clone(),
        because: because.to_owned(),
        limits: found.limits,
        over_limits: approval
            .needed
            .over_limits
            .iter()
            .map(control::over_limit_view)
            .collect(),
        seats: approval
            .needed
            .seats
            .iter()
            .map(|seat| SeatView {
                groups: seat.groups.clone(),
                quorum: seat.quorum,
            })
            .collect(),
        asked: approval.asked,
        expires: approval.expires,
        votes: approval
            .votes
            .iter()
            .map(|vote| VoteView {
                user: vote.user.clone(),
                grant: vote.grant,
                time: vote.time,
            })
            .collect(),
    })
}

/// What goes out with an action, and why not all of it is known.
fn sent_with(context: &Context, found: &Found, action: &Action) -> (Vec<SentView>, Option<String>) {
    let mut sent = sent::beside_the_body(action);
    let body = match &found.kept {
        Kept::LeftOut => return (Vec::new(), None),
        Kept::Nothing if action.body_bytes == 0 => Ok(Vec::new()),
        Kept::Nothing => Err("the request is not kept".to_owned()),
        Kept::Sealed(sealed) => body_of(context, found, sealed),
    };
    let unseen = match body {
        Ok(body) => {
            sent.extend(body);
            None
        }
        Err(why) => Some(format!("the body, {} bytes: {why}", action.body_bytes)),
    };
    if let Some(declared) = &found.declared {
        sent::mark_facts(&mut sent, declared);
    }
    (sent, unseen)
}

fn body_of(context: &Context, found: &Found, sealed: &[u8]) -> Result<Vec<SentView>, String> {
    let aad = streams::sealed_aad(&found.approval.id);
    let opened = context
        .vault
        .open_sealed(&found.tenant, aad.as_bytes(), sealed)
        .map_err(|error| error.to_string())?;
    sent::body(&opened).map_err(|error| error.to_string())
}

fn reveal(context: &Context, found: &Found) -> Result<Action, ApiError> {
    let erased = || ApiError::Conflict {
        code: "erased",
        detail: "the texts of this request are erased".to_owned(),
    };
    let sealed = found.side_frame.as_ref().ok_or_else(erased)?;
    let opened = context
        .vault
        .open_sealed(&found.tenant, found.aad.as_bytes(), sealed);
    let opened = opened.map_err(|error| ApiError::Malformed(error.to_string()))?;
    let openings: Openings =
        canonical::from_slice(&opened).map_err(|error| ApiError::Malformed(error.to_string()))?;
    let evidence = found.approval.judged.action.as_ref().ok_or_else(erased)?;
    evidence
        .reveal(&openings)
        .map_err(|error| ApiError::Malformed(error.to_string()))
}

fn plain(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Boolean(value) => value.to_string(),
        AttributeValue::Integer(value) => value.to_string(),
        AttributeValue::String(value) => value.clone(),
    }
}
