//! The command line.

use std::path::PathBuf;

use actpass_ledger::disclosure::Leaves;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs one command whose every outbound action is decided before it happens, recorded, and verifiable by anyone.
#[derive(Debug, Parser)]
#[command(name = "actpass", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Directory of the log, the vault and the keys [default: $XDG_STATE_HOME/actpass, or ~/.local/state/actpass]
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
    Run(RunArgs),
    /// A two-minute tour: an agent that pays vendors, its limits, an approval, the evidence
    Demo,
    Check(CheckArgs),
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
    /// Keys of the log
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Where the limits stand
    Limits,
    Erase(EraseArgs),
    Events(EventsArgs),
    Tail(TailArgs),
    Export(ExportArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Fork(ForkArgs),
    Proof(ProofArgs),
    Doctor(DoctorArgs),
    /// Print the completions of a shell
    ///
    /// Example: actpass completions bash > ~/.local/share/bash-completion/completions/actpass
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one per command
    ///
    /// Example: actpass man --dir ~/.local/share/man/man1
    Man {
        /// Directory they go into; made if absent
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Run a command under a passport
///
/// Runs COMMAND in a network of its own, where only what the manifests declare exists, and decides each request.
///
/// In this version local mode contains the network only: files and sockets of your user stay reachable, and every
/// record says so. Run what you would run under your own account, and not as root, to whom every file of the machine belongs.
///
/// Example: actpass run -f policy/ --catalog -- python agent.py
#[derive(Debug, Args)]
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

    /// Connect to another socket for one declared host and port, as curl does. TLS still verifies HOST: an upstream with
    /// a CA of its own needs `spec.tls.caBundle` in its Upstream. Recorded.
    #[arg(long, value_name = "HOST:PORT:HOST:PORT")]
    pub(crate) connect_to: Vec<String>,

    /// Bind our CA bundle over a file inside, for SDKs that read only their own
    #[arg(long, value_name = "PATH")]
    pub(crate) trust_file: Vec<PathBuf>,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// Check manifests without running anything
///
/// Says every mistake of all files together, with its line and what would be right, and warns of what is probably not
/// meant.
///
/// Exit codes: 0 no mistake, 1 some.
///
/// Example: actpass check policy/ --catalog
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Manifest files or directories
    #[arg(required = true, value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,

    /// Add the Upstreams that ship with ActPass
    #[arg(long)]
    pub(crate) catalog: bool,
}

/// Verify the log offline: bytes, chain, signatures, limits, approvals
///
/// Verifies the log offline: bytes, chain, signatures, tree, texts, limits, approvals and decisions.
///
/// Without DIR it is held against what the state directory keeps beside it: its key, its last head, and the keys that
/// open the texts. Of a log elsewhere only the files are there, and the output says what that leaves open.
///
/// A log that was cut short or rewritten as a whole shows only against a checkpoint kept elsewhere: save one now and
/// then with --save-anchor, keep it where whoever holds the log cannot change it, and give it back with --anchor.
///
/// Exit codes: 0 valid, 1 the log or a key cannot be read, 2 incomplete, 3 invalid.
///
/// Example: actpass verify --anchor /mnt/worm/anchor.txt
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Log directory, or a file from `actpass export`, `kubectl actpass export`, `kubectl actpass prove` or `actpass proof`, or `-` for an
    /// export on standard input [default: the log of the state directory]
    #[arg(value_name = "DIR")]
    pub(crate) log: Option<PathBuf>,

    /// A signed checkpoint kept elsewhere: shows whether the log was cut short or rewritten since
    #[arg(long, value_name = "FILE")]
    pub(crate) anchor: Vec<PathBuf>,

    /// The log's public key, kept elsewhere: the verifier key of `verify --output json`, or the public half of keys/log.key
    ///
    /// Without DIR the log is held against the key of the state directory; of a copy elsewhere the key that the log
    /// itself names is believed unless this is given. The proof of one leaf names none.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// Save the log's newest signed checkpoint, unless the log is invalid; what FILE holds of it already is an anchor too
    #[arg(long, value_name = "FILE")]
    pub(crate) save_anchor: Option<PathBuf>,

    /// Keep in this file how far an exported log is verified, and go on from there: after an interruption, or with a later export
    ///
    /// The leaves before are hashed again and have to be those that were verified. Texts beside them are not looked into again. The
    /// file is yours like a key: who may write it may have leaves believed that nobody verified.
    #[arg(long, value_name = "STATE_FILE")]
    pub(crate) resume: Option<PathBuf>,

    /// Leaves between two writings of the file of --resume
    #[arg(
        long,
        value_name = "LEAVES",
        default_value_t = 50_000,
        requires = "resume"
    )]
    pub(crate) resume_every: u64,
}

