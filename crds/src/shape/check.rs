//! Parts that the checks of shapes are made of.

use std::fmt::Display;
use std::str::FromStr;

use actpass_core::canonical::excerpt;
use actpass_core::json::FieldPath;

/// Minutes since 00:00 of a time such as `09:00`; `24:00` is 1440.
pub(crate) fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let minute = hours.checked_mul(60)?.checked_add(minutes)?;
    (minutes < 60 && minute <= 1_440).then_some(minute)
}

pub(super) fn parses<T: FromStr<Err: Display>>(text: &str) -> Result<(), String> {
    text.parse::<T>()
        .map(drop)
        .map_err(|error| error.to_string())
}

pub(super) fn holds(holds: bool, text: &str, what: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("`{}` {what}", excerpt(text)))
    }
}

pub(super) fn character(text: &str, allowed: &str) -> String {
    format!("`{}` may hold only {allowed}", excerpt(text))
}

/// Text of `outer` bytes that may have `joint` bytes between them.
pub(super) fn inner(
    text: &str,
    allowed: &str,
    outer: fn(u8) -> bool,
    joint: fn(u8) -> bool,
) -> Result<(), String> {
    let all = text.bytes().all(|byte| outer(byte) || joint(byte));
    let ends = [text.bytes().next(), text.bytes().next_back()];
    let ends = ends.into_iter().all(|byte| byte.is_some_and(outer));
    if all && ends {
        Ok(())
    } else {
        Err(character(text, allowed))
    }
}

pub(super) fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

pub(super) fn is_joint(byte: u8) -> bool {
    matches!(byte, b'-' | b'.' | b'_')
}

pub(super) fn response_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("path `{}` does not start with `/`", excerpt(text)));
    }
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let place = behind.split_once('}');
        let (Some((name, after)), false) = (place, before.contains('}')) else {
            return Err(format!("path `{}` has an unpaired brace", excerpt(text)));
        };
        match name.strip_prefix("response.") {
            Some(field) => parses::<FieldPath>(field)?,
            None => {
                let (text, name) = (excerpt(text), excerpt(name));
                return Err(format!(
                    "path `{text}`: `{{{name}}}` must be `{{response.FIELD}}`, a field of the answer"
                ));
            }
        }
        rest = after;
    }
    holds(!rest.contains('}'), text, "has an unpaired brace")
}
