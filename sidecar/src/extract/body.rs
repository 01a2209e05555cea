//! Bodies in their declared formats.

use actpass_core::form::parse_form;
use actpass_core::hash::{hex, sha256};
use actpass_core::json::{Json, JsonFault, JsonLimits, parse};
use actpass_core::upstream::{ActionSpec, BodyFormat, BodyMode};
use http::HeaderMap;

use super::head::{self, Label};
use super::multipart::{self, Part, PartContent};
use super::params;
use super::refused::{RefusalCode, Refused};

/// A body as read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// No bytes.
    Absent,
    /// Decoded pairs in the order sent.
    Form(Vec<(String, String)>),
    /// An object.
    Json(Json),
    /// Parts in the order sent.
    Multipart(Vec<Part>),
    /// Declared as streamed, so nothing in it is judged: the SHA-256 of its bytes.
    Opaque([u8; 32]),
}

impl Body {
    /// Reads `bytes` in the format that `spec` declares.
    ///
    /// # Errors
    /// Where the head says another format, or the bytes are not one value of it.
    pub(super) fn read(
        spec: &ActionSpec,
        headers: &HeaderMap,
        bytes: &[u8],
    ) -> Result<Self, Refused> {
        let label = head::label(spec.body.format, headers)?;
        check_length(spec, bytes)?;
        if bytes.is_empty() {
            return Ok(Self::Absent);
        }
        if label == Label::Absent {
            let declared = head::media_type(spec.body.format).unwrap_or("none");
            let detail = format!("The body has no Content-Type; send it with `{declared}`.");
            return Err(Refused::new(RefusalCode::MislabelledBody, detail));
        }
        if spec.body.mode == BodyMode::Streamed {
            return Ok(Self::Opaque(sha256(&[bytes])));
        }
        match (spec.body.format, label) {
            (BodyFormat::None, _) => Ok(Self::Absent),
            (BodyFormat::Form, _) => parse_form(bytes)
                .map(Self::Form)
                .map_err(|error| params::refuse_form("form body", &error)),
            (BodyFormat::Json, _) => read_json(bytes).map(Self::Json),
            (BodyFormat::Multipart, Label::Multipart { boundary }) => {
                multipart::parse(bytes, &boundary).map(Self::Multipart)
            }
            (BodyFormat::Multipart, _) => Err(multipart::no_boundary()),
        }
    }

    /// SHA-256 of the judged form, equal for bodies that differ in spelling only; of no bytes where there is no body.
    pub(super) fn digest(&self) -> [u8; 32] {
        match self {
            Self::Absent => sha256(&[]),
            Self::Form(pairs) => {
                let mut sorted: Vec<_> = pairs.iter().collect();
                // Stable, by key alone: the order of values under one `key[]` means something.
                sorted.sort_by_key(|(key, _)| key);
                digest_of(
                    sorted
                        .into_iter()
                        .map(|(key, value)| texts([key, value]))
                        .collect(),
                )
            }
            Self::Json(json) => sha256(&[&json.canonical_digest_form()]),
            Self::Multipart(parts) => {
                let mut sorted: Vec<_> = parts.iter().collect();
                sorted.sort_by_key(|part| &part.name);
                digest_of(sorted.into_iter().map(part_form).collect())
            }
            Self::Opaque(digest) => *digest,
        }
    }
}

/// A part in the digest: name and text; or name, file name, media type (`null` for none) and SHA-256 of the content.
fn part_form(part: &Part) -> Json {
    match &part.content {
        PartContent::Text(text) => texts([&part.name, text]),
        PartContent::File {
            name,
            media_type,
            bytes,
            sha256,
        } => Json::Array(vec![
            Json::String(part.name.clone()),
            Json::String(name.clone()),
            media_type.clone().map_or(Json::Null, Json::String),
            Json::String(bytes.to_string()),
            Json::String(hex(sha256)),
        ]),
    }
}

fn texts<const N: usize>(texts: [&String; N]) -> Json {
    Json::Array(
        texts
            .into_iter()
            .map(|text| Json::String(text.clone()))
            .collect(),
    )
}

fn digest_of(items: Vec<Json>) -> [u8; 32] {
    sha256(&[&Json::Array(items).canonical_digest_form()])
}

/// The refusal of a body where none is declared.
pub(super) fn none_declared(spec: &ActionSpec) -> Refused {
    let detail = format!(
        "`{}` is declared without a body; send none.",
        spec.capability
    );
    Refused::new(RefusalCode::BodyNotAllowed, detail)
}

fn check_length(spec: &ActionSpec, bytes: &[u8]) -> Result<(), Refused> {
    let max = spec.body.max_bytes;
    if bytes.is_empty() {
        return Ok(());
    }
    if spec.body.format == BodyFormat::None {
        return Err(none_declared(spec));
    }
    if u64::try_from(bytes.len()).is_ok_and(|found| found <= max) {
        return Ok(());
    }
    let detail = format!(
        "The body is longer than the {max} bytes declared for `{}`; send less.",
        spec.capability
    );
    Err(Refused::new(RefusalCode::BodyTooLarge, detail))
}

/// One JSON object.
fn read_json(bytes: &[u8]) -> Result<Json, Refused> {
    // A string is at most as long as the body around it, which is bounded already.
    let limits = JsonLimits {
        string_bytes: bytes.len(),
        ..JsonLimits::default()
    };
    match parse(bytes, &limits) {
        Ok(object @ Json::Object(_)) => Ok(object),
        Ok(Json::Array(_)) => Err(Refused::new(
            RefusalCode::TwoActions,
            "The body is a JSON array, which is a batch; send each of its actions as a request of its own.",
        )),
        Ok(_) => Err(Refused::new(
            RefusalCode::Unparsable,
            "The body is not a JSON object; send one.",
        )),
        Err(error) => {
            let code = match error.why {
                JsonFault::DuplicateKey => RefusalCode::DuplicateKey,
                _ => RefusalCode::Unparsable,
            };
            Err(Refused::new(
                code,
                format!("The body is not one JSON value read in one way: {error}. Correct it."),
            ))
        }
    }
}
