//! What a workload says of itself: recorded, may tighten a decision, never loosens one.

use actpass_core::action::Hints;
use http::HeaderMap;

use super::head::single;
use super::refused::{RefusalCode, Refused};

/// Headers that carry hints to ActPass. They, and all others that start with `actpass-`, are not forwarded.
pub const HINT_HEADERS: [&str; 5] = [
    "actpass-task",
    "actpass-rationale",
    "actpass-purpose",
    "actpass-tool-hash",
    "actpass-confidence",
];

/// Longest hint, in bytes: as long as a field of the evidence.
pub const HINT_BYTES_MAX: usize = 1024;

/// The hints of a request. A hint that cannot be recorded as it stands refuses the request, since a rule may ask
/// for it and evidence would show another.
///
/// # Errors
/// Where a hint is there twice, too long, or not of its form.
pub(super) fn read(headers: &HeaderMap) -> Result<Hints, Refused> {
    let confidence = text(headers, "actpass-confidence")?
        .map(|text| confidence(&text))
        .transpose()?;
    let trace_parent = text(headers, "traceparent")?;
    if !trace_parent.as_deref().is_none_or(is_trace_parent) {
        return Err(wrong(
            "traceparent",
            "must have the form of W3C Trace Context, `00-<32 hex>-<16 hex>-<2 hex>`",
        ));
    }
    Ok(Hints {
        task: text(headers, "actpass-task")?,
        rationale: text(headers, "actpass-rationale")?,
        purpose: text(headers, "actpass-purpose")?,
        tool_hash: text(headers, "actpass-tool-hash")?,
        confidence,
        trace_parent,
    })
}

fn text(headers: &HeaderMap, name: &str) -> Result<Option<String>, Refused> {
    let Some(value) = single(headers, name)? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| wrong(name, "must be UTF-8"))?;
    if text.len() > HINT_BYTES_MAX {
        return Err(wrong(
            name,
            &format!("must have at most {HINT_BYTES_MAX} bytes"),
        ));
    }
    match text.chars().any(char::is_control) {
        true => Err(wrong(name, "must not hold control characters")),
        false => Ok(Some(text.to_owned())),
    }
}

fn confidence(text: &str) -> Result<u8, Refused> {
    let number = text
        .parse()
        .ok()
        .filter(|number: &u8| *number <= 100 && number.to_string() == text);
    number.ok_or_else(|| wrong("actpass-confidence", "must be a whole number from 0 to 100"))
}

/// Version, trace id, parent id and flags in lower-case hex; later versions may append more fields (W3C Trace
/// Context section 4.3).
fn is_trace_parent(text: &str) -> bool {
    let mut fields = text.split('-');
    let hex = |field: Option<&str>, digits: usize| {
        field.is_some_and(|field| {
            field.len() == digits
                && field
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    let first = hex(fields.next(), 2)
        && hex(fields.next(), 32)
        && hex(fields.next(), 16)
        && hex(fields.next(), 2);
    first && !text.starts_with("ff") && (!text.starts_with("00") || fields.next().is_none())
}

fn wrong(name: &str, how: &str) -> Refused {
    Refused::new(
        RefusalCode::Unparsable,
        format!("Header `{name}` {how}; correct it or leave it out."),
    )
}
