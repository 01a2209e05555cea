//! Verification of an exported log in one pass, from a file or as it comes.
//!
//! *Flow.* The lines are taken in order. What lies beside the leaves is held until its leaf, which follows soon. Of a file the last
//! line is read ahead, since it has the checkpoint; of a stream it is not known before its end.
//! *Guarantees.* Memory is that of the state of the log and of what one append may hold, however long the log is. The answer is
//! that of [`super::export::verify_twice`], or that this way cannot give it: where something beside the leaves is missing, stands
//! elsewhere or twice, or where the file ends otherwise than it seemed to.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use actpass_core::verify::{Against, Report, Resumed, Verification};

use super::beside::Stored;
use super::export::{NO_EXPORT, verified};
use super::lines::{Brought, Form, Kind, Lines, failed, spelled};
use super::resume::{Resume, ResumeError};
use super::stage::Stage;
use super::{Known, Verified};
use crate::export::Last;
use crate::storage::StorageError;

/// How much of the end of a file is looked through for its last line, which is some 500 bytes long.
const END_BYTES: u64 = 64 << 10;

/// Why a log is not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What an earlier verification kept cannot be used, or not be kept.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// Only a file can be read again.
    #[error(
        "what lies beside the leaves does not stand before them as it is exported; keep it as a file and verify that"
    )]
    OutOfOrder,
    /// The same.
    #[error(
        "its first leaves are not those that were verified; keep it as a file and verify that, to see which was changed"
    )]
    Changed,
}

/// What one pass gives.
pub(super) enum Once {
    /// The answer.
    Said(Box<Verified>),
    /// The leaves before are not those that were verified, or something is wrong behind them.
    Anew,
    /// This way cannot tell.
    Unclear,
}

/// What is known of how the lines end.
#[derive(Clone, Copy)]
pub(super) enum End<'a> {
    /// This signed checkpoint, or none.
    Seen(Option<&'a str>),
    /// Nothing.
    ToCome,
}

/// Verifies an exported log as it comes.
///
/// # Errors
/// Where it cannot be read, or only a file could be verified.
pub fn verify_stream(from: impl BufRead, known: &Known<'_>) -> Result<Verified, VerifyError> {
    match pass(Path::new("-"), from, End::ToCome, known, known.resume)? {
        Once::Said(verified) => Ok(*verified),
        Once::Anew => Err(VerifyError::Changed),
        Once::Unclear => Err(VerifyError::OutOfOrder),
    }
}

/// Verifies a file, if one pass can.
pub(super) fn verify_file(
    path: &Path,
    known: &Known<'_>,
    resume: Option<&Resume>,
) -> Result<Once, VerifyError> {
    let end = checkpoint_of(path)?;
    let file = File::open(path).map_err(|source| failed(path, "open", source))?;
    let end = End::Seen(end.as_deref());
    pass(path, BufReader::new(file), end, known, resume)
}

