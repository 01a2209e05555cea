//! Requests as frames of HTTP/2, as anybody may write them.

use actpass_tests::proxied::HOST;
use actpass_tests::raw::{PREFACE, fields, frame};

use super::cases::Req;
use super::made::host;
use super::random::Random;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

/// A field, not necessarily one that may be.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// A request as frames of one stream, each item to be sent in one piece.
pub(crate) struct Frames {
    /// Its stream.
    pub(crate) stream: u32,
    /// The frames.
    pub(crate) items: Vec<Vec<u8>>,
    /// Its fields in one piece, where the frames carry them as they are.
    pub(crate) block: Option<Vec<u8>>,
    /// Whether it ends, so that it is answered.
    pub(crate) ends: bool,
}

/// What comes before all frames.
pub(crate) fn opening() -> Vec<u8> {
    [PREFACE, &frame(4, 0, 0, &[])].concat()
}

/// A request that HTTP/2 has no doubt about.
pub(crate) fn plain(random: &mut Random, req: &Req, stream: u32) -> Frames {
    let mut given = fields_of(random, req);
    if random.percent(50) && !req.body.is_empty() {
        given.push(("content-length".into(), req.body.len().to_string().into()));
    }
    framed(random, stream, &given, &req.body, None)
}

/// The fields of a request, pseudo fields among them.
pub(crate) fn fields_of(random: &mut Random, req: &Req) -> Vec<Field> {
    let authority = host(random);
    let mut given: Vec<Field> = vec![
        (":method".into(), req.method.clone().into()),
        (":scheme".into(), "https".into()),
        (":path".into(), req.target.clone().into()),
    ];
    let at = random.below(given.len() + 1);
    match random.below(10) {
        // Either name will do, and both where they agree.
        0 => given.push(("host".into(), authority.into())),
        1 => {
            given.insert(at, (":authority".into(), authority.into()));
            given.push(("host".into(), HOST.into()));
        }
        _ => given.insert(at, (":authority".into(), authority.into())),
    }
    for (name, value) in &req.headers {
        let name = name.to_ascii_lowercase().into_bytes();
        match name.as_slice() {
            // Crumbs.
            b"cookie" => given.extend(
                value
                    .split(|byte| *byte == b';')
                    .map(|crumb| (name.clone(), crumb.trim_ascii().to_vec())),
            ),
            _ => given.push((name, value.clone())),
        }
    }
    given
}

/// The frames of a request.
pub(crate) fn framed(
    random: &mut Random,
    stream: u32,
    given: &[Field],
    body: &[u8],
    trailers: Option<Vec<Field>>,
) -> Frames {
    let ends = body.is_empty() && trailers.is_none() && random.percent(90);
    let mut items = vec![block(random, stream, given, ends)];
    if !ends {
        let mut rest = body;
        loop {
            let most = if random.percent(50) {
                rest.len()
            } else {
                random.below(rest.len() + 1)
            };
            let (piece, behind) = rest.split_at(most);
            rest = behind;
            let last = rest.is_empty() && trailers.is_none();
            items.push(padded(
                random,
                DATA,
                if last { END_STREAM } else { 0 },
                stream,
                piece,
            ));
            if rest.is_empty() {
                break;
            }
        }
    }
    if let Some(trailers) = trailers {
        items.push(block(random, stream, &trailers, true));
    }
    Frames {
        stream,
        items,
        block: Some(fields(given)),
        ends: true,
    }
}

/// A block of fields in a frame, or in several that belong together.
fn block(random: &mut Random, stream: u32, given: &[Field], ends: bool) -> Vec<u8> {
    let bytes = fields(given);
    let flags = if ends { END_STREAM } else { 0 };
    // A frame has at most 16 KiB unless the other side says otherwise.
    let first = match random.percent(20) {
        true => random.below(bytes.len() + 1).min(16_000),
        false => bytes.len().min(16_000),
    };
    let (piece, mut rest) = bytes.split_at(first);
    let closes = if rest.is_empty() { END_HEADERS } else { 0 };
    let mut found = match random.percent(10) {
        true => {
            let weighed = [&[0, 0, 0, 0, 200], piece].concat();
            padded(random, HEADERS, flags | closes | PRIORITY, stream, &weighed)
        }
        false => padded(random, HEADERS, flags | closes, stream, piece),
    };
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(random.below(16_000) + 1));
        rest = behind;
        let closes = if rest.is_empty() { END_HEADERS } else { 0 };
        found.extend(frame(CONTINUATION, closes, stream, piece));
    }
    found
}

fn padded(random: &mut Random, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    if random.percent(85) {
        return frame(kind, flags, stream, payload);
    }
    let padding = random.byte();
    let payload = [&[padding], payload, &vec![0; padding.into()]].concat();
    frame(kind, flags | PADDED, stream, &payload)
}
