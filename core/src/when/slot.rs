//! The names of conditions, resolved once: what each stands for, its type, and what has to be there for it.

use std::fmt;

use super::check::Scalar;
use super::declared::Declared;
use super::{CheckedTypes, WhenError};
use crate::canonical::excerpt;
use crate::policy::RuleDecision;
use crate::upstream::AttributeType;

/// One name of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Attribute(String, AttributeType),
    Capability,
    Method,
    Host,
    Effect,
    Resource,
    AmountMinor,
    AmountCurrency,
    WindowTotal(String),
    Precedents,
    FirstSeenResource,
    RecentDenies,
    Confidence,
    Purpose,
    ToolHash,
    Has(Subject),
}

/// What may be absent, and can be asked for with `has`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Attribute(String),
    Amount,
    Resource,
    Confidence,
    Purpose,
    ToolHash,
}

impl Slot {
    /// The slot a dotted name stands for.
    pub(super) fn of(path: &[&str], declared: &Declared) -> Result<Self, WhenError> {
        Ok(match path {
            ["attributes", name] => match declared.attribute(name) {
                Some((Some(kind), _)) => Self::Attribute((*name).to_owned(), kind),
                Some((None, _)) => return Err(WhenError::Ambiguous(excerpt(&path.join(".")))),
                None => return Err(unknown(path)),
            },
            ["action", "capability"] => Self::Capability,
            ["action", "method"] => Self::Method,
            ["action", "host"] => Self::Host,
            ["action", "effect"] => Self::Effect,
            ["action", "resource"] => Self::Resource,
            ["action", "amount", "minor"] => Self::AmountMinor,
            ["action", "amount", "currency"] => Self::AmountCurrency,
            ["facts", "precedents"] => Self::Precedents,
            ["facts", "firstSeenResource"] => Self::FirstSeenResource,
            ["facts", "recentDenies"] => Self::RecentDenies,
            ["hints", "confidence"] => Self::Confidence,
            ["hints", "purpose"] => Self::Purpose,
            ["hints", "toolHash"] => Self::ToolHash,
            _ => return Err(unknown(path)),
        })
    }

    pub(super) fn kind(&self) -> Scalar {
        match self {
            Self::Attribute(_, AttributeType::Boolean) | Self::FirstSeenResource | Self::Has(_) => {
                Scalar::Bool
            }
            Self::Attribute(_, AttributeType::Integer)
            | Self::AmountMinor
            | Self::WindowTotal(_)
            | Self::Precedents
            | Self::RecentDenies
            | Self::Confidence => Scalar::Int,
            Self::Attribute(_, AttributeType::String)
            | Self::Capability
            | Self::Method
            | Self::Host
            | Self::Effect
            | Self::Resource
            | Self::AmountCurrency
            | Self::Purpose
            | Self::ToolHash => Scalar::Text,
        }
    }

    /// What has to be asked for before this may be read; none where it is always there.
    pub(super) fn needs(&self, declared: &Declared) -> Option<Subject> {
        let unless = |always: bool, subject| (!always).then_some(subject);
        match self {
            Self::Attribute(name, _) => {
                let always = declared.attribute(name).is_some_and(|(_, always)| always);
                unless(always, Subject::Attribute(name.clone()))
            }
            Self::AmountMinor | Self::AmountCurrency => {
                unless(declared.amount_always(), Subject::Amount)
            }
            Self::Resource => unless(declared.resource_always(), Subject::Resource),
            Self::Confidence => Some(Subject::Confidence),
            Self::Purpose => Some(Subject::Purpose),
            Self::ToolHash => Some(Subject::ToolHash),
            _ => None,
        }
    }

    /// Notes what it refers to.
    ///
    /// # Errors
    /// Where a hint stands in an Allow rule.
    pub(super) fn note(
        &self,
        decision: RuleDecision,
        types: &mut CheckedTypes,
    ) -> Result<(), WhenError> {
        match self {
            Self::Attribute(name, _) | Self::Has(Subject::Attribute(name)) => {
                types.attributes.insert(name.clone());
            }
            Self::WindowTotal(meter) => {
                types.uses_facts = true;
                types.meters.insert(meter.clone());
            }
            Self::Precedents | Self::FirstSeenResource | Self::RecentDenies => {
                types.uses_facts = true
            }
            Self::Confidence
            | Self::Purpose
            | Self::ToolHash
            | Self::Has(Subject::Confidence | Subject::Purpose | Subject::ToolHash) => {
                if decision == RuleDecision::Allow {
                    return Err(WhenError::HintLoosens(self.to_string()));
                }
                types.uses_hints = true;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Subject {
    /// What `has(…)` of a dotted name asks for.
    pub(super) fn of(path: &[&str], declared: &Declared) -> Result<Self, WhenError> {
        match path {
            ["attributes", name] if declared.attribute(name).is_some() => {
                Ok(Self::Attribute((*name).to_owned()))
            }
            ["action", "amount"] => Ok(Self::Amount),
            ["action", "resource"] => Ok(Self::Resource),
            ["hints", "confidence"] => Ok(Self::Confidence),
            ["hints", "purpose"] => Ok(Self::Purpose),
            ["hints", "toolHash"] => Ok(Self::ToolHash),
            _ => Err(unknown(path)),
        }
    }
}

fn unknown(path: &[&str]) -> WhenError {
    WhenError::Unknown(excerpt(&path.join(".")))
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name, _) => write!(f, "attributes.{}", excerpt(name)),
            Self::Capability => f.write_str("action.capability"),
            Self::Method => f.write_str("action.method"),
            Self::Host => f.write_str("action.host"),
            Self::Effect => f.write_str("action.effect"),
            Self::Resource => f.write_str("action.resource"),
            Self::AmountMinor => f.write_str("action.amount.minor"),
            Self::AmountCurrency => f.write_str("action.amount.currency"),
            Self::WindowTotal(meter) => write!(f, "facts.windowTotal(\"{}\")", excerpt(meter)),
            Self::Precedents => f.write_str("facts.precedents"),
            Self::FirstSeenResource => f.write_str("facts.firstSeenResource"),
            Self::RecentDenies => f.write_str("facts.recentDenies"),
            Self::Confidence => f.write_str("hints.confidence"),
            Self::Purpose => f.write_str("hints.purpose"),
            Self::ToolHash => f.write_str("hints.toolHash"),
            Self::Has(subject) => write!(f, "{subject}"),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name) => write!(f, "attributes.{}", excerpt(name)),
            Self::Amount => f.write_str("action.amount"),
            Self::Resource => f.write_str("action.resource"),
            Self::Confidence => f.write_str("hints.confidence"),
            Self::Purpose => f.write_str("hints.purpose"),
            Self::ToolHash => f.write_str("hints.toolHash"),
        }
    }
}
