//! Private keys in a Secret that follow one another: the part that keeps them signs with the one in use by the list that
//! everybody follows, ConfigMap `actpass-trust`.
//!
//! *Flow*: a key is made where none is there, one was asked for or the newest is old; it is listed ahead of its use; once its
//! predecessor has ended there, that is forgotten here.
//!
//! *Guarantees*: of replicas that make a key at once, one's counts. No key is forgotten that still counts.

use std::str;

use actpass_core::hash::{b64u_decode_array, b64u_encode};
use actpass_core::passport::jws::key_id;
use actpass_core::succession::{Purpose, Rhythm, Succession};
use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use zeroize::Zeroizing;

use crate::Error;
use crate::kept::Kept;

/// Most keys that are there when another is made; later ones wait until one has ended. With the notice of 2 minutes and the
/// overlap of 65 a new one may be asked for 30 times before the first ends, and a list has 16 lines.
const SEEDS_MAX: usize = 4;

/// Private keys, oldest first: the entry of the Secret is one seed in base64url on each line.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Seeds(Vec<SigningKey>);

/// Private keys, and the list that says which of them is in use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring {
    seeds: Seeds,
    list: Succession,
}

impl Keyring {
    /// These.
    pub fn new(seeds: Seeds, list: Succession) -> Self {
        Self { seeds, list }
    }

    /// The list that everybody follows.
    pub fn list(&self) -> &Succession {
        &self.list
    }

    /// The key to sign with.
    pub fn key(&self, now: Timestamp) -> Option<&SigningKey> {
        self.seeds.in_use(&self.list, now)
    }

    /// The public keys that have not ended, oldest first.
    pub fn public(&self) -> Vec<VerifyingKey> {
        let keys = self.seeds.0.iter();
        keys.map(SigningKey::verifying_key).collect()
    }

    /// The public key of that id, with which another replica may have signed.
    pub fn of(&self, id: &str) -> Option<VerifyingKey> {
        self.public().into_iter().find(|key| key_id(key) == id)
    }
}

/// What the entry holds is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0} is no seed of 32 bytes in base64url")]
pub struct NoSeed(usize);

/// Why no key follows.
#[derive(Debug, thiserror::Error)]
enum TurnError {
    /// Another in the place of one that is still used would be believed by nobody.
    #[error("it is empty, and what it held is still signed with: put that back")]
    Gone,
    /// The system gave no random bytes.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

impl Seeds {
    /// These, the oldest first.
    pub fn of(keys: Vec<SigningKey>) -> Self {
        Self(keys)
    }

    /// Those of the Secret's entry.
    ///
    /// # Errors
    /// A line that is none.
    pub fn read(entry: &[u8]) -> Result<Self, NoSeed> {
        let text = str::from_utf8(entry).map_err(|_| NoSeed(1))?;
        let lines = text.lines().map(str::trim).enumerate();
        let keys = lines
            .filter(|(_, line)| !line.is_empty())
            .map(|(at, line)| {
                let seed = b64u_decode_array(line).map_err(|_| NoSeed(at.saturating_add(1)))?;
                Ok(SigningKey::from_bytes(&Zeroizing::new(seed)))
            });
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// The Secret's entry.
    fn entry(&self) -> Zeroizing<Vec<u8>> {
        let mut entry = Zeroizing::new(Vec::new());
        for key in &self.0 {
            let seed = Zeroizing::new(b64u_encode(&*Zeroizing::new(key.to_bytes())));
            entry.extend_from_slice(seed.as_bytes());
            entry.push(b'\n');
        }
        entry
    }

    /// Another key, which is not listed yet.
    fn make(&mut self) -> Result<(), getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut())?;
        self.0.push(SigningKey::from_bytes(&seed));
        Ok(())
    }

    /// The keys, oldest first.
    pub fn keys(&self) -> &[SigningKey] {
        &self.0
    }

