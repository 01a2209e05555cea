//! Multipart bodies (RFC 7578), read so strictly that no other reader finds other parts in them.
//!
//! No preamble or epilogue, CRLF only, the two part headers that SDKs send, quoted names without escapes, and the
//! boundary nowhere but between parts. What `requests`, `httpx`, undici and curl send passes.

use actpass_core::hash::sha256;

use super::params;
use super::refused::{RefusalCode, Refused, shown_name};

/// Most parts: uploads have a handful of fields and at most some dozens of files.
pub const MULTIPART_PARTS_MAX: usize = 128;

/// Longest head of one part, in bytes: two headers of 512.
pub const PART_HEAD_BYTES_MAX: usize = 1024;

/// Longest boundary, in bytes (RFC 2046 section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// One part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Name of the field.
    pub(super) name: String,
    /// What it holds.
    pub(super) content: PartContent,
}

/// What a part holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PartContent {
    /// A part without a file name: a field like one of a form.
    Text(String),
    /// A part with a file name.
    File {
        /// Name of the file.
        name: String,
        /// Its Content-Type, as sent.
        media_type: Option<String>,
        /// Its size.
        bytes: usize,
        /// SHA-256 of its bytes.
        sha256: [u8; 32],
    },
}

/// The boundary a Content-Type names, if it is one of RFC 2046. Blanks, which it allows inside, are refused.
pub(super) fn boundary(value: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    let fits = !value.is_empty() && value.len() <= BOUNDARY_BYTES_MAX;
    (fits && value.bytes().all(allowed)).then(|| value.to_owned())
}

pub(super) fn no_boundary() -> Refused {
    Refused::new(
        RefusalCode::MislabelledBody,
        "The Content-Type names no `boundary`; send one.",
    )
}

/// The parts of `body`, in its order.
///
/// # Errors
/// Where a reader could find other parts, or a name is there twice and does not end in `[]`.
pub(super) fn parse(body: &[u8], boundary: &str) -> Result<Vec<Part>, Refused> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let mut rest = body
        .strip_prefix(delimiter.as_slice())
        .ok_or_else(|| wrong("it does not start with its boundary"))?;
    let mut parts: Vec<Part> = Vec::new();
    loop {
        if matches!(rest, b"--" | b"--\r\n") {
            return Ok(parts);
        }
        let part = rest
            .strip_prefix(b"\r\n")
            .ok_or_else(|| wrong("more than a line end follows a boundary"))?;
        let (content, behind) =
            split_at(part, &delimiter).ok_or_else(|| wrong("its last boundary is missing"))?;
        // A boundary without its line end would be a delimiter for some readers and content for others.
        let content = content
            .strip_suffix(b"\r\n")
            // Seeded: a line feed alone ends a line.
            .or_else(|| content.strip_suffix(b"\n").filter(|_| crate::SEEDED_BUGS))
            .ok_or_else(|| wrong("its boundary stands inside a part"))?;
        if parts.len() == MULTIPART_PARTS_MAX {
            return Err(wrong(&format!(
                "it has more than {MULTIPART_PARTS_MAX} parts"
            )));
        }
        let part = read_part(content)?;
        if !part.name.ends_with("[]") && parts.iter().any(|other| other.name == part.name) {
            return Err(params::duplicate(
                "The multipart body",
                &shown_name(&part.name),
            ));
        }
        parts.push(part);
        rest = behind;
    }
}

fn read_part(part: &[u8]) -> Result<Part, Refused> {
    let (head, content) = split_at(part, b"\r\n\r\n")
        .ok_or_else(|| wrong("a part has no empty line after its head"))?;
    if head.len() > PART_HEAD_BYTES_MAX {
        return Err(wrong(&format!(
            "the head of a part is longer than {PART_HEAD_BYTES_MAX} bytes"
        )));
    }
    let head = std::str::from_utf8(head).map_err(|_| wrong("the head of a part is not UTF-8"))?;
    let mut disposition = None;
    let mut media_type = None;
    for line in head.split("\r\n") {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| wrong("a part header has no colon"))?;
        let value = value.trim_matches(' ');
        if value.chars().any(char::is_control) {
            return Err(wrong("a part header holds a control character"));
        }
        let slot = match name.to_ascii_lowercase().as_str() {
            "content-disposition" => &mut disposition,
            "content-type" => &mut media_type,
            _ => {
                return Err(wrong(
                    "a part has a header other than Content-Disposition and Content-Type",
                ));
            }
        };
        if slot.replace(value.to_owned()).is_some() {
            return Err(wrong("a part has the same header twice"));
        }
    }
    let disposition = disposition.ok_or_else(|| wrong("a part has no Content-Disposition"))?;
    let (name, file) = names(&disposition).ok_or_else(|| {
        wrong(
            "a Content-Disposition is not `form-data; name=\"...\"`, then at most `filename=\"...\"`, without escapes",
        )
    })?;
    let content = match file {
        Some(file) => PartContent::File {
            name: file.to_owned(),
            media_type,
            bytes: content.len(),
            sha256: sha256(&[content]),
        },
        None => PartContent::Text(field_text(content, media_type.as_deref())?),
    };
    Ok(Part {
        name: name.to_owned(),
        content,
    })
}

/// Name and file name of `form-data; name="a"; filename="b"`. A backslash or a second spelling (`filename*`) would be
/// read differently by different servers.
fn names(disposition: &str) -> Option<(&str, Option<&str>)> {
    let (name, rest) = quoted(disposition.strip_prefix("form-data; name=")?)?;
    if name.is_empty() {
        return None;
    }
    if rest.is_empty() {
        return Some((name, None));
    }
    let (file, rest) = quoted(rest.strip_prefix("; filename=")?)?;
    rest.is_empty().then_some((name, Some(file)))
}

/// What stands in quotes at the start of `text`, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let (inner, rest) = text.strip_prefix('"')?.split_once('"')?;
    (!inner.contains('\\')).then_some((inner, rest))
}

fn field_text(content: &[u8], media_type: Option<&str>) -> Result<String, Refused> {
    let is_text = media_type.is_none_or(|found| {
        let plain: String = found.to_ascii_lowercase().split(' ').collect();
        plain == "text/plain" || plain == "text/plain;charset=utf-8"
    });
    let text = std::str::from_utf8(content)
        .ok()
        .filter(|text| is_text && !text.contains('\0'));
    text.map(str::to_owned)
        .ok_or_else(|| wrong("a field without a file name is not plain UTF-8 text"))
}

/// What stands before and after the first `needle`.
fn split_at<'a>(text: &'a [u8], needle: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text
        .windows(needle.len())
        .position(|window| window == needle)?;
    Some((text.get(..at)?, text.get(at + needle.len()..)?))
}

fn wrong(why: &str) -> Refused {
    let detail = format!(
        "The multipart body could be read in two ways: {why}. Build it with a multipart library."
    );
    Refused::new(RefusalCode::Unparsable, detail)
}
