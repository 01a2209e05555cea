//! The resources people write: Passport, Upstream, ActionPolicy. Read from files, checked, compiled to a bundle.
//!
//! *Flow*: [`read`] turns YAML into resources with the place of every mistake, [`check`] compares them with each
//! other, [`bundle`] compiles them into what decisions rest on.

pub mod bundle;
pub mod catalog;
pub mod check;
pub mod read;
pub mod resource;
mod yaml;
