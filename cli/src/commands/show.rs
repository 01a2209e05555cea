//! How results are shown. Nothing an agent wrote can move the cursor, hide or look like ours, in text and in JSON;
//! colours are for terminals only; a reader that has seen enough ends a command quietly.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Text in which what a terminal does not show as itself stands as escapes, and runs of blanks as their number: with
/// enough of them a text could push what follows to the start of a line.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if is_hidden(character) {
            shown.extend(character.escape_unicode());
            continue;
        }
        let mut run = 1_u32;
        while character == ' ' && characters.next_if_eq(&' ').is_some() {
            run += 1;
        }
        match run {
            1 => shown.push(character),
            run => shown.push_str(&format!(" [{run} blanks] ")),
        }
    }
    shown
}

/// Escaped text cut to at most so many characters of the original.
pub(crate) fn short(text: &str, characters: usize) -> String {
    let mut rest = text.chars();
    let kept: String = rest.by_ref().take(characters).collect();
    let cut = if rest.next().is_some() { "…" } else { "" };
    format!("{}{cut}", escaped(&kept))
}

/// Columns of the terminal, or 80 where there is none.
pub(crate) fn columns() -> usize {
    Table::new().width().map_or(80, usize::from)
}

/// Escaped text in lines of at most so many columns, broken at blanks where there are some.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let (mut lines, mut line, mut width) = (Vec::new(), String::new(), 0);
    for word in text.split_inclusive(' ') {
        if width > 0 && width + word.trim_end().width() > columns {
            lines.push(line.trim_end().to_owned());
            (line, width) = (String::new(), 0);
        }
        for character in word.chars() {
            let wide = character.width().unwrap_or(0);
            if width + wide > columns {
                lines.push(std::mem::take(&mut line));
                width = 0;
            }
            line.push(character);
            width += wide;
        }
    }
    lines.push(line);
    lines
}

/// JSON text in which the same characters stand as JSON's own escapes, so that its meaning stays.
pub(crate) fn escaped_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        // A line end cannot be inside a JSON string, so it is layout.
        if is_hidden(character) && character != '\n' {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether a terminal shows nothing, a blank or something else than the character: by its general category
/// (Unicode Standard Annex #44), or because it is a letter or a mark without a shape.
fn is_hidden(character: char) -> bool {
    match character.general_category() {
        GeneralCategory::Control
        | GeneralCategory::Format
        | GeneralCategory::PrivateUse
        | GeneralCategory::Surrogate
        | GeneralCategory::Unassigned
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator => true,
        GeneralCategory::SpaceSeparator => character != ' ',
        _ => matches!(character,
            // Grapheme joiner, fillers of Hangul and Khmer, the blank of Braille, variation selectors.
            '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}'
            | '\u{180b}'..='\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'),
    }
}

/// A plain table with the given head.
pub(crate) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        // Ids are copied from here, so no line is broken.
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head);
    table
}

/// Writes bytes to standard output.
pub(crate) fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()?;
    Ok(())
}

/// Writes one line, or several, to standard output.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Writes a value as indented JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    line(&escaped_json(&serde_json::to_string_pretty(value)?))
}

/// Whether nobody reads our output any more, known without writing to it: the other end of a pipe is closed.
pub(crate) fn reader_gone() -> bool {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let polled = poll(&mut watched, Some(&Timespec::default()));
    let [watched] = &watched;
    polled.is_ok() && watched.revents().contains(PollFlags::ERR)
}

/// Whether an error is that nobody reads our output any more.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Paints words where standard output is a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

/// What a word means to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Doubtful,
    Bad,
    Plain,
}

impl Paint {
    /// Paints nothing.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self(false)
    }

    pub(crate) fn of_stdout() -> Self {
        Self(coloured(io::stdout().is_terminal()))
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let colour = match tone {
            Tone::Good => AnsiColor::Green,
            Tone::Doubtful => AnsiColor::Yellow,
            Tone::Bad => AnsiColor::Red,
            Tone::Plain => return text.to_owned(),
        };
        if !self.0 {
            return text.to_owned();
        }
        let style = Style::new().fg_color(Some(colour.into()));
        format!("{style}{text}{style:#}")
    }
}

/// Whether colours are wanted: on a terminal that has them, unless `NO_COLOR` says otherwise (no-color.org).
pub(crate) fn coloured(terminal: bool) -> bool {
    let (no_color, term) = (std::env::var_os("NO_COLOR"), std::env::var_os("TERM"));
    wants_colour(terminal, no_color.as_deref(), term.as_deref())
}

