//! Reads a directory of segments in order, while a writer may be at work.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::frame::ALIGN;
use super::index::Index;
use super::io::{Access, Io};
use super::scan::{Position, Segment, SegmentEnd, damaged, is_zero};
use super::segment::SEGMENT_BYTES_MAX;
use super::{Entry, StorageError};

/// The result of reading a whole directory.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The segment with the last group, and so the one to write on in.
    pub(super) last: Option<SegmentEnd>,
    /// The empty segment made ahead: number and length.
    pub(super) prepared: Option<(u32, u64)>,
    /// Files this storage never makes.
    pub(super) unexpected: Vec<PathBuf>,
    /// Segments whose making was cut short.
    pub(super) unfinished: Vec<PathBuf>,
    /// Number of segment files.
    pub(super) segments: u32,
    /// Segments that have an index file.
    pub(super) indexed: BTreeSet<u32>,
}

/// File name of a segment.
pub(super) fn segment_name(number: u32) -> String {
    format!("{number:08}.seg")
}

/// File name of a segment that is being made.
pub(super) fn unfinished_name(number: u32) -> String {
    format!("{number:08}.seg.new")
}

/// File name of a segment's index file.
pub(super) fn index_name(number: u32) -> String {
    format!("{number:08}.idx")
}

/// File name of an index file that is being made.
pub(super) fn unfinished_index_name(number: u32) -> String {
    format!("{number:08}.idx.new")
}

/// How often a reader looks again at a segment that changes under it.
const LOOKS_MAX: u32 = 16;

/// Reads the segments of `dir` in order into `index`, from `from` on, which is where an earlier walk into the same
/// index ended, or the start.
///
/// A writer may be at work while a reader reads, and a read is no snapshot: it may show a later page and not
/// an earlier one. So what looks cut short or damaged is read again until its bytes stay the same; and a segment that
/// was the last when it was read is read on when the one behind it turns out to have data.
pub(super) fn walk(
    io: &dyn Io,
    dir: &Path,
    access: Access,
    mut from: Position,
    index: &mut Index,
    visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<Walk, StorageError> {
    let mut walk = Walk::default();
    let numbers = sort_names(io, dir, &mut walk)?;
    // Where the segment before was left, if it seemed to be the last.
    let mut seemed_last = None;
    'segments: while from.number <= walk.segments {
        let number = from.number;
        let path = dir.join(segment_name(number));
        if !numbers.contains(&number) {
            return Err(damaged(&path, 0, index.next_leaf(), "it is missing"));
        }
        let mut look = Look::at(io, dir, access, from)?;
        let mut looks = 1;
        let end = loop {
            if look.begun()
                && let Some(before) = seemed_last.take()
            {
                from = before;
                walk.prepared = None;
                continue 'segments;
            }
            let end = look.segment(&path, index).scan(&mut from, visit);
            let whole = end.as_ref().is_ok_and(|end| end.torn.is_none());
            if whole || access == Access::Recover || looks == LOOKS_MAX {
                break end?;
            }
            let again = Look::at(io, dir, access, from)?;
            if again.bytes == look.bytes && again.followed == look.followed {
                break end?;
            }
            look = again;
            looks += 1;
        };
        let empty = end.from.offset == 0 && end.torn.is_none();
        if empty && look.followed {
            let what = "it is empty though a later segment is not";
            return Err(damaged(&path, 0, index.next_leaf(), what));
        }
        if empty {
            let made_ahead = (number, look.bytes.len() as u64);
            walk.prepared = walk.prepared.or(Some(made_ahead));
        } else if let Some(torn) = walk.last.as_ref().and_then(|last| last.torn.as_ref())
            && torn.path != path
        {
            let what = format!("{}, and a later segment is not empty", torn.what);
            return Err(damaged(&torn.path, torn.offset, index.next_leaf(), what));
        } else {
            if end.stopped {
                return Ok(walk);
            }
            seemed_last = (!look.followed).then_some(end.from);
            walk.last = Some(end);
        }
        from = Position::start_of(number.saturating_add(1));
    }
    Ok(walk)
}

