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
        let signs = seeds.in_use(&list, Timestamp::now()).context("no key")?;
        let ring = Ring::of(signs.clone(), seeds.keys().to_vec());
        Ok(Self { kept, trust, ring })
    }

    pub(super) fn ring(&self) -> Ring {
        self.ring.clone()
    }

    /// Follows what is asked for and listed, until the ConfigMap can no longer be watched or the engine is gone.
    pub(super) async fn follow(mut self, engine: Weak<Engine>) {
        while let Some(engine) = engine.upgrade() {
            let seen = self.trust.borrow_and_update().clone();
            if let Err(error) = self.look(seen.as_ref(), &engine).await {
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

    async fn look(&self, trust: Option<&ConfigMap>, engine: &Engine) -> anyhow::Result<()> {
        let (list, wish, now) = (
            list(trust)?,
            asked(trust, ROTATE_CHECKPOINTS),
            Timestamp::now(),
        );
        let in_force = engine.keys_in_force().await?;
        let seeds = turned(
            &self.kept,
            LOG_KEY,
            (&list, &in_force),
            ASKED_ONLY,
            wish,
            now,
        )
        .await?;
        let before = self.ring.newest();
        let signs = signing(&seeds, &list, &before, now);
        let signs = signs.context("its Secret holds no key any more")?;
        if signs != before {
            let key = key_id(&signs.verifying_key());
            tracing::info!(key, "Checkpoints are signed with another key from here on");
        }
        self.ring.exchange(signs, seeds.keys().to_vec());
        engine.sign_with_newest().await?;
        Ok(())
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
            "The list in ConfigMap `{TRUST}` does not lead to the key in use there; the one before goes on"
        );
    }
    let mut held = seeds.keys().iter();
    held.find(|key| key.verifying_key() == before).cloned()
}

fn list(trust: Option<&ConfigMap>) -> anyhow::Result<Succession> {
    let text = trust.and_then(|trust| trust.data.as_ref()?.get(LEDGER_KEYS));
    let list = text.map_or("", String::as_str).parse();
    list.with_context(|| format!("`{LEDGER_KEYS}` of ConfigMap `{TRUST}`"))
}
