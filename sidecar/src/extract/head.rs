//! The head of a request: what in it is judged, and what is refused because it would make another request of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use actpass_core::headers::OVERRIDE_HEADERS;
use actpass_core::upstream::{ActionSpec, BodyFormat};
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::multipart;
use super::refused::{RefusalCode, Refused, shown_name};

/// Longest idempotency key, in bytes: what Stripe takes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Longest judged header, in bytes: as long as a field of the evidence, which keeps its text.
pub const HEADER_BYTES_MAX: usize = 1024;

/// The header that servers take one of this name for. CGI (RFC 3875 section 4.1.18), and with it WSGI, Rack and PHP, know no
/// difference between `-` and `_` in names.
pub(super) fn read_as(name: &str) -> Cow<'_, str> {
    match name.contains('_') {
        true => Cow::Owned(name.replace('_', "-")),
        false => Cow::Borrowed(name),
    }
}

/// # Errors
/// `two_actions` where a header, in any spelling that is [`read_as`] one, asks for another method or path.
pub(super) fn refuse_overrides(headers: &HeaderMap) -> Result<(), Refused> {
    let overriding = headers.keys().find_map(|name| {
        let name = read_as(name.as_str());
        OVERRIDE_HEADERS.into_iter().find(|known| *known == name)
    });
    match overriding {
        None => Ok(()),
        Some(name) => Err(Refused::new(
            RefusalCode::TwoActions,
            format!(
                "Header `{name}` asks for another method or path than the request line; send what is meant."
            ),
        )),
    }
}

/// # Errors
/// Where `Connection` would have a judged header dropped on the way (RFC 9110 section 7.6.1 forbids senders that).
pub(super) fn check_connection(spec: &ActionSpec, headers: &HeaderMap) -> Result<(), Refused> {
    let judged = |name: &str| {
        name == CONTENT_TYPE.as_str()
            || spec.headers.iter().any(|declared| declared == name)
            || spec.idempotency_header.as_deref() == Some(name)
    };
    match connection_options(headers).find(|name| judged(name)) {
        None => Ok(()),
        Some(name) => Err(Refused::new(
            RefusalCode::Unparsable,
            format!(
                "`Connection` names the judged header {}; only hop-by-hop headers belong there.",
                shown_name(&name)
            ),
        )),
    }
}

/// Names listed in `Connection`, in lower case.
pub(crate) fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        // Seeded: the blank behind a comma is taken for a part of the name.
        .map(|name| {
            if crate::SEEDED_BUGS {
                name
            } else {
                name.trim()
            }
        })
        .map(str::to_ascii_lowercase)
}

/// The declared semantic headers that are there.
///
/// # Errors
/// Where one is there twice, is not visible ASCII, has a blank around it, or has over [`HEADER_BYTES_MAX`].
pub(super) fn semantic_headers(
    spec: &ActionSpec,
    headers: &HeaderMap,
) -> Result<BTreeMap<String, String>, Refused> {
    let mut found = BTreeMap::new();
    for name in &spec.headers {
        let Some(value) = single(headers, name)? else {
            continue;
        };
        if value.len() > HEADER_BYTES_MAX {
            return Err(Refused::new(
                RefusalCode::HeaderTooLarge,
                format!("Header `{name}` has more than {HEADER_BYTES_MAX} bytes; send less."),
            ));
        }
        let text = ascii(name, value)?;
        // HTTP/2 carries it, though none may be (RFC 9113 section 8.2.1); whoever reads HTTP/1.1 drops it.
        if text.trim_matches([' ', '\t']) != text {
            let detail = format!("Header `{name}` begins or ends with a blank; send it without.");
            return Err(Refused::new(RefusalCode::Unparsable, detail));
        }
        found.insert(name.clone(), text.to_owned());
    }
    Ok(found)
}

