//! Flags of `actpass-ledger`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use tracing_subscriber::EnvFilter;

/// The ledger of a cluster: evidence, limits, approvals and credentials of all its agents.
#[derive(Parser)]
#[command(name = "actpass-ledger", version)]
pub(crate) struct Args {
    /// Directory of the log and the vault, on a volume of its own
    #[arg(long, env = "ACTPASS_DATA_DIR", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Where sidecars, the controller and people reach it, by TLS 1.3
    #[arg(long, env = "ACTPASS_LISTEN", default_value = "[::]:8443")]
    pub(crate) listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are, by plain HTTP
    #[arg(long, env = "ACTPASS_METRICS_LISTEN", default_value = "[::]:8080")]
    pub(crate) metrics_listen: SocketAddr,
    /// Namespace of the installation
    #[arg(long, env = "ACTPASS_NAMESPACE", default_value = "actpass-system")]
    pub(crate) namespace: String,
    /// Form of the log on standard error; ACTPASS_LOG chooses what is in it
    #[arg(long, env = "ACTPASS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object per line.
    Json,
}

impl LogFormat {
    /// Starts the log of this process.
    pub(crate) fn start(self) {
        let filter = EnvFilter::try_from_env("ACTPASS_LOG");
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
