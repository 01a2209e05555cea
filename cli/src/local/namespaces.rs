//! Leaving for namespaces of our own, and saying what forbids it.

use std::fmt::Write as _;
use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use rustix::process::{getegid, geteuid};

use super::inner::SetUpError;

/// What is left behind besides the user namespace. CLONE_NEWPID and CLONE_NEWIPC join here once the inner process
/// has a child to be the first of a PID namespace.
const OWN: CloneFlags = CloneFlags::CLONE_NEWNET.union(CloneFlags::CLONE_NEWNS);

/// Enters a user namespace in which our own ids are the only ones, then network and mount namespaces owned by it.
///
/// The user namespace comes first and alone: some distributions allow it to everybody and only withhold its
/// capabilities, which then shows in the second step.
pub(super) fn enter() -> Result<(), SetUpError> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let forbidden = |step, error: io::Error| {
        SetUpError::Forbidden(explain(step, &error, user, &read_settings()))
    };
    let unshared = |flags| unshare(flags).map_err(io::Error::from);
    unshared(CloneFlags::CLONE_NEWUSER)
        .map_err(|error| forbidden("make a user namespace", error))?;
    map_ids(user, group).map_err(|error| forbidden("map its ids", error))?;
    unshared(OWN).map_err(|error| forbidden("make a network and a mount namespace", error))
}

/// Maps the one user and group to themselves. `deny` before the group map is what lets an ordinary user write it
/// (user_namespaces(7)).
fn map_ids(user: u32, group: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// A kernel setting that can forbid what we need.
struct Setting {
    name: &'static str,
    /// The value that forbids.
    forbids: &'static str,
    remedy: &'static str,
}

const SETTINGS: [Setting; 4] = [
    Setting {
        name: "kernel.unprivileged_userns_clone",
        forbids: "0",
        remedy: "`sudo sysctl -w kernel.unprivileged_userns_clone=1`",
    },
    Setting {
        name: "user.max_user_namespaces",
        forbids: "0",
        remedy: "`sudo sysctl -w user.max_user_namespaces=15000`",
    },
    Setting {
        name: "user.max_net_namespaces",
        forbids: "0",
        remedy: "`sudo sysctl -w user.max_net_namespaces=15000`",
    },
    Setting {
        name: "kernel.apparmor_restrict_unprivileged_userns",
        forbids: "1",
        remedy: "an AppArmor profile for actpass with the rule `userns,`, or \
                 `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`",
    },
];

/// The settings' values, without those that this kernel does not have.
fn read_settings() -> Vec<(&'static Setting, String)> {
    let read = |setting: &'static Setting| {
        let path = format!("/proc/sys/{}", setting.name.replace('.', "/"));
        Some((setting, fs::read_to_string(path).ok()?.trim().to_owned()))
    };
    SETTINGS.iter().filter_map(read).collect()
}

/// What to tell the person: which step failed, what the settings are, and what to change.
fn explain(step: &str, error: &io::Error, user: u32, settings: &[(&Setting, String)]) -> String {
    let mut text = format!(
        "the kernel does not let user {user} {step} ({error}), and without one nothing keeps the command inside"
    );
    let guilty: Vec<_> = settings
        .iter()
        .filter(|(setting, value)| setting.forbids == value)
        .collect();
    for (setting, value) in &guilty {
        // Writing to a String cannot fail.
        write!(
            text,
            "; {} is {value}: change it by {}",
            setting.name, setting.remedy
        )
        .ok();
    }
    if guilty.is_empty() {
        for (setting, value) in settings {
            write!(text, "; {} is {value}", setting.name).ok();
        }
        text.push_str(
            "; none of these forbids it, so a container's seccomp profile or a security module does: \
             in Docker, `--security-opt seccomp=unconfined --security-opt apparmor=unconfined` or a profile \
             that allows `unshare` and `mount`",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanation_names_the_setting_that_forbids() {
        struct Case {
            name: &'static str,
            given: Vec<(&'static Setting, String)>,
            want: (&'static [&'static str], &'static [&'static str]),
        }
        let at = |index: usize, value: &str| (&SETTINGS[index], value.to_owned());
        let cases = [
            Case {
                name: "Debian's",
                given: vec![at(0, "0"), at(1, "63000")],
                want: (
                    &["kernel.unprivileged_userns_clone is 0", "userns_clone=1`"],
                    &["max_user", "seccomp"],
                ),
            },
            Case {
                name: "a limit of none",
                given: vec![at(1, "0")],
                want: (
                    &["user.max_user_namespaces is 0"],
                    &["unprivileged_userns_clone", "seccomp"],
                ),
            },
            Case {
                name: "Ubuntu's",
                given: vec![at(1, "63000"), at(3, "1")],
                want: (
                    &["apparmor_restrict_unprivileged_userns is 1", "`userns,`"],
                    &["seccomp"],
                ),
            },
            Case {
                name: "nothing known forbids it",
                given: vec![at(1, "63000"), at(3, "0")],
                want: (
                    &["user.max_user_namespaces is 63000", "seccomp"],
                    &["change it"],
                ),
            },
        ];
        for case in cases {
            let error = io::Error::from_raw_os_error(1);
            let text = explain("make a user namespace", &error, 1000, &case.given);
            assert!(text.starts_with(
                "the kernel does not let user 1000 make a user namespace (Operation not"
            ));
            for wanted in case.want.0 {
                assert!(
                    text.contains(wanted),
                    "{}: `{wanted}` in `{text}`",
                    case.name
                );
            }
            for unwanted in case.want.1 {
                assert!(
                    !text.contains(unwanted),
                    "{}: no `{unwanted}` in `{text}`",
                    case.name
                );
            }
        }
    }
}
