//! A disk in memory that breaks on demand, and that forgets what was not synced: after a crash each sector holds what
//! was synced or anything written to it since, and of the changes of names in a directory any are there. Directories
//! themselves are always there.
//!
//! The tests crate takes in this file as well, for a whole ledger on such a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::storage::StorageError;
use crate::storage::io::{Access, Io, IoFile};

/// The unit a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// Input/output error.
pub const EIO: i32 = 5;
/// No space left on device.
pub const ENOSPC: i32 = 28;
/// Read-only file system.
pub const EROFS: i32 = 30;
/// Quota exceeded.
pub const EDQUOT: i32 = 122;

/// A disk; a clone is the same one.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

/// What happens at one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops before it.
    CrashBefore,
    /// The machine stops after it, before its answer is seen.
    CrashAfter,
    /// It fails with that number. A write has written its first half; of what a sync was to make durable only some
    /// is, and the rest is never tried again; anything else did nothing.
    Errno(i32),
    /// A write writes its first half and says that no more goes; anything else is a plain failure.
    Short,
}

/// The operations there are; those from `Allocate` to `Write` change what is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    Allocate,
    Create,
    Fdatasync,
    Remove,
    Rename,
    Resize,
    SyncDir,
    Write,
    List,
    Lock,
    MakeDir,
    Open,
    Read,
    Size,
}

/// Which operation goes wrong.
#[derive(Clone, Copy, Debug)]
enum At {
    Call(u64),
    Change(u64),
    Kind(Op, u64),
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<Rename>,
    files: Vec<Content>,
    done: BTreeMap<Op, u64>,
    /// All operations.
    calls: u64,
    /// Those that change something.
    changes: u64,
    fault: Option<(At, Fault)>,
    /// The operation at which it went wrong.
    struck: Option<Op>,
    /// What a sync has failed for since the process began, and how often one was asked for again.
    unsyncable: BTreeSet<Synced>,
    syncs_repeated: u64,
    dead: bool,
    stalled: bool,
    /// Operations that wait until it goes on.
    waiting: u32,
    random: u64,
    moments: Option<Vec<Disk>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Synced {
    File(usize),
    Dir(PathBuf),
}

#[derive(Clone, Debug)]
struct Rename {
    from: Option<PathBuf>,
    to: Option<(PathBuf, usize)>,
}

impl Rename {
    fn is_in(&self, dir: &Path) -> bool {
        let to = self.to.as_ref().map(|(path, _)| path);
        [self.from.as_ref(), to]
            .into_iter()
            .flatten()
            .any(|path| path.parent() == Some(dir))
    }
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    disk: Vec<u8>,
    /// What was written to each sector since it was synced, in order: the kernel may have put any of it on disk.
    unsynced: BTreeMap<usize, Vec<Vec<u8>>>,
}

/// Faults.
impl Disk {
    /// Lets the `nth` operation from now, counted from 1, of kind `op` or of any kind that changes something, go wrong.
    pub fn fail(&self, op: Option<Op>, nth: u64, fault: Fault) {
        let mut state = self.state();
        let at = match op {
            None => At::Change(state.changes.saturating_add(nth)),
            Some(op) => {
                let done = state.done.get(&op).copied().unwrap_or(0);
                At::Kind(op, done.saturating_add(nth))
            }
        };
        state.fault = Some((at, fault));
    }

    /// Lets the `nth` operation from now go wrong, whichever it is.
    pub fn fail_call(&self, nth: u64, fault: Fault) {
        let mut state = self.state();
        let at = At::Call(state.calls.saturating_add(nth));
        state.fault = Some((at, fault));
    }

    /// Nothing more goes wrong.
    pub fn heal(&self) {
        self.state().fault = None;
    }

    /// From now on no change is answered, until it is let go on.
    pub fn stall(&self) {
        self.state().stalled = true;
    }

    /// It answers again.
    pub fn go_on(&self) {
        self.state().stalled = false;
    }

