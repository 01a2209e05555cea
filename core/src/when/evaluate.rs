//! Evaluation of a checked condition over one action.

use std::sync::{Arc, LazyLock};

use cel::common::types::{CelBool, CelInt, CelString};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, Env, ExecutionError, IdedExpr, Value};

use super::WhenError;
use super::parse::shielded;
use super::slot::{Slot, Subject};
use crate::action::Action;
use crate::decide::Facts;
use crate::upstream::{AttributeType, AttributeValue, Effect};

pub(super) fn evaluate(
    expr: &IdedExpr,
    slots: &[Slot],
    action: &Action,
    facts: Option<&Facts>,
) -> Result<bool, WhenError> {
    let values = Values {
        slots,
        action,
        facts,
    };
    shielded(|| {
        let mut context = Context::with_env(Arc::clone(&ENV));
        context.set_variable_resolver(&values);
        let value = Value::resolve_val(expr, &context).map_err(|error| values.explain(&error))?;
        value
            .downcast_ref::<CelBool>()
            .map(|held| *held.inner())
            .ok_or(WhenError::Engine)
    })?
}

/// The name the evaluator sees for a slot: no text of a rule can spell it.
pub(super) fn slot_name(index: usize) -> String {
    format!("#{index}")
}

/// Values are looked up when they are asked for, and borrowed from the action.
struct Values<'a> {
    slots: &'a [Slot],
    action: &'a Action,
    facts: Option<&'a Facts>,
}

impl Values<'_> {
    fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots
            .get(name.strip_prefix('#')?.parse::<usize>().ok()?)
    }

    /// The engine's own text may repeat values of the request, so only its kind is passed on.
    fn explain(&self, error: &ExecutionError) -> WhenError {
        match error {
            ExecutionError::UndeclaredReference(name) => match self.slot(name) {
                Some(slot) if is_fact(slot) && self.facts.is_none() => {
                    WhenError::FactsNeeded(slot.to_string())
                }
                Some(slot) => WhenError::Absent(slot.to_string()),
                None => WhenError::Engine,
            },
            ExecutionError::Overflow(..) => WhenError::Overflow,
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
                WhenError::DivisionByZero
            }
            _ => WhenError::Engine,
        }
    }

    fn has(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Attribute(name) => self.action.attributes.contains_key(name),
            Subject::Amount => self.action.amount.is_some(),
            Subject::Resource => self.action.resource.is_some(),
            Subject::Confidence => self.action.hints.confidence.is_some(),
            Subject::Purpose => self.action.hints.purpose.is_some(),
            Subject::ToolHash => self.action.hints.tool_hash.is_some(),
        }
    }

    /// An attribute of another type than declared is as good as absent: across types the engine's `!=` would hold.
    fn attribute(&self, name: &str, kind: AttributeType) -> Option<CowVal<'_, '_>> {
        match (&self.action.attributes.get(name)?.value, kind) {
            (AttributeValue::Boolean(value), AttributeType::Boolean) => Some(boolean(*value)),
            (AttributeValue::Integer(value), AttributeType::Integer) => Some(integer(*value)),
            (AttributeValue::String(value), AttributeType::String) => Some(text(value)),
            _ => None,
        }
    }
}

impl VariableResolver for Values<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let (action, facts) = (self.action, self.facts);
        match self.slot(variable)? {
            Slot::Attribute(name, kind) => self.attribute(name, *kind),
            Slot::Capability => Some(text(action.capability.as_str())),
            Slot::Method => Some(text(&action.method)),
            Slot::Host => Some(text(action.host.as_str())),
            Slot::Effect => Some(text(effect(action.effect))),
            Slot::Resource => action.resource.as_deref().map(text),
            Slot::AmountMinor => action.amount.map(|amount| integer(amount.minor())),
            Slot::AmountCurrency => action.amount.map(|amount| text(amount.currency().code())),
            Slot::WindowTotal(meter) => {
                facts?.window_totals.get(meter).map(|total| integer(*total))
            }
            Slot::Precedents => Some(integer(facts?.precedents)),
            Slot::FirstSeenResource => Some(boolean(facts?.first_seen_resource)),
            Slot::RecentDenies => Some(integer(facts?.recent_denies)),
            Slot::Confidence => action.hints.confidence.map(|sure| integer(i64::from(sure))),
            Slot::Purpose => action.hints.purpose.as_deref().map(text),
            Slot::ToolHash => action.hints.tool_hash.as_deref().map(text),
            Slot::Has(subject) => Some(boolean(self.has(subject))),
        }
    }
}

fn is_fact(slot: &Slot) -> bool {
    matches!(
        slot,
        Slot::WindowTotal(_) | Slot::Precedents | Slot::FirstSeenResource | Slot::RecentDenies
    )
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "Read",
        Effect::Write => "Write",
        Effect::Irreversible => "Irreversible",
    }
}

fn boolean<'b>(value: bool) -> CowVal<'b, 'b> {
    CowVal::owned(CelBool::from(value))
}

fn integer<'b>(value: i64) -> CowVal<'b, 'b> {
    CowVal::owned(CelInt::from(value))
}

fn text(value: &str) -> CowVal<'_, '_> {
    CowVal::owned(CelString::from(value))
}

/// The standard functions, without optional values. What of it can be called is for the checker to say.
static ENV: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));
