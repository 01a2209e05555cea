//! `kubectl actpass`: the same program under the name of a kubectl plugin, for people of a cluster.
//!
//! Everything goes through `kubectl` itself: its contexts, its ways to log in and the API server's own checks. So this
//! can do what its user can do by hand, and nothing else.

mod approvals;
mod args;
mod complete;
mod credentials;
mod erase;
mod events;
mod explain;
mod export;
mod intents;
mod keys;
mod kubectl;
mod ledger;
mod objects;
mod onboard;
mod proof;
mod prove;
mod status;
mod token;
mod vote;

use std::ffi::OsStr;
use std::path::Path;

use anyhow::bail;
use clap::Parser;

pub(crate) use args::Plugin;
use args::{KeysCommand, PluginCommand, PluginOutput};

use crate::exit::Exit;
use kubectl::Kubectl;

/// Name of the program as a kubectl plugin.
const PLUGIN: &str = "kubectl-actpass";

/// Whether the program was called as a plugin of kubectl.
pub(crate) fn is_plugin(program: Option<&OsStr>) -> bool {
    let name = program.and_then(|program| Path::new(program).file_name());
    name.is_some_and(|name| name == PLUGIN)
}

/// Whether kubectl asks for completions of the plugin.
pub(crate) fn is_complete(program: Option<&OsStr>) -> bool {
    let name = program.and_then(|program| Path::new(program).file_name());
    name.is_some_and(complete::is_complete)
}

pub(crate) use complete::complete;

/// Runs the plugin's command line.
///
/// # Errors
/// What kubectl says, or what cannot be shown.
pub(crate) fn parsed() -> Result<Plugin, clap::Error> {
    Plugin::try_parse()
}

pub(crate) async fn run(plugin: Plugin) -> anyhow::Result<Exit> {
    let Plugin {
        access,
        output,
        command,
    } = plugin;
    let json = match output {
        PluginOutput::Table => false,
        PluginOutput::Json => true,
        PluginOutput::Jsonl => match &command {
            PluginCommand::Events(_) => true,
            _ => bail!("`--output jsonl` is of `events`; use `--output json`"),
        },
    };
    let kubectl = Kubectl::new(access);
    match command {
        PluginCommand::Status { all_namespaces } => status::status(&kubectl, all_namespaces, json),
        PluginCommand::Approvals {
            all_namespaces,
            all,
        } => approvals::list(&kubectl, all_namespaces, all, json),
        PluginCommand::Show { name } => approvals::show(&kubectl, &name, json),
        PluginCommand::Approve(args) => vote::vote(&kubectl, &args, true, json),
        PluginCommand::Deny(args) => vote::vote(&kubectl, &args, false, json),
        PluginCommand::Explain { pod } => explain::explain(&kubectl, &pod, json),
        PluginCommand::Events(args) => events::events(&kubectl, args, output).await,
        PluginCommand::Export(args) => export::export(&kubectl, args, json).await,
        PluginCommand::Verify(args) => export::verify(&kubectl, args, json).await,
        PluginCommand::Credentials { reach, command } => {
            credentials::credentials(&kubectl, &reach, command, json).await
        }
        PluginCommand::Intents { reach, command } => {
            intents::intents(&kubectl, &reach, command, json).await
        }
        PluginCommand::Erase(args) => erase::erase(&kubectl, args, json).await,
        PluginCommand::Proof(args) => proof::proof(&kubectl, args, json).await,
        PluginCommand::Prove(args) => prove::prove(&kubectl, args, json).await,
        PluginCommand::Onboard(args) => onboard::onboard(&kubectl, args, json),
        PluginCommand::Keys {
            system_namespace,
            command,
        } => {
            let system = kubectl.of(&system_namespace);
            match command {
                KeysCommand::List => keys::list(&system, json),
                KeysCommand::Rotate { what } => keys::rotate(&system, what, json),
            }
        }
    }
}
