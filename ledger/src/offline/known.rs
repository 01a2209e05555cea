//! What whoever verifies a directory knows from elsewhere.

use actpass_core::evidence::checkpoint::{CheckpointError, NoteVerifier};
use actpass_core::evidence::receipt::KeptHead;
use actpass_core::succession::{KEYS_MAX, Listed};
use actpass_core::verify::Anchor;
use ed25519_dalek::VerifyingKey;

use super::resume::Resume;
use crate::heads::named;
use crate::vault::Vault;

/// Leaves between two words of progress.
const PROGRESS_EVERY: u64 = 1_024;

/// What a directory is held against. The default knows nothing: then a log is believed the key that it names.
#[derive(Clone, Copy, Default)]
pub struct Known<'a> {
    /// Signed checkpoints kept elsewhere; each is held against the log that it names.
    pub anchors: &'a [String],
    /// Sizes and roots kept where they are believed as they are, each with the name of its log.
    pub heads: &'a [(String, KeptHead)],
    /// The keys that checkpoints are signed with, the newest first: a log is held against the first of them that it names. One from before
    /// the newest came into use, or that was restored from before then, does not name that one.
    pub keys: &'a [LogKey],
    /// The keys of the texts beside the leaves.
    pub texts: TextKeys<'a>,
    /// Is told now and then how many leaves were verified, and of how many.
    pub progress: Option<&'a dyn Fn(u64, u64)>,
    /// Where it is kept how far a log is verified.
    pub resume: Option<&'a Resume>,
}

/// The keys under which the texts beside the leaves are encrypted.
#[derive(Clone, Copy, Default)]
pub enum TextKeys<'a> {
    /// Nobody expects them here: the texts stay closed, and that is said.
    #[default]
    NotGiven,
    /// They should be here and cannot be used: why.
    Unusable(&'a str),
    /// They are in this vault.
    Vault(&'a Vault),
}

impl Known<'_> {
    /// The logs that it speaks of.
    pub(super) fn logs(&self) -> impl Iterator<Item = &str> {
        let anchors = self.anchors.iter().map(|note| named(note));
        let heads = self.heads.iter().map(|(log, _)| log.as_str());
        let keys = self.keys.iter().filter_map(LogKey::log);
        anchors.chain(heads).chain(keys)
    }

    /// The keys of that log, the newest first.
    pub(super) fn keys_of(&self, origin: &str) -> Vec<NoteVerifier> {
        self.keys.iter().filter_map(|key| key.of(origin)).collect()
    }

    /// Whether nothing but a key that has ended speaks for a log.
    pub(super) fn has_ended(&self, key: Option<&NoteVerifier>) -> bool {
        let is =
            |known: &&LogKey| key.is_some_and(|key| known.of(key.name()).as_ref() == Some(key));
        self.keys.iter().find(is).is_some_and(LogKey::has_ended)
    }

    /// Says that so many leaves were verified, of so many, now and then.
    pub(super) fn verified(&self, leaves: u64, of: u64) {
        if leaves.is_multiple_of(PROGRESS_EVERY)
            && let Some(progress) = self.progress
        {
            progress(leaves, of);
        }
    }

    /// The anchors of that log.
    pub(super) fn anchors_of(&self, origin: &str) -> Vec<Anchor> {
        let anchors = self.anchors.iter().filter(|note| named(note) == origin);
        let heads = self.heads.iter().filter(|(log, _)| log == origin);
        let heads = heads.map(|(_, head)| Anchor::Head(*head));
        let anchors = anchors.cloned().map(Anchor::Checkpoint);
        anchors.chain(heads).collect()
    }
}

/// A log's public key as known from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogKey {
    /// Of the log it names.
    Named(NoteVerifier),
    /// Of any log: a ledger signs all its logs with one key.
    Public(VerifyingKey),
    /// One that others follow and that counts no more: it may have been stolen.
    Ended(VerifyingKey),
}

/// Why a text is not a log's public key.
#[derive(Debug, thiserror::Error)]
pub enum LogKeyError {
    /// A key file, whose private half has no business here.
    #[error("it holds a private key; give only its public half, the last word of the line")]
    Private,
    /// Not a verifier key, though it has the parts of one.
    #[error(transparent)]
    Verifier(#[from] CheckpointError),
    /// Neither form.
    #[error(
        "it holds neither a verifier key `name+hash+key`, as `actpass verify --output json` shows it, nor the public half of a `log.key`"
    )]
    Form,
}

