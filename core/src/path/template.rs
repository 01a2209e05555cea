//! Path templates of Upstreams: what they match, and which of two is the more specific.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{DecodedPath, PATH_BYTES_MAX, PATH_SEGMENTS_MAX};
use crate::canonical::{excerpt, serde_as_text};

/// Values of a template's `{name}` segments, decoded.
pub type PathParams = BTreeMap<String, String>;

/// A pattern over decoded paths: `/v1/charges/{charge}/refunds`. A segment is literal, `{name}` (any one
/// segment, by name), `*` (any one segment) or, last only, `**` (one or more segments). Literals are written
/// decoded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathTemplate {
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Segment {
    Literal(String),
    Param(String),
    Any,
    Rest,
}

/// How specific a template is, segment by segment from the left; greater is more specific. A total order, so
/// that of the templates matching one path either one is the most specific, or several tie.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Specificity(Vec<Rank>);

/// Rank of segments: literal > `{name}` > `*` > `**`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Rank {
    Rest,
    Any,
    Param,
    Literal,
}

/// Why a text is not a path template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A template starts with `/`.
    #[error("path template `{0}` does not start with `/`")]
    NotAbsolute(String),
    /// Longer than a path may be.
    #[error(
        "path template `{0}` is longer than {PATH_BYTES_MAX} bytes or {PATH_SEGMENTS_MAX} segments"
    )]
    TooLong(String),
    /// `//`, or a slash at the end: no such path is ever let through.
    #[error("path template `{0}` has an empty segment")]
    EmptySegment(String),
    /// `.` or `..`: no such path is ever let through.
    #[error("path template `{0}` has a dot segment")]
    DotSegment(String),
    /// `**` before the end.
    #[error("path template `{0}`: `**` may only be the last segment")]
    RestNotLast(String),
    /// `{name}` or `*` as a part of a segment, or a name that is not `[A-Za-z_][A-Za-z0-9_]*`.
    #[error(
        "path template `{text}`: segment `{segment}` must be text, `{{name}}`, `*` or `**` as a whole"
    )]
    Segment {
        /// The whole template.
        text: String,
        /// The segment refused.
        segment: String,
    },
    /// One name for two segments.
    #[error("path template `{text}` names `{name}` twice")]
    DuplicateName {
        /// The whole template.
        text: String,
        /// The name.
        name: String,
    },
    /// A literal that no decoded path can hold, or that is written encoded.
    #[error(
        "path template `{text}`: write segment `{segment}` decoded, without `%`, `\\` or control characters"
    )]
    Literal {
        /// The whole template.
        text: String,
        /// The segment refused.
        segment: String,
    },
}

impl PathTemplate {
    /// The values of `{name}` segments if the whole of `path` matches.
    pub fn matches(&self, path: &DecodedPath) -> Option<PathParams> {
        let mut params = PathParams::new();
        let mut found = path.segments().iter();
        for segment in &self.segments {
            let value = found.next()?;
            match segment {
                Segment::Literal(text) if text == value => {}
                Segment::Literal(_) => return None,
                Segment::Param(name) => {
                    params.insert(name.clone(), value.clone());
                }
                Segment::Any => {}
                Segment::Rest => return Some(params),
            }
        }
        // Seeded: a template matches every path that begins as it says.
        (found.next().is_none() || crate::SEEDED_BUGS).then_some(params)
    }

    /// The key by which templates that match one path are ranked.
    pub fn specificity(&self) -> Specificity {
        Specificity(self.segments.iter().map(Segment::rank).collect())
    }

