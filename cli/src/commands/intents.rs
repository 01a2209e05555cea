//! `actpass intents`.

use actpass_core::hash::StreamId;
use actpass_core::wire::{IntentView, Resolution};
use anyhow::Context;
use serde::Serialize;

use super::show::{self, table};
use crate::args::IntentsCommand;
use crate::control::Control;
use crate::exit::Exit;
use crate::state::StateDir;

pub(crate) async fn intents(
    command: IntentsCommand,
    state: &StateDir,
    json: bool,
) -> anyhow::Result<Exit> {
    let control = Control::connect(state).await?;
    let done = run(command, &control, json).await;
    control.close().await;
    done
}

async fn run(command: IntentsCommand, control: &Control, json: bool) -> anyhow::Result<Exit> {
    match command {
        IntentsCommand::List => {
            let intents: Vec<IntentView> = control.get("/v1/intents").await?;
            if json {
                let rows: Vec<Row> = intents.into_iter().map(Row::from).collect();
                show::json(&rows)?;
                return Ok(Exit::Ok);
            }
            show::line(&listed(intents))?;
        }
        IntentsCommand::Resolve { id, happened, .. } => {
            let (stream, seq) = stream_and_seq(&id)?;
            control
                .send(
                    "POST",
                    &format!("/v1/intents/{stream}/{seq}/resolution"),
                    &Resolution { happened },
                )
                .await?;
            show::line(&resolved(&id, happened))?;
        }
    }
    Ok(Exit::Ok)
}

/// As people read them.
pub(crate) fn listed(intents: Vec<IntentView>) -> String {
    let mut table = table(&["ID", "STATE", "CAPABILITY", "AMOUNT", "AGENT", "PERMITTED"]);
    for Row { id, intent } in intents.into_iter().map(Row::from) {
        let (amount, time) = (
            intent.amount.unwrap_or_default(),
            actpass_core::canonical::instant(intent.time),
        );
        table.add_row([
            id,
            intent.state,
            intent.capability,
            amount,
            intent.agent,
            time,
        ]);
    }
    table.to_string()
}

/// What is said once it is settled.
pub(crate) fn resolved(id: &str, happened: bool) -> String {
    let said = match happened {
        true => "happened",
        false => "did not happen; its budget is free again",
    };
    format!("{id}: {said}")
}

/// An intent with the id by which it is resolved.
#[derive(Serialize)]
pub(crate) struct Row {
    id: String,
    #[serde(flatten)]
    intent: IntentView,
}

impl From<IntentView> for Row {
    fn from(intent: IntentView) -> Self {
        let id = format!("{}/{}", intent.stream, intent.seq);
        Self { id, intent }
    }
}

/// The two halves of an id.
pub(crate) fn stream_and_seq(id: &str) -> anyhow::Result<(StreamId, u64)> {
    let halves = id.split_once('/').and_then(|(stream, seq)| {
        Some((stream.parse::<StreamId>().ok()?, seq.parse::<u64>().ok()?))
    });
    halves.with_context(|| format!("`{id}` is not STREAM/SEQ as `intents list` shows it"))
}
