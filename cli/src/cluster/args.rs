//! The plugin's command line.

use std::path::PathBuf;

use actpass_ledger::disclosure::Leaves;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::args::IntentsCommand;
use crate::commands::events::Word;

/// Passports, questions to people, evidence and credentials of a cluster.
///
/// Everything goes through your own kubectl, with its contexts and its ways to log in. Exit codes: 0 done and nothing is
/// wrong, 1 it failed or was not understood, 2 something is missing or needs a fix, 3 evidence is not what was recorded.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl actpass",
    bin_name = "kubectl actpass",
    version,
    max_term_width = 100
)]
pub(crate) struct Plugin {
    #[command(flatten)]
    pub(crate) access: Access,

    /// How results are shown
    #[arg(short, long, global = true, value_enum, default_value_t = PluginOutput::Table)]
    pub(crate) output: PluginOutput,

    #[command(subcommand)]
    pub(crate) command: PluginCommand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PluginOutput {
    /// For people
    Table,
    /// One document
    Json,
    /// One document per line; of events only
    Jsonl,
}

/// How the ledger is reached, and as whom.
#[derive(Clone, Debug, Args)]
pub(crate) struct Reach {
    /// Namespace of the installation
    #[arg(
        long,
        env = "ACTPASS_NAMESPACE",
        default_value = "actpass-system",
        value_name = "NAME"
    )]
    pub(crate) system_namespace: String,

    /// ServiceAccount to ask as, where you log in with a client certificate: its token, for ten minutes
    #[arg(long, env = "ACTPASS_SERVICE_ACCOUNT", value_name = "[NAMESPACE/]NAME")]
    pub(crate) service_account: Option<String>,
}

/// Which cluster, and as whom: handed to kubectl.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Access {
    /// Namespace [default: the context's]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,

    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// The kubeconfig file
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) kubeconfig: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Passports, whether they are in force, and what waits for people
    ///
    /// Exit codes: 0 every Passport is ready, 2 some are not.
    ///
    /// Example: kubectl actpass status -A
    Status {
        /// Of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Questions that wait for an answer
    ///
    /// Example: kubectl actpass approvals -n support
    Approvals {
        /// Of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
        /// Also those that were answered, used or are over
        #[arg(long)]
        all: bool,
    },
    /// One question with all its facts
    ///
    /// Example: kubectl actpass show apr-2f6c01
    Show {
        /// Name of the Approval
        name: String,
    },
    /// Say yes; the action may then run once
    ///
    /// Shows the facts and asks, unless --yes is given. Your answer counts once everyone who is needed agreed.
    ///
    /// Exit codes: 0 it is granted, 2 others still have to agree or it can no longer be granted.
    ///
    /// Example: kubectl actpass approve apr-2f6c01 -n support
    Approve(VoteArgs),
    /// Say no
    ///
    /// Example: kubectl actpass deny apr-2f6c01 --reason "not our customer"
    Deny(VoteArgs),
    /// What a pod may do, and why the last thing was denied
    ///
    /// Example: kubectl actpass explain refund-agent-7d9f -n support
    Explain {
        /// Name of the pod
        pod: String,
    },
    Events(EventsArgs),
    Export(ExportArgs),
    Verify(VerifyArgs),
    Proof(LeafArgs),
    /// Secrets in the vault of a namespace; their values are write-only
    ///
    /// Example: kubectl actpass credentials set stripe-write -n support
    Credentials {
        #[command(flatten)]
        reach: Reach,
        #[command(subcommand)]
        command: CredentialsCommand,
    },
    /// What was permitted and has no outcome, and what became of it
    ///
    /// Where nobody knows whether an action happened, it stays against its limits and is not permitted again. Look at the provider,
    /// then say: the answer is on the record with your name.
    ///
    /// `list` takes ClusterRole actpass-auditor in the namespace, `resolve` actpass-platform; both Role actpass-ledger-client in that
    /// of the installation.
    ///
    /// Example: kubectl actpass intents list -n support
    Intents {
        #[command(flatten)]
        reach: Reach,
        #[command(subcommand)]
        command: IntentsCommand,
    },
    Erase(NamespaceErase),
    Onboard(OnboardArgs),
    Prove(ProveArgs),
    /// Keys of the installation: what passports, checkpoints and votes are signed with
    ///
    /// Example: kubectl actpass keys list
    Keys {
        /// Namespace of the installation
        #[arg(
            long,
            env = "ACTPASS_NAMESPACE",
            default_value = "actpass-system",
            value_name = "NAME"
        )]
        system_namespace: String,
        #[command(subcommand)]
        command: KeysCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Each key that is or was believed, by its id
    ///
    /// Example: kubectl actpass keys list
    List,
    /// Let another key follow
    ///
    /// It is announced, then used; the one before goes on counting until whatever it signed is over. Nothing is refused
    /// meanwhile and no pod has to be made anew. Where a key was stolen that is not enough: see docs/install.md.
    ///
    /// Example: kubectl actpass keys rotate passports
    Rotate {
        /// What is signed with it
        #[arg(value_enum)]
        what: Rotated,
    },
}

