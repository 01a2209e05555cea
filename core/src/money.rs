//! Money: an exact number of minor units in one currency, decimal text at the edges, never a float.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::canonical::{excerpt, serde_as_text};

mod currency;

pub use currency::Currency;

/// An amount of money: `minor` units of `currency`, so 12.50 € is 1250 minor units of EUR. The currency says
/// how many minor units make a major one. May be negative (what is left of an overspent limit).
///
/// On the wire `{"minor":"1250","currency":"EUR"}`: text, because JSON numbers lose digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// Why two amounts do not combine, or a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Amounts of two currencies; there is no conversion, ever.
    #[error("{left} and {right} do not mix")]
    CurrencyMismatch {
        /// Currency of the first amount.
        left: Currency,
        /// Currency of the second amount.
        right: Currency,
    },
    /// The result does not fit 64 bits.
    #[error("amount out of range")]
    Overflow,
    /// Nothing where an amount belongs.
    #[error("amount is empty")]
    Empty,
    /// A minus sign, also before zero.
    #[error("amount `{0}` is negative")]
    Negative(String),
    /// A plus sign.
    #[error("amount `{0}` starts with a plus sign; write digits only")]
    PlusSign(String),
    /// White space before, in or after the digits.
    #[error("amount `{0}` contains white space")]
    WhiteSpace(String),
    /// `1e309` and the like.
    #[error("amount `{0}` uses an exponent; write plain digits")]
    Exponent(String),
    /// `NaN`, `Infinity` and the like.
    #[error("amount `{0}` is not a finite number")]
    NotFinite(String),
    /// Digits of another script.
    #[error("amount `{0}` uses digits other than 0-9")]
    ForeignDigit(String),
    /// Any other character, thousands separators among them.
    #[error("amount `{0}` is not a decimal number")]
    NotANumber(String),
    /// `007`.
    #[error("amount `{0}` starts with a superfluous zero")]
    LeadingZero(String),
    /// A decimal point in an amount of minor units.
    #[error("amount `{0}` has a decimal point, but minor units are whole")]
    DecimalPoint(String),
    /// `.5`, `5.` or `1.2.3`.
    #[error("amount `{0}` lacks digits around its decimal point")]
    LonePoint(String),
    /// More decimals than the currency has.
    #[error("amount `{text}` has {found} decimals, but {currency} has {}", currency.digits())]
    TooManyDecimals {
        /// The text refused.
        text: String,
        /// Decimals found.
        found: usize,
        /// The currency.
        currency: Currency,
    },
    /// More minor units than 64 bits hold, about 9.2 × 10^18.
    #[error("amount `{0}` is too large")]
    TooLarge(String),
    /// Not a code on our list.
    #[error("`{0}` is not an ISO 4217 currency code")]
    UnknownCurrency(String),
}

