//! Shapes of texts: each has a pattern for the schema, words for people, and the check itself.
//!
//! The pattern is what an API server enforces; the check here is the same or stricter, because it is the parser of
//! the core type the text becomes. The walker finds a shape by its pattern.

mod check;

use actpass_core::canonical::excerpt;
use actpass_core::capability::{Capability, CapabilityPattern, Glob};
use actpass_core::form::ParamPattern;
use actpass_core::host::HostPattern;
use actpass_core::json::FieldPath;
use actpass_core::limits::Unit;
use actpass_core::money::{Currency, Money, MoneyError};
use actpass_core::path::PathTemplate;
use actpass_core::upstream::Source;

pub(crate) use check::minute_of_day;

use check::{character, holds, inner, is_joint, is_lower, parses, response_path};

/// One shape.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Regular expression, in the syntax both ECMA 262 and RE2 read.
    pub(crate) pattern: &'static str,
    /// What to write, to follow the word "expected".
    pub(crate) says: &'static str,
    /// What is wrong with a text, if anything.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

/// The shape with this pattern.
pub(crate) fn by_pattern(pattern: &str) -> Option<&'static Shape> {
    SHAPES.into_iter().find(|shape| shape.pattern == pattern)
}

/// RFC 1123 label: name of a resource or a rule.
pub(crate) const LABEL: Shape = Shape {
    pattern: "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    says: "a name of lower-case letters, digits and inner `-`, such as `refund-agent`",
    check: |text| inner(text, "a-z, 0-9 and inner -", is_lower, |byte| byte == b'-'),
};

/// Name of a meter or of a credential in the vault.
pub(crate) const NAME: Shape = Shape {
    pattern: "^[a-z0-9]([-._a-z0-9]*[a-z0-9])?$",
    says: "a name of lower-case letters, digits and inner `-`, `.` or `_`, such as `stripe-write`",
    check: |text| inner(text, "a-z, 0-9 and inner -, . or _", is_lower, is_joint),
};

/// Name of an agent in evidence.
pub(crate) const AGENT_ID: Shape = Shape {
    pattern: "^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$",
    says: "a name of letters, digits and inner `-`, `.` or `_`, such as `refund-agent`",
    check: |text| {
        inner(
            text,
            "letters, digits and inner -, . or _",
            |byte| byte.is_ascii_alphanumeric(),
            is_joint,
        )
    },
};

/// Name of an attribute: an identifier, since conditions write `attributes.reason`.
pub(crate) const IDENTIFIER: Shape = Shape {
    pattern: "^[A-Za-z_][A-Za-z0-9_]*$",
    says: "an identifier of letters, digits and `_`, such as `reason`",
    check: |text| {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let starts = !text.starts_with(|first: char| first.is_ascii_digit());
        holds(
            !text.is_empty() && text.bytes().all(word) && starts,
            text,
            "is no identifier",
        )
    },
};

/// One line of text for people.
pub(crate) const LINE: Shape = Shape {
    pattern: r"^[^\x00-\x1f\x7f]+$",
    says: "one line of text",
    check: |text| {
        let line = !text.is_empty() && !text.chars().any(|char| char.is_ascii_control());
        holds(
            line,
            text,
            "holds a line break or another control character",
        )
    },
};

/// An action's name within its Upstream.
pub(crate) const ACTION_NAME: Shape = Shape {
    pattern: r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$",
    says: "a name such as `refunds.create`",
    check: |text| {
        parses::<Capability>(&format!("u.{text}"))
            .map_err(|_| character(text, "a-z, 0-9, _ and -, in parts joined by dots"))
    },
};

/// One capability.
pub(crate) const CAPABILITY: Shape = Shape {
    pattern: r"^[a-z0-9_-]+(\.[a-z0-9_-]+)+$",
    says: "a capability such as `stripe.refunds.create`",
    check: parses::<Capability>,
};

/// A pattern of capabilities.
pub(crate) const CAPABILITY_PATTERN: Shape = Shape {
    pattern: r"^(\*\*|([a-z0-9_-]+|\*)(\.([a-z0-9_-]+|\*))*\.([a-z0-9_-]+|\*\*?))$",
    says: "a capability such as `stripe.refunds.create`, or a pattern such as \"stripe.*\"",
    check: parses::<CapabilityPattern>,
};

