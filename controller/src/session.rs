//! Sessions: which pod gets which passport, and the stream that carries policy and passports to it.

pub mod admit;