/// The caller's idempotency key.
///
/// # Errors
/// Where it is there twice, empty, too long, or not visible ASCII.
pub(super) fn idempotency_key(
    spec: &ActionSpec,
    headers: &HeaderMap,
) -> Result<Option<String>, Refused> {
    let Some(name) = &spec.idempotency_header else {
        return Ok(None);
    };
    let Some(value) = single(headers, name)? else {
        return Ok(None);
    };
    let text = ascii(name, value)?;
    if text.is_empty()
        || text.len() > IDEMPOTENCY_KEY_BYTES_MAX
        || text.bytes().any(|byte| !byte.is_ascii_graphic())
    {
        return Err(Refused::new(
            RefusalCode::Unparsable,
            format!(
                "Header `{name}` must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters."
            ),
        ));
    }
    Ok(Some(text.to_owned()))
}

/// The one value of a header.
///
/// # Errors
/// `duplicate_header` where there are several: readers take the first, the last or all.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &str,
) -> Result<Option<&'a HeaderValue>, Refused> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => {
            let detail = format!("Header `{name}` is there more than once; send it once.");
            Err(Refused::new(RefusalCode::DuplicateHeader, detail))
        }
    }
}

fn ascii<'a>(name: &str, value: &'a HeaderValue) -> Result<&'a str, Refused> {
    value.to_str().map_err(|_| {
        let detail = format!("Header `{name}` holds bytes other than visible ASCII; encode them.");
        Refused::new(RefusalCode::Unparsable, detail)
    })
}

/// What a Content-Type says that is of the declared format.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// As declared.
    AsDeclared,
    /// As declared, and parts end at this.
    Multipart {
        /// The boundary, without its dashes.
        boundary: String,
    },
    /// None at all, which only a request without a body may have.
    Absent,
}

/// Holds Content-Type and Content-Encoding against the declared format.
///
/// # Errors
/// Where the body is said to be compressed or in another format than declared.
pub(super) fn label(format: BodyFormat, headers: &HeaderMap) -> Result<Label, Refused> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Refused::new(
            RefusalCode::CompressedBody,
            "The request has a `Content-Encoding`; send its body uncompressed.",
        ));
    }
    let Some(declared) = media_type(format) else {
        return Ok(Label::AsDeclared);
    };
    let mislabelled = || {
        let how = match format {
            BodyFormat::Multipart => "with a `boundary` of 1 to 70 characters and nothing else",
            _ => "alone or with `charset=utf-8`",
        };
        let detail = format!("The body must be sent with the Content-Type `{declared}`, {how}.");
        Refused::new(RefusalCode::MislabelledBody, detail)
    };
    let Some(value) = single(headers, CONTENT_TYPE.as_str())? else {
        return Ok(Label::Absent);
    };
    let text = value.to_str().map_err(|_| mislabelled())?;
    let mut pieces = text.split(';').map(str::trim);
    if !pieces
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case(declared))
    {
        return Err(mislabelled());
    }
    let parameter = pieces
        .next()
        .map(|piece| piece.split_once('=').ok_or_else(mislabelled))
        .transpose()?;
    if pieces.next().is_some() {
        return Err(mislabelled());
    }
    match (format, parameter) {
        (BodyFormat::Multipart, Some((name, value))) if name.eq_ignore_ascii_case("boundary") => {
            let boundary = multipart::boundary(unquoted(value)).ok_or_else(mislabelled)?;
            Ok(Label::Multipart { boundary })
        }
        (BodyFormat::Multipart, _) => Err(mislabelled()),
        (_, None) => Ok(Label::AsDeclared),
        (_, Some((name, value)))
            if name.eq_ignore_ascii_case("charset")
                && unquoted(value).eq_ignore_ascii_case("utf-8") =>
        {
            Ok(Label::AsDeclared)
        }
        (_, Some(_)) => Err(mislabelled()),
    }
}

/// The media type of a format.
pub(super) fn media_type(format: BodyFormat) -> Option<&'static str> {
    match format {
        BodyFormat::None => None,
        BodyFormat::Form => Some("application/x-www-form-urlencoded"),
        BodyFormat::Json => Some("application/json"),
        BodyFormat::Multipart => Some("multipart/form-data"),
    }
}

/// What a parameter value says, without the quotes around the whole of it.
fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(value)
}
