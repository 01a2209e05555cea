//! Votes: `/mutate-votes` stamps and signs who votes, `/validate-votes` sees that the stamp is still ours.
//!
//! *Guarantees*: nothing is signed that would not be accepted, and what a client sends as a stamp is never read.

use std::collections::BTreeSet;

use actpass_core::canonical::excerpt;
use actpass_core::passport::jws::key_id;
use actpass_core::vote::{SignedVote, Vote};
use actpass_crds::approval::{ApprovalState, ApprovalStatus, EscalationSpec};
use actpass_crds::approval_vote::{ApprovalVoteSpec, VoteDecision, VoteStamp, vote_name};
use actpass_crds::instant::Instant;
use actpass_crds::resource::API_VERSION;
use actpass_kubernetes::seeds::Keyring;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::review::{Answer, Cause, Operation, Request, Status, User};

/// What only a reader of the cluster knows of a vote.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Whether the voter may create votes in the namespace. The API server has asked that already; whoever reaches our
    /// port past it has not.
    pub may: bool,
    /// The Approval that is named.
    pub approval: Option<Approval>,
    /// Who owns the Passport now, where it is still there.
    pub owner: Option<String>,
}

/// An Approval, as far as votes are held against it.
#[derive(Debug, Clone, Deserialize)]
pub struct Approval {
    /// What it is called.
    pub metadata: ApprovalMetadata,
    /// The facts.
    pub spec: EscalationSpec,
    /// Where it stands.
    #[serde(default)]
    pub status: Option<ApprovalStatus>,
}

/// Metadata of an Approval.
#[derive(Debug, Clone, Deserialize)]
pub struct ApprovalMetadata {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// A vote as it is sent, without its stamp.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    approval_name: String,
    approval_uid: String,
    digest: String,
    decision: VoteDecision,
}

/// What is stamped with, and when.
#[derive(Clone, Copy)]
pub struct Stamping<'a> {
    /// The vote keys.
    pub stamps: &'a Keyring,
    /// Now.
    pub now: Timestamp,
}

/// How far apart stamping and checking may be: both happen in one request, which ends within seconds.
const APART_MAX: SignedDuration = SignedDuration::from_secs(30);

/// Most groups of a stamp, and the longest text in one: what the schema takes.
const GROUPS_MAX: usize = 256;
const TEXT_CHARS_MAX: usize = 256;

/// Reason of a refusal that no vote of this user can change.
const NO_VOTER: &str = "no_voter";
/// Reason of a refusal of what is written.
const VOTE: &str = "vote";

/// Name of the Approval that a vote names, if it can be one.
pub fn approval_name(request: &Request) -> Option<&str> {
    let name = request.object.get("spec")?.get("approvalName")?.as_str()?;
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    // It becomes part of a path.
    (!name.is_empty() && name.len() <= 63 && name.bytes().all(letters)).then_some(name)
}

/// Stamps a vote.
pub fn mutate(request: &Request, facts: &Facts, stamping: Stamping<'_>) -> Answer {
    if !is_vote(request) {
        return Answer::unexpected(request);
    }
    let accepted = match accept(request, facts, stamping.now) {
        Ok(accepted) => accepted,
        Err(cause) => return refused(cause),
    };
    let mut patch = Vec::new();
    let metadata = request.object.get("metadata");
    let named = metadata
        .and_then(|metadata| metadata.get("name"))
        .and_then(Value::as_str);
    let name = vote_name(&accepted.approval_uid, &accepted.user);
    match named.filter(|named| !named.is_empty()) {
        None => patch.push(json!({"op": "add", "path": "/metadata/name", "value": name})),
        Some(named) if named == name => {}
        Some(_) => {
            let said = format!(
                "the name of your vote is `{name}`; write that, or leave it to `kubectl actpass`"
            );
            return refused(cause(VOTE, "metadata.name", said));
        }
    }
    let accepted_uid = accepted.approval_uid.clone();
    let Some(key) = stamping.stamps.key(stamping.now) else {
        return refused(cause(
            VOTE,
            "",
            "there is no key to sign it with; try again",
        ));
    };
    let signed = match accepted.signed(key, &key_id(&key.verifying_key())) {
        Ok(signed) => signed,
        Err(error) => return refused(cause(VOTE, "", format!("it cannot be signed: {error}"))),
    };
    let stamp = VoteStamp {
        user: signed.vote.user,
        groups: signed.vote.groups,
        time: Instant(signed.vote.time),
        key_id: signed.key_id,
        signature: signed.signature,
    };
    // It goes with its Approval. Nobody waits for that, so that no right on Approvals is needed to vote.
    let owner = json!({
        "apiVersion": API_VERSION,
        "kind": "Approval",
        "name": facts.approval.as_ref().map(|approval| &approval.metadata.name),
        "uid": accepted_uid,
        "blockOwnerDeletion": false,
    });
    // `add` puts these in place of whatever was sent.
    patch.push(json!({"op": "add", "path": "/metadata/ownerReferences", "value": [owner]}));
    patch.push(json!({"op": "add", "path": "/spec/stamp", "value": stamp}));
    Answer::patched(Value::Array(patch))
}

