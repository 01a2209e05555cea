//! Attacks in frames: what HTTP/2 can say and HTTP/1.1 cannot, for servers of either. Bodies, and the order of frames.

use actpass_tests::raw::{fields, frame};

use super::attacks::{Attack, Bytes, smuggled};
use super::fields::{FIELDS, PSEUDO};
use super::frames::{
    CODING, CONTINUATION, Case, END_HEADERS, END_STREAM, HEADERS, Head, LENGTH, ORDER,
    PUSH_PROMISE, data, open,
};

/// The stream of the good request that comes after.
pub(crate) const AFTER: u32 = 101;

pub(crate) fn all() -> Vec<Attack> {
    let cases = [BODIES, FIELDS, PSEUDO, FRAMES].concat();
    let made = cases.into_iter().map(|(name, why, make)| Attack {
        name: format!("HTTP/2 {name}"),
        why,
        bytes: Bytes::Frames(make),
    });
    made.collect()
}

/// The good request on the same connection.
pub(crate) fn after(mark: &str) -> Vec<u8> {
    Head::get(mark)
        .set(":path", &format!("/v1/{mark}/after"))
        .only(AFTER)
}

const BODIES: &[Case] = &[
    ("CL of none, then data", LENGTH, |m| {
        open(
            Head::raw(m)
                .with("content-length", "0")
                .body(smuggled(m).as_bytes()),
        )
    }),
    ("CL shorter than the data", LENGTH, |m| {
        let body = format!("xxxxx{}", smuggled(m));
        open(
            Head::raw(m)
                .with("content-length", "5")
                .body(body.as_bytes()),
        )
    }),
    ("CL longer than the data", LENGTH, |m| {
        open(Head::raw(m).with("content-length", "500").body(b"{}"))
    }),
    ("CL twice", LENGTH, |m| {
        let head = Head::raw(m)
            .with("content-length", "2")
            .with("content-length", "0");
        open(head.body(b"{}"))
    }),
    ("CL twice alike", LENGTH, |m| {
        let head = Head::raw(m)
            .with("content-length", "2")
            .with("content-length", "2");
        open(head.body(b"{}"))
    }),
    ("CL with a plus", LENGTH, |m| {
        open(Head::raw(m).with("content-length", "+2").body(b"{}"))
    }),
    ("CL of a list", LENGTH, |m| {
        open(Head::raw(m).with("content-length", "2, 2").body(b"{}"))
    }),
    ("CL in hex", LENGTH, |m| {
        open(Head::raw(m).with("content-length", "0x2").body(b"{}"))
    }),
    ("CL behind a blank", LENGTH, |m| {
        open(Head::raw(m).with("content-length", " 2").body(b"{}"))
    }),
    ("CL beyond 64 bits", LENGTH, |m| {
        open(
            Head::raw(m)
                .with("content-length", "18446744073709551618")
                .body(b"{}"),
        )
    }),
    ("CL on GET without data", LENGTH, |m| {
        open(Head::get(m).with("content-length", "105").only(1))
    }),
    ("CL on GET with data", LENGTH, |m| {
        let body = smuggled(m);
        let length = body.len().to_string();
        open(
            Head::get(m)
                .with("content-length", &length)
                .body(body.as_bytes()),
        )
    }),
    ("data on GET", LENGTH, |m| {
        open(Head::get(m).body(smuggled(m).as_bytes()))
    }),
    ("data that is a request", LENGTH, |m| {
        open(Head::raw(m).body(smuggled(m).as_bytes()))
    }),
    ("data that ends in a request, in two frames", LENGTH, |m| {
        let head = Head::raw(m)
            .with("content-length", "2")
            .frame(1, END_HEADERS);
        open(
            [
                head,
                data(b"{}", 0),
                data(smuggled(m).as_bytes(), END_STREAM),
            ]
            .concat(),
        )
    }),
    ("TE", CODING, |m| {
        let body = format!("0\r\n\r\n{}", smuggled(m));
        open(
            Head::raw(m)
                .with("transfer-encoding", "chunked")
                .body(body.as_bytes()),
        )
    }),
    ("TE on GET", CODING, |m| {
        open(Head::get(m).with("transfer-encoding", "chunked").only(1))
    }),
    ("TE with CL", CODING, |m| {
        let head = Head::raw(m)
            .with("transfer-encoding", "chunked")
            .with("content-length", "5");
        open(head.body(b"0\r\n\r\n"))
    }),
    ("TE of identity", CODING, |m| {
        open(
            Head::raw(m)
                .with("transfer-encoding", "identity")
                .body(b"{}"),
        )
    }),
    ("TE with an underscore", CODING, |m| {
        let body = format!("0\r\n\r\n{}", smuggled(m));
        open(
            Head::raw(m)
                .with("transfer_encoding", "chunked")
                .body(body.as_bytes()),
        )
    }),
    ("te of chunked", CODING, |m| {
        open(Head::get(m).with("te", "chunked").only(1))
    }),
    ("Connection that names a coding", CODING, |m| {
        open(
            Head::raw(m)
                .with("connection", "transfer-encoding")
                .body(b"{}"),
        )
    }),
    ("expected", LENGTH, |m| {
        open(
            Head::raw(m)
                .with("expect", "100-continue")
                .body(smuggled(m).as_bytes()),
        )
    }),
];

