//! A connection of HTTP/2.

use crate::connection::{self, HOST};
use crate::input::Input;

/// What a client sends first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Most bytes of a connection that is made from its parts.
const BYTES_MAX: usize = 48 * 1024;

/// Fields that a request is made of, or that have no business in one.
const FIELDS: [(&str, &str); 32] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", HOST),
    (":path", "/v1/charges/ch_1"),
    (":method", "POST"),
    (":path", "/v1/refunds"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-length", "23"),
    ("host", HOST),
    ("host", "evil.test"),
    (":authority", "evil.test"),
    (":authority", "api.shop.test:443"),
    (":path", "/v1/../x"),
    (":path", "*"),
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":status", "200"),
    (":scheme", "http"),
    ("content-length", "0"),
    ("content-length", "24"),
    ("transfer-encoding", "chunked"),
    ("connection", "close"),
    ("upgrade", "h2c"),
    ("te", "trailers"),
    ("cookie", "a=b"),
    ("authorization", "Bearer mine"),
    ("shop-account", "acct_1"),
    ("x-http-method-override", "DELETE"),
    ("trailer", "x"),
    ("Upper", "case"),
    ("x", "a\r\nhost: evil.test"),
    ("", ""),
];

/// Bodies and parts of them.
const BODIES: [&[u8]; 4] = [
    b"charge=ch_1&amount=1200",
    b"charge=ch_1",
    b"&amount=1200",
    b"",
];

/// Input: how many bytes come at a time, then, for 0, the bytes behind the preface; else frames, each by what it is and what it
/// says.
///
/// What must hold is what must hold of HTTP/1.1.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let step = usize::from(input.byte());
    let mut bytes = PREFACE.to_vec();
    match input.byte() {
        0 => bytes.extend(input.rest()),
        _ => made(&mut bytes, &mut input),
    }
    connection::carry(&bytes, step, false);
}

fn made(bytes: &mut Vec<u8>, input: &mut Input<'_>) {
    frame(bytes, 4, 0, 0, &[]);
    while !input.is_empty() && bytes.len() < BYTES_MAX {
        let begun = bytes.len();
        one(bytes, input);
        // The same again, as who floods does.
        let again = if input.byte() == 0xff {
            input.byte()
        } else {
            0
        };
        let last = bytes[begun..].to_vec();
        for _ in 0..again {
            bytes.extend(&last);
        }
        bytes.truncate(BYTES_MAX);
    }
}

fn one(bytes: &mut Vec<u8>, input: &mut Input<'_>) {
    let (what, flags, stream) = (input.byte(), input.byte(), input.byte());
    match what {
        // Whole requests, with what else is wanted of them.
        10 => {
            let mut block = block(&[0, 1, 2, 3]);
            block.extend(chosen(input));
            frame(bytes, 1, 5, stream, &block);
        }
        11 => {
            let mut block = block(&[4, 1, 2, 5, 6, 7]);
            block.extend(chosen(input));
            frame(bytes, 1, 4, stream, &block);
            frame(bytes, 0, flags, stream, BODIES[0]);
        }
        0 => frame(
            bytes,
            0,
            flags,
            stream,
            BODIES[usize::from(input.byte() % 4)],
        ),
        1 | 9 => frame(bytes, what, flags, stream, &chosen(input)),
        // A setting, a code, an increment, what a ping holds, or anything else.
        _ => {
            let length = usize::from(input.byte() % 16);
            let payload: Vec<u8> = (0..length).map(|_| input.byte()).collect();
            frame(bytes, what, flags, stream, &payload);
        }
    }
}

/// Fields by their numbers, up to one that is none.
fn chosen(input: &mut Input<'_>) -> Vec<u8> {
    let mut numbers = Vec::new();
    while !input.is_empty() {
        match input.byte() {
            number if usize::from(number) < FIELDS.len() => numbers.push(number),
            _ => break,
        }
    }
    block(&numbers)
}

/// Literals that no table keeps (RFC 7541 section 6.2.2).
fn block(numbers: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for number in numbers {
        let (name, value) = FIELDS[usize::from(*number)];
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend(text.as_bytes());
        }
    }
    block
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    bytes.extend(&length[1..]);
    bytes.extend([kind, flags, 0, 0, 0, stream]);
    bytes.extend(payload);
}
