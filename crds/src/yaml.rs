//! YAML with the place of every value, and without what makes two readers disagree: no anchors, aliases, tags,
//! merge keys or duplicate keys.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

/// Longest file, in bytes: a bundle has at most as many.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting; resources use about ten.
const DEPTH_MAX: usize = 64;

/// A line and column, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// One document: its value, and where each field stands, by its path as `spec.rules[2].name`.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) value: Value,
    pub(crate) places: BTreeMap<String, Place>,
}

/// Text that is not one plain YAML document after another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct YamlError {
    pub(crate) place: Place,
    pub(crate) what: String,
}

/// Reads all documents of a file.
pub(crate) fn parse(text: &str) -> Result<Vec<Document>, YamlError> {
    if text.len() > FILE_BYTES_MAX {
        let what = format!(
            "the file has {} bytes, at most {FILE_BYTES_MAX} are read",
            text.len()
        );
        return Err(YamlError {
            place: Place { line: 1, column: 1 },
            what,
        });
    }
    let mut events = Events {
        parser: Parser::new_from_str(text),
    };
    let mut documents = Vec::new();
    loop {
        match events.next()? {
            (Event::StreamEnd, _) => return Ok(documents),
            (Event::DocumentStart(_), _) => {
                let mut places = BTreeMap::new();
                let first = events.next()?;
                let value = events.node(first, "", 0, &mut places)?;
                if !value.is_null() {
                    documents.push(Document { value, places });
                }
            }
            _ => {}
        }
    }
}

struct Events<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Place), YamlError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(span))),
            Some(Err(error)) => {
                let marker = error.marker();
                let place = Place {
                    line: marker.line(),
                    column: marker.col() + 1,
                };
                Err(YamlError {
                    place,
                    what: format!("not YAML: {}", error.info()),
                })
            }
            None => Ok((Event::StreamEnd, Place::default())),
        }
    }

    fn node(
        &mut self,
        (event, place): (Event<'a>, Place),
        path: &str,
        depth: usize,
        places: &mut BTreeMap<String, Place>,
    ) -> Result<Value, YamlError> {
        let wrong = |what: &str| {
            Err(YamlError {
                place,
                what: what.to_owned(),
            })
        };
        if depth > DEPTH_MAX {
            return wrong("nested more than 64 deep");
        }
        places.insert(path.to_owned(), place);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if anchor != 0 || tag.is_some() {
                    return wrong("anchors and tags are not read; write the value itself");
                }
                scalar(&text, style, place)
            }
            Event::SequenceStart(anchor, tag) => {
                if anchor != 0 || tag.is_some() {
                    return wrong("anchors and tags are not read; write the list itself");
                }
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => return Ok(Value::Array(items)),
                        item => items.push(self.node(
                            item,
                            &format!("{path}[{}]", items.len()),
                            depth + 1,
                            places,
                        )?),
                    }
                }
            }
            Event::MappingStart(anchor, tag) => {
                if anchor != 0 || tag.is_some() {
                    return wrong("anchors and tags are not read; write the fields themselves");
                }
                self.mapping(path, depth, places)
            }
            Event::Alias(_) => wrong("aliases are not read; write the value itself"),
            _ => wrong("a value is missing here"),
        }
    }

    fn mapping(
        &mut self,
        path: &str,
        depth: usize,
        places: &mut BTreeMap<String, Place>,
    ) -> Result<Value, YamlError> {
        let mut fields = Map::new();
        loop {
            let (event, place) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Object(fields)),
                Event::Scalar(key, ..) => key.into_owned(),
                _ => {
                    return Err(YamlError {
                        place,
                        what: "a field name must be plain text".to_owned(),
                    });
                }
            };
            let field = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            if key == "<<" {
                return Err(YamlError {
                    place,
                    what: "merge keys are not read; write the fields themselves".to_owned(),
                });
            }
            let value = self.next()?;
            let value = self.node(value, &field, depth + 1, places)?;
            places.insert(field, place);
            if fields.insert(key.clone(), value).is_some() {
                return Err(YamlError {
                    place,
                    what: format!("field `{key}` is given twice"),
                });
            }
        }
    }
}

/// The YAML 1.2 core schema, less floats: an amount is text, so that nobody rounds it.
fn scalar(text: &str, style: ScalarStyle, place: Place) -> Result<Value, YamlError> {
    if style != ScalarStyle::Plain {
        return Ok(Value::String(text.to_owned()));
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match text.parse::<i64>() {
            Ok(number) => Value::Number(Number::from(number)),
            Err(_) if looks_like_float(text) => {
                let what =
                    format!("`{text}` would be read as a fraction; put it in quotes: \"{text}\"");
                return Err(YamlError { place, what });
            }
            Err(_) => Value::String(text.to_owned()),
        },
    })
}

fn looks_like_float(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && text.parse::<f64>().is_ok()
}

fn place(span: Span) -> Place {
    Place {
        line: span.start.line(),
        column: span.start.col() + 1,
    }
}
