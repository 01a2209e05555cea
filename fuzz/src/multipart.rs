//! Multipart bodies, against a reader that takes every boundary for one.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderValue, Method};

use crate::input::Input;
use crate::request;

/// Input: a boundary on the first line, then the body of an upload whose resource is the field `purpose`.
///
/// - Wherever the boundary stands in what is accepted, it stands between parts, on a line of its own.
/// - No name stands twice but one that ends in `[]`, and the resource is what the field of that name holds.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let Some(boundary) = input.text_line() else {
        return;
    };
    let body = input.rest();
    let label = format!("multipart/form-data; boundary=\"{boundary}\"");
    let Ok(label) = HeaderValue::from_str(&label) else {
        return;
    };
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, label)]);
    let Ok(action) = request::read(&Method::POST, "/v1/files", &headers, body) else {
        return;
    };
    if body.is_empty() {
        return;
    }
    let mut names = BTreeSet::new();
    let mut purpose = None;
    for part in parts(body, boundary) {
        let (head, content) = split(part, b"\r\n\r\n").expect("a part has a head");
        let head = std::str::from_utf8(head).expect("a head is text");
        let name = head
            .split("name=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("a name");
        assert!(
            name.ends_with("[]") || names.insert(name),
            "`{name}` stands twice"
        );
        if name == "purpose" && !head.contains("filename") {
            purpose = std::str::from_utf8(content).ok();
        }
    }
    if action.fault.is_none() {
        assert_eq!(action.resource.as_deref(), purpose);
    }
}

/// What stands between any two boundaries.
fn parts<'a>(mut body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let delimiter = format!("--{boundary}");
    let mut pieces = Vec::new();
    while let Some((before, behind)) = split(body, delimiter.as_bytes()) {
        pieces.push(before);
        body = behind;
    }
    assert!(
        matches!(body, b"--" | b"--\r\n"),
        "it ends with its last boundary"
    );
    let (first, parts) = pieces.split_first().expect("it has a boundary");
    assert!(first.is_empty(), "it begins with its boundary");
    let line = |part: &&'a [u8]| part.strip_prefix(b"\r\n")?.strip_suffix(b"\r\n");
    parts
        .iter()
        .map(|part| line(part).expect("a boundary stands on a line of its own"))
        .collect()
}

fn split<'a>(text: &'a [u8], needle: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text
        .windows(needle.len())
        .position(|window| window == needle)?;
    Some((&text[..at], &text[at + needle.len()..]))
}
