//! `kubectl actpass`: the same program under the name of a kubectl plugin, for people of a cluster.
//!
//! Everything goes through `kubectl` itself: its contexts, its ways to log in and the API server's own checks. So this
//! can do what its user can do by hand, and nothing else.

mod approvals;
mod args;
mod explain;
mod kubectl;
mod objects;
mod status;
mod vote;

use std::ffi::OsStr;
use std::path::Path;

use clap::Parser;

pub(crate) use args::Plugin;
use args::PluginCommand;

use crate::args::Output;
use crate::exit::Exit;
use kubectl::Kubectl;

/// Name of the program as a kubectl plugin.
const PLUGIN: &str = "kubectl-actpass";

/// Whether the program was called as a plugin of kubectl.
pub(crate) fn is_plugin(program: Option<&OsStr>) -> bool {
    let name = program.and_then(|program| Path::new(program).file_name());
    name.is_some_and(|name| name == PLUGIN)
}

/// Runs the plugin's command line.
///
/// # Errors
/// What kubectl says, or what cannot be shown.
pub(crate) fn parsed() -> Result<Plugin, clap::Error> {
    Plugin::try_parse()
}

pub(crate) fn run(plugin: Plugin) -> anyhow::Result<Exit> {
    let Plugin {
        access,
        output,
        command,
    } = plugin;
    let json = output == Output::Json;
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
    }
}
