//! Questions to people as Approval objects, and their votes to the ledger.
//!
//! *Flow*: where each namespace's questions stand is asked for, every second where somebody is waited for, every [`IDLE`] else.
//! A question that people may answer becomes an Approval, whose facts are asked for and written once; its status follows the
//! ledger. Votes on it are handed on as they are: the ledger judges them.
//!
//! *Guarantees*: the ledger's log decides, and what stands here only shows it: an Approval that is deleted is made again, and a
//! vote that is handed on twice counts once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actpass_core::vote::{SignedVote, Vote};
use actpass_core::wire::ApprovalBrief;
use actpass_crds::approval::{
    ApprovalState, ApprovalStatus, CountedVote, EscalationSpec, NotShown,
};
use actpass_crds::approval_vote::{ApprovalVoteSpec, VoteDecision};
use actpass_crds::condition::{Condition, ConditionStatus, ConditionType, Reason, set};
use actpass_crds::resource::API_VERSION;
use anyhow::Context as _;
use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PostParams};
use serde_json::{Value, json};

use crate::http::CallError;
use crate::object::api_resource;
use crate::reconcile::{Leader, apply};
use crate::world::PAGE;

/// How often it is asked where somebody is waited for.
const PENDING: Duration = Duration::from_secs(1);
/// In how many of these steps it is asked where nobody is.
const IDLE: u64 = 3;
/// Namespaces at a time.
const AT_A_TIME: usize = 16;
/// How long an Approval stays after its end, for those who look what became of it.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// As many votes as the schema of a status takes.
const VOTES_MAX: usize = 256;

