//! Limits: caps on meters over a window of time, shared by all replicas of an agent.

mod window;

use serde::{Deserialize, Serialize};

use crate::money::Currency;

pub use window::{BucketId, LimitState, Period, Window, WindowError};

/// Meter every non-read feeds by one.
pub const WRITES_METER: &str = "writes";

/// A cap on one meter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Meter it caps.
    pub meter: String,
    /// Unit the meter counts in. A meter has one total per unit.
    pub unit: Unit,
    /// The cap: minor units of the currency, or a count. Zero or more.
    pub max: i64,
    /// Window it applies to.
    pub window: Window,
    /// What happens to an action that would go over.
    pub on_exceed: OnExceed,
}

/// Unit of a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Unit {
    /// Minor units of a currency.
    Money(Currency),
    /// A plain count.
    Count,
}

impl TryFrom<String> for Unit {
    type Error = crate::money::MoneyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "Count" {
            Ok(Self::Count)
        } else {
            Currency::parse(&text).map(Self::Money)
        }
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> Self {
        unit.to_string()
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Money(currency) => currency.fmt(f),
            Self::Count => f.write_str("Count"),
        }
    }
}

/// What happens to an action that would go over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnExceed {
    /// Denied, saying what is left and when it frees.
    Deny,
    /// People are asked.
    RequireApproval,
}
