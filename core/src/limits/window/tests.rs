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
}
