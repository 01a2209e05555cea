//! Where a sidecar gets its policy and its passport from.

pub mod remote;

use std::sync::Arc;

use actpass_core::bundle::Bundle;
use futures_util::future::BoxFuture;

/// The issuer as a sidecar sees it: in a cluster the controller's session stream, on a laptop a few lines beside it.
pub trait Session: Send + Sync + 'static {
    /// The active bundle.
    fn bundle(&self) -> Arc<Bundle>;

    /// Name of the Passport this sidecar acts under.
    ///
    /// # Errors
    /// Why there is none now: revoked, suspended, past its end, never issued. Nothing is permitted then, reads neither.
    fn passport(&self) -> Result<Arc<str>, SessionError>;

    /// Name of the agent where the Passport does not say it, as that of a pod that has none.
    fn agent(&self) -> Option<Arc<str>> {
        None
    }

    /// A passport token bound to the sidecar's key, fresh enough for a third of its life at least.
    ///
    /// # Errors
    /// Why none is issued: suspended, past its end, issuer away.
    fn token(&self) -> Result<String, SessionError>;

    /// Whether the issuer has said what counts, be it that nothing does. Before that a pod's agents do not start.
    fn is_heard(&self) -> bool {
        true
    }

    /// Asks the issuer for a newer bundle than the one at hand, after the ledger called that stale.
    fn refresh(&self) -> BoxFuture<'_, ()>;
}

/// There is no passport, and this is why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no passport: {0}")]
pub struct SessionError(pub String);
