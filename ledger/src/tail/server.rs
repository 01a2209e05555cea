//! Leaves of logs that several ledgers have open, with a cursor beside the logs: one passes on at a time, and who follows goes on where
//! it was.
//!
//! *Flow.* Whoever has the lead ([`Lead`]) reads what comes behind the cursor, waits until that is durable, gives it to the sink, and moves
//! the cursor. Who has it not follows the cursor. *What a take-over leaves.* Lines that a sink took and the cursor does not count: the next
//! one passes them on again. *Errors.* A cursor or a log that is behind what this process saw of it was put back: nothing is passed
//! on by anybody who saw it.

use std::collections::BTreeMap;

use super::outlet::Outlet;
use super::{Cursor, Durable, FileEnd, Source, TailError, cursor};
use crate::storage::{Head, Lead, StorageError};

/// The logs of a server.
pub(super) struct Server {
    lead: Box<dyn Lead>,
    /// Which term of the lead is ours.
    term: Option<u64>,
    /// As it was kept last, whoever did; of a file, where ours ended.
    cursor: Cursor,
    version: Option<u64>,
    heads: BTreeMap<String, Head>,
}

impl Server {
    pub(super) fn new(lead: Box<dyn Lead>) -> Self {
        Self {
            lead,
            term: None,
            cursor: Cursor::default(),
            version: None,
            heads: BTreeMap::new(),
        }
    }

    /// Where the cursor is now, and behind it where the logs end, which is not before it.
    fn look(&mut self) -> Result<(), TailError> {
        if self.lead.kept_version()? != self.version {
            let (version, found) = match self.lead.kept()? {
                None => (None, Cursor::default()),
                Some((version, bytes)) => {
                    let cursor = cursor::parse(&bytes);
                    let cursor = cursor.map_err(|what| TailError::NoSharedCursor { what })?;
                    (Some(version), cursor)
                }
            };
            for (log, seen) in &self.cursor.logs {
                let found = found.logs.get(log).copied();
                let found = found.unwrap_or_else(|| Head::genesis(log));
                if found.size < seen.size {
                    return Err(TailError::PutBack {
                        log: log.clone(),
                        size: seen.size,
                        found: found.size,
                    });
                }
                check(log, *seen, found)?;
            }
            (self.version, self.cursor.logs) = (version, found.logs);
        }
        self.heads.extend(self.lead.moved()?);
        for (log, passed) in &self.cursor.logs {
            let head = self.heads.get(log).copied();
            check(log, *passed, head.unwrap_or_else(|| Head::genesis(log)))?;
        }
        Ok(())
    }

    /// Passes on what one log has behind the cursor.
    fn read_log(&mut self, outlet: &mut Outlet, log: &str, size: u64) -> Result<u64, TailError> {
        let mut passed = 0_u64;
        let mut end = outlet.end(&self.cursor, log).size;
        // With the leaf that was passed on last, to see that it is still there.
        let mut from = end.saturating_sub(1);
        loop {
            let (lead, cursor, mut failed) = (&mut self.lead, &self.cursor, None);
            let more = lead.leaves(log, from, &mut |seq, leaf| {
                if failed.is_none() {
                    failed = outlet.take(cursor, log, seq, leaf).err();
                }
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            if outlet.is_full() {
                passed = passed.saturating_add(outlet.deliver(self)?);
            }
            let before = std::mem::replace(&mut end, outlet.end(&self.cursor, log).size);
            // A last group of a piece or more may have some behind it, or not.
            if end >= size && (!more || end == before) {
                return Ok(passed);
            }
            if end == before && from == end {
                let what = "the rows that hold it and what follows are missing".to_owned();
                let log = log.to_owned();
                return Err(StorageError::DamagedRow {
                    log,
                    seq: end,
                    what,
                }
                .into());
            }
            from = end;
        }
    }
}

/// That a log, or what is known of it, goes on from `passed`.
fn check(log: &str, passed: Head, found: Head) -> Result<(), TailError> {
    let log = log.to_owned();
    if found.size < passed.size {
        return Err(TailError::CutShort {
            log,
            size: passed.size,
            found: found.size,
        });
    }
    if found.size == passed.size && found.hash != passed.hash {
        let seq = passed.size.saturating_sub(1);
        return Err(TailError::OtherLog { log, seq });
    }
    Ok(())
}

impl Source for Server {
    fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    fn logged(&self) -> Option<u64> {
        Some(self.heads.values().map(|head| head.size).sum())
    }

    fn settle(&mut self) -> Result<(), TailError> {
        Ok(self.lead.settle()?)
    }

    /// A file is this process's alone, so where it ends is kept nowhere else.
    fn move_to(
        &mut self,
        ends: BTreeMap<String, Head>,
        file: Option<FileEnd>,
    ) -> Result<(), TailError> {
        if ends.is_empty() {
            self.cursor.file = file;
            return Ok(());
        }
        let mut logs = self.cursor.logs.clone();
        logs.extend(ends);
        let moved = Cursor { logs, file: None };
        // Whether it was moved may stay unknown, and with it what of the file counts.
        self.cursor.file = None;
        self.version = Some(self.lead.keep(self.version, &cursor::text(&moved))?);
        self.cursor = Cursor { file, ..moved };
        Ok(())
    }

    fn read_on(&mut self, outlet: &mut Outlet, _: Durable<'_>) -> Result<u64, TailError> {
        let term = self.lead.take()?;
        self.look()?;
        if term != self.term {
            self.term = term;
            outlet.forget();
            // What others appended meanwhile, where they were given the same file, is not known here and not cut off.
            self.cursor.file = None;
            match term {
                Some(_) => tracing::info!("This ledger passes leaves on"),
                None => tracing::info!("Another ledger passes leaves on now"),
            }
        }
        if term.is_none() {
            return Ok(0);
        }
        let mut passed = 0_u64;
        let heads = self.heads.iter();
        let ahead = heads.filter(|(log, head)| head.size > outlet.end(&self.cursor, log).size);
        let ahead: Vec<(String, u64)> = ahead.map(|(log, head)| (log.clone(), head.size)).collect();
        for (log, size) in ahead {
            passed = passed.saturating_add(self.read_log(outlet, &log, size)?);
        }
        Ok(passed)
    }
}