    /// Makes the first key, or another where that is due by `list`, and forgets those that have ended and are not `needed`. The first only
    /// where none is needed.
    fn turn(
        &mut self,
        list: &Succession,
        needed: &[VerifyingKey],
        rhythm: Rhythm,
        asked: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), TurnError> {
        if self.0.is_empty() && !needed.is_empty() {
            return Err(TurnError::Gone);
        }
        self.forget(list, needed);
        // One that is not listed yet is the one that is due.
        let due = list.is_due(rhythm, asked, now) && !self.has_more(list);
        if self.0.is_empty() || (due && self.0.len() < SEEDS_MAX) {
            self.make()?;
        }
        Ok(())
    }

    /// Whether one of them is not listed.
    fn has_more(&self, list: &Succession) -> bool {
        let mut keys = self.0.iter();
        keys.any(|key| list.get(&key.verifying_key()).is_none())
    }

    /// Forgets those that have ended and are not needed.
    fn forget(&mut self, list: &Succession, needed: &[VerifyingKey]) {
        self.0.retain(|key| {
            let key = key.verifying_key();
            let listed = list.get(&key);
            listed.is_none_or(|listed| !listed.ended) || needed.contains(&key)
        });
    }

    /// Lists those that are not listed, each signed for by the one before, and ends those whose time is over.
    pub fn list(&self, list: &mut Succession, purpose: Purpose, rhythm: Rhythm, now: Timestamp) {
        list.end(rhythm, now);
        let mut before = None;
        for key in &self.0 {
            list.put(key.verifying_key(), purpose, before, rhythm, now);
            before = Some(key);
        }
    }

    /// The key to sign with: the newest that is in use, or the first where none is listed yet.
    pub fn in_use(&self, list: &Succession, now: Timestamp) -> Option<&SigningKey> {
        let public = list.in_use(now);
        let found = self
            .0
            .iter()
            .find(|key| Some(&key.verifying_key()) == public);
        found.or_else(|| self.0.first())
    }
}

/// The private keys in `entry` of a Secret after one [`Seeds::turn`]. `needed`: those that are kept though they have ended.
///
/// # Errors
/// As [`Kept::load`]; an entry that is none; an empty one, where some are needed; no randomness.
pub async fn turned(
    kept: &Kept,
    entry: &str,
    (list, needed): (&Succession, &[VerifyingKey]),
    rhythm: Rhythm,
    asked: Option<Timestamp>,
    now: Timestamp,
) -> Result<Seeds, Error> {
    let changed = kept.update(entry, |before| {
        let mut seeds =
            Seeds::read(before.unwrap_or_default()).map_err(|error| error.to_string())?;
        let before = seeds.clone();
        let turned = seeds.turn(list, needed, rhythm, asked, now);
        turned.map_err(|error| error.to_string())?;
        if seeds.0.iter().any(|key| !before.0.contains(key)) {
            tracing::info!(entry, "Made another key");
        }
        Ok(seeds.entry().to_vec())
    });
    let bytes = Zeroizing::new(changed.await?);
    Seeds::read(&bytes).map_err(|error| kept.content(format!("`{entry}`: {error}")))
}

/// When the annotation says that another key was asked for, if it says a time.
pub fn asked(trust: Option<&ConfigMap>, annotation: &str) -> Option<Timestamp> {
    let annotations = trust?.metadata.annotations.as_ref()?;
    let text = annotations.get(annotation)?;
    let time = text.parse().ok();
    if time.is_none() {
        tracing::warn!(
            annotation,
            "It says no time, like 2026-05-04T10:00:00Z; nothing is exchanged for it"
        );
    }
    time
}

