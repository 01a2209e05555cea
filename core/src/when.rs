//! The `when` conditions of rules: a typed subset of CEL.
//!
//! This build reads no condition yet: a bundle with one is refused as a whole, so that no rule is ever taken for less
//! than it says.

use crate::action::Action;
use crate::decide::Facts;
use crate::policy::Rule;
use crate::upstream::Upstream;

/// A condition that checked.
#[derive(Clone, Debug)]
pub struct Condition(std::convert::Infallible);

/// A condition that does not check, or does not evaluate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// No condition is read yet.
    #[error(
        "this version does not read `when` conditions; say it with amounts, resources, environments and schedule"
    )]
    Unsupported,
}

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// Always, in this version.
    pub fn compile(_text: &str, _rule: &Rule, _upstreams: &[Upstream]) -> Result<Self, WhenError> {
        Err(WhenError::Unsupported)
    }

    /// Whether it reads facts of the ledger.
    pub fn uses_facts(&self) -> bool {
        match self.0 {}
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Where it cannot be told; that denies.
    pub fn evaluate(&self, _action: &Action, _facts: Option<&Facts>) -> Result<bool, WhenError> {
        match self.0 {}
    }
}
