//! What was permitted and has no outcome yet, and what people say became of it.

use actpass_core::wire::{IntentView, Resolution};
use anyhow::anyhow;

use super::args::Reach;
use super::kubectl::Kubectl;
use super::ledger::Ledger;
use crate::args::IntentsCommand;
use crate::client::Refused;
use crate::commands::intents::{Row, listed, resolved, stream_and_seq};
use crate::commands::show;
use crate::exit::Exit;

/// Who may see them.
const READER: &str = "actpass-auditor";
/// Who may settle them.
const ROLE: &str = "actpass-platform";

pub(super) async fn intents(
    kubectl: &Kubectl,
    reach: &Reach,
    command: IntentsCommand,
    json: bool,
) -> anyhow::Result<Exit> {
    let namespace = kubectl.namespace()?;
    match command {
        IntentsCommand::List => {
            let ledger = Ledger::reach(kubectl, reach, &namespace).await?;
            let path = ledger.path("/v1/intents", "");
            let found: Result<Vec<IntentView>, _> = ledger.client().get(&path).await;
            let found = found.map_err(|error| ledger.explained(error, READER))?;
            if json {
                let rows: Vec<Row> = found.into_iter().map(Row::from).collect();
                show::json(&rows)?;
            } else if found.is_empty() {
                show::line(&format!(
                    "Every action that namespace `{namespace}` was permitted has its outcome."
                ))?;
            } else {
                show::line(&listed(found))?;
            }
        }
        IntentsCommand::Resolve { id, happened, .. } => {
            let (stream, seq) = stream_and_seq(&id)?;
            let ledger = Ledger::reach(kubectl, reach, &namespace).await?;
            let path = format!("/v1/intents/{stream}/{seq}/resolution");
            let path = ledger.path(&path, "");
            let said = Resolution { happened };
            let done = ledger.client().send("POST", &path, &said).await;
            done.map_err(|error| match error.downcast_ref::<Refused>() {
                Some(refused) if refused.status == http::StatusCode::NOT_FOUND => anyhow!(
                    "no action of that id waits in namespace `{namespace}`: it has its outcome, or is of another; \
                     `kubectl actpass intents list -n {namespace}` names those that wait"
                ),
                _ => ledger.explained(error, ROLE),
            })?;
            match json {
                true => show::json(&serde_json::json!({"id": id, "happened": happened}))?,
                false => show::line(&resolved(&id, happened))?,
            }
        }
    }
    Ok(Exit::Ok)
}