impl LogKey {
    /// Reads a C2SP verifier key, or a line of a list of keys: 32 bytes of public key in base64url, and what is said of it.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn parse(text: &str) -> Result<Self, LogKeyError> {
        if text.trim_start().starts_with("actpass.ed25519/") {
            return Err(LogKeyError::Private);
        }
        let text = text.trim();
        if text.contains('+') {
            return Ok(Self::Named(NoteVerifier::from_vkey(text)?));
        }
        let listed = text.parse::<Listed>().map_err(|_| LogKeyError::Form)?;
        Ok(match listed.ended {
            true => Self::Ended(listed.key),
            false => Self::Public(listed.key),
        })
    }

    /// Reads one, or a list of those that followed one another, the oldest first, as ConfigMap `actpass-trust` has it.
    ///
    /// # Errors
    /// Where a line is neither, or there are none or more than a list has.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, LogKeyError> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let keys: Vec<Self> = lines.map(Self::parse).collect::<Result<_, _>>()?;
        match (1..=KEYS_MAX).contains(&keys.len()) {
            true => Ok(keys),
            false => Err(LogKeyError::Form),
        }
    }

    /// The log that it is of, where it is of one only.
    pub fn log(&self) -> Option<&str> {
        match self {
            Self::Named(key) => Some(key.name()),
            Self::Public(_) | Self::Ended(_) => None,
        }
    }

    /// The key of that log, where it is of it.
    pub fn of(&self, origin: &str) -> Option<NoteVerifier> {
        match self {
            Self::Named(key) => (key.name() == origin).then(|| key.clone()),
            Self::Public(key) | Self::Ended(key) => Some(NoteVerifier::new(origin, *key)),
        }
    }

    /// Whether it counts no more.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }
}

#[cfg(test)]
mod tests {
    use actpass_core::hash::b64u_encode;
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn a_public_key_is_read_in_both_forms_and_a_private_one_is_refused() {
        let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
        let public = b64u_encode(key.as_bytes());
        let verifier = NoteVerifier::new("actpass/local/default/1", key);
        struct Case {
            name: &'static str,
            given: String,
            want: Option<LogKey>,
        }
        let cases = [
            Case {
                name: "a verifier key",
                given: format!("{}\n", verifier.to_vkey()),
                want: Some(LogKey::Named(verifier.clone())),
            },
            Case {
                name: "the public half of a key file",
                given: format!("{public}\n"),
                want: Some(LogKey::Public(key)),
            },
            Case {
                name: "a line of a list of keys",
                given: format!("{public} from=2026-05-04T10:00:00Z\n"),
                want: Some(LogKey::Public(key)),
            },
            Case {
                name: "one that has ended",
                given: format!("{public} from=2026-05-04T10:00:00Z ended\n"),
                want: Some(LogKey::Ended(key)),
            },
            Case {
                name: "a whole key file",
                given: format!("actpass.ed25519/1 {public} {public}\n"),
                want: None,
            },
            Case {
                name: "a verifier key of another name",
                given: verifier.to_vkey().replace("default/1", "default/2"),
                want: None,
            },
            Case {
                name: "a cut key",
                given: public.get(1..).unwrap().to_owned(),
                want: None,
            },
            Case {
                name: "nothing",
                given: String::new(),
                want: None,
            },
        ];
        for Case { name, given, want } in cases {
            assert_eq!(LogKey::parse(&given).ok(), want, "{name}");
        }
        let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
        let list = format!("{public} ended\n{}\n", b64u_encode(other.as_bytes()));
        let keys = LogKey::parse_list(&list).unwrap();
        assert_eq!(keys, [LogKey::Ended(key), LogKey::Public(other)]);
        for no_list in [
            String::new(),
            "\n".to_owned(),
            list.replace("ended", "over"),
            list.repeat(9),
        ] {
            assert!(LogKey::parse_list(&no_list).is_err(), "{no_list}");
        }
    }
}
