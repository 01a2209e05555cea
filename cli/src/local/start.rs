//! The outer process' side: starts the inner process, takes its listeners, lets it go, waits for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, pidfd_open, pidfd_send_signal, setrlimit,
};
use tokio::sync::oneshot;

use super::INNER;
use super::plan::{ListenSpec, Plan};
use super::sockets::{self, Sockets};
use super::wire::{self, DESCRIPTORS_MAX, GO, RECEIVED, Report};

/// Longest silence of the inner process. Its steps take milliseconds each; a loaded machine gets thousandfold.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Descriptors wanted beside the listeners: connections on both sides, at most 256 each, files, the runtime.
const SPARE_WANTED: u64 = 1024;

/// Descriptors needed beside the listeners: about 30 for files and the runtime, 2 per connection of a small program.
const SPARE_NEEDED: u64 = 64;

/// Why no contained command was started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocalError {
    /// The kernel does not allow the namespaces; the text names the setting, its value and the remedy.
    #[error("{0}")]
    Forbidden(String),
    /// A step inside failed, or a self-check found a way out.
    #[error("the command was not started: {0}")]
    SetUp(String),
    /// The plan needs more descriptors than this process may open.
    #[error(
        "{listeners} listeners need more open files than the limit of {limit}; raise it with `ulimit -n`"
    )]
    OpenFiles {
        /// One per synthetic address and port.
        listeners: usize,
        /// The hard limit.
        limit: u64,
    },
    /// The inner process could not be started or spoken to.
    #[error("{step}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What failed.
        #[source]
        source: io::Error,
    },
}

/// A command in its containment, not running yet.
pub(crate) struct Contained {
    /// 127.0.0.1:53 inside, where the plan asks for it: UDP and TCP, non-blocking.
    pub(crate) dns: Option<(std::net::UdpSocket, std::net::TcpListener)>,
    /// The plan's listeners in its order, non-blocking. An accepted connection's local address is the one dialled.
    pub(crate) listeners: Vec<(ListenSpec, std::net::TcpListener)>,
    /// Lets the command start.
    pub(crate) held: Held,
}

/// Holds the command back. Dropping it ends the inner process.
pub(crate) struct Held {
    control: UnixStream,
    running: Running,
}

/// The started command. Dropping it kills and reaps the process, if it still runs.
pub(crate) struct Running {
    pidfd: OwnedFd,
    /// The thread that started the process and waits for its end. The kernel sends the parent-death signal when that
    /// *thread* ends, not the process, so it must not be one of a runtime's workers.
    keeper: Option<JoinHandle<()>>,
    ended: oneshot::Receiver<io::Result<ExitStatus>>,
    status: Option<ExitStatus>,
}

/// Starts the inner process and waits until it is contained. Blocks, well below a second; may be called from any
/// thread.
///
/// # Errors
/// See [`LocalError`]. Nothing of the command has run then, and no process is left.
pub(crate) fn start(plan: &Plan) -> Result<Contained, LocalError> {
    for dir in &plan.dirs {
        std::fs::create_dir_all(&dir.target).map_err(during("make a directory to cover"))?;
    }
    let (control, inner) = UnixStream::pair().map_err(during("make the control socket"))?;
    control
        .set_read_timeout(Some(SILENCE_MAX))
        .map_err(during("make the control socket"))?;
    let running = Running::spawn(inner).map_err(during("start the inner process"))?;
    // Only now, so that the command keeps the limit its user gave it.
    make_room(plan.listeners.len())?;
    no_core_dump().map_err(during("give up core dumps"))?;
    wire::send_frame(&control, plan)
        .and_then(|()| wire::send_descriptors(&control, &[io::stdin().as_fd()]))
        .map_err(during("send the plan to the inner process"))?;
    let descriptors = collect(&control)?;
    let Sockets { dns, listeners } =
        sockets::assign(plan, descriptors).map_err(during("take the listeners"))?;
    Ok(Contained {
        dns,
        listeners,
        held: Held { control, running },
    })
}

