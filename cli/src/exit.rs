//! How commands end, as scripts see it.

use std::process::ExitCode;

use actpass_core::verify::Class;

use crate::local::EXIT_OURS;

/// The end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done, and nothing is wrong.
    Ok,
    /// 1: it failed, or was asked in a way it does not understand, or (`check`, `doctor`) found something to mend.
    Failure,
    /// 2: denied, or the evidence is incomplete.
    Incomplete,
    /// 3: the evidence is not what was recorded.
    Invalid,
    /// 125: `actpass run` could not do its own part.
    Ours,
    /// Under `actpass run` the command's own code, 128 and its signal's number, or 126 and 127 as of a shell.
    Command(u8),
}

impl Exit {
    /// The code the process ends with.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Incomplete => 2,
            Self::Invalid => 3,
            Self::Ours => EXIT_OURS,
            Self::Command(code) => code,
        }
    }
}

impl From<Class> for Exit {
    fn from(class: Class) -> Self {
        match class {
            Class::Valid => Self::Ok,
            Class::Incomplete => Self::Incomplete,
            Class::Invalid => Self::Invalid,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_scripts_know() {
        let cases = [
            (Exit::Ok, 0),
            (Exit::Failure, 1),
            (Exit::Incomplete, 2),
            (Exit::Invalid, 3),
            (Exit::Ours, 125),
            (Exit::Command(42), 42),
            (Exit::from(Class::Valid), 0),
            (Exit::from(Class::Incomplete), 2),
            (Exit::from(Class::Invalid), 3),
        ];
        for (exit, code) in cases {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
