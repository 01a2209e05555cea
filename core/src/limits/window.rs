//! Windows: what counts towards a limit now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::Limit;
use crate::canonical::serde_instant;
use crate::kept;

/// Sub-buckets of a sliding window. More would free budget more evenly, each costs 16 bytes per limit.
const BUCKETS: i64 = 60;

/// The window a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Window {
    /// The last so many seconds, 60 to 31 days, in 60 sub-buckets counted conservatively: an amount counts until the
    /// whole window has passed since the end of its sub-bucket, so it is never freed early.
    Sliding {
        /// Length in seconds.
        seconds: u32,
    },
    /// The current calendar period in UTC.
    Calendar(Period),
}

/// A calendar period in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From the first of the month.
    Month,
}

impl Window {
    /// When what was used at that time counts no more; the end of time where that is beyond it.
    pub fn frees(self, at: Timestamp) -> Timestamp {
        let empty = LimitState {
            window: self,
            buckets: BTreeMap::new(),
            latest: Timestamp::UNIX_EPOCH,
        };
        empty.freed(empty.bucket(at)).unwrap_or(Timestamp::MAX)
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sliding { seconds } => write!(f, "sliding {seconds} s"),
            Self::Calendar(Period::Day) => f.write_str("calendar day (UTC)"),
            Self::Calendar(Period::Month) => f.write_str("calendar month (UTC)"),
        }
    }
}

/// One sub-bucket or period: a reservation is released from the one it was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BucketId(i64);

/// The totals of one limit, used and reserved alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitState {
    window: Window,
    #[serde(with = "kept::totals")]
    buckets: BTreeMap<BucketId, i64>,
    #[serde(with = "serde_instant")]
    latest: Timestamp,
}

/// An amount cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Negative.
    #[error("a negative amount cannot be reserved")]
    Negative,
    /// The total leaves 64 bits.
    #[error("the total is too large to count")]
    Overflow,
}

impl LimitState {
    /// Nothing used yet.
    pub fn new(limit: &Limit) -> Self {
        Self {
            window: limit.window,
            buckets: BTreeMap::new(),
            latest: Timestamp::UNIX_EPOCH,
        }
    }

    /// Used and reserved in the window at `now`. A time before one already seen counts as that one.
    pub fn used_at(&self, now: Timestamp) -> i64 {
        let oldest = self.oldest_counted(now.max(self.latest));
        self.buckets
            .range(oldest..)
            .fold(0, |total: i64, (_, amount)| total.saturating_add(*amount))
    }

    /// When the oldest amount that counts at `now` stops counting.
    pub fn frees_at(&self, now: Timestamp) -> Option<Timestamp> {
        let oldest = self.oldest_counted(now.max(self.latest));
        let (bucket, _) = self
            .buckets
            .range(oldest..)
            .find(|(_, amount)| **amount > 0)?;
        self.freed(*bucket)
    }

    /// Counts an amount from `now` on.
    ///
    /// # Errors
    /// Where the amount is negative or the total leaves 64 bits; nothing is counted then.
    pub fn reserve(&mut self, now: Timestamp, amount: i64) -> Result<BucketId, WindowError> {
        if amount < 0 {
            return Err(WindowError::Negative);
        }
        let now = now.max(self.latest);
        self.used_at(now)
            .checked_add(amount)
            .ok_or(WindowError::Overflow)?;
        self.latest = now;
        let oldest = self.oldest_counted(now);
        self.buckets = self.buckets.split_off(&oldest);
        let bucket = self.bucket(now);
        let total = self.buckets.entry(bucket).or_default();
        *total = total.checked_add(amount).ok_or(WindowError::Overflow)?;
        Ok(bucket)
    }

    /// Gives back what was reserved in `bucket`. What has left the window already is gone by itself.
    pub fn release(&mut self, bucket: BucketId, amount: i64) {
        if let Some(total) = self.buckets.get_mut(&bucket) {
            *total = total.saturating_sub(amount).max(0);
        }
    }

    fn bucket(&self, now: Timestamp) -> BucketId {
        BucketId(match self.window {
            Window::Sliding { seconds } => now.as_microsecond().div_euclid(width(seconds)),
            Window::Calendar(period) => {
                let date = now.to_zoned(TimeZone::UTC).date();
                let month = i64::from(date.year()) * 12 + i64::from(date.month()) - 1;
                match period {
                    Period::Month => month,
                    Period::Day => month * 31 + i64::from(date.day()) - 1,
                }
            }
        })
    }

    /// The oldest bucket that still counts at `now`.
    fn oldest_counted(&self, now: Timestamp) -> BucketId {
        match self.window {
            // A bucket ends at (id + 1) × width and counts for a whole window after that.
            Window::Sliding { seconds } => {
                let window = i64::from(seconds) * MICROS_PER_SECOND;
                BucketId((now.as_microsecond() - window).div_euclid(width(seconds)))
            }
            Window::Calendar(_) => self.bucket(now),
        }
    }

    fn freed(&self, bucket: BucketId) -> Option<Timestamp> {
        match self.window {
            Window::Sliding { seconds } => {
                let end = (bucket.0 + 1).checked_mul(width(seconds))?;
                Timestamp::from_microsecond(
                    end.checked_add(i64::from(seconds) * MICROS_PER_SECOND)?,
                )
                .ok()
            }
            Window::Calendar(period) => {
                let months = match period {
                    Period::Day => bucket.0.div_euclid(31),
                    Period::Month => bucket.0,
                };
                let year = i16::try_from(months.div_euclid(12)).ok()?;
                let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
                let first = jiff::civil::Date::new(year, month, 1).ok()?;
                let next = match period {
                    Period::Month => first.checked_add(jiff::Span::new().months(1)).ok()?,
                    Period::Day => {
                        let day = bucket.0.rem_euclid(31) + 1;
                        first.checked_add(jiff::Span::new().days(day)).ok()?
                    }
                };
                next.to_zoned(TimeZone::UTC)
                    .ok()
                    .map(|start| start.timestamp())
            }
        }
    }
}

/// Width of one sub-bucket in microseconds, at least one second.
fn width(seconds: u32) -> i64 {
    (i64::from(seconds) * MICROS_PER_SECOND / BUCKETS).max(MICROS_PER_SECOND)
}

const MICROS_PER_SECOND: i64 = 1_000_000;

#[cfg(test)]
mod tests;
