//! `actpass-controller`: the controller of ActPass in a cluster.

use std::process::ExitCode;

use actpass_controller::args::Args;
use actpass_controller::run::run;
use actpass_transport::program;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let args: Args = match program::flags() {
        Ok(args) => args,
        Err(code) => return code,
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
