//! Why an action may not run: a code for machines, a sentence for people.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RuleRef;
use crate::action::{Fault, FaultKind};
use crate::limits::{Unit, Window};
use crate::money::Money;

/// Why an action may not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DenyReason {
    /// The passport is not one the policy knows.
    PassportInvalid,
    /// Nobody gave the workload one.
    NoPassport,
    /// The passport's time is over.
    PassportExpired,
    /// The passport is suspended.
    PassportSuspended,
    /// The passport was withdrawn.
    PassportRevoked,
    /// No upstream of the policy declares an action like this.
    Undeclared,
    /// The capability is not in the passport's scope.
    OutOfScope,
    /// The capability is in scope, but not on this resource.
    ResourceOutOfScope,
    /// A declared fact is not as declared.
    DeclaredFact(Fault),
    /// A rule could not be evaluated.
    RuleError {
        /// The rule.
        rule: RuleRef,
        /// What went wrong, without values of the request.
        what: String,
    },
    /// A rule denies.
    RuleDenies(RuleRef),
    /// No rule says anything about the action.
    NoRule,
    /// People would have to agree, and nobody is named.
    NoApprover,
    /// A limit would be exceeded.
    LimitExceeded(LimitLeft),
    /// The same action was sent before and nobody knows what became of it.
    AmbiguousRepeat {
        /// Its record, `<stream>/<seq>`.
        record: String,
    },
    /// Too many questions to people are open.
    TooManyPending,
    /// The sidecar judged by a policy that is no longer the active one.
    StalePolicy,
    /// The record's time is too far off the ledger's clock.
    ClockSkew,
}

impl DenyReason {
    /// Every [`DenyReason::code`], in the order in which a decision finds them; the last three are the ledger's own.
    pub const CODES: [&'static str; 18] = [
        "passport_invalid",
        "no_passport",
        "passport_suspended",
        "passport_expired",
        "passport_revoked",
        "out_of_scope",
        "resource_out_of_scope",
        "undeclared",
        "declared_fact",
        "ambiguous_repeat",
        "rule_error",
        "rule_denies",
        "no_rule",
        "no_approver",
        "limit_exceeded",
        "too_many_pending",
        "stale_policy",
        "clock_skew",
    ];

    /// Machine-readable: one word of [`DenyReason::CODES`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::PassportInvalid => "passport_invalid",
            Self::NoPassport => "no_passport",
            Self::PassportExpired => "passport_expired",
            Self::PassportSuspended => "passport_suspended",
            Self::PassportRevoked => "passport_revoked",
            Self::Undeclared => "undeclared",
            Self::OutOfScope => "out_of_scope",
            Self::ResourceOutOfScope => "resource_out_of_scope",
            Self::DeclaredFact(_) => "declared_fact",
            Self::RuleError { .. } => "rule_error",
            Self::RuleDenies(_) => "rule_denies",
            Self::NoRule => "no_rule",
            Self::NoApprover => "no_approver",
            Self::LimitExceeded(_) => "limit_exceeded",
            Self::AmbiguousRepeat { .. } => "ambiguous_repeat",
            Self::TooManyPending => "too_many_pending",
            Self::StalePolicy => "stale_policy",
            Self::ClockSkew => "clock_skew",
        }
    }
}

