//! `actpass events`: the evidence as people read it. Reads the log's files only, so it works on a copy, beside a running
//! `actpass`, and without the keys.

mod filter;
mod row;
mod summary;

use std::collections::{HashMap, VecDeque};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use actpass_core::evidence::leaf::{Leaf, LeafError};
use actpass_ledger::storage::reader::{SegmentReader, Tail};
use actpass_ledger::storage::{Entry, StorageError};
use anyhow::anyhow;
use tokio::signal::unix::{SignalKind, signal};

use super::show::{self, Paint, escaped_json};
use super::verify::{holds_log, log_dir, with_log};
use crate::args::EventsArgs;
use crate::exit::Exit;
use crate::state::StateDir;
use row::Streams;
use summary::Summary;

pub(crate) use filter::{Filter, Word, since};

/// How often `--follow` looks again: what a person sees as at once, and a read of one segment (4 MiB) each time.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// Shows the leaves of a log.
pub(crate) async fn events(
    args: &EventsArgs,
    state: impl FnOnce() -> anyhow::Result<StateDir>,
    json: bool,
) -> anyhow::Result<Exit> {
    let filter = Filter::new(args, jiff::Timestamp::now())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    if let Some(file) = args.log.as_deref().filter(|path| path.is_file()) {
        anyhow::ensure!(
            !args.follow,
            "an exported log does not grow; leave --follow out"
        );
        let layout = match json {
            true => Layout::Json,
            false => Layout::Cluster(HashMap::new()),
        };
        let printer = Printer::new(filter, layout).summarizing(args.summary);
        return exported(file, printer, args.limit);
    }
    let dir = log_dir(args.log.as_deref(), state)?;
    if args.follow && !holds_log(&dir) {
        eprintln!(
            "actpass: `{}` holds no log yet; waiting for one",
            shown(&dir)
        );
        while !holds_log(&dir) {
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                _ = interrupted.recv() => return Ok(Exit::Ok),
            }
        }
    }
    let dir = with_log(dir)?;
    let layout = match json {
        true => Layout::Json,
        false => Layout::Local,
    };
    let mut feed = Feed {
        reader: SegmentReader::open_read_only(&dir)?,
        printer: Printer::new(filter, layout).summarizing(args.summary),
    };
    feed.printer.head()?;
    let (mut first, mut exit) = feed.read(args.limit)?;
    first.extend(feed.printer.summed_up());
    print(&first)?;
    if exit == Exit::Invalid {
        eprintln!("actpass: `actpass verify {}` says more", shown(&dir));
    }
    if !args.follow {
        return Ok(exit);
    }
    while exit == Exit::Ok {
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            _ = interrupted.recv() => return Ok(Exit::Ok),
        }
        if show::reader_gone() {
            return Ok(Exit::Ok);
        }
        let lines;
        (lines, exit) = feed.read(None)?;
        print(&lines)?;
    }
    Ok(exit)
}

/// How leaves are shown.
pub(crate) enum Layout {
    /// As they stand in the log.
    Json,
    /// In the columns of local mode.
    Local,
    /// In the columns of a cluster, with the names of pods by their uids.
    Cluster(HashMap<String, String>),
}

/// What is shown of leaves, one line each.
pub(crate) struct Printer {
    streams: Streams,
    filter: Filter,
    layout: Layout,
    paint: Paint,
    /// Counts the rows instead of showing them.
    summary: Option<Summary>,
}

impl Printer {
    /// A printer that has seen no leaf yet.
    pub(crate) fn new(filter: Filter, layout: Layout) -> Self {
        Self {
            streams: Streams::default(),
            filter,
            layout,
            paint: Paint::of_stdout(),
            summary: None,
        }
    }

    /// The same, that counts equal decisions instead of showing each, if `summary` says so.
    pub(crate) fn summarizing(self, summary: bool) -> Self {
        Self {
            summary: summary.then(Summary::default),
            ..self
        }
    }

