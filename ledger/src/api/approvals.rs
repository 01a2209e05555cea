//! Questions to people: shown as facts they can judge, answered once each.

mod sent;

use std::collections::BTreeMap;

use actpass_core::action::{Action, ActionEvidence};
use actpass_core::canonical;
use actpass_core::decide::EscalateReason;
use actpass_core::evidence::commitment::Openings;
use actpass_core::passport::Passport;
use actpass_core::state::{Approval, ApprovalState, Vote};
use actpass_core::upstream::{ActionSpec, AttributeValue};
use actpass_core::wire::{ApprovalBrief, ApprovalView, SeatView, SentView, VoteView};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::auth::Caller;
use super::gate::{Resource, Verb};
use super::{Context, control};
use crate::engine::{Log, Logs, Staging, sealed_aad, sealed_name, side_frame_aad};
use crate::error::ApiError;

/// Most closed questions in one answer: those that ended last.
const CLOSED_MAX: usize = 500;

/// Most bytes of what was sent, of all questions of a list together. Escaped as JSON each is six at most.
const LIST_SENT_BYTES_MAX: usize = 2 << 20;

/// Questions of a list that are read together. Each may have a request of 1 MiB, and who wants a permit waits meanwhile.
const TOGETHER: usize = 8;

/// What of the list is wanted.
#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    /// Only where each stands.
    #[serde(default)]
    brief: bool,
    /// Of those that are closed only what expires later.
    since: Option<Timestamp>,
}

/// `GET /v1/approvals`: all that are open, the oldest first, then those that are closed.
pub(super) async fn list(
    State(context): State<Context>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
) -> Result<Response, ApiError> {
    let allowed = caller.may(&context, Verb::Get, Resource::Evidence, None);
    let origin = allowed.await?.origin;
    let Wanted { brief, since } = wanted;
    let now = Timestamp::now();
    if brief {
        let read = move |logs: &Logs| {
            let log = logs.get(&origin).ok_or(ApiError::NotFound("log"))?;
            let found = ordered(log.state().approvals(), since, now).into_iter();
            Ok(found.map(|it| in_brief(it, now)).collect::<Vec<_>>())
        };
        return Ok(Json(context.engine.query(read).await?).into_response());
    }
    let log = origin.clone();
    let read = move |logs: &Logs| {
        let log = logs.get(&log).ok_or(ApiError::NotFound("log"))?;
        let found = ordered(log.state().approvals(), since, now).into_iter();
        Ok(found.map(|it| it.id.clone()).collect::<Vec<_>>())
    };
    let ids = context.engine.query(read).await?;
    let (mut views, mut left) = (Vec::new(), LIST_SENT_BYTES_MAX);
    for some in ids.chunks(TOGETHER) {
        let (origin, some) = (origin.clone(), some.to_vec());
        let stage = move |staging: &mut Staging<'_>| {
            let state = staging.log(&origin)?.state();
            // One that ended may be forgotten since.
            let there = some.iter().filter(|id| state.approval(id).is_some());
            let found = there.map(|id| find(staging, &origin, id, Depth::Listed));
            found.collect::<Result<Vec<_>, _>>()
        };
        let found = context.engine.submit(stage, |found, _| Ok(found)).await?;
        let found = found.into_iter();
        views.extend(found.map(|found| shortened(view(&context, found), &mut left)));
    }
    Ok(Json(views).into_response())
}

/// All that people wait for, or may still run, in the order in which it was asked; then the rest, what ended last first.
fn ordered<'a>(
    approvals: impl Iterator<Item = &'a Approval>,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Vec<&'a Approval> {
    let (mut open, mut closed): (Vec<_>, Vec<_>) =
        approvals.partition(|approval| may_run(approval.state(now)));
    open.sort_by_key(|approval| approval.asked);
    closed.retain(|approval| since.is_none_or(|since| approval.expires > since));
    closed.sort_by_key(|approval| std::cmp::Reverse(approval.expires));
    closed.truncate(CLOSED_MAX);
    open.extend(closed);
    open
}

fn may_run(state: ApprovalState) -> bool {
    matches!(
        state,
        ApprovalState::Sealing | ApprovalState::Pending | ApprovalState::Granted
    )
}

fn in_brief(approval: &Approval, now: Timestamp) -> ApprovalBrief {
    ApprovalBrief {
        id: approval.id.clone(),
        state: approval.state(now).word().to_owned(),
        asked: approval.asked,
        expires: approval.expires,
        votes: approval.votes.iter().map(vote_view).collect(),
    }
}

fn vote_view(vote: &Vote) -> VoteView {
    VoteView {
        user: vote.user.clone(),
        grant: vote.grant,
        time: vote.time,
    }
}

