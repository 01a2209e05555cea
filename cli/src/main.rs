//! `actpass`: runs one command whose every outbound action is decided, recorded and verifiable.

mod args;
mod commands;
mod control;
mod demo;
mod local;
mod run;
mod state;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

/// Exit code for failure and usage, of every command but `run`.
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    // Before anything that starts a thread: a process with several cannot leave its user namespace.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == local::INNER)
    {
        return local::inner_main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    start_logging();
    let ours = if matches!(cli.command, Command::Run(_)) {
        local::EXIT_OURS
    } else {
        FAILURE
    };
    match runtime().and_then(|runtime| runtime.block_on(dispatch(cli))) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("actpass: {error:#}");
            ExitCode::from(ours)
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

async fn dispatch(cli: Cli) -> anyhow::Result<u8> {
    let state = state::StateDir::new(cli.state_dir)?;
    let json = cli.output == args::Output::Json;
    match cli.command {
        Command::Run(args) => run::run(args, &state).await,
        Command::Demo => demo::demo().await,
        Command::DemoAgent => demo::agent::agent().await,
        Command::Check(args) => commands::check::check(&args),
        Command::Verify(args) => commands::verify::verify(&args, &state),
        Command::Approvals(command) => commands::approvals::approvals(command, &state, json).await,
        Command::Intents(command) => commands::intents::intents(command, &state, json).await,
        Command::Credentials(command) => {
            commands::credentials::credentials(command, &state, json).await
        }
        Command::Limits => commands::limits::limits(&state, json).await,
    }
}

/// Help and version are no failure; clap's exit code 2 for usage errors is 1 here, and ours under `run`.
fn usage(error: &clap::Error) -> ExitCode {
    // A closed standard output is nobody's failure.
    drop(error.print());
    match error.use_stderr() {
        false => ExitCode::SUCCESS,
        true if std::env::args_os()
            .nth(1)
            .is_some_and(|first| first == "run") =>
        {
            ExitCode::from(local::EXIT_OURS)
        }
        true => ExitCode::from(FAILURE),
    }
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("ACTPASS_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