/// Reads a segment of which all was durable once, as the one behind it has data, into `index`, which stands where it begins.
/// No writer changes it any more.
pub(super) fn read_sealed(
    io: &dyn Io,
    dir: &Path,
    access: Access,
    number: u32,
    index: &mut Index,
    visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<SegmentEnd, StorageError> {
    let path = dir.join(segment_name(number));
    let bytes = match read(io, &path, access) {
        Err(StorageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged(&path, 0, index.next_leaf(), "it is missing"));
        }
        bytes => bytes?,
    };
    let look = Look {
        number,
        bytes,
        followed: true,
    };
    let mut from = Position::start_of(number);
    let end = look.segment(&path, index).scan(&mut from, visit)?;
    match end.from.offset {
        0 => {
            let what = "it is empty though a later segment is not";
            Err(damaged(&path, 0, index.next_leaf(), what))
        }
        _ => Ok(end),
    }
}

/// A segment's bytes as they were once.
struct Look {
    number: u32,
    bytes: Vec<u8>,
    /// Whether a later segment had data before the bytes were read, so that everything here was durable once.
    followed: bool,
}

impl Look {
    fn at(io: &dyn Io, dir: &Path, access: Access, from: Position) -> Result<Look, StorageError> {
        let followed = begins(io, dir, from.number.saturating_add(1), access)?;
        let bytes = read(io, &dir.join(segment_name(from.number)), access)?;
        Ok(Look {
            number: from.number,
            bytes,
            followed,
        })
    }

    fn begun(&self) -> bool {
        self.bytes.get(..ALIGN).is_some_and(|start| !is_zero(start))
    }

    fn segment<'a>(&'a self, path: &'a Path, index: &'a mut Index) -> Segment<'a> {
        Segment {
            path,
            number: self.number,
            bytes: &self.bytes,
            followed: self.followed,
            made: None,
            index,
        }
    }
}

pub(super) fn sort_names(
    io: &dyn Io,
    dir: &Path,
    walk: &mut Walk,
) -> Result<BTreeSet<u32>, StorageError> {
    let mut numbers = BTreeSet::new();
    let names = io.list(dir).map_err(|source| StorageError::Io {
        path: dir.to_path_buf(),
        did: "list",
        source,
    })?;
    for name in names {
        let number = name.split('.').next().and_then(|text| text.parse().ok());
        match number {
            Some(number) if number > 0 && name == segment_name(number) => {
                numbers.insert(number);
            }
            Some(number) if number > 0 && name == index_name(number) => {
                walk.indexed.insert(number);
            }
            Some(number)
                if number > 0
                    && [unfinished_name(number), unfinished_index_name(number)].contains(&name) =>
            {
                walk.unfinished.push(dir.join(name));
            }
            _ => walk.unexpected.push(dir.join(name)),
        }
    }
    walk.unexpected.sort();
    walk.segments = numbers.last().copied().unwrap_or(0);
    Ok(numbers)
}

/// Whether a segment exists and its first bytes are written.
pub(super) fn begins(
    io: &dyn Io,
    dir: &Path,
    number: u32,
    access: Access,
) -> Result<bool, StorageError> {
    let path = dir.join(segment_name(number));
    let mut start = [0; ALIGN];
    let file = match io.open(&path, access) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(failed(&path, source)),
    };
    match file.pread(&mut start, 0) {
        Ok(()) => Ok(!is_zero(&start)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(source) => Err(failed(&path, source)),
    }
}

fn read(io: &dyn Io, path: &Path, access: Access) -> Result<Vec<u8>, StorageError> {
    let file = io
        .open(path, access)
        .map_err(|source| failed(path, source))?;
    let size = file.size().map_err(|source| failed(path, source))?;
    if size > SEGMENT_BYTES_MAX {
        let what = format!("{size} bytes are more than a segment can have");
        return Err(damaged(path, 0, (None, None), what));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.pread(&mut bytes, 0)
        .map_err(|source| failed(path, source))?;
    Ok(bytes)
}

fn failed(path: &Path, source: std::io::Error) -> StorageError {
    StorageError::Io {
        path: path.to_path_buf(),
        did: "read",
        source,
    }
}
