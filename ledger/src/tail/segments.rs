//! Leaves of the segments of a directory, with a cursor in a file.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::outlet::Outlet;
use super::{Cursor, CursorFile, Durable, FileEnd, Source, TailError};
use crate::storage::{Entry, Head, SegmentReader};

/// The logs of one directory.
pub(super) struct Segments {
    directory: PathBuf,
    /// None: it is opened anew, and read from its first leaf, once the sink has taken what waits.
    reader: Option<SegmentReader>,
    cursor: CursorFile,
    /// Read and not durable yet.
    held: VecDeque<Held>,
    /// How many leaves of each log were read.
    read: BTreeMap<String, u64>,
}

struct Held {
    log: String,
    seq: u64,
    leaf: Vec<u8>,
}

impl Segments {
    pub(super) fn new(directory: &Path, cursor: CursorFile) -> Self {
        Self {
            directory: directory.to_owned(),
            reader: None,
            cursor,
            held: VecDeque::new(),
            read: BTreeMap::new(),
        }
    }

    /// Takes in the next leaf that was read; how many the sink took meanwhile.
    fn leaf(
        &mut self,
        outlet: &mut Outlet,
        (log, seq, leaf): (&str, u64, &[u8]),
        durable: Durable<'_>,
    ) -> Result<u64, TailError> {
        match self.read.get_mut(log) {
            Some(read) => *read = seq.saturating_add(1),
            None => drop(self.read.insert(log.to_owned(), seq.saturating_add(1))),
        }
        if !is_durable(durable, log, seq) || self.held.iter().any(|before| before.log == log) {
            self.held.push_back(Held {
                log: log.to_owned(),
                seq,
                leaf: leaf.to_owned(),
            });
            return Ok(0);
        }
        outlet.take(self.cursor(), log, seq, leaf)?;
        match outlet.is_full() {
            true => outlet.deliver(self),
            false => Ok(0),
        }
    }

    /// Of a log read from its first leaf: nothing that was passed on is missing.
    fn check_ends(&self) -> Result<(), TailError> {
        for (log, head) in &self.cursor().logs {
            let found = self.read.get(log).copied().unwrap_or(0);
            if found < head.size {
                return Err(TailError::CutShort {
                    log: log.clone(),
                    size: head.size,
                    found,
                });
            }
        }
        Ok(())
    }
}

impl Source for Segments {
    fn cursor(&self) -> &Cursor {
        self.cursor.cursor()
    }

    fn move_to(
        &mut self,
        ends: BTreeMap<String, Head>,
        file: Option<FileEnd>,
    ) -> Result<(), TailError> {
        self.cursor.move_to(ends, file)
    }

    fn read_on(&mut self, outlet: &mut Outlet, durable: Durable<'_>) -> Result<u64, TailError> {
        while let Some(held) = self.held.pop_front() {
            if !is_durable(durable, &held.log, held.seq) {
                self.held.push_front(held);
                break;
            }
            outlet.take(self.cursor(), &held.log, held.seq, &held.leaf)?;
        }
        let (mut reader, anew) = match self.reader.take() {
            Some(reader) => (reader, false),
            None => {
                self.held.clear();
                self.read.clear();
                (SegmentReader::open_to_follow(&self.directory)?, true)
            }
        };
        let (mut passed, mut failed) = (0_u64, None);
        reader.read_on(&mut |entry| {
            let Entry::Leaf { log, seq, bytes } = entry else {
                return;
            };
            if failed.is_some() {
                return;
            }
            match self.leaf(outlet, (log, seq, bytes), durable) {
                Ok(took) => passed = passed.saturating_add(took),
                Err(error) => failed = Some(error),
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if anew {
            self.check_ends()?;
        }
        self.reader = Some(reader);
        Ok(passed)
    }
}

fn is_durable(durable: Durable<'_>, log: &str, seq: u64) -> bool {
    durable.is_none_or(|durable| seq < durable(log))
}
