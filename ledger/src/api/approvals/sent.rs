//! All that a request sends, so that nobody approves what they were not shown: judged headers and query from the
//! openings that the decision was made on, the body from the request as it was kept.

use std::collections::BTreeSet;

use actpass_core::action::Action;
use actpass_core::form::parse_form;
use actpass_core::hash::{b64u_decode, hex, sha256};
use actpass_core::json::{Json, JsonLimits, JsonStep, parse};
use actpass_core::upstream::{ActionSpec, CurrencySource, Source};
use actpass_core::wire::{SEALED_VERSION, SealedRequest, SentPlace, SentView};

/// Most bytes of names and values that a list carries of one question. Twenty questions of a passport are open at
/// most, and escaped as JSON each byte is six: under 2 MiB.
const LISTED_BYTES_MAX: usize = 16 * 1024;

/// A kept request is none.
#[derive(Debug, thiserror::Error)]
#[error("the request as it was kept cannot be read")]
pub(super) struct Unreadable;

/// Judged headers by name, then the query as sorted.
pub(super) fn beside_the_body(action: &Action) -> Vec<SentView> {
    let headers = action.headers.iter();
    let headers = headers.map(|(name, value)| sent(SentPlace::Header, name.clone(), value.clone()));
    let query = action.query.iter();
    let query = query.map(|(name, value)| sent(SentPlace::Query, name.clone(), value.clone()));
    headers.chain(query).collect()
}

/// Every leaf value of the kept request's body, in its order. A body that reads as none of the formats is one value.
///
/// # Errors
/// Where the bytes are no kept request.
pub(super) fn body(sealed: &[u8]) -> Result<Vec<SentView>, Unreadable> {
    let request: SealedRequest = serde_json::from_slice(sealed).map_err(|_| Unreadable)?;
    if request.v != SEALED_VERSION {
        return Err(Unreadable);
    }
    let body = b64u_decode(&request.body).map_err(|_| Unreadable)?;
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let label = content_type(&request)?;
    let (media_type, parameters) = label.split_once(';').unwrap_or((&label, ""));
    let media_type = media_type.trim().to_ascii_lowercase();
    let found = match media_type.as_str() {
        "application/x-www-form-urlencoded" => parse_form(&body).ok(),
        "multipart/form-data" => parts(&body, parameters),
        json if json == "application/json" || json.ends_with("+json") => leaves(&body),
        _ => None,
    };
    let found = found.unwrap_or_else(|| vec![(media_type, text_of(&body))]);
    let found = found.into_iter();
    Ok(found
        .map(|(name, value)| sent(SentPlace::Body, name, value))
        .collect())
}

/// Marks what the facts of the question show already: what the declaration reads amount, resource and attributes from.
pub(super) fn mark_facts(sent: &mut [SentView], spec: &ActionSpec) {
    let mut sources: Vec<&Source> = spec.attributes.iter().map(|it| &it.from).collect();
    sources.extend(&spec.resource);
    if let Some(amount) = &spec.amount {
        sources.push(&amount.from);
        if let CurrencySource::From(from) = &amount.currency {
            sources.push(from);
        }
    }
    let facts: BTreeSet<(SentPlace, &str)> = sources
        .into_iter()
        .filter_map(|source| match source {
            Source::Body(path) => Some((SentPlace::Body, path.as_str())),
            Source::Query(name) => Some((SentPlace::Query, name.as_str())),
            Source::Header(name) => Some((SentPlace::Header, name.as_str())),
            Source::Path(_) => None,
        })
        .collect();
    for one in sent {
        one.fact = facts.contains(&(one.place, one.name.as_str()));
    }
}

/// What a list carries, which has `left` bytes left: the first that fit, without those that are facts, and how many it
/// leaves out.
pub(super) fn listed(sent: Vec<SentView>, left: &mut usize) -> (Vec<SentView>, u64) {
    let others = sent.into_iter().filter(|one| !one.fact);
    let most = LISTED_BYTES_MAX.min(*left);
    let (mut kept, mut bytes, mut more) = (Vec::new(), 0, 0);
    for one in others {
        let with = bytes + one.name.len() + one.value.len();
        if more == 0 && with <= most {
            bytes = with;
            kept.push(one);
        } else {
            more += 1;
        }
    }
    *left -= bytes;
    (kept, more)
}

fn sent(place: SentPlace, name: String, value: String) -> SentView {
    SentView {
        place,
        name,
        value,
        fact: false,
    }
}

fn content_type(request: &SealedRequest) -> Result<String, Unreadable> {
    let found = request
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let value = found.map(|(_, value)| b64u_decode(value).map_err(|_| Unreadable));
    Ok(text_of(&value.transpose()?.unwrap_or_default()))
}

/// Bytes as text; where they are none, each that is not ASCII as an escape.
fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

fn leaves(body: &[u8]) -> Option<Vec<(String, String)>> {
    let limits = JsonLimits {
        string_bytes: body.len(),
        ..JsonLimits::default()
    };
    let json = parse(body, &limits).ok()?;
    let leaves = json.leaves().into_iter();
    let named = leaves.map(|(place, leaf)| {
        let value = match leaf {
            Json::String(text) => text.clone(),
            other => text_of(&other.canonical_digest_form()),
        };
        (place_name(&place), value)
    });
    Some(named.collect())
}

/// `a.b[0]`; a key that could be taken for something else stands quoted, as in `a["b.c"]`.
fn place_name(place: &[JsonStep]) -> String {
    let mut name = String::new();
    for step in place {
        match step {
            JsonStep::Index(index) => name.push_str(&format!("[{index}]")),
            JsonStep::Key(key) if is_plain(key) => {
                let dot = if name.is_empty() { "" } else { "." };
                name.push_str(dot);
                name.push_str(key);
            }
            JsonStep::Key(key) => name.push_str(&format!("[{}]", serde_json::json!(key))),
        }
    }
    name
}

fn is_plain(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !key.is_empty() && key.bytes().all(plain)
}

/// The parts of a multipart body: the lines of each one's head, and its text, or size and hash where it is none.
/// The sidecar took the body for multipart only in its strict form, so a split at the boundary finds all parts.
fn parts(body: &[u8], parameters: &str) -> Option<Vec<(String, String)>> {
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let named = name.trim().eq_ignore_ascii_case("boundary");
        named.then(|| value.trim().trim_matches('"'))
    })?;
    let between = format!("\r\n--{boundary}");
    let body = [b"\r\n", body].concat();
    let mut pieces = split(&body, between.as_bytes()).into_iter();
    pieces.next().filter(|before| before.is_empty())?;
    let mut parts = Vec::new();
    for piece in pieces {
        if piece.starts_with(b"--") {
            return Some(parts);
        }
        let at = find(piece, b"\r\n\r\n")?;
        let (head, content) = (piece.get(..at)?, piece.get(at + 4..)?);
        let head = text_of(head);
        let lines: Vec<&str> = head.lines().filter(|line| !line.is_empty()).collect();
        let value = match std::str::from_utf8(content) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                let hash = hex(&sha256(&[content]));
                format!("{} bytes, SHA-256 {hash}", content.len())
            }
        };
        parts.push((lines.join("; "), value));
    }
    None
}

fn split<'a>(mut bytes: &'a [u8], at: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while let Some((piece, rest)) = find(bytes, at).and_then(|found| bytes.split_at_checked(found))
    {
        pieces.push(piece);
        bytes = rest.get(at.len()..).unwrap_or_default();
    }
    pieces.push(bytes);
    pieces
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests;
