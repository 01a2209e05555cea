//! The `when` conditions of rules: a typed subset of CEL, parsed and evaluated by the `cel` crate behind a checker of
//! our own.
//!
//! The subset: `&&  ||  !  ?:`, `== != < <= > >=`, `+ - * / %` on whole numbers, `in`, lists of literals or names,
//! `startsWith`, `endsWith`, `contains`, `size`, `has`, and `all`, `exists`, `exists_one` over a list. The names:
//!
//! | name | type |
//! |---|---|
//! | `attributes.NAME` | as the upstream declares it |
//! | `action.capability`, `.resource`, `.method`, `.host`, `.effect` | string |
//! | `action.amount.minor`, `action.amount.currency` | int, string |
//! | `facts.windowTotal("METER")`, `facts.precedents`, `facts.recentDenies` | int |
//! | `facts.firstSeenResource` | bool |
//! | `hints.confidence`, `hints.purpose`, `hints.toolHash` | int, string, string; not in an Allow rule |
//!
//! What may be absent (a hint, an attribute, amount or resource that some covered action does not always have) is
//! asked for with `has(…)` before it is used; the checker refuses it elsewhere. Numbers are 64-bit integers, types
//! never convert, and whatever cannot be told is an error, which denies.

mod check;
mod declared;
mod evaluate;
mod parse;
mod slot;

use std::collections::BTreeSet;

use cel::IdedExpr;

use crate::action::Action;
use crate::decide::Facts;
use crate::policy::{Rule, RuleDecision};
use crate::upstream::Upstream;

pub use declared::Declared;

use slot::Slot;

/// Longest condition, in bytes. The parser keeps its recursion within 2 MiB of stack for any text of this length.
pub const TEXT_BYTES_MAX: usize = 4096;

/// Deepest nesting of operators and calls. `&&` and `||` chains count by the logarithm of their length.
pub const DEPTH_MAX: usize = 32;

/// Most elements of one list.
pub const ELEMENTS_MAX: usize = 64;

/// Most steps of one evaluation, counted before it: one per operator, name and literal, times the list's length
/// within `all` and its kin. At about 50 ns each, one condition stays below half a millisecond.
pub const STEPS_MAX: usize = 8192;

/// A condition that checked.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Names are replaced by the slots they stand for. Absent where the rule covers no action, so that it is never asked.
    expr: Option<IdedExpr>,
    slots: Vec<Slot>,
    types: CheckedTypes,
}

/// What a condition refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckedTypes {
    /// It reads facts of the ledger, which makes the action an intent.
    pub uses_facts: bool,
    /// It reads what the workload says of itself.
    pub uses_hints: bool,
    /// Attributes it reads.
    pub attributes: BTreeSet<String>,
    /// Meters whose totals it reads.
    pub meters: BTreeSet<String>,
}

/// A condition that does not check, or does not evaluate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// Conditions are not read where this one stands.
    #[error(
        "a `when` condition is not possible here; say it with amounts, resources, environments and schedule"
    )]
    Unsupported,
    /// Over [`TEXT_BYTES_MAX`].
    #[error("the condition has {0} bytes, at most {TEXT_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// Not CEL.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// In the parser's words.
        message: String,
    },
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("the condition nests deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// More steps than [`STEPS_MAX`].
    #[error("the condition could take more than {STEPS_MAX} steps")]
    TooCostly,
    /// A list of none or more than [`ELEMENTS_MAX`] elements.
    #[error("a list has 1 to {ELEMENTS_MAX} elements, this one {0}")]
    Elements(usize),
    /// One `all`, `exists` or `exists_one` within another.
    #[error("`all`, `exists` and `exists_one` do not nest")]
    Nested,
    /// A name that stands for nothing.
    #[error("`{0}` is not known here; there are attributes.*, action.*, facts.* and hints.*")]
    Unknown(String),
    /// CEL that is not part of the subset.
    #[error("{0} is not part of the conditions read here")]
    Foreign(String),
    /// A value of another type than belongs there.
    #[error("{at} takes {want}, not {found}")]
    Type {
        /// Operator or function.
        at: String,
        /// Types that would fit.
        want: &'static str,
        /// Type found.
        found: &'static str,
    },
    /// The whole is not a yes or no.
    #[error("the condition is {0}, but has to be a bool")]
    NotBool(&'static str),
    /// What a client says of itself would loosen.
    #[error("`{0}` is a hint: it may tighten, so it stands in Deny and RequireApproval rules only")]
    HintLoosens(String),
    /// It may be absent and nobody asked.
    #[error("`{0}` may be absent; ask first, as in `has({0}) && ...`")]
    Unguarded(String),
    /// The covered actions declare one attribute with several types.
    #[error("`{0}` has different types in the actions this rule covers")]
    Ambiguous(String),
    /// It is not there at evaluation.
    #[error("`{0}` is absent")]
    Absent(String),
    /// Only the ledger can say.
    #[error("`{0}` is only known to the ledger")]
    FactsNeeded(String),
    /// A number left 64 bits.
    #[error("a number is out of range")]
    Overflow,
    /// Division or remainder by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// The rule covers no declared action, so it cannot be asked.
    #[error("the rule covers no declared action")]
    NothingCovered,
    /// The engine failed on what the checker let through.
    #[error("the engine could not evaluate it")]
    Engine,
}

/// Checks a condition against what the actions its rule covers declare.
///
/// # Errors
/// Where it is not a condition, or could fail on an action that is as declared.
pub fn check(
    text: &str,
    decision: RuleDecision,
    declared: &Declared,
) -> Result<CheckedTypes, WhenError> {
    Condition::new(text, decision, declared).map(|condition| condition.types)
}

impl Condition {
    /// Compiles the condition of a rule, typed by the attributes that the actions it covers declare.
    ///
    /// # Errors
    /// As [`check`].
    pub fn compile(text: &str, rule: &Rule, upstreams: &[Upstream]) -> Result<Self, WhenError> {
        Self::new(
            text,
            rule.decision,
            &Declared::for_rule(&rule.capabilities, upstreams),
        )
    }

    fn new(text: &str, decision: RuleDecision, declared: &Declared) -> Result<Self, WhenError> {
        let expr = parse::parse(text)?;
        if declared.covers_nothing() {
            return Ok(Self {
                expr: None,
                slots: Vec::new(),
                types: CheckedTypes::default(),
            });
        }
        let (expr, slots, types) = check::check(&expr, decision, declared)?;
        Ok(Self {
            expr: Some(expr),
            slots,
            types,
        })
    }

    /// Whether it reads facts of the ledger.
    pub fn uses_facts(&self) -> bool {
        self.types.uses_facts
    }

    /// Whether it reads what the workload says of itself.
    pub fn uses_hints(&self) -> bool {
        self.types.uses_hints
    }

    /// What it refers to.
    pub fn types(&self) -> &CheckedTypes {
        &self.types
    }

    /// Whether it holds. As in CEL, `false && error` is false and `true || error` is true.
    ///
    /// # Errors
    /// Where it cannot be told; that denies.
    pub fn evaluate(&self, action: &Action, facts: Option<&Facts>) -> Result<bool, WhenError> {
        let expr = self.expr.as_ref().ok_or(WhenError::NothingCovered)?;
        evaluate::evaluate(expr, &self.slots, action, facts)
    }
}

#[cfg(test)]
mod tests;