fn pass(
    path: &Path,
    from: impl BufRead,
    end: End<'_>,
    known: &Known<'_>,
    resume: Option<&Resume>,
) -> Result<Once, VerifyError> {
    let (mut lines, mut form) = (Lines::new(path, from), Form::new());
    if let Some(kind) = lines.next()? {
        form.line(kind, lines.offset, lines.text(), false);
    }
    let Ok(first) = form.first.clone() else {
        let damage = form.damage(path, 0, None, NO_EXPORT);
        return Ok(Once::Said(Box::new(Verified::damaged(damage))));
    };
    let checkpoints: Vec<String> = match end {
        End::Seen(checkpoint) => checkpoint.map(str::to_owned).into_iter().collect(),
        End::ToCome => Vec::new(),
    };
    let mut anchors = known.anchors_of(&first.log);
    anchors.extend(known.resume.and_then(Resume::signed));
    let keys = known.keys_of(&first.log);
    let against = Against {
        checkpoints: &checkpoints,
        anchors: &anchors,
        keys: &keys,
    };
    let stage = Stage::default();
    let inputs = Stored::new(&stage, &first.log, known.texts);
    let saved = resume.map(|resume| resume.take(&first.log)).transpose()?;
    let mut verification = match (resume, saved.flatten()) {
        (Some(resume), Some(saved)) => Verification::resume(&against, &inputs, saved)
            .map_err(|source| resume.not_taken_up(source))?,
        _ => Verification::new(&against, &inputs),
    };
    let mut due = false;
    while let Some(kind) = lines.next()? {
        let passed = verification.resumed() == Resumed::NotYet;
        match form.line(kind, lines.offset, lines.text(), passed) {
            Some(Brought::Blob(name, bytes)) => stage.hold(name, bytes),
            Some(Brought::Disclosed(openings)) => verification.disclosed(openings),
            None => {}
        }
        if kind != Kind::Leaf {
            continue;
        }
        verification.leaf(lines.text());
        known.verified(form.leaves, first.leaves);
        if verification.resumed() == Resumed::Other {
            return Ok(Once::Anew);
        }
        // What lies beside the leaves that follow has to follow, too.
        due |= known.resume.is_some_and(|it| it.is_due(form.leaves));
        if due && !passed && stage.is_used_up() {
            due = false;
            keep(known.resume, &verification)?;
        }
    }
    form.end(lines.bytes());
    let resumed = match verification.resumed() {
        Resumed::From(leaves) => Some(leaves),
        Resumed::Anew => None,
        Resumed::NotYet | Resumed::Other => return Ok(Once::Anew),
    };
    let found = form.last.as_ref().map(|last| last.checkpoint.clone());
    let late: Vec<String> = match end {
        End::Seen(seen) if seen != found.as_deref() => return Ok(Once::Unclear),
        End::Seen(_) => Vec::new(),
        End::ToCome => found.iter().cloned().collect(),
    };
    let to_save = known.resume.filter(|_| stage.is_used_up());
    let saved = to_save.and_then(|_| verification.save());
    let report = verification.finish_under(&late);
    if unclear(&report, &stage, end) {
        return Ok(Once::Unclear);
    }
    if resumed.is_some() && report.found > 0 && matches!(end, End::Seen(_)) {
        return Ok(Once::Anew);
    }
    if let (Some(resume), Some(saved)) = (to_save, &saved)
        && report.found == 0
        && form.damaged.is_none()
    {
        let whole = report.covered == report.leaves;
        resume.keep(saved, found.as_deref().filter(|_| whole))?;
    }
    let held = (!keys.is_empty(), anchors.len());
    let opening = inputs.opening().clone();
    let said = verified(path, form, known, report, held, opening, resumed);
    Ok(Once::Said(Box::new(said)))
}

/// Whether what lies beside the leaves has to be looked for elsewhere. Who cannot look says what they found, if that is enough.
fn unclear(report: &Report, stage: &Stage, end: End<'_>) -> bool {
    match end {
        End::Seen(_) => !stage.suffices(),
        End::ToCome => report.found == 0 && !stage.is_used_up(),
    }
}

fn keep(resume: Option<&Resume>, verification: &Verification<'_>) -> Result<(), ResumeError> {
    match resume.zip(verification.save()) {
        Some((resume, saved)) => resume.keep(&saved, None),
        None => Ok(()),
    }
}

/// The checkpoint in the line that a file ends with.
fn checkpoint_of(path: &Path) -> Result<Option<String>, StorageError> {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(END_BYTES)))?;
        let mut end = Vec::new();
        file.take(END_BYTES).read_to_end(&mut end)?;
        Ok(end)
    };
    let end = read().map_err(|source| failed(path, "read", source))?;
    let last = end.strip_suffix(b"\n").and_then(|end| {
        let line = end.rsplit(|byte| *byte == b'\n').next()?;
        spelled::<Last>(line)
    });
    Ok(last.map(|last| last.checkpoint))
}
