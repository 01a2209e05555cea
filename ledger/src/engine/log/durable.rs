//! What of a log is durable, and the way back there.
//!
//! A group that is not kept, because another replica was faster or the disk is full, leaves a log with leaves that are nowhere. It
//! goes back to a state it kept and takes in what the storage has from there on.

use actpass_core::evidence::leaf::{Revision, genesis_prev};
use actpass_core::hash::LeafHash;
use actpass_core::state::State;
use jiff::Timestamp;

use super::Log;

/// After how many leaves a log that others write to keeps its state anew. Going back takes in half of them, about 10 µs each; a
/// copy of the state costs 10 ms at most, so 20 µs per leaf where all of it is used.
const KEPT_EVERY: u64 = 512;

/// Where a log stood when a state of it was kept, and where it is durable.
pub(super) struct Durable {
    size: u64,
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
            given: None,
            kept: Box::new(Kept {
                state: State::new(origin),
                size: 0,
                head: genesis_prev(origin),
                time: Timestamp::UNIX_EPOCH,
            }),
        }
    }
}

impl Log {
    /// All leaves are durable now, under this checkpoint.
    pub(in crate::engine) fn is_durable(&mut self, checkpoint: String, shared: bool) {
        self.checkpoint = checkpoint;
        self.durable.size = self.tree.size();
        self.durable.given = self.given;
        self.forget_ended();
        if shared && self.durable.size.saturating_sub(self.durable.kept.size) >= KEPT_EVERY {
            self.keep_state();
        }
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

    /// Whether any leaf of it is durable.
    pub(super) fn was_kept(&self) -> bool {
        self.durable.size > 0
    }

    /// Goes back to the state that was kept last.
    pub(in crate::engine) fn go_back(&mut self) {
        let Kept {
            state,
            size,
            head,
            time,
        } = &*self.durable.kept;
        self.state.clone_from(state);
        (self.head, self.last_time) = (*head, *time);
        self.tree.truncate(*size);
        self.given = self.durable.given;
        self.ended.clear();
        for answered in self.answered.values_mut() {
            answered.retain(|answered| answered.index < *size);
        }
    }
}
