//! The controller: issues passports, compiles policy to bundles, and keeps what stands in the cluster true.

pub mod approvals;
pub mod args;
pub mod bootstrap;
pub mod bundle;
pub mod certificates;
pub mod contact;
pub mod events;
pub mod evidence;
pub mod health;
pub mod http;
pub mod lease;
pub mod ledger;
pub mod metrics;
pub mod network_policies;
pub mod object;
pub mod reconcile;
pub mod run;
pub mod session;
pub mod status;
pub mod trust;
pub mod world;
