//! Times of one thing, taken many times.

use std::time::Duration;

/// Samples of one measurement.
#[derive(Default)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    pub(crate) fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that `percent` of the samples did not exceed, in nanoseconds.
    pub(crate) fn percentile(&self, percent: usize) -> u128 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or_default().as_nanos()
    }
}

/// Nanoseconds as microseconds with one decimal.
pub(crate) fn micros(nanos: u128) -> String {
    format!("{}.{}", nanos / 1_000, nanos % 1_000 / 100)
}

/// `a / b` with two decimals.
pub(crate) fn ratio(a: u128, b: u128) -> String {
    let hundredths = a * 100 / b.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
