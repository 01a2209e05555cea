//! How the parts speak to each other: TLS 1.3, servers known by their authority and the part's name, sidecars by their key.
//!
//! A client certificate is self-signed over an Ed25519 key and says nothing else: who the key is, the passport bound to it
//! says.

#[cfg(feature = "server")]
mod bodies;
pub mod client;
pub mod names;
#[cfg(feature = "program")]
pub mod program;
#[cfg(feature = "server")]
pub mod serve;
pub mod server;
