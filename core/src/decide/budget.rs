//! Step 7: the passport's limits, tested together and reserved all or nothing.

use super::{Facts, LimitLeft, Reservation};
use crate::action::Action;
use crate::canonical::INTEGER_MAX;
use crate::limits::{Limit, OnExceed};
use crate::passport::Passport;

/// What an action takes from the limits.
pub(super) struct Budget {
    /// What a permit reserves.
    pub(super) reservations: Vec<Reservation>,
    /// Limits it goes over that ask people instead of denying.
    pub(super) over: Vec<LimitLeft>,
}

/// Whether any limit counts what the action adds.
pub(super) fn is_limited(passport: &Passport, action: &Action) -> bool {
    passport
        .limits
        .iter()
        .any(|limit| added(action, limit) != Some(0))
}

/// # Errors
/// The first limit that denies, or whose total would be too large to count.
pub(super) fn test(
    passport: &Passport,
    action: &Action,
    facts: &Facts,
) -> Result<Budget, LimitLeft> {
    let mut budget = Budget {
        reservations: Vec::new(),
        over: Vec::new(),
    };
    for (index, limit) in passport.limits.iter().enumerate() {
        let amount = match added(action, limit) {
            Some(0) => continue,
            Some(amount) => amount,
            None => return Err(left(limit, facts, index, INTEGER_MAX)),
        };
        let left = left(limit, facts, index, amount);
        let total = left
            .used
            .checked_add(amount)
            .filter(|total| *total <= INTEGER_MAX);
        match (total, limit.on_exceed) {
            (Some(total), _) if total <= limit.max => {}
            (None, _) | (_, OnExceed::Deny) => return Err(left),
            (Some(_), OnExceed::RequireApproval) => budget.over.push(LimitLeft {
                window: Some(limit.window),
                ..left
            }),
        }
        let (meter, unit) = (limit.meter.clone(), limit.unit);
        budget.reservations.push(Reservation {
            limit: index,
            meter,
            unit,
            amount,
        });
    }
    Ok(budget)
}

/// What the action adds to a limit's meter in its unit; none where it is too much to count.
fn added(action: &Action, limit: &Limit) -> Option<i64> {
    let mut uses = action
        .meters
        .iter()
        .filter(|used| used.name == limit.meter && used.unit == limit.unit);
    uses.try_fold(0_i64, |sum, used| sum.checked_add(used.amount))
        .filter(|sum| *sum <= INTEGER_MAX)
}

/// Where the limit stands. One the facts do not mention counts as used up, beyond what people could lift.
fn left(limit: &Limit, facts: &Facts, index: usize, asked: i64) -> LimitLeft {
    let known = facts.used.get(index);
    LimitLeft {
        meter: limit.meter.clone(),
        unit: limit.unit,
        max: limit.max,
        used: known.map_or(INTEGER_MAX, |known| known.used.clamp(0, INTEGER_MAX)),
        asked,
        frees_at: known.and_then(|known| known.frees_at),
        window: None,
    }
}
