//! What an agent's pod is made of: names and ports, and the packet filter around its agents.
//!
//! It lives here because three programs must say the same: the webhook writes the pod, the init container loads the
//! rules, the sidecar listens where both send it. This is the library that all three have, and nothing here needs more
//! than text.

pub mod contract;
pub mod ruleset;