/// The evidence as people read it, one line per leaf of the log
///
/// Shows the evidence, one line per leaf: its number, time, agent, verdict, capability, amount, host, why, and the
/// evidence id that the agent was given. Reads the files only, also while a run is active.
///
/// With --output json each line is the leaf as it stands in the log: `h` where it stands, `r` the record or the ledger's
/// event, `d` what the ledger decided on a record, `s` commitments to what is sealed.
///
/// Example: actpass events --since 1h --verdict deny --agent refund-agent
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Log directory, or a file from `kubectl actpass export` [default: the log of the state directory]
    #[arg(value_name = "DIR")]
    pub(crate) log: Option<PathBuf>,

    /// Go on showing what is added, until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,

    /// Only this agent's
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,

    /// Only capabilities under this pattern: `*` stands for one segment, `**` for the rest
    #[arg(long, value_name = "PATTERN")]
    pub(crate) capability: Option<actpass_core::capability::CapabilityPattern>,

    /// Only this verdict or outcome, as shown; may be repeated
    #[arg(long, value_enum)]
    pub(crate) verdict: Vec<crate::commands::events::Word>,

    /// Only this machine-readable reason, such as limit_exceeded
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Option<String>,

    /// Only what was not enforced: under audit, passed on whatever was decided
    #[arg(long)]
    pub(crate) not_enforced: bool,

    /// Equal decisions as one line, with how many there were; what came most often first
    #[arg(long, conflicts_with_all = ["follow", "limit"])]
    pub(crate) summary: bool,

    /// Only from then on: an instant such as 2026-05-01T09:00:00Z, or as long ago as 30m, 2h or 7d
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,

    /// Only the last N of what is there
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

/// Pass leaves on as they come, each once, to a file or a program
///
/// Writes one JSON line per leaf: `leaf` as it stands in the log, and `leaf_hash`, by which a row kept elsewhere can be held against the
/// log. A file beside FILE, the cursor, says how far it is: run it again, after a crash too, and it goes on there, and each
/// leaf stands in FILE once. Where FILE is renamed, as who rotates files does, another is begun. Lines on standard output begin at the
/// first leaf, unless --cursor names a file; after a crash some may come twice.
///
/// Reads the files only, also while a run is active.
///
/// Example: actpass tail --follow --to /var/log/actpass.jsonl
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// Log directory [default: the log of the state directory]
    #[arg(value_name = "DIR")]
    pub(crate) log: Option<PathBuf>,

    /// File to write to the end of [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,

    /// File that says how far it is [default: FILE.cursor]
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<PathBuf>,

    /// Go on as leaves come, until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
}

/// Keep the log as one file, to be verified elsewhere
///
/// Lines of JSON: the leaves as they stand in the log, what they name (policy; texts and requests encrypted), the signed
/// checkpoint, and a sum. `actpass verify FILE` checks it anywhere. Reads the files only, also while a run is active.
///
/// Where an auditor has to see what was asked, --disclose puts the texts of the leaves that you choose into the file in clear, and
/// whoever verifies it sees that they are those that were logged. What was handed out nobody can erase any more.
///
/// Example: actpass export --to agent.jsonl
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Log directory, or the state directory that it is in [default: the log of the state directory]
    #[arg(value_name = "DIR")]
    pub(crate) log: Option<PathBuf>,

    /// File to write
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,

    /// Put the texts of these leaves in clear: numbers and ranges as in 3,7-12, or `all`
    #[arg(long, value_name = "LEAVES")]
    pub(crate) disclose: Option<Leaves>,

    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Copy log, vault and heads elsewhere, also while a run is active
