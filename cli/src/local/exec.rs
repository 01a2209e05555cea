//! Becoming the command.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::EXIT_OURS;
use super::plan::Plan;

/// Exit code of a command that was found and cannot be run (POSIX shell, 2.8.2).
const EXIT_NOT_EXECUTABLE: u8 = 126;

/// Exit code of a command that was not found.
const EXIT_NOT_FOUND: u8 = 127;

/// Replaces this process by the plan's command. Returns only on failure: the exit code, and a line to show.
pub(super) fn become_command(plan: &Plan) -> (u8, String) {
    let Some((program, arguments)) = plan.command.split_first() else {
        return (EXIT_OURS, "no command was given".to_owned());
    };
    // Descriptors that whoever called us left open would be ways out; the command gets 0, 1 and 2.
    close_fds::set_fds_cloexec(3, &[]);
    let environment = plan.env.iter().map(|(name, value)| (name, value));
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .exec();
    (
        code_of(&error),
        format!("cannot run `{}`: {error}", program.to_string_lossy()),
    )
}

fn code_of(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => EXIT_NOT_FOUND,
        _ => EXIT_NOT_EXECUTABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_a_shells() {
        assert_eq!(code_of(&io::Error::from_raw_os_error(2)), 127, "ENOENT");
        assert_eq!(code_of(&io::Error::from_raw_os_error(13)), 126, "EACCES");
        assert_eq!(code_of(&io::Error::from_raw_os_error(8)), 126, "ENOEXEC");
        assert_eq!(code_of(&io::Error::from_raw_os_error(20)), 126, "ENOTDIR");
    }
}
