//! The commands beside `run`.

pub(crate) mod approvals;
pub(crate) mod check;
pub(crate) mod credentials;
pub(crate) mod intents;
pub(crate) mod limits;
mod show;
pub(crate) mod verify;
