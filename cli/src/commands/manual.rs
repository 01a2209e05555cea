//! `actpass completions` and `actpass man`: both follow from the command line's own description.

use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;

use super::show;
use crate::args::Cli;
use crate::exit::Exit;

/// Prints the completions of a shell.
pub(crate) fn completions(shell: clap_complete::Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "actpass", &mut script);
    show::write(&script)?;
    Ok(Exit::Ok)
}

/// Writes `actpass.1`, `actpass-run.1` and so on.
pub(crate) fn man(dir: &Path) -> anyhow::Result<Exit> {
    let made = std::fs::create_dir_all(dir);
    made.with_context(|| format!("make the directory `{}`", dir.display()))?;
    let written = clap_mangen::generate_to(Cli::command(), dir);
    written.with_context(|| format!("write the manual pages to `{}`", dir.display()))?;
    Ok(Exit::Ok)
}
