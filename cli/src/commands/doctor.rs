//! `actpass doctor`: what is wrong here and what to do about it. It looks and changes nothing.

mod log;
mod machine;
mod policy;
mod state;

use serde::Serialize;

use super::show::{self, Paint, Tone, escaped};
use crate::args::DoctorArgs;
use crate::exit::Exit;
use crate::state::StateDir;

/// What one check found.
#[derive(Debug, Serialize)]
struct Finding {
    /// What was looked at.
    check: &'static str,
    state: State,
    /// What was found.
    says: String,
    /// What to do about it.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    /// Nothing wrong, but worth knowing.
    Note,
    Problem,
}

impl Finding {
    fn ok(check: &'static str, says: impl Into<String>) -> Self {
        let (state, says) = (State::Ok, says.into());
        Self {
            check,
            state,
            says,
            remedy: None,
        }
    }

    fn note(check: &'static str, says: impl Into<String>) -> Self {
        let (state, says) = (State::Note, says.into());
        Self {
            check,
            state,
            says,
            remedy: None,
        }
    }

    fn problem(
        check: &'static str,
        says: impl Into<String>,
        remedy: impl Into<Option<String>>,
    ) -> Self {
        let (state, says) = (State::Problem, says.into());
        Self {
            check,
            state,
            says,
            remedy: remedy.into(),
        }
    }

    /// Two lines at most.
    fn text(&self, paint: Paint) -> String {
        let (tone, word) = match self.state {
            State::Ok => (Tone::Good, "ok"),
            State::Note => (Tone::Doubtful, "note"),
            State::Problem => (Tone::Bad, "PROBLEM"),
        };
        let word = paint.paint(tone, &format!("{word:<8}"));
        let mut text = format!("{word} {:<12} {}", self.check, escaped(&self.says));
        if let Some(remedy) = &self.remedy {
            text.push_str(&format!("\n{:21} -> {}", "", escaped(remedy)));
        }
        text
    }
}

/// Runs all checks.
pub(crate) fn doctor(args: &DoctorArgs, state: &StateDir, json: bool) -> anyhow::Result<Exit> {
    let mut findings = vec![machine::namespaces(), machine::resolver()];
    findings.extend(state::directory(state));
    findings.extend(log::log(state));
    findings.push(machine::disk(state));
    if !args.files.is_empty() || args.catalog {
        findings.extend(policy::policy(args, state));
    }
    let problems = findings
        .iter()
        .filter(|finding| finding.state == State::Problem)
        .count();
    if json {
        show::json(&findings)?;
    } else {
        let paint = Paint::of_stdout();
        let mut lines: Vec<String> = findings.iter().map(|finding| finding.text(paint)).collect();
        lines.push(match problems {
            0 => "nothing is wrong".to_owned(),
            1 => "1 problem".to_owned(),
            more => format!("{more} problems"),
        });
        show::line(&lines.join("\n"))?;
    }
    Ok(match problems {
        0 => Exit::Ok,
        _ => Exit::Failure,
    })
}

/// An error with its causes, in one line.
fn chain(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}
