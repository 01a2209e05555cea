//! The thread that passes leaves on while a ledger serves.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::{CursorFile, FileSink, Sink, Stdout, TailError, Tailer};
use crate::engine::DurableSizes;
use crate::metrics::Metrics;
use crate::storage::{LeadOpener, Storage};

/// How often it looks for what is new: what whoever watches sees as at once.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long a sink that takes nothing is left alone, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Where leaves are passed on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A file; none: standard output.
    pub file: Option<PathBuf>,
    /// The file that says how far it is, of logs on a disk; beside the logs of a server the server has it.
    pub cursor: PathBuf,
}

/// Where leaves are passed on from.
pub(crate) enum Logs {
    /// The segments of a directory.
    Directory(PathBuf),
    /// A server, as long as no other ledger passes them on.
    Server(LeadOpener),
}

impl Logs {
    /// Those of a storage; none where only it can read them.
    pub(crate) fn of(storage: &dyn Storage) -> Option<Self> {
        let directory = storage.directory().map(Self::Directory);
        directory.or_else(|| storage.lead().map(Self::Server))
    }
}

impl Target {
    fn open(&self, logs: &Logs) -> Result<Tailer, TailError> {
        let file = self.file.as_deref().map(FileSink::new);
        match logs {
            Logs::Directory(directory) => {
                let cursor = CursorFile::open(&self.cursor)?;
                Tailer::new(directory, cursor, sink(file))
            }
            Logs::Server(opener) => {
                let file = file.map(FileSink::of_whole_lines);
                Ok(Tailer::over(opener()?, sink(file)))
            }
        }
    }
}

fn sink(file: Option<FileSink>) -> Box<dyn Sink> {
    match file {
        Some(file) => Box::new(file),
        None => Box::new(Stdout),
    }
}

/// How long the last lines have at the end: whoever reads standard output may have stopped.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// Leaves are being passed on, until it is dropped; then what is there is passed on once more.
#[derive(Debug)]
pub struct Passing {
    stop: Option<mpsc::Sender<()>>,
    /// Closed once it has ended.
    ended: mpsc::Receiver<()>,
}

impl Passing {
    /// Begins. A cursor or a sink that cannot be used keeps no ledger from its start: that is said, and tried again.
    ///
    /// # Errors
    /// Where there can be no thread.
    pub(crate) fn start(
        target: Target,
        logs: Logs,
        sizes: DurableSizes,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let (ends, ended) = mpsc::channel();
        let mut passer = Passer {
            target,
            logs,
            sizes,
            metrics,
            tailer: None,
            failing: None,
            said: String::new(),
        };
        let thread = std::thread::Builder::new().name("tail".to_owned());
        thread.spawn(move || {
            passer.run(&stopped);
            drop(ends);
        })?;
        Ok(Self {
            stop: Some(stop),
            ended,
        })
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.ended.recv_timeout(LAST_WITHIN) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("The last leaves were not taken; the next start passes them on");
        }
    }
}

struct Passer {
    target: Target,
    logs: Logs,
    sizes: DurableSizes,
    metrics: Arc<Metrics>,
    /// None before it could be opened.
    tailer: Option<Tailer>,
    /// How long it waits, where it failed last.
    failing: Option<Duration>,
    /// What was said of that.
    said: String,
}

impl Passer {
    fn run(&mut self, stopped: &mpsc::Receiver<()>) {
        loop {
            let wait = self.failing.unwrap_or(LOOK_AGAIN);
            let last = stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
            match self.pass_on() {
                Ok(passed) => {
                    if self.failing.take().is_some() {
                        tracing::info!("Leaves are passed on again");
                    }
                    self.metrics.passed_on(passed);
                }
                Err(error) => self.failed(&error),
            }
            let passed = self.tailer.as_ref().map_or(0, Tailer::passed);
            let logged = self.tailer.as_ref().and_then(Tailer::logged);
            let logged = logged.unwrap_or_else(|| self.sizes.sum());
            self.metrics.not_passed_on(logged.saturating_sub(passed));
            if last {
                return;
            }
        }
    }

    fn pass_on(&mut self) -> Result<u64, TailError> {
        let tailer = match &mut self.tailer {
            Some(tailer) => tailer,
            none => none.insert(self.target.open(&self.logs)?),
        };
        tailer.pass_on(Some(&|log| self.sizes.of(log)))
    }

    fn failed(&mut self, error: &TailError) {
        if self.failing.is_none() || self.said != error.to_string() {
            self.said = error.to_string();
            let error: &dyn std::error::Error = error;
            tracing::error!(error, "Leaves are not passed on; they wait in the log");
        }
        let next = self.failing.map_or(RETRY.0, |last| last.saturating_mul(2));
        self.failing = Some(next.min(RETRY.1));
    }
}