fn wants_colour(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal
        && no_color.is_none_or(OsStr::is_empty)
        && term.is_some_and(|term| !term.is_empty() && term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_an_agent_cannot_pretend() {
        let cases = [
            ("plain ü €", "plain ü €", "plain ü €"),
            (
                "a\nApproved by root",
                "a\\u{a}Approved by root",
                "a\nApproved by root",
            ),
            ("\u{1b}[2K", "\\u{1b}[2K", "\\u001b[2K"),
            ("\u{9b}2K", "\\u{9b}2K", "\\u009b2K"),
            ("1\u{202e}00", "1\\u{202e}00", "1\\u202e00"),
            ("a\u{200b}b", "a\\u{200b}b", "a\\u200bb"),
            ("a\u{ad}b", "a\\u{ad}b", "a\\u00adb"),
            ("a\u{e0041}b", "a\\u{e0041}b", "a\\udb40\\udc41b"),
            // Of every category that is not shown, and what looks like a blank or like nothing.
            ("\u{61c}\u{180e}", "\\u{61c}\\u{180e}", "\\u061c\\u180e"),
            ("\u{600}\u{fff9}", "\\u{600}\\u{fff9}", "\\u0600\\ufff9"),
            ("\u{e000}\u{378}", "\\u{e000}\\u{378}", "\\ue000\\u0378"),
            ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}", "\\u2028\\u2029"),
            ("\u{a0}\u{3000}", "\\u{a0}\\u{3000}", "\\u00a0\\u3000"),
            ("\u{3164}\u{2800}", "\\u{3164}\\u{2800}", "\\u3164\\u2800"),
            (
                "עברית 日本 e\u{301}",
                "עברית 日本 e\u{301}",
                "עברית 日本 e\u{301}",
            ),
            ("a b   c", "a b [3 blanks] c", "a b   c"),
        ];
        for (given, want, want_json) in cases {
            assert_eq!(escaped(given), want, "{given:?}");
            assert_eq!(escaped_json(given), want_json, "{given:?}");
        }
    }

    #[test]
    fn no_line_is_longer_than_asked_for() {
        struct Case {
            name: &'static str,
            given: (&'static str, usize),
            want: &'static [&'static str],
        }
        let cases = [
            Case {
                name: "short",
                given: ("due today", 9),
                want: &["due today"],
            },
            Case {
                name: "broken at blanks",
                given: ("due today or later", 10),
                want: &["due today", "or later"],
            },
            Case {
                name: "a word longer than a line",
                given: ("a bcdefghij", 4),
                want: &["a", "bcde", "fghi", "j"],
            },
            Case {
                name: "characters of two columns",
                given: ("日本語", 5),
                want: &["日本", "語"],
            },
            Case {
                name: "nothing",
                given: ("", 4),
                want: &[""],
            },
        ];
        for Case { name, given, want } in cases {
            assert_eq!(wrapped(given.0, given.1), want, "{name}");
        }
    }

    #[test]
    fn escapes_in_json_mean_the_same_text() {
        let text = "a\u{9b}\u{202e}\u{e0041}\"\\\n€";
        let json = serde_json::to_string(text).unwrap();
        let again: String = serde_json::from_str(&escaped_json(&json)).unwrap();
        assert_eq!(again, text);
    }

    #[test]
    fn colours_are_for_terminals_and_end_with_no_color() {
        struct Case {
            name: &'static str,
            given: (bool, Option<&'static str>, Option<&'static str>),
            want: bool,
        }
        let cases = [
            Case {
                name: "a terminal",
                given: (true, None, Some("xterm")),
                want: true,
            },
            Case {
                name: "a pipe",
                given: (false, None, Some("xterm")),
                want: false,
            },
            Case {
                name: "NO_COLOR",
                given: (true, Some("1"), Some("xterm")),
                want: false,
            },
            Case {
                name: "NO_COLOR without a value",
                given: (true, Some(""), Some("xterm")),
                want: true,
            },
            Case {
                name: "a dumb terminal",
                given: (true, None, Some("dumb")),
                want: false,
            },
            Case {
                name: "no terminal named",
                given: (true, None, None),
                want: false,
            },
        ];
        for Case { name, given, want } in cases {
            let (terminal, no_color, term) = given;
            let got = wants_colour(terminal, no_color.map(OsStr::new), term.map(OsStr::new));
            assert_eq!(got, want, "{name}");
        }
        assert_eq!(Paint(false).paint(Tone::Bad, "deny"), "deny");
        assert!(Paint(true).paint(Tone::Bad, "deny").contains("\u{1b}["));
    }
}
