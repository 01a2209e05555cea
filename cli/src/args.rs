//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs one command whose every outbound action is decided before it happens, recorded, and verifiable by anyone.
#[derive(Debug, Parser)]
#[command(name = "actpass", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Directory of the log, the vault and the keys [default: $XDG_STATE_HOME/actpass]
    #[arg(long, global = true, env = "ACTPASS_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// How results are shown
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command under a passport
    Run(RunArgs),
    /// A two-minute tour: an agent that pays vendors, its limits, an approval, the evidence
    Demo,
    /// The agent of the tour
    #[command(name = "__demo-agent", hide = true)]
    DemoAgent,
    /// Check manifests without running anything
    Check(CheckArgs),
    /// Verify the log offline: bytes, chain, signatures, limits, approvals
    Verify(VerifyArgs),
    /// Questions to people
    #[command(subcommand)]
    Approvals(ApprovalsCommand),
    /// Permitted actions whose outcome is not known
    #[command(subcommand)]
    Intents(IntentsCommand),
    /// Secrets in the vault; their values are write-only
    #[command(subcommand)]
    Credentials(CredentialsCommand),
    /// Where the limits stand
    Limits,
}

/// Runs COMMAND in a network of its own, where only what the manifests declare exists, and decides each request.
///
/// In this version local mode contains the network only: files and sockets of your user stay reachable, and every
/// record says so. Run what you would run under your own account.
///
/// Example: actpass run -f policy/ --catalog -- python agent.py
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct RunArgs {
    /// Manifest file, or directory of *.yaml files
    #[arg(short = 'f', long = "file", required = true, value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,

    /// Add the Upstreams that ship with ActPass
    #[arg(long)]
    pub(crate) catalog: bool,

    /// Passport to run under, where the manifests hold several
    #[arg(long, value_name = "NAME")]
    pub(crate) passport: Option<String>,

    /// Label that rules' `environments` are compared with
    #[arg(long, value_name = "NAME")]
    pub(crate) environment: Option<String>,

    /// Connect to another socket for one host and port, as curl does; TLS still verifies HOST. Recorded.
    #[arg(long, value_name = "HOST:PORT:HOST:PORT")]
    pub(crate) connect_to: Vec<String>,

    /// Bind our CA bundle over a file inside, for SDKs that read only their own
    #[arg(long, value_name = "PATH")]
    pub(crate) trust_file: Vec<PathBuf>,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Manifest files or directories
    #[arg(required = true, value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,

    /// Add the Upstreams that ship with ActPass
    #[arg(long)]
    pub(crate) catalog: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Log directory [default: the log of the state directory]
    #[arg(value_name = "DIR")]
    pub(crate) log: Option<PathBuf>,

    /// A signed checkpoint kept elsewhere: shows whether the log was cut short since
    #[arg(long, value_name = "FILE")]
    pub(crate) anchor: Vec<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List all questions
    List,
    /// Show one question with all its facts
    Show {
        /// Its id
        id: String,
    },
    /// Say yes; the action may then run once
    Approve {
        /// Its id
        id: String,
    },
    /// Say no
    Deny {
        /// Its id
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum IntentsCommand {
    /// List what is open or ambiguous
    List,
    /// Say what became of an ambiguous action
    Resolve {
        /// STREAM/SEQ, as listed
        id: String,
        /// The effect took place
        #[arg(
            long,
            conflicts_with = "not_happened",
            required_unless_present = "not_happened"
        )]
        happened: bool,
        /// The effect did not take place
        #[arg(long)]
        not_happened: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialsCommand {
    /// Store a secret read from standard input, bound to where it may be sent
    ///
    /// Example: actpass credentials put stripe-write --host api.stripe.com --effect Write --effect Irreversible < key
    #[command(verbatim_doc_comment)]
    Put {
        /// Name that Upstreams refer to
        name: String,
        /// Host it may be sent to; `*.` covers one label
        #[arg(long, required = true)]
        host: Vec<String>,
        /// Port it may be sent to
        #[arg(long, default_values_t = [443])]
        port: Vec<u16>,
        /// Header it may be sent in
        #[arg(long, default_value = "authorization")]
        header: String,
        /// Effect it may be lent for: Read, Write or Irreversible
        #[arg(long, required = true)]
        effect: Vec<String>,
        /// PEM file of the upstream's own CA, where its manifest declares one
        #[arg(long)]
        ca_file: Option<PathBuf>,
    },
    /// List names, versions and bindings
    List,
    /// Replace the secret, read from standard input; its bindings stay
    Rotate {
        /// Its name
        name: String,
    },
    /// Forget a secret
    Delete {
        /// Its name
        name: String,
    },
}
