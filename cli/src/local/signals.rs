//! Signals for the command, and what its end means as an exit code.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread::{self, JoinHandle};

use rustix::process::{Signal, pidfd_send_signal};
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::siginfo::{Cause, Origin};

use super::Running;

/// The signals that people and supervisors send to a program.
const FORWARDED: [Signal; 7] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
];

/// Passes signals on to the command until dropped. Our own default reaction to them is off meanwhile: the command
/// decides whether it ends, and we end after it.
pub(crate) struct Forwarder {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Starts passing signals on to `running`.
    ///
    /// The command shares our process group, so job control works as without us, and what a terminal sends (^C, ^\\,
    /// a new size, a hang-up) reaches it already. Such signals come from the kernel and are not passed on, else one
    /// ^C would count twice; those that a process sent to us are.
    ///
    /// # Errors
    /// Handlers or the thread could not be set up.
    pub(crate) fn start(running: &Running) -> io::Result<Forwarder> {
        let child = running.pidfd().try_clone_to_owned()?;
        let mut signals = SignalsInfo::<WithOrigin>::new(FORWARDED.map(Signal::as_raw))?;
        let handle = signals.handle();
        let forward = move || {
            for origin in signals.forever() {
                pass_on(&child, &origin);
            }
        };
        let thread = thread::Builder::new()
            .name("signals".to_owned())
            .spawn(forward)?;
        Ok(Forwarder {
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn pass_on(child: &OwnedFd, origin: &Origin) {
    if origin.cause == Cause::Kernel {
        return;
    }
    if let Some(signal) = Signal::from_named_raw(origin.signal)
        && let Err(error) = pidfd_send_signal(child.as_fd(), signal)
    {
        tracing::debug!(%error, signal = origin.signal, "Signal not passed on, the command has ended");
    }
}

/// The exit code to pass on: the command's own, or 128 + n when signal n ended it, as shells do.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| signal.saturating_add(128)));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_a_shells() {
        struct Case {
            name: &'static str,
            /// As wait(2) gives it: code in the second byte, signal in the first seven bits, core flag 0x80.
            given: i32,
            want: u8,
        }
        let cases = [
            Case {
                name: "success",
                given: 0,
                want: 0,
            },
            Case {
                name: "a code",
                given: 3 << 8,
                want: 3,
            },
            Case {
                name: "the highest code",
                given: 255 << 8,
                want: 255,
            },
            Case {
                name: "SIGTERM",
                given: 15,
                want: 143,
            },
            Case {
                name: "SIGKILL",
                given: 9,
                want: 137,
            },
            Case {
                name: "SIGSEGV with a core",
                given: 11 | 0x80,
                want: 139,
            },
        ];
        for case in cases {
            assert_eq!(
                exit_code(ExitStatus::from_raw(case.given)),
                case.want,
                "{}",
                case.name
            );
        }
    }
}
