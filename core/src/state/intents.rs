//! Intents whose outcome is not known yet, and those of which nobody knows what became of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::meters::Held;
use super::{AMBIGUOUS_FOR, after};
use crate::canonical::{serde_instant, serde_instant_opt};
use crate::capability::Capability;
use crate::evidence::leaf::CredentialRef;
use crate::hash::{DigestMac, StreamId};
use crate::money::Money;

/// A permitted action whose outcome is not known yet, or will not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenIntent {
    /// Name of the Passport.
    pub passport: String,
    /// Name of the agent.
    pub agent: String,
    /// What.
    pub capability: Capability,
    /// How much.
    pub amount: Option<Money>,
    /// When it was permitted.
    #[serde(with = "serde_instant")]
    pub permitted: Timestamp,
    /// Until when it could start.
    #[serde(with = "serde_instant")]
    pub not_after: Timestamp,
    /// Index of its leaf.
    pub leaf: u64,
    /// The credential lent for it.
    pub credential: Option<CredentialRef>,
    /// Set once nobody will say what became of it: a blind repeat is refused from then on.
    #[serde(with = "serde_instant_opt")]
    pub ambiguous_since: Option<Timestamp>,
    pub(super) digest: DigestMac,
    pub(super) resource: Option<DigestMac>,
    pub(super) approval: Option<String>,
    pub(super) held: Vec<Held>,
}

/// One of them as it is written down.
type Kept = (IntentId, OpenIntent);

/// Stream and number of an intent's record.
pub type IntentId = (StreamId, u64);

/// All of them, with those of unknown outcome by digest and by time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "Vec<Kept>", from = "Vec<Kept>")]
pub(super) struct Intents {
    all: BTreeMap<IntentId, OpenIntent>,
    ambiguous: BTreeSet<(DigestMac, IntentId)>,
    ambiguous_by_time: BTreeSet<(Timestamp, IntentId)>,
}

impl Intents {
    pub(super) fn get(&self, id: &IntentId) -> Option<&OpenIntent> {
        self.all.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&IntentId, &OpenIntent)> {
        self.all.iter()
    }

    /// The intent, while its sidecar may still say what became of it.
    pub(super) fn awaited(&self, id: &IntentId) -> Option<&OpenIntent> {
        self.all
            .get(id)
            .filter(|intent| intent.ambiguous_since.is_none())
    }

    /// The record of an action of this digest of which nobody knows whether it happened.
    pub(super) fn unknown_repeat(&self, digest: &DigestMac, now: Timestamp) -> Option<IntentId> {
        let first = (*digest, (StreamId::from_bytes([0; 32]), 0));
        let of_digest = self
            .ambiguous
            .range(first..)
            .take_while(|(found, _)| found == digest);
        let counts = |id: &IntentId| {
            self.since(id)
                .is_some_and(|since| now < after(since, AMBIGUOUS_FOR))
        };
        of_digest.map(|(_, id)| *id).find(counts)
    }

    pub(super) fn insert(&mut self, id: IntentId, intent: OpenIntent) {
        self.all.insert(id, intent);
    }

    pub(super) fn remove(&mut self, id: &IntentId) -> Option<OpenIntent> {
        let intent = self.all.remove(id)?;
        if let Some(since) = intent.ambiguous_since {
            self.ambiguous.remove(&(intent.digest, *id));
            self.ambiguous_by_time.remove(&(since, *id));
        }
        Some(intent)
    }

    pub(super) fn set_ambiguous(&mut self, id: &IntentId, since: Timestamp) {
        let Some(intent) = self
            .all
            .get_mut(id)
            .filter(|intent| intent.ambiguous_since.is_none())
        else {
            return;
        };
        intent.ambiguous_since = Some(since);
        self.ambiguous.insert((intent.digest, *id));
        self.ambiguous_by_time.insert((since, *id));
    }

    /// What became of what a process leaves open when it ends, nobody will say.
    pub(super) fn end_process(&mut self, stream: &StreamId, now: Timestamp) {
        let open: Vec<IntentId> = self
            .all
            .range((*stream, 0)..=(*stream, u64::MAX))
            .map(|(id, _)| *id)
            .collect();
        open.iter().for_each(|id| self.set_ambiguous(id, now));
    }

    /// Forgets those whose time to be found out has passed. What they hold stays used.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some((since, id)) = self.ambiguous_by_time.first().copied() {
            if now < after(since, AMBIGUOUS_FOR) {
                return;
            }
            self.remove(&id);
        }
    }

    fn since(&self, id: &IntentId) -> Option<Timestamp> {
        self.all.get(id).and_then(|intent| intent.ambiguous_since)
    }
}

impl From<Intents> for Vec<Kept> {
    fn from(intents: Intents) -> Self {
        intents.all.into_iter().collect()
    }
}

impl From<Vec<Kept>> for Intents {
    fn from(kept: Vec<Kept>) -> Self {
        let all: BTreeMap<_, _> = kept.into_iter().collect();
        let unknown = all
            .iter()
            .filter_map(|(id, intent)| Some((intent.ambiguous_since?, intent.digest, *id)));
        let unknown: Vec<_> = unknown.collect();
        Self {
            ambiguous: unknown
                .iter()
                .map(|(_, digest, id)| (*digest, *id))
                .collect(),
            ambiguous_by_time: unknown.iter().map(|(since, _, id)| (*since, *id)).collect(),
            all,
        }
    }
}
