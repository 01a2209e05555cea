//! What the webhook keeps in its own Secret, made at the first start.

use actpass_core::hash::{b64u_decode_array, b64u_encode};
use actpass_kubernetes::kept::Kept;
use actpass_kubernetes::names::WEBHOOK_SECRET;
use actpass_kubernetes::{Client, Error};

use crate::UidSecret;

/// In the Secret: what sidecars' uids are made from, 32 bytes as base64url.
const UID_SECRET: &str = "uid.secret";
/// In the Secret: the keys that votes are stamped with, [`actpass_kubernetes::seeds`].
pub const VOTE_KEY: &str = "vote.key";

/// The Secret.
pub fn kept(client: Client, namespace: &str) -> Kept {
    Kept::new(client, namespace, WEBHOOK_SECRET)
}

/// What sidecars' uids are made from, the same in every replica; made where it is missing.
///
/// # Errors
/// The Secret is not there or holds something else, or the API server does not answer.
pub async fn uid(kept: &Kept) -> Result<UidSecret, Error> {
    let make = || {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map(|()| b64u_encode(&bytes).into_bytes())
    };
    let (text, made) = kept.load_or_make(UID_SECRET, make).await?;
    if made {
        tracing::info!(
            key = UID_SECRET,
            "Made a new value of Secret actpass-webhook"
        );
    }
    let text = String::from_utf8(text).unwrap_or_default();
    let bytes = b64u_decode_array(text.trim()).map_err(|error| Error::Content {
        what: format!("`{UID_SECRET}` of Secret `{WEBHOOK_SECRET}`"),
        why: format!("not 32 bytes as base64url: {error}"),
    })?;
    Ok(UidSecret::new(bytes))
}