///
/// The copy ends where the log was durable, and is verified before it takes the place of the one before; the same directory again gets
/// only what is new. What was erased since goes from it too. Not in it are `keys/`: keep them apart, nothing can be restored without.
///
/// Example: actpass backup --to /mnt/elsewhere/actpass
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// State directory [default: that of --state-dir]
    #[arg(value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,

    /// Directory of the backup, made if absent; on another volume
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

/// Make a state directory of a backup
///
/// Copies it, and verifies all of it before there is a log. Put `keys/` back beside it. What came after the backup is lost, so
/// nothing runs on it before `actpass fork` has put that into the log.
///
/// Example: actpass restore --from /mnt/elsewhere/actpass --to ~/.local/state/actpass
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Directory of the backup
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,

    /// State directory to make: absent or empty
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,

    /// Only what was logged up to an instant, such as 2026-05-01T09:00:00Z, or so many leaves
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<actpass_ledger::backup::Until>,
}

/// Go on with a log whose end is lost, and put that into it
///
/// For a log that is behind what was kept of it: restored from a backup, or put back as it was. Logs, signed, after how many leaves it
/// goes on, which heads are lost, who says so and why. From there on every stream is over, what was permitted and is not settled is
/// ambiguous, every question to people is to be asked anew, and every limit counts as used up until what was used before has left its
/// window. `verify` says so for ever. Without --yes it only says what it would log.
///
/// Example: actpass fork --why "disk broke, case 17" --yes
#[derive(Debug, Args)]
pub(crate) struct ForkArgs {
    /// Why. It stands in the log in clear: name a case, not a person
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,

    /// A head of the log that was kept elsewhere: a file of signed checkpoints, or SIZE:ROOT; may be repeated. The one that the state
    /// directory keeps is known
    #[arg(long, value_name = "HEAD")]
    pub(crate) lost: Vec<String>,

    /// Limits count as the log says, where somebody knows that nothing was used in the lost part
    #[arg(long)]
    pub(crate) limits_as_logged: bool,

    /// Do it
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Keep one leaf of the log with the proof that it is there, as a file that anyone can check
///
/// Writes a C2SP tlog-proof: the leaf, the hashes that lead from it to the root of the tree, and the signed checkpoint. It says what
/// this leaf says and nothing of any other. `actpass verify FILE --key KEY` checks it without the log, and so does any program that
/// reads tlog-proofs.
///
/// Example: actpass proof 42 --to refund.tlog-proof
#[derive(Debug, Args)]
pub(crate) struct ProofArgs {
    /// Number of the leaf, as `events` shows it
    #[arg(value_name = "SEQ")]
    pub(crate) seq: u64,

    #[command(flatten)]
    pub(crate) file: ProofFile,
}

/// Where a proof is kept.
#[derive(Debug, Args)]
pub(crate) struct ProofFile {
    /// File to write [default: SEQ.tlog-proof, in a cluster NAMESPACE-SEQ.tlog-proof]
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,

    /// Take the place of a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Make what the log keeps of somebody unreadable for good
///
/// Destroys the keys of all texts that are kept about a subject: path, query, resource, sensitive attributes, rationale, kept
/// requests. The leaves stay, amounts and limits with them, `verify` still passes, and a leaf says who erased and why. An open question
/// about the subject is over. Copies of the vault that were made before open the texts still: they have to expire.
///
/// Exit codes: 0 erased, or nothing was left to erase; 1 it failed.
///
/// Example: actpass erase --subject cus_123 --why "request 4711"
#[derive(Debug, Args)]
pub(crate) struct EraseArgs {
    /// Whom or what it is about, as the action's resource names it
    #[arg(
        long,
        value_name = "TEXT",
        required_unless_present_any = ["before", "list"]
    )]
    pub(crate) subject: Option<String>,