    /// `Greater` if this template is more specific than `other`.
    pub fn cmp_specificity(&self, other: &PathTemplate) -> Ordering {
        let ranks = |template: &'_ PathTemplate| {
            template
                .segments
                .iter()
                .map(Segment::rank)
                .collect::<Vec<_>>()
        };
        ranks(self).cmp(&ranks(other))
    }

    /// Whether some path matches both templates.
    pub fn overlaps(&self, other: &PathTemplate) -> bool {
        let mut left = self.segments.iter();
        let mut right = other.segments.iter();
        loop {
            match (left.next(), right.next()) {
                (None, None) => return true,
                (None, Some(_)) | (Some(_), None) => return false,
                // Each side needs at least this one more segment, and `**` takes whatever the other asks for.
                (Some(Segment::Rest), Some(_)) | (Some(_), Some(Segment::Rest)) => return true,
                (Some(Segment::Literal(a)), Some(Segment::Literal(b))) if a != b => return false,
                (Some(_), Some(_)) => {}
            }
        }
    }

    /// Whether some path matches both and neither is more specific: such a pair must not be declared.
    pub fn ties(&self, other: &PathTemplate) -> bool {
        self.cmp_specificity(other).is_eq() && self.overlaps(other)
    }

    /// The names of the `{name}` segments, in order.
    pub fn param_names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

impl Segment {
    fn rank(&self) -> Rank {
        match self {
            Segment::Literal(_) => Rank::Literal,
            Segment::Param(_) => Rank::Param,
            Segment::Any => Rank::Any,
            Segment::Rest => Rank::Rest,
        }
    }

    fn parse(segment: &str, text: &str) -> Result<Self, TemplateError> {
        let refused = || TemplateError::Segment {
            text: excerpt(text),
            segment: excerpt(segment),
        };
        match segment {
            "" => return Err(TemplateError::EmptySegment(excerpt(text))),
            "." | ".." => return Err(TemplateError::DotSegment(excerpt(text))),
            "*" => return Ok(Segment::Any),
            "**" => return Ok(Segment::Rest),
            _ => {}
        }
        if let Some(name) = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
        {
            return if is_name(name) {
                Ok(Segment::Param(name.to_owned()))
            } else {
                Err(refused())
            };
        }
        if segment.contains(['{', '}', '*']) {
            return Err(refused());
        }
        if segment.contains(['%', '\\', '?', '#']) || segment.chars().any(char::is_control) {
            return Err(TemplateError::Literal {
                text: excerpt(text),
                segment: excerpt(segment),
            });
        }
        Ok(Segment::Literal(segment.to_owned()))
    }
}

fn is_name(name: &str) -> bool {
    let word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    !name.is_empty()
        && name.chars().all(word)
        && !name.starts_with(|char: char| char.is_ascii_digit())
}

impl FromStr for PathTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let rest = text
            .strip_prefix('/')
            .ok_or_else(|| TemplateError::NotAbsolute(excerpt(text)))?;
        if rest.is_empty() {
            return Ok(PathTemplate {
                segments: Vec::new(),
            });
        }
        if text.len() > PATH_BYTES_MAX || rest.split('/').count() > PATH_SEGMENTS_MAX {
            return Err(TemplateError::TooLong(excerpt(text)));
        }
        let segments: Vec<_> = rest
            .split('/')
            .map(|segment| Segment::parse(segment, text))
            .collect::<Result<_, _>>()?;
        if segments
            .iter()
            .rev()
            .skip(1)
            .any(|segment| *segment == Segment::Rest)
        {
            return Err(TemplateError::RestNotLast(excerpt(text)));
        }
        let template = PathTemplate { segments };
        let mut names: Vec<_> = template.param_names().collect();
        names.sort_unstable();
        let twice = names.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some((*a).to_owned()),
            _ => None,
        });
        match twice {
            Some(name) => Err(TemplateError::DuplicateName {
                text: excerpt(text),
                name,
            }),
            None => Ok(template),
        }
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segments.is_empty() {
            return f.write_str("/");
        }
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(text) => write!(f, "/{text}"),
            Segment::Param(name) => write!(f, "/{{{name}}}"),
            Segment::Any => f.write_str("/*"),
            Segment::Rest => f.write_str("/**"),
        })
    }
}

serde_as_text!(PathTemplate);
