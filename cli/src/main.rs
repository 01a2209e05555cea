//! `actpass`: runs one command whose every outbound action is decided, recorded and verifiable.

mod args;
mod client;
mod cluster;
mod commands;
mod control;
mod demo;
mod exit;
mod lending;
mod local;
mod progress;
mod proof;
mod run;
mod single;
mod state;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use args::{Cli, Command, CredentialsCommand};
use commands::show;
use exit::Exit;
use state::StateDir;

fn main() -> ExitCode {
    // Before anything that starts a thread: a process with several cannot leave its user namespace.
    match std::env::args_os().nth(1) {
        Some(first) if first == local::INNER => return local::inner_main(),
        Some(first) if first == local::TRY => return local::try_main(),
        _ => {}
    }
    // The command runs under our user: without this a signal would make us write our memory to a file, keys included,
    // and /proc would show it. The kernel gives it back with the next exec, so not to the command.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        eprintln!("actpass: cannot close its memory to others: {error}");
        return Exit::Ours.into();
    }
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == demo::AGENT)
    {
        return ended(demo::agent::agent(), Exit::Failure);
    }
    if cluster::is_plugin(std::env::args_os().next().as_deref()) {
        return match cluster::parsed() {
            Ok(plugin) => ended(cluster::run(plugin), Exit::Failure),
            Err(error) => usage(&error),
        };
    }
    if cluster::is_complete(std::env::args_os().next().as_deref()) {
        let words = std::env::args_os().skip(1);
        return ended(async { cluster::complete(words) }, Exit::Failure);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    start_logging();
    let ours = if matches!(cli.command, Command::Run(_)) {
        Exit::Ours
    } else {
        Exit::Failure
    };
    ended(dispatch(cli), ours)
}

/// Runs a command; `failed` is its exit where it could not do its part.
fn ended(command: impl Future<Output = anyhow::Result<Exit>>, failed: Exit) -> ExitCode {
    match runtime().and_then(|runtime| runtime.block_on(command)) {
        Ok(exit) => exit.into(),
        // Whoever read our output has seen enough of it.
        Err(error) if show::is_broken_pipe(&error) => Exit::Ok.into(),
        Err(error) => {
            eprintln!("actpass: {error:#}");
            failed.into()
        }
    }
}

/// Two workers: the proxy and the ledger's API; the sequencer and the keeper have threads of their own.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

/// Commands that only read, or need no state, make no state directory.
async fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let Cli {
        state_dir,
        output,
        command,
    } = cli;
    let json = output == args::Output::Json;
    let made = || StateDir::new(state_dir.clone());
    let existing = || StateDir::existing(state_dir.clone());
    let named = || StateDir::named(state_dir.clone());
    match command {
        Command::Run(args) => run::run(args, &made()?).await.map(Exit::Command),
        Command::Demo => demo::demo().await,
        Command::Check(args) => commands::check::check(&args, json),
        Command::Verify(args) => commands::verify::verify(&args, named, json),
        Command::Events(args) => commands::events::events(&args, named, json).await,
        Command::Tail(args) => commands::tail::tail(&args, named).await,
        Command::Proof(args) => commands::proof::proof(args, &existing()?, json).await,
        Command::Doctor(args) => commands::doctor::doctor(&args, &named()?, json),
        Command::Approvals(command) => {
            commands::approvals::approvals(command, &existing()?, json).await
        }
        Command::Intents(command) => commands::intents::intents(command, &existing()?, json).await,
        Command::Credentials(command) => {
            let state = match command {
                CredentialsCommand::Put { .. } => made()?,
                _ => existing()?,
            };
            commands::credentials::credentials(command, &state, json).await
        }
        Command::Export(args) => commands::export::export(args, existing, json),
        Command::Backup(args) => commands::backup::backup(&args, existing, json),
        Command::Restore(args) => commands::backup::restore(&args, json),
        Command::Fork(args) => commands::fork::fork(args, &existing()?, json),
        Command::Erase(args) => commands::erase::erase(args, &existing()?, json).await,
        Command::Keys(command) => commands::keys::keys(&command, &existing()?, json).await,
        Command::Limits => commands::limits::limits(&existing()?, json).await,
        Command::Completions { shell } => commands::manual::completions(shell),
        Command::Man { dir } => commands::manual::man(&dir),
    }
}

/// Help and version are no failure; clap's exit code 2 for usage errors is 1 here, and ours under `run`.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed standard output is nobody's failure.
    drop(error.print());
    let exit = match error.use_stderr() {
        false => Exit::Ok,
        true if is_run(std::env::args_os()) => Exit::Ours,
        true => Exit::Failure,
    };
    exit.into()
}

/// Whether a command line that is not understood was meant to run a command.
fn is_run(args: impl IntoIterator<Item = std::ffi::OsString>) -> bool {
    // What follows the word may be anything, so only the part up to it is looked at.
    let head = args.into_iter().scan(false, |seen, arg| {
        let shown = (!*seen).then(|| arg.clone());
        *seen = arg == "run";
        shown
    });
    let found = Cli::command()
        .ignore_errors(true)
        .try_get_matches_from(head);
    found.is_ok_and(|matches| matches.subcommand_name() == Some("run"))
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ACTPASS_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(show::coloured(std::io::stderr().is_terminal()))
        .with_writer(std::io::stderr)
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistaken_run_is_known_as_a_run_wherever_its_word_stands() {
        struct Case {
            name: &'static str,
            given: &'static [&'static str],
            want: bool,
        }
        let cases = [
            Case {
                name: "first",
                given: &["run", "--no-such-flag"],
                want: true,
            },
            Case {
                name: "behind an option and its value",
                given: &["--state-dir", "/tmp/x", "run", "-x"],
                want: true,
            },
            Case {
                name: "behind an option with its value",
                given: &["--output=json", "run"],
                want: true,
            },
            Case {
                name: "as the value of an option",
                given: &["--state-dir", "run", "verify", "-x"],
                want: false,
            },
            Case {
                name: "as an argument",
                given: &["check", "run", "-x"],
                want: false,
            },
            Case {
                name: "nowhere",
                given: &["verify", "-x"],
                want: false,
            },
            Case {
                name: "nothing",
                given: &[],
                want: false,
            },
        ];
        for Case { name, given, want } in cases {
            let args = std::iter::once(&"actpass").chain(given);
            assert_eq!(is_run(args.map(std::ffi::OsString::from)), want, "{name}");
        }
    }
}
