//! The plugin's command line.

use clap::{Args, Parser, Subcommand};

use crate::args::Output;

/// Passports, questions to people, and why something was denied, in a cluster.
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
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,

    #[command(subcommand)]
    pub(crate) command: PluginCommand,
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
