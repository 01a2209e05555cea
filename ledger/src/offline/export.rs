//! Verification of a log in one file, as the ledger exports it.
//!
//! *Flow.* One pass, [`super::once`]. Where that cannot tell, as somebody changed the file, all lines are read: their sum, what they
//! are, where blobs lie. Then the leaves are read again and verified as those of a directory are. A line that is damaged does not end
//! that, so that the first leaf that is wrong is named too.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use actpass_core::verify::{Against, Report, Verification};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::beside::{Blobs, Opening, Stored};
use super::lines::{Brought, Form, Kind, Lines, failed};
use super::once::{Once, VerifyError, verify_file};
use super::resume::Resume;
use super::{Files, Known, Verified, VerifiedLog};
use crate::export::{BlobLine, First};
use crate::storage::StorageError;

/// Verifies an exported log against what is known from elsewhere.
///
/// # Errors
/// Where the file cannot be read, or what an earlier verification kept cannot be used. What is wrong with what it holds is in
/// [`Verified`].
pub fn verify_export(path: &Path, known: &Known<'_>) -> Result<Verified, VerifyError> {
    let mut once = verify_file(path, known, known.resume)?;
    if matches!(once, Once::Anew) {
        once = verify_file(path, known, None)?;
    }
    match once {
        Once::Said(verified) => Ok(*verified),
        Once::Anew | Once::Unclear => Ok(verify_twice(path, known)?),
    }
}

/// The same by reading it twice, which finds what lies beside the leaves wherever it stands.
pub(super) fn verify_twice(path: &Path, known: &Known<'_>) -> Result<Verified, StorageError> {
    let read = Exported::read(path)?;
    let Ok(first) = &read.form.first else {
        let damage = read.form.damage(path, 0, None, NO_EXPORT);
        return Ok(Verified::damaged(damage));
    };
    let last = read.form.last.iter();
    let checkpoints: Vec<String> = last.map(|it| it.checkpoint.clone()).collect();
    let mut anchors = known.anchors_of(&first.log);
    anchors.extend(known.resume.and_then(Resume::signed));
    let keys = known.keys_of(&first.log);
    let against = Against {
        checkpoints: &checkpoints,
        anchors: &anchors,
        keys: &keys,
    };
    let inputs = Stored::new(&read, &first.log, known.texts);
    let mut verification = Verification::new(&against, &inputs);
    let (mut leaves, mut again) = (0_u64, Form::new());
    lines(path, |kind, offset, line| {
        if let Some(Brought::Disclosed(openings)) = again.line(kind, offset, line, true) {
            verification.disclosed(openings);
        }
        if kind == Kind::Leaf {
            verification.leaf(line);
            leaves = leaves.saturating_add(1);
            known.verified(leaves, first.leaves);
        }
    })?;
    let report = verification.finish();
    let held = (!keys.is_empty(), anchors.len());
    let opening = inputs.opening().clone();
    Ok(verified(
        path, read.form, known, report, held, opening, None,
    ))
}

/// What was found in a file and in its log. `held`: whether the key was known, and how many heads were.
pub(super) fn verified(
    path: &Path,
    form: Form,
    known: &Known<'_>,
    report: Report,
    held: (bool, usize),
    texts: Opening,
    resumed: Option<u64>,
) -> Verified {
    let origin = form.first.as_ref().map_or("", |first| &first.log);
    let mut missing: Vec<String> = known.logs().map(str::to_owned).collect();
    missing.retain(|log| log != origin);
    missing.dedup();
    let named = report.origin.as_ref().is_none_or(|named| named == origin);
    let misnamed = (!named).then_some((0, None, OTHER_LOG));
    let files = match (form.damaged.or(misnamed), &form.last) {
        (Some((offset, leaf, what)), _) => Files::Damaged(form.damage(path, offset, leaf, what)),
        (None, None) => Files::CutExport {
            path: path.to_owned(),
            offset: form.bytes,
        },
        (None, Some(_)) => Files::Export { lines: form.count },
    };
    let log = VerifiedLog {
        origin: origin.to_owned(),
        checkpoint: form.last.map(|last| last.checkpoint),
        key_known: held.0,
        key_ended: known.has_ended(report.key.as_ref()),
        anchors: held.1,
        texts,
        resumed,
        report,
    };
    Verified {
        files,
        logs: vec![log],
        missing,
    }
}

/// Shows the leaves of an exported log, in order, unverified.
///
/// # Errors
/// [`StorageError::Io`] where the file cannot be read, [`StorageError::Damaged`] where it is no such file.
pub fn exported_leaves(path: &Path, mut show: impl FnMut(&[u8])) -> Result<(), StorageError> {
    let mut known = false;
    lines(path, |kind, _, line| match kind {
        Kind::First => known = serde_json::from_slice::<First>(line).is_ok(),
        Kind::Leaf if known => show(line),
        Kind::Leaf | Kind::Blob | Kind::Disclosed | Kind::Last => {}
    })?;
    match known {
        true => Ok(()),
        false => Err(StorageError::Damaged {
            path: path.to_owned(),
            offset: 0,
            log: None,
            seq: None,
            what: NO_EXPORT.to_owned(),
        }),
    }
}

pub(super) const NO_EXPORT: &str = "it does not begin as an exported log of this version does";

const OTHER_LOG: &str = "its first line names another log than its leaves";

/// What was found on the first of two readings.
struct Exported<'a> {
    path: &'a Path,
    form: Form,
    /// Where the newest line of each blob begins, and its length.
    blobs: HashMap<[u8; 32], (u64, usize)>,
}

impl<'a> Exported<'a> {
    fn read(path: &'a Path) -> Result<Self, StorageError> {
        let (mut form, mut blobs) = (Form::new(), HashMap::new());
        let bytes = lines(path, |kind, offset, line| {
            if let Some(Brought::Blob(name, _)) = form.line(kind, offset, line, false) {
                blobs.insert(name, (offset, line.len()));
            }
        })?;
        form.end(bytes);
        Ok(Self { path, form, blobs })
    }
}

impl Blobs for Exported<'_> {
    fn holds(&self, name: &[u8; 32]) -> bool {
        self.blobs.contains_key(name)
    }

    fn blob(&self, name: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError> {
        let Some((offset, length)) = self.blobs.get(name).copied() else {
            return Ok(None);
        };
        let mut line = vec![0; length];
        let read = File::open(self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(&mut line)
        });
        read.map_err(|source| failed(self.path, "read", source))?;
        let blob = serde_json::from_slice::<BlobLine>(&line).ok();
        let bytes = blob.and_then(|line| STANDARD.decode(line.blob.bytes).ok());
        let what = "what is kept beside the leaves is no base64";
        bytes
            .map(Some)
            .ok_or(self.form.damage(self.path, offset, None, what))
    }
}

/// Shows every whole line with the byte it begins at, without its end; the number of bytes read.
fn lines(path: &Path, mut show: impl FnMut(Kind, u64, &[u8])) -> Result<u64, StorageError> {
    let mut lines = opened(path)?;
    while let Some(kind) = lines.next()? {
        show(kind, lines.offset, lines.text());
    }
    Ok(lines.bytes())
}

fn opened(path: &Path) -> Result<Lines<'_, BufReader<File>>, StorageError> {
    let file = File::open(path).map_err(|source| failed(path, "open", source))?;
    Ok(Lines::new(path, BufReader::new(file)))
}
