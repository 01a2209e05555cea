//! Answers to questions: of whoever holds the control token, or of a person as the webhook stamped them.

use actpass_core::canonical::excerpt;
use actpass_core::evidence::leaf::EventBody;
use actpass_core::state::{Approval, VoteRefused};
use actpass_core::vote::{SignedVote, Vote, VoteKeys};
use actpass_core::wire::{ApprovalView, VoteRequest};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::de::DeserializeOwned;

use super::auth::{Allowed, Caller};
use super::gate::{People, Person, Resource, Verb};
use super::{Context, approvals, control};
use crate::engine::Staging;
use crate::error::ApiError;

/// `POST /v1/approvals/{id}/votes`
pub(super) async fn vote(
    State(context): State<Context>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<ApprovalView>, ApiError> {
    let allowed = caller.may(&context, Verb::Update, Resource::Approvals, None);
    let allowed = allowed.await?;
    let tenant = allowed.tenant().to_owned();
    let Allowed { person, origin } = allowed;
    let answer = match context.people.as_ref() {
        People::Holder(_) => {
            let VoteRequest { grant } = parse(&body)?;
            Answer::Own { grant, person }
        }
        People::Reviewed { vote_keys, .. } => Answer::Stamped {
            signed: Box::new(parse(&body)?),
            keys: vote_keys.borrow().clone(),
        },
    };
    if let Answer::Stamped { signed, .. } = &answer
        && !context.people.gate().has_vote(&tenant, signed).await?
    {
        return Err(ApiError::Conflict {
            code: "no_vote",
            detail: format!(
                "the API server has no ApprovalVote of `{}` that says this; votes are made there",
                excerpt(&signed.vote.user)
            ),
        });
    }
    if answer.grants() {
        let view = approvals::shown(&context, origin.clone(), id.clone()).await?;
        if let Some(unseen) = view.unseen.filter(|_| view.state == "pending") {
            return Err(ApiError::Conflict {
                code: "cannot_be_shown",
                detail: format!(
                    "nobody can agree to what cannot be shown ({unseen}); deny it, and let it be asked again"
                ),
            });
        }
    }
    let (log, voted) = (origin.clone(), id.clone());
    context
        .engine
        .submit(
            move |staging| answer.stage(staging, &log, &voted),
            |(), _| Ok(()),
        )
        .await?;
    Ok(Json(approvals::shown(&context, origin, id).await?))
}

enum Answer {
    /// The caller's own.
    Own { grant: bool, person: Person },
    /// Somebody's that the caller passes on.
    Stamped {
        signed: Box<SignedVote>,
        keys: VoteKeys,
    },
}

impl Answer {
    fn grants(&self) -> bool {
        match self {
            Self::Own { grant, .. } => *grant,
            Self::Stamped { signed, .. } => signed.vote.grant,
        }
    }

    fn stage(&self, staging: &mut Staging<'_>, log: &str, id: &str) -> Result<(), ApiError> {
        let now = staging.now(log)?;
        let state = staging.log(log)?.state();
        let approval = state.approval(id).ok_or(ApiError::NotFound("approval"))?;
        match self {
            Self::Own { grant, person } => {
                // Whoever holds the control token of local mode counts for every group that is asked.
                let seats = approval.needed.seats.iter();
                let mut groups: Vec<String> = seats.flat_map(|seat| seat.groups.clone()).collect();
                groups.sort();
                groups.dedup();
                let (grant, user) = (*grant, person.user.clone());
                state
                    .check_vote(id, &user, &groups, now)
                    .map_err(|why| refused(&why))?;
                let vote = EventBody::Vote {
                    approval: id.to_owned(),
                    grant,
                    user,
                    groups,
                    signed: None,
                };
                staging.event(log, now, vote, Vec::new())
            }
            // Whoever passes votes on cannot know whether an answer was lost on its way.
            Self::Stamped { signed, .. } if counts_already(approval, &signed.vote) => Ok(()),
            Self::Stamped { signed, keys } => {
                let named = control::as_text(keys);
                let groups = state
                    .check_signed_vote(id, signed, &named, now)
                    .map_err(|why| refused(&why))?;
                let mut believed = state.keys().clone();
                believed.vote_keys = named;
                staging.believe(log, &believed)?;
                let vote = EventBody::Vote {
                    approval: id.to_owned(),
                    grant: signed.vote.grant,
                    user: signed.vote.user.clone(),
                    groups,
                    signed: Some(signed.clone()),
                };
                let now = staging.now(log)?;
                staging.event(log, now, vote, Vec::new())
            }
        }
    }
}

fn counts_already(approval: &Approval, vote: &Vote) -> bool {
    let mut votes = approval.votes.iter();
    votes.any(|counted| {
        counted.user == vote.user
            && counted.grant == vote.grant
            && counted.approval_uid.as_ref() == Some(&vote.approval_uid)
    })
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::Malformed(error.to_string()))
}

fn refused(why: &VoteRefused) -> ApiError {
    ApiError::Conflict {
        code: "vote_refused",
        detail: why.to_string(),
    }
}
