//! What of a log is durable, and the way back there.
//!
//! A group that is not kept, because another replica was faster, leaves a log with leaves that are nowhere. It goes back to a state it
//! kept and takes in what the storage has from there on. Answers that such leaves pushed out of those kept for resending do not come
//! back: at most those of one group, and those of the last batch stay.

use actpass_core::evidence::leaf::{Revision, genesis_prev};
use actpass_core::hash::LeafHash;
use actpass_core::state::State;
use jiff::Timestamp;

use super::Log;

/// After how many leaves a log that others write to keeps its state anew: a copy of it, against taking in half as many leaves.
const KEPT_EVERY: u64 = 512;

/// Where a log stood when a state of it was kept, and where it is durable.
pub(super) struct Durable {
    pub(super) size: u64,
    /// Hash of the last of them.
    hash: LeafHash,
    given: Option<Revision>,
    kept: Box<Kept>,
}

struct Kept {
    state: State,
    size: u64,
    head: LeafHash,
    time: Timestamp,
}

impl Durable {
    pub(super) fn nothing(origin: &str) -> Self {
        Self {
            size: 0,
            hash: genesis_prev(origin),
            given: None,
            kept: Box::new(Kept::nothing(origin)),
        }
    }
}

impl Kept {
    fn nothing(origin: &str) -> Self {
        Self {
            state: State::new(origin),
            size: 0,
            head: genesis_prev(origin),
            time: Timestamp::UNIX_EPOCH,
        }
    }
}

impl Log {
    /// All leaves are durable now, under this checkpoint.
    pub(in crate::engine) fn is_durable(&mut self, checkpoint: String, shared: bool) {
        self.checkpoint = checkpoint;
        self.durable.size = self.tree.size();
        self.durable.hash = self.head;
        self.keep_given();
        self.forget_ended();
        self.forget_leaves();
        if shared && self.durable.size.saturating_sub(self.durable.kept.size) >= KEPT_EVERY {
            self.keep_state();
        }
    }

    /// What was given was answered, also where it is in no leaf.
    pub(in crate::engine) fn keep_given(&mut self) {
        self.durable.given = self.given;
    }

    /// The revision given last, as an earlier reading of the same log has it.
    pub(in crate::engine) fn given_as(&mut self, before: &Self) {
        self.given = self.given.max(before.durable.given);
        self.keep_given();
    }

    /// Whether all that was durable is still in it.
    pub(super) fn holds_durable(&self) -> bool {
        match self.durable.size.checked_sub(1) {
            None => true,
            // The hash of its last leaf may be in a file by now, and is known without.
            Some(_) if self.is_all_durable() => self.head == self.durable.hash,
            Some(last) => self.tree.leaf(last) == Some(self.durable.hash),
        }
    }

    /// Whether it has no other leaves than those that are durable.
    pub(super) fn is_all_durable(&self) -> bool {
        self.tree.size() == self.durable.size
    }

    /// Forgets the answers to streams that ended, once that is durable.
    pub(super) fn forget_ended(&mut self) {
        for stream in std::mem::take(&mut self.ended) {
            self.answered.remove(&stream);
        }
    }

    /// Keeps the state of leaves that are all durable.
    pub(in crate::engine) fn keep_state(&mut self) {
        *self.durable.kept = Kept {
            state: self.state.clone(),
            size: self.tree.size(),
            head: self.head,
            time: self.last_time,
        };
    }

    /// How many leaves of it are durable.
    pub(in crate::engine) fn durable_size(&self) -> u64 {
        self.durable.size
    }

    /// Whether any leaf of it is durable.
    pub(super) fn was_kept(&self) -> bool {
        self.durable.size > 0
    }

    /// Goes back to the state that was kept last, which is to be kept anew after.
    pub(in crate::engine) fn go_back(&mut self) {
        let nothing = Kept::nothing(&self.origin);
        let Kept {
            state,
            size,
            head,
            time,
        } = std::mem::replace(&mut *self.durable.kept, nothing);
        (self.state, self.head, self.last_time) = (state, head, time);
        self.tree.truncate(size);
        self.given = self.durable.given;
        self.ended.clear();
        for answered in self.answered.values_mut() {
            answered.retain(|answered| answered.index < size);
        }
    }
}
