//! What conditions may ask of the past, in bounded memory.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::capability::Capability;
use crate::hash::DigestMac;
use crate::kept;

/// Most capability and resource pairs remembered, and as many resources: 65,536 × about 300 bytes = 20 MiB.
/// Beyond, the one that was touched longest ago is forgotten: it then counts as new, which a rule on first
/// encounters treats more strictly.
const REMEMBERED_MAX: usize = 65_536;

/// Denials are counted over ten minutes in sub-buckets of ten seconds; the bucket cut by the window counts whole.
const DENY_WINDOW_SECONDS: i64 = 600;
const DENY_BUCKET_SECONDS: i64 = 10;

/// What an action acts on: its resource, or where it has none the capability stands for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    Resource(DigestMac),
    Capability(Capability),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct History {
    completed: Remembered<(Capability, Option<DigestMac>)>,
    permitted: Remembered<Target>,
    denies: BTreeMap<String, Denials>,
}

impl History {
    pub(super) fn permit(&mut self, capability: &Capability, resource: Option<DigestMac>) {
        self.permitted.touch(target(capability, resource));
    }

    pub(super) fn complete(&mut self, capability: &Capability, resource: Option<DigestMac>) {
        self.completed.touch((capability.clone(), resource));
    }

    pub(super) fn deny(&mut self, passport: &str, count: u64, now: Timestamp) {
        let Denials(buckets) = self.denies.entry(passport.to_owned()).or_default();
        let bucket = buckets.entry(bucket_of(now)).or_default();
        *bucket = bucket.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        let first = bucket_of(now) - DENY_WINDOW_SECONDS / DENY_BUCKET_SECONDS;
        buckets.retain(|bucket, _| *bucket >= first);
    }

    pub(super) fn precedents(&self, capability: &Capability, resource: Option<DigestMac>) -> i64 {
        self.completed.count(&(capability.clone(), resource))
    }

    pub(super) fn first_seen(&self, capability: &Capability, resource: Option<DigestMac>) -> bool {
        self.permitted.count(&target(capability, resource)) == 0
    }

    pub(super) fn recent_denies(&self, passport: &str, now: Timestamp) -> i64 {
        let first = bucket_of(now) - DENY_WINDOW_SECONDS / DENY_BUCKET_SECONDS;
        let buckets = self
            .denies
            .get(passport)
            .into_iter()
            .flat_map(|Denials(buckets)| buckets.range(first..));
        let sum = buckets.fold(0_i64, |sum, (_, count)| sum.saturating_add(*count));
        // Facts are written into leaves, whose integers end at 2^53−1.
        sum.min(crate::canonical::INTEGER_MAX)
    }
}

/// Of one Passport, by ten seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Denials(#[serde(with = "kept::totals")] BTreeMap<i64, i64>);

fn target(capability: &Capability, resource: Option<DigestMac>) -> Target {
    resource.map_or_else(|| Target::Capability(capability.clone()), Target::Resource)
}

fn bucket_of(time: Timestamp) -> i64 {
    time.as_second().div_euclid(DENY_BUCKET_SECONDS)
}

/// Counts per key, of the [`REMEMBERED_MAX`] keys touched last.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(
    into = "Vec<(K, i64)>",
    from = "Vec<(K, i64)>",
    bound(
        serialize = "K: Serialize + Ord + Clone",
        deserialize = "K: Deserialize<'de> + Ord + Clone"
    )
)]
struct Remembered<K> {
    counts: BTreeMap<K, (i64, u64)>,
    touched: BTreeMap<u64, K>,
    clock: u64,
}

impl<K> Default for Remembered<K> {
    fn default() -> Self {
        Self {
            counts: BTreeMap::new(),
            touched: BTreeMap::new(),
            clock: 0,
        }
    }
}

impl<K: Ord + Clone> Remembered<K> {
    fn touch(&mut self, key: K) {
        self.clock += 1;
        let (count, last) = self.counts.entry(key.clone()).or_insert((0, 0));
        self.touched.remove(last);
        (*count, *last) = (count.saturating_add(1), self.clock);
        self.touched.insert(self.clock, key);
        if self.counts.len() > REMEMBERED_MAX
            && let Some((_, oldest)) = self.touched.pop_first()
        {
            self.counts.remove(&oldest);
        }
    }

    fn count(&self, key: &K) -> i64 {
        self.counts.get(key).map_or(0, |(count, _)| *count)
    }
}

/// From the one touched longest ago to the one touched last.
impl<K: Ord> From<Remembered<K>> for Vec<(K, i64)> {
    fn from(remembered: Remembered<K>) -> Self {
        let Remembered {
            counts, touched, ..
        } = remembered;
        let in_order = touched.into_values();
        let counted = in_order.filter_map(|key| {
            let (count, _) = *counts.get(&key)?;
            Some((key, count))
        });
        counted.collect()
    }
}

impl<K: Ord + Clone> From<Vec<(K, i64)>> for Remembered<K> {
    fn from(kept: Vec<(K, i64)>) -> Self {
        let mut remembered = Self::default();
        for (key, count) in kept {
            remembered.touch(key.clone());
            if let Some((counted, _)) = remembered.counts.get_mut(&key) {
                *counted = count;
            }
        }
        remembered
    }
}
