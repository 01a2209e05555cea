//! Equal denials: the first is a record at once, those within the next ten seconds are one more record with a count.
//!
//! Of what is no action, such as connections to addresses that nobody declared, only so many different ones are named
//! within ten seconds; the rest is counted by reason. Else a loop over addresses would fill the ring at the speed at which it
//! connects, and a full ring denies everything.
//!
//! *Guarantees.* No denial is left out of the counts when the stream closes. A kill loses the count of at most ten
//! seconds, never that there was such a denial.

use std::collections::BTreeMap;
use std::time::Duration;

use actpass_core::evidence::commitment::Openings;
use actpass_core::evidence::record::Judged;
use actpass_core::hash::sha256;
use tokio::time::Instant;

/// How long equal denials are counted before they become a record.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Most different denials counted at a time, each with a record of about 2 KiB: 2 MiB. More are records each.
const WINDOWS_MAX: usize = 1_024;

/// Most different denials within ten seconds after which what is no action is only counted.
const NAMED_MAX: usize = 512;

/// What stands in the place of a target that is not named.
const OTHERS: &str = "others";

/// How long a count waits to be tried again where the ring is full.
const RETRY: Duration = Duration::from_secs(1);

/// What is equal: a hash over all that a denial's record says, less salts and time.
pub type DenialKey = [u8; 32];

/// The denials of the last ten seconds.
#[derive(Debug, Default)]
pub(super) struct Denials {
    windows: BTreeMap<DenialKey, Window>,
}

#[derive(Debug)]
struct Window {
    /// The record of the first.
    first: u64,
    ends: Instant,
    later: Option<Later>,
}

/// Denials that are no record yet: one of them, with its count.
#[derive(Debug)]
pub(super) struct Later {
    pub(super) judged: Box<Judged>,
    pub(super) openings: Openings,
}

impl Later {
    /// One that stands for all of its reason, with its key; `None` for an action, which is always named.
    fn unnamed(&self) -> Option<(DenialKey, Later)> {
        let mut judged = self.judged.clone();
        let refusal = judged.refusal.as_mut()?;
        refusal.target = OTHERS.to_owned();
        judged.detail = Some(format!(
            "Besides {NAMED_MAX} different denials within ten seconds; these are counted and not named."
        ));
        let key = sha256(&[b"others\0", refusal.code.as_bytes()]);
        let openings = Openings::default();
        Some((key, Later { judged, openings }))
    }
}

impl Denials {
    /// The denial as it is to be recorded: by its name, or without where too many were named in the last ten seconds.
    pub(super) fn named(&self, key: DenialKey, denial: Later) -> (DenialKey, Later) {
        let known = self.windows.contains_key(&key) || self.windows.len() < NAMED_MAX;
        match denial.unnamed().filter(|_| !known) {
            Some(unnamed) => unnamed,
            None => (key, denial),
        }
    }

    /// Counts a denial whose equal is on record, and says which record that is; gives it back where there is none.
    pub(super) fn count(
        &mut self,
        key: &DenialKey,
        denial: Later,
        now: Instant,
    ) -> Result<u64, Later> {
        let window = self.windows.get_mut(key).filter(|it| now < it.ends);
        let Some(window) = window else {
            return Err(denial);
        };
        match &mut window.later {
            Some(later) => later.judged.count = later.judged.count.saturating_add(1),
            None => window.later = Some(denial),
        }
        Ok(window.first)
    }

    /// Opens a window after the denial of record `first`.
    pub(super) fn open(&mut self, key: DenialKey, first: u64, now: Instant) {
        if self.windows.len() < WINDOWS_MAX {
            let ends = now + WINDOW;
            let later = None;
            self.windows.insert(key, Window { first, ends, later });
        }
    }

    /// Closes the windows that have ended, or all, and hands out what they counted, with
    /// the number of the first record.
    pub(super) fn take(&mut self, now: Instant, all: bool) -> Vec<(DenialKey, u64, Later)> {
        let ended = self
            .windows
            .extract_if(.., |_, window| all || window.ends <= now);
        ended
            .filter_map(|(key, window)| Some((key, window.first, window.later?)))
            .collect()
    }

    /// Keeps a count for which there was no room.
    pub(super) fn put_back(&mut self, key: DenialKey, first: u64, later: Later, now: Instant) {
        let ends = now + RETRY;
        let later = Some(later);
        self.windows.insert(key, Window { first, ends, later });
    }

    /// When the next window ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        // A window without a count need not wake anybody; it goes with the next that has one.
        let counting = self.windows.values().filter(|it| it.later.is_some());
        counting.map(|window| window.ends).min()
    }
}