impl std::fmt::Display for DenyReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PassportInvalid => f.write_str("The policy knows no such passport. Ask the platform team for one."),
            Self::NoPassport => f.write_str("No Passport is for this workload's ServiceAccount. Ask the platform team for one."),
            Self::PassportExpired => f.write_str("The passport has expired. Ask its owner to renew it."),
            Self::PassportSuspended => f.write_str("The passport is suspended. Ask its owner why."),
            Self::PassportRevoked => f.write_str("The passport was revoked. Ask its owner for another."),
            Self::Undeclared => f.write_str(
                "No upstream of the policy declares an action like this, and what is not declared is denied. Ask the \
                 platform team to declare it.",
            ),
            Self::OutOfScope => f.write_str(
                "The passport's scope does not cover this capability. Do not retry; ask the passport's owner.",
            ),
            Self::ResourceOutOfScope => f.write_str(
                "The passport's scope covers this capability, but not on this resource. Do not retry; ask the \
                 passport's owner.",
            ),
            Self::DeclaredFact(fault) => write_fault(f, fault),
            Self::RuleError { rule, what } => {
                write!(f, "Rule {rule} could not be evaluated ({what}), and an error denies. Tell the policy's author.")
            }
            Self::RuleDenies(rule) => write!(f, "Rule {rule} denies this. Do not retry; ask a person."),
            Self::NoRule => f.write_str(
                "No rule allows this, and what no rule allows is denied. Do not retry; ask the policy's author.",
            ),
            Self::NoApprover => {
                f.write_str(
                    "People would have to approve this, and neither rule nor passport names any. Ask the passport's \
                     owner to name them.",
                )
            }
            Self::LimitExceeded(left) => write!(f, "{left}"),
            Self::AmbiguousRepeat { record } => write!(
                f,
                "The same action was sent before (record {record}) and its outcome is not known. Repeating it could do \
                 it twice: a person has to find out and settle it first."
            ),
            Self::TooManyPending => {
                f.write_str("Too many requests of this passport wait for people. Wait until some are answered.")
            }
            Self::StalePolicy => f.write_str("The policy changed while this was judged. Send it again."),
            Self::ClockSkew => f.write_str("The clocks of sidecar and ledger are more than 30 s apart. Tell the platform team to set them."),
        }
    }
}

fn write_fault(f: &mut std::fmt::Formatter<'_>, fault: &Fault) -> std::fmt::Result {
    let problem = match fault.problem {
        FaultKind::Missing => "is missing",
        FaultKind::NotPositive => "is not above zero",
        FaultKind::NotExact => "is not an exact number of its unit, or is out of range",
        FaultKind::WrongUnit => "has another unit, currency or type than declared",
    };
    write!(
        f,
        "The declared {} {problem}. Send it as the upstream's declaration says.",
        fault.fact
    )
}

/// A limit that stands in the way, and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitLeft {
    /// Meter it caps.
    pub meter: String,
    /// Unit of the numbers.
    pub unit: Unit,
    /// The cap.
    pub max: i64,
    /// Used and reserved in the window.
    pub used: i64,
    /// What was asked for.
    pub asked: i64,
    /// When the oldest part frees.
    #[serde(with = "crate::canonical::serde_instant_opt")]
    pub frees_at: Option<Timestamp>,
    /// The window it applies to, in a question to people: what they agree to is this very limit. Left out of a denial.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub window: Option<Window>,
}

impl LimitLeft {
    /// The total the action would reach.
    pub fn total(&self) -> i64 {
        self.used.saturating_add(self.asked)
    }

    /// Whether people who were shown this agreed to `now`: the same limit, at no higher total. A limit edited since
    /// is another one.
    pub(crate) fn covers(&self, now: &Self) -> bool {
        let named = |left: &Self| (left.meter.clone(), left.unit, left.window, left.max);
        self.window.is_some() && named(self) == named(now) && now.total() <= self.total()
    }

    /// What is left of the cap, zero or more.
    pub fn left(&self) -> i64 {
        self.max.saturating_sub(self.used).max(0)
    }

    fn text(&self, amount: i64) -> String {
        match self.unit {
            Unit::Money(currency) => Money::new(amount, currency).to_string(),
            Unit::Count => amount.to_string(),
        }
    }
}

impl std::fmt::Display for LimitLeft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "The limit on `{}` is {}; {} is left and {} was asked for.",
            self.meter,
            self.text(self.max),
            self.text(self.left()),
            self.text(self.asked)
        )?;
        match self.frees_at {
            _ if self.asked > self.max => {
                f.write_str(" It can never fit: ask for less, or for a higher limit.")
            }
            Some(instant) => write!(f, " More frees at {}.", crate::canonical::instant(instant)),
            None => Ok(()),
        }
    }
}
