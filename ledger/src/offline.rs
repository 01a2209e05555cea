//! Verification of a log directory without a server: its files first, then each log in them.
//!
//! # Flow
//! Every byte of every file is held against checksums and chain. Then the leaves are read a second time, up to where
//! the first reading ended, and each log is verified by [`actpass_core::verify`] against its newest signed
//! checkpoint and the anchors given for it. A writer may be at work meanwhile.
//!
//! What lies beside the leaves is held until the leaf that names it, which stands right behind it, so that memory does not grow with
//! the log. Where something of that is missing or left over, it is looked for wherever it lies, which takes 60 bytes for each.

mod beside;
mod export;
mod exporting;
mod known;
mod lines;
mod once;
mod resume;
mod stage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use actpass_core::evidence::checkpoint::NoteVerifier;
use actpass_core::verify::{Against, Anchor, Class, Report, Verification};

use crate::engine::checkpoint_name;
use crate::storage::reader::{Checked, SegmentReader, Tail};
use crate::storage::{BlobKind, Entry, StorageError};

pub use beside::Opening;
use beside::Stored;
pub use export::{exported_leaves, verify_export};
pub use exporting::{ExportError, export_dir};
pub use known::{Known, LogKey, LogKeyError, TextKeys};
pub use once::{VerifyError, verify_stream};
pub use resume::{Resume, ResumeError};
use stage::Stage;

/// What the verification of a directory found.
#[derive(Debug)]
pub struct Verified {
    /// The bytes of the files.
    pub files: Files,
    /// Each log, in the order in which they were first written. None where the files are damaged.
    pub logs: Vec<VerifiedLog>,
    /// Logs that an anchor or a key is of and that the directory does not hold.
    pub missing: Vec<String>,
}

/// How the files came out.
#[derive(Debug)]
pub enum Files {
    /// There are none.
    Absent,
    /// Every byte is what was written.
    Whole(Checked),
    /// One file as [`crate::export`] writes it, whole.
    Export {
        /// Its lines.
        lines: u64,
    },
    /// Such a file without its end.
    CutExport {
        /// The file.
        path: PathBuf,
        /// Where it ends.
        offset: u64,
    },
    /// The same up to where they end in something that is no whole write.
    Torn(Checked),
    /// Some byte is not what was written, or a file does not belong.
    Damaged(StorageError),
}

/// One log.
#[derive(Debug)]
pub struct VerifiedLog {
    /// Its name.
    pub origin: String,
    /// Its newest signed checkpoint: the anchor to keep elsewhere.
    pub checkpoint: Option<String>,
    /// Whether its key was known from elsewhere, and not believed because the log names it.
    pub key_known: bool,
    /// Whether that key has ended, so that whoever stole it could have made the log.
    pub key_ended: bool,
    /// How many heads kept elsewhere it was held against.
    pub anchors: usize,
    /// Whether the texts beside its leaves could be opened.
    pub texts: Opening,
    /// Behind how many leaves this verification went on where an earlier one had ended.
    pub resumed: Option<u64>,
    /// What was found in it.
    pub report: Report,
}

impl VerifiedLog {
    /// What it amounts to.
    pub fn class(&self) -> Class {
        // Who took the keys away may have changed what they open.
        let unopened = matches!(self.texts, Opening::Failed(_)) && self.report.texts.sealed > 0;
        match self.report.class() {
            Class::Valid if unopened || self.key_ended => Class::Incomplete,
            class => class,
        }
    }
}

impl Verified {
    /// What it amounts to: the worst of files, logs and anchors.
    pub fn class(&self) -> Class {
        let invalid = matches!(self.files, Files::Damaged(_)) || !self.missing.is_empty();
        let cut = matches!(self.files, Files::Torn(_) | Files::CutExport { .. });
        let incomplete = cut || self.logs.is_empty();
        let mut classes = self.logs.iter().map(VerifiedLog::class);
        if invalid || classes.clone().any(|class| class == Class::Invalid) {
            Class::Invalid
        } else if incomplete || classes.any(|class| class == Class::Incomplete) {
            Class::Incomplete
        } else {
            Class::Valid
        }
    }
}

/// Verifies the log directory `dir` against what is known from elsewhere.
///
/// # Errors
/// [`StorageError::Io`] where the directory cannot be read. What is wrong with what it holds is no error but in
/// [`Verified`].
pub fn verify_dir(dir: &Path, known: &Known<'_>) -> Result<Verified, StorageError> {
    let mut lean = SegmentReader::open_read_only(dir)?;
    let read = lean.check_lean();
    match verify_read(dir, known, &lean, read, true)? {
        Some(verified) => Ok(verified),
        None => {
            let mut stored = SegmentReader::open_read_only(dir)?;
            let read = stored.check();
            let verified = verify_read(dir, known, &stored, read, false)?;
            Ok(verified.unwrap_or_else(|| Verified::absent(known)))
        }
    }
}