/// A pattern of resources.
pub(crate) const GLOB: Shape = Shape {
    pattern: r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f]$",
    says: "a resource or a pattern such as \"ch_*\"",
    check: parses::<Glob>,
};

/// A host name, or one leading `*.` and a name.
pub(crate) const HOST: Shape = Shape {
    pattern: r"^(\*\.)?([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    says: "a host name such as `api.stripe.com` or \"*.example.com\"",
    check: |text| {
        if text.contains("://") || text.contains('/') {
            return Err(format!(
                "`{}` is a URL; write its host name alone",
                excerpt(text)
            ));
        }
        if let Some((name, port)) = text
            .rsplit_once(':')
            .filter(|(name, _)| !name.contains(':'))
            && port.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(format!(
                "`{}` has a port; write `{}` here and the port under `ports`",
                excerpt(text),
                excerpt(name)
            ));
        }
        let host: HostPattern = text.parse().map_err(|error| format!("{error}"))?;
        match host.to_string() == text {
            true => Ok(()),
            false => Err(format!("write `{}` as `{host}`", excerpt(text))),
        }
    },
};

/// An HTTP method.
pub(crate) const METHOD: Shape = Shape {
    pattern: "^[A-Z]+$",
    says: "a method in upper case, such as `POST`",
    check: |text| {
        let upper = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase());
        holds(upper, text, "is no method in upper case")
    },
};

/// A template of paths.
pub(crate) const PATH_TEMPLATE: Shape = Shape {
    pattern: "^/[^?#%]*$",
    says: "a path such as `/v1/refunds`, `/v1/charges/{charge}` or \"/v1/**\"",
    check: |text| match text.split_once('?') {
        Some((path, _)) => Err(format!(
            "`{}` has a query; write `{}`, and what the query may hold as `query.NAME` under `params.allow`",
            excerpt(text),
            excerpt(path)
        )),
        None => parses::<PathTemplate>(text),
    },
};

/// Where a value is read.
pub(crate) const SOURCE: Shape = Shape {
    pattern: r"^(body|query|path|header)\..+$",
    says: "`body.FIELD`, `query.NAME`, `path.NAME` or `header.NAME`",
    check: |text| match text.strip_prefix("body.").filter(|field| !field.is_empty()) {
        Some(field) => parses::<FieldPath>(field),
        None => parses::<Source>(text),
    },
};

/// A declared parameter.
pub(crate) const PARAM: Shape = Shape {
    pattern: r"^[^\s]+$",
    says: "a body field such as `amount` or \"metadata[*]\", or `query.NAME`",
    check: parses::<ParamPattern>,
};

/// Name of a header (RFC 9110 section 5.1).
pub(crate) const HEADER: Shape = Shape {
    pattern: "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$",
    says: "a header name such as `Idempotency-Key`",
    check: |text| {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-!#$%&'*+.^_`|~".contains(&byte);
        holds(
            !text.is_empty() && text.bytes().all(token),
            text,
            "is no header name",
        )
    },
};

/// Value of a credential header.
pub(crate) const SECRET_FORMAT: Shape = Shape {
    pattern: r"^[ -z|~]*\{secret\}[ -z|~]*$",
    says: "a header value with one `{secret}` in it, such as \"Bearer {secret}\"",
    check: |text| match text.matches("{secret}").count() {
        1 if text.replace("{secret}", "").contains(['{', '}']) => {
            Err(character(text, "`{secret}` and no other brace"))
        }
        1 => holds(
            text.bytes().all(|byte| matches!(byte, b' '..=b'~')),
            text,
            "holds a character other than printable ASCII",
        ),
        0 => Err(format!(
            "`{}` lacks the place of the secret; write for example \"Bearer {{secret}}\"",
            excerpt(text)
        )),
        _ => Err(format!(
            "`{}` holds `{{secret}}` more than once",
            excerpt(text)
        )),
    },
};

