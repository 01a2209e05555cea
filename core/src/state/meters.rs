//! What stands on the limits. Totals are kept by passport, meter, unit and window, so that an edited bundle keeps
//! what was used.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::StateError;
use crate::action::MeterUse;
use crate::decide::{LimitLeft, Reservation};
use crate::kept;
use crate::limits::{BucketId, Limit, LimitState, OnExceed, Unit, Window};
use crate::passport::Passport;

/// One total.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MeterKey {
    passport: String,
    meter: String,
    unit: Unit,
    window: Window,
}

impl MeterKey {
    fn new(passport: &str, limit: &Limit) -> Self {
        let (meter, unit, window) = (limit.meter.clone(), limit.unit, limit.window);
        Self {
            passport: passport.to_owned(),
            meter,
            unit,
            window,
        }
    }
}

/// An amount that a permit holds on one total.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Held {
    key: MeterKey,
    bucket: BucketId,
    #[serde(with = "kept::total")]
    amount: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Meters(#[serde(with = "kept::pairs")] BTreeMap<MeterKey, LimitState>);

impl Meters {
    /// Used and reserved on a limit, and when the oldest part of it frees. `used_up`: since when all of it counts as used, where
    /// what was used before is not known.
    pub(super) fn on(
        &self,
        passport: &str,
        limit: &Limit,
        now: Timestamp,
        used_up: Option<Timestamp>,
    ) -> (i64, Option<Timestamp>) {
        let meter = self.0.get(&MeterKey::new(passport, limit));
        let (used, frees) =
            meter.map_or((0, None), |meter| (meter.used_at(now), meter.frees_at(now)));
        match unknown_until(limit, used_up, now) {
            None => (used, frees),
            until => (used.max(limit.max), frees.max(until)),
        }
    }

    /// Holds what a permit reserves. Two limits over one window of a meter share a total, on which it is held once.
    ///
    /// # Errors
    /// Where a limit that denies would be exceeded, or one that asks further than people who agreed were shown in
    /// `lifted`.
    pub(super) fn reserve(
        &mut self,
        passport: &Passport,
        reservations: &[Reservation],
        lifted: &[LimitLeft],
        now: Timestamp,
        used_up: Option<Timestamp>,
    ) -> Result<Vec<Held>, StateError> {
        let mut held: Vec<Held> = Vec::with_capacity(reservations.len());
        for Reservation { limit, amount, .. } in reservations {
            let limit = passport
                .limits
                .get(*limit)
                .ok_or(StateError::BadPermit("it names an unknown limit"))?;
            let (key, amount) = (MeterKey::new(&passport.name, limit), *amount);
            let meter = self
                .0
                .entry(key.clone())
                .or_insert_with(|| LimitState::new(limit));
            if held.iter().all(|other| other.key != key) {
                let bucket = meter.reserve(now, amount);
                let bucket =
                    bucket.map_err(|_| StateError::BadPermit("a reservation is out of range"))?;
                held.push(Held {
                    key,
                    bucket,
                    amount,
                });
            }
            let known = meter.used_at(now);
            let used = match unknown_until(limit, used_up, now) {
                None => known,
                Some(_) => known.max(limit.max.saturating_add(amount)),
            };
            let may_exceed = || {
                let over = LimitLeft {
                    meter: limit.meter.clone(),
                    unit: limit.unit,
                    max: limit.max,
                    used: used.saturating_sub(amount),
                    asked: amount,
                    frees_at: None,
                    window: Some(limit.window),
                };
                limit.on_exceed == OnExceed::RequireApproval
                    && lifted.iter().any(|shown| shown.covers(&over))
            };
            if used > limit.max && !may_exceed() {
                return Err(StateError::Overspent {
                    meter: limit.meter.clone(),
                    used,
                    max: limit.max,
                });
            }
        }
        Ok(held)
    }

    /// Counts what an audited action would have reserved. Nothing is held to a limit by it.
    pub(super) fn rehearse(&mut self, passport: &Passport, due: &[Reservation], now: Timestamp) {
        let mut counted: Vec<MeterKey> = Vec::with_capacity(due.len());
        for Reservation { limit, amount, .. } in due {
            let Some(limit) = passport.limits.get(*limit) else {
                continue;
            };
            let key = MeterKey::new(&passport.name, limit);
            if !counted.contains(&key) {
                let meter = self.0.entry(key.clone());
                let meter = meter.or_insert_with(|| LimitState::new(limit));
                // Out of range only beyond all limits, where it makes no difference any more.
                meter.reserve(now, *amount).ok();
                counted.push(key);
            }
        }
    }

    /// Gives back what a permit held.
    pub(super) fn release(&mut self, held: &[Held]) {
        for Held {
            key,
            bucket,
            amount,
        } in held
        {
            if let Some(meter) = self.0.get_mut(key) {
                meter.release(*bucket, *amount);
            }
        }
    }
}

/// Until when what was used of a limit before `used_up` may count; none where it does not any more.
fn unknown_until(limit: &Limit, used_up: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let until = limit.window.frees(used_up?);
    (now < until).then_some(until)
}

/// What an action that feeds these meters has to reserve: its sum on every limit it feeds.
pub(super) fn due(passport: &Passport, meters: &[MeterUse]) -> Vec<Reservation> {
    let mut due = Vec::new();
    for (index, limit) in passport.limits.iter().enumerate() {
        let fed = meters
            .iter()
            .filter(|fed| fed.name == limit.meter && fed.unit == limit.unit);
        if let Some(amount) = fed.map(|fed| fed.amount).reduce(i64::saturating_add) {
            due.push(Reservation {
                limit: index,
                meter: limit.meter.clone(),
                unit: limit.unit,
                amount,
            });
        }
    }
    due
}