impl std::fmt::Debug for Seeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Seeds").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const RHYTHM: Rhythm = Rhythm {
        age: None,
        notice: SignedDuration::from_mins(2),
        overlap: SignedDuration::from_mins(65),
    };

    fn at(text: &str) -> Timestamp {
        format!("2026-05-04T{text}Z").parse().unwrap()
    }

    #[test]
    fn in_the_place_of_keys_that_are_gone_and_needed_none_is_made() {
        let mut seeds = Seeds::default();
        let needed = [SigningKey::from_bytes(&[7; 32]).verifying_key()];
        let list = Succession::default();
        let turned = seeds.turn(&list, &needed, RHYTHM, None, at("10:00:00"));
        assert!(matches!(turned, Err(TurnError::Gone)), "{turned:?}");
        assert!(seeds.0.is_empty());
        seeds
            .turn(&list, &[], RHYTHM, None, at("10:00:00"))
            .unwrap();
        assert_eq!(seeds.0.len(), 1, "the first of all");
    }

    #[test]
    fn a_key_is_made_announced_used_and_forgotten() {
        let mut seeds = Seeds::default();
        assert!(
            seeds
                .in_use(&Succession::default(), at("10:00:00"))
                .is_none()
        );
        seeds.make().unwrap();
        let mut list = Succession::default();
        assert!(seeds.has_more(&list));
        seeds.list(&mut list, Purpose::Passports, RHYTHM, at("10:00:00"));
        assert!(!seeds.has_more(&list));
        let first = seeds.0[0].clone();
        assert_eq!(seeds.in_use(&list, at("10:00:00")), Some(&first));
        seeds
            .turn(&list, &[], RHYTHM, None, at("10:58:00"))
            .unwrap();
        assert_eq!(seeds.0.len(), 1, "nobody asked");
        for _ in 0..2 {
            let asked = Some(at("10:57:00"));
            seeds
                .turn(&list, &[], RHYTHM, asked, at("10:58:00"))
                .unwrap();
        }
        assert_eq!(seeds.0.len(), 2, "one for all who asked");
        assert_eq!(
            seeds.in_use(&list, at("10:59:00")),
            Some(&first),
            "not listed"
        );
        seeds.list(&mut list, Purpose::Passports, RHYTHM, at("11:00:00"));
        let second = seeds.0[1].clone();
        assert_eq!(
            seeds.in_use(&list, at("11:02:00")),
            Some(&first),
            "announced"
        );
        assert_eq!(seeds.in_use(&list, at("11:02:01")), Some(&second));
        let holds_first = |key: &_| *key == first.verifying_key();
        let led = list.led_to(Purpose::Passports, holds_first);
        assert_eq!(led, [first.verifying_key(), second.verifying_key()]);
        seeds.forget(&list, &[]);
        assert_eq!(seeds.0.len(), 2);
        seeds.list(&mut list, Purpose::Passports, RHYTHM, at("12:07:01"));
        seeds.forget(&list, &[first.verifying_key()]);
        assert_eq!(seeds.0.len(), 2, "something rests on it");
        seeds.forget(&list, &[]);
        assert_eq!(seeds.0, [second]);
    }

    #[test]
    fn whoever_asks_all_the_time_gets_no_more_keys_than_are_kept() {
        let (mut seeds, mut list) = (Seeds::default(), Succession::default());
        let mut now = at("10:00:00");
        for _ in 0..9 {
            seeds.turn(&list, &[], RHYTHM, Some(now), now).unwrap();
            seeds.list(&mut list, Purpose::Votes, RHYTHM, now);
            now += SignedDuration::from_mins(3);
        }
        assert_eq!((seeds.0.len(), list.lines().len()), (SEEDS_MAX, SEEDS_MAX));
        now += SignedDuration::from_mins(65);
        seeds.list(&mut list, Purpose::Votes, RHYTHM, now);
        seeds.turn(&list, &[], RHYTHM, Some(now), now).unwrap();
        assert_eq!(seeds.0.len(), 2, "the newest, and what was asked for");
    }

    #[test]
    fn seeds_are_read_as_they_are_written_and_never_shown() {
        let mut seeds = Seeds::default();
        seeds.make().unwrap();
        seeds.make().unwrap();
        let entry = seeds.entry();
        assert_eq!(Seeds::read(&entry).unwrap(), seeds);
        assert_eq!(format!("{seeds:?}"), "Seeds(2)");
        let line = entry.split(|byte| *byte == b'\n').next().unwrap();
        assert_eq!(
            Seeds::read(line).unwrap().0,
            seeds.0[..1],
            "as earlier versions wrote it"
        );
        assert_eq!(Seeds::read(&[line, b"\n\nAAAA"].concat()), Err(NoSeed(3)));
        assert_eq!(Seeds::read(&[0xff]), Err(NoSeed(1)));
    }
}
