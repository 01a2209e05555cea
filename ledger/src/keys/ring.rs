//! The keys that a ledger signs its logs with: the one that it wants them to be signed with, and those before.
//!
//! In a directory they are `<name>.key`, `<name>-2.key` and so on, and `<name>-next.key` from when another was asked for until every
//! log names it. A key whose file was taken away is not known any more, and needs not be, once each log has another in force.
//!
//! In a cluster they are lines of a Secret, and follow one another while the ledger serves: all that hold a ring see what
//! [`Ring::exchange`] puts into it.
//!
//! *What a crash leaves.* With `-next`: some logs name it and some do not; the next start goes on. Who verifies meanwhile holds the
//! logs against the key before, which leads to it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use actpass_core::evidence::log_keys::LOG_KEYS_MAX;
use ed25519_dalek::{SigningKey, VerifyingKey};

use super::{KeyError, Keys, load, path_of};
use crate::vault::private_file;

/// One or more private keys.
#[derive(Clone)]
pub struct Ring(Arc<RwLock<Arc<Held>>>);

struct Held {
    /// It is one of `all`, and not their last where others are announced.
    signs: SigningKey,
    /// The oldest first.
    all: Vec<SigningKey>,
}

impl Ring {
    /// These keys, of which `newest` is to sign.
    pub fn new(newest: SigningKey, before: Vec<SigningKey>) -> Self {
        let mut all = before;
        all.push(newest.clone());
        Self::of(newest, all)
    }

    /// These keys, the oldest first, of which `signs` is to sign.
    pub fn of(signs: SigningKey, all: Vec<SigningKey>) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(Held { signs, all }))))
    }

    /// Holds these from here on. What a log is signed with changes by [`crate::engine::Engine::sign_with_newest`] only.
    pub fn exchange(&self, signs: SigningKey, all: Vec<SigningKey>) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(Held { signs, all });
    }

    /// The key that is to sign.
    pub fn newest(&self) -> SigningKey {
        self.held().signs.clone()
    }

    /// The private half of that key, if it is held.
    pub fn get(&self, key: &VerifyingKey) -> Option<SigningKey> {
        let held = self.held();
        let mut all = held.all.iter();
        all.find(|held| held.verifying_key() == *key).cloned()
    }

    /// All of them, the newest first.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = SigningKey> {
        self.held().all.clone().into_iter().rev()
    }

    /// Those behind `key` that followed it, up to the one that is to sign; the oldest first.
    pub fn behind(&self, key: &VerifyingKey) -> Vec<SigningKey> {
        let held = self.held();
        let place = |of: &VerifyingKey| held.all.iter().position(|it| it.verifying_key() == *of);
        let (Some(at), Some(last)) = (place(key), place(&held.signs.verifying_key())) else {
            return Vec::new();
        };
        let behind = held.all.get(at.saturating_add(1)..=last);
        behind.unwrap_or_default().to_vec()
    }

    /// The oldest that is held.
    pub fn oldest(&self) -> SigningKey {
        let held = self.held();
        held.all.first().unwrap_or(&held.signs).clone()
    }

    fn held(&self) -> Arc<Held> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&held)
    }

    /// The keys in `dir` that logs were signed with already, as far as this directory tells; none where there is none.
    ///
    /// # Errors
    /// As [`Keys::load`].
    pub fn load(dir: &Path, name: &str) -> Result<Option<Self>, KeyError> {
        let mut keys = Vec::new();
        for (_, name) in names(name) {
            keys.extend(Keys::load(dir, &name)?);
        }
        Ok(keys.pop().map(|newest| Self::new(newest, keys)))
    }

    /// The same with the key that was asked for last, for the ledger that brings it into use; a first one is made.
    ///
    /// # Errors
    /// As [`Keys::load_or_make`].
    pub fn load_or_make(dir: &Path, name: &str) -> Result<Self, KeyError> {
        let next = load(&next_of(dir, name)?)?;
        let known = match Self::load(dir, name)? {
            Some(known) => known,
            None => Self::new(Keys::load_or_make(dir, name)?, Vec::new()),
        };
        Ok(match next {
            // The file was renamed by way of a link, and the crash came between the two.
            Some(next) if known.get(&next.verifying_key()).is_some() => known,
            Some(next) => Self::new(next, known.all().rev().collect()),
            None => known,
        })
    }

    /// Asks for another key; the one that was asked for before, where no start has brought it into use yet.
    ///
    /// # Errors
    /// As [`Keys::load_or_make`].
    pub fn ask(dir: &Path, name: &str) -> Result<VerifyingKey, KeyError> {
        path_of(dir, name)?;
        let next = Keys::load_or_make(dir, &format!("{name}-next"))?;
        Ok(next.verifying_key())
    }

    /// Every log names the key that was asked for, so it is one like the others from here on.
    ///
    /// # Errors
    /// Where the file cannot be renamed, or there are too many.
    pub fn settle(dir: &Path, name: &str) -> Result<(), KeyError> {
        let next = next_of(dir, name)?;
        if load(&next)?.is_none() {
            return Ok(());
        }
        let mut last = 0;
        for (at, name) in names(name) {
            if Keys::load(dir, &name)?.is_some() {
                last = at;
            }
        }
        let free = names(name).find(|(at, _)| *at > last);
        let free = free.ok_or_else(|| KeyError::TooMany(name.to_owned()))?.1;
        let renamed = private_file::rename(&next, &path_of(dir, &free)?);
        renamed.map_err(KeyError::File)
    }
}