/// Takes what the inner process passes out until it says that it is ready.
fn collect(control: &UnixStream) -> Result<Vec<OwnedFd>, LocalError> {
    let mut descriptors = Vec::new();
    loop {
        let lost = during("hear from the inner process");
        match wire::receive_frame(control).map_err(&lost)? {
            Report::Descriptors(count) if count <= DESCRIPTORS_MAX => {
                descriptors.extend(wire::receive_descriptors(control, count).map_err(&lost)?);
                wire::send_byte(control, RECEIVED).map_err(&lost)?;
            }
            Report::Descriptors(_) => {
                return Err(lost(io::Error::other("too many descriptors at once")));
            }
            Report::Ready => return Ok(descriptors),
            Report::Failed {
                forbidden: true,
                text,
            } => return Err(LocalError::Forbidden(text)),
            Report::Failed {
                forbidden: false,
                text,
            } => return Err(LocalError::SetUp(text)),
        }
    }
}

/// Raises our own limit of open files as far as the listeners need and the hard limit allows.
fn make_room(listeners: usize) -> Result<(), LocalError> {
    let count = u64::try_from(listeners).unwrap_or(u64::MAX);
    let mut limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(u64::MAX);
    if maximum < count.saturating_add(SPARE_NEEDED) {
        return Err(LocalError::OpenFiles {
            listeners,
            limit: maximum,
        });
    }
    let wanted = maximum.min(count.saturating_add(SPARE_WANTED));
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    limit.current = Some(wanted);
    setrlimit(Resource::Nofile, limit)
        .map_err(|errno| during("raise the limit of open files")(errno.into()))
}

/// Forbids itself core dumps, for good: what holds secrets must not be made to write them down by a signal.
fn no_core_dump() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    Ok(setrlimit(Resource::Core, none)?)
}

impl Held {
    /// The process that becomes the command.
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// Lets the command start. Call it once the listeners are served.
    ///
    /// # Errors
    /// The inner process is gone.
    pub(crate) fn go(self) -> Result<Running, LocalError> {
        wire::send_byte(&self.control, GO).map_err(during("let the command start"))?;
        Ok(self.running)
    }
}

impl Running {
    fn spawn(control: UnixStream) -> io::Result<Running> {
        let (started, starts) = mpsc::channel();
        let (ends, ended) = oneshot::channel();
        let keep = move || match spawn_inner(control) {
            Ok((mut child, pidfd)) => {
                // Failing to send means that nobody waits any more.
                started.send(Ok(pidfd)).ok();
                ends.send(child.wait()).ok();
            }
            Err(error) => {
                started.send(Err(error)).ok();
            }
        };
        let keeper = thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(keep)?;
        let pidfd = starts.recv().map_err(io::Error::other)??;
        Ok(Running {
            pidfd,
            keeper: Some(keeper),
            ended,
            status: None,
        })
    }

    /// A descriptor of the process, which cannot come to mean another one.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Waits for the command to end. Cancelling the wait changes nothing, and it can be repeated.
    ///
    /// # Errors
    /// The process was reaped by somebody else.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let status = (&mut self.ended).await.map_err(io::Error::other)??;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Does nothing to a process that has ended: a descriptor never comes to mean another one.
        pidfd_send_signal(self.pidfd(), Signal::KILL).ok();
        if let Some(keeper) = self.keeper.take() {
            keeper.join().ok();
        }
    }
}

/// Starts this program again, with `control` as its standard input.
fn spawn_inner(control: UnixStream) -> io::Result<(Child, OwnedFd)> {
    let mut command = Command::new("/proc/self/exe");
    let mut child = command
        .arg0("actpass")
        .arg(INNER)
        .stdin(OwnedFd::from(control))
        .spawn()?;
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(Errno::SRCH);
    match pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty())) {
        Ok(pidfd) => Ok((child, pidfd)),
        Err(errno) => {
            child.kill()?;
            child.wait()?;
            Err(errno.into())
        }
    }
}

fn during(step: &'static str) -> impl Fn(io::Error) -> LocalError {
    move |source| LocalError::Io { step, source }
}
