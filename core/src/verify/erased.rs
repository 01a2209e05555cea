//! Whether the log tells of every erasure that shows in what is kept beside it.
//!
//! Keys are destroyed outside of the log, so a text that has none proves nothing by itself: whoever would hide a text could
//! destroy its key. An erasure that is in order stands in the log, after the texts that it erased.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::beside::GoneKey;
use super::report::{Gap, What};
use crate::canonical::{serde_instant, serde_instant_opt};
use crate::evidence::leaf::{EventBody, Leaf};
use crate::hash::DigestMac;
use crate::kept;
use crate::state::{ERASURES_MAX, month_of};

/// What is erased, and what the log says of it. By key, so that millions of texts take little room.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Erasures {
    #[serde(with = "kept::pairs")]
    subjects: BTreeMap<[u8; 8], Texts>,
    #[serde(with = "kept::pairs")]
    months: BTreeMap<Month, Texts>,
    /// The last leaf that says so of each subject.
    #[serde(with = "kept::pairs")]
    said: BTreeMap<[u8; 8], u64>,
    /// Until when the log says that whole months are erased.
    #[serde(with = "serde_instant_opt")]
    before: Option<Timestamp>,
    /// Texts of more subjects than a log can have erased.
    others: u64,
    other: Option<u64>,
}

/// When a month began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
struct Month(#[serde(with = "serde_instant")] Timestamp);

/// Texts under one key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    count: u64,
    first: u64,
    last: u64,
}

impl Erasures {
    /// Takes in an event.
    pub(super) fn event(&mut self, event: &EventBody, seq: u64) {
        if let EventBody::Erasure {
            subject, before, ..
        } = event
        {
            if let Some(subject) = subject
                && self.said.len() < ERASURES_MAX
            {
                self.said.insert(tag(subject), seq);
            }
            self.before = self.before.max(*before);
        }
    }

    /// Takes in that the texts of a leaf are erased. `named`: whether the leaf itself says what it is about, and `subject` what that is.
    ///
    /// # Errors
    /// Where the leaf is about another subject than the one whose key it says.
    pub(super) fn text(
        &mut self,
        key: GoneKey,
        leaf: &Leaf,
        (named, subject): (bool, Option<DigestMac>),
    ) -> Result<(), What> {
        let seq = leaf.h.seq;
        let texts = match key {
            GoneKey::Subject(of) if named && subject.map(|subject| tag(&subject)) != Some(of) => {
                return Err(What::ErasedForAnother);
            }
            GoneKey::Subject(of) if self.subjects.len() < ERASURES_MAX => {
                self.subjects.entry(of).or_insert_with(|| Texts::none(seq))
            }
            GoneKey::Subject(of) => match self.subjects.get_mut(&of) {
                Some(texts) => texts,
                None => {
                    self.others += 1;
                    self.other.get_or_insert(seq);
                    return Ok(());
                }
            },
            GoneKey::Month => self
                .months
                .entry(Month(month_of(leaf.h.time)))
                .or_insert_with(|| Texts::none(seq)),
        };
        texts.count += 1;
        texts.last = seq;
        Ok(())
    }

    /// Texts without a key of which no leaf says that they were erased.
    pub(super) fn finish(self) -> Option<Gap> {
        let said = &self.said;
        let subjects = self.subjects.iter().filter(|(tag, texts)| {
            let said = said.get(*tag);
            said.is_none_or(|said| *said < texts.last)
        });
        let months = self.months.iter();
        let months = months.filter(|(month, _)| self.before.is_none_or(|before| month.0 >= before));
        let unsaid = subjects
            .map(|(_, texts)| texts)
            .chain(months.map(|(_, texts)| texts));
        let (mut count, mut from) = (self.others, self.other);
        for texts in unsaid {
            count += texts.count;
            from = Some(from.map_or(texts.first, |from| from.min(texts.first)));
        }
        from.map(|from| Gap::ErasureUnsaid { from, count })
    }
}

impl Texts {
    fn none(first: u64) -> Self {
        Self {
            count: 0,
            first,
            last: first,
        }
    }
}

fn tag(subject: &DigestMac) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *subject.as_bytes();
    [a, b, c, d, e, f, g, h]
}
