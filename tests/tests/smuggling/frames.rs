//! Requests of HTTP/2, whole or not.

use actpass_tests::proxied::HOST;
use actpass_tests::raw::{PREFACE, fields, frame};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// Name, reason, and the frames for a marker.
pub(super) type Case = (&'static str, &'static str, fn(&str) -> Vec<u8>);

pub(super) const LENGTH: &str =
    "who writes HTTP/1.1 from it writes a length that is not the body's";
pub(super) const CODING: &str = "who writes HTTP/1.1 from it writes a coding, or two";
pub(super) const SPLIT: &str =
    "who writes HTTP/1.1 from it writes a second line, or a second request";
pub(super) const FIELD: &str = "readers differ in which field of two counts, or in what a field is";
pub(super) const ORDER: &str = "readers differ in whether the request has ended";

/// The fields of a request.
#[derive(Clone)]
pub(super) struct Head(pub(super) Vec<(String, String)>);

impl Head {
    pub(super) fn of(method: &str, path: &str, mark: &str) -> Self {
        let pseudo = [
            (":method", method),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", path),
            ("user-agent", mark),
        ];
        Self(
            pseudo
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        )
    }

    pub(super) fn get(mark: &str) -> Self {
        Self::of("GET", &format!("/v1/{mark}"), mark)
    }

    pub(super) fn raw(mark: &str) -> Self {
        let head = Self::of("POST", &format!("/v1/raw/{mark}"), mark);
        head.with("content-type", "application/json")
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn first(mut self, name: &str, value: &str) -> Self {
        self.0.insert(0, (name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn set(mut self, name: &str, value: &str) -> Self {
        for field in self.0.iter_mut().filter(|(found, _)| found == name) {
            value.clone_into(&mut field.1);
        }
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.0.retain(|(found, _)| found != name);
        self
    }

    /// A request without a body.
    pub(super) fn only(&self, stream: u32) -> Vec<u8> {
        self.frame(stream, END_STREAM | END_HEADERS)
    }

    pub(super) fn frame(&self, stream: u32, flags: u8) -> Vec<u8> {
        frame(HEADERS, flags, stream, &fields(&self.0))
    }

    /// A request with that body.
    pub(super) fn body(&self, body: &[u8]) -> Vec<u8> {
        [self.frame(1, END_HEADERS), data(body, END_STREAM)].concat()
    }

    /// A request with a body and trailers.
    pub(super) fn trailers(&self, trailers: &[(&str, &str)]) -> Vec<u8> {
        let trailers = trailers
            .iter()
            .map(|(name, value)| (String::from(*name), String::from(*value)));
        let trailers: Vec<_> = trailers.collect();
        let last = frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&trailers));
        [self.frame(1, END_HEADERS), data(b"{}", 0), last].concat()
    }
}

pub(super) fn data(body: &[u8], flags: u8) -> Vec<u8> {
    frame(DATA, flags, 1, body)
}

/// What opens a connection.
pub(super) fn open(frames: Vec<u8>) -> Vec<u8> {
    [PREFACE.to_vec(), frame(4, 0, 0, &[]), frames].concat()
}
