//! Parts of a log that are lost, as the log itself says.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::canonical::serde_instant;
use crate::evidence::leaf::{EventBody, GapLimits, Leaf, LostHead};

/// One part that is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostHistory {
    /// The leaf that says so: those before it are left.
    pub leaf: u64,
    /// When that was logged.
    #[serde(with = "serde_instant")]
    pub time: Timestamp,
    /// Heads that the log had and has no more.
    pub heads: Vec<LostHead>,
    /// How many of the given anchors are among them.
    pub known: usize,
    /// What counts as used of limits since.
    pub limits: GapLimits,
    /// Who said so.
    pub by: String,
    /// Why.
    pub why: String,
}

impl LostHistory {
    pub(super) fn of(leaf: &Leaf) -> Option<Self> {
        let Some(EventBody::Gap {
            lost,
            limits,
            by,
            why,
            ..
        }) = leaf.event()
        else {
            return None;
        };
        Some(Self {
            leaf: leaf.h.seq,
            time: leaf.h.time,
            heads: lost.clone(),
            known: 0,
            limits: *limits,
            by: by.clone(),
            why: why.clone(),
        })
    }
}

impl fmt::Display for LostHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leaf, by, why, .. } = self;
        write!(
            f,
            "what was logged after the first {leaf} leaves, as leaf {leaf} says (`{by}`: {why})"
        )?;
        match self.heads.last() {
            Some(head) => write!(
                f,
                "; the log had {} leaves, and {} of the anchors are of what is lost",
                head.size, self.known
            ),
            None => f.write_str("; nobody knows how much it was"),
        }
    }
}