/// An amount of money in major units, or a count.
pub(crate) const DECIMAL: Shape = Shape {
    pattern: r"^(0|[1-9][0-9]*)(\.[0-9]+)?$",
    says: "decimal text such as \"500.00\"",
    // The currency, and so how many decimals it has, is not known yet.
    check: |text| match Money::parse_major(text, Currency::USD) {
        Ok(_) | Err(MoneyError::TooManyDecimals { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    },
};

/// An ISO 4217 code.
pub(crate) const CURRENCY: Shape = Shape {
    pattern: "^[A-Z]{3}$",
    says: "a currency code such as `USD`",
    check: |text| match Currency::parse(text) {
        Ok(_) => Ok(()),
        Err(error) => match Currency::parse_any_case(text) {
            Ok(currency) => Err(format!(
                "`{}` must be in upper case: `{currency}`",
                excerpt(text)
            )),
            Err(_) => Err(error.to_string()),
        },
    },
};

/// A unit of a limit.
pub(crate) const UNIT: Shape = Shape {
    pattern: "^([A-Z]{3}|Count)$",
    says: "a currency code such as `USD`, or `Count`",
    check: |text| match Unit::try_from(text.to_owned()) {
        Ok(_) => Ok(()),
        Err(_) if text.eq_ignore_ascii_case("count") => {
            Err(format!("`{}` must be written `Count`", excerpt(text)))
        }
        Err(_) => (CURRENCY.check)(text).map_err(|error| format!("{error}, nor `Count`")),
    },
};

/// A time of day.
pub(crate) const TIME: Shape = Shape {
    pattern: "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
    says: "a time of day such as \"09:00\", at most \"24:00\"",
    check: |text| holds(minute_of_day(text).is_some(), text, "is no time of day"),
};

/// A time zone by its IANA name.
pub(crate) const TIME_ZONE: Shape = Shape {
    pattern: "^[-+_A-Za-z0-9]+(/[-+_A-Za-z0-9]+)*$",
    says: "an IANA time zone such as `UTC` or `Europe/Berlin`",
    check: |text| {
        holds(
            jiff::tz::TimeZone::get(text).is_ok(),
            text,
            "is no IANA time zone",
        )
    },
};

/// An instant.
pub(crate) const INSTANT: Shape = Shape {
    pattern: r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})$",
    says: "an instant such as \"2027-01-31T00:00:00Z\"",
    check: |text| {
        holds(
            text.parse::<jiff::Timestamp>().is_ok(),
            text,
            "is no instant with a date, a time and `Z` or an offset",
        )
    },
};

/// PEM certificates.
pub(crate) const PEM: Shape = Shape {
    pattern: "-----BEGIN CERTIFICATE-----",
    says: "PEM certificates",
    check: |text| {
        let begin = text.matches("-----BEGIN CERTIFICATE-----").count();
        let end = text.matches("-----END CERTIFICATE-----").count();
        if text.contains("PRIVATE KEY") {
            return Err("holds a private key; only certificates belong here".to_owned());
        }
        holds(
            begin > 0 && begin == end,
            text,
            "holds no whole certificate",
        )
    },
};

/// Path of a compensation: text with `{response.FIELD}` places.
pub(crate) const RESPONSE_PATH: Shape = Shape {
    pattern: r"^/([^{}]|\{response\.[^{}]+\})*$",
    says: "a path such as \"/v1/invoiceitems/{response.id}\"",
    check: response_path,
};

/// A SHA-256 hash.
pub(crate) const HASH: Shape = Shape {
    pattern: "^[0-9a-f]{64}$",
    says: "a hash of 64 lower-case hex digits",
    check: |text| {
        let hash = actpass_core::hash::unhex32(text).is_ok();
        holds(hash, text, "is no hash of 64 lower-case hex digits")
    },
};

/// An Ed25519 signature.
pub(crate) const SIGNATURE: Shape = Shape {
    pattern: "^[-_A-Za-z0-9]{86}$",
    says: "a signature of 64 bytes, base64url without padding",
    check: |text| {
        let bytes = actpass_core::hash::b64u_decode(text);
        let whole = bytes.is_ok_and(|bytes| bytes.len() == 64);
        holds(whole, text, "is no signature of 64 bytes")
    },
};

/// All of them.
const SHAPES: [&Shape; 26] = [
    &LABEL,
    &NAME,
    &AGENT_ID,
    &IDENTIFIER,
    &LINE,
    &ACTION_NAME,
    &CAPABILITY,
    &CAPABILITY_PATTERN,
    &GLOB,
    &HOST,
    &METHOD,
    &PATH_TEMPLATE,
    &SOURCE,
    &PARAM,
    &HEADER,
    &SECRET_FORMAT,
    &DECIMAL,
    &CURRENCY,
    &UNIT,
    &TIME,
    &TIME_ZONE,
    &INSTANT,
    &PEM,
    &RESPONSE_PATH,
    &HASH,
    &SIGNATURE,
];