/// What was done so far.
#[derive(Debug, Default)]
pub struct Approvals {
    /// Namespaces in which somebody is waited for, or an Approval stands.
    open: Mutex<BTreeSet<String>>,
    /// Uids of votes that were handed on, by namespace.
    handed: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Approvals {
    /// Shows questions and hands on votes until it is dropped.
    pub async fn run(&self, leader: &Leader) {
        let mut steps = tokio::time::interval(PENDING);
        steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut step: u64 = 0;
        let mut first = true;
        loop {
            steps.tick().await;
            step = step.wrapping_add(1);
            let idle = first || step.is_multiple_of(IDLE);
            first = false;
            let open = lock(&self.open).clone();
            let namespaces = leader.world.namespaces().into_iter();
            // Without a bundle in force nothing was ever asked there.
            let asked = namespaces.filter(|it| {
                (idle || open.contains(&it.name)) && leader.world.published(it).is_some()
            });
            let asked = stream::iter(asked).map(|namespace| async move {
                let tenant = format!("{}/{}/{}", leader.cluster, namespace.name, namespace.uid);
                if let Err(error) = self.look(leader, &namespace.name, &tenant).await {
                    let error = format!("{error:#}");
                    tracing::warn!(namespace = namespace.name, error, "Questions not asked for");
                }
            });
            asked.buffer_unordered(AT_A_TIME).collect::<()>().await;
        }
    }

    async fn look(&self, leader: &Leader, namespace: &str, tenant: &str) -> anyhow::Result<()> {
        let now = Timestamp::now();
        let since = now.checked_sub(KEPT).unwrap_or(now);
        let briefs = leader.ledger.approvals(tenant, since).await?;
        let was_open = lock(&self.open).contains(namespace);
        if briefs.is_empty() && !was_open {
            return Ok(());
        }
        let approvals = api(leader, "Approval", namespace)?;
        let there = list(&approvals, of_approval).await?;
        let mut waiting = BTreeMap::new();
        for brief in &briefs {
            let name = name_of(&brief.id);
            let found = there
                .iter()
                .find(|it| it.metadata.name.as_deref() == Some(&name));
            match shown(brief, found.map(|it| &it.data), now) {
                Ok(Some(status)) => {
                    let asked = (leader, tenant, brief.id.as_str());
                    match write(&approvals, &name, found, status.as_ref(), asked).await {
                        Ok(uid) if brief.state == "pending" => {
                            waiting.insert(name, (brief.id.clone(), uid));
                        }
                        Ok(_) => {}
                        // The others are not held up.
                        Err(error) => {
                            let error = format!("{error:#}");
                            tracing::warn!(
                                namespace,
                                name,
                                error,
                                "Approval not written; trying again"
                            );
                        }
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(namespace, approval = brief.id, %error, "A question is not shown");
                }
            }
        }
        let mut left = 0;
        for found in &there {
            match is_over(&found.data, now) {
                true => delete(&approvals, found).await?,
                false => left += 1,
            }
        }
        if !waiting.is_empty() {
            self.votes(leader, namespace, tenant, &waiting).await?;
        } else {
            lock(&self.handed).remove(namespace);
        }
        let mut open = lock(&self.open);
        match waiting.is_empty() && left == 0 && there.is_empty() {
            true => open.remove(namespace),
            false => open.insert(namespace.to_owned()),
        };
        Ok(())
    }

    /// Hands on the votes that were not yet, on questions that wait.
    async fn votes(
        &self,
        leader: &Leader,
        namespace: &str,
        tenant: &str,
        waiting: &BTreeMap<String, (String, String)>,
    ) -> anyhow::Result<()> {
        let votes = list(&api(leader, "ApprovalVote", namespace)?, of_vote).await?;
        for found in votes {
            let uid = found.metadata.uid.unwrap_or_default();
            let known = lock(&self.handed)
                .get(namespace)
                .is_some_and(|all| all.contains(&uid));
            let spec = found.data.get("spec").cloned().unwrap_or_default();
            let Ok(spec) = serde_json::from_value::<ApprovalVoteSpec>(spec) else {
                continue;
            };
            let Some((approval, its)) = waiting.get(&spec.approval_name).filter(|_| !known) else {
                continue;
            };
            // A vote on an Approval of that name before this one.
            if spec.approval_uid != *its {
                continue;
            }
            let vote = signed(&spec);
            match leader.ledger.vote(tenant, approval, &vote).await {
                Ok(()) => {
                    tracing::info!(
                        namespace,
                        approval,
                        user = vote.vote.user,
                        grant = vote.vote.grant,
                        "Vote handed on"
                    );
                }
                // What the ledger says of itself passes; what it says of the vote does not.
                Err(error @ CallError::Refused { .. }) if error.is_final() => {
                    tracing::warn!(namespace, approval, user = vote.vote.user, %error, "Vote refused by the ledger");
                }
                Err(error) => return Err(error.into()),
            }
            lock(&self.handed)
                .entry(namespace.to_owned())
                .or_default()
                .insert(uid);
        }
        Ok(())
    }
}

/// The status to write of a question, where it changed; none at all where nobody is asked, or any more.
fn shown(
    brief: &ApprovalBrief,
    found: Option<&Value>,
    now: Timestamp,
) -> Result<Option<Option<Value>>, NotShown> {
    let Some(state) = ApprovalState::of(&brief.state)? else {
        return Ok(None);
    };
    let is_open = matches!(state, ApprovalState::Pending | ApprovalState::Granted);
    if found.is_none() && !is_open {
        return Ok(None);
    }
    let before = found.and_then(|found| found.get("status")).cloned();
    let before: ApprovalStatus = before
        .and_then(|status| serde_json::from_value(status).ok())
        .unwrap_or_default();
    let mut status = before.clone();
    status.state = Some(state);
    status.votes = (brief.votes.iter().take(VOTES_MAX))
        .map(CountedVote::from)
        .collect();
    let (granted, reason, message) = said(state);
    let condition = Condition::new(ConditionType::Granted, granted, reason, message, None, now);
    set(&mut status.conditions, condition);
    Ok(Some(match status == before {
        true => None,
        false => serde_json::to_value(status).ok(),
    }))
}

fn said(state: ApprovalState) -> (ConditionStatus, Reason, &'static str) {
    use ConditionStatus::{False, True, Unknown};
    match state {
        ApprovalState::Pending => (Unknown, Reason::AwaitingVotes, "people may still answer"),
        ApprovalState::Granted => (
            True,
            Reason::Granted,
            "everyone who is needed agreed; it may run once",
        ),
        ApprovalState::Denied => (False, Reason::Denied, "somebody said no"),
        ApprovalState::Expired => (
            False,
            Reason::Expired,
            "nobody answered, or nobody used it, in time",
        ),
        ApprovalState::Used => (True, Reason::Used, "the action ran under it"),
    }
}

/// Whether its time was over an hour ago.
fn is_over(found: &Value, now: Timestamp) -> bool {
    let end = found.pointer("/spec/expiresAt").and_then(Value::as_str);
    let end = end.and_then(|text| text.parse::<Timestamp>().ok());
    end.is_some_and(|end| now.duration_since(end) > KEPT)
}

/// The vote as the webhook signed it.
fn signed(spec: &ApprovalVoteSpec) -> SignedVote {
    let stamp = &spec.stamp;
    SignedVote {
        key_id: stamp.key_id.clone(),
        signature: stamp.signature.clone(),
        vote: Vote {
            approval_uid: spec.approval_uid.clone(),
            digest: spec.digest.clone(),
            grant: spec.decision == VoteDecision::Approve,
            groups: stamp.groups.clone(),
            time: stamp.time.0,
            user: stamp.user.clone(),
        },
    }
}

/// The Approval of a question: its id, `apr_1f…` as `apr-1f…`, where that can name an object, or a digest of it. So whoever
/// is told the id by an agent finds the object.
fn name_of(id: &str) -> String {
    let is_label = |text: &str| {
        let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        let fits = |it: &u8| it.is_ascii_lowercase() || it.is_ascii_digit() || *it == b'-';
        bytes.len() <= 63 && ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(fits)
    };
    let plain = id.replacen('_', "-", 1);
    if is_label(&plain) {
        return plain;
    }
    let digest = actpass_core::hash::hex(&actpass_core::hash::sha256(&[id.as_bytes()]));
    let digits: String = digest.chars().take(40).collect();
    format!("apr-{digits}")
}

fn api(leader: &Leader, kind: &str, namespace: &str) -> anyhow::Result<Api<DynamicObject>> {
    let resource = api_resource(kind).context("a kind of ours")?;
    let client = leader.client.clone();
    Ok(Api::namespaced_with(client, namespace, &resource))
}

/// All of them, [`reduced`] page by page.
async fn list(
    api: &Api<DynamicObject>,
    kept: fn(&Value) -> Value,
) -> anyhow::Result<Vec<DynamicObject>> {
    let mut all = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let found = api.list(&page).await?;
        all.extend(found.items.into_iter().map(|found| reduced(found, kept)));
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// The object with its name, its uid and what is `kept` of the rest.
fn reduced(found: DynamicObject, kept: fn(&Value) -> Value) -> DynamicObject {
    DynamicObject {
        types: None,
        metadata: ObjectMeta {
            name: found.metadata.name,
            uid: found.metadata.uid,
            ..ObjectMeta::default()
        },
        data: kept(&found.data),
    }
}

/// What is read of an Approval that stands.
fn of_approval(data: &Value) -> Value {
    json!({"spec": {"expiresAt": data.pointer("/spec/expiresAt")}, "status": data.get("status")})
}

/// What is read of a vote.
fn of_vote(data: &Value) -> Value {
    json!({"spec": data.get("spec")})
}

/// Writes what changed; the Approval's uid. The facts of one that is new are asked of the ledger.
async fn write(
    api: &Api<DynamicObject>,
    name: &str,
    found: Option<&DynamicObject>,
    status: Option<&Value>,
    (leader, tenant, id): (&Leader, &str, &str),
) -> anyhow::Result<String> {
    let uid = |object: &DynamicObject| object.metadata.uid.clone().unwrap_or_default();
    let resource = api_resource("Approval").context("a kind of ours")?;
    let uid = match found {
        Some(found) => uid(found),
        None => {
            let view = leader.ledger.approval(tenant, id).await?;
            let spec = EscalationSpec::of(&view, view.digest.clone())?;
            let object = DynamicObject::new(name, &resource).data(json!({ "spec": spec }));
            let made = api.create(&PostParams::default(), &object).await;
            uid(&made.context("make an Approval")?)
        }
    };
    if let Some(status) = status {
        let patch = json!({
            "apiVersion": API_VERSION,
            "kind": resource.kind,
            "metadata": {"name": name, "uid": uid},
            "status": status,
        });
        let written = api
            .patch_status(name, &apply(), &Patch::Apply(&patch))
            .await;
        written.context("write the status of an Approval")?;
    }
    Ok(uid)
}

async fn delete(api: &Api<DynamicObject>, found: &DynamicObject) -> anyhow::Result<()> {
    let name = found.metadata.name.as_deref().unwrap_or_default();
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error).context("delete an Approval"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
