//! What must hold for any bytes from outside.
//!
//! One [`Target`] per parser: a function of bytes that panics where a promise of the parser is broken. Besides never
//! panicking itself, each parser promises more: what it prints it reads back, it reads no two things in one text, and
//! it agrees with an independent reader on what it accepts. `tests/replay.rs` runs the targets over the committed
//! inputs; `engine/` drives them with libFuzzer.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a broken promise is a panic here, and the harness is test code"
)]

mod canonical;
mod client_hello;
mod connection;
mod dns;
mod form;
mod host;
mod http1;
mod http2;
mod input;
mod json;
mod jws;
mod manifests;
mod money;
mod multipart;
mod note;
mod path;
mod request;
mod ring;
mod segment;
mod template;
mod when;
mod wire;

/// One parser and what must hold of it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name, also of its directory under `corpus/` and of its dictionary in `dict/`.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub run: fn(&[u8]),
    /// Longest input worth making, in bytes.
    pub bytes_max: usize,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("canonical", canonical::run, 1024),
    target("client_hello", client_hello::run, 640),
    target("dns", dns::run, 640),
    target("form", form::run, 512),
    target("host", host::run, 320),
    target("http1", http1::run, 2048),
    target("http2", http2::run, 1024),
    target("json", json::run, 1024),
    target("jws", jws::run, 1024),
    target("manifests", manifests::run, 4096),
    target("money", money::run, 64),
    target("multipart", multipart::run, 1024),
    target("note", note::run, 1024),
    target("path", path::run, 512),
    target("request", request::run, 1024),
    target("ring", ring::run, 64),
    target("segment", segment::run, 64),
    target("template", template::run, 256),
    target("when", when::run, 512),
    target("wire", wire::run, 2048),
];

const fn target(name: &'static str, run: fn(&[u8]), bytes_max: usize) -> Target {
    Target {
        name,
        run,
        bytes_max,
    }
}

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
