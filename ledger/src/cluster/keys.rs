//! The ledger's own keys, in its Secret: made at the first start, and never again where anything rests on them.

use std::path::{Path, PathBuf};

use actpass_core::hash::b64u_encode;
use actpass_kubernetes::Client;
use actpass_kubernetes::kept::Kept;
use actpass_kubernetes::names::LEDGER_SECRET;
use actpass_kubernetes::seeds::Seeds;
use actpass_ledger::keys::Ring;
use actpass_ledger::vault::Kek;
use anyhow::{Context, bail};
use zeroize::Zeroizing;

/// In the Secret: the key encryption key, in a form that [`Kek::from_bytes`] reads.
const KEK: &str = "kek";
/// In the Secret: the seeds of the keys that checkpoints are signed with, [`actpass_kubernetes::seeds`].
pub(super) const LOG_KEY: &str = "log.key";

/// The key encryption key; that and a log's key are made in the Secret where they are missing and nothing in `data`, nor in the
/// database, needs the lost ones.
pub(super) async fn load_or_make(
    client: Client,
    namespace: &str,
    data: &Path,
    in_database: bool,
) -> anyhow::Result<Kek> {
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
    seeds(&Zeroizing::new(bytes))?;
    Ok(kek)
}

/// The keys of the Secret's entry.
pub(super) fn seeds(entry: &[u8]) -> anyhow::Result<Seeds> {
    let what = || format!("`{LOG_KEY}` in Secret `{LEDGER_SECRET}`");
    let seeds = Seeds::read(entry).with_context(what)?;
    match seeds.keys().is_empty() {
        true => bail!("{} is empty", what()),
        false => Ok(seeds),
    }
}

/// The same for a command beside the ledger. A log that is begun anew begins with the oldest, since the list that says which is in
/// use is not at hand; the next start of the ledger goes on with that one.
pub(super) fn to_go_on_with(entry: &[u8]) -> anyhow::Result<Ring> {
    let keys = seeds(entry)?.keys().to_vec();
    let oldest = keys.first().context("no key")?.clone();
    Ok(Ring::of(oldest, keys))
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
        let first = seeds(&made).unwrap().keys()[0].clone();
        let several = [&made[..], b"\n", &fresh_seed().unwrap(), b"\n"].concat();
        let ring = to_go_on_with(&several).unwrap();
        assert_eq!((ring.newest(), ring.all().count()), (first, 2));
        for bytes in [&b""[..], b"\n", b"short", &[0xff; 43]] {
            assert!(seeds(bytes).is_err(), "{bytes:?}");
        }
    }
}
