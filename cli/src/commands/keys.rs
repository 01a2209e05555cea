//! `actpass keys`: the keys that sign the log.

use actpass_core::hash::b64u_encode;
use actpass_ledger::keys::Ring;
use anyhow::{Context, anyhow, bail};
use serde_json::json;

use super::show;
use crate::args::KeysCommand;
use crate::exit::Exit;
use crate::run::ledger::Opened;
use crate::state::StateDir;

pub(crate) async fn keys(
    command: &KeysCommand,
    state: &StateDir,
    json: bool,
) -> anyhow::Result<Exit> {
    if matches!(command, KeysCommand::Rotate) {
        let next = Ring::ask(&state.keys(), "log")?;
        let opened = Opened::open(state).await.with_context(|| {
            format!(
                "key `{}` is made and signs from the next start of a ledger here; now none could be started",
                b64u_encode(next.as_bytes())
            )
        })?;
        opened.ledger.stop().await;
        let newest = Ring::load(&state.keys(), "log")?;
        let newest = newest.map(|ring| ring.newest().verifying_key());
        if newest != Some(next) {
            bail!(
                "key `{}` is made and does not sign yet: the log could not name it, as said above; the next start tries again",
                b64u_encode(next.as_bytes())
            );
        }
    }
    let ring = Ring::load(&state.keys(), "log")?;
    let ring =
        ring.ok_or_else(|| anyhow!("there is no key yet; a ledger makes it when it starts"))?;
    let keys = ring
        .all()
        .map(|key| b64u_encode(key.verifying_key().as_bytes()));
    let keys: Vec<String> = keys.collect();
    match json {
        true => show::json(&json!({ "log": keys }))?,
        false => {
            for (at, key) in keys.iter().enumerate() {
                let use_of = if at == 0 { "signs" } else { "signed before" };
                show::line(&format!("{key}  {use_of}"))?;
            }
        }
    }
    Ok(Exit::Ok)
}
