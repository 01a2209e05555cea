//! Amounts of money as text.

use actpass_core::canonical;
use actpass_core::money::{Currency, Money, MoneyError};

use crate::input::Input;

/// Input: a currency and an amount, a line each.
///
/// - What is accepted is digits and at most one point between digits, worth exactly what they spell.
/// - The text of an amount reads back as that amount, in major units and as JSON.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (Some(code), Some(text)) = (input.text_line(), input.text_line()) else {
        return;
    };
    let Ok(currency) = code.parse::<Currency>() else {
        return;
    };
    assert_eq!(currency.to_string(), code);
    let digits = usize::from(currency.digits());
    if let Ok(money) = Money::parse_major(text, currency) {
        assert_eq!(
            spelled(text, digits),
            Some(money.minor()),
            "{text} {currency}"
        );
        check(money, Money::parse_major);
    }
    if let Ok(money) = Money::parse_minor(text, currency) {
        assert!(!text.contains('.'));
        assert_eq!(spelled(text, 0), Some(money.minor()), "{text} {currency}");
        check(money, Money::parse_major);
    }
}

/// Minor units of a decimal text with at most `digits` decimals.
fn spelled(text: &str, digits: usize) -> Option<i64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let only_digits = !whole.is_empty()
        && (whole.to_owned() + decimals)
            .bytes()
            .all(|byte| byte.is_ascii_digit());
    let plain = only_digits && !text.ends_with('.') && (whole == "0" || !whole.starts_with('0'));
    if !plain || decimals.len() > digits {
        return None;
    }
    format!("{whole}{decimals:0<digits$}").parse().ok()
}

fn check(money: Money, parse: fn(&str, Currency) -> Result<Money, MoneyError>) {
    assert!(money.minor() >= 0);
    assert_eq!(parse(&money.to_major_text(), money.currency()), Ok(money));
    let json = canonical::to_vec(&money).expect("money has a canonical form");
    assert_eq!(canonical::from_slice(&json), Ok(money));
}
