//! The ledger's own keys, in its Secret: made at the first start, and never again where anything rests on them.

use std::path::{Path, PathBuf};

use actpass_core::hash::{b64u_decode_array, b64u_encode};
use actpass_kubernetes::Client;
use actpass_kubernetes::kept::Kept;
use actpass_kubernetes::names::LEDGER_SECRET;
use actpass_ledger::vault::Kek;
use anyhow::{Context, bail};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

/// In the Secret: the key encryption key, in a form that [`Kek::from_bytes`] reads.
const KEK: &str = "kek";
/// In the Secret: the seed of the key that checkpoints are signed with, base64url.
const LOG_KEY: &str = "log.key";

pub(super) struct Keys {
    pub(super) kek: Kek,
    pub(super) log_key: SigningKey,
}

/// The keys in the Secret, made where they are missing and nothing in `data`, nor in the database, needs the lost ones.
pub(super) async fn load_or_make(
    client: Client,
    namespace: &str,
    data: &Path,
    in_database: bool,
) -> anyhow::Result<Keys> {
    let kept = Kept::new(client, namespace, LEDGER_SECRET);
    let database = || in_database.then(|| PathBuf::from("a log in PostgreSQL"));
    for (key, needed_by) in [
        (KEK, vault(data).or_else(database)),
        (LOG_KEY, log(data).or_else(database)),
    ] {
        if let Some(needed_by) = needed_by
            && kept.load(key).await?.is_none()
        {
            bail!(
                "`{}` is there, and its key `{key}` in Secret `{LEDGER_SECRET}` is not; put the key back from where it is kept, since no other opens it",
                needed_by.display()
            );
        }
    }
    let (bytes, made) = kept
        .load_or_make(KEK, || {
            Kek::generate_text().map(|text| text.as_bytes().to_vec())
        })
        .await?;
    let bytes = Zeroizing::new(bytes);
    let kek =
        Kek::from_bytes(&bytes).with_context(|| format!("`{KEK}` in Secret `{LEDGER_SECRET}`"))?;
    if made {
        tracing::warn!(
            "A key encryption key was made in Secret `{LEDGER_SECRET}`: whoever reads that Secret and the volume reads \
             every credential. Keep a copy elsewhere, and have the cluster encrypt its Secrets under a key from outside"
        );
    }
    let (bytes, _) = kept.load_or_make(LOG_KEY, fresh_seed).await?;
    Ok(Keys {
        kek,
        log_key: signing_key(&Zeroizing::new(bytes))?,
    })
}

pub(super) fn signing_key(bytes: &[u8]) -> anyhow::Result<SigningKey> {
    let text = std::str::from_utf8(bytes).ok().map(str::trim);
    let seed = text.and_then(|text| b64u_decode_array::<32>(text).ok());
    let seed = seed.map(Zeroizing::new).with_context(|| {
        format!("`{LOG_KEY}` in Secret `{LEDGER_SECRET}` is no seed of 32 bytes in base64url")
    })?;
    Ok(SigningKey::from_bytes(&seed))
}

fn fresh_seed() -> Result<Vec<u8>, getrandom::Error> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut())?;
    Ok(b64u_encode(seed.as_ref()).into_bytes())
}

/// What of the vault is there already.
fn vault(data: &Path) -> Option<PathBuf> {
    let files = [super::CREDENTIALS, super::TENANTS];
    files
        .iter()
        .map(|file| data.join(file))
        .find(|file| file.exists())
}

/// What of the log is there already.
fn log(data: &Path) -> Option<PathBuf> {
    let log = data.join("log");
    log.exists().then_some(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_that_was_made_is_a_key() {
        let made = fresh_seed().unwrap();
        signing_key(&made).unwrap();
        let with_line_break = [made, b"\n".to_vec()].concat();
        signing_key(&with_line_break).unwrap();
        for bytes in [&b""[..], b"short", &[0xff; 43]] {
            assert!(signing_key(bytes).is_err(), "{bytes:?}");
        }
    }
}
