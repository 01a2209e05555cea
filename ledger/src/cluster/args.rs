//! Flags of `actpass-ledger`.

use std::net::SocketAddr;
use std::path::PathBuf;

use actpass_ledger::backup::Until;
use actpass_transport::program::LogFormat;
use clap::{Parser, Subcommand};

/// The ledger of a cluster: evidence, limits, approvals and credentials of all its agents.
#[derive(Parser)]
#[command(name = "actpass-ledger", version, subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Directory of the log and the vault, on a volume of its own; with PostgreSQL, of the heads signed last
    #[arg(long, env = "ACTPASS_DATA_DIR", value_name = "DIR", required = true)]
    pub(crate) data: Option<PathBuf>,
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
    /// Where all leaves go as they come, one JSON line each: a file, or `-`, which is standard output; with PostgreSQL, one of the
    /// ledgers at a time passes them on
    #[arg(long, env = "ACTPASS_EVIDENCE_TO", value_name = "FILE")]
    pub(crate) evidence_to: Option<PathBuf>,
    /// Form of the log on standard error; ACTPASS_LOG chooses what is in it
    #[arg(long, env = "ACTPASS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub(crate) log_format: LogFormat,
}

/// What is done in place of serving.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Copy log, vault and heads elsewhere, while the ledger serves or not
    ///
    /// The copy ends where the log was durable, and is verified before it takes the place of the one before; the same directory again
    /// gets only what is new. Not in it are the keys of Secret `actpass-ledger`, without which nothing can be restored.
    Backup {
        /// Directory of the ledger
        #[arg(long, env = "ACTPASS_DATA_DIR", value_name = "DIR")]
        data: PathBuf,
        /// Directory of the backup, made if absent; on another volume
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Make a directory of a ledger of a backup; it is verified before there is a log
    Restore {
        /// Directory of the backup
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// Directory to make: absent or empty
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Only what was logged up to an instant, such as 2026-05-01T09:00:00Z, or so many leaves of --log
        #[arg(long, value_name = "WHEN")]
        until: Option<Until>,
        /// Tenant whose log a number of leaves is of, where there are several
        #[arg(long, value_name = "TENANT")]
        log: Option<String>,
    },
    /// Go on with logs whose end is lost, and put that into them; with the ledger stopped
    ///
    /// Logs, signed, after how many leaves a log goes on, which heads are lost, who says so and why. From there on every stream is over,
    /// what was permitted and is not settled is ambiguous, every question to people is to be asked anew, and every limit counts as used
    /// up until what was used before has left its window. Without --yes it only says what it would log.
    Fork(Box<Fork>),
}

#[derive(clap::Args)]
pub(crate) struct Fork {
    /// Directory of the ledger; with PostgreSQL, of the heads signed last
    #[arg(long, env = "ACTPASS_DATA_DIR", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// As for the ledger
    #[arg(long, env = "ACTPASS_POSTGRES_URL", value_name = "URL")]
    pub(crate) postgres_url: Option<String>,
    /// As for the ledger
    #[arg(long, env = "ACTPASS_POSTGRES_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) postgres_password_file: Option<PathBuf>,
    /// As for the ledger
    #[arg(long, env = "ACTPASS_POSTGRES_CA_FILE", value_name = "FILE")]
    pub(crate) postgres_ca_file: Option<PathBuf>,
    /// Tenant whose log it is: CLUSTER-ID/NAMESPACE/NAMESPACE-UID
    #[arg(long, value_name = "TENANT", required_unless_present = "all")]
    pub(crate) log: Option<String>,
    /// All logs that lost something
    #[arg(long, conflicts_with = "log")]
    pub(crate) all: bool,
    /// Who says so; it stands in the log in clear
    #[arg(long, value_name = "NAME")]
    pub(crate) by: String,
    /// Why; it stands in the log in clear: name a case, not a person
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
    /// A head that was kept elsewhere: a file of signed checkpoints, or SIZE:ROOT with --log; may be repeated. Those in the directory
    /// are known
    #[arg(long, value_name = "HEAD")]
    pub(crate) lost: Vec<String>,
    /// Limits count as the log says, where somebody knows that nothing was used in the lost part
    #[arg(long)]
    pub(crate) limits_as_logged: bool,
    /// File with `log.key` of Secret `actpass-ledger`
    #[arg(long, value_name = "FILE")]
    pub(crate) log_key: PathBuf,
    /// File with `kek` of Secret `actpass-ledger`
    #[arg(long, value_name = "FILE")]
    pub(crate) kek: PathBuf,
    /// Do it
    #[arg(short, long)]
    pub(crate) yes: bool,
}
