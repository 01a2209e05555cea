//! `actpass tail`: leaves as they come, each once, for programs that keep or search them elsewhere.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use actpass_ledger::storage::StorageError;
use actpass_ledger::tail::{CursorFile, FileEnd, FileSink, Sink, Stdout, TailError, Tailer};
use tokio::signal::unix::{SignalKind, signal};

use super::show;
use super::verify::{log_dir, with_log};
use crate::args::TailArgs;
use crate::exit::Exit;
use crate::state::StateDir;

/// How often `--follow` looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// How long a file that cannot be written is left alone.
const RETRY: Duration = Duration::from_secs(2);

pub(crate) async fn tail(
    args: &TailArgs,
    state: impl FnOnce() -> anyhow::Result<StateDir>,
) -> anyhow::Result<Exit> {
    let dir = with_log(log_dir(args.log.as_deref(), state)?)?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut tailer = Tailer::new(&dir, cursor(args)?, sink(args.to.as_deref()))?;
    let (mut passed, mut refused) = (0_u64, false);
    loop {
        let pause = match tailer.pass_on(None) {
            Ok(more) => {
                passed = passed.saturating_add(more);
                refused = false;
                LOOK_AGAIN
            }
            Err(error) if args.follow && args.to.is_some() && error.is_of_sink() => {
                if !std::mem::replace(&mut refused, true) {
                    eprintln!("actpass: {:#}; trying again", anyhow::anyhow!(error));
                }
                RETRY
            }
            Err(error) if is_of_log(&error) => {
                eprintln!("actpass: {:#}", anyhow::anyhow!(error));
                eprintln!("actpass: `actpass verify {}` says more", dir.display());
                return Ok(Exit::Invalid);
            }
            Err(error) => return Err(error.into()),
        };
        if !args.follow {
            if let Some(to) = &args.to {
                eprintln!("actpass: {passed} leaves passed on to `{}`", to.display());
            }
            return Ok(Exit::Ok);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = interrupted.recv() => return Ok(Exit::Ok),
        }
        if args.to.is_none() && show::reader_gone() {
            return Ok(Exit::Ok);
        }
    }
}

/// Whether it is the evidence that is not what it was.
fn is_of_log(error: &TailError) -> bool {
    match error {
        TailError::OtherLog { .. } | TailError::CutShort { .. } | TailError::PutBack { .. } => true,
        TailError::Log(error) => matches!(error, StorageError::Damaged { .. }),
        TailError::Cursor(_)
        | TailError::NoCursor { .. }
        | TailError::NoSharedCursor { .. }
        | TailError::Taken { .. }
        | TailError::Sink { .. } => false,
    }
}

/// The cursor that is named, else that beside the file; lines on standard output begin at the first leaf without one.
fn cursor(args: &TailArgs) -> Result<CursorFile, TailError> {
    match (&args.cursor, &args.to) {
        (Some(path), _) => CursorFile::open(path),
        (None, Some(file)) => CursorFile::open(&beside(file)),
        (None, None) => Ok(CursorFile::forgotten()),
    }
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".cursor");
    file.with_file_name(name)
}

fn sink(to: Option<&Path>) -> Box<dyn Sink> {
    match to {
        Some(path) => Box::new(FileSink::new(path)),
        None if io::stdout().is_terminal() => Box::new(Terminal),
        None => Box::new(Stdout),
    }
}

/// Standard output that a person reads: what an agent wrote moves no cursor there.
struct Terminal;

impl Sink for Terminal {
    fn name(&self) -> String {
        Stdout.name()
    }

    fn ready(&mut self, _: Option<FileEnd>) -> io::Result<Option<FileEnd>> {
        Ok(None)
    }

    fn take(&mut self, lines: &[u8]) -> io::Result<Option<FileEnd>> {
        Stdout.take(show::escaped_json(&String::from_utf8_lossy(lines)).as_bytes())
    }
}
