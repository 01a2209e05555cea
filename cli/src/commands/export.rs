//! `actpass export`: the log as one file, to be verified elsewhere.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use actpass_ledger::disclosure::{Leaves, Tally};
use actpass_ledger::export::First;
use actpass_ledger::offline::export_dir;
use anyhow::{Context, bail};
use serde_json::json;

use super::show;
use super::verify::known::vault;
use super::verify::{holds_log, with_log};
use crate::args::ExportArgs;
use crate::exit::Exit;
use crate::state::StateDir;

pub(crate) fn export(
    args: ExportArgs,
    state: impl FnOnce() -> anyhow::Result<StateDir>,
    json: bool,
) -> anyhow::Result<Exit> {
    let ExportArgs {
        log,
        to,
        disclose,
        force,
    } = args;
    let (dir, state) = match log {
        // A state directory is taken for the log in it.
        Some(dir) if !holds_log(&dir) && holds_log(&dir.join("log")) => {
            (dir.join("log"), Some(StateDir::named(Some(dir))?))
        }
        Some(dir) if disclose.is_none() => (dir, None),
        Some(dir) => (dir, Some(state()?)),
        None => {
            let state = state()?;
            (state.log(), Some(state))
        }
    };
    let dir = with_log(dir)?;
    let vault = match state.filter(|_| disclose.is_some()) {
        Some(state) => Some(vault(&state).context("the keys of the texts")?),
        None => None,
    };
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
    let first = export_dir(&dir, disclose.as_ref().zip(vault.as_ref()), &mut file)?;
    file.flush().with_context(failed)?;
    drop(file);
    part.as_file().sync_all().with_context(failed)?;
    part.persist(&to).with_context(failed)?;
    let disclosed = disclose.as_ref().map(|asked| disclosed(&to, asked));
    said(&first, &to, disclosed.transpose()?.as_ref(), json)?;
    Ok(Exit::Ok)
}

/// What was disclosed in a file, as it lies there.
fn disclosed<'a>(file: &Path, asked: &'a Leaves) -> anyhow::Result<Tally<'a>> {
    let failed = || format!("read `{}`", file.display());
    let mut lines = BufReader::new(File::open(file).with_context(failed)?);
    let (mut tally, mut line, mut first) = (Tally::new(asked), Vec::new(), true);
    while lines.read_until(b'\n', &mut line).with_context(failed)? > 0 {
        if !std::mem::take(&mut first) {
            tally.line(&line);
        }
        line.clear();
    }
    Ok(tally)
}

/// Says what is in the file, and what of the texts that somebody asked for.
pub(crate) fn said(
    first: &First,
    to: &Path,
    disclosed: Option<&Tally<'_>>,
    json: bool,
) -> anyhow::Result<()> {
    let (leaves, file) = (first.leaves, to.display());
    if json {
        let mut said = json!({"file": to, "log": first.log, "leaves": leaves, "key": first.key});
        if let (Some(tally), Some(said)) = (disclosed, said.as_object_mut()) {
            let disclosed = json!({
                "leaves": tally.disclosed(), "gone": tally.gone(), "without": tally.without(),
            });
            said.insert("disclosed".to_owned(), disclosed);
        }
        return show::json(&said);
    }
    show::line(&format!(
        "{leaves} leaves of log `{}` in `{file}`",
        first.log
    ))?;
    if let Some(tally) = disclosed {
        show::line(&format!(
            "The texts of {} of them are in clear: whoever has the file reads them, and no erasure reaches it",
            tally.disclosed()
        ))?;
        if let Some(gone) = tally.gone() {
            show::line(&format!(
                "Not disclosed, as nothing is left of their texts: leaves {gone} (erased, or never kept)"
            ))?;
        }
        if let Some(without) = tally.without() {
            show::line(&format!("Without texts of their own: leaves {without}"))?;
        }
    }
    show::line(&format!(
        "Check it anywhere: actpass verify {file} --key KEY, with the log's key from where you noted it"
    ))
}
