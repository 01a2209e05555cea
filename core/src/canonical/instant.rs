//! Instants as text: RFC 3339 in UTC with exactly six decimals.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::excerpt;

/// A text that is not an instant in the canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an instant like `2026-11-21T09:00:00.123456Z`")]
pub struct InstantError(String);

/// `t` as RFC 3339 in UTC with exactly six decimals, for example `2026-11-21T09:00:00.123456Z`.
/// Nanoseconds are cut, not rounded, so the text never lies in the future of `t`.
pub fn instant(t: Timestamp) -> String {
    with_instant(t, str::to_owned)
}

/// Calls `then` with the text: records and leaves have several each, so it is made by digits, on the stack.
pub(crate) fn with_instant<R>(t: Timestamp, then: impl FnOnce(&str) -> R) -> R {
    let civil = Offset::UTC.to_datetime(t);
    let Ok(year) = u32::try_from(civil.year()) else {
        // Before year 0. jiff drops trailing zeros unless a precision is given, and cuts at the given one.
        return then(&format!("{t:.6}"));
    };
    let small = |part: i8| u32::from(part.unsigned_abs());
    let parts = [
        (0, 4, year),
        (5, 2, small(civil.month())),
        (8, 2, small(civil.day())),
        (11, 2, small(civil.hour())),
        (14, 2, small(civil.minute())),
        (17, 2, small(civil.second())),
        (20, 6, civil.subsec_nanosecond().unsigned_abs() / 1000),
    ];
    let mut text = SHAPE;
    for (start, length, mut number) in parts {
        for digit in text.iter_mut().skip(start).take(length).rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    // Digits and the shape are ASCII, so the text is never the empty fallback.
    then(std::str::from_utf8(&text).unwrap_or_default())
}

/// The instant whose canonical text this is; any other spelling of it is refused.
pub fn parse_instant(text: &str) -> Result<Timestamp, InstantError> {
    let refused = || InstantError(excerpt(text));
    // Not every reader's calendar has a year 0.
    let shaped = text.len() == SHAPE.len()
        && !text.starts_with("0000")
        && text
            .bytes()
            .zip(SHAPE)
            .all(|(byte, shape)| fits(byte, shape));
    if !shaped {
        return Err(refused());
    }
    let number = |start: usize, length: usize| {
        let digits = text.bytes().skip(start).take(length);
        digits.fold(0_i32, |number, digit| number * 10 + i32::from(digit & 0x0f))
    };
    // At most 99, and a leap second is no second of a civil time.
    let small = |start: usize| number(start, 2) as i8;
    let civil = DateTime::new(
        number(0, 4) as i16,
        small(5),
        small(8),
        small(11),
        small(14),
        small(17),
        number(20, 6) * 1000,
    );
    let parsed = civil.and_then(|civil| Offset::UTC.to_timestamp(civil));
    parsed.map_err(|_| refused())
}

/// `0` stands for any digit.
const SHAPE: [u8; 27] = *b"0000-00-00T00:00:00.000000Z";

fn fits(byte: u8, shape: u8) -> bool {
    if shape == b'0' {
        byte.is_ascii_digit()
    } else {
        byte == shape
    }
}

/// `#[serde(with = "actpass_core::canonical::serde_instant")]` for a `Timestamp`.
pub mod serde_instant {
    use std::fmt;

    use jiff::Timestamp;
    use serde::de::Visitor;
    use serde::{Deserializer, Serializer};

    /// Writes the canonical text.
    pub fn serialize<S: Serializer>(t: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        super::with_instant(*t, |text| serializer.serialize_str(text))
    }

    /// Reads the canonical text only.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        deserializer.deserialize_str(InstantVisitor)
    }

    struct InstantVisitor;

    impl Visitor<'_> for InstantVisitor {
        type Value = Timestamp;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an instant like 2026-11-21T09:00:00.123456Z")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
            super::parse_instant(text).map_err(E::custom)
        }
    }
}

/// As [`serde_instant`], for an `Option<Timestamp>`; pair it with `#[serde(default)]` where the field may be absent.
pub mod serde_instant_opt {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the canonical text, or null.
    pub fn serialize<S: Serializer>(
        t: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match t {
            Some(t) => super::serde_instant::serialize(t, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the canonical text, or null.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        #[derive(Deserialize)]
        struct Instant(#[serde(with = "super::serde_instant")] Timestamp);

        let read: Option<Instant> = Option::deserialize(deserializer)?;
        Ok(read.map(|Instant(t)| t))
    }
}
