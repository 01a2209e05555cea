//! Verification of a log in one file, as the ledger exports it.
//!
//! *Flow.* All lines are read once: their sum, what they are, where blobs lie. Then the leaves are read again and verified as
//! those of a directory are. A line that is damaged does not end that, so that the first leaf that is wrong is named too.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use actpass_core::hash::{BlobDigest, hex};
use actpass_core::verify::{Against, Verification};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::beside::{Blobs, Stored};
use super::{Files, Known, LogKey, Verified, VerifiedLog};
use crate::export::{BlobLine, First, LINE_BYTES_MAX, Last, VERSION};
use crate::storage::StorageError;

/// How lines of blobs and the last line begin; all others but the first are leaves.
const BLOB: &[u8] = b"{\"blob\":";
const LAST: &[u8] = b"{\"checkpoint\":";

/// Verifies an exported log against what is known from elsewhere.
///
/// # Errors
/// [`StorageError::Io`] where the file cannot be read. What is wrong with what it holds is in [`Verified`].
pub fn verify_export(path: &Path, known: &Known<'_>) -> Result<Verified, StorageError> {
    let read = Exported::read(path)?;
    let first = match &read.first {
        Ok(first) => first,
        Err(_) => return Ok(Verified::damaged(read.damage(0, None, NO_EXPORT))),
    };
    let origin = first.log.as_str();
    let checkpoints: Vec<String> = read.last.iter().map(|it| it.checkpoint.clone()).collect();
    let anchors = known.anchors_of(origin);
    let key = known.key.and_then(|key| key.of(origin));
    let against = Against {
        checkpoints: &checkpoints,
        anchors: &anchors,
        key: key.as_ref(),
    };
    let inputs = Stored::new(&read, origin, known.texts);
    let mut verification = Verification::new(&against, &inputs);
    let mut leaves = 0_u64;
    lines(path, |kind, _, line| {
        if kind == Kind::Leaf {
            verification.leaf(line);
            leaves = leaves.saturating_add(1);
            known.verified(leaves, first.leaves);
        }
    })?;
    let report = verification.finish();
    let mut missing: Vec<String> = known.logs().map(str::to_owned).collect();
    missing.retain(|log| log != origin);
    missing.dedup();
    let named = report.origin.as_ref().is_none_or(|named| named == origin);
    let misnamed = (!named).then_some((0, None, OTHER_LOG));
    let files = match (read.damaged.or(misnamed), &read.last) {
        (Some((offset, leaf, what)), _) => Files::Damaged(read.damage(offset, leaf, what)),
        (None, None) => Files::CutExport {
            path: path.to_owned(),
            offset: read.bytes,
        },
        (None, Some(_)) => Files::Export { lines: read.count },
    };
    let log = VerifiedLog {
        origin: origin.to_owned(),
        checkpoint: checkpoints.first().cloned(),
        key_known: key.is_some(),
        anchors: anchors.len(),
        texts: inputs.opening().clone(),
        report,
    };
    Ok(Verified {
        files,
        logs: vec![log],
        missing,
    })
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
        Kind::Leaf | Kind::Blob | Kind::Last => {}
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

/// Of several keys the one that the file says it is of; else the first, which it is then held against in vain.
pub fn key_of(path: &Path, keys: &[LogKey]) -> Result<Option<LogKey>, StorageError> {
    let read = Exported::read(path)?;
    let Ok(First { key, log, .. }) = &read.first else {
        return Ok(keys.first().cloned());
    };
    let own = keys
        .iter()
        .find(|known| known.of(log).is_some_and(|known| known.to_vkey() == *key));
    Ok(own.or(keys.first()).cloned())
}

const NO_EXPORT: &str = "it does not begin as an exported log of this version does";

const FOLLOWED: &str = "something follows its last line";

const OTHER_LOG: &str = "its first line names another log than its leaves";

/// What a line is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    First,
    Blob,
    Leaf,
    Last,
}

/// What was found on the first reading.
struct Exported<'a> {
    path: &'a Path,
    first: Result<First, ()>,
    last: Option<Last>,
    /// The first byte of the first line that is wrong, the leaf that comes next there, and what is wrong.
    damaged: Option<(u64, Option<u64>, &'static str)>,
    /// Where the newest line of each blob begins, and its length.
    blobs: HashMap<[u8; 32], (u64, usize)>,
    count: u64,
    bytes: u64,
}

