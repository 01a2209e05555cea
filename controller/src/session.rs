//! Sessions: which pod gets which passport, and the stream that carries policy and passports to it.

pub mod admit;
mod bindings;
mod live;
mod running;
mod sandbox;
mod server;

pub use bindings::Bindings;
pub use running::{Pods, Running, collect, counted};
pub use server::{Sessions, SessionsOptions, router};
