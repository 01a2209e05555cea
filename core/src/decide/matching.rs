//! Whether one rule matches one action. Doubt counts against the action: what a rule that tightens cannot tell, it
//! covers; what a rule that allows cannot tell, it does not.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::order::Asked;
use crate::action::Action;
use crate::money::{Money, MoneyError};
use crate::policy::{AmountBound, Day, Rule, RuleDecision, Schedule};
use crate::when::Condition;

/// Whether a rule matches.
pub(super) enum Match {
    Yes,
    No,
    NeedsFacts,
    Error(String),
}

pub(super) fn rule_matches(rule: &Rule, condition: Option<&Condition>, asked: &Asked<'_>) -> Match {
    let Asked {
        action, facts, now, ..
    } = *asked;
    let tightens = rule.decision != RuleDecision::Allow;
    let covered = rule
        .capabilities
        .iter()
        .any(|pattern| pattern.matches(&action.capability))
        && (rule.environments.is_empty() || environment_matches(rule, action, tightens))
        && resources_match(rule, action, tightens);
    if !covered {
        return Match::No;
    }
    match amounts_match(&rule.amounts, action, tightens) {
        Ok(true) => {}
        Ok(false) => return Match::No,
        Err(_) => {
            return Match::Error(
                "a bound on its amounts is in another currency than it says".to_owned(),
            );
        }
    }
    match rule.schedule.as_ref().map(|schedule| holds(schedule, now)) {
        None | Some(Ok(true)) => {}
        Some(Ok(false)) => return Match::No,
        Some(Err(what)) => return Match::Error(what),
    }
    match condition {
        None if rule.when.is_none() => Match::Yes,
        None => Match::Error("its condition was not compiled".to_owned()),
        Some(condition) if condition.uses_facts() && facts.is_none() => Match::NeedsFacts,
        Some(condition) => match condition.evaluate(action, facts) {
            Ok(true) => Match::Yes,
            Ok(false) => Match::No,
            Err(error) => Match::Error(format!("`when`: {error}")),
        },
    }
}

fn environment_matches(rule: &Rule, action: &Action, tightens: bool) -> bool {
    match &action.environment {
        Some(environment) => rule.environments.contains(environment),
        None => tightens,
    }
}

fn resources_match(rule: &Rule, action: &Action, tightens: bool) -> bool {
    match &action.resource {
        _ if rule.resources.is_empty() => true,
        Some(resource) => rule
            .resources
            .iter()
            .any(|pattern| pattern.matches(resource)),
        None => tightens,
    }
}

/// An amount in a currency that the rule does not list counts as matched by a rule that tightens and does not match
/// one that allows. So does no amount at all, but for a read: that one moves no money, so there is no doubt about it.
fn amounts_match(
    bounds: &[AmountBound],
    action: &Action,
    tightens: bool,
) -> Result<bool, MoneyError> {
    if bounds.is_empty() {
        return Ok(true);
    }
    let Some(amount) = action.amount else {
        return Ok(tightens && action.effect.changes());
    };
    let mut listed = bounds
        .iter()
        .filter(|bound| bound.currency == amount.currency())
        .peekable();
    if listed.peek().is_none() {
        return Ok(tightens);
    }
    let mut any = false;
    for bound in listed {
        any |= within(bound, amount)?;
    }
    Ok(any)
}

/// An upper bound implies an amount above zero: what is owed to us is not "at most 500".
fn within(bound: &AmountBound, amount: Money) -> Result<bool, MoneyError> {
    let holds = |side: Option<Money>, wanted: fn(Ordering) -> bool| match side {
        Some(side) => amount.checked_cmp(side).map(wanted),
        None => Ok(true),
    };
    let above = holds(bound.gt, Ordering::is_gt)? & holds(bound.gte, Ordering::is_ge)?;
    let below = holds(bound.lt, Ordering::is_lt)? & holds(bound.lte, Ordering::is_le)?;
    let upper = bound.lt.is_some() || bound.lte.is_some();
    Ok(above && below && (!upper || amount.is_positive()))
}

/// Whether a schedule holds at an instant.
fn holds(schedule: &Schedule, now: Timestamp) -> Result<bool, String> {
    let zone = TimeZone::get(&schedule.time_zone)
        .map_err(|_| format!("no time zone `{}`", schedule.time_zone))?;
    let local = now.to_zoned(zone);
    let minute =
        u16::try_from(local.hour()).unwrap_or(0) * 60 + u16::try_from(local.minute()).unwrap_or(0);
    let today = day(local.weekday());
    let listed = |day: Day| schedule.days.is_empty() || schedule.days.contains(&day);
    let (from, to) = (schedule.from_minute, schedule.to_minute);
    if from < to {
        return Ok(listed(today) && (from..to).contains(&minute));
    }
    // Past midnight: the early part belongs to the day before.
    let yesterday = day(local.weekday().previous());
    Ok((listed(today) && minute >= from) || (listed(yesterday) && minute < to))
}

fn day(weekday: Weekday) -> Day {
    match weekday {
        Weekday::Monday => Day::Mon,
        Weekday::Tuesday => Day::Tue,
        Weekday::Wednesday => Day::Wed,
        Weekday::Thursday => Day::Thu,
        Weekday::Friday => Day::Fri,
        Weekday::Saturday => Day::Sat,
        Weekday::Sunday => Day::Sun,
    }
}
