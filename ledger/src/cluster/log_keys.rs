//! The keys that checkpoints are signed with, as they follow one another while the ledger serves.
//!
//! *Flow.* Another is made in the ledger's Secret when that was asked for. The controller hears of it by `/v1/keys`, with the signature
//! of the one before, and lists it ahead of its use in ConfigMap `actpass-trust`, which every ledger and every sidecar follows. Once its
//! time has come each log names it and is signed with it. The one before is forgotten when it has ended there and no log is signed with it.
//!
//! *Guarantees.* A ledger holds a key before any other uses it: it reads the Secret with every change of the list, which comes ahead of
//! the use. No key is used that sidecars are not led to by signatures, and none is forgotten that a log is signed with.
//! *Errors.* A ledger that reads of a key in a log which it does not hold stops; started anew it reads the Secret first.

use std::sync::Weak;
use std::time::Duration;

use actpass_core::error::chain;
use actpass_core::passport::jws::key_id;
use actpass_core::succession::{Purpose, ROTATE_CHECKPOINTS, Rhythm, Succession};
use actpass_kubernetes::kept::Kept;
use actpass_kubernetes::names::{LEDGER_KEYS, TRUST};
use actpass_kubernetes::seeds::{Seeds, asked, turned};
use actpass_ledger::engine::Engine;
use actpass_ledger::keys::Ring;
use anyhow::Context;
use ed25519_dalek::{SigningKey, VerifyingKey};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::watch;

use super::keys::{self, LOG_KEY};

/// How often the Secret is read where nothing changes: another ledger may have made a key, or a log may still be due.
const AGAIN: Duration = Duration::from_secs(30);

/// How soon a key is looked at again whose time has not come, at the soonest: `from` is to the second.
const SOON: Duration = Duration::from_millis(200);

/// The controller decides on notice and overlap; none follows by its age.
const ASKED_ONLY: Rhythm = Rhythm {
    age: None,
    notice: SignedDuration::ZERO,
    overlap: SignedDuration::ZERO,
};

pub(super) struct LogKeys {
    kept: Kept,
    trust: watch::Receiver<Option<ConfigMap>>,
    ring: Ring,
}

impl LogKeys {
    /// The keys as they are in the Secret now.
    pub(super) async fn load(
        kept: Kept,
        trust: watch::Receiver<Option<ConfigMap>>,
    ) -> anyhow::Result<Self> {
        let entry = zeroize::Zeroizing::new(kept.load(LOG_KEY).await?.unwrap_or_default());
        let seeds = keys::seeds(&entry)?;
        let list = list(trust.borrow().as_ref())?;
        // The list has to lead also here, from the first key that counts.
        let first = list.believed().find_map(|key| held(&seeds, key));
        let first = first.or(seeds.keys().first()).context("no key")?;
        let signs = signing(&seeds, &list, first, Timestamp::now()).context("no key")?;
        let ring = Ring::of(signs, seeds.keys().to_vec());
        Ok(Self { kept, trust, ring })
    }

    pub(super) fn ring(&self) -> Ring {
        self.ring.clone()
    }

