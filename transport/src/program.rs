//! How each program of a cluster begins: its flags, and its log.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Variable that chooses what is in the log: `error`, `warn`, `info`, `debug`, or by module. `info` where it is not set.
const FILTER: &str = "ACTPASS_LOG";

/// The flags that the process was given.
///
/// # Errors
/// The exit code of a process that was told so: 1 for a mistake, which clap takes for 2, and 0 for help and version.
pub fn flags<A: Parser>() -> Result<A, ExitCode> {
    A::try_parse().map_err(|error| {
        let code = code(&error);
        // Where nobody reads it the code is enough.
        error.print().ok();
        code.into()
    })
}

fn code(error: &clap::Error) -> u8 {
    u8::from(error.use_stderr())
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object per line.
    Json,
}

impl LogFormat {
    /// Starts the log of this process, on standard error.
    pub fn start(self) {
        let filter = EnvFilter::try_from_env(FILTER);
        let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        match self {
            Self::Text => log.init(),
            Self::Json => log.json().flatten_event(true).init(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    #[command(version = "1")]
    struct Args {
        #[arg(long)]
        port: Option<u16>,
    }

    #[test]
    fn a_mistake_ends_with_one_and_help_with_nought() {
        for (given, want) in [
            ("--port=x", 1),
            ("--prot=1", 1),
            ("--help", 0),
            ("--version", 0),
        ] {
            let error = Args::try_parse_from(["program", given]).unwrap_err();
            assert_eq!(code(&error), want, "{given}");
        }
        let args = Args::try_parse_from(["program", "--port=1"]).unwrap();
        assert_eq!(args.port, Some(1));
    }
}