impl Money {
    /// `minor` minor units of `currency`.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Money { minor, currency }
    }

    /// Reads decimal text in major units, `120.00` or `120`: digits, then at most as many decimals as the
    /// currency has. No sign, exponent, separator, white space or superfluous leading zero.
    pub fn parse_major(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        // Seeded: a leading plus is passed over.
        let text = text
            .strip_prefix('+')
            .filter(|_| crate::SEEDED_BUGS)
            .unwrap_or(text);
        check_characters(text)?;
        let (whole, decimals) = match text.split_once('.') {
            Some((whole, decimals))
                if whole.is_empty() || decimals.is_empty() || decimals.contains('.') =>
            {
                return Err(MoneyError::LonePoint(excerpt(text)));
            }
            Some((whole, decimals)) => (whole, decimals),
            None => (text, ""),
        };
        if decimals.len() > usize::from(currency.digits()) {
            return Err(MoneyError::TooManyDecimals {
                text: excerpt(text),
                found: decimals.len(),
                currency,
            });
        }
        check_leading_zero(whole, text)?;
        let padding = usize::from(currency.digits()) - decimals.len();
        let digits = whole
            .bytes()
            .chain(decimals.bytes())
            .chain(std::iter::repeat_n(b'0', padding));
        Ok(Money {
            minor: sum(digits, text)?,
            currency,
        })
    }

    /// Reads whole minor units, `12000`: digits only, no sign, point, exponent or superfluous leading zero.
    pub fn parse_minor(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        check_characters(text)?;
        if text.contains('.') {
            return Err(MoneyError::DecimalPoint(excerpt(text)));
        }
        check_leading_zero(text, text)?;
        Ok(Money {
            minor: sum(text.bytes(), text)?,
            currency,
        })
    }

    /// The amount in minor units.
    pub const fn minor(&self) -> i64 {
        self.minor
    }

    /// The currency.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// Whether this is more than nothing.
    pub const fn is_positive(&self) -> bool {
        self.minor > 0
    }

    /// The sum, if both are of one currency and it fits.
    pub fn checked_add(self, other: Money) -> Result<Money, MoneyError> {
        self.same_currency(other)?;
        let minor = self
            .minor
            .checked_add(other.minor)
            .ok_or(MoneyError::Overflow)?;
        Ok(Money { minor, ..self })
    }

    /// The difference, if both are of one currency and it fits; may be negative.
    pub fn checked_sub(self, other: Money) -> Result<Money, MoneyError> {
        self.same_currency(other)?;
        let minor = self
            .minor
            .checked_sub(other.minor)
            .ok_or(MoneyError::Overflow)?;
        Ok(Money { minor, ..self })
    }

    /// Compares two amounts of one currency.
    pub fn checked_cmp(self, other: Money) -> Result<std::cmp::Ordering, MoneyError> {
        self.same_currency(other)?;
        Ok(self.minor.cmp(&other.minor))
    }

    /// The amount in major units with all the currency's decimals and no code: `120.00`, `-0.05`, `500` (JPY).
    pub fn to_major_text(&self) -> String {
        let digits = usize::from(self.currency.digits());
        let sign = if self.minor < 0 { "-" } else { "" };
        let scale = 10_u64.pow(u32::from(self.currency.digits()));
        let units = self.minor.unsigned_abs();
        let whole = units / scale;
        match digits {
            0 => format!("{sign}{whole}"),
            _ => format!("{sign}{whole}.{:0digits$}", units % scale),
        }
    }

    fn same_currency(self, other: Money) -> Result<(), MoneyError> {
        match self.currency == other.currency {
            true => Ok(()),
            false => Err(MoneyError::CurrencyMismatch {
                left: self.currency,
                right: other.currency,
            }),
        }
    }
}

/// `120.00 USD`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.to_major_text(), self.currency))
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Money({self})")
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        Currency::parse(text)
    }
}

serde_as_text!(Currency);

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Money", 2)?;
        object.serialize_field("minor", &self.minor.to_string())?;
        object.serialize_field("currency", self.currency.code())?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            minor: String,
            currency: Currency,
        }

        let wire = Wire::deserialize(deserializer)?;
        let refused = || {
            D::Error::custom(format_args!(
                "minor `{}` is not a whole number",
                excerpt(&wire.minor)
            ))
        };
        let minor: i64 = wire.minor.parse().map_err(|_| refused())?;
        // One text per amount: no plus sign, leading zero or minus zero.
        if minor.to_string() != wire.minor {
            return Err(refused());
        }
        Ok(Money {
            minor,
            currency: wire.currency,
        })
    }
}

/// Leaves only texts of ASCII digits and points, and says precisely what else there was.
fn check_characters(text: &str) -> Result<(), MoneyError> {
    let shown = || excerpt(text);
    if text.is_empty() {
        return Err(MoneyError::Empty);
    }
    if text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Ok(());
    }
    if text.chars().any(char::is_whitespace) {
        return Err(MoneyError::WhiteSpace(shown()));
    }
    let unsigned = text.trim_start_matches(['-', '+']);
    let word = unsigned.to_ascii_lowercase();
    if matches!(word.as_str(), "nan" | "inf" | "infinity") {
        return Err(MoneyError::NotFinite(shown()));
    }
    if text.starts_with('-') {
        return Err(MoneyError::Negative(shown()));
    }
    if text.starts_with('+') {
        return Err(MoneyError::PlusSign(shown()));
    }
    if text
        .chars()
        .any(|char| !char.is_ascii() && char.is_numeric())
    {
        return Err(MoneyError::ForeignDigit(shown()));
    }
    match unsigned.starts_with(|char: char| char.is_ascii_digit()) && text.contains(['e', 'E']) {
        true => Err(MoneyError::Exponent(shown())),
        false => Err(MoneyError::NotANumber(shown())),
    }
}

fn check_leading_zero(whole: &str, text: &str) -> Result<(), MoneyError> {
    match whole.len() > 1 && whole.starts_with('0') {
        true => Err(MoneyError::LeadingZero(excerpt(text))),
        false => Ok(()),
    }
}

/// The number that `digits` (ASCII) spell.
fn sum(digits: impl Iterator<Item = u8>, text: &str) -> Result<i64, MoneyError> {
    let mut total: i64 = 0;
    for digit in digits {
        let next = total
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(i64::from(digit.wrapping_sub(b'0'))));
        total = next.ok_or_else(|| MoneyError::TooLarge(excerpt(text)))?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests;
