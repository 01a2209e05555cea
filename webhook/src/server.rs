//! The admission webhook: what the API server asks, and what it is answered.
//!
//! *Flow*: [`routes`] reads a review within its bounds, [`world`] finds out what has to be known besides, and one pure
//! function per path answers: [`pods`], [`resources`], [`votes`], [`namespaces`].
//!
//! *Guarantees*: a question that cannot be read, is not expected, or needs an answer that the API server does not give in
//! time, is refused. Nothing in the cluster is written but the webhook's own Secret at its first start.

pub mod args;
pub mod health;
pub mod metrics;
pub mod namespaces;
pub mod pods;
pub mod resources;
pub mod review;
pub mod routes;
pub mod secrets;
pub mod stamps;
pub mod trust;
pub mod votes;
pub mod world;

pub use rights::RIGHTS;

mod reduced;
mod rights;
