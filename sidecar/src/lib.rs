//! The enforcement point: captures what an agent sends, reads it as actions, has them decided, runs what is
//! permitted and records all of it.
//!
//! *Flow*: [`listen`] accepts and terminates TLS, [`proxy`] reads requests, [`judge`] is the seam to the decision in
//! [`pep`], which reads by [`extract`] and records by [`recorder`]; [`shipper`] asks the ledger; [`execute`] sends what
//! is permitted over [`connect`] and the pool of idle connections, `answer` says no.

mod answer;
pub mod connect;
pub mod credential;
pub mod dns;
pub mod execute;
pub mod extract;
pub mod judge;
pub mod known_log;
pub mod ledger_client;
pub mod listen;
pub mod metrics;
pub mod mint;
pub mod names;
pub mod pep;
pub mod pod;
mod pool;
pub mod proxy;
pub mod recorder;
pub mod resume;
pub mod ring;
pub mod route;
pub mod session;
pub mod shipper;

#[cfg(all(feature = "seeded-bugs", not(fuzzing)))]
compile_error!("`seeded-bugs` plants bugs on purpose: only `make fuzz-seeded` builds with it");

/// Whether one bug is planted in each parser, which only `make fuzz-seeded` asks for, to see that it is found.
const SEEDED_BUGS: bool = cfg!(feature = "seeded-bugs");
