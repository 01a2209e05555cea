//! The resources people write: Passport, Upstream, ActionPolicy, ClusterActionPolicy; and those that only a cluster has:
//! Approval, ApprovalVote, EvidenceLog.
//!
//! *Flow*: [`read`] turns YAML into resources with the place of every mistake, [`check`] compiles them to what
//! decisions rest on and compares them with each other; [`bundle`] is the compiling alone. [`definition`] makes the
//! CustomResourceDefinitions of all kinds from the same types.

pub mod action_policy;
pub mod approval;
pub mod approval_vote;
pub mod bundle;
pub mod catalog;
pub mod check;
pub mod condition;
pub mod definition;
pub mod evidence_log;
pub mod fields;
pub mod instant;
pub mod object;
pub mod passport;
pub mod problem;
pub mod read;
pub mod resource;
pub mod status;
pub mod upstream;

mod rules;
mod schema;
mod shape;
mod suggest;
mod yaml;

pub use schema::schema;

#[cfg(all(feature = "seeded-bugs", not(fuzzing)))]
compile_error!("`seeded-bugs` plants bugs on purpose: only `make fuzz-seeded` builds with it");

/// Whether one bug is planted in each parser, which only `make fuzz-seeded` asks for, to see that it is found.
const SEEDED_BUGS: bool = cfg!(feature = "seeded-bugs");
