//! Giving up every privilege for good, and proving it.

use std::fs;
use std::io;

use caps::CapSet;
use caps::errors::CapsError;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::set_no_new_privs;

use super::syscalls;

/// Empties all five capability sets, forbids gaining privileges by exec, refuses sockets that no namespace holds, and
/// ties our life to our parent's.
///
/// The bounding set goes first, since emptying it takes a capability; it is what keeps a command that runs as root
/// from having all others back at exec. The parent-death signal comes last, because the kernel clears it when
/// credentials change (prctl(2), PR_SET_PDEATHSIG).
pub(super) fn give_up() -> io::Result<()> {
    for set in [
        CapSet::Bounding,
        CapSet::Ambient,
        CapSet::Effective,
        CapSet::Permitted,
        CapSet::Inheritable,
    ] {
        caps::clear(None, set).map_err(|error: CapsError| {
            io::Error::other(format!("empty the {set:?} set: {error}"))
        })?;
    }
    set_no_new_privs(true)?;
    syscalls::refuse()?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    check(&fs::read_to_string("/proc/self/status")?)
}

/// Whether a process with this `/proc/PID/status` holds no privilege and can gain none. The kernel's word counts, as
/// it may know capabilities that our library does not.
fn check(status: &str) -> io::Result<()> {
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let value = value_of(status, field);
        if !value.is_some_and(|value| !value.is_empty() && value.bytes().all(|digit| digit == b'0'))
        {
            return Err(still_there(field, value));
        }
    }
    match value_of(status, "NoNewPrivs") {
        Some("1") => Ok(()),
        value => Err(still_there("NoNewPrivs", value)),
    }
}

fn value_of<'a>(status: &'a str, field: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .map(str::trim)
}

fn still_there(field: &str, value: Option<&str>) -> io::Error {
    io::Error::other(format!(
        "privileges remain: {field} is `{}`",
        value.unwrap_or("missing")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_privilege_left_is_found() {
        struct Case {
            name: &'static str,
            given: (&'static str, &'static str),
            want: bool,
        }
        let none = "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
                    CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";
        let cases = [
            Case {
                name: "nothing left",
                given: ("", ""),
                want: true,
            },
            Case {
                name: "a capability after exec",
                given: ("Bnd:\t00", "Bnd:\t10"),
                want: false,
            },
            Case {
                name: "a capability now",
                given: ("Eff:\t0000000000000000", "Eff:\t0000000000000001"),
                want: false,
            },
            Case {
                name: "a set missing",
                given: ("CapAmb", "CapXyz"),
                want: false,
            },
            Case {
                name: "an empty value",
                given: ("Inh:\t0000000000000000", "Inh:\t"),
                want: false,
            },
            Case {
                name: "setuid programs work",
                given: ("Privs:\t1", "Privs:\t0"),
                want: false,
            },
        ];
        for case in cases {
            let status = none.replace(case.given.0, case.given.1);
            assert_eq!(check(&status).is_ok(), case.want, "{}", case.name);
        }
    }
}