    /// Waits until something waits for it.
    ///
    /// # Panics
    /// Where nothing does for a minute.
    pub fn awaited(&self) {
        let mut looks = 0..60_000;
        while self.state().waiting == 0 {
            assert!(looks.next().is_some(), "nothing is written");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// How often that was done.
    pub fn done(&self, op: Op) -> u64 {
        self.state().done.get(&op).copied().unwrap_or(0)
    }

    /// How many operations there were.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How many of them change something.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Which operation went wrong.
    pub fn struck(&self) -> Option<Op> {
        self.state().struck
    }

    /// How often something was synced again after a sync of it had failed, as only a new process may.
    pub fn syncs_repeated(&self) -> u64 {
        self.state().syncs_repeated
    }
}

/// What is left after a crash.
impl Disk {
    /// The disk after power was lost and came back; what of the unsynced is there is drawn.
    pub fn crash(&self, seed: u64) -> Disk {
        let mut random = seed.wrapping_mul(2).wrapping_add(1);
        self.crashed(&mut |ways| (next(&mut random) % ways as u64) as usize)
    }

    /// Every disk that losing power now can leave, where there are at most `max`; else `max` of them, drawn.
    pub fn crash_states(&self, max: usize, seed: u64) -> Vec<Disk> {
        let mut all = 1_usize;
        self.crashed(&mut |ways| {
            all = all.saturating_mul(ways);
            0
        });
        if all > max {
            let first = seed.wrapping_mul(max as u64);
            return (first..).take(max).map(|seed| self.crash(seed)).collect();
        }
        let nth = |nth: usize| {
            let mut left = nth;
            self.crashed(&mut |ways| {
                let choice = left % ways;
                left /= ways;
                choice
            })
        };
        (0..all).map(nth).collect()
    }

    /// `pick` says which of so many ways each unsynced thing went.
    fn crashed(&self, pick: &mut dyn FnMut(usize) -> usize) -> Disk {
        let state = self.state();
        let mut names = state.durable_names.clone();
        for change in &state.unsynced_names {
            if pick(2) == 1 {
                apply(&mut names, change);
            }
        }
        let files = state.files.iter().map(|file| {
            let mut disk = file.disk.clone();
            if file.now.len() != disk.len() && pick(2) == 1 {
                disk.resize(file.now.len(), 0);
            }
            for (sector, versions) in &file.unsynced {
                put_some_version(versions, &mut disk, *sector, pick);
            }
            Content {
                now: disk.clone(),
                disk,
                unsynced: BTreeMap::new(),
            }
        });
        Disk::of(State {
            durable_names: names.clone(),
            names,
            files: files.collect(),
            random: state.random,
            ..State::default()
        })
    }

    /// The disk after only the process ended: the page cache lives on, but for what a failed fsync left marked
    /// clean, which is read from the disk again.
    pub fn restart(&self) -> Disk {
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
        Disk::of(State {
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            unsynced_names: state.unsynced_names.clone(),
            files: files.collect(),
            random: state.random,
            ..State::default()
        })
    }

    /// From now on every change leaves a moment behind.
    pub fn record(&self) {
        self.state().moments = Some(Vec::new());
    }

    /// The disk as it was after each change since it was recorded or asked last.
    pub fn moments(&self) -> Vec<Disk> {
        let moments = &mut self.state().moments;
        moments.replace(Vec::new()).unwrap_or_default()
    }
}

/// What is on it.
impl Disk {
    fn of(state: State) -> Disk {
        Disk(Arc::new(Mutex::new(state)))
    }

    /// A copy that shares nothing, everything in it durable.
    pub fn copy(&self) -> Disk {
        let copy = Disk::default();
        for (path, bytes) in self.read_all() {
            copy.put(&path, bytes);
        }
        copy
    }

    /// Every file.
    pub fn read_all(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let named = state.names.iter();
        named
            .map(|(path, number)| (path.clone(), state.files[*number].now.clone()))
            .collect()
    }

    /// One file.
    pub fn get(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[path]].now.clone()
    }

    /// Puts a whole file, durably.
    pub fn put(&self, path: &Path, bytes: Vec<u8>) {
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

    /// Takes a file away, durably.
    pub fn delete(&self, path: &Path) {
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
        half: impl FnOnce(&mut State),
    ) -> io::Result<()> {
        let mut state = self.flowing(op);
        if state.dead {
            return Err(io::Error::other("the machine is off"));
        }
        let fault = state.count(op);
        let off = || Err(io::Error::other("the machine went off"));
        let done = match fault {
            None => {
                doing(&mut state);
                Ok(())
            }
            Some(Fault::CrashBefore) => {
                state.dead = true;
                return off();
            }
            Some(Fault::CrashAfter) => {
                doing(&mut state);
                state.dead = true;
                off()
            }
            Some(Fault::Errno(errno)) => {
                half(&mut state);
                Err(io::Error::from_raw_os_error(errno))
            }
            Some(Fault::Short) => {
                half(&mut state);
                Err(io::ErrorKind::WriteZero.into())
            }
        };
        if op <= Op::Write && state.moments.is_some() {
            let moment = Disk::of(state.as_it_is());
            state.moments.get_or_insert_default().push(moment);
        }
        done
    }

    /// The state, once a stall is over; a stall of ten minutes is none that a test wants.
    fn flowing(&self, op: Op) -> MutexGuard<'_, State> {
        let mut state = self.state();
        for _ in 0..600_000 {
            if !state.stalled || op > Op::Write {
                break;
            }
            state.waiting += 1;
            drop(state);
            std::thread::sleep(Duration::from_millis(1));
            state = self.state();
            state.waiting -= 1;
        }
        state
    }

    /// An operation that changes nothing.
    fn look(&self, op: Op) -> io::Result<()> {
        self.run(op, |_| {}, |_| {})
    }
}

impl Io for Disk {
    fn make_dir(&self, _: &Path) -> io::Result<()> {
        self.look(Op::MakeDir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.look(Op::List)?;
        let state = self.state();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect())
    }

    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn IoFile>> {
        self.look(Op::Open)?;
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
        self.run(Op::Create, make, |_| {})?;
        Ok(Box::new(Open(self.clone(), number)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let number = self.state().names.get(from).copied();
        let number = number.ok_or(io::ErrorKind::NotFound)?;
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        let rename = |state: &mut State| state.change(Some(from), Some((to, number)));
        self.run(Op::Rename, rename, |_| {})
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.state().names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let remove = |state: &mut State| state.change(Some(path.to_path_buf()), None);
        self.run(Op::Remove, remove, |_| {})
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let synced = Synced::Dir(dir.to_path_buf());
        let sync = |state: &mut State| {
            state.sync(&synced);
            let (there, others) = std::mem::take(&mut state.unsynced_names)
                .into_iter()
                .partition(|change| change.is_in(dir));
            state.unsynced_names = others;
            let there: Vec<Rename> = there;
            for change in &there {
                apply(&mut state.durable_names, change);
            }
        };
        let half = |state: &mut State| state.cannot_sync(synced.clone());
        self.run(Op::SyncDir, sync, half)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Send>, StorageError> {
        let failed = |source| StorageError::Io {
            path: path.to_path_buf(),
            did: "lock",
            source,
        };
        self.look(Op::Lock).map_err(failed)?;
        Ok(Box::new(()))
    }
}

struct Open(Disk, usize);

impl IoFile for Open {
    fn size(&self) -> io::Result<u64> {
        self.0.look(Op::Size)?;
        Ok(self.0.state().files[self.1].now.len() as u64)
    }

    fn pread(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.look(Op::Read)?;
        let state = self.0.state();
        let from = usize::try_from(offset).unwrap();
        let bytes = state.files[self.1].now.get(from..from + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn pwrite(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        let write = |state: &mut State, bytes: &[u8]| {
            let file = &mut state.files[self.1];
            let to = from + bytes.len();
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
            |state| write(state, &bytes[..bytes.len() / 2]),
        )
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).unwrap();
        let grow = |state: &mut State| {
            let file = &mut state.files[self.1];
            let size = file.now.len().max(size);
            file.now.resize(size, 0);
        };
        self.0.run(Op::Allocate, grow, |_| {})
    }

    fn resize(&self, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).unwrap();
        let resize = |state: &mut State| state.files[self.1].now.resize(size, 0);
        self.0.run(Op::Resize, resize, |_| {})
    }

    fn fdatasync(&self) -> io::Result<()> {
        let sync = |state: &mut State| {
            state.sync(&Synced::File(self.1));
            let file = &mut state.files[self.1];
            file.disk = file.now.clone();
            file.unsynced.clear();
        };
        let half = |state: &mut State| {
            state.cannot_sync(Synced::File(self.1));
            let mut random = state.random;
            let file = &mut state.files[self.1];
            file.disk.resize(file.now.len(), 0);
            let pick = &mut |ways| (next(&mut random) % ways as u64) as usize;
            for (sector, versions) in std::mem::take(&mut file.unsynced) {
                put_some_version(&versions, &mut file.disk, sector, pick);
            }
            state.random = random;
        };
        self.0.run(Op::Fdatasync, sync, half)
    }
}

impl State {
    /// Counts an operation; the answer is what goes wrong with it.
    fn count(&mut self, op: Op) -> Option<Fault> {
        self.calls += 1;
        self.changes += u64::from(op <= Op::Write);
        let done = self.done.entry(op).or_default();
        *done += 1;
        let done = *done;
        let (at, fault) = self.fault?;
        let due = match at {
            At::Call(nth) => nth == self.calls,
            At::Change(nth) => op <= Op::Write && nth == self.changes,
            At::Kind(kind, nth) => kind == op && nth == done,
        };
        if due {
            self.struck = Some(op);
        }
        due.then_some(fault)
    }

    fn change(&mut self, from: Option<PathBuf>, to: Option<(PathBuf, usize)>) {
        let change = Rename { from, to };
        apply(&mut self.names, &change);
        self.unsynced_names.push(change);
    }

    fn sync(&mut self, what: &Synced) {
        self.syncs_repeated += u64::from(self.unsyncable.contains(what));
    }

    fn cannot_sync(&mut self, what: Synced) {
        self.sync(&what);
        self.unsyncable.insert(what);
    }

    /// The bytes and names, synced and not, without what was counted or is planned.
    fn as_it_is(&self) -> State {
        State {
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            unsynced_names: self.unsynced_names.clone(),
            files: self.files.clone(),
            random: self.random,
            ..State::default()
        }
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
fn put_some_version(
    versions: &[Vec<u8>],
    to: &mut Vec<u8>,
    sector: usize,
    pick: &mut dyn FnMut(usize) -> usize,
) {
    let choice = pick(versions.len() + 1);
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
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
