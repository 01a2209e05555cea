//! What only the ledger knows, gathered for one decision.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::State;
use crate::capability::Capability;
use crate::decide::{Facts, LimitUse};
use crate::evidence::leaf::{ActionMacs, RulingFacts};
use crate::hash::DigestMac;
use crate::limits::Limit;
use crate::passport::Passport;

/// What counts on the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reckoned {
    /// What was permitted.
    Enforced,
    /// That, and what would have been permitted under audit.
    Rehearsed,
}

impl State {
    /// What the decision about an action of `passport` has to know at `now`.
    pub fn facts(
        &self,
        passport: &Passport,
        capability: &Capability,
        macs: &ActionMacs,
        now: Timestamp,
    ) -> Facts {
        self.facts_by(Reckoned::Enforced, passport, capability, macs, now)
    }

    /// The same, by what is reckoned on the limits.
    pub(super) fn facts_by(
        &self,
        reckoned: Reckoned,
        passport: &Passport,
        capability: &Capability,
        macs: &ActionMacs,
        now: Timestamp,
    ) -> Facts {
        let ambiguous = self.intents.unknown_repeat(&macs.digest, now);
        let shown = self.shown_facts(reckoned, passport, capability, macs.resource, now);
        let frees = passport
            .limits
            .iter()
            .map(|limit| self.reckoned(reckoned, passport, limit, now).1);
        let used: Vec<_> = shown
            .used
            .iter()
            .zip(frees)
            .map(|(used, frees_at)| LimitUse {
                used: *used,
                frees_at,
            })
            .collect();
        // A meter with several limits is named once: by the window that holds most.
        let mut window_totals = BTreeMap::new();
        for (limit, LimitUse { used, .. }) in passport.limits.iter().zip(&used) {
            let total = window_totals.entry(limit.meter.clone()).or_insert(0);
            *total = (*used).max(*total);
        }
        Facts {
            used,
            grants: self.approvals.grants(&macs.digest, now),
            revoked: self.is_revoked(&passport.name),
            ambiguous: ambiguous.map(|(stream, seq)| format!("{stream}/{seq}")),
            window_totals,
            precedents: shown.precedents,
            first_seen_resource: shown.first_seen_resource,
            recent_denies: shown.recent_denies,
        }
    }

    /// The facts that a leaf shows.
    pub(super) fn shown_facts(
        &self,
        reckoned: Reckoned,
        passport: &Passport,
        capability: &Capability,
        resource: Option<DigestMac>,
        now: Timestamp,
    ) -> RulingFacts {
        let used = passport
            .limits
            .iter()
            .map(|limit| self.reckoned(reckoned, passport, limit, now).0);
        RulingFacts {
            used: used.collect(),
            precedents: self.history.precedents(capability, resource),
            first_seen_resource: self.history.first_seen(capability, resource),
            recent_denies: self.history.recent_denies(&passport.name, now),
        }
    }

    fn reckoned(
        &self,
        reckoned: Reckoned,
        passport: &Passport,
        limit: &Limit,
        now: Timestamp,
    ) -> (i64, Option<Timestamp>) {
        let used_up = self.used_up_since();
        let enforced = self.meters.on(&passport.name, limit, now, used_up);
        if reckoned == Reckoned::Enforced {
            return enforced;
        }
        let rehearsed = self.rehearsed.on(&passport.name, limit, now, None);
        let frees = [enforced.1, rehearsed.1].into_iter().flatten().min();
        // Facts are written into leaves, whose integers end at 2^53−1.
        let used = enforced.0.saturating_add(rehearsed.0);
        (used.min(crate::canonical::INTEGER_MAX), frees)
    }
}
