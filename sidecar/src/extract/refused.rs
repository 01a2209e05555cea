//! What a request is refused for before it is an action.

use actpass_core::capability::Capability;

/// A request that is not exactly one declared action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Refused {
    /// Machine-readable reason.
    pub code: RefusalCode,
    /// What is wrong and what to do, as sentences. Names parameters and headers, never holds values.
    pub detail: String,
    /// The declared action, where the request got as far as that.
    pub capability: Option<Capability>,
}

/// Machine-readable reason of a refusal; [`RefusalCode::as_str`] is what records and answers carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusalCode {
    /// Not readable in the one way the declared format has.
    Unparsable,
    /// No declared action.
    Undeclared,
    /// More than one action: a batch, or a request that asks for another method or path than its own.
    TwoActions,
    /// The Content-Type is not the declared one.
    MislabelledBody,
    /// The body is compressed, so that what it says is not what would be read.
    CompressedBody,
    /// A parameter that the action does not declare.
    UndeclaredParameter,
    /// More bytes than the action declares.
    BodyTooLarge,
    /// A body where none is declared.
    BodyNotAllowed,
    /// A path that two servers could resolve differently.
    BadPath,
    /// A parameter given twice.
    DuplicateKey,
    /// A judged header given twice.
    DuplicateHeader,
    /// A judged header over its bound.
    HeaderTooLarge,
}

impl RefusalCode {
    /// The code in records, answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unparsable => "unparsable",
            Self::Undeclared => "undeclared",
            Self::TwoActions => "two_actions",
            Self::MislabelledBody => "mislabelled_body",
            Self::CompressedBody => "compressed_body",
            Self::UndeclaredParameter => "undeclared_parameter",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyNotAllowed => "body_not_allowed",
            Self::BadPath => "bad_path",
            Self::DuplicateKey => "duplicate_key",
            Self::DuplicateHeader => "duplicate_header",
            Self::HeaderTooLarge => "header_too_large",
        }
    }
}

impl std::fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Refused {
    pub(super) fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            capability: None,
        }
    }

    /// The same, now that the action is known.
    pub(super) fn of(self, capability: &Capability) -> Self {
        Self {
            capability: Some(capability.clone()),
            ..self
        }
    }
}

/// `name` as it may stand in an answer: a plain name of at most [`NAME_CHARS`] characters in backticks. Anything else
/// may be a value in the wrong place (a JSON document sent as a form is all key), and is not repeated.
pub(super) fn shown_name(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    match !name.is_empty() && name.len() <= NAME_CHARS && name.bytes().all(plain) {
        true => format!("`{name}`"),
        false => "(name withheld)".to_owned(),
    }
}

/// Longest name repeated in an answer: three levels of 20 characters and their brackets.
const NAME_CHARS: usize = 64;
