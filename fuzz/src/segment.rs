//! Segment files of the ledger, as a crash or a bad disk may leave them.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use actpass_ledger::storage::io::{Access, Io, IoFile};
use actpass_ledger::storage::reader::{SegmentReader, Tail};
use actpass_ledger::storage::{Entry, StorageError};

use crate::input::Input;

/// Two files of two pages, genuine: `tests/assets.rs` makes them.
static GENUINE: [&[u8]; 2] = [
    include_bytes!("segment/00000001.seg"),
    include_bytes!("segment/00000002.seg"),
];

const NAMES: [&str; 2] = ["00000001.seg", "00000002.seg"];

const MAGIC: &[u8] = b"ACTPGRP1";
const ALIGN: usize = 64;

/// Where a group lies.
struct Group {
    file: usize,
    start: usize,
    end: usize,
    /// Leaves in all groups up to this one.
    leaves: usize,
}

static LEAVES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| read(GENUINE.map(<[u8]>::to_vec)).0);

/// What each leaf begins with.
const LEAF: &str = "genuine leaf";

static GROUPS: LazyLock<Vec<Group>> = LazyLock::new(|| {
    let mut groups: Vec<Group> = Vec::new();
    for (file, bytes) in GENUINE.iter().enumerate() {
        for start in (0..bytes.len())
            .step_by(ALIGN)
            .filter(|start| bytes[*start..].starts_with(MAGIC))
        {
            // Length and number of frames stand at byte 40 of the header, and a file begins with a frame of its own.
            let word = |at: usize| {
                u32::from_le_bytes(
                    bytes[start + at..start + at + 4]
                        .try_into()
                        .expect("4 bytes"),
                )
            };
            let end = start + usize::try_from(word(40)).expect("fits");
            let before = groups.last().map_or(0, |group| group.leaves);
            let text = String::from_utf8_lossy(&bytes[start..end]).into_owned();
            groups.push(Group {
                file,
                start,
                end,
                leaves: before + text.matches(LEAF).count(),
            });
        }
    }
    groups
});

/// Input: changes to the genuine files, one after another.
///
/// - What is shown is genuine, in order, from the first leaf on.
/// - A group that is still whole is never left out: what stands before it is damage, not a torn tail.
/// - Files without a change are read to the end.
pub(crate) fn run(data: &[u8]) {
    let mut files = GENUINE.map(<[u8]>::to_vec);
    let mut input = Input::new(data);
    while !input.is_empty() {
        change(&mut input, &mut files);
    }
    let untouched = files
        .iter()
        .zip(GENUINE)
        .all(|(file, genuine)| file == genuine);
    let whole = |group: &Group| {
        files[group.file].get(group.start..group.end)
            == GENUINE[group.file].get(group.start..group.end)
    };
    let last_whole = GROUPS
        .iter()
        .rev()
        .find(|group| whole(group))
        .map_or(0, |group| group.leaves);
    let (shown, result) = read(files.clone());
    assert!(
        LEAVES.starts_with(&shown),
        "{} leaves, not those that were written",
        shown.len()
    );
    match result {
        Ok(tail) => {
            assert!(
                shown.len() >= last_whole,
                "leaf {} was dropped without a word: {tail:?}",
                shown.len()
            );
            assert!(!untouched || (tail == Tail::Clean && shown.len() == LEAVES.len()));
        }
        Err(error) => {
            assert!(!untouched, "{error}");
            assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
        }
    }
}

fn change(input: &mut Input<'_>, files: &mut [Vec<u8>; 2]) {
    let (what, which) = (input.byte(), usize::from(input.byte()) % GROUPS.len());
    let group = &GROUPS[which];
    let file = &mut files[group.file];
    // An earlier change may have cut the file.
    let end = group.end.min(file.len());
    let start = group.start.min(end);
    let at = start + usize::from(input.u16()) % (end - start).max(1);
    match what % 6 {
        0 => file
            .get_mut(at)
            .into_iter()
            .for_each(|byte| *byte = input.byte()),
        1 => file
            .get_mut(at)
            .into_iter()
            .for_each(|byte| *byte ^= 1 << (input.byte() % 8)),
        // The end of a group was never written.
        2 => file[at..end].fill(0),
        // A sector was never written.
        3 => {
            let sector = at - at % 512;
            let end = (sector + 512).min(file.len());
            file[sector..end].fill(0);
        }
        4 => file.truncate(at),
        // Another group stands here.
        _ => {
            let other = &GROUPS[usize::from(input.byte()) % GROUPS.len()];
            let bytes = &GENUINE[other.file][other.start..other.end];
            let room = file.len().saturating_sub(start).min(bytes.len());
            file[start..start + room].copy_from_slice(&bytes[..room]);
        }
    }
}

/// The leaves of these files, and how they end.
fn read(files: [Vec<u8>; 2]) -> (Vec<Vec<u8>>, Result<Tail, StorageError>) {
    let io = Arc::new(Memory(files.map(Arc::new)));
    let mut leaves = Vec::new();
    let mut visit = |entry: Entry<'_>| {
        if let Entry::Leaf { bytes, .. } = entry {
            leaves.push(bytes.to_vec());
        }
        ControlFlow::Continue(())
    };
    let result = SegmentReader::open_on(io, Path::new("/log"))
        .and_then(|mut reader| reader.replay(&mut visit));
    (leaves, result)
}

/// Two segment files in memory, to read only.
struct Memory([Arc<Vec<u8>>; 2]);

struct MemoryFile(Arc<Vec<u8>>);

impl Io for Memory {
    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(NAMES.map(str::to_owned).to_vec())
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn IoFile>> {
        let at = NAMES.iter().position(|name| path.ends_with(name));
        let file = &self.0[at.ok_or(io::ErrorKind::NotFound)?];
        Ok(Box::new(MemoryFile(Arc::clone(file))))
    }

    fn make_dir(&self, _: &Path) -> io::Result<()> {
        Err(read_only())
    }

    fn create(&self, _: &Path) -> io::Result<Box<dyn IoFile>> {
        Err(read_only())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(read_only())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Err(read_only())
    }

    fn lock(&self, _: &Path) -> Result<Box<dyn Send>, StorageError> {
        Err(StorageError::Poisoned)
    }
}

impl IoFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        u64::try_from(self.0.len()).map_err(io::Error::other)
    }

    fn pread(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = self
            .0
            .get(start..)
            .and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn pwrite(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn resize(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn fdatasync(&self) -> io::Result<()> {
        Err(read_only())
    }
}

fn read_only() -> io::Error {
    io::ErrorKind::ReadOnlyFilesystem.into()
}
