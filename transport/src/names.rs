//! Names of the parts in their certificates: the same in every installation, wherever the part is reached.

/// The ledger.
pub const LEDGER: &str = "ledger.actpass.internal";
/// The controller.
pub const CONTROLLER: &str = "controller.actpass.internal";
/// The webhook; the API server knows it by the name of its Service besides.
pub const WEBHOOK: &str = "webhook.actpass.internal";
