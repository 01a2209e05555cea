//! A disk in memory that breaks on demand, and that forgets what was not synced: after a crash each sector holds what
//! was synced or anything written to it since, and any prefix of the changes of names is there.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::storage::StorageError;
use crate::storage::frame::SECTOR;
use crate::storage::io::{Access, Io, IoFile};

#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

/// What happens at one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The machine stops before it.
    CrashBefore,
    /// The machine stops after it, before its answer is seen.
    CrashAfter,
    /// It fails with EIO; of what it was to make durable only some is, and the rest is never tried again.
    Eio,
    /// It fails with ENOSPC; a write has written its first half.
    Full,
}

/// Operations that are counted and can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Op {
    Allocate,
    Create,
    Fdatasync,
    Remove,
    Rename,
    Resize,
    SyncDir,
    Write,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<Rename>,
    files: Vec<Content>,
    done: BTreeMap<Op, u64>,
    ops: u64,
    fault: Option<(Option<Op>, u64, Fault)>,
    dead: bool,
    random: u64,
}

#[derive(Clone, Debug)]
struct Rename {
    from: Option<PathBuf>,
    to: Option<(PathBuf, usize)>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    disk: Vec<u8>,
    /// What was written to each sector since it was synced, in order: the kernel may have put any of it on disk.
    unsynced: BTreeMap<usize, Vec<Vec<u8>>>,
}

impl Disk {
    /// Lets the `nth` operation from now, counted from 1, of kind `op` or of any kind, go wrong.
    pub(super) fn fail(&self, op: Option<Op>, nth: u64, fault: Fault) {
        let mut state = self.state();
        let done = match op {
            None => state.ops,
            Some(op) => state.done.get(&op).copied().unwrap_or(0),
        };
        state.fault = Some((op, done + nth, fault));
    }

    pub(super) fn done(&self, op: Op) -> u64 {
        self.state().done.get(&op).copied().unwrap_or(0)
    }

    pub(super) fn ops(&self) -> u64 {
        self.state().ops
    }

    /// The disk after power was lost and came back.
    pub(super) fn crash(&self, seed: u64) -> Disk {
        let state = self.state();
        let mut random = seed.wrapping_mul(2).wrapping_add(1);
        let mut names = state.durable_names.clone();
        let kept = next(&mut random) as usize % (state.unsynced_names.len() + 1);
        for change in state.unsynced_names.iter().take(kept) {
            apply(&mut names, change);
        }
        let files = state.files.iter().map(|file| {
            let mut disk = file.disk.clone();
            if file.now.len() != disk.len() && next(&mut random).is_multiple_of(2) {
                disk.resize(file.now.len(), 0);
            }
            for (sector, versions) in &file.unsynced {
                put_some_version(versions, &mut disk, *sector, &mut random);
            }
            Content {
                now: disk.clone(),
                disk,
                unsynced: BTreeMap::new(),
            }
        });
        Disk(Arc::new(Mutex::new(State {
            durable_names: names.clone(),
            names,
            files: files.collect(),
            random,
            ..State::default()
        })))
    }

    /// The disk after only the process ended: the page cache lives on, but for what a failed fsync left marked
    /// clean, which is read from the disk again.
    pub(super) fn restart(&self) -> Disk {
        let state = self.state();
        let files = state.files.iter().cloned().map(|mut file| {
            let mut now = file.disk.clone();
            now.resize(file.now.len(), 0);
            for (sector, versions) in &file.unsynced {
                put_sector(versions.last().unwrap(), &mut now, *sector);
            }
            file.now = now;
            file
        });
        Disk(Arc::new(Mutex::new(State {
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            unsynced_names: state.unsynced_names.clone(),
            files: files.collect(),
            random: state.random,
            ..State::default()
        })))
    }

    /// A copy that shares nothing, everything in it durable.
    pub(super) fn copy(&self) -> Disk {
        let copy = Disk::default();
        for (path, bytes) in self.read_all() {
            copy.put(&path, bytes);
        }
        copy
    }

    pub(super) fn read_all(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let named = state.names.iter();
        named
            .map(|(path, number)| (path.clone(), state.files[*number].now.clone()))
            .collect()
    }

    pub(super) fn get(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[path]].now.clone()
    }

    /// Puts a whole file, durably.
    pub(super) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state();
        let number = state.names.get(path).copied();
        let number = number.unwrap_or(state.files.len());
        let content = Content {
            now: bytes.clone(),
            disk: bytes,
            unsynced: BTreeMap::new(),
        };
        match state.files.get_mut(number) {
            Some(file) => *file = content,
            None => state.files.push(content),
        }
        state.names.insert(path.to_path_buf(), number);
        state.durable_names.insert(path.to_path_buf(), number);
    }

    pub(super) fn delete(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counts an operation and does it, as the planned fault has it.
    fn run(
        &self,
        op: Op,
        doing: impl FnOnce(&mut State),
        half: impl FnOnce(&mut State, Fault),
    ) -> io::Result<()> {
        let mut state = self.state();
        if state.dead {
            return Err(io::Error::other("the machine is off"));
        }
        state.ops += 1;
        let of_kind = state.done.entry(op).or_default();
        *of_kind += 1;
        let of_kind = *of_kind;
        let due = state.fault.filter(|(kind, at, _)| match kind {
            None => *at == state.ops,
            Some(kind) => *kind == op && *at == of_kind,
        });
        let off = || Err(io::Error::other("the machine went off"));
        match due.map(|(_, _, fault)| fault) {
            None => {
                doing(&mut state);
                Ok(())
            }
            Some(Fault::CrashBefore) => {
                state.dead = true;
                off()
            }
            Some(Fault::CrashAfter) => {
                doing(&mut state);
                state.dead = true;
                off()
            }
            Some(Fault::Eio) => {
                half(&mut state, Fault::Eio);
                Err(io::Error::from_raw_os_error(5))
            }
            Some(Fault::Full) => {
                half(&mut state, Fault::Full);
                Err(io::Error::from_raw_os_error(28))
            }
        }
    }
}

