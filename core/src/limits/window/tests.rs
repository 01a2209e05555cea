use proptest::prelude::*;

use super::*;
use crate::limits::{OnExceed, Unit};

fn limit(window: Window) -> Limit {
    Limit {
        meter: "m".to_owned(),
        unit: Unit::Count,
        max: 100,
        window,
        on_exceed: OnExceed::Deny,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn a_day_ends_at_midnight_utc() {
    let mut state = LimitState::new(&limit(Window::Calendar(Period::Day)));
    state.reserve(at("2026-12-31T23:59:59Z"), 7).unwrap();
    assert_eq!(state.used_at(at("2026-12-31T23:59:59.999Z")), 7);
    assert_eq!(
        state.frees_at(at("2026-12-31T23:59:59Z")),
        Some(at("2027-01-01T00:00:00Z"))
    );
    assert_eq!(state.used_at(at("2027-01-01T00:00:00Z")), 0);
}

#[test]
fn a_month_ends_on_the_first() {
    let mut state = LimitState::new(&limit(Window::Calendar(Period::Month)));
    state.reserve(at("2028-02-29T12:00:00Z"), 7).unwrap();
    assert_eq!(
        state.frees_at(at("2028-02-29T12:00:00Z")),
        Some(at("2028-03-01T00:00:00Z"))
    );
    assert_eq!(state.used_at(at("2028-03-01T00:00:00Z")), 0);
}

#[test]
fn a_sliding_amount_counts_until_its_bucket_has_left_the_window() {
    let mut state = LimitState::new(&limit(Window::Sliding { seconds: 3600 }));
    state.reserve(second(6_001), 5).unwrap();
    assert_eq!(
        state.used_at(second(6_001 + 3_600)),
        5,
        "a whole window later it may still count"
    );
    assert_eq!(state.frees_at(second(6_001)), Some(second(6_060 + 3_600)));
    assert_eq!(state.used_at(second(6_060 + 3_600 - 1)), 5);
    assert_eq!(state.used_at(second(6_060 + 3_600)), 0);
}

#[test]
fn a_clock_set_back_frees_nothing_and_loses_nothing() {
    let mut state = LimitState::new(&limit(Window::Calendar(Period::Day)));
    state.reserve(at("2026-05-02T00:00:01Z"), 7).unwrap();
    state.reserve(at("2026-05-01T23:00:00Z"), 1).unwrap();
    assert_eq!(state.used_at(at("2026-05-01T12:00:00Z")), 8);
}

#[test]
fn negative_and_overflowing_amounts_are_refused() {
    let mut state = LimitState::new(&limit(Window::Sliding { seconds: 60 }));
    assert_eq!(state.reserve(second(0), -1), Err(WindowError::Negative));
    state.reserve(second(0), i64::MAX).unwrap();
    assert_eq!(state.reserve(second(0), 1), Err(WindowError::Overflow));
}

proptest! {
    #[test]
    fn what_really_lies_within_the_window_is_never_more_than_what_counts(
        seconds in 60u32..100_000,
        events in prop::collection::vec((0i64..50_000, 0i64..1_000), 1..60),
    ) {
        let mut state = LimitState::new(&limit(Window::Sliding { seconds }));
        let mut now = 0;
        let mut all = Vec::new();
        for (gap, amount) in events {
            now += gap;
            state.reserve(second(now), amount).unwrap();
            all.push((now, amount));
            let real: i64 = all.iter().filter(|(then, _)| now - then < i64::from(seconds)).map(|(_, amount)| amount).sum();
            prop_assert!(state.used_at(second(now)) >= real);
        }
        prop_assert!(state.buckets.len() <= 62);
    }

    #[test]
    fn releasing_restores_the_total(amounts in prop::collection::vec(0i64..1_000, 1..20)) {
        let mut state = LimitState::new(&limit(Window::Sliding { seconds: 3600 }));
        let held: Vec<_> = amounts.iter().map(|amount| (state.reserve(second(10), *amount).unwrap(), *amount)).collect();
        for (bucket, amount) in held {
            state.release(bucket, amount);
        }
        prop_assert_eq!(state.used_at(second(10)), 0);
        prop_assert_eq!(state.frees_at(second(10)), None);
    }

    /// Whoever looks before each reservation never overspends, whatever span one lays over the log afterwards.
    #[test]
    fn no_span_as_long_as_the_window_ever_holds_more_than_the_cap(
        seconds in prop_oneof![1u32..120, 60u32..100_000],
        asks in prop::collection::vec((0i64..3_000_000, 1i64..60, any::<bool>()), 1..80),
    ) {
        let limit = limit(Window::Sliding { seconds });
        let mut state = LimitState::new(&limit);
        let (mut now, mut taken) = (0, Vec::new());
        for (gap, amount, released) in asks {
            now += gap * i64::from(seconds) / 60;
            let at = Timestamp::from_microsecond(now).unwrap();
            if state.used_at(at) + amount > limit.max {
                // Never freed before the instant it names.
                let frees = state.frees_at(at).unwrap();
                prop_assert!(frees > at);
                let before = frees.checked_sub(jiff::SignedDuration::from_micros(1)).unwrap();
                prop_assert_eq!(state.used_at(before), state.used_at(at));
                prop_assert!(state.used_at(frees) < state.used_at(at));
                continue;
            }
            let bucket = state.reserve(at, amount).unwrap();
            if released {
                state.release(bucket, amount);
            } else {
                taken.push((now, amount));
            }
        }
        let window = i64::from(seconds) * 1_000_000;
        for (start, _) in &taken {
            let span = *start..*start + window;
            let spent: i64 = taken.iter().filter(|(at, _)| span.contains(at)).map(|(_, amount)| amount).sum();
            prop_assert!(spent <= limit.max, "{spent} from {start}");
        }
    }

    #[test]
    fn a_calendar_period_holds_its_cap_and_starts_anew(
        month in any::<bool>(),
        asks in prop::collection::vec((0i64..400_000, 1i64..60), 1..60),
    ) {
        let period = if month { Period::Month } else { Period::Day };
        let limit = limit(Window::Calendar(period));
        let mut state = LimitState::new(&limit);
        let (mut now, mut taken) = (1_790_000_000, BTreeMap::<String, i64>::new());
        for (gap, amount) in asks {
            now += gap;
            let at = second(now);
            if state.used_at(at) + amount <= limit.max {
                state.reserve(at, amount).unwrap();
                let text = at.to_string();
                let name = text.split('T').next().unwrap().to_owned();
                let name = if month { name.get(..7).unwrap().to_owned() } else { name };
                *taken.entry(name).or_default() += amount;
            } else {
                let frees = state.frees_at(at).unwrap();
                prop_assert_eq!(state.used_at(frees), 0);
                prop_assert!(state.used_at(frees.checked_sub(jiff::SignedDuration::from_micros(1)).unwrap()) > 0);
            }
        }
        prop_assert!(taken.values().all(|sum| *sum <= limit.max), "{taken:?}");
    }
}
