//! Two verifiers that share no code, on the same files: `actpass verify`, and `verifiers/actpass_verify.py`, which is written
//! after `docs/evidence-format.md`. They give the same answer and name the same first bad leaf.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of these tests stand outside their functions"
)]

#[path = "second_verifier/answers.rs"]
mod answers;
#[path = "second_verifier/disclosed.rs"]
mod disclosed;
#[path = "second_verifier/document.rs"]
mod document;
#[path = "second_verifier/edits.rs"]
mod edits;
#[path = "second_verifier/logs.rs"]
mod logs;
#[path = "second_verifier/mutated.rs"]
mod mutated;
#[path = "second_verifier/planted.rs"]
mod planted;
#[path = "second_verifier/rotated.rs"]
mod rotated;
#[path = "second_verifier/vectors.rs"]
mod vectors;
