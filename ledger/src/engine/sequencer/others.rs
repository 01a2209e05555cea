//! Logs that others append to as well: what they appended is taken in, and what of ours was not kept goes back.
//!
//! Where the storage does not say how a log goes on, that log is owed: nothing is decided on any log until it was read. A group of
//! which nobody knows is one of that kind; whether it was kept shows by the hash of its last leaf.

use std::collections::BTreeMap;

use super::{Committed, Halt, Sequencer, Undone, is_appended};
use crate::engine::log::{self, OpenError};
use crate::storage::{Appended, Head, LogGroup, StorageError};
use crate::vault::VaultError;

/// Why a log has to be read on.
#[derive(Clone, Copy, Default)]
pub(super) struct Owed {
    /// Where it was said to end.
    head: Option<Head>,
    /// It went back to a state it kept, which is to be kept anew.
    went_back: bool,
}

impl Sequencer {
    /// Has others wait where they were faster before: a group that was decided takes longer than none, so who was late once would
    /// be late again and again.
    pub(super) fn take_turn(&mut self) {
        let logs = std::mem::take(&mut self.contended);
        self.met.clear();
        if !logs.is_empty() && !self.poisoned() {
            self.parts.storage.take_turn(&logs);
        }
        self.had_turn = logs;
    }

    /// Takes in what others appended since.
    pub(super) fn catch_up(&mut self) -> Result<(), Halt> {
        if self.poisoned() {
            return Err(Halt::Stopped);
        }
        if !self.shared {
            return Ok(());
        }
        let moved = self.parts.storage.moved();
        for (origin, head) in moved.map_err(|error| self.halted(&error.into()))? {
            let known = self.logs.get(&origin);
            if known.is_some_and(|log| head.size < log.durable_size()) {
                let leaves = head.size;
                tracing::error!(log = %origin, leaves, "The log ends before what was answered on; the ledger stops. It was put back, or a standby took over that had not all of it");
                self.stop();
                return Err(Halt::Stopped);
            }
            if known.is_none_or(|log| log.head() != head) {
                self.met.insert(origin.clone());
                self.owed.entry(origin).or_default().head = Some(head);
            }
        }
        // What is lent from here on is what was stored before anything that was taken in.
        let vault = self.parts.vault.refresh();
        vault.map_err(|error| self.halted(&error.into()))?;
        while let Some(origin) = self.owed.keys().next().cloned() {
            self.read_owed(&origin)?;
        }
        Ok(())
    }

    /// Reads a log on; while that fails it stays owed.
    fn read_owed(&mut self, origin: &str) -> Result<(), Halt> {
        let read = log::read_on(&mut self.logs, origin, &mut self.parts);
        read.map_err(|error| self.halted(&error))?;
        let Some(owed) = self.owed.remove(origin) else {
            return Ok(());
        };
        let known = self.logs.get_mut(origin);
        let holds = |head| known.as_ref().is_some_and(|log| log.holds(head));
        if owed.head.is_some_and(|head| !holds(head)) {
            tracing::error!(log = %origin, "The log does not hold the leaf that it was said to end with; the ledger stops");
            self.stop();
            return Err(Halt::Stopped);
        }
        if let Some(log) = &known {
            self.sizes.put(origin, log.size());
        }
        if let Some(log) = known.filter(|_| owed.went_back) {
            // Who was late once goes back a short way the next time, else the fast stay so for ever.
            log.keep_state();
        }
        Ok(())
    }

    fn halted(&self, error: &OpenError) -> Halt {
        if let OpenError::Storage(StorageError::Unavailable { what })
        | OpenError::Vault(VaultError::Away(what)) = error
        {
            tracing::error!(%what, "Nobody can tell what other replicas did");
            return Halt::Unreachable;
        }
        // A server without room for what it needs while it answers.
        if let OpenError::Storage(StorageError::NoSpace { .. }) = error {
            tracing::error!(%error, "Nobody can tell what other replicas did");
            return Halt::Unreachable;
        }
        tracing::error!(%error, "What another replica did does not follow; the ledger stops");
        self.stop();
        Halt::Stopped
    }

    /// What was staged on a log is not kept, or not known to be.
    pub(super) fn go_back(&mut self, origin: &str) {
        if let Some(log) = self.logs.get_mut(origin) {
            log.go_back();
            self.owed.entry(origin.to_owned()).or_default().went_back = true;
        }
    }

    /// What is durable is; a log that another replica reached first goes back and takes in what that appended.
    pub(super) fn settle(
        &mut self,
        groups: Vec<LogGroup>,
        signed: Vec<String>,
        results: &[Appended],
    ) -> Committed {
        let mut staged = BTreeMap::new();
        for ((group, checkpoint), result) in groups.into_iter().zip(signed).zip(results) {
            let Some(log) = self.logs.get_mut(&group.log) else {
                continue;
            };
            if is_appended(result) {
                // As long as others go on as well, it goes by turns; else nobody is waited for.
                if self.had_turn.contains(&group.log) && self.met.contains(&group.log) {
                    self.contended.insert(group.log.clone());
                }
                log.is_durable(checkpoint, self.shared);
                self.sizes.put(&group.log, log.size());
                self.keeping.grew(group.leaves.len());
                if let Some(keeper) = &self.keeper {
                    keeper.put(log);
                }
                continue;
            }
            self.contended.insert(group.log.clone());
            let head = log.head();
            self.go_back(&group.log);
            staged.insert(group.log, (head, *result));
        }
        let mut undone = Undone::default();
        for (origin, (head, result)) in staged {
            match self.read_owed(&origin) {
                // Of an append of which nobody knows, the hash of its last leaf says whether it was kept, whatever came after.
                Ok(()) if self.logs.get(&origin).is_some_and(|log| log.holds(head)) => {}
                Err(Halt::Stopped) => return Committed::Poisoned,
                Err(Halt::Unreachable) if result == Appended::Unknown => {
                    undone.unknown.insert(origin);
                }
                Ok(()) | Err(Halt::Unreachable) => {
                    undone.lost.insert(origin);
                }
            }
        }
        Committed::But(undone)
    }
}
