//! The inner process: contains itself step by step, then becomes the command.

use std::env;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use super::plan::Plan;
use super::wire::{self, GO, Report};
use super::{EXIT_OURS, exec, mounts, namespaces, netlink, privileges, probe, sockets};

/// First argument of the inner process. No person needs it, so no help shows it.
pub(crate) const INNER: &str = "__inner";

/// Why the inner process gave up.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetUpError {
    /// The kernel refuses namespaces; the text names the setting.
    #[error("{0}")]
    Forbidden(String),
    /// Any other step.
    #[error("{step}: {source}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The whole life of the inner process, for `main` to call before it starts any thread: a process with several
/// cannot leave its user namespace. Standard input is the control socket; the command's own comes through it.
///
/// *Flow*: plan and stdin in; listeners out; `Ready` out; `go` in, or the end of the socket when the outer process is
/// gone: the parent-death signal is set before `Ready`, so either it arrives or `go` never does.
pub(crate) fn inner_main() -> ExitCode {
    let (code, text) = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(control) => live(&UnixStream::from(control)),
        Err(error) => (EXIT_OURS, format!("no control socket: {error}")),
    };
    eprintln!("actpass: {text}");
    ExitCode::from(code)
}

/// The exit code and a line to show, unless this process is the command by then.
fn live(control: &UnixStream) -> (u8, String) {
    let plan = match contain(control) {
        Ok(plan) => plan,
        Err(error) => {
            let forbidden = matches!(error, SetUpError::Forbidden(_));
            let report = Report::Failed {
                forbidden,
                text: error.to_string(),
            };
            return match wire::send_frame(control, &report) {
                // The outer process says it, so that it is said once.
                Ok(()) => std::process::exit(EXIT_OURS.into()),
                Err(_) => (EXIT_OURS, error.to_string()),
            };
        }
    };
    let released =
        wire::send_frame(control, &Report::Ready).and_then(|()| wire::await_byte(control, GO));
    match released {
        Ok(()) => exec::become_command(&plan),
        Err(error) => (
            EXIT_OURS,
            format!("not started: the outer process is gone ({error})"),
        ),
    }
}

fn contain(control: &UnixStream) -> Result<Plan, SetUpError> {
    let plan = receive(control).map_err(during("receive the plan"))?;
    namespaces::enter()?;
    netlink::set_up().map_err(during("set up the loopback interface"))?;
    sockets::pass_out(control, &plan).map_err(during("make the listeners"))?;
    mounts::cover(&plan).map_err(during("cover files"))?;
    // By its path, so that it is what is visible there now: the old one would still be below the covers.
    env::set_current_dir(&plan.working_dir).map_err(during("enter the working directory"))?;
    privileges::give_up().map_err(during("give up privileges"))?;
    probe::check(&plan.hide).map_err(during("check the containment"))?;
    Ok(plan)
}

/// Receives the command's standard input and the plan, and puts the former where the control socket was.
fn receive(control: &UnixStream) -> io::Result<Plan> {
    let plan = wire::receive_frame(control)?;
    let stdin = wire::receive_descriptors(control, 1)?;
    stdin.first().map_or(Ok(()), rustix::stdio::dup2_stdin)?;
    Ok(plan)
}

fn during(step: &'static str) -> impl Fn(io::Error) -> SetUpError {
    move |source| SetUpError::Step { step, source }
}
