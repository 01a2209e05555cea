//! Tries whether the kernel lets us make namespaces, in a process made for nothing else.

use std::process::ExitCode;

use super::{EXIT_OURS, namespaces};

/// First argument of such a process. No person needs it, so no help shows it.
pub(crate) const TRY: &str = "__try-namespaces";

/// Enters the namespaces and ends; where that is forbidden, standard error says by what, and what to change.
pub(crate) fn try_main() -> ExitCode {
    match namespaces::enter() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(EXIT_OURS)
        }
    }
}