/// Verifies the logs of a directory whose files were checked; none where what was held beside the leaves does not suffice.
fn verify_read(
    dir: &Path,
    known: &Known<'_>,
    stored: &SegmentReader,
    checked: Result<Checked, StorageError>,
    lean: bool,
) -> Result<Option<Verified>, StorageError> {
    let checked = match checked {
        Ok(checked) => checked,
        // What nobody here can read is neither sound nor changed.
        Err(error @ (StorageError::Io { .. } | StorageError::OtherVersion { .. })) => {
            return Err(error);
        }
        Err(error) => return Ok(Some(Verified::damaged(error))),
    };
    let stages: Vec<Stage> = checked.logs.iter().map(|_| Stage::default()).collect();
    let mut missing: Vec<String> = known.logs().map(str::to_owned).collect();
    missing.retain(|name| !checked.logs.iter().any(|(log, _)| log == name));
    missing.dedup();

    let mut kept = Vec::new();
    for ((origin, head), stage) in checked.logs.iter().zip(&stages) {
        let checkpoint = match stored.blob(&checkpoint_name(origin)) {
            Ok(checkpoint) => checkpoint.map(|it| String::from_utf8_lossy(&it).into_owned()),
            Err(error @ StorageError::Io { .. }) => return Err(error),
            Err(error) => return Ok(Some(Verified::damaged(error))),
        };
        let checkpoints: Vec<String> = checkpoint.into_iter().collect();
        kept.push(Kept {
            inputs: Stored::new(if lean { stage } else { stored }, origin, known.texts),
            stage,
            origin,
            size: head.size,
            checkpoints,
            anchors: known.anchors_of(origin),
            keys: known.keys_of(origin),
        });
    }
    let against: Vec<Against<'_>> = kept
        .iter()
        .map(|kept| Against {
            checkpoints: &kept.checkpoints,
            anchors: &kept.anchors,
            keys: &kept.keys,
        })
        .collect();
    let mut running: BTreeMap<&str, (u64, &Stage, Verification<'_>)> = kept
        .iter()
        .zip(&against)
        .map(|(kept, against)| {
            let verification = Verification::new(against, &kept.inputs);
            (kept.origin, (kept.size, kept.stage, verification))
        })
        .collect();
    let of: u64 = checked.logs.iter().map(|(_, head)| head.size).sum();
    let mut leaves = 0_u64;
    // What a writer has added since the first reading has no checkpoint here.
    let mut show = |entry: Entry<'_>| match entry {
        Entry::Leaf { log, bytes, .. } => {
            if let Some((left, _, verification)) = running.get_mut(log).filter(|it| it.0 > 0) {
                *left = left.saturating_sub(1);
                verification.leaf(bytes);
                leaves = leaves.saturating_add(1);
                known.verified(leaves, of);
            }
        }
        Entry::Blob {
            log,
            kind,
            name,
            bytes,
        } => {
            if lean
                && kind != BlobKind::State
                && let Some((_, stage, _)) = running.get(log).filter(|it| it.0 > 0)
            {
                stage.hold(*name, bytes.to_vec());
            }
        }
    };
    match SegmentReader::open_to_follow(dir)?.read_on(&mut show) {
        Ok(_) => {}
        Err(error @ StorageError::Io { .. }) => return Err(error),
        Err(error) => return Ok(Some(Verified::damaged(error))),
    }
    if lean && !stages.iter().all(Stage::suffices) {
        return Ok(None);
    }
    let logs = kept
        .iter()
        .filter_map(|kept| {
            let (_, _, verification) = running.remove(kept.origin)?;
            let report = verification.finish();
            Some(VerifiedLog {
                origin: kept.origin.to_owned(),
                checkpoint: kept.checkpoints.first().cloned(),
                key_known: !kept.keys.is_empty(),
                key_ended: known.has_ended(report.key.as_ref()),
                anchors: kept.anchors.len(),
                texts: kept.inputs.opening().clone(),
                resumed: None,
                report,
            })
        })
        .collect();
    let files = match checked.tail {
        Tail::Clean => Files::Whole(checked),
        Tail::Torn { .. } => Files::Torn(checked),
    };
    Ok(Some(Verified {
        files,
        logs,
        missing,
    }))
}

impl Verified {
    /// A directory that holds no log, held against what is known of it.
    pub fn absent(known: &Known<'_>) -> Self {
        Self {
            files: Files::Absent,
            logs: Vec::new(),
            missing: known.logs().map(str::to_owned).collect(),
        }
    }

    fn damaged(error: StorageError) -> Self {
        Self {
            files: Files::Damaged(error),
            logs: Vec::new(),
            missing: Vec::new(),
        }
    }
}

/// One log, and what it is held against.
struct Kept<'a> {
    inputs: Stored<'a>,
    stage: &'a Stage,
    origin: &'a str,
    size: u64,
    checkpoints: Vec<String>,
    anchors: Vec<Anchor>,
    keys: Vec<NoteVerifier>,
}
