//! What the parts may believe of each other, as ConfigMap `actpass-trust` says it.

use std::collections::BTreeMap;

use actpass_core::hash::b64u_encode;
use actpass_core::succession::{Purpose, Rhythm, Succession, SuccessionError, Unvouched};
use actpass_kubernetes::names::{AUTHORITIES, ISSUER_KEYS, LEDGER_KEYS, VOTE_KEYS};
use ed25519_dalek::{Signature, VerifyingKey};
use jiff::Timestamp;

/// The content of the ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificates of authorities, PEM.
    pub authorities: String,
    /// Keys that passports are signed with.
    pub issuer_keys: Succession,
    /// Keys that checkpoints are signed with.
    pub ledger_keys: Succession,
    /// Keys that votes are stamped with.
    pub vote_keys: Succession,
}

/// An entry that nobody of ours has written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` of ConfigMap `actpass-trust` was changed; put it back as it was")]
pub struct TrustError {
    /// The entry of the ConfigMap.
    pub entry: &'static str,
    /// Where and why.
    #[source]
    pub source: SuccessionError,
}

/// Keys that a part says are its own now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Oldest first, each with what the part signed for it with the one before, where it is first used at `from`.
    pub keys: Vec<(VerifyingKey, Option<Signature>)>,
    /// When those that are new are first used.
    pub from: Timestamp,
}

/// Why keys that a part says are its own are not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// They lack one that is believed.
    #[error(
        "it no longer names key `{missing}`, which is believed; if its Secret was lost on purpose, empty `{entry}` of ConfigMap `actpass-trust` and make all agents' pods anew"
    )]
    Lost {
        /// The entry of the ConfigMap.
        entry: &'static str,
        /// The key.
        missing: String,
    },
    /// One that pods would not be led to.
    #[error(
        "it names key `{key}`, for which the last one in `{entry}` of ConfigMap `actpass-trust` does not sign; keys stand in its Secret in the order in which they follow one another"
    )]
    Unvouched {
        /// The entry of the ConfigMap.
        entry: &'static str,
        /// The key.
        key: String,
    },
    /// It was asked so long ago that the key would be used as soon as it is listed.
    #[error("it took too long to list a key of `{entry}` ahead of its use; it is asked again")]
    Late {
        /// The entry of the ConfigMap.
        entry: &'static str,
    },
}

impl Trust {
    /// That of a ConfigMap's data.
    ///
    /// # Errors
    /// A list of keys that is none.
    pub fn of(data: Option<&BTreeMap<String, String>>) -> Result<Self, TrustError> {
        let text = |key: &str| {
            let found = data.and_then(|data| data.get(key));
            found.map_or("", String::as_str)
        };
        let keys = |entry| {
            let parsed = text(entry).parse::<Succession>();
            parsed.map_err(|source| TrustError { entry, source })
        };
        Ok(Self {
            authorities: text(AUTHORITIES).to_owned(),
            issuer_keys: keys(ISSUER_KEYS)?,
            ledger_keys: keys(LEDGER_KEYS)?,
            vote_keys: keys(VOTE_KEYS)?,
        })
    }

    /// The data of the ConfigMap.
    pub fn data(&self) -> BTreeMap<String, String> {
        let mut data = self.for_agents();
        data.insert(VOTE_KEYS.to_owned(), self.vote_keys.to_string());
        data
    }

    /// What of it agents' namespaces get: sidecars judge no votes.
    pub fn for_agents(&self) -> BTreeMap<String, String> {
        [
            (AUTHORITIES.to_owned(), self.authorities.clone()),
            (ISSUER_KEYS.to_owned(), self.issuer_keys.to_string()),
            (LEDGER_KEYS.to_owned(), self.ledger_keys.to_string()),
        ]
        .into()
    }

