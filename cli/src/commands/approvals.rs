//! `actpass approvals`: a question shown as facts, answered with a word.

use actpass_core::wire::{ApprovalView, VoteRequest};
use anyhow::bail;

use super::show::{escaped, table};
use crate::args::ApprovalsCommand;
use crate::control::Control;
use crate::state::StateDir;

pub(crate) async fn approvals(
    command: ApprovalsCommand,
    state: &StateDir,
    json: bool,
) -> anyhow::Result<u8> {
    let control = Control::connect(state).await?;
    let done = run(command, &control, json).await;
    control.close().await;
    done
}

async fn run(command: ApprovalsCommand, control: &Control, json: bool) -> anyhow::Result<u8> {
    match command {
        ApprovalsCommand::List => {
            let approvals: Vec<ApprovalView> = control.get("/v1/approvals").await?;
            if json {
                println!("{}", serde_json::to_string_pretty(&approvals)?);
                return Ok(0);
            }
            let mut table = table(&["ID", "STATE", "WHAT", "AMOUNT", "ON", "AGENT", "EXPIRES"]);
            for it in approvals {
                let (amount, on) = (
                    it.amount.unwrap_or_default(),
                    escaped(&it.resource.unwrap_or_default()),
                );
                let expires = actpass_core::canonical::instant(it.expires);
                table.add_row([
                    it.id,
                    it.state,
                    it.capability,
                    amount,
                    on,
                    it.agent,
                    expires,
                ]);
            }
            println!("{table}");
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
    Ok(0)
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
        println!("{}", serde_json::to_string_pretty(view)?);
        return Ok(());
    }
    let undo = match view.effect.as_str() {
        "Irreversible" => "cannot be undone",
        "Write" => "can be changed back",
        _ => "changes nothing",
    };
    let line = |name: &str, text: &str| println!("{name:<10} {text}");
    line("approval", &format!("{}, {}", view.id, view.state));
    line("what", &format!("{} ({undo})", view.capability));
    if let Some(amount) = &view.amount {
        line("how much", amount);
    }
    if let Some(resource) = &view.resource {
        line("on", &escaped(resource));
    }
    line("where", &escaped(&view.target));
    line(
        "by",
        &format!(
            "{} (passport {}, owner {})",
            view.agent, view.passport, view.owner
        ),
    );
    line("purpose", &view.purpose);
    for (name, value) in &view.attributes {
        line("attribute", &format!("{name} = {}", escaped(value)));
    }
    if let Some(rationale) = &view.rationale {
        line(
            "it says",
            &format!(
                "\"{}\" (the agent's own words, not checked)",
                escaped(rationale)
            ),
        );
    }
    line(
        "asked by",
        &format!("{} ({})", view.rules.join(", "), view.because),
    );
    for limit in &view.limits {
        line(
            "limit",
            &format!(
                "{}: {} {} of {} left, {}",
                limit.meter, limit.left, limit.unit, limit.max, limit.window
            ),
        );
    }
    line("expires", &actpass_core::canonical::instant(view.expires));
    for vote in &view.votes {
        line(
            "vote",
            &format!("{} by {}", if vote.grant { "yes" } else { "no" }, vote.user),
        );
    }
    Ok(())
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
