//! `actpass verify`: offline, with the log directory and what is known of the log from elsewhere.

pub(crate) mod known;
mod proof;
pub(crate) mod saving;
mod shown;
mod single;

use std::path::{Path, PathBuf};

use actpass_ledger::heads;
use actpass_ledger::offline::{
    Known, Resume, Verified, VerifyError, verify_dir, verify_export, verify_stream,
};
use anyhow::bail;
use known::Elsewhere;
use saving::Saving;

use super::show;
use crate::args::VerifyArgs;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::state::StateDir;

/// Checks the files, then each log in them, and says where the first mistake is.
pub(crate) fn verify(
    args: &VerifyArgs,
    state: impl FnOnce() -> anyhow::Result<StateDir>,
    json: bool,
) -> anyhow::Result<Exit> {
    let resume = args.resume.as_deref();
    let resume = resume.map(|file| Resume::open(file, args.resume_every));
    let resume = resume.transpose()?;
    let saving = args.save_anchor.as_deref().map(Saving::open).transpose()?;
    let saving = saving.as_ref();
    let given = args.log.as_deref();
    if given == Some(Path::new("-")) {
        return of_export(args, resume.as_ref(), saving, json, |known| {
            verify_stream(std::io::stdin().lock(), known)
        });
    }
    if let Some(file) = given.filter(|path| path.is_file()) {
        return of_file(args, file, state, resume.as_ref(), saving, json);
    }
    if resume.is_some() {
        bail!("--resume is for an exported log: make one by `actpass export`");
    }
    let (dir, mut elsewhere) = match &args.log {
        Some(dir) => {
            let dir = with_log(dir.clone())?;
            let elsewhere = Elsewhere::of_copy(&dir, state().ok().as_ref())?;
            (dir, elsewhere)
        }
        None => {
            let state = state()?;
            let dir = state.log();
            if !holds_log(&dir) && heads::read(&state.head())?.is_empty() {
                with_log(dir.clone())?;
            }
            (dir, Elsewhere::of_state(&state)?)
        }
    };
    elsewhere.add(&args.anchor, args.key.as_deref())?;
    let verified = match holds_log(&dir) {
        true => watched(&elsewhere, saving, None, |known| verify_dir(&dir, known))?,
        false => Verified::absent(&elsewhere.known()),
    };
    said(&verified, &elsewhere, saving, json)
}

/// Checks a file of any of the kinds that we write.
fn of_file(
    args: &VerifyArgs,
    file: &Path,
    state: impl FnOnce() -> anyhow::Result<StateDir>,
    resume: Option<&Resume>,
    saving: Option<&Saving>,
    json: bool,
) -> anyhow::Result<Exit> {
    let of_logs = !args.anchor.is_empty() || args.save_anchor.is_some() || resume.is_some();
    let without_anchors = || match of_logs {
        false => Ok(()),
        true => bail!(
            "a report or proof has one leaf of a log: anchors are for logs; leave out --anchor, --save-anchor and --resume"
        ),
    };
    let key = args.key.as_deref();
    if let Some(text) = single::read(file)? {
        without_anchors()?;
        return single::verify(&text, file, key, state().ok().as_ref(), json);
    }
    if let Some(report) = proof::read(file)? {
        without_anchors()?;
        return proof::verify(&report, file, key, json);
    }
    of_export(args, resume, saving, json, |known| {
        verify_export(file, known)
    })
}

/// Checks an exported log, against what the command line names.
fn of_export(
    args: &VerifyArgs,
    resume: Option<&Resume>,
    saving: Option<&Saving>,
    json: bool,
    verify: impl FnOnce(&Known<'_>) -> Result<Verified, VerifyError>,
) -> anyhow::Result<Exit> {
    let mut elsewhere = Elsewhere::default();
    elsewhere.add(&args.anchor, args.key.as_deref())?;
    let verified = watched(&elsewhere, saving, resume, verify)?;
    said(&verified, &elsewhere, saving, json)
}

/// Verifies, and says how far it is to whoever watches.
pub(crate) fn watched<E>(
    elsewhere: &Elsewhere,
    saving: Option<&Saving>,
    resume: Option<&Resume>,
    verify: impl FnOnce(&Known<'_>) -> Result<Verified, E>,
) -> Result<Verified, E> {
    let progress = Progress::new();
    let known = Known {
        resume,
        progress: Some(&|leaves, of| progress.at(leaves, of)),
        ..elsewhere.known()
    };
    match saving {
        Some(saving) => saving.beside(&known, verify),
        None => verify(&known),
    }
}

/// Shows what was found, and keeps an anchor where one is asked for.
pub(crate) fn said(
    verified: &Verified,
    elsewhere: &Elsewhere,
    saving: Option<&Saving>,
    json: bool,
) -> anyhow::Result<Exit> {
    if json {
        show::json(&shown::json(verified, elsewhere))?;
    } else {
        show::line(&shown::text(verified, elsewhere))?;
    }
    if let Some(saving) = saving {
        saving.save(verified)?;
    }
    Ok(verified.class().into())
}

/// The given log directory, or the one of the state directory.
///
/// # Errors
/// Where no directory is given and none can be named.
pub(crate) fn log_dir(
    given: Option<&Path>,
    state: impl FnOnce() -> anyhow::Result<StateDir>,
) -> anyhow::Result<PathBuf> {
    match given {
        Some(dir) => Ok(dir.to_owned()),
        None => Ok(state()?.log()),
    }
}

/// Whether a log was begun in this directory.
pub(crate) fn holds_log(dir: &Path) -> bool {
    dir.join("segments").is_dir()
}

/// The directory, if it holds a log.
///
/// # Errors
/// Where it holds none.
pub(crate) fn with_log(dir: PathBuf) -> anyhow::Result<PathBuf> {
    if !holds_log(&dir) {
        bail!(
            "`{}` holds no log; give the directory with `segments` in it, or make one by `actpass run`",
            dir.display()
        );
    }
    Ok(dir)
}
