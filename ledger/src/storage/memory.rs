//! A storage in memory that breaks on demand, before or after it has written: for tests of what is built on it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Appended, BlobKind, Entry, Head, LogGroup, Opener, Recovery, Storage, StorageError,
    check_bounds,
};

/// What a [`MemoryStorage`] keeps. It outlives the storage, as a disk does, so a test can open it again.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    written: Vec<Written>,
    logs: Vec<(String, Head)>,
    blobs: HashMap<[u8; 32], Vec<u8>>,
    next: Option<(u64, Fault)>,
    appends: u64,
    conflicts: u64,
    away: bool,
}

#[derive(Clone, Debug)]
enum Written {
    Leaf {
        log: String,
        seq: u64,
        bytes: Vec<u8>,
    },
    Blob {
        log: String,
        kind: BlobKind,
        name: [u8; 32],
        bytes: Vec<u8>,
    },
}

/// How an append goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An I/O error, and nothing was written. The storage is poisoned.
    BreakBefore,
    /// An I/O error, though everything was written. The storage is poisoned.
    BreakAfter,
    /// No space: nothing was written, and the next append may do.
    NoSpace,
    /// [`Appended::Unknown`] for every group, and nothing was written.
    UnknownLost,
    /// [`Appended::Unknown`] for every group, though everything was written.
    UnknownKept,
    /// As [`Fault::UnknownLost`], and whoever keeps the log is away from then on.
    AwayLost,
    /// As [`Fault::UnknownKept`], and whoever keeps the log is away from then on.
    AwayKept,
}

impl MemoryDisk {
    /// Lets the append after the next `appends` ones go wrong, once.
    pub fn fail_after(&self, appends: u64, fault: Fault) {
        let mut content = self.content();
        content.next = Some((content.appends.saturating_add(appends), fault));
    }

    /// Whether it can be asked nothing, as a server that is away.
    pub fn away(&self, away: bool) {
        self.content().away = away;
    }

    /// Takes the last leaves of a log away, as a standby does that is promoted without them.
    pub fn cut(&self, log: &str, size: u64) {
        self.content().cut(log, size);
    }

    /// Number of appends begun.
    pub fn appends(&self) -> u64 {
        self.content().appends
    }

    /// Number of groups refused because the log had moved on.
    pub fn conflicts(&self) -> u64 {
        self.content().conflicts
    }

    fn reached(&self) -> Result<MutexGuard<'_, Content>, StorageError> {
        let content = self.content();
        match content.away {
            false => Ok(content),
            true => Err(StorageError::Unavailable {
                what: "away on demand".to_owned(),
            }),
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // Every change is made whole before the lock is given back, so a panic elsewhere leaves none half made.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A storage over a [`MemoryDisk`].
#[derive(Debug, Default)]
pub struct MemoryStorage {
    disk: MemoryDisk,
    poisoned: bool,
    /// Of a disk that others write to as well: where each log ended when that was told last.
    told: Option<HashMap<String, Head>>,
}

impl MemoryStorage {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens what `disk` keeps, as a restart does.
    pub fn on(disk: MemoryDisk) -> Self {
        MemoryStorage {
            disk,
            poisoned: false,
            told: None,
        }
    }

    /// Opens what `disk` keeps while others write to it, as one of several replicas does.
    pub fn shared(disk: MemoryDisk) -> Self {
        MemoryStorage {
            told: Some(HashMap::new()),
            ..Self::on(disk)
        }
    }

    /// Where its own appends end is told by their results.
    fn remember(&mut self, groups: &[LogGroup], results: &[Appended]) {
        for (group, result) in groups.iter().zip(results) {
            if let (Some(told), Appended::Appended { head }) = (&mut self.told, result) {
                told.insert(group.log.clone(), *head);
            }
        }
    }

    /// The disk, to break it or open it again.
    pub fn disk(&self) -> MemoryDisk {
        self.disk.clone()
    }
}

impl Storage for MemoryStorage {
    fn append(&mut self, groups: &[LogGroup]) -> Result<Vec<Appended>, StorageError> {
        if self.poisoned {
            return Err(StorageError::Poisoned);
        }
        for group in groups {
            check_bounds(group)?;
        }
        let mut content = self.disk.reached()?;
        let due = content.next.filter(|(at, _)| *at == content.appends);
        content.appends = content.appends.saturating_add(1);
        let fault = due.map(|(_, fault)| fault);
        if fault.is_some() {
            content.next = None;
        }
        let unknown = || groups.iter().map(|_| Appended::Unknown).collect();
        match fault {
            None => {
                let results = content.append(groups);
                drop(content);
                self.remember(groups, &results);
                Ok(results)
            }
            Some(Fault::NoSpace) => Err(StorageError::NoSpace {
                path: PathBuf::from("memory"),
            }),
            Some(lost @ (Fault::UnknownLost | Fault::AwayLost)) => {
                content.away = lost == Fault::AwayLost;
                Ok(unknown())
            }
            Some(kept @ (Fault::UnknownKept | Fault::AwayKept)) => {
                content.away = kept == Fault::AwayKept;
                content.append(groups);
                Ok(unknown())
            }
            Some(broken @ (Fault::BreakBefore | Fault::BreakAfter)) => {
                if broken == Fault::BreakAfter {
                    content.append(groups);
                }
                self.poisoned = true;
                Err(StorageError::Io {
                    path: PathBuf::from("memory"),
                    did: "fdatasync",
                    source: std::io::Error::other("broken on demand"),
                })
            }
        }
    }

    fn replay(
        &mut self,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        // A copy, so that the visitor may use the disk.
        let written = self.disk.reached()?.written.clone();
        show(&written, visit);
        Ok(())
    }

    fn tail(
        &mut self,
        log: &str,
        from: u64,
        visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        let written = self.disk.reached()?.since(log, from);
        show(&written, visit);
        Ok(())
    }

    fn blob(&self, name: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.disk.reached()?.blobs.get(name).cloned())
    }

    fn logs(&self) -> Vec<(String, Head)> {
        self.disk.content().logs.clone()
    }

    fn head(&self, log: &str) -> Head {
        self.disk.content().head(log)
    }

    fn another(&self) -> Option<Opener> {
        let disk = self.disk.clone();
        Some(Arc::new(move || Ok(Box::new(Self::on(disk.clone())))))
    }

    fn is_shared(&self) -> bool {
        self.told.is_some()
    }

    fn moved(&mut self) -> Result<Vec<(String, Head)>, StorageError> {
        let Some(told) = &mut self.told else {
            return Ok(Vec::new());
        };
        let mut moved = self.disk.reached()?.logs.clone();
        moved.retain(|(log, head)| told.insert(log.clone(), *head) != Some(*head));
        Ok(moved)
    }

    fn recovery(&self) -> Option<&Recovery> {
        None
    }
}

fn show(written: &[Written], visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) {
    for one in written {
        if visit(one.entry()).is_break() {
            break;
        }
    }
}

impl Written {
    fn log(&self) -> &str {
        match self {
            Self::Leaf { log, .. } | Self::Blob { log, .. } => log,
        }
    }

