//! The commands beside `run`.

pub(crate) mod approvals;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod credentials;
pub(crate) mod doctor;
pub(crate) mod erase;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod fork;
pub(crate) mod intents;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod manual;
pub(crate) mod proof;
pub(crate) mod secret;
pub(crate) mod show;
pub(crate) mod tail;
pub(crate) mod verify;