    /// What was counted so far.
    pub(crate) fn summed_up(&self) -> impl Iterator<Item = String> {
        let json = matches!(self.layout, Layout::Json);
        let summary = self.summary.iter();
        summary.flat_map(move |summary| summary.lines(json))
    }

    /// Names the columns, to a person.
    pub(crate) fn head(&self) -> anyhow::Result<()> {
        let head = match (&self.layout, &self.summary) {
            (Layout::Json, _) => return Ok(()),
            (_, Some(_)) => summary::HEADER,
            (Layout::Local, None) => row::HEADER,
            (Layout::Cluster(_), None) => row::HEADER_OF_CLUSTER,
        };
        match io::stdout().is_terminal() {
            true => show::line(head),
            false => Ok(()),
        }
    }

    /// The line of the next leaf, if it is shown.
    ///
    /// # Errors
    /// Where the bytes are no leaf.
    pub(crate) fn line(&mut self, bytes: &[u8]) -> Result<Option<String>, LeafError> {
        let leaf = Leaf::parse(bytes)?;
        let row = self.streams.row(&leaf);
        let lets = self.filter.lets(&row);
        if let Some(summary) = &mut self.summary {
            if lets {
                summary.add(&row);
            }
            return Ok(None);
        }
        Ok(lets.then(|| match &self.layout {
            Layout::Json => escaped_json(&String::from_utf8_lossy(bytes)),
            Layout::Local => row.line(self.paint),
            Layout::Cluster(pods) => row.line_of_cluster(self.paint, pods),
        }))
    }
}

/// The leaves as they come.
struct Feed {
    reader: SegmentReader,
    printer: Printer,
}

impl Feed {
    /// The lines of what was added since the last call, and [`Exit::Invalid`] where the log breaks off in damage.
    fn read(&mut self, limit: Option<usize>) -> anyhow::Result<(VecDeque<String>, Exit)> {
        let Self { reader, printer } = self;
        let mut lines = VecDeque::new();
        let mut exit = Exit::Ok;
        let tail = reader.read_on(&mut |entry| {
            let Entry::Leaf { seq, bytes, .. } = entry else {
                return;
            };
            let line = match printer.line(bytes) {
                Ok(line) => line,
                Err(error) => {
                    eprintln!("actpass: leaf {seq} cannot be read: {:#}", anyhow!(error));
                    exit = Exit::Invalid;
                    None
                }
            };
            lines.extend(line);
            if limit.is_some_and(|limit| lines.len() > limit) {
                lines.pop_front();
            }
        });
        match tail {
            // A running `actpass` is at work there, or a crash was: the next run drops it and says so.
            Ok(Tail::Clean | Tail::Torn { .. }) => Ok((lines, exit)),
            Err(error @ (StorageError::Damaged { .. } | StorageError::Unexpected { .. })) => {
                print(&lines)?;
                eprintln!("actpass: {error}");
                Ok((VecDeque::new(), Exit::Invalid))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The leaves of a file from `kubectl actpass export`.
fn exported(file: &Path, mut printer: Printer, limit: Option<usize>) -> anyhow::Result<Exit> {
    printer.head()?;
    let (mut lines, mut exit) = (VecDeque::new(), Exit::Ok);
    actpass_ledger::offline::exported_leaves(file, |leaf| match printer.line(leaf) {
        Ok(line) => {
            lines.extend(line);
            if limit.is_some_and(|limit| lines.len() > limit) {
                lines.pop_front();
            }
        }
        Err(error) => {
            eprintln!("actpass: a leaf cannot be read: {:#}", anyhow!(error));
            exit = Exit::Invalid;
        }
    })?;
    lines.extend(printer.summed_up());
    print(&lines)?;
    if exit == Exit::Invalid {
        eprintln!("actpass: `actpass verify {}` says more", shown(file));
    }
    Ok(exit)
}

fn print(lines: &VecDeque<String>) -> anyhow::Result<()> {
    let mut text = String::new();
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    show::write(text.as_bytes())
}

fn shown(dir: &Path) -> String {
    dir.display().to_string()
}
