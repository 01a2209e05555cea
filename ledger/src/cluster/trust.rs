//! Keys of the other parts that are believed, from ConfigMap `actpass-trust`, which the controller fills.

use std::collections::BTreeMap;

use actpass_core::passport::jws::{IssuerKeys, key_id};
use actpass_core::succession::{Succession, SuccessionError};
use actpass_core::vote::VoteKeys;
use actpass_kubernetes::names::{ISSUER_KEYS, TRUST, VOTE_KEYS};
use actpass_kubernetes::{Client, watched};
use anyhow::bail;
use ed25519_dalek::VerifyingKey;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(super) struct Trust {
    pub(super) issuer_keys: watch::Receiver<IssuerKeys>,
    pub(super) vote_keys: watch::Receiver<VoteKeys>,
    /// The ConfigMap itself.
    pub(super) map: watch::Receiver<Option<ConfigMap>>,
    /// Ends where the ConfigMap can no longer be watched.
    pub(super) following: JoinHandle<()>,
}

/// Waits for issuer keys, then follows what the ConfigMap says. Keys that vanish or cannot be read do not take the place
/// of those before: nobody withdraws a key by breaking the list.
pub(super) async fn watch(client: Client, namespace: &str) -> anyhow::Result<Trust> {
    let mut watched = watched::watch(Api::<ConfigMap>::namespaced(client, namespace), TRUST);
    let (issuers, issuer_keys) = watch::channel(IssuerKeys::new());
    let (voters, vote_keys) = watch::channel(VoteKeys::new());
    let follow = move |seen: Option<ConfigMap>| {
        let seen = seen.unwrap_or_default();
        take(&seen, ISSUER_KEYS, &issuers);
        take(&seen, VOTE_KEYS, &voters);
        !issuers.borrow().is_empty()
    };
    loop {
        let seen = watched.current.borrow_and_update().clone();
        if follow(seen) {
            break;
        }
        tracing::info!("No issuer keys yet; waiting");
        if watched.current.changed().await.is_err() {
            bail!("ConfigMap `{TRUST}` cannot be watched");
        }
    }
    let map = watched.current.clone();
    let following = tokio::spawn(async move {
        while watched.current.changed().await.is_ok() {
            let seen = watched.current.borrow_and_update().clone();
            follow(seen);
        }
    });
    Ok(Trust {
        issuer_keys,
        vote_keys,
        map,
        following,
    })
}

fn take(
    from: &ConfigMap,
    name: &'static str,
    into: &watch::Sender<BTreeMap<String, VerifyingKey>>,
) {
    let text = from.data.as_ref().and_then(|data| data.get(name));
    let text = text.map_or("", String::as_str);
    match keys(text) {
        Ok(keys) if keys.is_empty() => {
            if !into.borrow().is_empty() {
                tracing::error!(name, "The keys are gone; those before stay");
            }
        }
        Ok(keys) => {
            if watched::tell(into, keys) {
                let ids: Vec<String> = into.borrow().keys().cloned().collect();
                tracing::info!(name, ?ids, "Keys believed from now on");
            }
        }
        Err(error) => tracing::error!(name, %error, "No list of keys; those before stay"),
    }
}

/// The keys of a list that count, by their ids.
fn keys(text: &str) -> Result<BTreeMap<String, VerifyingKey>, SuccessionError> {
    let list: Succession = text.parse()?;
    Ok(list.believed().map(|key| (key_id(key), *key)).collect())
}

#[cfg(test)]
mod tests {
    use actpass_core::hash::b64u_encode;
    use ed25519_dalek::SigningKey;

    use super::*;

    fn public(seed: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[seed; 32]).verifying_key()
    }

    fn line(seed: u8) -> String {
        b64u_encode(public(seed).as_bytes())
    }

    fn trust(name: &str, text: String) -> ConfigMap {
        ConfigMap {
            data: Some(BTreeMap::from([(name.to_owned(), text)])),
            ..ConfigMap::default()
        }
    }

    #[test]
    fn a_key_that_has_ended_is_not_believed() {
        let text = format!(
            "\n{} ended\n {} from=2026-05-04T10:00:00Z\n\n",
            line(1),
            line(2)
        );
        let found: Vec<VerifyingKey> = keys(&text).unwrap().into_values().collect();
        assert_eq!(found, [public(2)]);
        assert!(keys("").unwrap().is_empty());
    }

    #[test]
    fn a_broken_list_takes_no_key_away() {
        let (sender, seen) = watch::channel(IssuerKeys::new());
        let believed = || seen.borrow().values().copied().collect::<Vec<_>>();
        take(&trust(ISSUER_KEYS, line(1)), ISSUER_KEYS, &sender);
        assert_eq!(believed(), [public(1)]);
        for text in [String::new(), "nonsense".to_owned()] {
            take(&trust(ISSUER_KEYS, text), ISSUER_KEYS, &sender);
            assert_eq!(believed(), [public(1)]);
        }
        take(&ConfigMap::default(), ISSUER_KEYS, &sender);
        assert_eq!(believed(), [public(1)]);
        take(&trust(ISSUER_KEYS, line(2)), ISSUER_KEYS, &sender);
        assert_eq!(believed(), [public(2)], "a list that is one replaces it");
    }
}
