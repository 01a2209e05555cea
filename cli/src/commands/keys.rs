//! `actpass keys`: the keys that sign the log, and those that encrypt the vault.

use actpass_core::hash::b64u_encode;
use actpass_ledger::keys::Ring;
use actpass_ledger::vault::{Kek, Vault, VaultError};
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
    match command {
        KeysCommand::List => {}
        KeysCommand::Rotate { kek: false } => rotate(state).await?,
        KeysCommand::Rotate { kek: true } => rotate_kek(state).await?,
        KeysCommand::Forget => forget(state).await?,
    }
    list(state, json)?;
    Ok(Exit::Ok)
}

async fn rotate(state: &StateDir) -> anyhow::Result<()> {
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
    Ok(())
}

async fn rotate_kek(state: &StateDir) -> anyhow::Result<()> {
    let kek = Kek::rotate_file(&state.kek())?;
    // A ledger writes the vault anew under it before it serves.
    let opened = Opened::open(state).await.with_context(|| {
        let id = kek.ids().into_iter().next().unwrap_or_default();
        format!(
            "key encryption key `{id}` is first in `{}`, and the vault goes under it at the next start of a ledger here; now none could be started",
            state.kek().display()
        )
    })?;
    opened.ledger.stop().await;
    Ok(())
}

async fn forget(state: &StateDir) -> anyhow::Result<()> {
    // By a start nothing but what cannot be read stays under another key, and nobody else is at it.
    let opened = Opened::open(state).await.with_context(|| {
        "whether anything lies under the keys before cannot be told while no ledger can be started here"
    })?;
    opened.ledger.stop().await;
    let newest = Kek::from_file(&state.kek())?.newest();
    let looked = Vault::look(&state.vault(), newest.clone());
    let looked = looked.and_then(|vault| vault.lies_under_first());
    looked.context("nothing is forgotten, since not all of the vault is under the key in use")?;
    Kek::forget_before(&state.kek(), &newest)?;
    Ok(())
}

fn list(state: &StateDir, json: bool) -> anyhow::Result<()> {
    let ring = Ring::load(&state.keys(), "log")?;
    let ring =
        ring.ok_or_else(|| anyhow!("there is no key yet; a ledger makes it when it starts"))?;
    let keys = ring
        .all()
        .map(|key| b64u_encode(key.verifying_key().as_bytes()));
    let keys: Vec<String> = keys.collect();
    let keks = match Kek::from_file(&state.kek()) {
        Err(VaultError::NoKek { .. }) => Vec::new(),
        read => read?.ids(),
    };
    if json {
        return show::json(&json!({ "log": keys, "kek": keks }));
    }
    let uses = [
        (keys, "signs the log", "signed it before"),
        (keks, "encrypts the vault", "encrypted it before"),
    ];
    for (keys, now, before) in uses {
        for (at, key) in keys.iter().enumerate() {
            let use_of = if at == 0 { now } else { before };
            show::line(&format!("{key}  {use_of}"))?;
        }
    }
    Ok(())
}
