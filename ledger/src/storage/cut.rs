//! Where a directory of segments ends, and how one in which nobody writes is cut: behind a whole group, never inside one.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::StorageError;
use super::frame::{ALIGN, Frame, decode_frame, decode_header};
use super::io::{Access, SystemIo};
use super::walk::{Walk, begins, index_name, segment_name, sort_names};

/// Zeros written at a time.
const FILL_BYTES: usize = 64 * 1024;

/// A segment and the place in it behind which nothing stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) segment: u32,
    pub(crate) offset: usize,
}

/// Path of a segment in the directory of a log.
pub(crate) fn segment_path(log: &Path, number: u32) -> PathBuf {
    log.join("segments").join(segment_name(number))
}

/// Path of the index file of a segment.
pub(crate) fn index_path(log: &Path, number: u32) -> PathBuf {
    log.join("segments").join(index_name(number))
}

/// The last segment that has data; 0 where none has. No writer changes those before it any more.
pub(crate) fn last_begun(log: &Path) -> Result<u32, StorageError> {
    let segments = log.join("segments");
    let numbers = sort_names(&SystemIo, &segments, &mut Walk::default())?;
    for number in numbers.into_iter().rev() {
        if begins(&SystemIo, &segments, number, Access::Read)? {
            return Ok(number);
        }
    }
    Ok(0)
}

/// Where the end of a directory is torn, as a reader named file and place.
pub(crate) fn torn_at(path: &Path, offset: u64) -> Option<End> {
    let name = path.file_name()?.to_str()?;
    Some(End {
        segment: name.split('.').next()?.parse().ok()?,
        offset: usize::try_from(offset).ok()?,
    })
}

/// Where a directory is to be cut so that of each leaf before `stays` is true: before the first group that holds another one;
/// none where all stay. Its bytes were checked.
pub(crate) fn first_beyond(
    log: &Path,
    mut stays: impl FnMut(&str, u64, &[u8]) -> bool,
) -> Result<Option<End>, StorageError> {
    let mut names = Vec::new();
    for segment in 1..=last_begun(log)? {
        let path = segment_path(log, segment);
        let bytes = fs::read(&path).map_err(failed(&path, "read"))?;
        let mut offset = 0;
        while let Some(group) = bytes.get(offset..)
            && let Some(header) = decode_header(group)
        {
            let frames = group.get(ALIGN..header.bytes).unwrap_or_default();
            if !group_stays(frames, header.frames, &mut names, &mut stays) {
                return Ok(Some(End { segment, offset }));
            }
            offset = offset.saturating_add(header.bytes.max(ALIGN));
        }
    }
    Ok(None)
}

fn group_stays(
    mut rest: &[u8],
    frames: u32,
    names: &mut Vec<String>,
    stays: &mut impl FnMut(&str, u64, &[u8]) -> bool,
) -> bool {
    for _ in 0..frames {
        let Some((frame, after)) = decode_frame(rest) else {
            return false;
        };
        match frame {
            // Numbers count from 0, so a log's number is its place here.
            Frame::Log { name, .. } => names.push(name.to_owned()),
            Frame::Leaf { log, seq, bytes } => {
                let name = names.get(usize::try_from(log).unwrap_or(usize::MAX));
                if !name.is_some_and(|name| stays(name, seq, bytes)) {
                    return false;
                }
            }
            Frame::Segment { .. } | Frame::Blob { .. } => {}
        }
        rest = after;
    }
    true
}

/// Cuts a directory there, durably: zeros stand behind the end, later segments are gone.
pub(crate) fn cut(log: &Path, end: End) -> Result<(), StorageError> {
    let segments = log.join("segments");
    let gone = if end.offset == 0 {
        end.segment
    } else {
        clear_from(&segment_path(log, end.segment), end.offset)?;
        end.segment.saturating_add(1)
    };
    let numbers = sort_names(&SystemIo, &segments, &mut Walk::default())?;
    // The last first, so that a cut which is cut short leaves no hole.
    for number in numbers.into_iter().rev().filter(|it| *it >= gone) {
        remove(&segment_path(log, number))?;
    }
    // Only a full segment that is followed has an index file.
    for number in gone.saturating_sub(1).max(1)..=last_named(&segments)? {
        remove(&index_path(log, number))?;
    }
    let synced = fs::File::open(&segments).and_then(|dir| dir.sync_all());
    synced.map_err(failed(&segments, "sync"))
}

/// The greatest number that a file in there has.
fn last_named(segments: &Path) -> Result<u32, StorageError> {
    let mut walk = Walk::default();
    sort_names(&SystemIo, segments, &mut walk)?;
    let indexed = walk.indexed.last().copied().unwrap_or(0);
    Ok(indexed.max(walk.segments))
}

fn clear_from(path: &Path, offset: usize) -> Result<(), StorageError> {
    let clear = || {
        let file = OpenOptions::new().write(true).open(path)?;
        let (mut at, size) = (offset as u64, file.metadata()?.len());
        let zeros = [0; FILL_BYTES];
        while at < size {
            let left = usize::try_from(size.saturating_sub(at)).unwrap_or(FILL_BYTES);
            let part = zeros.get(..left.min(FILL_BYTES)).unwrap_or(&zeros);
            file.write_all_at(part, at)?;
            at = at.saturating_add(part.len() as u64);
        }
        file.sync_all()
    };
    clear().map_err(failed(path, "clear"))
}

fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, "remove")(error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, did: &'static str) -> impl Fn(io::Error) -> StorageError {
    move |source| StorageError::Io {
        path: path.to_path_buf(),
        did,
        source,
    }
}