/// `GET /v1/approvals/{id}`
pub(super) async fn show(
    State(context): State<Context>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<ApprovalView>, ApiError> {
    let allowed = caller.may(&context, Verb::Get, Resource::Evidence, None);
    let origin = allowed.await?.origin;
    Ok(Json(shown(&context, origin, id).await?))
}

/// All that people are shown of one approval.
pub(super) async fn shown(
    context: &Context,
    origin: String,
    id: String,
) -> Result<ApprovalView, ApiError> {
    let found = context.engine.submit(
        move |staging| find(staging, &origin, &id, Depth::Whole),
        |found, _| Ok(found),
    );
    Ok(view(context, found.await?))
}

/// An approval with the ciphertext of the texts behind it.
struct Found {
    approval: Approval,
    passport: Option<Passport>,
    tenant: String,
    aad: String,
    /// The texts behind its intent, or why they are not at hand.
    side_frame: Result<Vec<u8>, String>,
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
    /// It is damaged.
    Unreadable(String),
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
    let tenant = log.tenant().to_owned();
    // What is damaged in one question says nothing of the others, so it is part of the answer.
    let side_frame = match staging.sealed_beside(origin, approval.leaf, &name) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => {
            Err("the texts of this request are missing; `actpass verify` says more".to_owned())
        }
        Err(error) => Err(error.to_string()),
    };
    let kept = match depth {
        Depth::Listed if !may_run(approval.state(now)) => Kept::LeftOut,
        Depth::Listed | Depth::Whole => match staging.blob(&sealed_name(id)) {
            Ok(Some(bytes)) => Kept::Sealed(bytes),
            Ok(None) => Kept::Nothing,
            Err(error) => Kept::Unreadable(error.to_string()),
        },
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

/// A view as a list carries it, which has `left` bytes left for what was sent.
fn shortened(mut view: ApprovalView, left: &mut usize) -> ApprovalView {
    (view.sent, view.sent_more) = sent::listed(std::mem::take(&mut view.sent), left);
    view
}

fn view(context: &Context, found: Found) -> ApprovalView {
    let now = Timestamp::now();
    let facts = match reveal(context, &found) {
        Ok(action) => Facts::of(context, &found, action),
        Err(why) => {
            let erasure = found.approval.erased.as_ref();
            let why = erasure.map_or(why, |id| format!("its texts are erased, by {id}"));
            Facts::in_clear(found.approval.judged.action.as_ref(), why)
        }
    };
    let approval = found.approval;
    let because = match approval.needed.because {
        EscalateReason::RequiredByRule => "required_by_rule",
        EscalateReason::Irreversible => "irreversible",
        EscalateReason::LimitExceeded => "limit_exceeded",
    };
    ApprovalView {
        id: approval.id.clone(),
        digest: approval.digest.to_string(),
        state: approval.state(now).word().to_owned(),
        capability: facts.capability,
        effect: facts.effect,
        amount: facts.amount,
        resource: facts.resource,
        target: facts.target,
        agent: facts.agent,
        passport: approval.passport.clone(),
        owner: approval.owner.clone(),
        purpose: found
            .passport
            .map(|passport| passport.purpose)
            .unwrap_or_default(),
        rationale: facts.rationale,
        attributes: facts.attributes,
        sent: facts.sent,
        sent_more: 0,
        unseen: facts.unseen,
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
        votes: approval.votes.iter().map(vote_view).collect(),
    }
}

/// What a view says of the action itself.
#[derive(Default)]
struct Facts {
    capability: String,
    effect: String,
    amount: Option<String>,
    resource: Option<String>,
    target: String,
    agent: String,
    rationale: Option<String>,
    attributes: BTreeMap<String, String>,
    sent: Vec<SentView>,
    unseen: Option<String>,
}

impl Facts {
    fn of(context: &Context, found: &Found, action: Action) -> Self {
        let (sent, unseen) = sent_with(context, found, &action);
        let attributes = action.attributes.iter();
        Self {
            capability: action.capability.to_string(),
            effect: format!("{:?}", action.effect),
            amount: action.amount.map(|amount| amount.to_string()),
            target: format!(
                "{} https://{}:{}{}",
                action.method, action.host, action.port, action.path
            ),
            attributes: attributes
                .map(|(name, attribute)| (name.clone(), plain(&attribute.value)))
                .collect(),
            resource: action.resource,
            agent: action.agent,
            rationale: action.hints.rationale,
            sent,
            unseen,
        }
    }

    /// What the leaf says in clear, of a question whose texts cannot be shown.
    fn in_clear(action: Option<&ActionEvidence>, why: String) -> Self {
        let unseen = Some(why);
        let Some(action) = action else {
            return Self {
                unseen,
                ..Self::default()
            };
        };
        let attributes = action.attributes.iter();
        Self {
            capability: action.capability.to_string(),
            effect: format!("{:?}", action.effect),
            amount: action.amount.map(|amount| amount.to_string()),
            target: format!(
                "{} https://{}:{}{}",
                action.method, action.host, action.port, action.path_template
            ),
            attributes: attributes
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect(),
            agent: action.agent.clone(),
            unseen,
            ..Self::default()
        }
    }
}

/// What goes out with an action, and why not all of it is known.
fn sent_with(context: &Context, found: &Found, action: &Action) -> (Vec<SentView>, Option<String>) {
    let mut sent = sent::beside_the_body(action);
    let body = match &found.kept {
        Kept::LeftOut => return (Vec::new(), None),
        Kept::Nothing if action.body_bytes == 0 => Ok(Vec::new()),
        Kept::Nothing => Err("the request is not kept".to_owned()),
        Kept::Unreadable(why) => Err(why.clone()),
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
    let aad = sealed_aad(&found.approval.id);
    let opened = context
        .vault
        .open_sealed(&found.tenant, aad.as_bytes(), sealed)
        .map_err(|error| error.to_string())?;
    sent::body(&opened).map_err(|error| error.to_string())
}

/// The action as it was judged, or why it cannot be shown.
fn reveal(context: &Context, found: &Found) -> Result<Action, String> {
    let sealed = found.side_frame.as_ref().map_err(Clone::clone)?;
    let opened = context
        .vault
        .open_sealed(&found.tenant, found.aad.as_bytes(), sealed);
    let opened = opened.map_err(|error| error.to_string())?;
    let openings: Openings = canonical::from_slice(&opened).map_err(|error| error.to_string())?;
    let evidence = found.approval.judged.action.as_ref();
    let evidence = evidence.ok_or_else(|| "the question names no action".to_owned())?;
    evidence
        .reveal(&openings)
        .map_err(|error| error.to_string())
}

fn plain(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Boolean(value) => value.to_string(),
        AttributeValue::Integer(value) => value.to_string(),
        AttributeValue::String(value) => value.clone(),
    }
}
