//! What the webhook keeps in its own Secret, made at the first start.

use actpass_core::hash::{b64u_decode_array, b64u_encode};
use actpass_kubernetes::kept::Kept;
use actpass_kubernetes::names::WEBHOOK_SECRET;
use actpass_kubernetes::{Client, Error};
use ed25519_dalek::SigningKey;

use crate::UidSecret;

/// In the Secret: what sidecars' uids are made from, 32 bytes as base64url.
const UID_SECRET: &str = "uid.secret";
/// In the Secret: the seed of the vote key, 32 bytes as base64url.
const VOTE_KEY: &str = "vote.key";

/// The values of the Secret: the same in every replica.
#[derive(Clone)]
pub struct Secrets {
    /// What sidecars' uids are made from.
    pub uid: UidSecret,
    /// What votes are stamped with.
    pub vote_key: SigningKey,
}

/// Loads both, made where they are missing.
///
/// # Errors
/// The Secret is not there or holds something else, or the API server does not answer.
pub async fn load(client: Client, namespace: &str) -> Result<Secrets, Error> {
    let kept = Kept::new(client, namespace, WEBHOOK_SECRET);
    Ok(Secrets {
        uid: UidSecret::new(bytes(&kept, UID_SECRET).await?),
        vote_key: SigningKey::from_bytes(&bytes(&kept, VOTE_KEY).await?),
    })
}

async fn bytes(kept: &Kept, key: &str) -> Result<[u8; 32], Error> {
    let make = || {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map(|()| b64u_encode(&bytes).into_bytes())
    };
    let (text, made) = kept.load_or_make(key, make).await?;
    if made {
        tracing::info!(key, "Made a new value of Secret actpass-webhook");
    }
    let text = String::from_utf8(text).unwrap_or_default();
    b64u_decode_array(text.trim()).map_err(|error| Error::Content {
        what: format!("`{key}` of Secret `{WEBHOOK_SECRET}`"),
        why: format!("not 32 bytes as base64url: {error}"),
    })
}
