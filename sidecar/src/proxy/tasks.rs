//! What goes on without its agent: changes under way, and the rest of their answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::answering::Answering;

/// Tasks that are waited for: as many as connections may have requests, with room. One beyond runs and is not waited for.
const TASKS_MAX: u32 = 1 << 19;

/// Answers read without their agent at a time, each with an upstream connection of about 30 KiB. Of one beyond, the end is not
/// known.
const RESTS_MAX: usize = 256;

/// A task that is told to end does so at its next step.
const ENDING_MAX: Duration = Duration::from_secs(1);

/// The tasks of one proxy.
pub(super) struct Tasks {
    running: Arc<Semaphore>,
    rests: Arc<Semaphore>,
    stop: watch::Sender<bool>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(TASKS_MAX as usize)),
            rests: Arc::new(Semaphore::new(RESTS_MAX)),
            stop: watch::Sender::new(false),
        }
    }
}

impl Tasks {
    /// Runs `work` to its end, or until [`Self::settle`] gives it up: then it is dropped, and what it owes is `ambiguous`.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let slot = self.running.clone().try_acquire_owned();
        let mut stop = self.stop.subscribe();
        tokio::spawn(async move {
            let done = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => None,
                done = work => Some(done),
            };
            drop(slot);
            done
        })
    }

    /// Reads an answer to its end for its outcome alone, where there is room and time.
    pub(super) fn read_rest(&self, mut answer: Answering) {
        if *self.stop.borrow() {
            return answer.leave();
        }
        match (
            Handle::try_current(),
            self.rests.clone().try_acquire_owned(),
        ) {
            (Ok(_), Ok(slot)) => {
                // Waited for in `settle`.
                drop(self.spawn(async move {
                    answer.read_rest().await;
                    drop(slot);
                }));
            }
            _ => answer.leave(),
        }
    }

    /// Waits until all have ended, and ends those that have not when `patience` is over.
    pub(super) async fn settle(&self, patience: Duration) {
        let all = || self.running.acquire_many(TASKS_MAX);
        if tokio::time::timeout(patience, all()).await.is_err() {
            self.stop.send_replace(true);
            drop(tokio::time::timeout(ENDING_MAX, all()).await);
        }
    }

    /// Ends what runs, and lets nothing more begin.
    pub(super) async fn end(&self) {
        self.stop.send_replace(true);
        let all = self.running.acquire_many(TASKS_MAX);
        drop(tokio::time::timeout(ENDING_MAX, all).await);
    }
}
