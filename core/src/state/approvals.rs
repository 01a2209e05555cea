//! Approvals: questions to people, their votes, and the one use of a grant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{StateError, after};
use crate::canonical::serde_instant;
use crate::decide::{ApprovalNeeded, Grant, LimitLeft};
use crate::evidence::record::Judged;
use crate::hash::{DigestMac, StreamId};
use crate::kept;
use crate::policy::ApprovalSpec;

/// Most questions of one passport that are open at a time: more is a flood, not a request.
pub const PENDING_APPROVALS_MAX: usize = 20;

/// How long an approval can be looked at after it expired: a day. At most [`PENDING_APPROVALS_MAX`] are open per
/// passport and each lives for minutes, so thousands are kept, not millions.
const KEPT_AFTER_EXPIRY: Duration = Duration::from_secs(86_400);

/// One question to people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Its id.
    pub id: String,
    /// Name of the Passport.
    pub passport: String,
    /// Who answers for it, and so may not vote.
    pub owner: String,
    /// The intent that asked.
    pub asked_by_intent: (StreamId, u64),
    /// Sequence number of the leaf that asked: its side frame holds the request's texts.
    pub leaf: u64,
    /// The action's digest under the tenant's key.
    pub digest: DigestMac,
    /// Whom or what it is about, where the action says, under the same key.
    pub subject: Option<DigestMac>,
    /// Who has to agree, and why.
    pub needed: ApprovalNeeded,
    /// The clear part of the action.
    pub judged: Box<Judged>,
    /// Rules that asked, as text.
    pub rules: Vec<String>,
    /// When it was asked.
    #[serde(with = "serde_instant")]
    pub asked: Timestamp,
    /// Until when it stands.
    #[serde(with = "serde_instant")]
    pub expires: Timestamp,
    /// Votes, oldest first.
    pub votes: Vec<Vote>,
    #[serde(with = "kept::hex32")]
    pub(super) asked_by: [u8; 32],
    pub(super) sealed: bool,
    pub(super) used: bool,
    /// The erasure that took its texts, where one did: nobody can answer what nobody can see.
    pub erased: Option<String>,
    /// Whether part of the log is lost that may have answered or used it: it is to be asked anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

/// One person's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// Who.
    pub user: String,
    /// Groups it counts for.
    pub groups: Vec<String>,
    /// Yes or no.
    pub grant: bool,
    /// When it was logged.
    #[serde(with = "serde_instant")]
    pub time: Timestamp,
    /// Uid of the Approval that it answers, where that is an object of an API server.
    pub approval_uid: Option<String>,
}

/// Where a question stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalState {
    /// The exact request is not kept yet, so nobody is asked.
    Sealing,
    /// People may answer.
    Pending,
    /// Everyone needed agreed; it may be used once.
    Granted,
    /// Somebody said no, what it was about was erased, or part of the log is lost since.
    Denied,
    /// Nobody answered, or nobody used it, in time.
    Expired,
    /// The action ran under it.
    Used,
}

impl ApprovalState {
    /// `sealing`, `pending`, `granted`, `denied`, `expired` or `used`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sealing => "sealing",
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Used => "used",
        }
    }
}

impl Approval {
    /// Where it stands at `now`.
    pub fn state(&self, now: Timestamp) -> ApprovalState {
        if self.used {
            ApprovalState::Used
        } else if self.lost || self.erased.is_some() || self.votes.iter().any(|vote| !vote.grant) {
            ApprovalState::Denied
        } else if now >= self.expires {
            ApprovalState::Expired
        } else if !self.sealed {
            ApprovalState::Sealing
        } else if self.needed.seats.iter().all(|seat| self.filled(seat)) {
            ApprovalState::Granted
        } else {
            ApprovalState::Pending
        }
    }

    /// Votes count by person: one user agrees once, however many groups they are in.
    fn filled(&self, seat: &ApprovalSpec) -> bool {
        let agreed = self
            .votes
            .iter()
            .filter(|vote| vote.grant && fits(seat, &vote.groups))
            .count();
        u32::try_from(agreed).unwrap_or(u32::MAX) >= seat.quorum.max(1)
    }

    fn is_open(&self, now: Timestamp) -> bool {
        matches!(
            self.state(now),
            ApprovalState::Sealing | ApprovalState::Pending
        )
    }
}

pub(super) fn fits(seat: &ApprovalSpec, groups: &[String]) -> bool {
    seat.groups.iter().any(|group| groups.contains(group))
}

/// All approvals of the log, found by id, by digest and by expiry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "Vec<Approval>", try_from = "Vec<Approval>")]
pub(super) struct Approvals {
    all: BTreeMap<String, Approval>,
    by_digest: BTreeSet<(DigestMac, String)>,
    by_expiry: BTreeSet<(Timestamp, String)>,
}

