//! `actpass intents`.

use actpass_core::hash::StreamId;
use actpass_core::wire::{IntentView, Resolution};
use anyhow::anyhow;
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
            show::line(&table.to_string())?;
        }
        IntentsCommand::Resolve { id, happened, .. } => {
            let (stream, seq) = stream_and_seq(&id)
                .ok_or_else(|| anyhow!("`{id}` is not STREAM/SEQ as `intents list` shows it"))?;
            control
                .send(
                    "POST",
                    &format!("/v1/intents/{stream}/{seq}/resolution"),
                    &Resolution { happened },
                )
                .await?;
            let said = match happened {
                true => "happened",
                false => "did not happen; its budget is free again",
            };
            show::line(&format!("{id}: {said}"))?;
        }
    }
    Ok(Exit::Ok)
}

/// An intent with the id by which it is resolved.
#[derive(Serialize)]
struct Row {
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

fn stream_and_seq(id: &str) -> Option<(StreamId, u64)> {
    let (stream, seq) = id.split_once('/')?;
    Some((stream.parse().ok()?, seq.parse().ok()?))
}
