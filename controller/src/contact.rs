//! Whether the API server answers this replica.
//!
//! What a replica knows of Passports, suspensions and namespaces is what the API server said. One that is cut off would renew
//! passports on old words without end; so after [`SILENCE_MAX`] it hands out nothing any more until it is answered again.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long without an answer counts as cut off: ten looks at the Lease, which every replica takes every three seconds. A
/// restart of the API server is over by then.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// When the API server answered last.
#[derive(Debug)]
pub struct Contact {
    last: watch::Sender<Instant>,
}

impl Default for Contact {
    /// As if it had answered just now.
    fn default() -> Self {
        Self {
            last: watch::Sender::new(Instant::now()),
        }
    }
}

impl Contact {
    /// It answered a request that was sent `at`.
    pub fn answered(&self, at: Instant) {
        self.last.send_if_modified(|last| {
            let later = at > *last;
            *last = at.max(*last);
            later
        });
    }

    /// Whether it has been silent for too long at `now`.
    pub fn is_lost(&self, now: Instant) -> bool {
        now.duration_since(*self.last.borrow()) >= SILENCE_MAX
    }

    /// Returns once it has been silent for too long.
    pub async fn lost(&self) {
        while !self.is_lost(Instant::now()) {
            let end = *self.last.borrow() + SILENCE_MAX;
            sleep_until(end).await;
        }
    }

    /// Returns once it has answered lately.
    pub async fn regained(&self) {
        let mut last = self.last.subscribe();
        // The sender lives as long as this does.
        last.wait_for(|last| Instant::now().duration_since(*last) < SILENCE_MAX)
            .await
            .ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_minute_without_an_answer_is_too_long() {
        let contact = Contact::default();
        let begun = *contact.last.borrow();
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!(!contact.is_lost(at(29)));
        assert!(contact.is_lost(at(30)));
        contact.answered(at(10));
        // That of an earlier request came later.
        contact.answered(at(5));
        assert!(!contact.is_lost(at(39)));
        assert!(contact.is_lost(at(40)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_when_it_falls_silent_and_when_it_is_back() {
        let contact = Contact::default();
        let begun = Instant::now();
        let answered = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            contact.answered(Instant::now());
        };
        tokio::join!(contact.lost(), answered);
        assert_eq!(begun.elapsed(), Duration::from_secs(50));
        let answered = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            contact.answered(Instant::now());
        };
        tokio::join!(contact.regained(), answered);
        assert_eq!(begun.elapsed(), Duration::from_secs(57));
    }
}