    /// Follows what is asked for and listed, until the ConfigMap can no longer be watched or the engine is gone.
    pub(super) async fn follow(mut self, engine: Weak<Engine>) {
        while let Some(engine) = engine.upgrade() {
            let seen = self.trust.borrow_and_update().clone();
            let looked = self.look(seen.as_ref(), &engine).await;
            engine
                .metrics()
                .log_keys_stuck(*looked.as_ref().unwrap_or(&true));
            if let Err(error) = looked {
                let error = chain(error.as_ref());
                tracing::error!(
                    error,
                    "The log keys do not follow one another; the logs are signed as before"
                );
            }
            // Nobody waits for this one at the end.
            drop(engine);
            let wait = self.until_next(seen.as_ref());
            tokio::select! {
                changed = self.trust.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
        std::future::pending().await
    }

    /// Whether a key is held up.
    async fn look(&self, trust: Option<&ConfigMap>, engine: &Engine) -> anyhow::Result<bool> {
        let (list, wish, now) = (
            list(trust)?,
            asked(trust, ROTATE_CHECKPOINTS),
            Timestamp::now(),
        );
        let in_force = engine.keys_in_force().await?;
        let before = self.ring.newest();
        // Before there is a log, too, no other takes the place of the one that signs, or that sidecars are told of.
        let mut needed = in_force.clone();
        needed.push(before.verifying_key());
        needed.extend(list.believed());
        let turned = turned(&self.kept, LOG_KEY, (&list, &needed), ASKED_ONLY, wish, now).await;
        // A Secret that cannot be had now keeps no key from its use that is held already: the one before ends at its time.
        let (seeds, failed) = match turned {
            Ok(seeds) => (seeds, None),
            Err(error) => (Seeds::of(self.ring.all().rev().collect()), Some(error)),
        };
        let signs = signing(&seeds, &list, &before, now);
        let signs = signs.context("its Secret holds no key any more")?;
        if signs != before {
            let key = key_id(&signs.verifying_key());
            tracing::info!(key, "Checkpoints are signed with another key from here on");
        }
        let held_up = is_held_up(&seeds, &list, &signs, now);
        // Another ledger may have forgotten one that a log here is signed with: it is held until that has another.
        let mut keys: Vec<SigningKey> = self.ring.all().rev().collect();
        keys.retain(|key| {
            let key = key.verifying_key();
            in_force.contains(&key) && held(&seeds, &key).is_none()
        });
        keys.extend_from_slice(seeds.keys());
        self.ring.exchange(signs, keys);
        engine.sign_with_newest().await?;
        if let Some(error) = &failed {
            let error = chain(error);
            tracing::error!(
                error,
                "The Secret of the log keys cannot be had; none is made, and those that are held follow one another"
            );
        }
        Ok(held_up || failed.is_some() || !engine.signs_with_newest().await?)
    }

    /// How long nothing happens by itself.
    fn until_next(&self, trust: Option<&ConfigMap>) -> Duration {
        let now = Timestamp::now();
        let list = list(trust).unwrap_or_default();
        let coming = list.lines().iter().filter_map(|listed| listed.from);
        let coming = coming.filter(|from| *from > now).min();
        let coming = coming.and_then(|from| Duration::try_from(from.duration_since(now)).ok());
        coming.map_or(AGAIN, |coming| coming.clamp(SOON, AGAIN))
    }
}

/// The key to sign with: the one in use by the list, where that leads to it from the one `before`.
fn signing(
    seeds: &Seeds,
    list: &Succession,
    before: &SigningKey,
    now: Timestamp,
) -> Option<SigningKey> {
    let before = before.verifying_key();
    let led = list.led_to(Purpose::Checkpoints, |key: &VerifyingKey| *key == before);
    let in_use = seeds.in_use(list, now)?;
    if in_use.verifying_key() == before || led.contains(&in_use.verifying_key()) {
        return Some(in_use.clone());
    }
    if list.in_use(now).is_some() {
        tracing::error!(
            "`{LEDGER_KEYS}` of ConfigMap `{TRUST}` does not lead by signatures to the key in use there, so the one before goes on; take the lines behind that one out, and the controller lists them anew"
        );
    }
    held(seeds, &before).cloned()
}

fn held<'a>(seeds: &'a Seeds, key: &VerifyingKey) -> Option<&'a SigningKey> {
    let mut keys = seeds.keys().iter();
    keys.find(|held| held.verifying_key() == *key)
}

/// Whether the key that signs is another than the list says, or the one held last is in no list, which for a while is as it should be.
fn is_held_up(seeds: &Seeds, list: &Succession, signs: &SigningKey, now: Timestamp) -> bool {
    let newest = seeds.keys().last().map(SigningKey::verifying_key);
    let listed = newest.is_some_and(|newest| list.get(&newest).is_some());
    let other = |in_use: &VerifyingKey| *in_use != signs.verifying_key();
    !list.is_empty() && (!listed || list.in_use(now).is_some_and(other))
}

