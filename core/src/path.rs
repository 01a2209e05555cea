//! Paths and queries of requests, decoded once into what templates match, and refused where two readers could
//! disagree about them.

use std::fmt;

use crate::canonical::excerpt;

pub(crate) mod percent;
mod query;
mod template;

pub use query::{QUERY_BYTES_MAX, QUERY_PAIRS_MAX, parse_query};
pub use template::{PathParams, PathTemplate, Specificity, TemplateError};

/// Longest raw path, in bytes: the request line most servers accept is 8 KiB.
pub const PATH_BYTES_MAX: usize = 8 * 1024;

/// Most segments. The deepest documented REST paths we know have fewer than 20.
pub const PATH_SEGMENTS_MAX: usize = 64;

/// A request's path, split at `/` and each segment decoded once. Every segment is non-empty UTF-8 without
/// slashes, backslashes, control characters, remaining escapes, or the meaning of `.` or `..`; `/` has none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecodedPath {
    segments: Vec<String>,
}

/// Why a raw path is refused. Segments count from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Longer than [`PATH_BYTES_MAX`].
    #[error("path is {found} bytes long, over {PATH_BYTES_MAX}")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// More than [`PATH_SEGMENTS_MAX`] segments.
    #[error("path has more than {PATH_SEGMENTS_MAX} segments")]
    TooManySegments,
    /// A path starts with `/`; `*`, a full URL or nothing does not.
    #[error("path `{0}` does not start with `/`")]
    NotAbsolute(String),
    /// A byte that RFC 3986 does not allow raw in a path.
    #[error("byte {at}: 0x{byte:02x} must be percent-encoded in a path")]
    RawByte {
        /// Offset in the raw path.
        at: usize,
        /// The byte.
        byte: u8,
    },
    /// `%` without two hex digits behind it.
    #[error("path segment {segment}: `%` is not followed by two hex digits")]
    BadPercent {
        /// Number of the segment.
        segment: usize,
    },
    /// `//`.
    #[error("path segment {segment} is empty")]
    EmptySegment {
        /// Number of the segment.
        segment: usize,
    },
    /// A slash at the end of a path other than `/`.
    #[error("path ends with `/`")]
    TrailingSlash,
    /// `.` or `..`, plain, encoded, or before a `;` where some servers cut.
    #[error("path segment {segment} is a dot segment")]
    DotSegment {
        /// Number of the segment.
        segment: usize,
    },
    /// `%2F` or `%5C`, which some servers take for a separator.
    #[error("path segment {segment} holds an encoded slash or backslash")]
    EncodedSlash {
        /// Number of the segment.
        segment: usize,
    },
    /// An encoded control character, NUL among them.
    #[error("path segment {segment} holds an encoded control character")]
    Control {
        /// Number of the segment.
        segment: usize,
    },
    /// `%25` before two hex digits: a server that decodes twice would see another path.
    #[error("path segment {segment} is encoded twice")]
    DoubleEncoding {
        /// Number of the segment.
        segment: usize,
    },
    /// Decoded bytes that are not UTF-8.
    #[error("path segment {segment} is not UTF-8 when decoded")]
    NotUtf8 {
        /// Number of the segment.
        segment: usize,
    },
}

impl DecodedPath {
    /// Reads the path part of a request target, without `?` and query.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        if raw.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong { found: raw.len() });
        }
        let rest = raw
            .strip_prefix('/')
            .ok_or_else(|| PathError::NotAbsolute(excerpt(raw)))?;
        let allowed = |byte: u8| percent::is_segment_byte(byte) || byte == b'/' || byte == b'%';
        if let Some((at, byte)) = raw.bytes().enumerate().find(|(_, byte)| !allowed(*byte)) {
            return Err(PathError::RawByte { at, byte });
        }
        if rest.is_empty() {
            return Ok(DecodedPath {
                segments: Vec::new(),
            });
        }
        if rest.split('/').count() > PATH_SEGMENTS_MAX {
            return Err(PathError::TooManySegments);
        }
        if rest.ends_with('/') && !rest.ends_with("//") && rest != "/" {
            return Err(PathError::TrailingSlash);
        }
        let segments = rest
            .split('/')
            .enumerate()
            .map(|(segment, raw)| decode_segment(raw, segment));
        Ok(DecodedPath {
            segments: segments.collect::<Result<_, _>>()?,
        })
    }

    /// The decoded segments in order; none for `/`.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The path encoded again, in the one spelling where only what must be is percent-encoded, in upper-case hex.
    pub fn canonical(&self) -> String {
        let mut text = String::new();
        for segment in &self.segments {
            text.push('/');
            percent::encode_segment(&mut text, segment);
        }
        if text.is_empty() {
            text.push('/');
        }
        text
    }
}

/// The canonical text.
impl fmt::Display for DecodedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.canonical())
    }
}

fn decode_segment(raw: &str, segment: usize) -> Result<String, PathError> {
    if raw.is_empty() {
        return Err(PathError::EmptySegment { segment });
    }
    let bytes = percent::decode(raw.as_bytes(), percent::Plus::Itself)
        .map_err(|_| PathError::BadPercent { segment })?;
    let text = String::from_utf8(bytes).map_err(|_| PathError::NotUtf8 { segment })?;
    if text.contains(['/', '\\']) {
        return Err(PathError::EncodedSlash { segment });
    }
    if text.chars().any(char::is_control) {
        return Err(PathError::Control { segment });
    }
    // Tomcat and others drop `;parameters` before they resolve dots.
    let bare = text.split(';').next().unwrap_or_default();
    if bare == "." || bare == ".." {
        return Err(PathError::DotSegment { segment });
    }
    // Seeded: what decodes twice is let through.
    if percent::holds_escape(&text) && !crate::SEEDED_BUGS {
        return Err(PathError::DoubleEncoding { segment });
    }
    Ok(text)
}

/// `text` as one segment of a path, with everything percent-encoded that may not stand raw there, slashes too.
pub fn encoded_segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    percent::encode_segment(&mut encoded, text);
    encoded
}

#[cfg(test)]
mod tests;