/// Keys that can be followed by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rotated {
    /// What passports are signed with
    Passports,
    /// What votes are signed with
    Votes,
    /// What the ledger signs its logs with
    Checkpoints,
    /// The authority of the parts' certificates
    Authority,
}

/// The evidence of a namespace, one line per leaf of its log
///
/// Shows when, which pod under which Passport, the verdict, what was asked for with its amount, and why. With --output
/// jsonl each line is the leaf as it stands in the log.
///
/// Takes `get evidence` in the namespace (ClusterRole actpass-auditor), and Role actpass-ledger-client in that of the installation.
///
/// Example: kubectl actpass events support --since 1h --decision deny
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Namespace [default: --namespace, or the context's]
    #[arg(value_name = "NAMESPACE")]
    pub(crate) of: Option<String>,

    /// Only from then on: an instant such as 2026-05-01T09:00:00Z, or as long ago as 30m, 2h or 7d
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,

    /// Go on showing what is added, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Only of this Passport
    #[arg(long, value_name = "NAME")]
    pub(crate) passport: Option<String>,

    /// Only this verdict or outcome; may be repeated. `allow` is permit, `hold` is escalate
    #[arg(long, alias = "verdict", value_enum)]
    pub(crate) decision: Vec<Word>,

    /// Only what was not enforced: under audit, passed on whatever was decided
    #[arg(long)]
    pub(crate) not_enforced: bool,

    /// Equal decisions as one line, with how many there were; what came most often first
    #[arg(long, conflicts_with_all = ["follow", "limit"])]
    pub(crate) summary: bool,

    /// Only the last N of what is there
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

/// Keep the log of a namespace as a file, to be verified elsewhere
///
/// Lines of JSON: the leaves as they stand in the log, what they name (policy; texts and requests encrypted), the signed
/// checkpoint, and a sum. `actpass verify FILE` checks it without cluster or network.
///
/// Where an auditor has to see what was asked, --disclose puts the texts of the leaves that you choose into the file in clear. That takes
/// ClusterRole actpass-disclosure in the namespace, and the ledger writes into its own log who did it. What was
/// handed out nobody can erase any more.
///
/// Example: kubectl actpass export support --to support.jsonl
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Namespace [default: --namespace, or the context's]
    #[arg(value_name = "NAMESPACE")]
    pub(crate) of: Option<String>,

    /// File to write [default: NAMESPACE.actpass.jsonl]
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,

    /// Put the texts of these leaves in clear: numbers and ranges as in 3,7-12, or `all`
    #[arg(long, value_name = "LEAVES")]
    pub(crate) disclose: Option<Leaves>,

    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Verify the log of a namespace, against what this cluster says of it
///
/// Exports the log and checks it here, as `actpass verify` does: every leaf, signatures, limits, approvals. It is held
/// against the ledger's key in ConfigMap actpass-trust and the head in EvidenceLog evidence, and the output says what that leaves open.
///
/// Exit codes: 0 valid, 1 it cannot be read, 2 incomplete, 3 invalid.
///
/// Example: kubectl actpass verify support --keep support.jsonl
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Namespace [default: --namespace, or the context's]
    #[arg(value_name = "NAMESPACE")]
    pub(crate) of: Option<String>,

    /// Keep what was exported in this file
    #[arg(long, value_name = "FILE")]
    pub(crate) keep: Option<PathBuf>,

    /// A signed checkpoint kept elsewhere; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) anchor: Vec<PathBuf>,

    /// The log's public key, kept elsewhere, instead of the one that the cluster says
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// Save the log's newest signed checkpoint, unless the log is invalid; what FILE holds of it already is an anchor too
    #[arg(long, value_name = "FILE")]
    pub(crate) save_anchor: Option<PathBuf>,
}

/// Keep one leaf of a namespace's log with the proof that it is there, as a file that anyone can check
///
/// Writes a C2SP tlog-proof: the leaf, the hashes that lead from it to the root of the tree, and the signed checkpoint. It says what
/// this leaf says and nothing of any other. `actpass verify FILE --key KEY` checks it without cluster or network. The number of a leaf
/// is `h.seq` in `events --output jsonl`.
///
/// Takes what `events` takes.
///
/// Example: kubectl actpass proof 42 -n support
#[derive(Debug, Args)]
pub(crate) struct LeafArgs {
    #[command(flatten)]
    pub(crate) reach: Reach,

    #[command(flatten)]
    pub(crate) leaf: crate::args::ProofArgs,
}

/// Make what the log of a namespace keeps of somebody unreadable for good
///
/// Destroys the keys of all texts that are kept about a subject: path, query, resource, sensitive attributes, rationale, kept
/// requests. The leaves stay, amounts and limits with them, `verify` still passes, and a leaf says who erased and why. An open question
/// about the subject is over. Copies of the ledger's volume that were made before open the texts still: they have to expire.
///
/// Takes ClusterRole actpass-platform in the namespace (`delete evidence`), and Role actpass-ledger-client in that of the installation.
///
/// Example: kubectl actpass erase support --subject cus_123 --why "request 4711"
#[derive(Debug, Args)]
pub(crate) struct NamespaceErase {
    #[command(flatten)]
    pub(crate) reach: Reach,

    /// Namespace [default: --namespace, or the context's]
    #[arg(value_name = "NAMESPACE")]
    pub(crate) of: Option<String>,

    #[command(flatten)]
    pub(crate) erase: crate::args::EraseArgs,
}

/// Try every workload of a namespace before it is put under ActPass
///
/// Holds each pod template against what is asked of agents' pods, as the API server completes it (a dry run), and says
/// each mistake with what to write instead. Also: ServiceAccounts without a Passport, hosts in templates that no Upstream declares,
/// Pod Security, pods that run without ActPass, and the commands to go on with. Changes nothing.
///
/// Exit codes: 0 every workload would start, 2 something needs a fix.
///
/// Example: kubectl actpass onboard support
#[derive(Debug, Args)]
pub(crate) struct OnboardArgs {
    /// Namespace of the installation
    #[arg(
        long,
        env = "ACTPASS_NAMESPACE",
        default_value = "actpass-system",
        value_name = "NAME"
    )]
    pub(crate) system_namespace: String,

    /// Namespace [default: --namespace, or the context's]
    #[arg(value_name = "NAMESPACE")]
    pub(crate) of: Option<String>,
}