fn list(trust: Option<&ConfigMap>) -> anyhow::Result<Succession> {
    let text = trust.and_then(|trust| trust.data.as_ref()?.get(LEDGER_KEYS));
    let list = text.map_or("", String::as_str).parse();
    list.with_context(|| format!("`{LEDGER_KEYS}` of ConfigMap `{TRUST}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RHYTHM: Rhythm = Rhythm {
        age: None,
        notice: SignedDuration::from_mins(2),
        overlap: SignedDuration::from_mins(65),
    };

    fn at(text: &str) -> Timestamp {
        format!("2026-05-04T{text}Z").parse().unwrap()
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn seeds(seeds: &[u8]) -> Seeds {
        let lines = seeds
            .iter()
            .map(|seed| actpass_core::hash::b64u_encode(&[*seed; 32]));
        Seeds::read(lines.collect::<Vec<_>>().join("\n").as_bytes()).unwrap()
    }

    /// The first listed at ten, the others an hour later, each signed for by the one of `by`.
    fn listed(keys: &[u8], by: &[Option<u8>]) -> Succession {
        let mut list = Succession::default();
        for (nth, (seed, by)) in keys.iter().zip(by).enumerate() {
            let (key, by) = (key(*seed).verifying_key(), by.map(self::key));
            let now = if nth == 0 {
                at("10:00:00")
            } else {
                at("11:00:00")
            };
            list.put(key, Purpose::Checkpoints, by.as_ref(), RHYTHM, now);
        }
        list
    }

    #[test]
    fn a_key_that_cannot_come_into_use_is_held_up() {
        let (first, both) = (listed(&[1], &[None]), listed(&[1, 2], &[None, Some(1)]));
        let unsigned = listed(&[1, 2], &[None, None]);
        let none = Succession::default();
        for (name, held, list, now, want) in [
            ("nothing is listed yet", &[1][..], &none, "10:00:00", false),
            ("the only one", &[1], &first, "10:00:00", false),
            (
                "asked for and in no list",
                &[1, 2],
                &first,
                "11:00:00",
                true,
            ),
            ("announced", &[1, 2], &both, "11:02:00", false),
            ("in use", &[1, 2], &both, "11:02:01", false),
            ("nobody signed for it", &[1, 2], &unsigned, "11:02:01", true),
        ] {
            let (seeds, now) = (seeds(held), at(now));
            let signs = signing(&seeds, list, &key(1), now).unwrap();
            assert_eq!(is_held_up(&seeds, list, &signs, now), want, "{name}");
        }
    }

    #[test]
    fn a_key_is_used_once_its_time_has_come_and_the_list_leads_to_it() {
        let signed = listed(&[1, 2], &[None, Some(1)]);
        let unsigned = listed(&[1, 2], &[None, None]);
        let mut over = signed.clone();
        over.end(RHYTHM, at("12:10:00"));
        struct Case<'a> {
            name: &'static str,
            held: &'a [u8],
            list: &'a Succession,
            before: u8,
            now: &'static str,
            want: Option<u8>,
        }
        let case = |name, held, list, before, now, want| Case {
            name,
            held,
            list,
            before,
            now,
            want,
        };
        let none = Succession::default();
        for Case {
            name,
            held,
            list,
            before,
            now,
            want,
        } in [
            case("nothing is listed yet", &[1], &none, 1, "10:00:00", Some(1)),
            case("announced", &[1, 2], &signed, 1, "11:02:00", Some(1)),
            case(
                "its time has come",
                &[1, 2],
                &signed,
                1,
                "11:02:01",
                Some(2),
            ),
            case(
                "nobody signed for it",
                &[1, 2],
                &unsigned,
                1,
                "11:02:01",
                Some(1),
            ),
            case(
                "a clock that went back",
                &[1, 2],
                &signed,
                2,
                "11:02:00",
                Some(2),
            ),
            case(
                "a list that was emptied",
                &[1, 2],
                &none,
                2,
                "11:03:00",
                Some(2),
            ),
            case("alone", &[2], &over, 2, "12:10:00", Some(2)),
            case("a Secret of others", &[3], &signed, 1, "11:03:00", None),
        ] {
            let found = signing(&seeds(held), list, &key(before), at(now));
            assert_eq!(found, want.map(key), "{name}");
        }
    }
}
