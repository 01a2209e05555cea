//! `actpass fork`: goes on with a log whose end is lost, and puts that into it.

use std::sync::Arc;

use actpass_core::evidence::leaf::GapLimits;
use actpass_ledger::engine::Parts;
use actpass_ledger::engine::fork::{Fork, Given, Request, fork as logged, plan, storage};
use actpass_ledger::heads;
use actpass_ledger::keys::Ring;
use actpass_ledger::vault::{Kek, Vault};
use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::show;
use super::verify::holds_log;
use crate::args::ForkArgs;
use crate::exit::Exit;
use crate::run::ledger::user;
use crate::state::StateDir;

pub(crate) fn fork(args: ForkArgs, state: &StateDir, json: bool) -> anyhow::Result<Exit> {
    let ForkArgs {
        why,
        lost,
        limits_as_logged,
        yes,
    } = args;
    let mut request = Request {
        log: Some(format!("actpass/{}", state.tenant()?)),
        by: user(),
        why,
        lost: Vec::new(),
        limits: match limits_as_logged {
            true => GapLimits::AsLogged,
            false => GapLimits::UsedUp,
        },
    };
    for head in lost {
        let given = Given::read(&head).with_context(|| format!("the head `{head}`"))?;
        request.lost.extend(given);
    }
    let known = !request.lost.is_empty() || !heads::read(&state.head())?.is_empty();
    if !known && !holds_log(&state.log()) {
        bail!(
            "there is no log in `{}`, and no head of one is kept or given",
            state.log().display()
        );
    }
    let mut forks = plan(&mut parts(state, false)?, &request)?;
    if yes {
        // What a crash cut short is dropped on opening, so only where there is something to say.
        forks = logged(parts(state, true)?, &request)?;
    }
    if json {
        let logs: Vec<Value> = forks.iter().map(shown).collect();
        show::json(&json!({"done": yes, "logs": logs}))?;
        return Ok(Exit::Ok);
    }
    for fork in &forks {
        show::line(&fork.to_string())?;
    }
    show::line(match yes {
        true => "Logged.",
        false => "Nothing was logged; add --yes.",
    })?;
    Ok(Exit::Ok)
}

/// The ledger of the state directory, to write to or to look at. Keys are made for no ledger that lost them.
fn parts(state: &StateDir, write: bool) -> anyhow::Result<Parts> {
    let key = Ring::load(&state.keys(), "log")?;
    let path = state.keys().join("log.key");
    key.with_context(|| format!("`{}` is not there; put it back", path.display()))?;
    // One that was asked for may be in force already.
    let key = Ring::load_or_make(&state.keys(), "log")?;
    let (vault, kek) = (state.vault(), Kek::from_file(&state.kek())?);
    // Opened to write, the storage drops what a crash cut short, and its lock covers the vault: so that comes first, and before it the vault
    // was looked at, which may refuse.
    let storage = storage(&state.log(), write).context("the log cannot be opened")?;
    let vault = match write {
        true => Vault::open(&vault, kek)?,
        false => {
            let vault = Vault::look(&vault, kek)?;
            vault.check_keys()?;
            vault
        }
    };
    Ok(Parts {
        storage,
        vault: Arc::new(vault),
        log_key: key,
        metrics: Arc::default(),
        heads: Some(state.head()),
    })
}

fn shown(fork: &Fork) -> Value {
    let heads = fork.lost.iter();
    let heads = heads.map(|head| json!({"size": head.size, "root": head.root}));
    let heads: Vec<Value> = heads.collect();
    json!({"log": fork.log, "gone": fork.gone, "size": fork.size, "root": fork.root, "lost": heads, "said": fork.said})
}