impl Io for Disk {
    fn make_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect())
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn IoFile>> {
        let number = self.state().names.get(path).copied();
        let number = number.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Open(self.clone(), number)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn IoFile>> {
        if self.state().names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut number = 0;
        let make = |state: &mut State| {
            number = state.files.len();
            state.files.push(Content::default());
            state.change(None, Some((path.to_path_buf(), number)));
        };
        self.run(Op::Create, make, |_, _| {})?;
        Ok(Box::new(Open(self.clone(), number)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let rename = |state: &mut State| {
            let number = state.names[from];
            state.change(Some(from.to_path_buf()), Some((to.to_path_buf(), number)));
        };
        self.run(Op::Rename, rename, |_, _| {})
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.state().names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let remove = |state: &mut State| state.change(Some(path.to_path_buf()), None);
        self.run(Op::Remove, remove, |_, _| {})
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let sync = |state: &mut State| {
            state.durable_names = state.names.clone();
            state.unsynced_names.clear();
        };
        self.run(Op::SyncDir, sync, |_, _| {})
    }

    fn lock(&self, _: &Path) -> Result<Box<dyn Send>, StorageError> {
        Ok(Box::new(()))
    }
}

struct Open(Disk, usize);

impl IoFile for Open {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.state().files[self.1].now.len() as u64)
    }

    fn pread(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.0.state();
        let from = offset as usize;
        let bytes = state.files[self.1].now.get(from..from + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn pwrite(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let write = |state: &mut State, bytes: &[u8]| {
            let file = &mut state.files[self.1];
            let (from, to) = (offset as usize, offset as usize + bytes.len());
            if file.now.len() < to {
                file.now.resize(to, 0);
            }
            file.now[from..to].copy_from_slice(bytes);
            for sector in from / SECTOR..to.div_ceil(SECTOR) {
                let end = file.now.len().min((sector + 1) * SECTOR);
                let version = file.now[sector * SECTOR..end].to_vec();
                file.unsynced.entry(sector).or_default().push(version);
            }
        };
        self.0.run(
            Op::Write,
            |state| write(state, bytes),
            |state, _| write(state, &bytes[..bytes.len() / 2]),
        )
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let grow = |state: &mut State| {
            let file = &mut state.files[self.1];
            let size = file.now.len().max(size as usize);
            file.now.resize(size, 0);
        };
        self.0.run(Op::Allocate, grow, |_, _| {})
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        let resize = |state: &mut State| state.files[self.1].now.resize(size as usize, 0);
        self.0.run(Op::Resize, resize, |_, _| {})
    }

    fn fdatasync(&self) -> io::Result<()> {
        let sync = |state: &mut State| {
            let file = &mut state.files[self.1];
            file.disk = file.now.clone();
            file.unsynced.clear();
        };
        let half = |state: &mut State, _| {
            let mut random = state.random;
            let file = &mut state.files[self.1];
            file.disk.resize(file.now.len(), 0);
            for (sector, versions) in std::mem::take(&mut file.unsynced) {
                put_some_version(&versions, &mut file.disk, sector, &mut random);
            }
            state.random = random;
        };
        self.0.run(Op::Fdatasync, sync, half)
    }
}

impl State {
    fn change(&mut self, from: Option<PathBuf>, to: Option<(PathBuf, usize)>) {
        let change = Rename { from, to };
        apply(&mut self.names, &change);
        self.unsynced_names.push(change);
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &Rename) {
    if let Some(from) = &change.from {
        names.remove(from);
    }
    if let Some((to, number)) = &change.to {
        names.insert(to.clone(), *number);
    }
}

/// Leaves a sector as it is, or puts one of the versions there.
fn put_some_version(versions: &[Vec<u8>], to: &mut Vec<u8>, sector: usize, random: &mut u64) {
    let choice = next(random) as usize % (versions.len() + 1);
    if let Some(version) = versions.get(choice) {
        put_sector(version, to, sector);
    }
}

fn put_sector(bytes: &[u8], to: &mut Vec<u8>, sector: usize) {
    let start = sector * SECTOR;
    let end = start + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[start..end].copy_from_slice(bytes);
}

/// SplitMix64, so that a failing case can be run again.
pub(super) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