/// Try the fence of a namespace, in this very cluster, and keep a signed report
///
/// Makes a pod like any agent's, which tries the ways out of it that need nobody outside, and asks the API server in dry runs for
/// what it has to refuse; then deletes the pod. What was found goes on the record of the namespace, so that the report can be
/// checked anywhere: `actpass verify FILE`. Nothing is sent to anybody but names and addresses that lead nowhere.
///
/// Takes the right to make, read and delete pods in the namespace, and what `export` takes.
///
/// Exit codes: 0 everything was held, 2 something was not.
///
/// Example: kubectl actpass prove -n support --every-node
#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    #[command(flatten)]
    pub(crate) reach: Reach,

    /// ServiceAccount of the pod, subject of a Passport [default: that of a Passport in force]
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,

    /// One pod on each node that takes pods, one after the other: kernels and runtimes differ
    #[arg(long)]
    pub(crate) every_node: bool,

    /// File of the report [default: NAMESPACE.proof.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,

    /// Take the place of a file that is there
    #[arg(long)]
    pub(crate) force: bool,

    /// Without the log: the report then shows nothing to who does not trust you
    #[arg(long)]
    pub(crate) unsigned: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialsCommand {
    /// Names, versions and bindings
    ///
    /// Example: kubectl actpass credentials list -n support
    List,
    Set(SetArgs),
    /// Replace the secret; its bindings stay
    ///
    /// Read from standard input, a file, or a prompt that does not show it.
    ///
    /// Example: kubectl actpass credentials rotate stripe-write -n support < key
    Rotate {
        /// Its name
        name: String,
        /// File that holds the new secret
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
    },
    /// Forget a secret
    ///
    /// Example: kubectl actpass credentials delete stripe-write -n support
    Delete {
        /// Its name
        name: String,
        /// Do not ask again
        #[arg(short, long)]
        yes: bool,
    },
}

