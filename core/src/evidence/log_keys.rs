//! The keys that sign one log's checkpoints, one after the other.
//!
//! `genesis` names the first. Each `log_key` event names the next, and the key before vouches for it: from the tree that holds the
//! event on, checkpoints are signed with the new key and with no other; those of smaller trees stay with the keys they were signed
//! with. So who knows one key of a log is led to those after it by signatures, and to those before by a tree that holds their leaves.
//!
//! *Guarantees.* A key is in force once: none comes back. A log has at most [`LOG_KEYS_MAX`].

use ed25519_dalek::{Signature, Signer as _, SigningKey};
use serde::{Deserialize, Serialize};

use crate::canonical::excerpt;
use crate::evidence::checkpoint::{CheckpointError, NoteVerifier};
use crate::hash::{b64u_decode_array, b64u_encode};

/// Most keys of one log: one a week for almost five years. A state holds 130 bytes for each.
pub const LOG_KEYS_MAX: usize = 256;

/// What `by` of a `log_key` event covers begins so. No checkpoint holds a zero byte, so neither passes for the other.
const SIGNED: &[u8] = b"actpass.log_key/1\0";

/// Keys by the size of the tree from which on they are in force, the first first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, String)>", into = "Vec<(u64, String)>")]
pub struct LogKeys(Vec<(u64, NoteVerifier)>);

/// Why a key does not follow those before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogKeyRefused {
    /// It cannot be used, or is another log's.
    #[error("it cannot be used")]
    Key(#[source] CheckpointError),
    /// It was in force before.
    #[error("the log had it before")]
    Repeated,
    /// The key before did not sign for it.
    #[error("the key in force did not sign for it")]
    Unsigned,
    /// The log has too many.
    #[error("the log has {LOG_KEYS_MAX} keys already")]
    TooMany,
    /// Nobody knows which key was in force.
    #[error("no key is known that could sign for it")]
    NoneBefore,
}

impl LogKeys {
    /// Those of a log that begins with this key.
    pub fn of(first: NoteVerifier) -> Self {
        Self(vec![(0, first)])
    }

    /// The key for the largest tree.
    pub fn in_force(&self) -> Option<&NoteVerifier> {
        self.0.last().map(|(_, key)| key)
    }

    /// The key that signs the checkpoint of a tree of so many leaves.
    pub fn at(&self, size: u64) -> Option<&NoteVerifier> {
        let mut keys = self.0.iter().rev();
        keys.find(|(from, _)| *from <= size).map(|(_, key)| key)
    }

    /// Whether it is, or was, one of them.
    pub fn holds(&self, key: &NoteVerifier) -> bool {
        self.0.iter().any(|(_, held)| held == key)
    }

    /// All of them, each with the size from which on it is in force.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &NoteVerifier)> {
        self.0.iter().map(|(from, key)| (*from, key))
    }

    /// Takes in what a `log_key` event in leaf `seq` says.
    ///
    /// # Errors
    /// Where the key does not follow; then nothing changes.
    pub fn rotate(&mut self, seq: u64, key: &str, by: &str) -> Result<(), LogKeyRefused> {
        let before = self.in_force().ok_or(LogKeyRefused::NoneBefore)?;
        let next = named(key, before.name()).map_err(LogKeyRefused::Key)?;
        if self.holds(&next) {
            return Err(LogKeyRefused::Repeated);
        }
        let by = b64u_decode_array(by).map_err(|_| LogKeyRefused::Unsigned)?;
        let signed = before
            .key()
            .verify_strict(&message(key), &Signature::from_bytes(&by));
        signed.map_err(|_| LogKeyRefused::Unsigned)?;
        if self.0.len() >= LOG_KEYS_MAX {
            return Err(LogKeyRefused::TooMany);
        }
        self.0.push((seq.saturating_add(1), next));
        Ok(())
    }
}

/// The key of this text, which must be that log's.
///
/// # Errors
/// Where it is no verifier key, or another log's.
pub fn named(key: &str, log: &str) -> Result<NoteVerifier, CheckpointError> {
    let key = NoteVerifier::from_vkey(key)?;
    match key.name() == log {
        true => Ok(key),
        false => Err(CheckpointError::Origin {
            expected: log.to_owned(),
            found: excerpt(key.name()),
        }),
    }
}

