//! The lines of an exported log: what each is, and what is wrong with it as a line.

use std::io::{BufRead, Read};
use std::path::Path;

use actpass_core::canonical;
use actpass_core::evidence::commitment::Openings;
use actpass_core::hash::{BlobDigest, hex};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::export::{BlobLine, DisclosedLine, First, LINE_BYTES_MAX, Last, VERSION};
use crate::storage::StorageError;

/// How lines of blobs, of what is disclosed and the last line begin; all others but the first are leaves.
const BLOB: &[u8] = b"{\"blob\":";
const DISCLOSED: &[u8] = b"{\"disclosed\":";
const LAST: &[u8] = b"{\"checkpoint\":";

const FOLLOWED: &str = "something follows its last line";

const NO_LEAF: &str = "what is disclosed of a leaf stands before something else";

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    First,
    Blob,
    Disclosed,
    Leaf,
    Last,
}

/// Whole lines one after the other, in the memory of one.
pub(super) struct Lines<'a, R> {
    path: &'a Path,
    from: R,
    line: Vec<u8>,
    /// Where the line begins, and the one after it.
    pub(super) offset: u64,
    next: u64,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(super) fn new(path: &'a Path, from: R) -> Self {
        Self {
            path,
            from,
            line: Vec::new(),
            offset: 0,
            next: 0,
        }
    }

    /// Goes to the next line; none at the end, or where a line was cut off or has none.
    pub(super) fn next(&mut self) -> Result<Option<Kind>, StorageError> {
        self.line.clear();
        self.offset = self.next;
        let bound = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = (&mut self.from)
            .take(bound)
            .read_until(b'\n', &mut self.line);
        let read = read.map_err(|source| failed(self.path, "read", source))?;
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        self.next = self.next.saturating_add(read);
        if self.line.pop_if(|last| *last == b'\n').is_none() {
            return Ok(None);
        }
        Ok(Some(match self.text() {
            _ if self.offset == 0 => Kind::First,
            text if text.starts_with(BLOB) => Kind::Blob,
            text if text.starts_with(DISCLOSED) => Kind::Disclosed,
            text if text.starts_with(LAST) => Kind::Last,
            _ => Kind::Leaf,
        }))
    }

    /// The line, without its end.
    pub(super) fn text(&self) -> &[u8] {
        &self.line
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.next
    }
}

/// What a line brings along for the leaves behind it.
pub(super) enum Brought {
    /// Name and bytes of what is kept beside them.
    Blob([u8; 32], Vec<u8>),
    /// Texts of the next one.
    Disclosed(Openings),
}

/// What the lines so far say of the file, and the first that is wrong.
pub(super) struct Form {
    pub(super) first: Result<First, ()>,
    pub(super) last: Option<Last>,
    /// The first byte of the first line that is wrong, the leaf that comes next there, and what is wrong.
    pub(super) damaged: Option<(u64, Option<u64>, &'static str)>,
    pub(super) leaves: u64,
    /// Whether something is disclosed of the leaf that comes next.
    disclosed: bool,
    pub(super) count: u64,
    /// Bytes read in all.
    pub(super) bytes: u64,
    /// Where the last whole line ended.
    whole: u64,
    sum: Sha256,
}

impl Form {
    pub(super) fn new() -> Self {
        Self {
            first: Err(()),
            last: None,
            damaged: None,
            leaves: 0,
            disclosed: false,
            count: 0,
            bytes: 0,
            whole: 0,
            sum: Sha256::new(),
        }
    }

    /// Takes in a line; what it brings along. `passed`: of what was verified before only the sum counts, and what is disclosed of it.
    pub(super) fn line(
        &mut self,
        kind: Kind,
        offset: u64,
        line: &[u8],
        passed: bool,
    ) -> Option<Brought> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        self.whole = offset.saturating_add(length).saturating_add(1);
        if self.last.is_some() {
            self.wrong(offset, FOLLOWED);
        }
        if self.disclosed && kind != Kind::Leaf {
            self.wrong(offset, NO_LEAF);
        }
        let mut found = None;
        match kind {
            Kind::First => {
                let first = spelled::<First>(line).filter(|first| first.export == VERSION);
                self.first = first.ok_or(());
            }
            Kind::Blob if passed => {}
            Kind::Blob => {
                found = blob(line).map(|(name, bytes)| Brought::Blob(name, bytes));
                if found.is_none() {
                    self.wrong(offset, "a line does not say what is kept beside the leaves");
                }
            }
            Kind::Disclosed => {
                found = self.disclosed(line).map(Brought::Disclosed);
                match found {
                    Some(_) => self.disclosed = true,
                    None => self.wrong(
                        offset,
                        "a line does not disclose texts of the leaf behind it",
                    ),
                }
            }
            Kind::Leaf => {
                self.leaves = self.leaves.saturating_add(1);
                self.disclosed = false;
            }
            Kind::Last => self.last(offset, line),
        }
        self.sum.update(line);
        self.sum.update(b"\n");
        self.count = self.count.saturating_add(1);
        found
    }

    /// Takes in that so many bytes were read in all.
    pub(super) fn end(&mut self, bytes: u64) {
        self.bytes = bytes;
        if self.last.is_some() && bytes > self.whole {
            self.wrong(self.whole, FOLLOWED);
        }
    }

    pub(super) fn damage(
        &self,
        path: &Path,
        offset: u64,
        seq: Option<u64>,
        what: &str,
    ) -> StorageError {
        StorageError::Damaged {
            path: path.to_owned(),
            offset,
            log: self.first.as_ref().ok().map(|first| first.log.clone()),
            seq,
            what: what.to_owned(),
        }
    }

    /// What a line discloses of the next leaf.
    fn disclosed(&self, line: &[u8]) -> Option<Openings> {
        let read = canonical::from_slice_exact::<DisclosedLine>(line).ok()?;
        let next = read.disclosed.seq == self.leaves;
        next.then_some(read.disclosed.openings)
    }

    fn last(&mut self, offset: u64, line: &[u8]) {
        let Some(last) = spelled::<Last>(line) else {
            return self.wrong(offset, "its last line says neither sum nor checkpoint");
        };
        if last.sha256 != hex(&self.sum.clone().finalize()) {
            self.wrong(offset, "the lines before are not those of its sum");
        }
        if self.first.as_ref().is_ok_and(|it| it.leaves != self.leaves) {
            let what = "it holds another number of leaves than its first line says";
            self.wrong(offset, what);
        }
        self.last = Some(last);
    }

    fn wrong(&mut self, offset: u64, what: &'static str) {
        self.damaged
            .get_or_insert((offset, Some(self.leaves), what));
    }
}

/// What a line says, in the one spelling in which it is exported: whoever reads these lines with other tools finds no two readings.
pub(super) fn spelled<T: Serialize + DeserializeOwned>(line: &[u8]) -> Option<T> {
    let value = serde_json::from_slice(line).ok()?;
    (serde_json::to_vec(&value).ok()? == line).then_some(value)
}

fn blob(line: &[u8]) -> Option<([u8; 32], Vec<u8>)> {
    let BlobLine { blob } = spelled(line)?;
    let digest: BlobDigest = blob.name.parse().ok()?;
    let bytes = STANDARD.decode(blob.bytes).ok()?;
    Some((*digest.as_bytes(), bytes))
}

pub(super) fn failed(path: &Path, did: &'static str, source: std::io::Error) -> StorageError {
    StorageError::Io {
        path: path.to_owned(),
        did,
        source,
    }
}
