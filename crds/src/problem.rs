//! Mistakes in manifests: one line each, with the place and what would be right.

use actpass_core::canonical::excerpt;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, or what else the resource came from.
    pub file: String,
    /// Line, from 1; 0 where the resource came without places.
    pub line: usize,
    /// Column, from 1; it orders the mistakes of one line.
    pub column: usize,
    /// The resource, as `Passport/agent`, or as much of that as could be read; empty where the mistake is the file's.
    pub resource: String,
    /// The field, as `spec.rules[2].name`; empty where the mistake is the resource's or the file's.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What would be right; empty where the message says it.
    pub help: String,
    /// Whether nothing can start with it.
    pub severity: Severity,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing starts.
    Error,
    /// Probably not what is meant.
    Warning,
}

impl Problem {
    /// Whether nothing can start with it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// What is wrong, and behind it what would be right.
    pub fn text(&self) -> String {
        let (message, help) = (one_line(&self.message), one_line(&self.help));
        if help.is_empty() {
            message
        } else {
            format!("{message}; {help}")
        }
    }
}

/// `FILE:LINE: KIND/NAME: FIELD: MESSAGE; HELP`, on one line whatever the file holds.
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&one_line(&self.file))?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        f.write_str(": ")?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        for part in [&self.resource, &self.field] {
            if !part.is_empty() {
                write!(f, "{}: ", one_line(part))?;
            }
        }
        f.write_str(&self.text())
    }
}

/// What is said of a mistake: the message, and the help behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) message: String,
    pub(crate) help: String,
}

impl Said {
    /// With what would be right.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self {
            help: help.into(),
            ..self
        }
    }

    /// With a name that was probably meant, if there is one.
    pub(crate) fn meant(self, name: Option<&str>) -> Self {
        match name {
            Some(name) => self.help(format!("did you mean `{}`?", excerpt(name))),
            None => self,
        }
    }
}

impl From<String> for Said {
    fn from(message: String) -> Self {
        Self {
            message,
            help: String::new(),
        }
    }
}

impl From<&str> for Said {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

/// `a`, `b` and `c`.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    let mut names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.pop() {
        None => String::new(),
        Some(only) if names.is_empty() => only,
        Some(end) => format!("{} {last} {end}", names.join(", ")),
    }
}

/// Text without control characters, so that no file writes lines or escapes of its own into a terminal.
fn one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char.is_control()
            || matches!(char, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            true => shown.extend(char.escape_default()),
            false => shown.push(char),
        }
    }
    shown
}
