//! Decisions, money, passports, and evidence with its verification.
//!
//! Everything here is a pure function of its arguments: no I/O, no clock, no randomness. The crates
//! around it read the world, ask this one, and act on the answer.

pub mod action;
pub mod bundle;
pub mod canonical;
pub mod capability;
pub mod decide;
pub mod error;
pub mod evidence;
pub mod form;
pub mod hash;
pub mod headers;
pub mod host;
pub mod json;
mod kept;
pub mod limits;
pub mod mode;
pub mod money;
pub mod passport;
pub mod path;
pub mod pod;
pub mod policy;
pub mod public_key;
pub mod session;
pub mod state;
pub mod succession;
pub mod upstream;
pub mod verify;
pub mod vote;
pub mod when;
pub mod wire;

#[cfg(all(feature = "seeded-bugs", not(fuzzing)))]
compile_error!("`seeded-bugs` plants bugs on purpose: only `make fuzz-seeded` builds with it");

/// Whether one bug is planted in each parser, which only `make fuzz-seeded` asks for, to see that it is found.
const SEEDED_BUGS: bool = cfg!(feature = "seeded-bugs");
