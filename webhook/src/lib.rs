//! What a pod becomes under ActPass, and which pods are refused.
//!
//! Both are pure functions of the pod as JSON: [`inject`] gives the patch that puts ActPass in, [`checks`] everything that
//! would let an agent past it. A pod is never read into structs: a field that we do not know must come out as it came
//! in, or a pod loses what a newer API server gave it. [`server`] is the admission webhook around them.

pub mod checks;
pub mod inject;
pub mod patch;
pub mod path;
pub mod problem;
pub mod server;
pub mod settings;

mod identity;
mod ours;
mod read;
mod shape;

pub use actpass_core::pod::{contract, ruleset};
pub use identity::{Identity, UidSecret};
