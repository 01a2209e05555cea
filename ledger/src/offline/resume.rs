//! The file in which whoever verifies keeps how far a log is verified, so that a later verification goes on from there.
//!
//! It is the verifier's own, like a key or an anchor: who may write it may have leaves believed that nobody verified, so one that
//! others may open is refused, and a link too. The sum in it finds accidents.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use actpass_core::hash::{hex, sha256};
use actpass_core::verify::{Anchor, ResumeError as SavedError, Saved};
use serde::{Deserialize, Serialize};

use crate::vault::{PrivateFileError, private_file};

/// Version of the form.
const VERSION: &str = "actpass.verify-state/2";

/// What was verified by another program may not have been held to what this one asks.
const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// Largest file: the state of a log, which is some 600 bytes for each stream that ever ended. 1 GiB is 1,700,000 of them.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Why such a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// It cannot be read or written, or others may.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// What is to be kept cannot be spelled.
    #[error("what was verified cannot be kept in `{}`", path.display())]
    Spelling {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Its bytes are not those that were written.
    #[error("`{}` is damaged, or is no such file; remove it to verify from the first leaf on", .0.display())]
    Damaged(PathBuf),
    /// Another program wrote it.
    #[error(
        "`{}` was kept by another build of this program, of version {program}, and this is {PROGRAM}; remove it to verify from the first leaf on",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version.
        program: String,
    },
    /// It is of another log.
    #[error("`{}` says how far log `{kept}` is verified, and this is log `{found}`; give each log a file of its own", path.display())]
    OtherLog {
        /// The file.
        path: PathBuf,
        /// Its log.
        kept: String,
        /// The log to verify.
        found: String,
    },
    /// What it holds cannot be taken up.
    #[error("`{}` cannot be taken up; remove it to verify from the first leaf on", path.display())]
    Saved {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SavedError,
    },
}

/// Such a file.
pub struct Resume {
    path: PathBuf,
    every: u64,
    saved: RefCell<Option<Saved>>,
    signed: RefCell<Option<String>>,
}

/// Its first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    v: String,
    program: String,
    /// Of the second.
    sha256: String,
}

/// Its second line.
#[derive(Serialize, Deserialize)]
struct Body<S> {
    /// The newest checkpoint, once all that it covers was verified: any later file must have its head, or say under a key that follows
    /// from its own that it is lost.
    signed: Option<String>,
    saved: S,
}

impl Resume {
    /// The file at `path`, which need not be there yet; it is written anew every so many leaves.
    ///
    /// # Errors
    /// Where it is there and cannot be used.
    pub fn open(path: &Path, every: u64) -> Result<Self, ResumeError> {
        let bytes = private_file::read_own(path, FILE_BYTES_MAX)?;
        let read = bytes.map(|bytes| parsed(path, &bytes)).transpose()?;
        let (signed, saved) = read.map_or((None, None), |read| (read.signed, Some(read.saved)));
        Ok(Self {
            path: path.to_owned(),
            every: every.max(1),
            saved: RefCell::new(saved),
            signed: RefCell::new(signed),
        })
    }

    /// What was kept, once; it has to be of that log.
    pub(super) fn take(&self, log: &str) -> Result<Option<Saved>, ResumeError> {
        let saved = self.saved.take();
        match saved.as_ref().map(Saved::log).filter(|kept| *kept != log) {
            None => Ok(saved),
            Some(kept) => Err(ResumeError::OtherLog {
                path: self.path.clone(),
                kept: kept.to_owned(),
                found: log.to_owned(),
            }),
        }
    }

    /// The checkpoint that any later file is held against.
    pub(super) fn signed(&self) -> Option<Anchor> {
        self.signed.borrow().clone().map(Anchor::Checkpoint)
    }

    /// Whether it is time to keep what was verified.
    pub(super) fn is_due(&self, leaves: u64) -> bool {
        leaves.is_multiple_of(self.every)
    }

    /// Keeps what was verified, wholly or not at all, whenever the power goes; `signed`: the checkpoint that covers all of it.
    pub(super) fn keep(&self, saved: &Saved, signed: Option<&str>) -> Result<(), ResumeError> {
        if let Some(signed) = signed {
            self.signed.replace(Some(signed.to_owned()));
        }
        let signed = self.signed.borrow().clone();
        let spell = || -> serde_json::Result<Vec<u8>> {
            let body = serde_json::to_vec(&Body { signed, saved })?;
            let header = serde_json::to_vec(&Header {
                v: VERSION.to_owned(),
                program: PROGRAM.to_owned(),
                sha256: hex(&sha256(&[&body])),
            })?;
            Ok([header, body, Vec::new()].join(&b'\n'))
        };
        let bytes = spell().map_err(|source| ResumeError::Spelling {
            path: self.path.clone(),
            source,
        })?;
        Ok(private_file::replace(&self.path, &bytes)?)
    }

    pub(super) fn not_taken_up(&self, source: SavedError) -> ResumeError {
        ResumeError::Saved {
            path: self.path.clone(),
            source,
        }
    }
}

fn parsed(path: &Path, bytes: &[u8]) -> Result<Body<Saved>, ResumeError> {
    let damaged = || ResumeError::Damaged(path.to_owned());
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let header = lines.next().unwrap_or_default();
    let header: Header = serde_json::from_slice(header).map_err(|_| damaged())?;
    if (header.v.as_str(), header.program.as_str()) != (VERSION, PROGRAM) {
        return Err(ResumeError::Version {
            path: path.to_owned(),
            program: actpass_core::canonical::excerpt(&header.program),
        });
    }
    let body = lines.next().and_then(|rest| rest.strip_suffix(b"\n"));
    let body = body.ok_or_else(damaged)?;
    if header.sha256 != hex(&sha256(&[body])) {
        return Err(damaged());
    }
    serde_json::from_slice(body).map_err(|_| damaged())
}
