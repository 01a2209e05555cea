//! Becoming the command.

use std::env;
use std::ffi::{OsStr, OsString};
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
    let error = match nowhere(program, plan.env.iter()) {
        true => rustix::io::Errno::NOENT.into(),
        false => error,
    };
    (
        code_of(&error),
        format!("cannot run `{}`: {error}", program.to_string_lossy()),
    )
}

/// Whether no directory of `PATH` that we may look into holds `program`: execvp(3) says "permission denied" for those that
/// we may not, a shell does not.
fn nowhere<'a>(program: &OsStr, mut env: impl Iterator<Item = &'a (OsString, OsString)>) -> bool {
    if program.as_encoded_bytes().contains(&b'/') {
        return false;
    }
    env.find(|(name, _)| name == "PATH")
        .is_some_and(|(_, path)| env::split_paths(path).all(|dir| !dir.join(program).exists()))
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
    fn a_program_in_no_directory_of_the_path_is_not_found() {
        let env = [("PATH".into(), "/nowhere:/bin".into())];
        let cases = [
            ("sh", false),
            ("no-such-program", true),
            ("./no-such-program", false),
            ("/bin/no-such-program", false),
        ];
        for (program, want) in cases {
            assert_eq!(nowhere(program.as_ref(), env.iter()), want, "{program}");
        }
        assert!(
            !nowhere("sh".as_ref(), [].iter()),
            "without a PATH the C library has its own"
        );
    }

    #[test]
    fn codes_are_a_shells() {
        assert_eq!(code_of(&io::Error::from_raw_os_error(2)), 127, "ENOENT");
        assert_eq!(code_of(&io::Error::from_raw_os_error(13)), 126, "EACCES");
        assert_eq!(code_of(&io::Error::from_raw_os_error(8)), 126, "ENOEXEC");
        assert_eq!(code_of(&io::Error::from_raw_os_error(20)), 126, "ENOTDIR");
    }
}
