//! How far a long work is, on a line of the terminal that is written over and wiped at the end; nothing where nobody watches.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Between two words of progress: a person reads no faster, and a short work says nothing.
const EVERY: Duration = Duration::from_millis(400);

/// How far it is with the leaves of a log.
pub(crate) struct Progress {
    watched: bool,
    said: Cell<bool>,
    last: Cell<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            watched: std::io::stderr().is_terminal(),
            said: Cell::new(false),
            last: Cell::new(Instant::now()),
        }
    }

    /// So many leaves of so many are done.
    pub(crate) fn at(&self, leaves: u64, of: u64) {
        if self.watched && self.last.get().elapsed() >= EVERY {
            self.last.set(Instant::now());
            self.said.set(true);
            let percent = leaves.saturating_mul(100).checked_div(of).unwrap_or(100);
            eprint!("\r{leaves} of {of} leaves, {percent} %");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.said.get() {
            eprint!("\r\u{1b}[K");
        }
    }
}
