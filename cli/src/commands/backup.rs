//! `actpass backup` and `actpass restore`: a copy of the state elsewhere, and the way back.

use actpass_ledger::backup::{backup as copied, restore as put_back};
use serde_json::json;

use super::show;
use crate::args::{BackupArgs, RestoreArgs};
use crate::exit::Exit;
use crate::state::StateDir;

pub(crate) fn backup(
    args: &BackupArgs,
    state: impl FnOnce() -> anyhow::Result<StateDir>,
    json: bool,
) -> anyhow::Result<Exit> {
    let made = match &args.state {
        Some(dir) => copied(dir, &args.to)?,
        None => copied(state()?.path(), &args.to)?,
    };
    match json {
        true => show::json(&json!({
            "copy": args.to.join(&made.manifest.copy), "made": made.manifest.made, "logs": made.manifest.logs,
            "copied": made.copied, "kept": made.kept,
        }))?,
        false => show::line(&made.to_string())?,
    }
    Ok(Exit::Ok)
}

pub(crate) fn restore(args: &RestoreArgs, json: bool) -> anyhow::Result<Exit> {
    let restored = put_back(&args.from, &args.to, args.until.as_ref())?;
    match json {
        true => show::json(&json!({"made": restored.made, "logs": restored.logs}))?,
        false => show::line(&restored.to_string())?,
    }
    Ok(Exit::Ok)
}