const FRAMES: &[Case] = &[
    ("data behind its end", ORDER, |m| {
        open(
            [
                Head::get(m).only(1),
                data(smuggled(m).as_bytes(), END_STREAM),
            ]
            .concat(),
        )
    }),
    ("head behind its end", ORDER, |m| {
        let second = Head::of("POST", &format!("/admin/{m}"), m);
        open([Head::get(m).only(1), second.only(1)].concat())
    }),
    ("head behind a body's end", ORDER, |m| {
        let second = Head::of("POST", &format!("/admin/{m}"), m);
        open([Head::raw(m).body(b"{}"), second.only(1)].concat())
    }),
    ("second head before the end", ORDER, |m| {
        let second = Head::of("POST", &format!("/admin/{m}"), m);
        open([Head::raw(m).frame(1, END_HEADERS), second.only(1)].concat())
    }),
    ("end before the length", ORDER, |m| {
        open(Head::raw(m).with("content-length", "105").only(1))
    }),
    ("end that never comes", ORDER, |m| {
        open(Head::raw(m).frame(1, END_HEADERS))
    }),
    ("end by a reset", ORDER, |m| {
        let head = Head::raw(m)
            .with("content-length", "105")
            .frame(1, END_HEADERS);
        open([head, data(b"{", 0), frame(3, 0, 1, &[0, 0, 0, 8])].concat())
    }),
    ("reset behind the request", ORDER, |m| {
        open([Head::raw(m).body(b"{}"), frame(3, 0, 1, &[0, 0, 0, 8])].concat())
    }),
    ("empty data before the end", ORDER, |m| {
        let head = Head::raw(m).frame(1, END_HEADERS);
        open([head, data(b"", 0), data(b"", 0), data(b"{}", END_STREAM)].concat())
    }),
    ("data padded", ORDER, |m| {
        let padding = smuggled(m);
        let length = u8::try_from(padding.len()).unwrap();
        let body = [&[length][..], b"{}", padding.as_bytes()].concat();
        open(
            [
                Head::raw(m).frame(1, END_HEADERS),
                data(&body, END_STREAM | 8),
            ]
            .concat(),
        )
    }),
    ("data padded by more than there is", ORDER, |m| {
        let body = [&[200_u8][..], b"{}"].concat();
        open(
            [
                Head::raw(m).frame(1, END_HEADERS),
                data(&body, END_STREAM | 8),
            ]
            .concat(),
        )
    }),
    ("data of no stream", ORDER, |m| {
        open(data(smuggled(m).as_bytes(), END_STREAM))
    }),
    ("head in pieces", ORDER, |m| {
        let block = fields(&Head::get(m).0);
        let (one, two) = block.split_at(20);
        open(
            [
                frame(HEADERS, END_STREAM, 1, one),
                frame(CONTINUATION, END_HEADERS, 1, two),
            ]
            .concat(),
        )
    }),
    ("head in pieces of two streams", ORDER, |m| {
        let block = fields(&Head::get(m).0);
        let (one, two) = block.split_at(20);
        open(
            [
                frame(HEADERS, END_STREAM, 1, one),
                frame(CONTINUATION, END_HEADERS, 3, two),
            ]
            .concat(),
        )
    }),
    ("head in pieces with data between", ORDER, |m| {
        let block = fields(&Head::raw(m).0);
        let (one, two) = block.split_at(20);
        open(
            [
                frame(HEADERS, 0, 1, one),
                data(b"{}", END_STREAM),
                frame(CONTINUATION, END_HEADERS, 1, two),
            ]
            .concat(),
        )
    }),
    ("piece of no head", ORDER, |m| {
        open(frame(
            CONTINUATION,
            END_HEADERS,
            1,
            &fields(&Head::get(m).0),
        ))
    }),
    ("stream of the server", ORDER, |m| {
        open(Head::get(m).only(2))
    }),
    ("stream of the connection", ORDER, |m| {
        open(Head::get(m).only(0))
    }),
    ("stream that is over", ORDER, |m| {
        let second = Head::of("POST", &format!("/admin/{m}"), m);
        open([Head::get(m).only(5), second.only(3)].concat())
    }),
    ("promise of the client", ORDER, |m| {
        let promise = [&2_u32.to_be_bytes()[..], &fields(&Head::get(m).0)].concat();
        open(
            [
                Head::get(m).only(1),
                frame(PUSH_PROMISE, END_HEADERS, 1, &promise),
            ]
            .concat(),
        )
    }),
    ("frame of no known kind", ORDER, |m| {
        open(
            [
                frame(0x42, 0xff, 1, smuggled(m).as_bytes()),
                Head::get(m).only(1),
            ]
            .concat(),
        )
    }),
    ("HTTP/1.1 behind the preface", ORDER, |m| {
        open(smuggled(m).into_bytes())
    }),
    ("two streams", ORDER, |m| {
        let second = Head::of("POST", &format!("/admin/{m}"), m);
        open([Head::get(m).only(1), second.only(3)].concat())
    }),
    ("two streams, crossed", ORDER, |m| {
        let second = Head::of("POST", &format!("/admin/{m}"), m);
        let first = Head::raw(m).frame(1, END_HEADERS);
        open(
            [
                first,
                second.only(3),
                data(smuggled(m).as_bytes(), END_STREAM),
            ]
            .concat(),
        )
    }),
];