    /// Everything from the whole months before that day's, such as 2026-01-01, whoever it is about
    #[arg(long, value_name = "DATE", conflicts_with = "subject")]
    pub(crate) before: Option<String>,

    /// On what ground. It stands in the log in clear: name a case, not a person
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["dry_run", "list"])]
    pub(crate) why: Option<String>,

    /// Only say how much would become unreadable
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,

    /// List what was erased
    #[arg(long, conflicts_with_all = ["subject", "before", "why", "dry_run"])]
    pub(crate) list: bool,
}

/// What is wrong with this machine and state directory, and what to do about it
///
/// Checks what ActPass needs: namespaces, the state directory, keys, the log, clock, disk and name resolution; with -f
/// also that each credential the manifests name is stored and bound to where it is to go. Changes nothing.
///
/// Exit codes: 0 nothing is wrong, 1 something is.
///
/// Example: actpass doctor -f policy/ --catalog
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Manifest file, or directory of *.yaml files
    #[arg(short = 'f', long = "file", value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,

    /// Add the Upstreams that ship with ActPass
    #[arg(long)]
    pub(crate) catalog: bool,
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
pub(crate) enum KeysCommand {
    /// List the keys that sign the log, and the names of those that encrypt the vault, the newest first
    List,
    /// Have another key sign the log from now on, or with --kek another one encrypt the vault
    ///
    /// The key that signs now signs for the next one in the log. What lies in the vault is written anew under the next one; the one
    /// before stays in the file, for what is still under it, until `actpass keys forget`. Where an `actpass run` goes on, the
    /// next one brings the key into use.
    Rotate {
        /// The key encryption key, under which credentials and the keys of texts lie
        #[arg(long)]
        kek: bool,
    },
    /// Drop the key encryption keys before the one in use
    ///
    /// Once nothing of the vault lies under them. Copies of the vault that were made before need them: keep the keys as long as you keep
    /// such copies, elsewhere.
    Forget,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IntentsCommand {
    /// List what is open or ambiguous
    List,
    /// Say what became of an ambiguous action
    ///
    /// Ask whoever was to do it first. Where it did not happen, what it had reserved of limits is free again.
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
    Put {
        /// Name that Upstreams refer to
        name: String,
        /// Host it may be sent to; `*.` covers one label; may be repeated
        #[arg(long, required = true)]
        host: Vec<String>,
        /// Port it may be sent to
        #[arg(long, default_values_t = [443])]
        port: Vec<u16>,
        /// Header it may be sent in
        #[arg(long, default_value = "authorization")]
        header: String,
        /// Effect it may be lent for: Read, Write or Irreversible; may be repeated
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_says_what_it_is_for_and_every_argument_what_it_means() {
        Cli::command().debug_assert();
        let mut seen = Vec::new();
        described(&Cli::command(), &mut seen);
        for name in [
            "actpass", "run", "events", "proof", "doctor", "man", "resolve", "rotate",
        ] {
            assert!(seen.iter().any(|it| it == name), "{name} in {seen:?}");
        }
    }

    fn described(command: &clap::Command, seen: &mut Vec<String>) {
        let name = command.get_name();
        let about = command.get_about().map(ToString::to_string);
        assert!(about.is_some_and(|about| !about.is_empty()), "{name}");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{name} {argument}");
        }
        let mut help = command.clone();
        let help = help.render_long_help().to_string();
        if [
            "run",
            "check",
            "verify",
            "events",
            "proof",
            "doctor",
            "erase",
            "export",
            "backup",
            "restore",
            "fork",
            "completions",
            "man",
        ]
        .contains(&name)
        {
            assert!(help.contains("Example: actpass"), "{name}: {help}");
        }
        seen.push(name.to_owned());
        let visible = command.get_subcommands().filter(|it| !it.is_hide_set());
        visible.for_each(|it| described(it, seen));
    }
}
