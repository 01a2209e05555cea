//! How far a verification came, as bytes, so that a later one need not begin anew.
//!
//! Nothing is saved once something is wrong or missing: then a later verification finds it again. What was saved is taken up only
//! behind leaves that are, all of them, those that were verified: they are hashed again, which costs a small part of verifying.

use serde::{Deserialize, Serialize};

use super::Inputs;
use super::beside::{Beside, SavedBeside};
use super::replay::{Replay, SavedReplay};
use super::structure::SavedStructure;
use crate::evidence::receipt::KeptHead;
use crate::state::SnapshotError;

/// A verification after some number of leaves.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    pub(super) log: String,
    pub(super) head: KeptHead,
    pub(super) structure: SavedStructure,
    pub(super) beside: SavedBeside,
    pub(super) replay: SavedReplay,
}

impl Saved {
    /// The log that it is of.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// How many leaves were verified, and the root over them.
    pub fn head(&self) -> KeptHead {
        self.head
    }
}

/// Why what was saved is not taken up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// The policy in it is none.
    #[error("the policy in it is none")]
    Bundle,
    /// The state in it is none.
    #[error("the state in it is none")]
    State(#[from] SnapshotError),
}

/// What is taken up once the leaves before were seen to be the same.
pub(super) struct Ahead<'a> {
    pub(super) head: KeptHead,
    pub(super) structure: SavedStructure,
    pub(super) beside: Beside<'a>,
    pub(super) replay: Replay<'a>,
}

impl<'a> Ahead<'a> {
    pub(super) fn read(saved: Saved, inputs: &'a dyn Inputs) -> Result<Self, ResumeError> {
        let Saved {
            head,
            structure,
            beside,
            replay,
            ..
        } = saved;
        Ok(Self {
            head,
            structure,
            beside: Beside::resumed(inputs, beside),
            replay: Replay::resumed(inputs, replay)?,
        })
    }
}

/// How a verification stands to what was saved of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It began with the first leaf.
    Anew,
    /// It has not come to where the earlier one ended.
    NotYet,
    /// It went on behind this many leaves.
    From(u64),
    /// The leaves before are not those that were verified.
    Other,
}
