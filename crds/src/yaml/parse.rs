//! From text to nodes, bounded in size and depth.

use actpass_core::canonical::excerpt;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::{DEPTH_MAX, Entry, FILE_BYTES_MAX, Node, Place, Scalar, Yaml, YamlError};
use crate::problem::Said;

/// Reads the documents of a file. One that is not YAML is an error, and reading goes on at the next `---`. Empty ones
/// are left out.
pub(crate) fn parse(text: &str) -> (Vec<Node>, Vec<YamlError>) {
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    if text.len() > FILE_BYTES_MAX {
        let said = format!(
            "the file has {} bytes, at most {FILE_BYTES_MAX} are read",
            text.len()
        );
        let place = Place { line: 1, column: 1 };
        let said = said.into();
        return (documents, vec![YamlError { place, said }]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(error) = unprintable(text) {
        return (documents, vec![error]);
    }
    let mut rest = text;
    let mut lines_before = 0;
    while let Err(error) = documents_of(rest, lines_before, &mut documents) {
        let behind = error.place.line - lines_before;
        errors.push(error);
        let Some((lines, next)) = next_document(rest, behind) else {
            break;
        };
        lines_before += lines;
        rest = next;
    }
    (documents, errors)
}

/// A character that YAML does not allow, or that ends a line or the whole file for some readers only: 1.1 knows more
/// line breaks than 1.2, and the parser takes NUL for the end.
fn unprintable(text: &str) -> Option<YamlError> {
    let odd = |char: char| {
        (char.is_control() && !matches!(char, '\t' | '\n' | '\r'))
            || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}')
    };
    let (index, line) = text
        .lines()
        .enumerate()
        .find(|(_, line)| line.contains(odd))?;
    let (column, char) = line.chars().enumerate().find(|(_, char)| odd(*char))?;
    let said = Said::from(format!(
        "not YAML: holds the character U+{:04X}",
        u32::from(char)
    ));
    Some(YamlError {
        place: Place {
            line: index + 1,
            column: column + 1,
        },
        said: said.help("leave it out, or write it as an escape in double quotes"),
    })
}

/// The text from the first `---` behind line `line` on, and how many lines stand before it.
fn next_document(text: &str, line: usize) -> Option<(usize, &str)> {
    let mut bytes = 0;
    for (index, each) in text.split_inclusive('\n').enumerate() {
        if index >= line && each.starts_with("---") {
            return Some((index, text.get(bytes..)?));
        }
        bytes += each.len();
    }
    None
}

fn documents_of(
    text: &str,
    lines_before: usize,
    documents: &mut Vec<Node>,
) -> Result<(), YamlError> {
    let mut events = Events {
        parser: Parser::new_from_str(text),
        text,
        lines_before,
    };
    loop {
        match events.next()? {
            (Event::StreamEnd, _) => return Ok(()),
            (Event::DocumentStart(_), _) => {
                let first = events.next()?;
                let node = events.node(first, 0)?;
                if !node.is_null() {
                    documents.push(node);
                }
            }
            _ => {}
        }
    }
}

struct Events<'a> {
    parser: Parser<'a, StrInput<'a>>,
    text: &'a str,
    lines_before: usize,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Place), YamlError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let mut place = place(span);
                place.line += self.lines_before;
                Ok((event, place))
            }
            Some(Err(error)) => {
                let marker = error.marker();
                let mut place = Place {
                    line: marker.line().max(1),
                    column: marker.col() + 1,
                };
                let said = Said::from(format!("not YAML: {}", error.info()));
                let said = said.help(hint(self.text, place));
                place.line += self.lines_before;
                Err(YamlError { place, said })
            }
            None => Ok((Event::StreamEnd, Place::default())),
        }
    }

    fn node(
        &mut self,
        (event, place): (Event<'a>, Place),
        depth: usize,
    ) -> Result<Node, YamlError> {
        if depth > DEPTH_MAX {
            return Err(YamlError {
                place,
                said: format!("nested more than {DEPTH_MAX} deep").into(),
            });
        }
        let refused = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag) => refused(*anchor, tag.as_deref()),
            _ => None,
        };
        let yaml = match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => Yaml::Scalar(Scalar::plain(&text)),
            Event::Scalar(text, ..) => Yaml::Scalar(Scalar::Text {
                text: text.into_owned(),
                quoted: true,
            }),
            Event::SequenceStart(..) => Yaml::List(self.list(depth)?),
            Event::MappingStart(..) => Yaml::Map(self.mapping(depth)?),
            Event::Alias(_) => Yaml::Refused(
                Said::from("aliases are not read")
                    .help("write the value itself, and put text that starts with `*` in quotes"),
            ),
            _ => {
                return Err(YamlError {
                    place,
                    said: "a value is missing here".into(),
                });
            }
        };
        let yaml = refused.map_or(yaml, Yaml::Refused);
        Ok(Node { place, yaml })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                item => items.push(self.node(item, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<Entry>, YamlError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, place) = self.next()?;
            let (key, said) = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(key, _, anchor, tag) => {
                    (key.into_owned(), refused(anchor, tag.as_deref()))
                }
                _ => {
                    let said = Said::from("a field name must be plain text");
                    let said = said.help("put text that starts with `*`, `{` or `[` in quotes");
                    return Err(YamlError { place, said });
                }
            };
            let value = self.next()?;
            let mut node = self.node(value, depth + 1)?;
            if !matches!(node.yaml, Yaml::Scalar(ref scalar) if *scalar != Scalar::Null) {
                node.place = place;
            }
            if let Some(said) = said {
                node.yaml = Yaml::Refused(said);
            }
            entries.push(Entry { key, place, node });
        }
    }
}

/// What to say of an anchor or a tag, if there is one.
fn refused(anchor: usize, tag: Option<&Tag>) -> Option<Said> {
    if anchor != 0 {
        let said = Said::from("anchors are not read");
        return Some(
            said.help("write the value itself, and put text that starts with `&` in quotes"),
        );
    }
    let tag = tag?;
    let said = format!(
        "tag `{}` is not read",
        excerpt(&format!("{}{}", tag.handle, tag.suffix))
    );
    let said = Said::from(said);
    Some(said.help("write the value alone, and put text that starts with `!` in quotes"))
}

fn place(span: Span) -> Place {
    Place {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}

/// What people trip over most, told by the line the parser stopped in.
fn hint(text: &str, place: Place) -> &'static str {
    let lines: Vec<&str> = text
        .lines()
        .skip(place.line.saturating_sub(2))
        .take(2)
        .collect();
    let line = lines.last().copied().unwrap_or_default();
    let value = line.trim_start().trim_start_matches("- ");
    let value = value
        .split_once(": ")
        .map_or(value, |(_, value)| value)
        .trim_start();
    if lines
        .iter()
        .any(|line| line.trim_start_matches(' ').starts_with('\t'))
    {
        return "indent with spaces, not with tabs";
    }
    match value.chars().next() {
        Some('*' | '&' | '!' | '@' | '`' | '%') => {
            "put text that starts with `*`, `&`, `!`, `@`, a backtick or `%` in quotes"
        }
        Some('{' | '[') => {
            "within { } and [ ] put text that holds braces, brackets, commas or `: ` in quotes"
        }
        _ if value.contains(": ") => "put text that holds `: ` in quotes",
        _ => {
            "look for a bracket or quote that is not closed, or for another indentation than the lines above"
        }
    }
}
