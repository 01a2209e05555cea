//! Step 3: the action against its declaration. The sidecar reads declared facts off the wire and reports the first
//! that is wrong; here the reading itself is held against the declaration again, so that an action that leaves a fact
//! out is not judged as one that never had it.

use super::DenyReason;
use crate::action::{Action, Fault, FaultKind, MeterUse};
use crate::bundle::Bundle;
use crate::limits::{Unit, WRITES_METER};
use crate::passport::Passport;
use crate::upstream::{ActionSpec, CurrencySource, MeterSource};

/// What is wrong with the action's facts, if anything.
pub(super) fn wrong(bundle: &Bundle, passport: &Passport, action: &Action) -> Option<DenyReason> {
    let declared = bundle
        .action(&action.capability)
        .filter(|(upstream, spec)| {
            let same_kind = spec.effect == action.effect && spec.method == action.method;
            same_kind
                && upstream.name == action.upstream
                && upstream.serves(&action.host, action.port)
        });
    let Some((_, spec)) = declared else {
        return Some(DenyReason::Undeclared);
    };
    let fault = action.fault.clone();
    let fault = fault
        .or_else(|| amount(spec, action))
        .or_else(|| presence(spec, action));
    fault
        .or_else(|| meters(spec, passport, action))
        .map(DenyReason::DeclaredFact)
}

fn amount(spec: &ActionSpec, action: &Action) -> Option<Fault> {
    let Some(amount) = action.amount else {
        return spec
            .amount
            .as_ref()
            .map(|_| fault("amount", FaultKind::Missing));
    };
    if !amount.is_positive() {
        return Some(fault("amount", FaultKind::NotPositive));
    }
    match spec.amount.as_ref().map(|amount| &amount.currency) {
        Some(CurrencySource::Const(currency)) if *currency == amount.currency() => None,
        Some(CurrencySource::From(_)) => None,
        Some(CurrencySource::Const(_)) | None => Some(fault("currency", FaultKind::WrongUnit)),
    }
}

fn presence(spec: &ActionSpec, action: &Action) -> Option<Fault> {
    if spec.resource.is_some() && action.resource.is_none() {
        return Some(fault("resource", FaultKind::Missing));
    }
    let mut required = spec
        .attributes
        .iter()
        .filter(|attribute| attribute.required);
    let missing = required.find(|attribute| !action.attributes.contains_key(&attribute.name))?;
    Some(fault(
        &format!("attribute {}", missing.name),
        FaultKind::Missing,
    ))
}

/// Every declared meter is fed, by the amount where it counts the amount, and in a unit that the passport's limits on
/// it count in: a limit in one currency is not passed by paying in another.
fn meters(spec: &ActionSpec, passport: &Passport, action: &Action) -> Option<Fault> {
    let fed = |name: &str| action.meters.iter().find(|used| used.name == name);
    let wrong = |name: &str, problem| Some(fault(&format!("meter {name}"), problem));
    if action.effect.changes()
        && !fed(WRITES_METER).is_some_and(|used| used.unit == Unit::Count && used.amount > 0)
    {
        return wrong(WRITES_METER, FaultKind::Missing);
    }
    for meter in &spec.meters {
        match (fed(&meter.name), &meter.from, action.amount) {
            (None, ..) => return wrong(&meter.name, FaultKind::Missing),
            (Some(used), MeterSource::Amount, Some(amount)) => {
                let whole =
                    used.unit == Unit::Money(amount.currency()) && used.amount == amount.minor();
                if !whole {
                    return wrong(&meter.name, FaultKind::WrongUnit);
                }
            }
            (Some(_), ..) => {}
        }
    }
    action.meters.iter().find_map(|used| match used {
        MeterUse { amount: ..0, .. } => wrong(&used.name, FaultKind::NotPositive),
        _ if is_uncounted(passport, used) => wrong(&used.name, FaultKind::WrongUnit),
        _ => None,
    })
}

/// Whether the passport limits the meter, but not in this unit.
fn is_uncounted(passport: &Passport, used: &MeterUse) -> bool {
    let mut limits = passport
        .limits
        .iter()
        .filter(|limit| limit.meter == used.name)
        .peekable();
    limits.peek().is_some() && limits.all(|limit| limit.unit != used.unit)
}

fn fault(fact: &str, problem: FaultKind) -> Fault {
    Fault {
        fact: fact.to_owned(),
        problem,
    }
}
