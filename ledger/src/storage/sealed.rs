//! Segments that no append changes any more, by their index files: where leaves and blobs of them lie, without reading them.
//!
//! A start reads the head of each index file and keeps that; the rest is read when it is asked for, a whole file at a time, the
//! last few of which stay in memory. What an index file says is believed as far as it fits what is known besides: a place must
//! hold the leaf or blob it is said to hold, and leaf hashes must give the roots of the tree. Whoever reads the segments
//! themselves finds the rest (see [`super::scrub`]).

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::StorageError;
use super::contents::{Contents, FIXED_BYTES, Summary};
use super::index::{Index, Place};
use super::io::{Access, Io, IoFile};
use super::scan::damaged;
use super::walk::index_name;

/// Index files that stay in memory: a proof asks for neighbours. Of 4 MiB of leaves each is about a quarter of a mebibyte.
const CACHED: usize = 4;

/// The sealed segments of a directory that have an index file. Shared by the storage and those who read beside it.
pub struct Sealed {
    io: Arc<dyn Io>,
    dir: PathBuf,
    known: RwLock<Known>,
    cache: Mutex<VecDeque<Arc<Contents>>>,
}

#[derive(Default)]
struct Known {
    segments: BTreeMap<u32, Summary>,
    numbers: BTreeMap<String, u32>,
    /// Of each log by its number, which of its leaves which segment has, in order.
    logs: BTreeMap<u32, Vec<Extent>>,
}

#[derive(Clone, Copy)]
struct Extent {
    first: u64,
    end: u64,
    segment: u32,
}

/// Where a leaf lies, and what it hashes to if its index file is right.
pub(super) type Leaf = (Place, [u8; 32]);

impl Sealed {
    pub(super) fn new(io: Arc<dyn Io>, dir: PathBuf) -> Self {
        Self {
            io,
            dir,
            known: RwLock::default(),
            cache: Mutex::default(),
        }
    }

