//! How long the sidecar may still wait once it is told to end.
//!
//! The kubelet tells the sidecar last: when the agents have ended, or when the pod's grace period is over, and then two seconds
//! are left whatever the sidecar wants to do. So it has to know since when that period runs.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What the kubelet leaves a container in any case. Kubernetes: `minimumGracePeriodInSeconds`.
const LEFT_MIN: Duration = Duration::from_secs(2);

/// Kept for the last records on their way to the ledger.
const RECORDS: Duration = Duration::from_secs(2);

/// The end of a pod, which may not have begun.
#[derive(Debug)]
pub struct Ending {
    grace: Duration,
    drain: Duration,
    began: Mutex<Option<Instant>>,
}

impl Ending {
    /// Of a pod that may take `grace` to end, of which `drain` at most is spent on open requests.
    pub fn new(grace: Duration, drain: Duration) -> Self {
        Self {
            grace,
            drain,
            began: Mutex::default(),
        }
    }

    /// The pod ends. The first word counts: whoever reaches the pod may say so, its agents too, and who says it too early has
    /// less time for requests that are open at the end. Were it the last, agents could take the time of the records.
    pub fn begins(&self, now: Instant) {
        let mut began = self.began.lock().unwrap_or_else(PoisonError::into_inner);
        began.get_or_insert(now);
    }

    /// For how long open requests may still end, when the sidecar is told to. A pod that is deleted with a shorter period than
    /// its own (`kubectl delete --grace-period`) has less, of which nobody is told.
    pub fn patience(&self, now: Instant) -> Duration {
        let began = *self.began.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        let left = self.grace.saturating_sub(spent).max(LEFT_MIN);
        self.drain.min(left.saturating_sub(RECORDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_the_grace_period_is_shared_by_requests_and_records() {
        let seconds = Duration::from_secs;
        let now = Instant::now();
        let ending = Ending::new(seconds(40), seconds(10));
        // The container alone is told to end.
        assert_eq!(ending.patience(now), seconds(10));
        ending.begins(now);
        for (spent, patience) in [
            (0, 10),
            (28, 10),
            (29, 9),
            (37, 1),
            (38, 0),
            (40, 0),
            (900, 0),
        ] {
            let found = ending.patience(now + seconds(spent));
            assert_eq!(found, seconds(patience), "after {spent} s");
        }
        // Said again, it has no effect.
        ending.begins(now + seconds(30));
        assert_eq!(ending.patience(now + seconds(38)), Duration::ZERO);
        // One that is granted nothing has the kubelet's two seconds.
        let hurried = Ending::new(seconds(0), seconds(0));
        assert_eq!(hurried.patience(now), Duration::ZERO);
    }
}
