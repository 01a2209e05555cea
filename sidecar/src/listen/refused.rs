//! Accepting goes wrong where descriptors run out, and goes on going wrong: the connection stays in the queue.

use std::time::Duration;

use tokio::time::Instant;

/// How long accepting rests after an error. Without that it fails again at once, and so takes a whole processor.
const REST: Duration = Duration::from_millis(100);

/// One line in the log covers the errors of this time.
const LOGGED_EVERY: Duration = Duration::from_secs(1);

/// Errors of one listener.
#[derive(Debug, Default)]
pub(super) struct AcceptErrors {
    logged: Option<Instant>,
    unsaid: u64,
}

impl AcceptErrors {
    /// Logs the error where its turn is, and waits.
    pub(super) async fn rest(&mut self, error: &std::io::Error) {
        if let Some(before) = self.due(Instant::now()) {
            tracing::warn!(%error, before, "Connection not accepted");
        }
        tokio::time::sleep(REST).await;
    }

    /// Whether an error is logged now, and how many were not since the last.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.logged.is_some_and(|last| now - last < LOGGED_EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_fails_rests_and_says_so_once_a_second() {
        let begun = Instant::now();
        let error = std::io::Error::from_raw_os_error(24);
        let mut errors = AcceptErrors::default();
        for _ in 0..25 {
            errors.rest(&error).await;
        }
        assert_eq!(begun.elapsed(), REST * 25);
        let mut errors = AcceptErrors::default();
        let said: Vec<_> = (0..25)
            .filter_map(|at| errors.due(begun + REST * at))
            .collect();
        assert_eq!(said, [0, 9, 9]);
    }
}
