//! `actpass-ledger`: the ledger of a cluster. People and the controller are known by the API server's word, keys lie in
//! Secrets, and what to believe of the other parts in a ConfigMap.

mod cluster;

use std::process::ExitCode;

use actpass_transport::program;

use cluster::args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    let mut args: Args = match program::flags() {
        Ok(args) => args,
        Err(code) => return code,
    };
    args.log_format.start();
    if let Some(command) = args.command.take() {
        return match cluster::commands::run(command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "Not done");
                ExitCode::FAILURE
            }
        };
    }
    match cluster::run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "The ledger ends");
            ExitCode::FAILURE
        }
    }
}
