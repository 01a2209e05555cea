//! Erasures of texts: which keys are gone, and what of the state was about them.
//!
//! What was decided and reserved stays: amounts are in clear, and an erasure must not free a limit.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{State, StateError};
use crate::canonical::{serde_instant, serde_instant_opt};
use crate::evidence::leaf::{EventBody, LeafHeader};
use crate::hash::DigestMac;

/// Most erasures of one log: their keys' tree is one file of the vault, of 5 KiB per erased subject.
pub const ERASURES_MAX: usize = 8_192;

/// Texts that nobody can read any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// Its id.
    pub id: String,
    /// The leaf that records it.
    pub leaf: u64,
    /// When that was logged.
    #[serde(with = "serde_instant")]
    pub time: Timestamp,
    /// Whose texts, under the tenant's key.
    pub subject: Option<DigestMac>,
    /// The last generation of that subject's keys that is gone.
    pub generation: Option<u64>,
    /// Those of the months before this one.
    #[serde(with = "serde_instant_opt")]
    pub before: Option<Timestamp>,
    /// Who asked for it.
    pub by: String,
    /// On what ground.
    pub why: String,
}

impl State {
    /// Takes an erasure in: questions about what is erased are over, since nobody can be shown what they would agree to.
    pub(super) fn erase(&mut self, event: &EventBody, at: &LeafHeader) -> Result<(), StateError> {
        let EventBody::Erasure {
            id,
            subject,
            generation,
            before,
            by,
            why,
        } = event
        else {
            return Ok(());
        };
        let erasure = Erasure {
            id: id.clone(),
            leaf: at.seq,
            time: at.time,
            subject: *subject,
            generation: *generation,
            before: *before,
            by: by.clone(),
            why: why.clone(),
        };
        self.check_erasure(&erasure)?;
        for approval in self.approvals.iter_mut() {
            let about = subject.is_some() && approval.subject == *subject;
            let early = before.is_some_and(|before| approval.asked < before);
            if (about || early) && approval.erased.is_none() {
                approval.erased = Some(id.clone());
            }
        }
        self.erasures.push(erasure);
        Ok(())
    }

    fn check_erasure(&self, erasure: &Erasure) -> Result<(), StateError> {
        if self.erasures.len() >= ERASURES_MAX {
            return Err(StateError::Form("more erasures than a log can have"));
        }
        if self.erasures.iter().any(|known| known.id == erasure.id) {
            return Err(StateError::Form("an erasure that is recorded twice"));
        }
        match (erasure.subject, erasure.generation, erasure.before) {
            (Some(_), Some(generation), None) => {
                let newest = self.erasures.iter().filter_map(|known| known.generation);
                match newest.max() < Some(generation) {
                    true => Ok(()),
                    false => Err(StateError::Form("an erasure of keys that were gone before")),
                }
            }
            (None, None, Some(before)) => {
                let newest = self.erasures.iter().filter_map(|known| known.before).max();
                let whole = before == month_of(before) && before <= month_of(erasure.time);
                match whole && newest < Some(before) {
                    true => Ok(()),
                    false => Err(StateError::Form(
                        "an erasure that ends with no month, with one that goes on, or with none that was left",
                    )),
                }
            }
            _ => Err(StateError::Form(
                "an erasure names a subject with a generation of its keys, or a month",
            )),
        }
    }
}

/// When the month of `time` began, in UTC.
pub fn month_of(time: Timestamp) -> Timestamp {
    let date: Date = time.to_zoned(TimeZone::UTC).date().first_of_month();
    let begun = date.to_zoned(TimeZone::UTC);
    begun.map_or(Timestamp::MIN, |begun| begun.timestamp())
}
