//! Evidence: records a sidecar signs, leaves the ledger logs, and the proofs that tie them together.

pub mod checkpoint;
pub mod commitment;
pub mod leaf;
pub mod log_keys;
pub mod merkle;
pub mod proof;
pub mod reason;
pub mod receipt;
pub mod record;
pub mod tile;