/// Store a secret, bound to where it may be sent
///
/// The secret is read from standard input, a file, or a prompt that does not show it; never from the command line. Without
/// --host it is bound to where the Upstreams that name it send it: these are shown, and you are asked.
///
/// Example: kubectl actpass credentials set stripe-write -n support
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// Name that Upstreams refer to
    pub(crate) name: String,

    /// File that holds the secret
    #[arg(long, value_name = "FILE")]
    pub(crate) from_file: Option<PathBuf>,

    /// Host it may be sent to; `*.` covers one label; may be repeated
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Vec<String>,

    /// Port it may be sent to
    #[arg(long, requires = "host", default_values_t = [443])]
    pub(crate) port: Vec<u16>,

    /// Header it may be sent in
    #[arg(long, requires = "host", default_value = "authorization")]
    pub(crate) header: String,

    /// What is put around it, such as `Bearer {secret}` [default: what the Upstream says]
    #[arg(long, requires = "host")]
    pub(crate) format: Option<String>,

    /// Effect it may be lent for: Read, Write or Irreversible; may be repeated
    #[arg(long, requires = "host")]
    pub(crate) effect: Vec<String>,

    /// PEM file of the upstream's own CA, where its manifest declares one
    #[arg(long, requires = "host", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Do not ask whether these are the right places
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VoteArgs {
    /// Name of the Approval
    pub(crate) name: String,
    /// Why, in one line, for those who read the evidence
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Do not ask again
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_says_what_it_is_for_and_shows_an_example() {
        Plugin::command().debug_assert();
        for command in Plugin::command().get_subcommands() {
            let mut help = command.clone();
            let help = help.render_long_help().to_string();
            let name = command.get_name();
            assert!(help.contains("Example: kubectl actpass"), "{name}: {help}");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name} {argument}");
            }
        }
    }

    #[test]
    fn the_flags_of_kubectl_may_stand_anywhere() {
        for line in [
            ["kubectl-actpass", "-n", "shop", "approve", "apr-1"],
            ["kubectl-actpass", "approve", "-n", "shop", "apr-1"],
            ["kubectl-actpass", "approve", "apr-1", "-n", "shop"],
        ] {
            let plugin = Plugin::try_parse_from(line).unwrap();
            assert_eq!(plugin.access.namespace.as_deref(), Some("shop"));
        }
    }
}
