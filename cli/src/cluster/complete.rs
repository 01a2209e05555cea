//! Completions of `kubectl actpass`: kubectl runs `kubectl_complete-actpass` with what was typed, and shows each line that it
//! prints; the last one says how (`:4`: nothing of files).

use std::ffi::{OsStr, OsString};

use clap::{Command, CommandFactory};

use super::args::Plugin;
use crate::commands::show;
use crate::exit::Exit;

/// Name of the program that kubectl looks for.
pub(super) const COMPLETE: &str = "kubectl_complete-actpass";

/// What kubectl makes of the lines: no names of files, and those of files.
const NO_FILES: &str = ":4";
const FILES: &str = ":0";

/// Prints what may stand where the cursor is.
pub(crate) fn complete(args: impl IntoIterator<Item = OsString>) -> anyhow::Result<Exit> {
    let words: Vec<String> = (args.into_iter())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    show::line(&candidates(&words).join("\n"))?;
    Ok(Exit::Ok)
}

/// The candidates for the last word, each with a tab and what it means; last how they are to be shown.
fn candidates(words: &[String]) -> Vec<String> {
    let mut plugin = Plugin::command();
    plugin.build();
    let (typed, before) = match words.split_last() {
        Some((typed, before)) => (typed.as_str(), before),
        None => ("", words),
    };
    let mut command = &plugin;
    for word in before {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    let mut found = match before.last().and_then(|flag| values(command, flag)) {
        Some(Values::Some(values)) => values,
        Some(Values::File) => return vec![FILES.to_owned()],
        None if typed.starts_with('-') => flags(command),
        None => commands(command),
    };
    found.retain(|line| line.starts_with(typed));
    found.push(NO_FILES.to_owned());
    found
}

/// What may follow a flag that takes a value.
enum Values {
    Some(Vec<String>),
    File,
}

fn values(command: &Command, flag: &str) -> Option<Values> {
    let name = flag.strip_prefix("--");
    let short = flag.strip_prefix('-').filter(|it| it.len() == 1);
    let short = short.and_then(|it| it.chars().next());
    let mut args = command.get_arguments();
    let arg = args.find(|arg| {
        (name.is_some() && arg.get_long() == name) || (short.is_some() && arg.get_short() == short)
    })?;
    if !arg.get_action().takes_values() {
        return None;
    }
    let possible = arg.get_possible_values();
    let is_file =
        (arg.get_value_names().into_iter().flatten()).any(|name| name == "FILE" || name == "PATH");
    Some(match is_file {
        true => Values::File,
        false => Values::Some(
            possible
                .iter()
                .map(|value| described(value.get_name(), value.get_help().map(ToString::to_string)))
                .collect(),
        ),
    })
}

fn flags(command: &Command) -> Vec<String> {
    let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
    flags
        .filter_map(|arg| {
            let help = arg.get_help().map(ToString::to_string);
            Some(described(&format!("--{}", arg.get_long()?), help))
        })
        .collect()
}

fn commands(command: &Command) -> Vec<String> {
    let commands = command.get_subcommands().filter(|it| !it.is_hide_set());
    commands
        .map(|it| described(it.get_name(), it.get_about().map(ToString::to_string)))
        .collect()
}

fn described(word: &str, help: Option<String>) -> String {
    match help {
        Some(help) => format!("{word}\t{}", help.lines().next().unwrap_or_default()),
        None => word.to_owned(),
    }
}

/// Whether the program was called to complete.
pub(super) fn is_complete(name: &OsStr) -> bool {
    name == COMPLETE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_stand_at_the_cursor_is_completed() {
        struct Case {
            given: &'static [&'static str],
            has: &'static [&'static str],
            lacks: &'static [&'static str],
        }
        let cases = [
            Case {
                given: &[""],
                has: &["events", "onboard", "credentials", ":4"],
                lacks: &["--since"],
            },
            Case {
                given: &["ev"],
                has: &["events", ":4"],
                lacks: &["onboard"],
            },
            Case {
                given: &["events", "--"],
                has: &["--since", "--follow", "--namespace", "--output"],
                lacks: &["events"],
            },
            Case {
                given: &["events", "-o", ""],
                has: &["jsonl", "table"],
                lacks: &["--since"],
            },
            Case {
                given: &["events", "--decision", "de"],
                has: &["deny"],
                lacks: &["permit"],
            },
            Case {
                given: &["-n", "shop", "credentials", "r"],
                has: &["rotate"],
                lacks: &["list"],
            },
            Case {
                given: &["export", "--to", ""],
                has: &[":0"],
                lacks: &[":4"],
            },
        ];
        for Case { given, has, lacks } in cases {
            let words: Vec<String> = given.iter().map(|&word| word.to_owned()).collect();
            let found = candidates(&words);
            let found: Vec<&str> = found
                .iter()
                .filter_map(|it| it.split('\t').next())
                .collect();
            for word in has {
                assert!(found.contains(word), "{given:?}: {word} in {found:?}");
            }
            for word in lacks {
                assert!(!found.contains(word), "{given:?}: {word} in {found:?}");
            }
        }
    }
}