    fn entry(&self) -> Entry<'_> {
        match self {
            Self::Leaf { log, seq, bytes } => Entry::Leaf {
                log,
                seq: *seq,
                bytes,
            },
            Self::Blob {
                log,
                kind,
                name,
                bytes,
            } => Entry::Blob {
                log,
                kind: *kind,
                name,
                bytes,
            },
        }
    }
}

impl Content {
    /// What was written of a log behind its leaf before `from`.
    fn since(&self, log: &str, from: u64) -> Vec<Written> {
        let own = self.written.iter().rev().filter(|one| one.log() == log);
        let before = |one: &&Written| !matches!(one, Written::Leaf { seq, .. } if *seq < from);
        let mut since: Vec<Written> = own.take_while(before).cloned().collect();
        since.reverse();
        since
    }

    fn cut(&mut self, log: &str, size: u64) {
        let (mut beside, mut head) = (Vec::new(), Head::genesis(log));
        for one in std::mem::take(&mut self.written) {
            match &one {
                other if other.log() != log => self.written.push(one),
                Written::Blob { .. } => beside.push(one),
                Written::Leaf { seq, bytes, .. } if *seq < size => {
                    head = head.after(bytes);
                    self.written.append(&mut beside);
                    self.written.push(one);
                }
                Written::Leaf { .. } => beside.clear(),
            }
        }
        for (name, kept) in &mut self.logs {
            if name == log {
                *kept = head;
            }
        }
    }

    fn head(&self, log: &str) -> Head {
        let known = self.logs.iter().find(|(name, _)| name == log);
        known.map_or_else(|| Head::genesis(log), |(_, head)| *head)
    }

    fn append(&mut self, groups: &[LogGroup]) -> Vec<Appended> {
        groups.iter().map(|group| self.append_one(group)).collect()
    }

    fn append_one(&mut self, group: &LogGroup) -> Appended {
        let found = self.head(&group.log);
        if found != group.expected_head {
            self.conflicts = self.conflicts.saturating_add(1);
            return Appended::Conflict { found };
        }
        for blob in &group.blobs {
            self.blobs.insert(blob.name, blob.bytes.clone());
            self.written.push(Written::Blob {
                log: group.log.clone(),
                kind: blob.kind,
                name: blob.name,
                bytes: blob.bytes.clone(),
            });
        }
        let mut head = found;
        for leaf in &group.leaves {
            self.written.push(Written::Leaf {
                log: group.log.clone(),
                seq: head.size,
                bytes: leaf.to_vec(),
            });
            head = head.after_hash(leaf.hash());
        }
        match self.logs.iter_mut().find(|(name, _)| *name == group.log) {
            Some((_, kept)) => *kept = head,
            None if group.leaves.is_empty() && group.blobs.is_empty() => {}
            None => self.logs.push((group.log.clone(), head)),
        }
        Appended::Appended { head }
    }
}
