//! What a pod becomes, and which pods are refused.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test expects is there, or the test fails"
)]

mod checks;
mod injection;
mod properties;
mod running;
mod support;
