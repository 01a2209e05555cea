//! Flags of `actpass-ledger`.

use std::net::SocketAddr;
use std::path::PathBuf;

use actpass_transport::program::LogFormat;
use clap::Parser;

/// The ledger of a cluster: evidence, limits, approvals and credentials of all its agents.
#[derive(Parser)]
#[command(name = "actpass-ledger", version)]
pub(crate) struct Args {
    /// Directory of the log and the vault, on a volume of its own; with PostgreSQL, of the heads signed last
    #[arg(long, env = "ACTPASS_DATA_DIR", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// PostgreSQL that keeps log and vault in place of the volume, for several ledgers over one log:
    /// postgresql://USER@HOST:PORT/DATABASE
    #[arg(long, env = "ACTPASS_POSTGRES_URL", value_name = "URL")]
    pub(crate) postgres_url: Option<String>,
    /// File with its password
    #[arg(
        long,
        env = "ACTPASS_POSTGRES_PASSWORD_FILE",
        value_name = "FILE",
        requires = "postgres_url"
    )]
    pub(crate) postgres_password_file: Option<PathBuf>,
    /// File with the certificates of the authorities, in PEM, that its certificate is checked against
    #[arg(
        long,
        env = "ACTPASS_POSTGRES_CA_FILE",
        value_name = "FILE",
        requires = "postgres_url"
    )]
    pub(crate) postgres_ca_file: Option<PathBuf>,
    /// Where sidecars, the controller and people reach it, by TLS 1.3
    #[arg(long, env = "ACTPASS_LISTEN", default_value = "[::]:8443")]
    pub(crate) listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are, by plain HTTP
    #[arg(long, env = "ACTPASS_METRICS_LISTEN", default_value = "[::]:8080")]
    pub(crate) metrics_listen: SocketAddr,
    /// Namespace of the installation
    #[arg(long, env = "ACTPASS_NAMESPACE", default_value = "actpass-system")]
    pub(crate) namespace: String,
    /// Where all leaves go as they come, one JSON line each: a file, or `-`, which is standard output
    #[arg(
        long,
        env = "ACTPASS_EVIDENCE_TO",
        value_name = "FILE",
        conflicts_with = "postgres_url"
    )]
    pub(crate) evidence_to: Option<PathBuf>,
    /// Form of the log on standard error; ACTPASS_LOG chooses what is in it
    #[arg(long, env = "ACTPASS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub(crate) log_format: LogFormat,
}
