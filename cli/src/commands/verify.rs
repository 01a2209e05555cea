//! `actpass verify`: offline, with the log directory and what is known of the log from elsewhere.

pub(crate) mod known;
mod proof;
mod shown;
mod single;

use std::path::{Path, PathBuf};

use actpass_core::evidence::checkpoint::Checkpoint;
use actpass_core::evidence::leaf::LostHead;
use actpass_core::verify::Class;
use actpass_ledger::heads;
use actpass_ledger::offline::{
    Known, Resume, Verified, VerifiedLog, VerifyError, verify_dir, verify_export, verify_stream,
};
use anyhow::bail;
use known::Elsewhere;

use super::show;
use crate::args::VerifyArgs;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::state::{StateDir, write_private};

/// Checks the files, then each log in them, and says where the first mistake is.
pub(crate) fn verify(
    args: &VerifyArgs,
    state: impl FnOnce() -> anyhow::Result<StateDir>,
    json: bool,
) -> anyhow::Result<Exit> {
    let resume = args.resume.as_deref();
    let resume = resume.map(|file| Resume::open(file, args.resume_every));
    let resume = resume.transpose()?;
    let given = args.log.as_deref();
    if given == Some(Path::new("-")) {
        return of_export(args, resume.as_ref(), json, |known| {
            verify_stream(std::io::stdin().lock(), known)
        });
    }
    if let Some(file) = given.filter(|path| path.is_file()) {
        return of_file(args, file, state, resume.as_ref(), json);
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
        true => watched(&elsewhere, None, |known| verify_dir(&dir, known))?,
        false => Verified::absent(&elsewhere.known()),
    };
    said(&verified, &elsewhere, args.save_anchor.as_deref(), json)
}

/// Checks a file of any of the kinds that we write.
fn of_file(
    args: &VerifyArgs,
    file: &Path,
    state: impl FnOnce() -> anyhow::Result<StateDir>,
    resume: Option<&Resume>,
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
    of_export(args, resume, json, |known| verify_export(file, known))
}

/// Checks an exported log, against what the command line names.
fn of_export(
    args: &VerifyArgs,
    resume: Option<&Resume>,
    json: bool,
    verify: impl FnOnce(&Known<'_>) -> Result<Verified, VerifyError>,
) -> anyhow::Result<Exit> {
    let mut elsewhere = Elsewhere::default();
    elsewhere.add(&args.anchor, args.key.as_deref())?;
    let verified = watched(&elsewhere, resume, verify)?;
    said(&verified, &elsewhere, args.save_anchor.as_deref(), json)
}

/// Verifies, and says how far it is to whoever watches.
pub(crate) fn watched<T>(
    elsewhere: &Elsewhere,
    resume: Option<&Resume>,
    verify: impl FnOnce(&Known<'_>) -> T,
) -> T {
    let progress = Progress::new();
    verify(&Known {
        resume,
        progress: Some(&|leaves, of| progress.at(leaves, of)),
        ..elsewhere.known()
    })
}

/// Shows what was found, and keeps an anchor where one is asked for.
pub(crate) fn said(
    verified: &Verified,
    elsewhere: &Elsewhere,
    save_anchor: Option<&Path>,
    json: bool,
) -> anyhow::Result<Exit> {
    if json {
        show::json(&shown::json(verified, elsewhere))?;
    } else {
        show::line(&shown::text(verified, elsewhere))?;
    }
    if let Some(path) = save_anchor {
        save(path, verified)?;
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

/// Saves the newest checkpoint: written whole or not at all, as it may replace the anchor just used.
fn save(path: &Path, verified: &Verified) -> anyhow::Result<()> {
    if verified.class() == Class::Invalid {
        eprintln!("actpass: no anchor saved, as the log is invalid");
        return Ok(());
    }
    let [log] = verified.logs.as_slice() else {
        bail!(
            "no anchor saved: the directory holds {} logs, and an anchor is of one",
            verified.logs.len()
        );
    };
    let Some(checkpoint) = &log.checkpoint else {
        bail!("no anchor saved: the log has no signed checkpoint yet");
    };
    let lost = lost_in(path, log);
    write_private(path, &[&[checkpoint.clone()][..], &lost].concat().concat())?;
    if !lost.is_empty() {
        eprintln!(
            "actpass: what the file held of the part that is lost stays in it, behind the newest head"
        );
    }
    eprintln!(
        "actpass: anchor saved to `{}`; keep it where whoever holds the log cannot change it",
        path.display()
    );
    Ok(())
}

/// The anchors in a file that the log says are of what it lost: no later log has them, so a new head is none in their place.
fn lost_in(path: &Path, log: &VerifiedLog) -> Vec<String> {
    // Without the file there is nothing that could be lost with it.
    let mut notes = heads::notes(&std::fs::read_to_string(path).unwrap_or_default());
    let lost = || log.report.lost.iter().flat_map(|part| &part.heads);
    notes.retain(|note| {
        let is_of = |head: &LostHead| {
            let checkpoint = Checkpoint {
                origin: log.origin.clone(),
                size: head.size,
                root: head.root,
            };
            note.starts_with(&checkpoint.text())
        };
        lost().any(is_of)
    });
    notes
}
