//! Whether what is decided holds: the mode of a namespace, as its bundle says it.

use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;

/// Whether decisions hold. A word that is neither is no mode, and a bundle with one is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// What is not permitted does not happen.
    #[default]
    Enforce,
    /// Everything is decided and recorded, and passed on whatever was decided; nothing is lent and nobody is asked.
    Audit,
}

impl Mode {
    /// As the label of the namespace says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
        }
    }

    pub(crate) fn is_enforce(&self) -> bool {
        *self == Self::Enforce
    }
}

/// The text is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no mode; write `audit` or `enforce`")]
pub struct ModeError(String);

impl std::str::FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        let modes = [Self::Enforce, Self::Audit];
        let found = modes.into_iter().find(|mode| mode.word() == text);
        found.ok_or_else(|| ModeError(crate::canonical::excerpt(text)))
    }
}

/// Leave to pass something on whatever is decided about it. Only a bundle under audit gives it, so nothing that enforces
/// can come by one.
#[derive(Debug)]
pub struct Unenforced(());

impl Unenforced {
    /// The leave that a bundle gives, if it does.
    pub fn under(bundle: &Bundle) -> Option<Self> {
        (bundle.spec().mode == Mode::Audit).then_some(Self(()))
    }
}
