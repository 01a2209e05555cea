//! `actpass approvals`: a question shown as facts, answered with a word.

pub(crate) mod facts;

use actpass_core::wire::{ApprovalView, VoteRequest};
use anyhow::bail;
use jiff::Timestamp;

use super::show::{self, escaped, short, table};
use crate::args::ApprovalsCommand;
use crate::control::Control;
use crate::exit::Exit;
use crate::state::StateDir;

use facts::Look;

/// Characters that a list shows of a resource.
const RESOURCE_CHARACTERS: usize = 48;

pub(crate) async fn approvals(
    command: ApprovalsCommand,
    state: &StateDir,
    json: bool,
) -> anyhow::Result<Exit> {
    let control = Control::connect(state).await?;
    let done = run(command, &control, json).await;
    control.close().await;
    done
}

async fn run(command: ApprovalsCommand, control: &Control, json: bool) -> anyhow::Result<Exit> {
    match command {
        ApprovalsCommand::List => {
            let approvals: Vec<ApprovalView> = control.get("/v1/approvals").await?;
            if json {
                show::json(&approvals)?;
                return Ok(Exit::Ok);
            }
            let mut table = table(&[
                "ID",
                "STATE",
                "WHAT",
                "AMOUNT",
                "ON",
                "ALSO SENT",
                "AGENT",
                "EXPIRES",
            ]);
            let mut unseen = Vec::new();
            for it in approvals {
                let (amount, on) = (
                    it.amount.unwrap_or_default(),
                    short(&it.resource.unwrap_or_default(), RESOURCE_CHARACTERS),
                );
                let also = facts::also(&it.sent, it.sent_more, it.unseen.as_deref());
                if let Some(why) = &it.unseen {
                    unseen.push(escaped(&format!("{} cannot be shown whole: {why}", it.id)));
                }
                let expires = facts::until(it.expires, Timestamp::now());
                table.add_row([
                    it.id,
                    it.state,
                    it.capability,
                    amount,
                    on,
                    also,
                    it.agent,
                    expires,
                ]);
            }
            show::line(&table.to_string())?;
            for line in unseen {
                show::line(&line)?;
            }
        }
        ApprovalsCommand::Show { id } => {
            let view: ApprovalView = control
                .get(&format!("/v1/approvals/{}", plain(&id)?))
                .await?;
            print(&view, json)?;
        }
        ApprovalsCommand::Approve { id } => vote(control, &id, true, json).await?,
        ApprovalsCommand::Deny { id } => vote(control, &id, false, json).await?,
    }
    Ok(Exit::Ok)
}

async fn vote(control: &Control, id: &str, grant: bool, json: bool) -> anyhow::Result<()> {
    let answer = control
        .send(
            "POST",
            &format!("/v1/approvals/{}/votes", plain(id)?),
            &VoteRequest { grant },
        )
        .await?;
    print(&serde_json::from_slice(&answer)?, json)
}

fn print(view: &ApprovalView, json: bool) -> anyhow::Result<()> {
    if json {
        return show::json(view);
    }
    let command = |word| format!("actpass approvals {word} {}", view.id);
    let answers = (command("approve"), command("deny"));
    show::line(&facts::text(
        view,
        answers,
        Timestamp::now(),
        Look::of_stdout(),
    ))
}

fn plain(id: &str) -> anyhow::Result<&str> {
    if id.is_empty()
        || !id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        bail!("`{id}` is no approval id; `actpass approvals list` shows them");
    }
    Ok(id)
}