impl<'a> Exported<'a> {
    fn read(path: &'a Path) -> Result<Self, StorageError> {
        let mut read = Self {
            path,
            first: Err(()),
            last: None,
            damaged: None,
            blobs: HashMap::new(),
            count: 0,
            bytes: 0,
        };
        let (mut sum, mut leaves) = (Sha256::new(), 0_u64);
        let (mut found, mut whole) = (Vec::new(), 0_u64);
        read.bytes = lines(path, |kind, offset, line| {
            whole = after(offset, line);
            let mut wrong = |what| found.push((offset, Some(leaves), what));
            if read.last.is_some() {
                wrong(FOLLOWED);
            }
            match kind {
                Kind::First => {
                    let first = spelled::<First>(line).filter(|first| first.export == VERSION);
                    read.first = first.ok_or(());
                }
                Kind::Blob => match blob_name(line) {
                    Some(name) => drop(read.blobs.insert(name, (offset, line.len()))),
                    None => wrong("a line does not say what is kept beside the leaves"),
                },
                Kind::Leaf => leaves = leaves.saturating_add(1),
                Kind::Last => match spelled::<Last>(line) {
                    Some(last) => {
                        if last.sha256 != hex(&sum.clone().finalize()) {
                            wrong("the lines before are not those of its sum");
                        }
                        if read.first.as_ref().is_ok_and(|it| it.leaves != leaves) {
                            wrong("it holds another number of leaves than its first line says");
                        }
                        read.last = Some(last);
                    }
                    None => wrong("its last line says neither sum nor checkpoint"),
                },
            }
            sum.update(line);
            sum.update(b"\n");
            read.count = read.count.saturating_add(1);
        })?;
        if read.last.is_some() && read.bytes > whole {
            found.push((whole, Some(leaves), FOLLOWED));
        }
        read.damaged = found.first().copied();
        Ok(read)
    }

    fn damage(&self, offset: u64, seq: Option<u64>, what: &str) -> StorageError {
        StorageError::Damaged {
            path: self.path.to_owned(),
            offset,
            log: self.first.as_ref().ok().map(|first| first.log.clone()),
            seq,
            what: what.to_owned(),
        }
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
        bytes.map(Some).ok_or(self.damage(offset, None, what))
    }
}

/// Shows every whole line with the byte it begins at, without its end; the number of bytes read.
fn lines(path: &Path, mut show: impl FnMut(Kind, u64, &[u8])) -> Result<u64, StorageError> {
    let file = File::open(path).map_err(|source| failed(path, "open", source))?;
    let mut file = BufReader::new(file);
    let (mut line, mut offset) = (Vec::new(), 0_u64);
    loop {
        line.clear();
        let bound = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = (&mut file).take(bound).read_until(b'\n', &mut line);
        let read = read.map_err(|source| failed(path, "read", source))?;
        let Some((b'\n', text)) = line.split_last() else {
            // The end, or a line that was cut off or has none.
            return Ok(offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX)));
        };
        let kind = match text {
            _ if offset == 0 => Kind::First,
            text if text.starts_with(BLOB) => Kind::Blob,
            text if text.starts_with(LAST) => Kind::Last,
            _ => Kind::Leaf,
        };
        show(kind, offset, text);
        offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

fn failed(path: &Path, did: &'static str, source: std::io::Error) -> StorageError {
    StorageError::Io {
        path: path.to_owned(),
        did,
        source,
    }
}

/// Where the line after this one begins.
fn after(offset: u64, line: &[u8]) -> u64 {
    let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
    offset.saturating_add(length).saturating_add(1)
}

/// What a line says, in the one spelling in which it is exported: whoever reads these lines with other tools finds no two readings.
fn spelled<T: Serialize + DeserializeOwned>(line: &[u8]) -> Option<T> {
    let value = serde_json::from_slice(line).ok()?;
    (serde_json::to_vec(&value).ok()? == line).then_some(value)
}

fn blob_name(line: &[u8]) -> Option<[u8; 32]> {
    let BlobLine { blob } = spelled(line)?;
    let digest: BlobDigest = blob.name.parse().ok()?;
    STANDARD.decode(blob.bytes).ok()?;
    Some(*digest.as_bytes())
}