/// Checks a stamped vote.
pub fn validate(request: &Request, facts: &Facts, stamping: Stamping<'_>) -> Answer {
    if !is_vote(request) {
        return Answer::unexpected(request);
    }
    match accept(request, facts, stamping.now).and_then(|vote| stamped(request, &vote, stamping)) {
        Ok(()) => Answer::allowed(),
        Err(cause) => refused(cause),
    }
}

/// That the stamp is ours, of this request and over what now stands in the vote.
fn stamped(request: &Request, want: &Vote, stamping: Stamping<'_>) -> Result<(), Cause> {
    let changed = || {
        cause(
            VOTE,
            "spec.stamp",
            "it is not what ActPass stamped; another webhook may have changed the vote afterwards",
        )
    };
    let spec = request.object.get("spec").cloned().unwrap_or_default();
    let spec: ApprovalVoteSpec = serde_json::from_value(spec).map_err(|_| changed())?;
    let VoteStamp {
        user,
        groups,
        time: Instant(time),
        key_id: id,
        signature,
    } = spec.stamp;
    let vote = Vote {
        approval_uid: spec.approval_uid,
        digest: spec.digest,
        grant: spec.decision == VoteDecision::Approve,
        groups,
        time,
        user,
    };
    let key = stamping.stamps.of(&id).ok_or_else(changed)?;
    let signed = SignedVote {
        key_id: id,
        signature,
        vote,
    };
    let vote = signed.verified(&key).map_err(|_| changed())?;
    let apart = stamping.now.duration_since(vote.time).abs();
    let same = Vote {
        time: vote.time,
        ..want.clone()
    } == *vote;
    let metadata = request.object.get("metadata");
    let name = metadata
        .and_then(|metadata| metadata.get("name"))
        .and_then(Value::as_str);
    let named = name == Some(&vote_name(&vote.approval_uid, &vote.user));
    match same && named && apart <= APART_MAX {
        true => Ok(()),
        false => Err(changed()),
    }
}

/// The vote, if this user may cast it on that question now.
fn accept(request: &Request, facts: &Facts, now: Timestamp) -> Result<Vote, Cause> {
    let user = &request.user_info;
    person(user)?;
    if !facts.may {
        let said = format!(
            "`{}` may not vote in namespace `{}`; bind the ClusterRole `actpass-approver` there",
            excerpt(&user.username),
            excerpt(&request.namespace)
        );
        return Err(cause(NO_VOTER, "", said));
    }
    let sent = request.object.get("spec").cloned().unwrap_or_default();
    let sent: Sent = serde_json::from_value(sent).map_err(|error| {
        cause(
            VOTE,
            "spec",
            format!(
                "{}; see `kubectl explain approvalvote.spec`",
                excerpt(&error.to_string())
            ),
        )
    })?;
    let Some(approval) = &facts.approval else {
        let said = format!(
            "there is no Approval `{}` in namespace `{}`; see `kubectl get approvals`",
            excerpt(&sent.approval_name),
            excerpt(&request.namespace)
        );
        return Err(cause(VOTE, "spec.approvalName", said));
    };
    let asked = &approval.spec;
    if sent.approval_uid != approval.metadata.uid {
        let said = format!(
            "it is of another Approval; write `{}`",
            excerpt(&approval.metadata.uid)
        );
        return Err(cause(VOTE, "spec.approvalUid", said));
    }
    if sent.digest != asked.digest {
        let said = "it is not the digest of what is asked; look at the Approval again and write its `spec.digest`";
        return Err(cause(VOTE, "spec.digest", said));
    }
    open(approval, sent.decision, now)?;
    for owner in [Some(&asked.owner), facts.owner.as_ref()]
        .into_iter()
        .flatten()
    {
        let is = |name: &String| name.eq_ignore_ascii_case(owner);
        if is(&user.username) || user.groups.iter().any(is) {
            let said = format!(
                "`{}` owns the Passport that asks, and owners do not vote; ask somebody else",
                excerpt(owner)
            );
            return Err(cause(NO_VOTER, "", said));
        }
    }
    let seats: BTreeSet<&str> = asked
        .seats
        .iter()
        .flat_map(|seat| &seat.groups)
        .map(String::as_str)
        .collect();
    if !user
        .groups
        .iter()
        .any(|group| seats.contains(group.as_str()))
    {
        let groups: Vec<String> = seats
            .iter()
            .take(8)
            .map(|group| format!("`{}`", excerpt(group)))
            .collect();
        let said = format!(
            "members of {} are asked, and you are in none of these groups",
            groups.join(", ")
        );
        return Err(cause(NO_VOTER, "", said));
    }
    Ok(Vote {
        approval_uid: sent.approval_uid,
        digest: sent.digest,
        grant: sent.decision == VoteDecision::Approve,
        groups: groups(user, &seats)?,
        time: now,
        user: user.username.clone(),
    })
}

