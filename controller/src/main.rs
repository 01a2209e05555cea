//! `actpass-controller`: the controller of ActPass in a cluster.

use std::process::ExitCode;

use actpass_controller::args::Args;
use actpass_controller::run::run;
use clap::Parser as _;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no mistakes.
            let code = u8::from(error.use_stderr());
            error.print().ok();
            return code.into();
        }
    };
    args.log_format.start();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "Ended");
            ExitCode::FAILURE
        }
    }
}
