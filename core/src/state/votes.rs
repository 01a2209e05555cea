//! Votes: whose count, and what shows that somebody gave them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::approvals::fits;
use super::{Approval, ApprovalState, State, Vote};
use crate::public_key;
use crate::vote::SignedVote;

/// A vote that was stamped longer before its question was asked, or further in the future, is refused: so none can be kept for a
/// later question. One that waited for the ledger counts as long as the question is open.
pub const VOTE_SKEW_MAX: SignedDuration = SignedDuration::from_mins(5);

/// How the names of ServiceAccounts begin.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The group that every ServiceAccount is in, impersonated ones too.
const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";

/// A vote that does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoteRefused {
    /// No such approval.
    #[error("there is no such approval")]
    Unknown,
    /// It is not open for votes.
    #[error("it is {}, so it takes no votes", .0.word())]
    NotPending(ApprovalState),
    /// The agent's owner may not approve its actions.
    #[error("the owner of the passport may not vote on its actions")]
    Owner,
    /// Only people answer.
    #[error("`{0}` is a ServiceAccount, and only people may vote")]
    ServiceAccount(String),
    /// Nobody votes twice.
    #[error("`{0}` has voted already")]
    Twice(String),
    /// The voter fills no seat.
    #[error("`{0}` is in none of the groups asked")]
    NoSeat(String),
    /// Stamped by nobody who is believed.
    #[error("no vote key `{0}` is known")]
    UnknownKey(String),
    /// Stamped by nobody, in a log that names keys that votes are stamped with.
    #[error("it carries no stamp")]
    Unstamped,
    /// Not what was stamped.
    #[error("the vote's signature does not fit its key")]
    Signature,
    /// A vote on another action.
    #[error("it is a vote on another action")]
    OtherAction,
    /// A vote on another question about the same action.
    #[error("it is a vote on another question about the same action")]
    OtherQuestion,
    /// Stamped at another time.
    #[error("it was stamped at {0}, more than 5 minutes before it was asked for, or in the future")]
    Skewed(Timestamp),
}

impl State {
    /// Checks a vote before it is logged. `groups` are the voter's, as authenticated.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn check_vote(
        &self,
        id: &str,
        user: &str,
        groups: &[String],
        now: Timestamp,
    ) -> Result<(), VoteRefused> {
        let approval = self.approvals.get(id).ok_or(VoteRefused::Unknown)?;
        let state = approval.state(now);
        if state != ApprovalState::Pending {
            return Err(VoteRefused::NotPending(state));
        }
        if approval.owner == user {
            return Err(VoteRefused::Owner);
        }
        if user.starts_with(SERVICE_ACCOUNT) || groups.iter().any(|it| it == SERVICE_ACCOUNTS) {
            return Err(VoteRefused::ServiceAccount(user.to_owned()));
        }
        if approval.votes.iter().any(|vote| vote.user == user) {
            return Err(VoteRefused::Twice(user.to_owned()));
        }
        if !approval.needed.seats.iter().any(|seat| fits(seat, groups)) {
            return Err(VoteRefused::NoSeat(user.to_owned()));
        }
        Ok(())
    }

    /// Checks a stamped vote before it is logged, and gives the groups that it counts for. `keys`: id to base64url, those
    /// believed now.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn check_signed_vote(
        &self,
        id: &str,
        signed: &SignedVote,
        keys: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<Vec<String>, VoteRefused> {
        let approval = self.approvals.get(id).ok_or(VoteRefused::Unknown)?;
        let key = keys.get(&signed.key_id);
        let key = key.and_then(|key| public_key::read(key));
        let key = key.ok_or_else(|| VoteRefused::UnknownKey(signed.key_id.clone()))?;
        let vote = signed.verified(&key).map_err(|_| VoteRefused::Signature)?;
        if vote.digest != approval.digest.to_string() {
            return Err(VoteRefused::OtherAction);
        }
        if self.answers_another(approval, &vote.approval_uid) {
            return Err(VoteRefused::OtherQuestion);
        }
        let early = approval.asked.duration_since(vote.time) > VOTE_SKEW_MAX;
        if early || vote.time.duration_since(now) > VOTE_SKEW_MAX {
            return Err(VoteRefused::Skewed(vote.time));
        }
        self.check_vote(id, &vote.user, &vote.groups, now)?;
        let asked = approval.needed.seats.iter().flat_map(|seat| &seat.groups);
        let mut groups: Vec<String> = asked
            .filter(|group| vote.groups.contains(group))
            .cloned()
            .collect();
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    /// Whether the Approval of that uid stood for another question: the same action may be asked about twice, and a vote
    /// is on one question.
    fn answers_another(&self, approval: &Approval, uid: &str) -> bool {
        let same_action = self.approvals.of_digest(&approval.digest);
        same_action
            .filter(|other| other.id != approval.id)
            .flat_map(|other| &other.votes)
            .any(|vote| vote.approval_uid.as_deref() == Some(uid))
    }

    pub(super) fn vote(
        &mut self,
        id: &str,
        vote: Vote,
        signed: Option<&SignedVote>,
    ) -> Result<(), VoteRefused> {
        if signed.is_none() && !self.keys.vote_keys.is_empty() {
            return Err(VoteRefused::Unstamped);
        }
        if let Some(signed) = signed {
            let groups = self.check_signed_vote(id, signed, &self.keys.vote_keys, vote.time)?;
            let said = (&signed.vote.user, signed.vote.grant, &groups);
            if said != (&vote.user, vote.grant, &vote.groups) {
                return Err(VoteRefused::Signature);
            }
        }
        self.check_vote(id, &vote.user, &vote.groups, vote.time)?;
        let approval = self.approvals.get_mut(id).ok_or(VoteRefused::Unknown)?;
        approval.votes.push(vote);
        Ok(())
    }
}
