//! Gaps: the log goes on where a copy of it ended, and what had been logged after that is lost.
//!
//! What nobody can know any more is taken for what harms least: every sidecar is gone, what was permitted may have happened, what was
//! asked of people is to be asked again, and limits are used up until what was used before has left their windows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ApprovalState, State, StateError};
use crate::canonical::serde_instant;
use crate::evidence::leaf::{EventBody, GapLimits, LeafHeader, LostHead, StreamEnd};
use crate::hash::StreamId;

/// Most gaps of one log.
pub const GAPS_MAX: usize = 256;

/// Most lost heads that one gap names.
pub const LOST_HEADS_MAX: usize = 16;

/// A part of the log that is lost, as the log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostPart {
    /// The leaf that says so, in the place of the first that is lost.
    pub leaf: u64,
    /// When that was logged.
    #[serde(with = "serde_instant")]
    pub time: Timestamp,
    /// Heads that the log had then and has no more.
    pub heads: Vec<LostHead>,
    /// What counts as used since.
    pub limits: GapLimits,
}

impl State {
    /// Parts of the log that are lost, oldest first.
    pub fn gaps(&self) -> &[LostPart] {
        &self.gaps
    }

    /// Since when limits count as used up, where what was used before is not known.
    pub(super) fn used_up_since(&self) -> Option<Timestamp> {
        let unknown = self.gaps.iter().rev();
        let mut unknown = unknown.filter(|gap| gap.limits == GapLimits::UsedUp);
        unknown.next().map(|gap| gap.time)
    }

    /// Takes a gap in.
    pub(super) fn lose(&mut self, event: &EventBody, at: &LeafHeader) -> Result<(), StateError> {
        let EventBody::Gap {
            size, lost, limits, ..
        } = event
        else {
            return Ok(());
        };
        self.check_gap(*size, lost, at)?;
        let open: Vec<StreamId> = self.open_streams().map(|(id, _)| *id).collect();
        for stream in open {
            self.end_stream(&stream, StreamEnd::ExpiredTailUnknown, at.time)?;
        }
        for approval in self.approvals.iter_mut() {
            // One that was used may be given back once somebody finds out that nothing happened.
            approval.lost |= !matches!(
                approval.state(at.time),
                ApprovalState::Denied | ApprovalState::Expired
            );
        }
        self.gaps.push(LostPart {
            leaf: at.seq,
            time: at.time,
            heads: lost.clone(),
            limits: *limits,
        });
        Ok(())
    }

    fn check_gap(&self, size: u64, lost: &[LostHead], at: &LeafHeader) -> Result<(), StateError> {
        let sizes = std::iter::once(size).chain(lost.iter().map(|head| head.size));
        if size != at.seq || !sizes.is_sorted_by(|one, next| one < next) {
            return Err(StateError::Form(
                "a gap that is not where it says, or loses heads that come before it",
            ));
        }
        if self.gaps.len() >= GAPS_MAX || lost.len() > LOST_HEADS_MAX {
            return Err(StateError::Form(
                "more gaps, or lost heads of one, than a log can have",
            ));
        }
        Ok(())
    }
}
