//! Requests in frames and fields that HTTP/2 does not allow, or that another protocol reads differently.

use actpass_tests::raw::frame;

use super::cases::Req;
use super::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Field, Frames, HEADERS, PADDED, fields_of, framed,
};
use super::random::Random;

/// A request with one or two wrongs.
pub(crate) fn wrong(random: &mut Random, req: &Req, stream: u32) -> Frames {
    let mut given = fields_of(random, req);
    let mut trailers = None;
    for _ in 0..=random.below(2) {
        match random.below(6) {
            0 => pseudo(random, &mut given),
            1 => names(random, &mut given),
            2 => length(random, req.body.len(), &mut given),
            3 => trailers = Some(vec![trailer(random)]),
            4 => forbidden(random, &mut given),
            _ => {
                let frames = framed(random, stream, &given, &req.body, trailers);
                return broken(random, stream, frames);
            }
        }
    }
    framed(random, stream, &given, &req.body, trailers)
}

fn pseudo(random: &mut Random, given: &mut Vec<Field>) {
    const FIELDS: [(&str, &str); 14] = [
        (":method", "DELETE"),
        (":path", "/v1/refunds"),
        (":path", ""),
        (":path", "*"),
        (":path", "v1/x"),
        (":path", "https://evil.example/v1/x"),
        (":path", "/v1/a b"),
        (":authority", "evil.example"),
        (":authority", "api.shop.example:80"),
        (":authority", "u@api.shop.example"),
        (":scheme", "http"),
        (":status", "200"),
        (":protocol", "websocket"),
        (":made-up", "1"),
    ];
    let (name, value) = random.of(&FIELDS);
    let field = (name.into(), value.into());
    let found = given.iter().position(|(known, _)| known == name.as_bytes());
    match (random.below(4), found) {
        (0, Some(at)) => drop(given.remove(at)),
        (1, Some(at)) => given[at] = field,
        (2, Some(at)) => {
            let field = given.remove(at);
            given.push(field);
        }
        _ => given.insert(random.below(given.len() + 1), field),
    }
}

fn names(random: &mut Random, given: &mut Vec<Field>) {
    const FIELDS: [(&[u8], &[u8]); 13] = [
        (b"Shop-Account", b"1"),
        (b"shop account", b"1"),
        (b"", b"1"),
        (b"x\0y", b"1"),
        (b"x\r\nhost", b"evil.example"),
        (b"x:y", b"1"),
        (b"\xc3\xa9", b"1"),
        (b"x-value", b"1\r\nhost: evil.example"),
        (b"x-value", b"1\n"),
        (b"x-value", b"\0"),
        (b"x-value", b" 1 "),
        (b"x-value", b"\x7f"),
        (
            b"user-agent",
            b"a\r\n\r\nGET /v1/hidden HTTP/1.1\r\nhost: api.shop.example\r\n\r\n",
        ),
    ];
    let (name, value) = random.of(&FIELDS);
    let at = random.below(given.len() + 1);
    given.insert(at, (name.to_vec(), value.to_vec()));
}

fn length(random: &mut Random, length: usize, given: &mut Vec<Field>) {
    let odd = [
        (length + 1).to_string(),
        length.saturating_sub(1).to_string(),
        "0".to_owned(),
        "x".to_owned(),
        format!("+{length}"),
        format!("{length}, {length}"),
        "18446744073709551617".to_owned(),
        String::new(),
    ];
    for _ in 0..=random.below(2) {
        given.push(("content-length".into(), random.of(&odd).into()));
    }
}

fn trailer(random: &mut Random) -> Field {
    const FIELDS: [(&str, &str); 4] = [
        ("x-checksum", "1"),
        ("shop-marker", "other"),
        (":path", "/v1/refunds"),
        ("content-length", "1"),
    ];
    let (name, value) = random.of(&FIELDS);
    (name.into(), value.into())
}

/// What belongs to a connection, or leads around what is judged.
fn forbidden(random: &mut Random, given: &mut Vec<Field>) {
    const FIELDS: [(&str, &str); 10] = [
        ("connection", "close"),
        ("connection", "shop-marker"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "5"),
        ("proxy-connection", "close"),
        ("te", "gzip"),
        ("te", "trailers"),
        ("host", "evil.example"),
        ("host", "api.shop.example"),
    ];
    let (name, value) = random.of(&FIELDS);
    given.push((name.into(), value.into()));
}

/// Frames that are wrong in themselves.
fn broken(random: &mut Random, stream: u32, mut frames: Frames) -> Frames {
    match random.below(9) {
        // It never ends.
        0 => {
            frames.items.truncate(1);
            if let Some(flags) = frames.items[0].get_mut(4) {
                *flags &= !END_STREAM;
            }
            frames.ends = false;
        }
        1 => frames.items.insert(0, frame(DATA, 0, stream, b"early")),
        2 => frames.items.push(frame(DATA, END_STREAM, stream, b"late")),
        // Given up at once.
        3 => frames.items.push(frame(3, 0, stream, &[0, 0, 0, 8])),
        4 => frames
            .items
            .insert(1, frame(CONTINUATION, END_HEADERS, stream, b"")),
        // Padding longer than the frame.
        5 => frames
            .items
            .push(frame(DATA, END_STREAM | PADDED, stream, b"\xffab")),
        6 => frames.items.push(frame(8, 0, stream, &[0; 4])),
        // An index that no table has.
        7 => {
            frames.items[0] = frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                stream,
                b"\xff\xff\xff\x7f",
            )
        }
        _ => {
            frames.block = None;
            let item = random.below(frames.items.len());
            let item = &mut frames.items[item];
            let at = random.below(item.len());
            item[at] = random.byte();
        }
    }
    frames
}