/// That the question stands and can be answered that way.
fn open(approval: &Approval, decision: VoteDecision, now: Timestamp) -> Result<(), Cause> {
    let state = approval.status.as_ref().and_then(|status| status.state);
    let over = match state {
        None | Some(ApprovalState::Pending) if approval.spec.expires_at.0 > now => None,
        None | Some(ApprovalState::Pending | ApprovalState::Expired) => Some("has expired"),
        Some(ApprovalState::Granted) => Some("is granted already"),
        Some(ApprovalState::Denied) => Some("is denied already"),
        Some(ApprovalState::Used) => Some("was used already"),
    };
    if let Some(over) = over {
        let said = format!(
            "the Approval {over}; the agent's next request asks anew where it still has to"
        );
        return Err(cause(VOTE, "spec.approvalName", said));
    }
    match (&approval.spec.unseen, decision) {
        (Some(why), VoteDecision::Approve) => {
            let said = format!(
                "not all that is asked can be shown ({}), so nobody can approve it; `Deny` it",
                excerpt(why)
            );
            Err(cause(VOTE, "spec.decision", said))
        }
        _ => Ok(()),
    }
}

/// Only people vote: whatever runs in the cluster, and whoever acts as it, could be what the agent has taken over.
fn person(user: &User) -> Result<(), Cause> {
    let system = user.username.is_empty() || user.username.starts_with("system:");
    let account = user.groups.iter().any(|group| {
        matches!(
            group.as_str(),
            "system:serviceaccounts" | "system:nodes" | "system:unauthenticated"
        ) || group.starts_with("system:serviceaccounts:")
    });
    if system || account {
        let said = format!(
            "only people vote, and `{}` is an account of the cluster; sign in as yourself, without impersonation",
            excerpt(&user.username)
        );
        return Err(cause(NO_VOTER, "", said));
    }
    fits(&user.username)
}

fn fits(text: &str) -> Result<(), Cause> {
    match text.chars().count() <= TEXT_CHARS_MAX
        && !text.chars().any(|char| char.is_ascii_control())
    {
        true => Ok(()),
        false => {
            let said = format!(
                "`{}` is longer than {TEXT_CHARS_MAX} characters or not one line",
                excerpt(text)
            );
            Err(cause(NO_VOTER, "", said))
        }
    }
}

/// The groups of a stamp: all, or where there are too many those that are asked.
fn groups(user: &User, seats: &BTreeSet<&str>) -> Result<Vec<String>, Cause> {
    let mut groups: BTreeSet<&String> = user
        .groups
        .iter()
        .filter(|group| !group.is_empty())
        .collect();
    if groups.len() > GROUPS_MAX {
        groups.retain(|group| seats.contains(group.as_str()));
    }
    groups.iter().try_for_each(|group| fits(group))?;
    Ok(groups.into_iter().take(GROUPS_MAX).cloned().collect())
}

fn is_vote(request: &Request) -> bool {
    let resource = &request.resource;
    (
        resource.group.as_str(),
        resource.version.as_str(),
        resource.resource.as_str(),
    ) == ("actpass.org", "v1alpha1", "approvalvotes")
        && request.operation == Operation::Create
        && request.sub_resource.is_empty()
}

fn cause(reason: &'static str, field: &str, message: impl Into<String>) -> Cause {
    Cause {
        reason,
        field: field.to_owned(),
        message: message.into(),
    }
}

fn refused(cause: Cause) -> Answer {
    Answer::refused_for(Status::Forbidden, vec![cause])
}
