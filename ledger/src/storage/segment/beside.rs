//! Work beside the appends: a thread that is waited for, and how fast it may go.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::write::WriteError;

/// A thread that is waited for before anybody else may have the directory.
pub(super) struct Thread<T> {
    /// Until it is waited for.
    handle: Option<JoinHandle<Result<T, WriteError>>>,
    pace: Arc<Pace>,
}

impl<T: Send + 'static> Thread<T> {
    /// Starts `work`, which is told its pace; none where the system gives no thread.
    pub(super) fn start(
        name: &str,
        work: impl FnOnce(&Pace) -> Result<T, WriteError> + Send + 'static,
    ) -> Option<Self> {
        let pace = Arc::new(Pace::default());
        let of_thread = Arc::clone(&pace);
        let thread = thread::Builder::new().name(name.to_owned());
        let handle = thread.spawn(move || work(&of_thread)).ok()?;
        Some(Self {
            handle: Some(handle),
            pace,
        })
    }

    /// Lets it go as far as `percent` of its work.
    pub(super) fn allow(&self, percent: u64) {
        self.pace.allow(percent);
    }

    /// Whether waiting for it takes no time.
    pub(super) fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Has it go on without a rest, and waits for what it made. `path`: what is said where it panicked.
    pub(super) fn result(mut self, path: &Path) -> Result<T, WriteError> {
        let died = || WriteError::Failed {
            path: path.to_path_buf(),
            did: "make",
            source: io::Error::other("the thread that made it panicked"),
        };
        match self.join() {
            Some(Ok(result)) => result,
            Some(Err(_)) | None => Err(died()),
        }
    }
}

impl<T> Thread<T> {
    fn join(&mut self) -> Option<Result<Result<T, WriteError>, Box<dyn std::any::Any + Send>>> {
        self.pace.allow(ALL);
        self.handle.take().map(JoinHandle::join)
    }
}

impl<T> Drop for Thread<T> {
    fn drop(&mut self) {
        // What it made counts once it is found.
        if let Some(Ok(Err(WriteError::Failed { path, did, source }))) = self.join() {
            tracing::error!(error = %source, did, path = %path.display(), "Beside the appends something failed that was not asked for any more");
        }
    }
}

/// How much of its work a thread may have done by now, in percent, so that the disk is not busy with it all at once while
/// appends wait for theirs.
#[derive(Default)]
pub(super) struct Pace {
    percent: Mutex<u64>,
    moved: Condvar,
}

/// No reason to wait any more.
const ALL: u64 = 100;

impl Pace {
    /// For who does it while nobody waits.
    pub(super) fn at_once() -> Self {
        let pace = Self::default();
        pace.allow(ALL);
        pace
    }

    /// Waits until it may do part `done` (from 0) of `whole`, and says whether others are at work meanwhile.
    pub(super) fn wait(&self, done: u64, whole: u64) -> bool {
        let percent = self.percent.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |percent: &mut u64| *percent * whole < done * ALL;
        let percent = self.moved.wait_while(percent, waits);
        *percent.unwrap_or_else(PoisonError::into_inner) < ALL
    }

    fn allow(&self, percent: u64) {
        let mut now = self.percent.lock().unwrap_or_else(PoisonError::into_inner);
        if percent > *now {
            *now = percent.min(ALL);
            self.moved.notify_all();
        }
    }
}
