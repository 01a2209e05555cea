//! The keys that votes are stamped with, and which of them is in use.
//!
//! *Flow*: the keys are in the webhook's Secret, the list that says when each is used is the controller's. Another is made
//! here when that was asked for; the controller hears of it by `/v1/keys`, lists it ahead of its use, and ends the one before.
//!
//! *Guarantees*: a replica that does not know a key yet refuses no vote for long: it reads the Secret with every change of the
//! list, which comes before the first use.

use std::sync::Arc;
use std::time::Duration;

use actpass_core::error::chain;
use actpass_core::succession::{ROTATE_VOTES, Rhythm, Succession};
use actpass_kubernetes::Error;
use actpass_kubernetes::kept::Kept;
use actpass_kubernetes::names::VOTE_KEYS;
use actpass_kubernetes::seeds::{Keyring, asked, turned};
use actpass_kubernetes::watched;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::watch;

use super::secrets::VOTE_KEY;

/// How often the Secret is read where nothing changes: another replica may have made a key.
const AGAIN: Duration = Duration::from_secs(30);

/// The controller decides on age, notice and overlap; here only counts what was asked for.
const ASKED_ONLY: Rhythm = Rhythm {
    age: None,
    notice: SignedDuration::ZERO,
    overlap: SignedDuration::ZERO,
};

/// The keys, made where there are none.
///
/// # Errors
/// The Secret is not there or holds something else, or the API server does not answer.
pub async fn load(kept: &Kept) -> Result<Keyring, Error> {
    look(kept, None).await
}

/// Looks again whenever the trust changes, and now and then.
pub async fn follow(
    kept: Kept,
    mut trust: watch::Receiver<Option<ConfigMap>>,
    stamps: watch::Sender<Arc<Keyring>>,
) -> &'static str {
    loop {
        let seen = trust.borrow_and_update().clone();
        match look(&kept, seen.as_ref()).await {
            Ok(now) => {
                watched::tell(&stamps, Arc::new(now));
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(error, "The vote keys are not read; those before stay");
            }
        }
        tokio::select! {
            changed = trust.changed() => {
                if changed.is_err() {
                    return "the watch of what is believed";
                }
            }
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn look(kept: &Kept, trust: Option<&ConfigMap>) -> Result<Keyring, Error> {
    let text = trust.and_then(|trust| trust.data.as_ref()?.get(VOTE_KEYS));
    let list = text.map_or("", String::as_str).parse::<Succession>();
    let list = list.map_err(|error| Error::Content {
        what: format!("`{VOTE_KEYS}` of ConfigMap `actpass-trust`"),
        why: error.to_string(),
    })?;
    // An empty list says that the controller has not heard of the first key yet.
    let wish = asked(trust, ROTATE_VOTES);
    let seeds = turned(
        kept,
        VOTE_KEY,
        (&list, &[]),
        ASKED_ONLY,
        wish,
        Timestamp::now(),
    )
    .await?;
    Ok(Keyring::new(seeds, list))
}