/// Which keys they are, and nothing of them.
impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys = self.all().map(|key| key.verifying_key());
        f.debug_list().entries(keys).finish()
    }
}

impl From<SigningKey> for Ring {
    fn from(only: SigningKey) -> Self {
        Self::new(only, Vec::new())
    }
}

fn next_of(dir: &Path, name: &str) -> Result<PathBuf, KeyError> {
    path_of(dir, &format!("{name}-next"))
}

/// The names of the files, the oldest key's first.
fn names(name: &str) -> impl Iterator<Item = (usize, String)> {
    (1..=LOG_KEYS_MAX).map(move |at| match at {
        1 => (at, name.to_owned()),
        _ => (at, format!("{name}-{at}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(ring: &Ring) -> VerifyingKey {
        ring.newest().verifying_key()
    }

    #[test]
    fn keys_follow_one_another_up_to_the_one_that_signs() {
        let key = |seed| SigningKey::from_bytes(&[seed; 32]);
        let ring = Ring::of(key(3), (1..=4).map(key).collect());
        let behind = |ring: &Ring, seed| -> Vec<u8> {
            let behind = ring.behind(&key(seed).verifying_key());
            behind.iter().map(|key| key.to_bytes()[0]).collect()
        };
        let found: Vec<_> = (0..=5).map(|seed| behind(&ring, seed)).collect();
        assert_eq!(
            found,
            [vec![], vec![2, 3], vec![3], vec![], vec![], vec![]],
            "the last is announced only"
        );
        assert_eq!(ring.oldest().to_bytes(), key(1).to_bytes());
    }

    #[test]
    fn a_key_that_is_asked_for_signs_for_the_ledger_and_is_one_of_them_once_it_is_settled() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("keys");
        let first = Ring::load_or_make(&dir, "log").unwrap();
        let asked = Ring::ask(&dir, "log").unwrap();
        assert_eq!(Ring::ask(&dir, "log").unwrap(), asked, "asked twice");
        let now = Ring::load_or_make(&dir, "log").unwrap();
        assert_eq!((newest(&now), now.all().count()), (asked, 2));
        let others = Ring::load(&dir, "log").unwrap().unwrap();
        assert_eq!(
            newest(&others),
            newest(&first),
            "whoever verifies meanwhile"
        );
        Ring::settle(&dir, "log").unwrap();
        Ring::settle(&dir, "log").unwrap();
        let others = Ring::load(&dir, "log").unwrap().unwrap();
        assert_eq!((newest(&others), others.all().count()), (asked, 2));
        let again = Ring::ask(&dir, "log").unwrap();
        Ring::settle(&dir, "log").unwrap();
        std::fs::remove_file(dir.join("log.key")).unwrap();
        let without_first = Ring::load_or_make(&dir, "log").unwrap();
        assert_eq!(
            (newest(&without_first), without_first.all().count()),
            (again, 2)
        );
        assert!(without_first.get(&newest(&first)).is_none());
    }
}
