//! Plain scalars: what all readers of YAML agree on, and what they do not.

use serde_json::Value;

/// A scalar as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scalar {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A decimal integer without superfluous zeros, as text.
    Integer(String),
    /// What readers take for different things, as text.
    Odd(String, Odd),
    /// Text, quoted or not.
    Text { text: String, quoted: bool },
}

/// Why a plain scalar is not what it seems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    /// A number with a fraction or exponent: a float would round it.
    Float,
    /// Text to YAML 1.2, a boolean to YAML 1.1 and so to kubectl: `yes`, `no`, `on`, `off`, `y`, `n`.
    Boolean,
    /// An integer that is octal in one version and decimal in another, or with a prefix, sign or underscore.
    Integer,
}

impl Scalar {
    /// Reads a scalar that was written without quotes.
    pub(crate) fn plain(text: &str) -> Self {
        let owned = || text.to_owned();
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Bool(true),
            "false" | "False" | "FALSE" => return Self::Bool(false),
            _ => {}
        }
        if ODD_BOOLEANS
            .iter()
            .any(|word| text.eq_ignore_ascii_case(word))
        {
            return Self::Odd(owned(), Odd::Boolean);
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if decimal && (digits == "0" || !digits.starts_with('0')) {
            return Self::Integer(owned());
        }
        if decimal || is_odd_integer(text) {
            return Self::Odd(owned(), Odd::Integer);
        }
        if is_float(text) {
            return Self::Odd(owned(), Odd::Float);
        }
        Self::Text {
            text: owned(),
            quoted: false,
        }
    }

    /// How a message names it.
    pub(crate) fn found(&self) -> String {
        use actpass_core::canonical::excerpt;
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("boolean {value}"),
            Self::Integer(text) | Self::Odd(text, Odd::Float | Odd::Integer) => {
                format!("number {}", excerpt(text))
            }
            Self::Odd(text, Odd::Boolean) => format!("`{text}`, which kubectl reads as a boolean"),
            Self::Text { text, .. } if text.is_empty() => "empty text".to_owned(),
            Self::Text { text, .. } => format!("text `{}`", excerpt(text)),
        }
    }

    /// The scalar as it was written.
    pub(crate) fn source(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Integer(text) | Self::Odd(text, _) | Self::Text { text, .. } => text,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Integer(text) => match text.parse::<i64>() {
                Ok(number) => Value::from(number),
                Err(_) => Value::String(text.clone()),
            },
            Self::Odd(text, _) | Self::Text { text, .. } => Value::String(text.clone()),
        }
    }
}

/// What YAML 1.1 reads as a boolean, besides `true` and `false` (<https://yaml.org/type/bool.html>).
const ODD_BOOLEANS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];

/// `+5`, `0o17`, `0x1f`, `0b1`, `1_000`: integers to some readers.
fn is_odd_integer(text: &str) -> bool {
    let unsigned = text.trim_start_matches(['-', '+']);
    let prefixed = ["0o", "0x", "0b"]
        .into_iter()
        .find_map(|prefix| unsigned.strip_prefix(prefix));
    match prefixed {
        Some(digits) => {
            !digits.is_empty()
                && digits
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b'_')
        }
        None => {
            unsigned.starts_with(|first: char| first.is_ascii_digit())
                && unsigned
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'_')
        }
    }
}

/// A float of the YAML 1.2 core schema, also with underscores as YAML 1.1 allows.
fn is_float(text: &str) -> bool {
    let unsigned = text.trim_start_matches(['-', '+']);
    if matches!(unsigned.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return true;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.trim_start_matches(['-', '+']))),
        None => (unsigned, None),
    };
    let digits = |part: &str| {
        part.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'_')
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let number =
        digits(whole) && digits(fraction) && mantissa.bytes().any(|byte| byte.is_ascii_digit());
    let starts = mantissa.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    number && starts && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}