impl Approvals {
    pub(super) fn get(&self, id: &str) -> Option<&Approval> {
        self.all.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Approval> {
        self.all.get_mut(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Approval> {
        self.all.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Approval> {
        self.all.values_mut()
    }

    /// What lets a decision about this digest permit, the grant that expires first leading. One that no longer fits
    /// the question must not hide a newer one that does.
    pub(super) fn grants(&self, digest: &DigestMac, now: Timestamp) -> Vec<Grant> {
        let mut granted: Vec<&Approval> = self
            .of_digest(digest)
            .filter(|approval| approval.state(now) == ApprovalState::Granted)
            .collect();
        granted.sort_by_key(|approval| (approval.expires, approval.leaf));
        let grants = granted.into_iter().map(|approval| Grant {
            id: approval.id.clone(),
            seats: approval.needed.seats.clone(),
            asked_by: approval.asked_by,
            over_limits: approval.needed.over_limits.clone(),
        });
        grants.collect()
    }

    /// The same question, if it is open already. One under other rules, to other people, or that does not show what
    /// goes over now, is another question.
    pub(super) fn same_open(
        &self,
        digest: &DigestMac,
        needed: &ApprovalNeeded,
        asked_by: &[u8; 32],
        now: Timestamp,
    ) -> Option<&Approval> {
        self.of_digest(digest).find(|approval| {
            approval.needed.seats == needed.seats
                && approval.asked_by == *asked_by
                && needed.is_within(&approval.needed.over_limits)
                && approval.is_open(now)
        })
    }

    /// Whether the passport has as many questions open as it may.
    pub(super) fn is_full(&self, passport: &str, now: Timestamp) -> bool {
        let unexpired = self
            .by_expiry
            .iter()
            .rev()
            .take_while(|(expires, _)| *expires > now);
        let approvals = unexpired.filter_map(|(_, id)| self.all.get(id));
        approvals
            .filter(|approval| approval.passport == passport && approval.is_open(now))
            .count()
            >= PENDING_APPROVALS_MAX
    }

    pub(super) fn add(&mut self, approval: Approval) -> Result<(), StateError> {
        self.forget(approval.asked);
        self.keep(approval)
    }

    fn keep(&mut self, approval: Approval) -> Result<(), StateError> {
        if self.all.contains_key(&approval.id) {
            return Err(StateError::Form("an approval asked for twice"));
        }
        self.by_digest
            .insert((approval.digest, approval.id.clone()));
        self.by_expiry
            .insert((approval.expires, approval.id.clone()));
        self.all.insert(approval.id.clone(), approval);
        Ok(())
    }

    /// Uses a grant up. What it was shown to go over comes back.
    pub(super) fn consume(
        &mut self,
        id: &str,
        passport: &str,
        digest: &DigestMac,
        now: Timestamp,
    ) -> Result<Vec<LimitLeft>, StateError> {
        let granted = self.all.get_mut(id).filter(|approval| {
            approval.digest == *digest
                && approval.passport == passport
                && approval.state(now) == ApprovalState::Granted
        });
        let granted = granted.ok_or_else(|| StateError::NotGranted(id.to_owned()))?;
        granted.used = true;
        Ok(granted.needed.over_limits.clone())
    }

    /// Gives a use back: what it was used for provably did not start.
    pub(super) fn give_back(&mut self, id: &str) {
        if let Some(approval) = self.all.get_mut(id) {
            approval.used = false;
        }
    }

    pub(super) fn of_digest(&self, digest: &DigestMac) -> impl Iterator<Item = &Approval> {
        let digest = *digest;
        let of_digest = self
            .by_digest
            .range((digest, String::new())..)
            .take_while(move |(found, _)| *found == digest);
        of_digest.filter_map(|(_, id)| self.all.get(id))
    }

    /// Forgets what expired long ago: nothing can use it any more, and a use given back would change nothing.
    fn forget(&mut self, now: Timestamp) {
        while let Some((expires, id)) = self.by_expiry.first().cloned() {
            if now < after(expires, KEPT_AFTER_EXPIRY) {
                return;
            }
            self.by_expiry.remove(&(expires, id.clone()));
            if let Some(approval) = self.all.remove(&id) {
                self.by_digest.remove(&(approval.digest, id));
            }
        }
    }
}

impl From<Approvals> for Vec<Approval> {
    fn from(approvals: Approvals) -> Self {
        approvals.all.into_values().collect()
    }
}

impl TryFrom<Vec<Approval>> for Approvals {
    type Error = StateError;

    fn try_from(kept: Vec<Approval>) -> Result<Self, StateError> {
        let mut approvals = Self::default();
        for approval in kept {
            approvals.keep(approval)?;
        }
        Ok(approvals)
    }
}

/// Until when a question stands: as long as its most impatient seat.
pub(super) fn expiry(needed: &ApprovalNeeded, now: Timestamp) -> Timestamp {
    let seconds = needed
        .seats
        .iter()
        .map(|seat| seat.expires_after_seconds)
        .min()
        .unwrap_or(0);
    after(now, Duration::from_secs(u64::from(seconds)))
}
