//! What the machine must let us do.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Finding, chain};
use crate::local;
use crate::state::StateDir;

/// Least room that is no problem: the segment in use and the one ahead have 4 MiB each, and 16 times that is a start.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// Tries to make the namespaces of local mode, in a process of its own.
pub(super) fn namespaces() -> Finding {
    const CHECK: &str = "namespaces";
    let tried = Command::new("/proc/self/exe")
        .arg(local::TRY)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    match tried {
        Ok(tried) if tried.status.success() => Finding::ok(
            CHECK,
            "user, network and mount namespaces can be made without root",
        ),
        // It names the setting and the command that changes it.
        Ok(tried) => Finding::problem(
            CHECK,
            String::from_utf8_lossy(&tried.stderr).trim(),
            "until that is changed, `actpass run` starts nothing here".to_owned(),
        ),
        Err(error) => Finding::problem(CHECK, format!("they cannot be tried: {error}"), None),
    }
}

/// The resolver that the host's own lookups of upstreams go to.
pub(super) fn resolver() -> Finding {
    const CHECK: &str = "resolver";
    const FILE: &str = "/etc/resolv.conf";
    let names_server = |text: &str| {
        let mut lines = text.lines().map(str::trim_start);
        lines.any(|line| line.starts_with("nameserver"))
    };
    match std::fs::read_to_string(FILE) {
        Ok(text) if names_server(&text) => {
            Finding::ok(CHECK, format!("{FILE} names a name server"))
        }
        Ok(_) => Finding::note(
            CHECK,
            format!("{FILE} names no name server, so only names of /etc/hosts are found"),
        ),
        Err(error) => Finding::problem(
            CHECK,
            format!("{FILE} cannot be read: {error}"),
            "upstreams are looked up by it".to_owned(),
        ),
    }
}

/// Room for the log.
pub(super) fn disk(state: &StateDir) -> Finding {
    const CHECK: &str = "disk";
    let Some(dir) = existing(state.path()) else {
        return Finding::note(CHECK, "there is no directory to look at");
    };
    match rustix::fs::statvfs(dir) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let says = format!("{} MiB free at `{}`", free >> 20, dir.display());
            if found.f_files > 0 && found.f_favail == 0 {
                let remedy = "remove files: without inodes no segment can be made".to_owned();
                Finding::problem(
                    CHECK,
                    format!("no inode free at `{}`", dir.display()),
                    remedy,
                )
            } else if free < FREE_BYTES_MIN {
                let remedy =
                    "free some room: a log without room denies every write until there is some"
                        .to_owned();
                Finding::problem(CHECK, says, remedy)
            } else {
                Finding::ok(CHECK, says)
            }
        }
        Err(error) => Finding::problem(CHECK, chain(std::io::Error::from(error)), None),
    }
}

/// The directory, or the nearest one above it that exists.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors()
        .filter(|dir| !dir.as_os_str().is_empty())
        .find(|dir| dir.is_dir())
}
