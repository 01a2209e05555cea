//! `actpass events`: the evidence as people read it. Reads the log's files only, so it works on a copy, beside a running
//! `actpass`, and without the keys.

mod filter;
mod row;

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use actpass_core::evidence::leaf::Leaf;
use actpass_ledger::storage::reader::{SegmentReader, Tail};
use actpass_ledger::storage::{Entry, StorageError};
use anyhow::anyhow;
use tokio::signal::unix::{SignalKind, signal};

use super::show::{self, Paint, escaped_json};
use super::verify::{holds_log, log_dir, with_log};
use crate::args::EventsArgs;
use crate::exit::Exit;
use crate::state::StateDir;
use filter::Filter;
use row::Streams;

pub(crate) use filter::Word;

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
    let mut feed = Feed {
        reader: SegmentReader::open_read_only(&dir)?,
        streams: Streams::default(),
        filter,
        paint: Paint::of_stdout(),
        json,
    };
    if !json && io::stdout().is_terminal() {
        show::line(row::HEADER)?;
    }
    let (first, mut exit) = feed.read(args.limit)?;
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

/// The leaves as they come.
struct Feed {
    reader: SegmentReader,
    streams: Streams,
    filter: Filter,
    paint: Paint,
    json: bool,
}

impl Feed {
    /// The lines of what was added since the last call, and [`Exit::Invalid`] where the log breaks off in damage.
    fn read(&mut self, limit: Option<usize>) -> anyhow::Result<(VecDeque<String>, Exit)> {
        let Self {
            reader,
            streams,
            filter,
            paint,
            json,
        } = self;
        let mut lines = VecDeque::new();
        let mut exit = Exit::Ok;
        let tail = reader.read_on(&mut |entry| {
            let Entry::Leaf { seq, bytes, .. } = entry else {
                return;
            };
            let line = match Leaf::parse(bytes) {
                Ok(leaf) => {
                    let row = streams.row(&leaf);
                    filter.lets(&row).then(|| match json {
                        true => escaped_json(&String::from_utf8_lossy(bytes)),
                        false => row.line(*paint),
                    })
                }
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