    /// Takes in a segment whose index file is there.
    pub(super) fn add(&self, summary: Summary) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (name, number) in summary.declared.iter().zip(summary.logs_before..) {
            known.numbers.insert(name.clone(), number);
        }
        let summary = summary.without_names();
        for part in &summary.parts {
            let extents = known.logs.entry(part.log).or_default();
            let extent = Extent {
                first: part.first,
                end: part.first.saturating_add(u64::from(part.leaves)),
                segment: summary.segment,
            };
            // The last, but where a segment before others got its index file later.
            let at = extents.partition_point(|it| it.first < extent.first);
            extents.insert(at, extent);
        }
        known.segments.insert(summary.segment, summary);
    }

    /// The newest segment it knows.
    pub(super) fn last(&self) -> Option<u32> {
        self.read(|known| known.segments.keys().next_back().copied())
    }

    /// The summary of a segment.
    pub(super) fn summary(&self, segment: u32) -> Option<Summary> {
        self.read(|known| known.segments.get(&segment).cloned())
    }

    /// How many leaves of a log, from the first on, it can tell the hashes of.
    pub fn size(&self, log: &str) -> u64 {
        self.read(|known| {
            let number = known.numbers.get(log)?;
            let mut size = 0;
            for extent in known.logs.get(number)? {
                // A segment in between may still lack its index file.
                if extent.first != size {
                    break;
                }
                size = extent.end;
            }
            Some(size)
        })
        .unwrap_or(0)
    }

    /// The hashes of these leaves of a log as the index files have them; none where not all of them are known.
    ///
    /// # Errors
    /// An index file that cannot be read, or is damaged.
    pub fn leaf_hashes(
        &self,
        log: &str,
        leaves: Range<u64>,
    ) -> Result<Option<Vec<[u8; 32]>>, StorageError> {
        let Some(number) = self.read(|known| known.numbers.get(log).copied()) else {
            return Ok(None);
        };
        let mut hashes = Vec::new();
        let mut next = leaves.start;
        while next < leaves.end {
            let some = self.leaves(number, next..leaves.end)?;
            if some.is_empty() {
                return Ok(None);
            }
            next = next.saturating_add(some.len() as u64);
            hashes.extend(some.into_iter().map(|(_, hash)| hash));
        }
        Ok(Some(hashes))
    }

    /// The first of these leaves, as many as are in one segment; none where the first is not known.
    pub(super) fn leaves(&self, log: u32, leaves: Range<u64>) -> Result<Vec<Leaf>, StorageError> {
        let segment = self.read(|known| {
            let extents = known.logs.get(&log)?;
            let behind = extents.partition_point(|extent| extent.first <= leaves.start);
            let extent = extents.get(behind.checked_sub(1)?)?;
            (leaves.start < extent.end).then_some(extent.segment)
        });
        let Some(segment) = segment else {
            return Ok(Vec::new());
        };
        let contents = self.contents(segment)?;
        let some = contents.leaves(log, leaves.start, leaves.end);
        let placed = some.iter().map(|(offset, hash)| {
            (
                Place {
                    segment,
                    offset: *offset,
                },
                *hash,
            )
        });
        Ok(placed.collect())
    }

    /// Where the blob stored last under that name lies.
    pub(super) fn blob(&self, name: &[u8; 32]) -> Result<Option<Place>, StorageError> {
        let maybe: Vec<u32> = self.read(|known| {
            let segments = known.segments.values().rev();
            let maybe = segments.filter(|summary| summary.filter.may_have(name));
            maybe.map(|summary| summary.segment).collect()
        });
        for segment in maybe {
            if let Some(place) = self.contents(segment)?.blob(name) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// A whole index file.
    fn contents(&self, segment: u32) -> Result<Arc<Contents>, StorageError> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = cache.iter().position(|it| it.segment == segment)
            && let Some(found) = cache.remove(at)
        {
            cache.push_back(found.clone());
            return Ok(found);
        }
        let wrong = || wrong_index(&self.dir, segment);
        let bytes = read_index(&*self.io, &self.dir, segment)?.ok_or_else(wrong)?;
        // The same file as at the start, less the names that are not kept.
        let summary = Summary::decode(&bytes).map(Summary::without_names);
        if summary.is_none() || summary != self.summary(segment) {
            return Err(wrong());
        }
        let contents = Arc::new(Contents::decode(&bytes).ok_or_else(wrong)?);
        cache.push_back(contents.clone());
        if cache.len() > CACHED {
            cache.pop_front();
        }
        Ok(contents)
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// Reads the head of an index file that follows `index`; none where it is none, or does not.
pub(super) fn read_summary(
    io: &dyn Io,
    dir: &Path,
    segment: u32,
    access: Access,
    index: &mut Index,
) -> Result<Option<Summary>, StorageError> {
    let path = dir.join(index_name(segment));
    let failed = |source| failed(&path, source);
    let file = io.open(&path, access).map_err(failed)?;
    let size = file.size().map_err(failed)?;
    let Some(fixed) = first(&*file, size, FIXED_BYTES).map_err(failed)? else {
        return Ok(None);
    };
    let Some(bytes) = Summary::head_bytes(&fixed) else {
        return Ok(None);
    };
    let head = first(&*file, size, bytes).map_err(failed)?;
    let summary = head.and_then(|head| Summary::decode(&head));
    let is_it = |summary: &Summary| summary.segment == segment && summary.file_bytes() == size;
    let summary = summary.filter(is_it);
    Ok(summary.filter(|summary| index.follow(summary)))
}

/// The first bytes of a file; none where it has fewer.
fn first(file: &dyn IoFile, size: u64, bytes: usize) -> io::Result<Option<Vec<u8>>> {
    if size < bytes as u64 {
        return Ok(None);
    }
    let mut buffer = vec![0; bytes];
    file.pread(&mut buffer, 0)?;
    Ok(Some(buffer))
}

/// A whole index file; none where there is none.
pub(super) fn read_index(
    io: &dyn Io,
    dir: &Path,
    segment: u32,
) -> Result<Option<Vec<u8>>, StorageError> {
    let path = dir.join(index_name(segment));
    let failed = |source| failed(&path, source);
    let file = match io.open(&path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let size = file.size().map_err(failed)?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > INDEX_BYTES_MAX {
        return Err(wrong_index(dir, segment));
    }
    first(&*file, size as u64, size).map_err(failed)
}

/// Longest index file: of a segment of 64 MiB full of leaves of one byte, each a frame of 25 bytes, 36 bytes a leaf; or of names.
const INDEX_BYTES_MAX: usize = 192 * 1024 * 1024;

/// An index file that does not say what its segment holds. It follows from the segment, so nothing is lost with it.
pub(super) fn wrong_index(dir: &Path, segment: u32) -> StorageError {
    let path = dir.join(index_name(segment));
    let what = "it does not say what its segment holds; once removed, it is made anew from that at the next start";
    damaged(&path, 0, (None, None), what)
}

fn failed(path: &Path, source: io::Error) -> StorageError {
    StorageError::Io {
        path: path.to_path_buf(),
        did: "read",
        source,
    }
}