/// `by` of the event that names `next`, made with the key in force.
pub fn vouch(before: &SigningKey, next: &NoteVerifier) -> String {
    b64u_encode(&before.sign(&message(&next.to_vkey())).to_bytes())
}

/// The text of a verifier key names log and key.
fn message(key: &str) -> Vec<u8> {
    [SIGNED, key.as_bytes()].concat()
}

impl From<LogKeys> for Vec<(u64, String)> {
    fn from(keys: LogKeys) -> Self {
        let each = keys.0.iter();
        each.map(|(from, key)| (*from, key.to_vkey())).collect()
    }
}

impl TryFrom<Vec<(u64, String)>> for LogKeys {
    type Error = CheckpointError;

    fn try_from(keys: Vec<(u64, String)>) -> Result<Self, CheckpointError> {
        let read = |(from, key): (u64, String)| Ok((from, NoteVerifier::from_vkey(&key)?));
        keys.into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "actpass/local/default/5a";

    fn private(seed: u64) -> SigningKey {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        SigningKey::from_bytes(&bytes)
    }

    fn public(seed: u64) -> NoteVerifier {
        NoteVerifier::new(LOG, private(seed).verifying_key())
    }

    #[test]
    fn a_key_follows_where_the_one_in_force_signed_for_it() {
        let mut keys = LogKeys::of(public(1));
        let before = keys.clone();
        let foreign = NoteVerifier::new("actpass/other", private(2).verifying_key());
        let vkey = public(2).to_vkey();
        struct Case {
            name: &'static str,
            key: String,
            by: String,
        }
        let cases = [
            Case {
                name: "another signed",
                key: vkey.clone(),
                by: vouch(&private(3), &public(2)),
            },
            Case {
                name: "signed for another key",
                key: vkey.clone(),
                by: vouch(&private(1), &public(3)),
            },
            Case {
                name: "signed by itself",
                key: vkey.clone(),
                by: vouch(&private(2), &public(2)),
            },
            Case {
                name: "no signature",
                key: vkey.clone(),
                by: String::new(),
            },
            Case {
                name: "another log's",
                key: foreign.to_vkey(),
                by: vouch(&private(1), &foreign),
            },
            Case {
                name: "no key",
                key: "key".to_owned(),
                by: vouch(&private(1), &public(2)),
            },
            Case {
                name: "the one in force",
                key: public(1).to_vkey(),
                by: vouch(&private(1), &public(1)),
            },
        ];
        for Case { name, key, by } in cases {
            assert!(keys.rotate(4, &key, &by).is_err(), "{name}");
            assert_eq!(keys, before, "{name}");
        }
        keys.rotate(4, &vkey, &vouch(&private(1), &public(2)))
            .unwrap();
        let at = |size| keys.at(size).map(NoteVerifier::id);
        assert_eq!([at(0), at(4)], [Some(public(1).id()), Some(public(1).id())]);
        assert_eq!(
            [at(5), at(90)],
            [Some(public(2).id()), Some(public(2).id())]
        );
        let back = keys
            .clone()
            .rotate(9, &public(1).to_vkey(), &vouch(&private(2), &public(1)));
        assert_eq!(back, Err(LogKeyRefused::Repeated), "a key that is gone");
        let none = LogKeys::default().rotate(0, &vkey, "");
        assert_eq!(none, Err(LogKeyRefused::NoneBefore));
    }

    #[test]
    fn a_log_has_so_many_keys_and_no_more_and_they_are_read_as_they_are_written() {
        let mut keys = LogKeys::of(public(0));
        let last = LOG_KEYS_MAX as u64;
        for seed in 1..=last {
            let by = vouch(&private(seed - 1), &public(seed));
            let rotated = keys.rotate(seed, &public(seed).to_vkey(), &by);
            let want = if seed < last {
                Ok(())
            } else {
                Err(LogKeyRefused::TooMany)
            };
            assert_eq!(rotated, want, "{seed}");
        }
        let written = serde_json::to_vec(&keys).unwrap();
        assert_eq!(serde_json::from_slice::<LogKeys>(&written).unwrap(), keys);
    }
}