    /// Whether everybody can begin.
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// What is missing, for people.
    pub fn missing(&self) -> Vec<&'static str> {
        let entries = [
            (AUTHORITIES, self.authorities.is_empty()),
            (ISSUER_KEYS, self.issuer_keys.is_empty()),
            (LEDGER_KEYS, self.ledger_keys.is_empty()),
            (VOTE_KEYS, self.vote_keys.is_empty()),
        ];
        let entries = entries.into_iter().filter(|(_, missing)| *missing);
        entries.map(|(entry, _)| entry).collect()
    }
}

/// Takes up the keys that a part names as its own, `named`, and ends those whose time is over. Pods pin keys, so they are
/// added and none is exchanged; and a key for checkpoints, which they judge by, is added only where the one before signed for it.
///
/// # Errors
/// Why one cannot be believed, or one is missing.
pub fn follow(
    (entry, purpose): (&'static str, Purpose),
    believed: &mut Succession,
    named: &Named,
    rhythm: Rhythm,
    now: Timestamp,
) -> Result<(), FollowError> {
    believed.end(rhythm, now);
    let names = |key: &VerifyingKey| named.keys.iter().any(|(named, _)| named == key);
    if let Some(missing) = believed.believed().find(|key| !names(key)) {
        let missing = b64u_encode(missing.as_bytes());
        return Err(FollowError::Lost { entry, missing });
    }
    for (key, by) in &named.keys {
        let is_new = believed.get(key).is_none();
        if is_new && purpose == Purpose::Checkpoints && !believed.is_empty() {
            if named.from.duration_since(now) < rhythm.notice / 2 {
                return Err(FollowError::Late { entry });
            }
            let put = believed.put_vouched(*key, purpose, named.from, *by);
            put.map_err(|Unvouched| FollowError::Unvouched {
                entry,
                key: b64u_encode(key.as_bytes()),
            })?;
        } else {
            believed.put(*key, purpose, None, rhythm, now);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use actpass_core::succession::vouch;
    use ed25519_dalek::SigningKey;
    use jiff::SignedDuration;

    use super::*;

    const RHYTHM: Rhythm = Rhythm {
        age: None,
        notice: SignedDuration::from_mins(2),
        overlap: SignedDuration::from_mins(65),
    };

    fn keys(seeds: &[u8]) -> Vec<VerifyingKey> {
        let seeds = seeds.iter();
        seeds
            .map(|seed| SigningKey::from_bytes(&[*seed; 32]).verifying_key())
            .collect()
    }

    fn list(seeds: &[u8]) -> Succession {
        let lines = keys(seeds);
        let lines: Vec<String> = lines
            .iter()
            .map(|key| b64u_encode(key.as_bytes()))
            .collect();
        lines.join("\n").parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        format!("2026-05-04T{text}Z").parse().unwrap()
    }

    #[test]
    fn trust_is_read_as_it_is_written_and_agents_get_no_vote_keys() {
        let trust = Trust {
            authorities: "PEM\n".to_owned(),
            issuer_keys: list(&[1, 2]),
            ledger_keys: list(&[3]),
            vote_keys: list(&[4]),
        };
        assert!(trust.is_complete());
        assert_eq!(Trust::of(Some(&trust.data())).unwrap(), trust);
        let copy = Trust::of(Some(&trust.for_agents())).unwrap();
        assert_eq!(copy.missing(), [VOTE_KEYS]);
        assert!(!copy.is_complete());
        assert_eq!(Trust::of(None).unwrap().missing().len(), 4);
        let mut broken = trust.data();
        broken.insert(LEDGER_KEYS.to_owned(), "x".to_owned());
        assert_eq!(Trust::of(Some(&broken)).unwrap_err().entry, LEDGER_KEYS);
    }

    /// What a part says that holds these, each signed for by the one before.
    fn named(seeds: &[u8], purpose: Purpose) -> Named {
        let from = RHYTHM.first_use(at("10:00:00"));
        let private = |seed: &u8| SigningKey::from_bytes(&[*seed; 32]);
        let mut before: Option<SigningKey> = None;
        let keys = seeds.iter().map(|seed| {
            let key = private(seed).verifying_key();
            let by = before.replace(private(seed));
            (key, by.map(|by| vouch(&by, purpose, &key, from)))
        });
        let keys = keys.collect();
        Named { keys, from }
    }

    #[test]
    fn keys_are_added_and_none_is_exchanged() {
        for purpose in [Purpose::Checkpoints, Purpose::Votes] {
            let entry = (LEDGER_KEYS, purpose);
            for (believed, seeds, want) in [
                (&[][..], &[1][..], true),
                (&[1], &[1], true),
                (&[1], &[1, 2], true),
                (&[1], &[1, 2, 3], true),
                (&[1], &[2], false),
            ] {
                let mut list = list(believed);
                let said = named(seeds, purpose);
                let found = follow(entry, &mut list, &said, RHYTHM, at("10:00:00"));
                assert_eq!(found.is_ok(), want, "{believed:?} {seeds:?}");
                if want {
                    assert_eq!(list.believed().copied().collect::<Vec<_>>(), keys(seeds));
                }
            }
        }
    }

    #[test]
    fn a_key_for_checkpoints_that_pods_are_not_led_to_is_not_listed() {
        let entry = (LEDGER_KEYS, Purpose::Checkpoints);
        for (name, said) in [
            ("for another purpose", named(&[1, 2], Purpose::Votes)),
            ("in another order", named(&[2, 1], Purpose::Checkpoints)),
        ] {
            let mut list = list(&[1]);
            let found = follow(entry, &mut list, &said, RHYTHM, at("10:00:00"));
            let key = b64u_encode(keys(&[2])[0].as_bytes());
            let entry = LEDGER_KEYS;
            assert_eq!(found, Err(FollowError::Unvouched { entry, key }), "{name}");
            assert_eq!(list, self::list(&[1]), "{name}");
        }
        let mut list = list(&[1]);
        let said = named(&[1, 2], Purpose::Checkpoints);
        follow(entry, &mut list, &said, RHYTHM, at("10:00:00")).unwrap();
        let first = keys(&[1])[0];
        let led = list.led_to(Purpose::Checkpoints, |key| *key == first);
        assert_eq!(led, keys(&[1, 2]));
        assert_eq!(list.in_use(at("10:02:00")), Some(&first), "announced");
        assert_eq!(list.in_use(said.from), Some(&keys(&[2])[0]));
    }

    #[test]
    fn a_key_for_checkpoints_is_listed_well_ahead_of_its_use_or_asked_for_again() {
        let entry = (LEDGER_KEYS, Purpose::Checkpoints);
        let said = named(&[1, 2], Purpose::Checkpoints);
        for (now, want) in [
            ("10:01:00", Ok(())),
            ("10:01:02", Err(FollowError::Late { entry: LEDGER_KEYS })),
            ("10:30:00", Err(FollowError::Late { entry: LEDGER_KEYS })),
        ] {
            let mut list = list(&[1]);
            let found = follow(entry, &mut list, &said, RHYTHM, at(now));
            assert_eq!(found, want, "{now}");
            let known = if want.is_ok() { 2 } else { 1 };
            assert_eq!(list.lines().len(), known, "{now}");
        }
    }

    #[test]
    fn a_part_may_forget_a_key_once_it_has_ended() {
        let entry = (VOTE_KEYS, Purpose::Votes);
        let mut list = list(&[1]);
        let mut named = |seeds: &[u8], now| {
            let said = named(seeds, Purpose::Votes);
            follow(entry, &mut list, &said, RHYTHM, at(now))
        };
        named(&[1, 2], "10:00:00").unwrap();
        assert!(named(&[2], "11:00:00").is_err());
        named(&[1, 2], "11:00:00").unwrap();
        named(&[2], "11:10:00").unwrap();
        assert_eq!(list.believed().copied().collect::<Vec<_>>(), keys(&[2]));
    }
}
