//! The programs of an agent's pod: what they are told, the files agents trust, and what they answer the kubelet.
//!
//! Names, ports and paths are those of [`actpass_core::pod::contract`].

pub mod config;
pub mod ending;
mod families;
pub mod fence;
pub mod health;
pub mod passed;
pub mod prove;
mod prove_self;
pub mod resolve;
pub mod search;
pub mod trust;
pub mod verified;
pub mod ways;
