//! A person's answer: an ApprovalVote, which the API server says whose it is and the webhook signs.

use std::io::{BufRead, IsTerminal, Write};
use std::time::{Duration, Instant};

use actpass_crds::approval_vote::vote_name;
use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;

use super::approvals::{get, print};
use super::args::VoteArgs;
use super::kubectl::Kubectl;
use super::objects::Approval;
use crate::commands::show;
use crate::exit::Exit;

/// The controller hands a vote on within a second.
const COUNTED_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// `SelfSubjectReview`: who the API server says we are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WhoAmI {
    status: WhoStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WhoStatus {
    user_info: UserInfo,
}

#[derive(Deserialize)]
struct UserInfo {
    username: String,
}

pub(super) fn vote(
    kubectl: &Kubectl,
    args: &VoteArgs,
    grant: bool,
    json: bool,
) -> anyhow::Result<Exit> {
    let approval = get(kubectl, &args.name)?;
    if approval.state() != "pending" {
        print(&approval, json)?;
        bail!("it is {} and takes no more answers", approval.state());
    }
    if grant && let Some(unseen) = &approval.spec.unseen {
        print(&approval, json)?;
        bail!(
            "nobody can agree to what cannot be shown ({unseen}); deny it, and let it be asked again"
        );
    }
    if !args.yes && !agreed(&approval, grant, json)? {
        bail!("not sent");
    }
    let said = kubectl.run(&["auth", "whoami", "-o", "json"], None)?;
    let who: WhoAmI = serde_json::from_slice(&said).context("who you are is not understood")?;
    let object = object(
        &approval,
        &who.status.user_info.username,
        grant,
        args.reason.as_deref(),
    );
    kubectl.run(&["create", "-f", "-"], Some(&serde_json::to_vec(&object)?))?;
    let counted = counted(kubectl, &approval)?;
    print(&counted, json)?;
    Ok(match (counted.state(), grant) {
        ("granted" | "used", true) | ("denied", false) => Exit::Ok,
        _ => Exit::Incomplete,
    })
}

/// Shows the facts and asks. Without a terminal nobody is there to ask.
fn agreed(approval: &Approval, grant: bool, json: bool) -> anyhow::Result<bool> {
    if json || !std::io::stdin().is_terminal() {
        bail!(
            "there is no terminal to ask on; look at it with `kubectl actpass show`, then answer with --yes"
        );
    }
    print(approval, false)?;
    let word = if grant { "Approve" } else { "Deny" };
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "\n{word} this? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The vote as it is sent: who, when and the signature are filled in at admission.
fn object(approval: &Approval, user: &str, grant: bool, reason: Option<&str>) -> serde_json::Value {
    let Approval { metadata, spec, .. } = approval;
    let decision = if grant { "Approve" } else { "Deny" };
    let mut vote = json!({
        "apiVersion": actpass_crds::resource::API_VERSION,
        "kind": "ApprovalVote",
        "metadata": {"name": vote_name(&metadata.uid, user), "namespace": metadata.namespace},
        "spec": {
            "approvalName": metadata.name,
            "approvalUid": metadata.uid,
            "digest": spec.digest,
            "decision": decision,
        },
    });
    if let (Some(reason), Some(spec)) = (reason, vote.pointer_mut("/spec")) {
        spec["reason"] = json!(reason);
    }
    vote
}

/// The Approval once the vote shows in it, or as it stands when that takes too long.
fn counted(kubectl: &Kubectl, before: &Approval) -> anyhow::Result<Approval> {
    let begun = Instant::now();
    let votes = before.status.votes.len();
    loop {
        let approval = get(kubectl, &before.metadata.name)?;
        let counted = approval.state() != "pending" || approval.status.votes.len() > votes;
        if counted {
            return Ok(approval);
        }
        if begun.elapsed() > COUNTED_WITHIN {
            show::line("Your answer is stored; the controller has not counted it yet.")?;
            return Ok(approval);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
