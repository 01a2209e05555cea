//! `actpass export`: the log as one file, to be verified elsewhere.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use actpass_ledger::offline::export_dir;
use anyhow::{Context, bail};
use serde_json::json;

use super::show;
use super::verify::{holds_log, with_log};
use crate::args::ExportArgs;
use crate::exit::Exit;
use crate::state::StateDir;

pub(crate) fn export(
    args: ExportArgs,
    state: impl FnOnce() -> anyhow::Result<StateDir>,
    json: bool,
) -> anyhow::Result<Exit> {
    let ExportArgs { log, to, force } = args;
    let dir = match log {
        // A state directory is taken for the log in it.
        Some(dir) if !holds_log(&dir) && holds_log(&dir.join("log")) => dir.join("log"),
        Some(dir) => dir,
        None => state()?.log(),
    };
    let dir = with_log(dir)?;
    if to.exists() && !force {
        bail!(
            "`{}` is there already; name another file, or add --force",
            to.display()
        );
    }
    let failed = || format!("write `{}`", to.display());
    let beside = to.parent().filter(|dir| !dir.as_os_str().is_empty());
    let beside: PathBuf = beside.unwrap_or(Path::new(".")).to_owned();
    // The file appears whole or not at all.
    let part = tempfile::NamedTempFile::new_in(beside).with_context(failed)?;
    let mut file = BufWriter::new(part.as_file());
    let first = export_dir(&dir, &mut file)?;
    file.flush().with_context(failed)?;
    drop(file);
    part.as_file().sync_all().with_context(failed)?;
    part.persist(&to).with_context(failed)?;
    match json {
        true => show::json(
            &json!({"file": to, "log": first.log, "leaves": first.leaves, "key": first.key}),
        )?,
        false => show::line(&format!(
            "{} leaves in `{to}`\nCheck it anywhere: actpass verify {to} --key KEY, with the log's key from where you noted it",
            first.leaves,
            to = to.display()
        ))?,
    }
    Ok(Exit::Ok)
}
