//! `actpass-sidecar`: the enforcement point of one pod.

mod run;

use std::process::ExitCode;

use actpass_core::error::chain;
use actpass_transport::program::{self, LogFormat};
use clap::Parser;

/// Decide, record and carry out what the agents of this pod send. It is told what to do by the pod that ActPass made.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Form of log lines; ACTPASS_LOG chooses which
    #[arg(long, env = "ACTPASS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
}

fn main() -> ExitCode {
    let Args { log_format } = match program::flags() {
        Ok(args) => args,
        Err(code) => return code,
    };
    log_format.start();
    // One thread for the agents' requests, one for what must not wait for them.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run::run()),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %chain(error.as_ref()), "The sidecar ends");
            ExitCode::FAILURE
        }
    }
}
